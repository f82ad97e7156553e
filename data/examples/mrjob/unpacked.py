"""A directory and an archive that go with the script."""
import os

from mrjob.job import MRJob


class Unpacked(MRJob):

    DIRS = ["lib#words"]

    def configure_args(self):
        super().configure_args()
        self.add_passthru_arg("--folder", default="words")

    def mapper(self, _, line):
        stop = set()
        for name in sorted(os.listdir(self.options.folder)):
            if name.endswith(".txt"):
                with open(os.path.join(self.options.folder, name)) as file:
                    stop.update(file.read().split())
        for word in line.lower().split():
            yield "stop" if word in stop else "other", 1

    def reducer(self, kind, counts):
        yield kind, sum(counts)


if __name__ == "__main__":
    Unpacked.run()
