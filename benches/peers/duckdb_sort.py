import peer


def main(db, inputs, output):
    db.execute(
        f"""COPY (SELECT line FROM {peer.DUCK_LINES.format(inputs)} ORDER BY left(line, 10))
            TO '{output}' {peer.DUCK_TSV}"""
    )


peer.duckdb(main)
