"""JSON in, pickles between, text out: what is between has no JSON form."""
from mrjob.job import MRJob
from mrjob.protocol import JSONValueProtocol, PickleProtocol, RawValueProtocol
from mrjob.step import MRStep


class Protocols(MRJob):

    INPUT_PROTOCOL = JSONValueProtocol
    INTERNAL_PROTOCOL = PickleProtocol
    OUTPUT_PROTOCOL = RawValueProtocol

    def steps(self):
        return [
            MRStep(mapper=self.read, reducer=self.unite),
            MRStep(mapper=self.turn, reducer=self.write),
        ]

    def read(self, _, order):
        yield (order["city"], order["year"]), {order["item"]}

    def unite(self, key, items):
        yield key, set().union(*items)

    def turn(self, key, items):
        city, year = key
        yield city, (year, frozenset(items))

    def write(self, city, years):
        for year, items in sorted(years, key=lambda it: it[0]):
            yield None, "%s\t%d\t%s" % (city, year, ",".join(sorted(items)))


if __name__ == "__main__":
    Protocols.run()
