"""Each word's share of its initial's words: the total comes before the words,
because values are sorted."""
import re

from mrjob.job import MRJob

WORD = re.compile(r"\w+")


class Shares(MRJob):

    SORT_VALUES = True

    def mapper(self, _, line):
        for word in WORD.findall(line.lower()):
            yield word[0], ["a total", 1]
            yield word[0], ["b word", word]

    def reducer(self, initial, values):
        total, counts = 0, {}
        for kind, value in values:
            if kind == "a total":
                assert not counts, "the total comes first"
                total += value
            else:
                counts[value] = counts.get(value, 0) + 1
        for word in sorted(counts):
            yield initial, [word, counts[word], total]


if __name__ == "__main__":
    Shares.run()
