"""Steps that are commands: the shortest lines' first letters, counted."""
from mrjob.job import MRJob
from mrjob.step import MRStep


class Commands(MRJob):

    def steps(self):
        return [
            MRStep(mapper_cmd="cut -c 1", reducer_cmd="uniq -c"),
            MRStep(mapper_cmd="sed -e 's/^ *//'"),
        ]


if __name__ == "__main__":
    Commands.run()
