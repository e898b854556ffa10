"""Noise-rate estimates: cleanlab as reference, closed forms, and the cases where labels are few."""

import cleanlab.count
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from thresher.errors import DataError, LabelError, ParameterError
from thresher.noise_rate import (
    RARE_CLASS_ROWS,
    class_thresholds,
    confident_counts,
    confident_joint,
    confident_thresholds,
    disagreement,
    noise_rate_from_agreement,
    rows_per_block,
)


def noisy_predictions(seed, rows=600, classes=5, missing=None):
    """Random labels and probabilities that agree with most of them."""
    random = np.random.default_rng(seed)
    true = random.integers(0, classes, rows)
    labels = np.where(random.random(rows) < 0.25, random.integers(0, classes, rows), true)
    if missing is not None:
        labels[labels == missing] = (missing + 1) % classes
    logits = random.normal(size=(rows, classes)) + 2.5 * np.eye(classes)[true]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities


seeds = st.integers(0, 10_000)


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_thresholds_are_those_of_cleanlab(seed):
    """Mean probability of a class over the rows given as it."""
    labels, probabilities = noisy_predictions(seed)
    expected = cleanlab.count.get_confident_thresholds(labels, probabilities)
    np.testing.assert_allclose(confident_thresholds(labels, probabilities), expected, rtol=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, missing=st.sampled_from([None, 0, 4]))
def test_the_confident_joint_is_that_of_cleanlab(seed, missing):
    """Also where a class has no rows."""
    labels, probabilities = noisy_predictions(seed, missing=missing)
    expected = cleanlab.count.compute_confident_joint(labels, probabilities, calibrate=False)
    np.testing.assert_array_equal(confident_joint(labels, probabilities), expected)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, missing=st.sampled_from([None, 2]))
def test_the_calibrated_joint_is_that_of_cleanlab_up_to_its_rounding(seed, missing):
    """cleanlab moves entries by less than one to make them integers."""
    labels, probabilities = noisy_predictions(seed, missing=missing)
    expected = cleanlab.count.compute_confident_joint(labels, probabilities, calibrate=True)
    joint = confident_joint(labels, probabilities, calibrated=True)
    assert np.abs(joint - expected).max() < 1
    np.testing.assert_allclose(joint.sum(axis=1), np.bincount(labels, minlength=5), rtol=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_the_global_count_is_the_number_of_label_issues_of_cleanlab(seed):
    """Off the diagonal, and predicted differently."""
    labels, probabilities = noisy_predictions(seed)
    expected = cleanlab.count.num_label_issues(labels, probabilities)
    assert expected == confident_counts(labels, probabilities).global_count


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
@example(seed=1901)
def test_class_counts_and_inverse_noise_follow_from_the_calibrated_joint(seed):
    """They are computed without the k × k matrix; here is the way through it."""
    labels, probabilities = noisy_predictions(seed)
    counts = confident_counts(labels, probabilities)
    joint = counts.calibrated_joint()
    wrong = joint.sum(axis=1) - joint.diagonal()
    # either way where the number before rounding is a half, but for its last digits
    assert (np.abs(counts.class_counts - wrong) <= 0.5 + 1e-9).all()
    np.testing.assert_allclose(counts.inverse_noise, 1 - joint.diagonal() / joint.sum(axis=0))


def test_counts_by_hand():
    """Thresholds .7 and .75: row 2 is confident of class 1, row 3 of none."""
    labels = np.array([0, 0, 0, 0, 1, 1])
    p_first = np.array([0.9, 0.9, 0.1, 0.6, 0.2, 0.3])
    probabilities = np.column_stack([p_first, 1 - p_first])
    counts = confident_counts(labels, probabilities)
    np.testing.assert_allclose(counts.thresholds, [0.625, 0.75])
    assert [0, 0, 1, -1, 1, -1] == counts.confident.tolist()
    assert [[2, 1], [0, 1]] == counts.joint().tolist()
    np.testing.assert_allclose(counts.calibrated_joint(), [[8 / 3, 4 / 3], [0, 2]])
    assert (1, 1) == (counts.global_count, counts.argmax_count)


def test_perfect_predictions_leave_no_wrong_label():
    """All counts are zero."""
    labels = np.arange(90) % 3
    counts = confident_counts(labels, np.eye(3)[labels])
    assert (0, 0, 0) == (counts.global_count, counts.argmax_count, counts.class_counts.sum())
    assert [0.0, 0.0, 0.0] == counts.inverse_noise.tolist()


def test_the_given_label_wins_a_tie():
    """A tie says nothing against the given label."""
    counts = confident_counts(np.array([0, 1, 1]), np.full((3, 2), 0.5))
    assert [0, 1, 1] == counts.predicted.tolist()
    assert counts.argmax_count == 0


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 600), max_size=6), seed=seeds)
def test_blocks_give_what_the_whole_matrix_gives(cuts, seed):
    """Cutting the rows anywhere changes nothing."""
    labels, probabilities = noisy_predictions(seed)
    blocks = np.split(probabilities, sorted(cuts))
    whole, cut = confident_counts(labels, probabilities), confident_counts(labels, blocks)
    np.testing.assert_array_equal(whole.confident, cut.confident)
    np.testing.assert_array_equal(whole.predicted, cut.predicted)
    np.testing.assert_array_equal(whole.thresholds, cut.thresholds)


