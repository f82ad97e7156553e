import peer


def main(spark, inputs, output):
    spark.read.text(inputs).where("value rlike 'xu[a-z]*qo'").write.text(output)


peer.spark(main)
