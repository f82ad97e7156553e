import peer
import polars as pl


def main(inputs, output):
    words = peer.lines(inputs).select(pl.col("line").str.extract_all("[A-Za-z]+").explode())
    counts = words.drop_nulls().group_by("line").len()
    peer.tsv(counts.collect(engine="streaming"), output)


peer.run(main)
