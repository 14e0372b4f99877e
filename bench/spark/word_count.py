"""Counts the words of all files of a directory with Spark, each time a line arrives on standard input: that
directory and one for the result, which does not exist yet, with a tab in between. Answers with a line."""

import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, concat_ws, explode, split

spark = (
    SparkSession.builder.master("local[2]")
    .appName("word count")
    .config("spark.ui.enabled", "false")
    # As many as the job has reducers; the default of 200 is slower here.
    .config("spark.sql.shuffle.partitions", "4")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
for line in sys.stdin:
    source, target = line.rstrip("\n").split("\t")
    words = spark.read.text(source).select(explode(split(col("value"), " ")).alias("word"))
    counts = words.where("word != ''").groupBy("word").count()
    counts.select(concat_ws(" ", col("count"), col("word"))).write.text(target)
    print("done", flush=True)
