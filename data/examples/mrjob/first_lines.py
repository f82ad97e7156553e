"""A reducer that stops reading when it has seen enough."""
from mrjob.job import MRJob


class FirstLines(MRJob):

    JOBCONF = {"mapreduce.job.reduces": "1"}

    def mapper(self, _, line):
        yield line, None

    def reducer_cmd(self):
        return "head -n 3"


if __name__ == "__main__":
    FirstLines.run()
