"""Executors that are processes of their own: all they know of the driver's files, Spark brings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from thresher.cluster import DBSCAN

pytestmark = [pytest.mark.slow, pytest.mark.spark]

RUN = """
import json, sys
from pathlib import Path
from pyspark.sql import SparkSession
builder = SparkSession.builder.master("local-cluster[2,1,1024]")
for name, value in json.loads(sys.argv[2]).items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("OFF")
from thresher.cluster.spark import dbscan
folder = Path(sys.argv[1])
for rho in (0.05, 0):
    found = dbscan(str(folder / "points"), eps=0.05, min_samples=10, rho=rho, driver_limit=1 << 20)
    assert found.statistics["engine"] == "tasks"
    found.rows.select("cluster").write.parquet(str(folder / f"labels-{rho}"))
"""


def test_two_executors_give_the_labels_of_one_machine(tmp_path):
    pyspark = pytest.importorskip("pyspark", reason="PySpark is not installed")
    random = np.random.default_rng(0)
    points = random.uniform(0, 4, (10, 2))[random.integers(0, 10, 30_000)]
    points += random.normal(scale=0.3, size=points.shape)
    (tmp_path / "points").mkdir()
    for number, part in enumerate(np.array_split(points, 4)):
        table = pa.table({"x": part[:, 0], "y": part[:, 1]})
        pq.write_table(table, tmp_path / "points" / f"{number}.parquet")
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": str(tmp_path / "local"),
        "spark.sql.warehouse.dir": str(tmp_path / "warehouse"),
    }
    machine = {
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_HOSTNAME": "localhost",
    }
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path), json.dumps(settings)],
        env=os.environ | machine,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        cwd=tmp_path,  # where executors leave their work
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    for rho in (0.05, 0):
        found = pq.read_table(tmp_path / f"labels-{rho}")["cluster"].to_numpy()
        model = DBSCAN(eps=0.05, min_samples=10, rho=rho).fit(str(tmp_path / "points"))
        np.testing.assert_array_equal(model.labels_, found)
