"""Lines and bytes of each file: the mapper is given whole files."""
import os

from mrjob.job import MRJob


class FileSizes(MRJob):

    def mapper_raw(self, input_path, input_uri):
        with open(input_path, "rb") as file:
            content = file.read()
        name = os.path.basename(input_uri)
        yield "lines", [name, content.count(b"\n")]
        yield "bytes", [name, len(content)]

    def reducer(self, what, files):
        files = sorted(files)
        yield what, {"files": files, "all": sum(number for _, number in files)}


if __name__ == "__main__":
    FileSizes.run()
