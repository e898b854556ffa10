"""Records: what is read from the full and from the compact form."""

import dataclasses

import numpy as np
import pytest
import torch

from thresher.audit import pred_probs
from thresher.audit.record import MeanProbabilities, Record, read
from thresher.errors import LabelError, ParameterError
from thresher.history import AUDIT, SampleHistory


def mean_matrix(record):
    return np.concatenate(list(MeanProbabilities(record)))


def test_given_and_rival_are_those_of_a_plain_search(simulate):
    """Row by row, in Python."""
    record, _ = simulate(rows=200, seed=4)
    found = read(record)
    mean = record.probability_sum / np.float32(record.window_visits[0])
    for row, label in enumerate(record.labels):
        others = [c for c in range(5) if c != label]
        rival = max(others, key=lambda c: mean[row, c])
        assert rival == found.rival[row]
        assert mean[row, label] == found.p_given[row]
        assert mean[row, rival] == found.p_rival[row]


def test_the_compact_form_reads_like_the_full_one(simulate):
    """Given label, rival and their probabilities do not depend on the form."""
    full, compact = read(simulate(classes=12)[0]), read(simulate(classes=12, compact=4)[0])
    np.testing.assert_array_equal(full.rival, compact.rival)
    np.testing.assert_allclose(full.p_given, compact.p_given, rtol=1e-6)
    np.testing.assert_allclose(full.p_rival, compact.p_rival, rtol=1e-6)


def test_the_compact_form_spreads_the_rest_evenly(by_hand):
    """Two slots of .6 and .2; the given label .1 is exact; .1 is left for two classes."""
    record = by_hand(
        np.full((1, 5), 0.2),
        [4],
        probability_sum=None,
        top_classes=np.array([[1, 3, -1]]),
        top_sums=np.array([[6.0, 2.0, 9.9]]),
        given_window_sum=np.array([1.0]),
    )
    np.testing.assert_allclose(mean_matrix(record), [[0.05, 0.6, 0.05, 0.2, 0.1]], atol=1e-6)


def test_the_given_label_in_a_slot_is_not_counted_twice(by_hand):
    """Its exact sum stands; the slot is skipped."""
    record = by_hand(
        np.full((1, 3), 1 / 3),
        [1],
        probability_sum=None,
        top_classes=np.array([[1, 0]]),
        top_sums=np.array([[5.5, 3.0]]),
        given_window_sum=np.array([6.0]),
    )
    np.testing.assert_allclose(mean_matrix(record), [[0.3, 0.6, 0.1]], atol=1e-6)


def test_chosen_rows_are_read_in_their_order(simulate):
    """As used for held-out rows."""
    record, _ = simulate(rows=50)
    rows = np.array([40, 3, 7])
    chosen = np.concatenate(list(MeanProbabilities(record, rows)))
    np.testing.assert_array_equal(mean_matrix(record)[rows], chosen)


def test_blocks_are_small_and_cover_every_row_once(simulate):
    """More rows than a block holds."""
    record, _ = simulate(rows=3000, classes=500, epochs=4)
    lengths = [len(block) for block in MeanProbabilities(record)]
    assert sum(lengths) == 3000
    assert max(lengths) * 500 <= 2**20


@pytest.mark.parametrize("compact", [None, 3])
def test_pred_probs_sum_to_one_whatever_is_missing(simulate, compact):
    """Unseen rows are uniform, unlabelled ones hold the final prediction."""
    record, _ = simulate(rows=60, unlabelled=5, compact=compact)
    visits = record.window_visits.copy()
    visits[3] = 0
    record = dataclasses.replace(record, window_visits=visits)
    sums = record.probability_sum if compact is None else record.top_sums
    sums[3], sums[4] = 0, np.nan
    if compact is not None:
        record.given_window_sum[3] = 0
    matrix = pred_probs(record)
    assert np.isfinite(matrix).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(matrix[-5:], record.final_probability, atol=1e-6)
    np.testing.assert_allclose(matrix[3], 0.2)


def test_rows_without_label_visit_or_finite_numbers_stay_unknown(by_hand):
    """Only the first row is known."""
    p = np.tile([0.6, 0.4], (4, 1))
    p[3] = np.nan
    visits = np.array([10, 10, 0, 10])
    found = read(by_hand(p, [0, -1, 0, 0], window_visits=visits))
    assert [True, False, False, False] == found.known.tolist()
    assert [1, -1, -1, -1] == found.rival.tolist()


def test_arrays_of_another_length_are_named(by_hand):
    """With both shapes."""
    with pytest.raises(ParameterError, match=r"visits must have shape \(2,\), got \(3,\)"):
        by_hand(np.full((2, 2), 0.5), [0, 1], visits=np.ones(3, dtype=np.int32))


def test_a_label_outside_the_classes_is_named(by_hand):
    """With its row."""
    record = by_hand(np.full((2, 2), 0.5), [0, 1])
    with pytest.raises(LabelError, match="Label 2 of row 1"):
        dataclasses.replace(record, labels=np.array([0, 2]))


def test_one_class_is_refused(by_hand):
    """There is nothing to compare with."""
    with pytest.raises(LabelError, match="compares classes, got 1"):
        by_hand(np.ones((2, 1)), [0, 0])


def test_both_forms_at_once_are_refused(by_hand):
    """Which one would count?"""
    with pytest.raises(ParameterError, match="one form"):
        by_hand(np.full((1, 2), 0.5), [0], top_classes=np.zeros((1, 1), dtype=np.int16))


def test_a_history_that_recorded_nothing_for_the_audit_is_refused():
    """With the argument that was left out."""
    with pytest.raises(ParameterError, match="Start the method with audit=True"):
        Record.from_history({"eligible": np.ones(3, bool)}, [0, 1, 1], "ab")


def test_what_was_predicted_of_released_rows_is_read_from_the_history():
    """Their moving averages, made to sum to 1; rows that are still held out are no part of it."""
    history = SampleHistory(6, 2)
    history.declare(*AUDIT)
    held_out = torch.tensor([False, True, False, True, False, False])
    history.hold_out(held_out)
    logits = torch.tensor([[0.0, 2.0]]).expand(6, 2)
    labels = torch.tensor([0, 1, 0, 0, 1, 1])
    history.observe(torch.arange(6), logits, labels)
    kept = Record.from_history(history.state_dict(), labels, ["a", "b"])
    assert kept.held_out_rows is None
    history.release()
    found = Record.from_history(history.state_dict(), labels, ["a", "b"])
    assert [1, 3] == found.held_out_rows.tolist()
    p = torch.softmax(logits[:2], 1).numpy()
    assert found.held_out_probability == pytest.approx(p, abs=1e-6)
    assert found.in_training.all()
