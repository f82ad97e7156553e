import peer


def main(db, inputs, output):
    lines = peer.DUCK_LINES.format(inputs).replace("header=false", "header=false, filename=true")
    db.execute(
        f"""COPY (SELECT word, string_agg(file || ':' || n, '\t' ORDER BY file) FROM
            (SELECT word, file, count(*) AS n FROM
             (SELECT unnest(string_split_regex(line, '[^A-Za-z]+')) AS word, filename AS file
              FROM {lines}) WHERE word <> '' GROUP BY word, file)
            GROUP BY word) TO '{output}' {peer.DUCK_TSV}"""
    )


peer.duckdb(main)
