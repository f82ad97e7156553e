import peer


def main(spark, inputs, output):
    spark.read.csv(inputs, header=True).createOrReplaceTempView("games")
    sums = spark.sql(
        "SELECT PLAYER_ID, count(*) AS games, CAST(sum(CAST(PTS AS BIGINT)) AS BIGINT) AS points"
        " FROM games GROUP BY PLAYER_ID"
    )
    sums.coalesce(1).write.csv(output, header=True)


peer.spark(main)
