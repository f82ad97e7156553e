"""What the scripts of the peers share: arguments, sessions, the clock.

A script defines `main(inputs, output)` or `main(session, inputs, output)` and ends
with `run(main)` or its like. Only `main` is timed: interpreter, imports and a
session that comes up are not charged.
"""

import sys
import time

# As many as the machine that the goals are for has cores.
THREADS = 2


def run(main, *session):
    """Calls main, and prints the seconds that it took."""
    output, *inputs = sys.argv[1:]
    began = time.perf_counter()
    main(*session, inputs, output)
    print(f"seconds {time.perf_counter() - began:.6f}")


def duckdb(main):
    import duckdb

    connection = duckdb.connect(config={"threads": THREADS})
    run(main, connection)


def spark(main):
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master(f"local[{THREADS}]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", 4)
        .config("spark.driver.memory", "4g")
        .getOrCreate()
    )
    session.range(100).repartition(2).count()
    run(main, session)
    session.stop()


def dask(main):
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=THREADS, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            client.submit(int, 1).result()
            run(main, client)


def tsv(frame, output):
    """Polars' frame as lines without quotes."""
    frame.write_csv(output, separator="\t", include_header=False, quote_style="never")


def lines(inputs):
    """Polars' lazy frame of lines, in a column of that name."""
    import polars

    return polars.scan_csv(
        inputs, has_header=False, new_columns=["line"], separator="\x01", quote_char=None
    )


DUCK_LINES = "read_csv({}, columns={{'line': 'VARCHAR'}}, delim='\x01', quote='', escape='', header=false)"
DUCK_TSV = "(FORMAT csv, DELIMITER '\t', HEADER false, QUOTE '', ESCAPE '')"
