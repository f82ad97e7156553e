import dask.dataframe as dd
import peer


def main(client, inputs, output):
    games = dd.read_csv(inputs, usecols=["PLAYER_ID", "PTS"], blocksize="32MiB")
    sums = games.groupby("PLAYER_ID").PTS.agg(["count", "sum"]).compute()
    sums.columns = ["games", "points"]
    sums.to_csv(output)


if __name__ == "__main__":
    peer.dask(main)