def test_an_array_of_more_than_a_block_is_read_whole():
    """Rows at both sides of the block's end are counted."""
    classes = 2**19
    assert rows_per_block(classes) == 2
    labels = np.array([0, 1, 2, 3, 4])
    probabilities = np.zeros((5, classes), dtype=np.float32)
    probabilities[np.arange(5), labels] = 1
    assert [0, 1, 2, 3, 4] == confident_counts(labels, probabilities).confident.tolist()


def test_rows_without_a_label_count_as_if_they_were_not_there():
    """A label of -1 is skipped everywhere."""
    labels, probabilities = noisy_predictions(3)
    masked = labels.copy()
    masked[::3] = -1
    kept = masked >= 0
    with_gaps = confident_counts(masked, probabilities)
    without = confident_counts(labels[kept], probabilities[kept])
    np.testing.assert_array_equal(with_gaps.joint(), without.joint())
    assert with_gaps.global_count == without.global_count
    assert with_gaps.argmax_count == without.argmax_count
    np.testing.assert_array_equal(with_gaps.class_counts, without.class_counts)
    assert with_gaps.rows == kept.sum()


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_renaming_the_classes_renames_the_counts(seed):
    """No class is treated specially for its number."""
    labels, probabilities = noisy_predictions(seed)
    names = np.random.default_rng(seed).permutation(5)
    renamed = np.empty_like(probabilities)
    renamed[:, names] = probabilities
    before = confident_counts(labels, probabilities)
    after = confident_counts(names[labels], renamed)
    np.testing.assert_array_equal(before.class_counts, after.class_counts[names])
    np.testing.assert_allclose(before.inverse_noise, after.inverse_noise[names])


def test_a_rare_class_takes_the_global_rate():
    """Nineteen rows are too few for a threshold; twenty are enough."""
    labels, probabilities = noisy_predictions(5, rows=2000)
    fewer = labels.copy()
    fewer[np.flatnonzero(labels == 4)[RARE_CLASS_ROWS - 1 :]] = -1
    counts = confident_counts(fewer, probabilities)
    assert [False, False, False, False, True] == counts.rare.tolist()
    assert counts.class_noise[4] == counts.global_rate
    enough = labels.copy()
    enough[np.flatnonzero(labels == 4)[RARE_CLASS_ROWS:]] = -1
    assert not confident_counts(enough, probabilities).rare.any()


def test_the_rate_survives_many_tiny_classes():
    """A thousand classes of three rows, one in ten wrong: rounded class by class it would be 0."""
    true = np.arange(3000) % 1000
    labels = true.copy()
    labels[:300] = (true[:300] + 1) % 1000
    counts = confident_counts(labels, np.eye(1000, dtype=np.float32)[true])
    assert counts.class_counts.sum() == 0
    assert counts.class_rate == pytest.approx(0.1, abs=0.01)


def test_a_class_that_is_never_predicted_has_no_wrong_labels():
    """The model does not know it: its rows are confident of others, and still not called wrong."""
    labels = np.repeat([0, 1, 2], 30)
    guess = np.where(labels == 2, 0, labels)
    probabilities = 0.9 * np.eye(3)[guess] + 0.1 / 3
    counts = confident_counts(labels, probabilities)
    assert [False, False, True] == counts.never_predicted.tolist()
    assert [0, 0, 0] == counts.class_counts.tolist()
    assert counts.argmax_count == 30


def test_a_class_without_rows_is_counted_nowhere():
    """Its threshold cannot be reached, its inverse noise is unknown."""
    labels, probabilities = noisy_predictions(8, missing=1)
    counts = confident_counts(labels, probabilities)
    assert counts.thresholds[1] == np.inf
    assert not (counts.confident == 1).any()
    assert counts.class_counts[1] == 0
    assert np.isnan(counts.inverse_noise[1])


def test_no_labels_at_all_give_rates_of_zero():
    """Nothing divides by zero."""
    counts = confident_counts(np.full(4, -1), np.full((4, 3), 1 / 3))
    assert (0.0, 0.0, 0.0) == (counts.class_rate, counts.global_rate, counts.argmax_rate)


