import dask.bag
import peer
import re


def main(client, inputs, output):
    lines = dask.bag.read_text(inputs, blocksize="32MiB", linedelimiter="\n")
    found = lines.filter(re.compile("xu[a-z]*qo").search).compute()
    with open(output, "w") as file:
        file.writelines(found)


if __name__ == "__main__":
    peer.dask(main)
