import peer


def main(db, inputs, output):
    db.execute(
        f"""COPY (SELECT url, count(*) FROM
            (SELECT split_part(split_part(line, '"', 2), ' ', 2) AS url
             FROM {peer.DUCK_LINES.format(inputs)})
            GROUP BY url) TO '{output}' {peer.DUCK_TSV}"""
    )


peer.duckdb(main)
