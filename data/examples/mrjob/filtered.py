"""Words of the lines that a filter lets through, before and after sorting."""
from mrjob.job import MRJob


class Filtered(MRJob):

    def mapper_pre_filter(self):
        return "grep -i 'the' | tr A-Z a-z"

    def mapper(self, _, line):
        for word in line.split():
            yield word.strip(".,;:!?'\""), 1

    def reducer_pre_filter(self):
        return "grep -v '^\"the\"'"

    def reducer(self, word, counts):
        yield word, sum(counts)


if __name__ == "__main__":
    Filtered.run()
