import dask.bag
import peer


def url(line):
    return line.split('"', 2)[1].split(" ", 2)[1]


def main(client, inputs, output):
    lines = dask.bag.read_text(inputs, blocksize="32MiB", linedelimiter="\n")
    counts = lines.map(url).frequencies().compute()
    with open(output, "w") as file:
        for name, number in counts:
            file.write(f"{name}\t{number}\n")


if __name__ == "__main__":
    peer.dask(main)
