"""How often each word is used."""
import re

from mrjob.job import MRJob

WORD = re.compile(r"\w+")


class WordFreq(MRJob):

    def mapper(self, _, line):
        for word in WORD.findall(line):
            yield word.lower(), 1

    def combiner(self, word, counts):
        yield word, sum(counts)

    def reducer(self, word, counts):
        yield word, sum(counts)


if __name__ == "__main__":
    WordFreq.run()
