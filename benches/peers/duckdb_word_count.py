import peer


def main(db, inputs, output):
    db.execute(
        f"""COPY (SELECT word, count(*) FROM
            (SELECT unnest(string_split_regex(line, '[^A-Za-z]+')) AS word
             FROM {peer.DUCK_LINES.format(inputs)})
            WHERE word <> '' GROUP BY word) TO '{output}' {peer.DUCK_TSV}"""
    )


peer.duckdb(main)
