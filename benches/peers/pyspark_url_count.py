import peer
from pyspark.sql import functions as f


def main(spark, inputs, output):
    url = f.split(f.split("value", '"')[1], " ")[1]
    counts = spark.read.text(inputs).select(url.alias("url")).groupBy("url").count()
    counts.select(f.concat_ws("\t", "url", "count")).write.text(output)


peer.spark(main)
