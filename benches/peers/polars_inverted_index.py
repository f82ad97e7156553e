import peer
import polars as pl


def main(inputs, output):
    files = [
        peer.lines(path)
        .select(pl.col("line").str.extract_all("[A-Za-z]+").explode().alias("word"))
        .drop_nulls()
        .group_by("word")
        .len()
        .select("word", (pl.lit(f"{path}:") + pl.col("len").cast(pl.String)).alias("file"))
        for path in inputs
    ]
    index = pl.concat(files).group_by("word").agg(pl.col("file").sort().str.join("\t"))
    peer.tsv(index.collect(), output)


peer.run(main)
