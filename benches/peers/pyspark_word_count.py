import peer
from pyspark.sql import functions as f


def main(spark, inputs, output):
    words = spark.read.text(inputs).select(f.explode(f.split("value", "[^A-Za-z]+")).alias("word"))
    counts = words.where("word <> ''").groupBy("word").count()
    counts.select(f.concat_ws("\t", "word", "count")).write.text(output)


peer.spark(main)
