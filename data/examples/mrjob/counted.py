"""Counters: what they are called has spaces and commas in it."""
from mrjob.job import MRJob


class Counted(MRJob):

    def mapper(self, _, line):
        self.increment_counter("lines", "empty" if not line.strip() else "with words, of any kind")
        self.set_status("reading")
        for word in line.split():
            self.increment_counter("words", "all", 2)
            yield len(word), 1

    def reducer(self, length, counts):
        self.increment_counter("lengths", "different")
        yield length, sum(counts)


if __name__ == "__main__":
    Counted.run()
