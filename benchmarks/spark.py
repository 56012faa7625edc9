"""Spark MLlib's GaussianMixture in local mode, in a process of its own.

Reads lines 'iterations tolerance seed', fits the rows of the Parquet file, which are cached in memory before, and writes the seconds, the
number of iterations, the log-likelihood that Spark reports, the peak memory of its own process in MB, and the parameters."""
import json
import sys
import time
from pathlib import Path

from pyspark.ml.clustering import GaussianMixture
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import SparkSession


def session(cores, memory):
    "Spark on so many cores of this machine. The module of Java is what its own matrix products run faster with."
    settings = {"spark.driver.memory": memory, "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": cores,
                "spark.driver.extraJavaOptions": "--add-modules=jdk.incubator.vector"}
    builder = SparkSession.builder.master(f"local[{cores}]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    return spark


def rows(spark, path, cores):
    "The rows as Spark's estimators want them, in memory."
    table = spark.read.parquet(path)
    data = VectorAssembler(inputCols=table.columns, outputCol="features").transform(table).select("features").repartition(cores).cache()
    data.count()
    return data


def peak(spark):
    "Peak memory of the process in which Spark runs, in MB."
    pid = spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid()
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM:")).split()[1]) / 1024


if __name__ == "__main__":
    path, k, cores, memory = sys.argv[1:]
    spark = session(int(cores), memory)
    data = rows(spark, path, int(cores))
    for line in sys.stdin:
        iterations, tol, seed = line.split()
        started = time.perf_counter()
        model = GaussianMixture(k=int(k), maxIter=int(iterations), tol=float(tol), seed=int(seed)).fit(data)
        seconds = time.perf_counter() - started
        parts = model.gaussiansDF.collect()
        theta = model.weights, [part["mean"].tolist() for part in parts], [part["cov"].toArray().tolist() for part in parts]
        print(json.dumps({"seconds": seconds, "n_iter": model.summary.numIter, "log_likelihood": model.summary.logLikelihood, "MB": peak(spark),
                          "theta": theta}), flush=True)
