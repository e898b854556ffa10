"""Transition matrices: anchors, several annotators, inverses and noise rates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thresher.data.corruption import corrupt, pair_transition, symmetric_transition
from thresher.errors import LabelError, ParameterError
from thresher.transition import (
    anchor_transition,
    annotator_transition,
    check_transition,
    inverse_transition,
    made_invertible,
    transition_noise_rate,
    true_shares,
    without_trusted,
)

seeds = st.integers(0, 10_000)


def random_transition(random, classes, diagonal=0.5):
    """Rows that add up to 1, with at least `diagonal` for the label that is right."""
    rest = random.dirichlet(np.ones(classes), size=classes)
    return diagonal * np.eye(classes) + (1 - diagonal) * rest


def predictions(random, rows=90, classes=4):
    logits = random.normal(scale=2, size=(rows, classes))
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


# ---------------------------------------------------------------------- anchors
@settings(max_examples=30, deadline=None)
@given(seed=seeds, percentile=st.floats(0, 100), float32=st.booleans())
def test_rows_of_the_estimate_add_up_to_one(seed, percentile, float32):
    """Whatever was predicted."""
    p = predictions(np.random.default_rng(seed))
    p = p.astype(np.float32) if float32 else p
    found = anchor_transition(p, percentile=percentile)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    assert (found >= 0).all()


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_perfect_predictions_of_the_given_label_give_the_matrix(seed):
    """p(given | x) = T[true class], of which every sample is certain."""
    random = np.random.default_rng(seed)
    expected = random_transition(random, 5)
    true = random.permutation(np.repeat(np.arange(5), 20))
    np.testing.assert_allclose(anchor_transition(expected[true]), expected, atol=1e-12)


def test_the_anchor_lies_at_the_percentile():
    """Of 101 samples the third to the fifth largest p(a); the largest may be outliers."""
    first = np.array([0.0] * 96 + [0.8, 0.9, 0.94, 0.99, 1.0])
    p = np.stack([first, 1 - first], axis=1)
    sizes = np.array([50, 51])
    row = [(0.8 + 0.9 + 0.94) / 3, (0.2 + 0.1 + 0.06) / 3]
    np.testing.assert_allclose(anchor_transition(p, sizes=sizes)[0], row)
    np.testing.assert_allclose(anchor_transition(p, percentile=100), np.eye(2))


def test_the_mean_of_several_anchors_is_nearer_than_one():
    """Rows of T with noise of their own: 37 of them err less than the one in their midst."""
    random = np.random.default_rng(0)
    expected = random_transition(random, 4, diagonal=0.7)
    p = 0.2 * random.dirichlet(np.ones(4), size=1200) + 0.8 * expected[np.repeat(range(4), 300)]
    expected = 0.2 / 4 + 0.8 * expected
    one = np.stack([p[np.argsort(-p[:, label])[36]] for label in range(4)])
    found = anchor_transition(p)
    assert np.abs(found - expected).sum() < np.abs(one - expected).sum()


def test_samples_that_are_equally_certain_give_their_mean():
    """So that their order does not matter."""
    p = np.array([[0.6, 0.4, 0.0], [0.6, 0.0, 0.4], [0.1, 0.9, 0.0], [0.1, 0.0, 0.9]])
    for order in ([0, 1, 2, 3], [1, 0, 3, 2]):  # with so few rows the anchor is the first
        np.testing.assert_allclose(anchor_transition(p[order])[0], [0.6, 0.2, 0.2])


def test_the_anchor_of_a_rare_class_is_one_of_its_own():
    """Of 100 classes, the 97th percentile over all samples lies among other classes."""
    expected = pair_transition(100, 0.2)
    p = expected[np.repeat(np.arange(100), 10)]
    np.testing.assert_allclose(anchor_transition(p, sizes=np.full(100, 10)), expected)
    over_all = anchor_transition(p, sizes=np.full(100, len(p)))
    assert np.abs(over_all - expected).max() > 0.1


def test_a_class_without_rows_is_taken_for_labelled_right():
    """Its largest p(a) is that of a sample of another class."""
    p = predictions(np.random.default_rng(0))
    found = anchor_transition(p, sizes=np.array([30, 0, 30, 30]))
    assert [0, 1, 0, 0] == found[1].tolist()
    np.testing.assert_array_equal(found[[0, 2, 3]], anchor_transition(p)[[0, 2, 3]])


@pytest.mark.parametrize(
    "p", [np.zeros((0, 3)), np.zeros(3), np.array([[0.5, np.nan], [0.5, 0.5]])]
)
def test_what_are_no_probabilities_is_refused(p):
    """No rows, one dimension, or a network that has diverged."""
    with pytest.raises(ParameterError, match=r"probabilities must be \(N, k\)"):
        anchor_transition(p)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1, 0, 0], [0, 0, 0]], "Row 1 of probabilities adds up to 0, not to 1"),
        ([[1, 0, 0], [0, 0.5, 0.498]], "Row 1 of probabilities adds up to 0.998, not to 1"),
        ([[1, 0, 0], [0, 0.5, 0.502]], "Row 1 of probabilities adds up to 1.002, not to 1"),
        ([[-0.5, 1, 0.5], [1, 0, 0]], "Row 0 of probabilities holds -0.5"),
    ],
)
@pytest.mark.parametrize("sizes", [None, [2, 2, 2]])
def test_rows_that_are_no_distribution_are_refused(rows, message, sizes):
    """Logits, counts, and samples that were never predicted would give a matrix all the same."""
    with pytest.raises(ParameterError, match=message):
        anchor_transition(np.array(rows), sizes=sizes)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_rounded_to_few_digits_are_distributions(dtype):
    """Of a thousand classes."""
    p = predictions(np.random.default_rng(0), rows=50, classes=1000).astype(dtype)
    np.testing.assert_allclose(anchor_transition(p).sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([45, 45], r"sizes must be \(3,\), got \(2,\)"),
        ([30, 30, 30, 30], r"sizes must be \(3,\), got \(4,\)"),
        ([30, -1, 30], "sizes has entries that are negative or not finite"),
        ([30, np.nan, 30], "sizes has entries that are negative or not finite"),
    ],
)
def test_sizes_of_other_classes_are_refused(sizes, message):
    """One count for each column, or the anchors are those of other classes."""
    with pytest.raises(ParameterError, match=message):
        anchor_transition(predictions(np.random.default_rng(0), classes=3), sizes=sizes)


def test_a_percentile_out_of_range_is_refused():
    with pytest.raises(ParameterError, match=r"percentile must be in \[0, 100\], got 101"):
        anchor_transition(np.eye(2), percentile=101)


# ---------------------------------------------------------------------- annotators
def annotated(random, transition, shares, rows, annotators):
    """True classes, and labels drawn from their rows of the matrix, (N, A)."""
    classes = len(transition)
    true = random.choice(classes, size=rows, p=shares)
    uniform = random.random((rows, annotators, 1))
    labels = (uniform > transition[true].cumsum(axis=1)[:, None, :-1]).sum(axis=2)
    return true, labels


def test_three_labels_a_sample_tell_the_matrix_and_the_shares():
    """From 20 000 samples to within .02; a vote between the three would be off by more."""
    random = np.random.default_rng(0)
    expected = random_transition(random, 4, diagonal=0.6)
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    _, labels = annotated(random, expected, shares, 20_000, 3)
    found = annotator_transition(labels, 4)
    np.testing.assert_allclose(found.transition, expected, atol=0.02)
    np.testing.assert_allclose(found.shares, shares, atol=0.02)
    first = labels[:, :1]
    vote = (labels == first).sum(axis=1) >= 2
    by_vote = np.where(vote, labels[:, 0], labels[:, 1])
    counts = np.zeros((4, 4))
    for column in labels.T:
        np.add.at(counts, (by_vote, column), 1)
    assert np.abs(counts / counts.sum(axis=1, keepdims=True) - expected).max() > 0.04


def test_the_beliefs_are_calibrated():
    """Of the samples believed to be of a class with 0.8 to 0.9, so many are."""
    random = np.random.default_rng(1)
    true, labels = annotated(random, symmetric_transition(3, 0.4), [1 / 3] * 3, 20_000, 3)
    belief = annotator_transition(labels, 3).probabilities
    np.testing.assert_allclose(belief.sum(axis=1), 1)
    surest = belief.argmax(axis=1)
    rows = (belief.max(axis=1) > 0.6) & (belief.max(axis=1) < 0.95)
    assert rows.sum() > 1000
    assert (surest == true)[rows].mean() == pytest.approx(belief.max(axis=1)[rows].mean(), abs=0.03)


def test_the_result_explains_itself():
    """A fixed point: the matrix counted from the beliefs, one vote at a time, is the matrix."""
    random = np.random.default_rng(2)
    _, labels = annotated(random, random_transition(random, 3, 0.6), [0.5, 0.3, 0.2], 2000, 4)
    labels[random.random(labels.shape) < 0.2] = -1
    found = annotator_transition(labels, 3)
    counted = np.zeros((3, 3))
    for row, beliefs in zip(labels, found.probabilities, strict=True):
        for label in row[row >= 0]:
            counted[:, label] += beliefs
    counted /= counted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(counted, found.transition, atol=1e-7)


def test_unanimous_annotators_make_no_mistakes():
    """T = I, and the shares are those of the labels."""
    labels = np.array([0, 0, 0, 1])
    found = annotator_transition(np.stack([labels, labels], axis=1), 3)
    np.testing.assert_allclose(found.transition, np.eye(3))
    np.testing.assert_allclose(found.shares, [0.75, 0.25, 0])


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_the_order_of_the_annotators_does_not_matter(seed):
    """They are taken for alike."""
    random = np.random.default_rng(seed)
    _, labels = annotated(random, random_transition(random, 3, 0.7), [0.5, 0.3, 0.2], 200, 3)
    labels[random.random(labels.shape) < 0.1] = -1
    first = annotator_transition(labels, 3)
    second = annotator_transition(labels[:, [2, 0, 1]], 3)
    np.testing.assert_array_equal(first.transition, second.transition)


def test_labels_that_tell_nothing_are_refused():
    """One label a sample; another shape; a class there is not."""
    with pytest.raises(ParameterError, match="No sample has two labels"):
        annotator_transition(np.array([[0, -1], [-1, 1]]), 2)
    with pytest.raises(ParameterError, match=r"annotations must be \(N, A\), got \(2,\)"):
        annotator_transition(np.array([0, 1]), 2)
    with pytest.raises(LabelError, match=r"Label 2 of row 1 is outside 0\.\.1"):
        annotator_transition(np.array([[0, 1], [0, 2]]), 2)


@pytest.mark.parametrize(
    ("labels", "name"), [([[0.0, 1.0], [0.0, np.nan]], "float64"), ([[True, False]], "bool")]
)
def test_annotations_that_are_no_integers_are_refused(labels, name):
    """As pandas holds labels with gaps."""
    with pytest.raises(LabelError, match=f"annotations must be integers, got {name}"):
        annotator_transition(np.array(labels), 2)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
def test_any_integers_will_do_as_annotations(dtype):
    found = annotator_transition(np.array([[0, 0], [1, 1]], dtype=dtype), 2)
    np.testing.assert_allclose(found.shares, 0.5)


# ---------------------------------------------------------------------- rates, inverses
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4])
@pytest.mark.parametrize("make", [symmetric_transition, pair_transition])
def test_the_noise_rate_is_that_of_the_matrix(make, rate):
    """And of labels that were drawn by it, classes of different sizes included."""
    transition = make(5, rate)
    true = np.repeat(np.arange(5), [100, 200, 300, 50, 50])
    given_labels = corrupt(true, transition, 0)
    found = transition_noise_rate(transition, np.bincount(true))
    assert found == pytest.approx(rate)
    assert found == pytest.approx((given_labels != true).mean())


def test_classes_count_by_their_shares_in_the_noise_rate():
    """One class of three is always wrong: a third of the labels, or as many as it has."""
    transition = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert transition_noise_rate(transition, np.ones(3)) == pytest.approx(1 / 3)
    assert transition_noise_rate(transition, np.array([0.1, 0.4, 0.5])) == pytest.approx(0.1)


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_the_shares_of_the_true_classes_come_back(seed):
    """Tᵀ π, turned back."""
    random = np.random.default_rng(seed)
    transition, shares = random_transition(random, 4), random.dirichlet(np.ones(4))
    np.testing.assert_allclose(true_shares(transition, shares @ transition), shares, atol=1e-12)


@pytest.mark.parametrize("function", [true_shares, transition_noise_rate])
@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ([0, 0], "hares are all 0"),
        ([0.5, np.nan], "hares has entries that are negative or not finite"),
        ([np.inf, 0.5], "hares has entries that are negative or not finite"),
        ([1.5, -0.5], "hares has entries that are negative or not finite"),
        ([1], r"hares must be \(2,\), got \(1,\)"),
        ([0.2, 0.3, 0.5], r"hares must be \(2,\), got \(3,\)"),
    ],
)
def test_what_are_no_shares_is_refused(function, shares, message):
    """Nothing divides by zero, and no class is left out."""
    with pytest.raises(ParameterError, match=message):
        function(np.eye(2), np.array(shares))


@pytest.mark.parametrize("function", [true_shares, transition_noise_rate])
@pytest.mark.parametrize("matrix", [np.full((3, 2), 0.5), np.full((2, 2), 0.4)])
def test_shares_need_a_transition_matrix(function, matrix):
    """The diagonal of any table would do for a number."""
    with pytest.raises(ParameterError, match=r"transition must be \(k, k\)|adds up to 0.8"):
        function(matrix, np.ones(2))


def test_shares_that_no_classes_could_have_are_kept_at_zero():
    """Fewer labels of class 1 than class 0 alone would give."""
    transition = np.array([[0.7, 0.3], [0.0, 1.0]])
    assert [1, 0] == true_shares(transition, np.array([0.8, 0.2])).tolist()


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_the_inverse_undoes_the_matrix_and_its_rows_add_up_to_one(seed):
    """T⁻¹ T = I, T⁻¹ 1 = 1."""
    transition = random_transition(np.random.default_rng(seed), 5)
    inverse = inverse_transition(transition)
    np.testing.assert_allclose(inverse @ transition, np.eye(5), atol=1e-10)
    np.testing.assert_allclose(inverse.sum(axis=1), 1, rtol=1e-10)


def test_a_matrix_without_an_inverse_is_refused():
    """Half of the labels of four classes moved to the next."""
    with pytest.raises(ParameterError, match="transition has no usable inverse"):
        inverse_transition(pair_transition(4, 0.5))


def test_an_estimate_is_made_invertible_by_as_little_as_it_takes():
    """One that has an inverse stays as it is; equal rows are moved apart by a thousandth."""
    transition = pair_transition(4, 0.4)
    np.testing.assert_array_equal(made_invertible(transition), transition)
    equal_rows = np.full((3, 3), 1 / 3)
    mended = made_invertible(equal_rows)
    inverse_transition(mended)
    np.testing.assert_allclose(mended.sum(axis=1), 1)
    np.testing.assert_allclose(mended, equal_rows, atol=0.001)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3)[:2], r"transition must be \(k, k\), got \(2, 3\)"),
        ([0.5, 0.5], r"transition must be \(k, k\), got \(2,\)"),
        ([[1.2, -0.2], [0, 1]], "negative or not finite"),
        ([[np.nan, 1], [0, 1]], "negative or not finite"),
        ([[1, 0], [0.5, 0.4]], "Row 1 of transition adds up to 0.9, not to 1"),
    ],
)
def test_what_is_no_transition_matrix_is_refused(matrix, message):
    """With the shape, or the row."""
    with pytest.raises(ParameterError, match=message):
        check_transition(matrix)


def test_a_matrix_of_other_classes_is_refused():
    """k is known when a run starts."""
    with pytest.raises(ParameterError, match=r"transition must be \(4, 4\), got \(3, 3\)"):
        check_transition(np.eye(3), 4)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 6))
def test_labels_that_were_seen_to_are_taken_out_of_a_matrix(seed, classes):
    """What is left is the matrix of the others, whatever share of each class was seen to."""
    random = np.random.default_rng(seed)
    counts = random.integers(50, 500, classes)  # of each true class
    seen_to = random.integers(0, 0.8 * counts)
    rest = 0.6 * np.eye(classes) + 0.4 * random.dirichlet(np.ones(classes), classes)
    everything = (seen_to[:, None] * np.eye(classes) + (counts - seen_to)[:, None] * rest) / counts[
        :, None
    ]
    found = without_trusted(everything, counts @ everything, seen_to)
    np.testing.assert_allclose(found, rest, atol=1e-6)


def test_a_class_of_which_all_was_seen_to_keeps_a_matrix():
    """Nothing is left to estimate it from; its row stays one of probabilities."""
    found = without_trusted(np.eye(3), np.array([10, 10, 10]), np.array([10, 0, 30]))
    np.testing.assert_array_equal(found, np.eye(3))
