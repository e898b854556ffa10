"""`thresher kmedoids --engine spark`: one word, and the same medoids in a folder."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from thresher.cluster.spark import written

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
COMMON = ("--k", 4, "--sample-size", 50, "--samples", 1, "--columns", "x,y", "--seed", 3)


@pytest.fixture
def call(called):
    """Run the command beside 600 points."""
    return called("kmedoids", 600, 2)


def names_in(folder):
    return sorted(each.name for each in folder.iterdir())


@pytest.mark.parametrize("metric", ["euclidean", "haversine"])
def test_one_word_changes_the_engine_and_not_the_medoids(spark, call, tmp_path, metric):
    """Nor the distances: metres of haversine."""
    common = ("points", *COMMON, "--metric", metric)
    code, out, err = call(*common, "--engine", "spark", "--out", "there", "--json")
    assert (0, "") == (code, err.partition("checking")[0])
    told = json.loads(out)
    code, out, _ = call(*common, "--out", "here.parquet", "--json")
    assert 0 == code
    assert pq.read_table("here.parquet").equals(pq.read_table("there"))
    for name, value in json.loads(out).items():
        if name not in ("out", "plot", "seconds", "peak_mib"):
            assert value == told[name]
    assert ["here.parquet", "points", "there"] == names_in(tmp_path)


def test_an_earlier_folder_is_replaced_when_asked(spark, call, tmp_path, monkeypatch):
    """By one of labels alone; and it stays until all is written."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "_SUCCESS").touch()
    again = ("points", *COMMON, "--engine", "spark", "--out", "there", "--only-labels")
    code, _, err = call(*again)
    assert 2 == code
    assert "there exists already" in err
    code, out, _ = call(*again, "--overwrite")
    assert 0 == code
    assert "passes over the points" in out
    assert ["cluster", "distance"] == pq.read_table("there").column_names
    before = names_in(tmp_path / "there")

    def torn(rows, place, *, overwrite):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(written, "write_medoid_rows", torn)
    code, _, err = call(*again, "--overwrite")
    assert 2 == code
    assert "No space left on device" in err
    assert before == names_in(tmp_path / "there")
    assert ["points", "there"] == names_in(tmp_path)


def test_a_plan_is_printed_without_spark(call, monkeypatch):
    """The figures of the files, and what they come to at most."""
    monkeypatch.setitem(sys.modules, "pyspark", None)
    arguments = ("points", *COMMON, "--engine", "spark", "--out", "there", "--explain")
    code, out, _ = call(*arguments)
    assert 0 == code
    assert "600 in 2 dimensions, 2 files" in out
    told = json.loads(call(*arguments, "--json")[1])
    assert (600, 50, 0) == (told["points"], told["sampled_rows"], told["shuffled_points"])
    assert 8 == told["passes_at_most"]
    whole = json.loads(call(*arguments, "--json", "--sample-size", 1000)[1])
    assert (600, 4) == (whole["sampled_rows"], whole["passes_at_most"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--engine", "spark", "--plot", "p.png"], "--plot is of --engine local."),
        (["--engine", "spark", "--out", "points/inside"], "are not apart"),
        (["--engine", "cluster"], '--engine "cluster" is unknown.'),
        (["--out", "here.parquet", "--explain"], "--explain is of --engine spark."),
    ],
)
def test_what_cannot_be_is_said(call, arguments, said):
    code, _, err = call("points", *COMMON, "--out", "there", *arguments)
    assert 2 == code
    assert said in err


def test_the_page_runs(spark, call, tmp_path):
    """Its command and its Python, with a frame; and it tells of every figure."""
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "spark.md").read_text()
    section = page.partition("## k-medoids")[2].partition("\n## ")[0]
    command = re.search(r"\$ thresher kmedoids (.*)", section).group(1)
    assert 0 == call(*command.replace("positions/", "points/").split())[0]
    assert 600 == pq.read_table("clusters").num_rows
    names = {"df": spark.read.parquet(str(tmp_path / "points"))}
    exec(re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1), names)
    told = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section, re.MULTILINE)
    shown = {name for cell in told for name in re.findall(r"`(\w+)`", cell)}
    assert shown == set(names["found"].statistics)
