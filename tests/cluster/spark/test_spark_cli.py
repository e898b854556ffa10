"""`thresher dbscan --engine spark`: one word, and the same clusters in a folder."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow.parquet as pq
import pytest

from thresher.cluster.spark import written

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
COMMON = ("--eps", 0.4, "--min-samples", 5, "--columns", "x,y", "--rho", 0.1)


@pytest.fixture
def call(called):
    """Run the command beside 900 points."""
    return called("dbscan", 900, 3)


def names_in(folder):
    return sorted(each.name for each in folder.iterdir())


@pytest.mark.parametrize("rho", [0, 0.1])
def test_one_word_changes_the_engine_and_not_the_clusters(spark, call, tmp_path, rho):
    common = (*COMMON, "--rho", rho)
    code, out, err = call("points", *common, "--engine", "spark", "--out", "there", "--json")
    assert (0, "") == (code, err.partition("checking")[0])
    told = json.loads(out)
    assert rho == told["rho"]
    assert 0 == call("points", *common, "--out", "here.parquet")[0]
    there, here = pq.read_table("there"), pq.read_table("here.parquet")
    assert here.column_names == there.column_names
    for name in here.column_names:
        assert here[name].to_pylist() == there[name].to_pylist()
    labels = here["cluster"].to_numpy()
    assert (900, (labels < 0).sum()) == (told["n"], told["noise"])
    assert (labels.max() + 1, np.bincount(labels[labels >= 0]).max()) == (
        told["clusters"],
        told["largest"],
    )
    assert told["noise"] + told["core"] + told["border"] == 900
    assert ["here.parquet", "points", "there"] == names_in(tmp_path)
    code, _, err = call("points", *common, "--engine", "spark", "--out", "there")
    assert 2 == code
    assert "there exists already" in err
    again = call(
        "points", *common, "--engine", "spark", "--out", "there", "--overwrite", "--only-labels"
    )
    assert 0 == again[0]
    assert "cells" in again[1]
    assert (rho == 0) == ("undecided" in again[1])
    assert ["cluster", "is_core"] == pq.read_table("there").column_names
    assert labels.tolist() == pq.read_table("there")["cluster"].to_pylist()
    assert ["here.parquet", "points", "there"] == names_in(tmp_path)


def test_places_may_be_addresses(spark, call, tmp_path):
    """Of any file system that PyArrow reads and Spark writes; here of this machine's."""
    there, here = (tmp_path / "there").as_uri(), tmp_path.as_uri() + "/points"
    arguments = (here, *COMMON, "--engine", "spark", "--out", there)
    assert 0 == call(*arguments)[0]
    assert 0 == call("points", *COMMON, "--out", "here.parquet")[0]
    written = pq.read_table("there")
    assert pq.read_table("here.parquet")["cluster"].to_pylist() == written["cluster"].to_pylist()
    code, _, err = call(*arguments)
    assert 2 == code
    assert f"{there} exists already" in err
    assert 0 == call(*arguments, "--overwrite")[0]
    (tmp_path / "there" / "_SUCCESS").unlink()
    code, _, err = call(*arguments, "--overwrite")
    assert 2 == code
    assert "is a folder that Spark has not written" in err
    code, _, err = call("nowhere://bucket/a", *COMMON, "--engine", "spark", "--out", "x")
    assert 2 == code
    assert "nowhere://bucket/a cannot be read" in err
    code, _, err = call("points", *COMMON, "--engine", "spark", "--out", "nowhere://bucket/a")
    assert 2 == code
    assert "Spark cannot look at nowhere://bucket/a" in err


@pytest.mark.parametrize(
    ("points", "out"),
    [
        ("s3://b/in", "s3://b/in"),
        ("s3://b/in/", "s3a://b/in/out"),
        ("s3a://b/in/deep", "s3://b/in"),
        ("points", "file://HERE/points"),
        ("file://HERE/points", "points"),
        ("file://HERE/points", "file://HERE/points/out"),
    ],
)
def test_an_output_in_the_input_is_refused_by_whatever_name(call, tmp_path, points, out):
    """Before anything is looked at: --overwrite would remove the input."""
    named = [each.replace("HERE", str(tmp_path)) for each in (points, out)]
    code, _, err = call(
        named[0], *COMMON, "--engine", "spark", "--out", named[1], "--overwrite", "--only-labels"
    )
    assert 2 == code
    assert "are not apart" in err
    assert ["0.parquet", "1.parquet", "2.parquet"] == names_in(tmp_path / "points")


