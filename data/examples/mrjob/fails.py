"""Fails on a line that is no number."""
from mrjob.job import MRJob


class Fails(MRJob):

    def mapper(self, _, line):
        self.increment_counter("lines", "read")
        yield "sum", int(line)

    def reducer(self, key, numbers):
        yield key, sum(numbers)


if __name__ == "__main__":
    Fails.run()
