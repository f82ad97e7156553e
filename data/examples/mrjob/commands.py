"""Steps that are commands: the first letters of lines, counted."""
from mrjob.job import MRJob
from mrjob.step import MRStep

FIRST = """awk '{ print substr($0, 1, 1) "\\t" "a line" }'"""


class Commands(MRJob):

    def steps(self):
        return [
            MRStep(mapper_cmd=FIRST, reducer_cmd="uniq -c"),
            MRStep(mapper_cmd="sed -e 's/^ *//'"),
        ]


if __name__ == "__main__":
    Commands.run()
