"""Decided labels: what people said goes into the next run, is trusted there, and is shown."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import shipped
import thresher
from thresher.data import open_data
from thresher.decided import apply_decided, keep_decided, kept_decided, read_decided
from thresher.decisions import Decided, DecisionLog
from thresher.errors import DataError, LabelError, RunError


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def table():
    """150 flowers, without an index that would be read as a column."""
    return shipped.iris().reset_index(drop=True)


def some(samples):
    """One decision of each kind, about the first five samples, and one about a stranger."""
    ids = samples.sample_id.to_pylist()
    given = [samples.classes[label] for label in samples.labels[:5]]
    other = next(name for name in samples.classes if name != given[0])
    decided = [
        Decided(ids[0], "accept", other),
        Decided(ids[1], "keep", given[1]),
        Decided(ids[2], "exclude", None),
        Decided(ids[3], "unsure", given[3]),
        Decided(ids[4], f"other:{given[4]}", given[4]),
        Decided("stranger", "keep", given[0]),
    ]
    return {each.sample_id: each for each in decided}


def test_each_decision_does_what_it_says():
    """Relabelled and kept are trusted; excluded is gone; unsure is as before."""
    samples = open_data(table(), label="species")
    decided = some(samples)
    found, applied = apply_decided(samples, decided)
    ids = samples.sample_id.to_pylist()
    assert ids[:2] + ids[3:] == found.sample_id.to_pylist()
    assert [True, True, False, True] == found.trusted[:4].tolist()
    assert not found.trusted[4:].any()
    assert found.classes[found.labels[0]] == decided[ids[0]].label
    assert np.array_equal(found.labels[1:], np.delete(samples.labels, 2)[1:])
    assert {"relabelled": 1, "kept": 2, "excluded": 1, "unsure": 1, "missing": 1} == (
        applied.to_json()
    )
    assert "1 relabelled, 2 kept, 1 excluded, 1 unsure." in applied.sentence()
    assert "1 decided samples are not in these data." in applied.sentence()


def test_data_without_the_samples_or_without_the_class_are_refused():
    """Decisions about another set would be lost without a word."""
    samples = open_data(table(), label="species")
    with pytest.raises(DataError, match="None of the 1 decided samples"):
        apply_decided(samples, {"x": Decided("x", "keep", "setosa")})
    one = samples.sample_id[0].as_py()
    with pytest.raises(LabelError, match='decided to be "rose"'):
        apply_decided(samples, {one: Decided(one, "other:rose", "rose")})


def reviewed(**settings):
    """A run with a decision of each kind."""
    first = thresher.fit(table(), label="species", out="first", epochs=3, **settings)
    decided = some(open_data(table(), label="species"))
    with DecisionLog(first.run.decisions) as log:
        log.append(decided.values())
    return first, decided


def test_a_run_is_trained_with_the_decisions_of_another():
    """With what they were, and with the figures of the run before."""
    first, decided = reviewed()
    second = thresher.fit(table(), label="species", decisions="first", out="second", epochs=3)
    found = second.summary["decisions"]
    assert 1 == found["round"]
    assert 1 == found["relabelled"]
    assert first.summary["n_label_issues"] == found["before"]["n_label_issues"]
    assert first.summary["n"] - 1 == second.summary["n"]
    rows = {row["sample_id"]: row for row in pq.read_table(second.run.audit).to_pylist()}
    for each in decided.values():
        if each.decision == "exclude":
            assert each.sample_id not in rows
        elif each.sample_id != "stranger":
            row = rows[each.sample_id]
            assert each.label == row["given_label"]
            if each.decision != "unsure":
                assert row["split"] == "train"
                assert not row["is_label_issue"]
                assert row["reason"] == "decided"
    with DecisionLog(second.run.decisions) as log:
        log.append([replace(decided[one], decision="keep") for one in list(decided)[:1]])
    third = thresher.fit(table(), label="species", decisions="second", out="third", epochs=2)
    assert 2 == third.summary["decisions"]["round"]


def test_a_run_that_nobody_reviewed_is_refused():
    """And nothing is left of the new one."""
    thresher.fit(table(), label="species", out="first", epochs=1)
    with pytest.raises(RunError, match="Nothing is decided") as refused:
        thresher.fit(table(), label="species", decisions="first", out="second")
    assert "thresher review first" in refused.value.fix
    assert ["first"] == [each.name for each in shipped.Path().iterdir()]


def test_a_resumed_run_uses_what_was_decided_when_it_began():
    """However the review went on: bit for bit the run that was not interrupted."""
    table().to_csv("iris.csv", index=False)
    first = thresher.fit("iris.csv", label="species", out="first", epochs=2)
    with DecisionLog(first.run.decisions) as log:
        log.append(some(open_data("iris.csv", label="species")).values())
    thresher.fit("iris.csv", label="species", decisions="first", epochs=3, out="whole")

    class Stopping:
        def note(self, sentence):
            pass

        reading = note

        def epoch(self, number, epochs, metrics):
            if number == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        thresher.fit(
            "iris.csv",
            label="species",
            decisions="first",
            epochs=3,
            out="parts",
            listener=Stopping(),
        )
    with DecisionLog(first.run.decisions) as log:
        log.undo()
    thresher.resume("parts")
    shipped.assert_same_run("whole", "parts")


def test_what_is_kept_is_read_again(tmp_path):
    """In its order; a damaged file is said."""
    decided = some(open_data(table(), label="species"))
    keep_decided(decided, tmp_path / "decided.parquet")
    assert decided == kept_decided(tmp_path / "decided.parquet")
    (tmp_path / "decided.parquet").write_bytes(b"torn")
    with pytest.raises(RunError, match="cannot be read"):
        kept_decided(tmp_path / "decided.parquet")


def test_the_command_line_shows_what_changed(tmp_path, capsys):
    """Both runs, side by side."""
    from thresher.cli.fit import describe

    _, _ = reviewed()
    second = thresher.fit(table(), label="species", decisions="first", out="second", epochs=2)
    said = describe(second.summary, second.run)
    assert "before the decisions: " in said
    assert json.dumps(second.summary)
    assert read_decided("first")