def test_class_thresholds_need_only_the_given_probabilities():
    """The mean for each class."""
    found = class_thresholds(np.array([0, 0, 2, -1]), np.array([0.2, 0.4, 0.9, np.nan]), 3)
    np.testing.assert_allclose(found, [0.3, np.inf, 0.9])


def test_a_label_outside_the_classes_is_named():
    """With its row, counted through the blocks."""
    blocks = [np.full((2, 2), 0.5), np.full((2, 2), 0.5)]
    with pytest.raises(LabelError, match=r"Label 7 of row 3 is outside 0\.\.1"):
        confident_counts(np.array([0, 1, 0, 7]), blocks)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("column", [0, 1, slice(None)])
@pytest.mark.parametrize("thresholds", [None, np.array([0.5, 0.5])])
def test_a_row_that_is_no_number_is_named(bad, column, thresholds):
    """Counted through the blocks; one such row would hide every wrong label of its class."""
    blocks = [np.full((2, 2), 0.5), np.full((3, 2), 0.5)]
    blocks[1][1:, column] = bad
    with pytest.raises(DataError, match="Row 3 of the probabilities holds numbers that are not"):
        confident_counts(np.array([0, 1, -1, 0, 0]), blocks, thresholds=thresholds)


def test_a_row_without_a_label_may_hold_anything():
    """As a sample that nothing was predicted of."""
    labels, probabilities = noisy_predictions(3)
    labels[::3] = -1
    before = confident_counts(labels, probabilities)
    probabilities[::3] = np.nan
    after = confident_counts(labels, probabilities)
    np.testing.assert_array_equal(before.joint(), after.joint())
    assert before.class_rate == after.class_rate


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_thresholds_are_no_means_of_what_is_no_number(bad):
    """Only the probabilities of the given labels are read."""
    probabilities = np.array([[0.5, bad], [bad, 0.5], [0.5, bad]])
    assert [0.5, 0.5] == confident_thresholds(np.array([0, 1, -1]), probabilities).tolist()
    with pytest.raises(DataError, match="Row 2 of the probabilities"):
        confident_thresholds(np.array([0, 1, 1]), probabilities)


@pytest.mark.parametrize("rows", [2, 4])
def test_probabilities_of_another_length_are_refused(rows):
    """One row of probabilities for each label."""
    with pytest.raises(ParameterError, match="labels 3"):
        confident_counts(np.array([0, 1, 0]), np.full((rows, 2), 0.5))


def test_blocks_that_can_be_read_once_are_refused():
    """The thresholds need a pass of their own."""
    with pytest.raises(ParameterError, match="read only once"):
        confident_counts(np.array([0]), (block for block in [np.full((1, 2), 0.5)]))


def test_disagreement_counts_refurbished_and_labelled_rows_only():
    """One of three differs; no label and no refurbished label are left out."""
    assert disagreement(np.array([0, 1, 1, -1, 1]), np.array([0, 1, 0, 1, -1])) == 1 / 3


def test_disagreement_of_nothing_is_unknown():
    """No rate is made up."""
    assert disagreement(np.array([-1, -1]), np.array([0, 1])) is None


@given(rate=st.floats(0, 0.49), classes=st.integers(2, 1000))
def test_the_agreement_of_pair_noise_is_inverted(rate, classes):
    """A = (1 - τ)² + τ² up to τ = 1/2."""
    agreement = (1 - rate) ** 2 + rate**2
    assert noise_rate_from_agreement(agreement, classes, "pair") == pytest.approx(rate, abs=1e-7)


@given(share=st.floats(0, 0.999), classes=st.integers(2, 1000))
def test_the_agreement_of_symmetric_noise_is_inverted(share, classes):
    """A = (1 - τ)² + τ²/(k - 1) up to τ = (k - 1)/k."""
    rate = share * (classes - 1) / classes
    agreement = (1 - rate) ** 2 + rate**2 / (classes - 1)
    assert noise_rate_from_agreement(agreement, classes) == pytest.approx(rate, abs=1e-6)


def test_an_agreement_below_chance_gives_the_largest_rate():
    """The root is cut at zero."""
    assert noise_rate_from_agreement(0.0, 10) == pytest.approx(0.9)
    assert noise_rate_from_agreement(0.3, 10, "pair") == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1.2, 10), "agreement"), ((0.5, 1), "classes"), ((0.5, 10, "open"), "noise")],
)
def test_values_out_of_range_are_refused(arguments, message):
    """The message names the argument."""
    with pytest.raises(ParameterError, match=message):
        noise_rate_from_agreement(*arguments)
