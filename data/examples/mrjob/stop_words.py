"""Words that are no stop words: a module and a list that go with the script, and a
list that is named when it is run."""
from mrjob.job import MRJob

FILE = "own_stop_words.txt"


class StopWords(MRJob):

    FILES = ["lib/tokens.py", "lib/stop.txt#own_stop_words.txt"]

    def configure_args(self):
        super().configure_args()
        self.add_file_arg("--more", action="append", default=[], help="a list of stop words")
        self.add_passthru_arg("--min-length", type=int, default=1)

    def mapper_init(self):
        self.stop = set()
        for name in [FILE] + self.options.more:
            assert "/" not in name, name
            with open(name) as file:
                self.stop.update(file.read().split())

    def mapper(self, _, line):
        from tokens import tokens

        for word in tokens(line):
            if word not in self.stop and len(word) >= self.options.min_length:
                yield word, 1

    def reducer(self, word, counts):
        yield word, sum(counts)


if __name__ == "__main__":
    StopWords.run()
