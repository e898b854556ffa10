"""`thresher export`: a corrected copy, in words and as one object."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

import shipped
from thresher.decisions import Decided, DecisionLog

COUNTS = (
    "schema",
    "run",
    "out",
    "form",
    "rows",
    "changed",
    "suggested",
    "held_out",
    "dropped",
    "kept",
    "unsure",
    "undecided",
    "test",
    "missing",
    "suggestions_right",
    "excluded",
    "notes",
)


@pytest.fixture
def reviewed(iris_run, tmp_path):
    """A copy of the run and its data; the first sample is left out, the second confirmed."""
    shutil.copytree(iris_run, tmp_path / "run")
    shutil.copy(iris_run.parent / "iris.csv", tmp_path)
    rows = pq.read_table(tmp_path / "run/audit.parquet").slice(0, 2).to_pylist()
    with DecisionLog(tmp_path / "run/decisions.sqlite") as log:
        log.append(
            [
                Decided(rows[0]["sample_id"], "exclude", None),
                Decided(rows[1]["sample_id"], "keep", rows[1]["given_label"]),
            ]
        )
    return rows


def test_one_paragraph_says_what_was_written(reviewed, call, tmp_path):
    """On standard output, and nothing else anywhere."""
    done = call("export", "run", "--out", "out.csv")
    assert (0, "") == (done.code, done.err)
    assert done.out == (
        "0 of 150 labels changed, 1 dropped, 1 confirmed; 148 undecided and as they were. "
        f"Dropped: {reviewed[0]['sample_id']}. Written: out.csv\n"
    )
    assert 150 == len((tmp_path / "out.csv").read_text().splitlines())


def test_json_is_one_object(reviewed, call):
    """With every count, and the names of what was left out."""
    found = json.loads(call("export", "run", "--out", "out.csv", "--json").out)
    assert list(COUNTS) == list(found)
    assert (149, 0, 1, 1, 148) == tuple(
        found[name] for name in ("rows", "changed", "dropped", "kept", "undecided")
    )
    assert [reviewed[0]["sample_id"]] == found["excluded"]


@pytest.mark.usefixtures("reviewed")
def test_the_options_reach_the_library(call, tmp_path):
    """Suggestions, a list, other data, an earlier export."""
    (tmp_path / "iris.csv").rename(tmp_path / "moved.csv")
    assert 2 == call("export", "run", "--out", "out.csv").code
    arguments = ("export", "run", "--data", "moved.csv", "--out", "out.csv", "--json")
    assert 0 == json.loads(call(*arguments).out)["changed"]
    assert 2 == call(*arguments).code
    more = call(*arguments, "--overwrite", "--apply", "suggestions", "--min-confidence", 0.6)
    found = json.loads(more.out)
    assert 0 < found["suggested"] == found["changed"]
    done = call(*arguments[:4], "--out", "list.jsonl", "--changes", "--json")
    assert 1 == json.loads(done.out)["rows"]
    assert "exclude" == json.loads((tmp_path / "list.jsonl").read_text())["decision"]


def test_a_test_split_is_corrected_with_the_flag_alone(call, tmp_path):
    """Of a table and of a list; the sentence says how many were left."""
    frame = shipped.iris().reset_index(drop=True)
    frame["split"] = ["test", *["train"] * 149]
    frame.to_csv(tmp_path / "iris.csv", index=False)
    assert 0 == call("fit", "iris.csv", "--label", "species", "--epochs", 1, "--out", "run").code
    first = pq.read_table(tmp_path / "run/audit.parquet")["sample_id"][0].as_py()
    with DecisionLog(tmp_path / "run/decisions.sqlite") as log:
        log.append([Decided(first, "exclude", None)])
    for arguments in (("--out", "out.csv"), ("--out", "list.csv", "--changes")):
        done = call("export", "run", *arguments)
        assert "1 left in the test split" in done.out
        assert "dropped" not in done.out
        meant = call("export", "run", *arguments, "--overwrite", "--include-test", "--json")
        assert (1, 0) == tuple(json.loads(meant.out)[name] for name in ("dropped", "test"))
    (tmp_path / "iris.csv").rename(tmp_path / "test.csv")
    arguments = ("export", "run", "--data", "test.csv", "--out", "tested.csv")
    refused = call(*arguments)
    assert 2 == refused.code
    assert "--include-test" in refused.complaint[1]
    assert 0 == call(*arguments, "--include-test").code


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("--out", "iris.csv"), "are not apart"),
        (("--out", "iris.csv", "--overwrite"), "are not apart"),
        (("--out", "run"), "must end in"),
        (("--out", "out.csv", "--min-confidence", "0.5"), "none are applied"),
        (("--out", "out.csv", "--apply", "suggestions", "--min-confidence", "2"), "[0, 1]"),
        (("--out", "nowhere/out.csv"), "No such file or directory"),
    ],
)
@pytest.mark.usefixtures("reviewed")
def test_what_cannot_be_done_is_refused(arguments, cause, call, tmp_path):
    """Exit 2, a cause and a fix; nothing is written."""
    before = shipped.contents(tmp_path)
    done = call("export", "run", *arguments)
    assert (2, "") == (done.code, done.out)
    first, second = done.complaint
    assert cause in first
    assert second.strip()
    assert before == shipped.contents(tmp_path)


def test_a_run_is_not_replaced_while_it_holds_decisions(reviewed, call, tmp_path):
    """Training anew would lose them."""
    assert reviewed
    before = shipped.contents(tmp_path / "run")
    done = call("fit", "iris.csv", "--label", "species", "--out", "run", "--overwrite")
    assert 2 == done.code
    assert "what people decided of 2 samples" in done.complaint[0]
    assert before == shipped.contents(tmp_path / "run")
