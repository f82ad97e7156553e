import os
import re
from collections import Counter

import peer

BLOCK = 32 << 20


def count(path, start, end):
    counts = Counter()
    for line in block_lines(path, start, end):
        counts.update(re.findall(rb"[A-Za-z]+", line))
    return counts


def block_lines(path, start, end):
    """The whole lines that begin in a block, in large pieces."""
    with open(path, "rb") as file:
        if start:
            file.seek(start - 1)
            file.readline()
        text = file.read(max(0, end - file.tell()))
        yield text + (b"" if text.endswith(b"\n") else file.readline())


def merge(counts):
    total = Counter()
    for count in counts:
        total.update(count)
    return total


def main(client, inputs, output):
    blocks = [
        (path, start, min(start + BLOCK, os.path.getsize(path)))
        for path in inputs
        for start in range(0, os.path.getsize(path), BLOCK)
    ]
    futures = [client.submit(count, *block) for block in blocks]
    total = client.submit(merge, futures).result()
    with open(output, "wb") as file:
        for word, number in total.items():
            file.write(b"%s\t%d\n" % (word, number))


if __name__ == "__main__":
    peer.dask(main)
