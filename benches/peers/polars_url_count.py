import peer
import polars as pl


def main(inputs, output):
    url = pl.col("line").str.split('"').list.get(1).str.split(" ").list.get(1)
    counts = peer.lines(inputs).select(url.alias("url")).group_by("url").len()
    peer.tsv(counts.collect(engine="streaming"), output)


peer.run(main)
