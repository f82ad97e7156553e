import peer
import polars as pl


def main(inputs, output):
    records = peer.lines(inputs).sort(pl.col("line").str.head(10), maintain_order=True)
    peer.tsv(records.collect(engine="streaming"), output)


peer.run(main)
