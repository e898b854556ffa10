"""The evaluator's figures, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.bench.evaluation import (
    curve_figures,
    ranking,
    rows_apart,
    share_right,
    trust,
    verdict,
)

ALL = np.ones(6, bool)
GIVEN = np.array([0, 0, 1, 1, 2, 2])
TRUE = np.array([0, 1, 1, 1, 2, 0])  # samples 1 and 5 are wrong


def test_a_matrix_is_held_against_the_shares_of_the_labels():
    """Class 0: two of three right, one given as 2; the others are never wrong."""
    right = np.array([[1, 0, 0], [1 / 3, 2 / 3, 0], [0, 0, 1]])
    assert rows_apart(right, TRUE, np.array([0, 0, 1, 1, 2, 0])) == pytest.approx(0)
    assert rows_apart(np.eye(3), TRUE, np.array([0, 0, 1, 1, 2, 0])) == pytest.approx(1 / 9)
    assert rows_apart(np.eye(3)[[1, 2, 0]], TRUE, TRUE) == 1


def test_only_classes_with_samples_and_samples_with_labels_count_for_a_matrix():
    """Without any of them, or without a matrix, there is no figure."""
    true, given = np.array([0, 0, -1, 2]), np.array([0, 0, 1, -1])
    assert rows_apart(np.eye(3), true, given) == 0
    assert rows_apart(np.eye(3), true[2:], given[2:]) is None
    assert rows_apart(None, TRUE, GIVEN) is None


def test_precision_and_recall_of_a_selection():
    """Three of four chosen are right; three of four right ones are chosen."""
    weights = np.array([1, 1, 1, 1, 0, 0.0])
    assert trust(weights, GIVEN, GIVEN, TRUE, ALL) == {
        "label_precision": 3 / 4,
        "label_recall": 3 / 4,
        "coverage": 4 / 6,
        "replaced": 0.0,
        "correction_error": None,
    }


def test_trusting_everything_has_no_precision():
    """It would say how many labels are right, and nothing of the method."""
    found = trust(np.ones(6), GIVEN, GIVEN, TRUE, ALL)
    assert found["label_precision"] is None
    assert found["label_recall"] is None
    assert found["coverage"] == 1


def test_replaced_labels_are_corrected_not_trusted():
    """Sample 1 gets its true label, sample 5 another wrong one."""
    learned = np.array([0, 1, 1, 1, 2, 1])
    found = trust(np.ones(6), learned, GIVEN, TRUE, ALL)
    assert found["replaced"] == 2 / 6
    assert found["correction_error"] == 1 / 2
    assert found["label_precision"] == 1
    assert found["label_recall"] == 1


def test_what_is_dropped_is_not_replaced():
    """A label that a sample would have been learned with, had it counted."""
    learned = np.array([0, 1, 1, 1, 2, 1])
    found = trust(np.array([1, 0, 1, 1, 1, 0.0]), learned, GIVEN, TRUE, ALL)
    assert found["replaced"] == 0
    assert found["correction_error"] is None


def test_held_out_rows_are_neither_missed_nor_covered():
    """Recall is of the right labels that may be trained."""
    trainable = np.array([True, True, True, False, False, False])
    found = trust(np.array([1, 0, 1, 0, 0, 0.0]), GIVEN, GIVEN, TRUE, trainable)
    assert found["label_precision"] == 1
    assert found["label_recall"] == 1
    assert found["coverage"] == 2 / 3


def test_a_label_that_weighs_little_is_learned_from_as_well():
    """Samples are counted, as in the table of the groups: in one of two networks is in."""
    found = trust(np.array([1, 0.5, 1, 0.01, 0, 0]), GIVEN, GIVEN, TRUE, ALL)
    assert found["label_precision"] == 3 / 4
    assert found["label_recall"] == 3 / 4
    weighed = trust(np.array([1, 0.5, 1, 0.01, 3, 0.2]), GIVEN, GIVEN, TRUE, ALL)
    assert weighed["label_precision"] is None  # every label is trusted


@given(st.lists(st.floats(0, 5), min_size=6, max_size=6), st.integers(0, 2**31))
def test_shares_are_shares(weights, seed):
    """Whatever the weights: also those above one of a method that weighs."""
    random = np.random.default_rng(seed)
    learned = np.where(random.random(6) < 0.5, GIVEN, random.integers(0, 3, 6))
    found = trust(np.array(weights), learned, GIVEN, TRUE, random.random(6) < 0.8)
    assert all(value is None or 0 <= value <= 1 + 1e-12 for value in found.values())


def test_nothing_learned_has_no_precision():
    """A batch that was dropped as a whole."""
    found = trust(np.zeros(6), GIVEN, GIVEN, TRUE, ALL)
    assert found["label_precision"] is None
    assert found["label_recall"] == 0
    assert found["coverage"] == 0


def test_a_curve_by_hand():
    """Last, mean of the last ten, the validated epoch, and the best under its own name."""
    tested = [0.9, *[0.5] * 9, 0.7]
    found = curve_figures(tested, [0.1, 0.2, 0.6, 0.6, *[0.3] * 7])
    assert found == {
        "last": 0.7,
        "mean_of_last_ten": pytest.approx(0.52),
        "validation_selected": 0.5,
        "validation_epoch": 3,
        "best_on_test": 0.9,
        "best_on_test_epoch": 1,
    }


def test_without_validation_rows_no_epoch_is_chosen():
    """And never by the test set."""
    found = curve_figures([0.9, 0.4], None)
    assert found["validation_selected"] is None
    assert found["validation_epoch"] is None
    assert found["mean_of_last_ten"] == pytest.approx(0.65)


def test_ranking_and_verdict_by_hand():
    """Of four, the two bad ones come first."""
    bad = np.array([True, False, True, False])
    assert ranking(bad, np.array([0.1, 0.9, 0.2, 0.8])) == {"ap": 1.0, "auroc": 1.0}
    assert ranking(np.zeros(4, bool), np.zeros(4)) == {"ap": None, "auroc": None}
    found = verdict(bad, np.array([True, True, False, False]))
    assert (found["precision"], found["recall"], found["f1"]) == (0.5, 0.5, 0.5)
    assert share_right(np.array([1, 0]), np.array([1, 1]), np.array([True, True])) == 0.5
    assert share_right(np.array([1]), np.array([1]), np.array([False])) is None
