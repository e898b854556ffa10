"""`thresher report`: the report made again."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from thresher.decisions import Decided, DecisionLog


@pytest.fixture
def run(iris_run, tmp_path):
    """A copy of a finished run at tmp_path/run."""
    shutil.copytree(iris_run, tmp_path / "run")
    return tmp_path / "run"


def decide(run, number):
    """Keep the labels of the most suspect rows."""
    rows = pq.read_table(run / "audit.parquet").sort_by("rank").slice(0, number).to_pylist()
    with DecisionLog(run / "decisions.sqlite") as log:
        log.append([Decided(row["sample_id"], "keep", row["given_label"]) for row in rows])


def test_the_report_is_replaced_and_its_place_printed(call, run):
    """What people decided is in it."""
    decide(run, 2)
    (run / "report.html").write_text("old")
    done = call("report", "run")
    assert done.code == 0
    assert done.out == "run/report.html\n"
    page = (run / "report.html").read_text()
    assert "2 samples are decided." in page
    assert "setosa" in page
    assert "early-learning" in page  # what the method is


def test_another_file_leaves_the_report_of_the_run_alone(call, run, tmp_path):
    """Only that file is written."""
    before = {each: each.read_bytes() for each in run.rglob("*") if each.is_file()}
    done = call("report", "run", "--out", "mine.html", "--top", 3)
    assert (0, "mine.html\n") == (done.code, done.out)
    assert (tmp_path / "mine.html").read_text().count("<article") == 3
    assert before == {each: each.read_bytes() for each in run.rglob("*") if each.is_file()}


def test_json_is_one_object(call, run):
    """Counts beside the place."""
    decide(run, 2)
    found = json.loads(call("report", "run", "--json").out)
    assert [
        "schema",
        "run",
        "report",
        "n_label_issues",
        "suggestion_precision",
        "decided",
        "suggestions_decided",
        "suggestions_right",
    ] == list(found)
    assert (1, "run", "run/report.html") == (found["schema"], found["run"], found["report"])
    assert (2, 2, 0) == (
        found["decided"],
        found["suggestions_decided"],
        found["suggestions_right"],
    )
    assert 0 <= found["suggestion_precision"] <= 1


def test_what_cannot_be_done_is_said_in_two_lines(call, run):
    """No run; no audit; too many suspects; a method of another release; no folder to write to."""
    done = call("report", "nowhere")
    assert (2, "") == (done.code, done.out)
    assert done.complaint[0] == "thresher: nowhere is not a run folder: it has no run.toml."
    assert "top must be in 1..300, got 301" in call("report", "run", "--top", 301).err
    assert "Cannot write none/a.html" in call("report", "run", "--out", "none/a.html").err
    settings = run / "run.toml"
    settings.write_text(settings.read_text().replace('method = "auto"', 'method = "selfy"'))
    assert 'Did you mean "selfie"?' in call("report", "run").err
    (run / "audit.parquet").unlink()
    settings.write_text(settings.read_text().replace('method = "selfy"', 'method = "auto"'))
    done = call("report", "run")
    assert (2, "thresher: The run in run holds no audit.parquet.") == (
        done.code,
        done.complaint[0],
    )
