"""The most frequent words, in three steps, the second without a mapper and the
third without a reducer."""
import re

from mrjob.job import MRJob
from mrjob.step import MRStep

WORD = re.compile(r"\w+")


class TopWords(MRJob):

    def configure_args(self):
        super().configure_args()
        self.add_passthru_arg("--top", type=int, default=10, help="how many")

    def steps(self):
        return [
            MRStep(mapper=self.words, combiner=self.add, reducer=self.to_one_key),
            MRStep(reducer=self.largest),
            MRStep(mapper=self.shout),
        ]

    def words(self, _, line):
        for word in WORD.findall(line):
            yield word.lower(), 1

    def add(self, word, counts):
        yield word, sum(counts)

    def to_one_key(self, word, counts):
        yield None, (sum(counts), word)

    def largest(self, _, counted):
        for count, word in sorted(counted, key=lambda it: (-it[0], it[1]))[:self.options.top]:
            yield word, count

    def shout(self, word, count):
        yield word.upper(), count


if __name__ == "__main__":
    TopWords.run()
