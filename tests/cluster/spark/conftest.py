"""One Spark session for all tests, on this machine."""

from __future__ import annotations

import os
import shutil
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    """Two cores, no page, few partitions; a task is tried four times, as on a cluster."""
    pytest.importorskip("pyspark", reason="PySpark is not installed")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("there is no Java")
    from pyspark.sql import SparkSession

    folder = tmp_path_factory.mktemp("spark")
    builder = SparkSession.builder.master("local[2,4]").appName("tests")
    for name, value in {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "1g",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.local.dir": str(folder / "local"),
    }.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture
def called(monkeypatch, capsys, tmp_path):
    """Runs commands in this process, beside a folder of points in some files."""

    def beside(command, rows, files):
        from thresher.cli import main

        monkeypatch.chdir(tmp_path)
        X = np.random.default_rng(0).normal(size=(rows, 2)) * [1, 3]
        (tmp_path / "points").mkdir()
        for place, part in enumerate(np.array_split(X, files)):
            table = pa.table({"x": part[:, 0], "y": part[:, 1], "name": ["a"] * len(part)})
            pq.write_table(table, tmp_path / "points" / f"{place}.parquet")

        def run(*arguments):
            monkeypatch.setattr(sys, "argv", ["thresher", command, *map(str, arguments)])
            with pytest.raises(SystemExit) as leaving:
                main()
            out, err = capsys.readouterr()
            return leaving.value.code or 0, out, err

        return run

    return beside