def test_a_place_may_have_a_space_in_its_name(spark, call, tmp_path):
    (tmp_path / "my räume").mkdir()
    out = "my räume/the result"
    assert 0 == call("points", *COMMON, "--engine", "spark", "--out", out)[0]
    assert 900 == pq.read_table(out).num_rows
    assert ["the result"] == names_in(tmp_path / "my räume")


def test_what_was_there_stays_until_all_is_written(spark, call, tmp_path, monkeypatch):
    """No half-written folder is left, and the old one is as it was."""
    old = tmp_path / "there"
    old.mkdir()
    (old / "kept").write_text("old")
    (old / "_SUCCESS").touch()

    def torn(rows, place, *, overwrite):
        folder = Path(urlsplit(place).path)
        folder.mkdir()
        (folder / "part").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(written, "write_rows", torn)
    code, _, err = call("points", *COMMON, "--engine", "spark", "--out", "there", "--overwrite")
    assert 2 == code
    assert "No space left on device" in err
    assert "old" == (old / "kept").read_text()
    assert ["points", "there"] == names_in(tmp_path)


def test_a_folder_of_something_else_is_never_replaced(call, tmp_path):
    """Only what Spark has written whole: --overwrite removes all that is in it."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_text("dear")
    code, _, err = call("points", *COMMON, "--engine", "spark", "--out", "photos", "--overwrite")
    assert 2 == code
    assert "photos is a folder that Spark has not written" in err
    assert ["1.jpg"] == names_in(tmp_path / "photos")


def test_a_plan_is_printed_without_spark(call, monkeypatch):
    """The figures of the files, and what they come to at most."""
    monkeypatch.setitem(sys.modules, "pyspark", None)
    arguments = ("points", *COMMON, "--engine", "spark", "--out", "there", "--explain")
    code, out, _ = call(*arguments)
    assert 0 == code
    assert "900 in 2 dimensions, 3 files" in out
    assert "2 over the points" in out
    assert "4 over the points" in call(*arguments, "--rho", 0)[1]
    code, out, _ = call(*arguments, "--json", "--driver-limit", "64MiB")
    told = json.loads(out)
    assert (900, 900 * 20, 64 << 20) == (
        told["points"],
        told["shuffle_bytes_at_most"],
        told["driver_limit"],
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--plot", "p.png"], "--plot is of --engine local."),
        (["--algorithm", "grid"], "--algorithm is of --engine local."),
        (["--driver-limit", "much"], '--driver-limit "much" is no size.'),
        (["--rho", "some"], "--rho must be a number or \"auto\", got 'some'."),
        (["--out", "points/inside"], "are not apart"),
        (["--engine", "cluster"], '--engine "cluster" is unknown.'),
    ],
)
def test_what_spark_cannot_do_is_said(spark, call, arguments, said):
    code, _, err = call("points", *COMMON, "--engine", "spark", "--out", "there", *arguments)
    assert 2 == code
    assert said in err


@pytest.mark.parametrize("arguments", [["--rho", "auto"], ["--explain"]])
def test_what_is_sparks_is_refused_without_it(call, arguments):
    code, _, err = call("points", *COMMON, "--out", "here.parquet", *arguments)
    assert 2 == code
    assert "is of --engine spark." in err


def test_the_page_runs(spark, call, tmp_path, monkeypatch):
    """Its command, and its Python with a frame."""
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "spark.md").read_text()
    command = re.search(r"\$ thresher dbscan (.*)", page).group(1)
    arguments = command.replace("positions/", "points/").split()
    assert 0 == call(*arguments)[0]
    assert 900 == pq.read_table("clusters").num_rows
    shutil.rmtree("clusters")
    names = {"df": spark.read.parquet(str(tmp_path / "points"))}
    block = re.search(r"```python\n(.*?)```", page, re.DOTALL).group(1)
    exec(block.replace("clusters", str(tmp_path / "clusters")), names)  # Spark stands elsewhere
    assert 900 == pq.read_table("clusters").num_rows
    listed = page.partition("## Reading")[2].partition("Where tasks held")[0]
    told = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", listed, re.MULTILINE)
    shown = {name for cell in told for name in re.findall(r"`(\w+)`", cell)}
    assert shown == set(names["found"].statistics) - {"engine"}  # of an exact run
