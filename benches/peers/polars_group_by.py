import peer
import polars as pl


def main(inputs, output):
    groups = pl.scan_csv(inputs, infer_schema_length=10_000).group_by("PLAYER_ID")
    sums = groups.agg(pl.len().alias("games"), pl.col("PTS").sum().alias("points"))
    sums.collect(engine="streaming").write_csv(output)


peer.run(main)
