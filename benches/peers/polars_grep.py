import peer
import polars as pl


def main(inputs, output):
    found = peer.lines(inputs).filter(pl.col("line").str.contains("xu[a-z]*qo"))
    peer.tsv(found.collect(engine="streaming"), output)


peer.run(main)
