"""Words by length, then initial: the first two fields are the key, the first alone
says which reducer gets it, so that every length is in one part, in order."""
import re

from mrjob.job import MRJob
from mrjob.protocol import RawProtocol

WORD = re.compile(r"\w+")


class ByLength(MRJob):

    INTERNAL_PROTOCOL = RawProtocol
    OUTPUT_PROTOCOL = RawProtocol
    PARTITIONER = "org.apache.hadoop.mapred.lib.KeyFieldBasedPartitioner"
    JOBCONF = {
        "stream.num.map.output.key.fields": 2,
        "mapreduce.partition.keypartitioner.options": "-k1,1",
        "mapreduce.job.reduces": 3,
    }

    def mapper(self, _, line):
        for word in WORD.findall(line.lower()):
            yield "%02d" % len(word), word[0] + "\t" + word

    def reducer(self, length, words):
        seen = []
        for word in words:
            initial = word.split("\t")[0]
            if seen and seen[-1] > initial:
                # mrjob's own runners know one field of the key alone.
                self.increment_counter("initials", "not in order")
            seen.append(initial)
        yield length, " ".join(sorted(set(seen)))


if __name__ == "__main__":
    ByLength.run()
