"""The summary: numbers that agree with the verdicts, and warnings where they are due."""

import dataclasses
import json

import numpy as np
import pytest

from thresher.audit import judge, summarise
from thresher.audit.summary import Summary
from thresher.errors import ParameterError


def audited(record):
    verdicts = judge(record)
    return summarise(record, verdicts), verdicts


def test_counts_add_up(simulate):
    """Rows, classes and pairs tell of the same flags."""
    record, _ = simulate(rows=900, unlabelled=40)
    summary, verdicts = audited(record)
    flagged = verdicts.is_label_issue.sum()
    assert (900, 860, 90) == (summary.n, summary.labelled, summary.held_out)
    assert flagged == summary.n_label_issues
    assert flagged == sum(each.flagged for each in summary.per_class)
    assert flagged == sum(pair.count for pair in summary.class_pairs)
    assert sum(each.n for each in summary.per_class) == 860


def test_pairs_are_those_of_the_flagged_rows_most_frequent_first(simulate):
    """Counted row by row."""
    record, _ = simulate()
    summary, verdicts = audited(record)
    pairs = {}
    for row in np.flatnonzero(verdicts.is_label_issue):
        key = tuple(record.classes[c] for c in (record.labels[row], verdicts.suggested[row]))
        pairs[key] = pairs.get(key, 0) + 1
    assert pairs == {(pair.given, pair.suggested): pair.count for pair in summary.class_pairs}
    counts = [pair.count for pair in summary.class_pairs]
    assert sorted(counts, reverse=True) == counts


def test_the_top_rival_is_the_most_frequent_suggestion(by_hand):
    """Pair noise: a looks like b; nothing else is flagged."""
    p = np.vstack([np.repeat(np.eye(3), 30, axis=0), np.tile([0, 1, 0], (5, 1))]) * 0.94 + 0.02
    summary, _ = audited(by_hand(p, np.repeat([0, 1, 2, 0], [30, 30, 30, 5])))
    assert [("b", 5), (None, 0), (None, 0)] == [(c.top_rival, c.flagged) for c in summary.per_class]
    noise = [each.noise for each in summary.per_class]
    assert noise == pytest.approx([5 / 35, 0, 0])
    assert summary.per_class[1].inverse_noise == pytest.approx(5 / 35)


def test_json_brings_the_summary_back(simulate):
    """Through text."""
    summary, _ = audited(simulate()[0])
    assert summary == Summary.from_json(json.loads(json.dumps(summary.to_json())))


def test_json_of_another_version_is_refused(simulate):
    """Its fields may mean something else."""
    plain = audited(simulate()[0])[0].to_json() | {"schema": 2}
    with pytest.raises(ParameterError, match="schema 2"):
        Summary.from_json(plain)


def test_an_ordinary_audit_has_no_warning(simulate):
    """Nothing is wrong, nothing is said."""
    assert audited(simulate()[0])[0].warnings == ()


def test_memorised_labels_are_warned_of(simulate):
    """With both rates."""
    summary, _ = audited(simulate(rows=4000, noise=0.3, memorised=0.7)[0])
    assert summary.memorised
    assert "learnt its labels by heart" in summary.warnings[0]


def test_a_gap_below_the_alarm_is_mentioned(simulate):
    """Some of it may be wrong labels."""
    record, _ = simulate(rows=4000, noise=0.0, memorised=0.7, sharpness=2.1)
    summary, _ = audited(record)
    assert not summary.memorised
    assert "the model's own mistakes" in summary.warnings[0]


def test_missing_held_out_rows_are_warned_of(simulate):
    """Memorisation cannot be checked without them."""
    summary, _ = audited(simulate(held_out=0.0)[0])
    assert ["With 0 held-out rows"] == [sentence[:20] for sentence in summary.warnings]


def test_rare_unknown_and_unseen_classes_and_rows_are_named(by_hand):
    """One class with ten rows, one never predicted, and a row seen twice."""
    p = np.repeat(np.eye(4)[[0, 1, 0, 3]], [40, 40, 40, 10], axis=0) * 0.96 + 0.01
    visits = np.full(130, 10)
    visits[0] = 2
    record = by_hand(p, np.repeat(np.arange(4), [40, 40, 40, 10]), visits=visits)
    text = " ".join(audited(record)[0].warnings)
    assert "1 row got no verdict" in text
    assert "Never the most probable class of any row: c." in text
    assert "Too few rows for a noise rate of its own: d." in text


def test_a_long_list_of_classes_is_cut(by_hand):
    """Five names and how many more."""
    p = np.repeat(np.eye(8), 5, axis=0) * 0.92 + 0.01
    text = " ".join(audited(by_hand(p, np.repeat(np.arange(8), 5)))[0].warnings)
    assert "a, b, c, d, e and 3 more" in text


def test_classes_without_rows_are_summed_up_as_empty(simulate):
    """No estimate is made up."""
    record, _ = simulate()
    labels = np.where(record.labels == 2, 1, record.labels)
    empty = audited(dataclasses.replace(record, labels=labels))[0].per_class[2]
    assert (0, 0, 0.0, None, None) == (
        empty.n,
        empty.flagged,
        empty.noise,
        empty.inverse_noise,
        empty.top_rival,
    )


def test_a_rate_above_half_warns_of_a_model_that_learnt_little(by_hand):
    """Every row of every class is predicted as its neighbour."""
    p = np.repeat(np.roll(np.eye(3), 1, axis=1), 30, axis=0) * 0.94 + 0.02
    summary, _ = audited(by_hand(p, np.repeat([0, 1, 2], 30)))
    assert summary.noise_rate.estimate > 0.5
    assert any("A model that has learnt little" in each for each in summary.warnings)


def test_a_moderate_rate_does_not_warn_of_a_poor_model(simulate):
    """A fifth of wrong labels is what the audit is for."""
    summary, _ = audited(simulate()[0])
    assert summary.noise_rate.estimate < 0.5
    assert not any("A model that has learnt little" in each for each in summary.warnings)
