import peer


def main(db, inputs, output):
    db.execute(
        f"""COPY (SELECT line FROM {peer.DUCK_LINES.format(inputs)}
            WHERE regexp_matches(line, 'xu[a-z]*qo')) TO '{output}' {peer.DUCK_TSV}"""
    )


peer.duckdb(main)
