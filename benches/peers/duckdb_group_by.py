import peer


def main(db, inputs, output):
    db.execute(
        f"""COPY (SELECT PLAYER_ID, count(*) AS games, sum(PTS) AS points
            FROM read_csv({inputs}, header=true) GROUP BY PLAYER_ID)
            TO '{output}' (FORMAT csv, HEADER true)"""
    )


peer.duckdb(main)
