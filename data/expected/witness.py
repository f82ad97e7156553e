"""Makes the expected files that no command line makes: python3 data/expected/witness.py

From the root of the repository; needs the package xxhash. Shares nothing with Vivat.
"""

import collections
import glob
import html.parser
import re
import urllib.parse

import xxhash

TEXTS = sorted(glob.glob("data/input/*.txt"))
WORD = re.compile(r"[^\W\d_]+")


def words(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    return [(len(text[: it.start()].encode()), it.group()) for it in WORD.finditer(text)]


def lines(path):
    with open(path, "rb") as file:
        return file.read().splitlines()


def write(name, rows):
    with open(f"data/expected/{name}", "wb") as file:
        file.write(b"".join(row + b"\n" for row in rows))


def inverted_index():
    index = collections.defaultdict(lambda: collections.defaultdict(list))
    for path in TEXTS:
        for at, word in words(path):
            index[word.lower().encode()][path].append(str(at))
    for word in sorted(index):
        places = [f"{path}:{','.join(at)}" for path, at in sorted(index[word].items())]
        yield b"\t".join([word, *(place.encode() for place in places)])


def term_vector():
    for path in TEXTS:
        counts = collections.Counter(word.lower().encode() for _, word in words(path))
        top = sorted(counts.items(), key=lambda it: (-it[1], it[0]))[:5]
        yield b"\t".join([path.encode(), *(b"%s:%d" % term for term in top)])


def sample():
    rows = lines("data/input/access.log")
    rows.sort(key=lambda row: (xxhash.xxh3_64_intdigest(row, 2), row))
    return rows[:5]


def validate_sort():
    rows = lines("data/expected/sort.txt")
    total = sum(xxhash.xxh3_128_intdigest(row) for row in rows) % 2**128
    same = sum(a == b for a, b in zip(rows, rows[1:]))
    assert rows == sorted(rows)
    yield b"checksum\t%032x" % total
    yield b"duplicates\t%d" % same
    yield b"first-wrong\tnone"
    yield b"out-of-order\t0"
    yield b"records\t%d" % len(rows)


class Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.targets = []

    def handle_starttag(self, tag, attributes):
        href = dict(attributes).get("href", "").strip()
        if tag in ("a", "area") and href and not href.startswith("#"):
            self.targets.append(href.split("#")[0])


def reverse_links_html():
    sources = collections.defaultdict(set)
    for path in sorted(glob.glob("data/input/*.html")):
        page = Links()
        with open(path, encoding="utf-8") as file:
            page.feed(file.read())
        for target in page.targets:
            sources[urllib.parse.urljoin(path, target)].add(path)
    for target in sorted(sources):
        yield "\t".join([target, *sorted(sources[target])]).encode()


write("inverted-index.tsv", inverted_index())
write("term-vector.tsv", term_vector())
write("sample.txt", sample())
write("validate-sort.tsv", validate_sort())
write("reverse-links-html.tsv", reverse_links_html())
