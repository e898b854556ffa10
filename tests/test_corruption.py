"""Label corruption: exact counts in closed form, realised rates, what must stay as it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from thresher.data import corruption
from thresher.data.corruption import (
    CIFAR10_PAIRS,
    CIFAR100_SUPER_CLASSES,
    asymmetric_transition,
    class_dependent_transition,
    corrupt,
    cyclic_pairs,
    instance_dependent,
    pair_transition,
    symmetric_transition,
)
from thresher.errors import LabelError, ParameterError


def confusion(labels, given_labels, classes):
    counts = np.zeros((classes, classes), dtype=int)
    np.add.at(counts, (labels, given_labels), 1)
    return counts


def balanced(classes, samples, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), samples))


def test_symmetric_matrix_excludes_the_true_class():
    expected = [[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1], [0.1] * 3 + [0.7]]
    assert_allclose(symmetric_transition(4, 0.3), expected)


def test_pair_matrix_leads_to_the_next_class_and_from_the_last_to_the_first():
    assert_allclose(pair_transition(3, 0.4), [[0.6, 0.4, 0], [0, 0.6, 0.4], [0.4, 0, 0.6]])


def test_asymmetric_noise_of_cifar10_mistakes_five_classes_and_half_as_many_labels():
    labels = balanced(10, 50)
    given_labels = corrupt(labels, asymmetric_transition(10, 0.4, CIFAR10_PAIRS), 0)
    expected = np.diag([50] * 10)
    for true, mistaken in ((9, 1), (2, 0), (4, 7), (3, 5), (5, 3)):
        expected[true, true], expected[true, mistaken] = 30, 20
    assert_array_equal(confusion(labels, given_labels, 10), expected)
    assert (labels != given_labels).mean() == pytest.approx(0.4 / 2)


def test_asymmetric_noise_of_cifar100_stays_within_the_super_classes():
    pairs = cyclic_pairs(CIFAR100_SUPER_CLASSES)
    assert sorted(pairs) == sorted(pairs.values()) == list(range(100))
    group = {label: number for number, five in enumerate(CIFAR100_SUPER_CLASSES) for label in five}
    assert all(group[true] == group[mistaken] for true, mistaken in pairs.items())
    labels = balanced(100, 10)
    counts = confusion(labels, corrupt(labels, asymmetric_transition(100, 0.3, pairs), 0), 100)
    assert_array_equal(np.diag(counts), [7] * 100)
    assert [counts[true, mistaken] for true, mistaken in pairs.items()] == [3] * 100


def test_super_classes_are_twenty_groups_of_five_in_alphabetical_order():
    assert len(CIFAR100_SUPER_CLASSES) == 20
    for five in CIFAR100_SUPER_CLASSES:
        assert len(five) == 5
        assert list(five) == sorted(five)


def test_pair_noise_is_the_asymmetric_noise_of_one_cycle():
    cycle = cyclic_pairs([range(4)])
    assert_allclose(asymmetric_transition(4, 0.3, cycle), pair_transition(4, 0.3))


def test_classes_without_a_pair_keep_their_labels():
    labels = balanced(4, 25)
    given_labels = corrupt(labels, asymmetric_transition(4, 0.4, {1: 2}), 0)
    assert_array_equal(given_labels[labels != 1], labels[labels != 1])
    assert_array_equal(np.bincount(given_labels[labels == 1]), [0, 15, 10])


@pytest.mark.parametrize("pairs", [{0: 0}, {0: 3}, {3: 0}, {-1: 0}])
def test_a_pair_that_leads_nowhere_is_refused(pairs):
    ((true, mistaken),) = pairs.items()
    with pytest.raises(ParameterError, match=f"The pair {true} → {mistaken} must lead to another"):
        asymmetric_transition(3, 0.2, pairs)


def test_pair_noise_moves_exactly_its_share_of_each_class():
    labels = balanced(3, 50)
    counts = confusion(labels, corrupt(labels, pair_transition(3, 0.4), 0), 3)
    assert_array_equal(counts, [[30, 20, 0], [0, 30, 20], [20, 0, 30]])


def test_symmetric_noise_that_divides_evenly_hits_all_other_classes_alike():
    labels = balanced(5, 100)
    counts = confusion(labels, corrupt(labels, symmetric_transition(5, 0.4), 0), 5)
    assert_array_equal(counts, np.full((5, 5), 10) + np.eye(5, dtype=int) * 50)


def test_a_remainder_goes_to_the_classes_that_follow():
    # 10 · 0.6 = 6 wrong labels for 4 other classes: one each, and two more for the next two.
    labels = balanced(5, 10)
    counts = confusion(labels, corrupt(labels, symmetric_transition(5, 0.6), 0), 5)
    row = np.array([4, 2, 2, 1, 1])
    assert_array_equal(counts, [np.roll(row, label) for label in range(5)])
    assert_array_equal(counts.sum(axis=0), [10] * 5)


def test_half_a_flip_is_a_flip():
    labels = np.zeros(5, dtype=int)
    assert corrupt(labels, pair_transition(2, 0.5), 0).sum() == 3
    assert corrupt(labels, pair_transition(2, 0.3), 0).sum() == 2  # 5 · 0.3 = 1.5


def test_a_remainder_goes_to_the_greatest_fraction():
    transition = [[0.5, 0.34, 0.16], [0, 1, 0], [0, 0, 1]]
    # 5 flips of 10: 3.4 and 1.6, so 3 and 2.
    counts = confusion(np.zeros(10, int), corrupt(np.zeros(10, int), transition, 0), 3)
    assert counts[0].tolist() == [5, 3, 2]


transitions = st.integers(2, 6).flatmap(
    lambda k: arrays(np.float64, (k, k), elements=st.floats(0, 1)).map(
        lambda weights: (weights + 1e-3) / (weights + 1e-3).sum(axis=1, keepdims=True)
    )
)


@given(transitions, st.lists(st.integers(-1, 1), max_size=60), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_every_count_is_within_one_of_its_expectation(transition, labels, seed):
    labels = np.array(labels, dtype=np.int64)
    given_labels = corrupt(labels, transition, seed)
    assert_array_equal(given_labels < 0, labels < 0)
    for true in (0, 1):
        rows = labels == true
        expected = rows.sum() * transition[true]
        counts = np.bincount(given_labels[rows], minlength=len(transition))
        flips = rows.sum() - counts[true]
        assert abs(flips - (rows.sum() - expected[true])) <= 0.5 + 1e-6
        shares = flips * transition[true] / (1 - transition[true, true])
        assert np.all(np.abs(counts - shares)[np.arange(len(transition)) != true] < 1 + 1e-6)


def test_the_same_seed_corrupts_the_same_samples():
    labels = balanced(4, 30)
    transition = symmetric_transition(4, 0.3)
    first, again, other = (corrupt(labels, transition, seed) for seed in (1, 1, 2))
    assert_array_equal(first, again)
    assert (first != other).any()


def test_a_generator_may_be_passed_instead_of_a_seed():
    labels = balanced(4, 30)
    transition = symmetric_transition(4, 0.3)
    drawn = corrupt(labels, transition, np.random.default_rng(7))
    assert_array_equal(drawn, corrupt(labels, transition, 7))


def test_the_labels_passed_in_are_not_changed():
    labels = balanced(4, 30)
    before = labels.copy()
    corrupt(labels, symmetric_transition(4, 0.9), 0)
    instance_dependent(np.zeros((120, 2)), labels, 0.9, 4, 0)
    assert_array_equal(labels, before)


def test_every_sample_of_a_class_is_hit_equally_often():
    labels = np.repeat([0, 1], 20)
    transition = pair_transition(2, 0.25)
    hits = sum((corrupt(labels, transition, seed) != labels).astype(int) for seed in range(2000))
    # Mean 500, deviation 19.4; 5 deviations for the extreme of 40.
    assert_allclose(hits, 500, atol=97)


def test_independent_draws_have_random_counts_around_the_matrix():
    labels = np.zeros(2000, dtype=int)
    transition = np.array([[0.5, 0.3, 0.2], [0, 1, 0], [0, 0, 1]])
    counts = [
        np.bincount(corrupt(labels, transition, seed, exact=False), minlength=3)
        for seed in range(20)
    ]
    assert len({tuple(each) for each in counts}) > 10
    assert stats.chisquare(np.sum(counts, axis=0), 40_000 * transition[0]).pvalue > 1e-3


@pytest.mark.parametrize("exact", [True, False])
def test_a_missing_label_stays_missing(exact):
    labels = np.array([-1, 0, 1, -1, 1, 0])
    drawn = corrupt(labels, symmetric_transition(2, 0.9), 0, exact=exact)
    assert_array_equal(drawn < 0, labels < 0)


def test_the_identity_changes_nothing():
    labels = balanced(6, 7)
    assert_array_equal(corrupt(labels, np.eye(6), 0), labels)


def test_no_labels_give_no_labels():
    assert corrupt([], symmetric_transition(3, 0.2), 0).shape == (0,)


@pytest.mark.parametrize("classes", [3, 26])
def test_class_dependent_rates_are_spread_evenly_with_two_targets(classes):
    transition = class_dependent_transition(classes, 5)
    rates = 1 - np.diag(transition)
    assert_allclose(np.sort(rates), np.linspace(0.05, 0.35, classes))
    assert_allclose(transition.sum(axis=1), 1)
    for true in range(classes):
        others = np.delete(transition[true], true)
        assert_allclose(np.sort(others)[-2:], [0.4 * rates[true], 0.6 * rates[true]])
        assert np.count_nonzero(others) == 2
    assert_allclose(class_dependent_transition(classes, 5), transition)


@pytest.mark.parametrize("noise_rate", [0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 0.9, 0.98])
def test_instance_dependent_noise_has_its_rate(noise_rate):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, 30_000)
    drawn = instance_dependent(generator.normal(size=(30_000, 8)), labels, noise_rate, 10, 1)
    assert_allclose((drawn != labels).mean(), noise_rate, atol=0.01)


def test_instance_dependent_noise_follows_the_input():
    generator = np.random.default_rng(1)
    inputs = np.repeat(generator.normal(size=(2, 6)), 3000, axis=0)  # two inputs, many times
    labels = np.zeros(6000, dtype=int)
    drawn = instance_dependent(inputs, labels, 0.5, 4, 3)
    counts = np.array([np.bincount(part, minlength=4) for part in np.split(drawn, 2)])
    assert stats.chi2_contingency(counts[:, 1:]).pvalue < 1e-6
    assert_allclose(counts[:, 0] / 3000, 0.5, atol=0.05)


def test_instance_dependent_noise_does_not_depend_on_the_block_size(monkeypatch):
    generator = np.random.default_rng(2)
    inputs, labels = generator.normal(size=(500, 4)), generator.integers(-1, 3, 500)
    whole = instance_dependent(inputs, labels, 0.4, 3, 0)
    monkeypatch.setattr(corruption, "BLOCK_ROWS", 7)
    assert_array_equal(instance_dependent(inputs, labels, 0.4, 3, 0), whole)
    assert_array_equal(whole < 0, labels < 0)


def test_instance_dependent_noise_takes_images_and_huge_values():
    images = np.random.default_rng(3).integers(0, 256, (200, 4, 4, 3), dtype=np.uint8)
    labels = balanced(5, 40)
    drawn = instance_dependent(images, labels, 0.5, 5, 0)
    assert set(drawn.tolist()) <= set(range(5))
    assert 0.3 < (drawn != labels).mean() < 0.7


def test_instance_dependent_noise_at_rate_zero_changes_nothing():
    labels = balanced(3, 50)
    assert_array_equal(instance_dependent(np.zeros((150, 2)), labels, 0.0, 3, 0), labels)


@pytest.mark.parametrize(
    "make",
    [symmetric_transition, pair_transition, lambda k, rate: asymmetric_transition(k, rate, {0: 1})],
)
@pytest.mark.parametrize("noise_rate", [-0.1, 1, 1.2, float("nan")])
def test_a_noise_rate_outside_its_range_is_refused(make, noise_rate):
    with pytest.raises(ParameterError, match=rf"noise_rate must be in \[0, 1\), got {noise_rate}"):
        make(3, noise_rate)


@pytest.mark.parametrize(
    "make",
    [
        lambda: symmetric_transition(1, 0.2),
        lambda: pair_transition(1, 0.2),
        lambda: asymmetric_transition(1, 0.2, {}),
        lambda: class_dependent_transition(2, 0),
        lambda: instance_dependent(np.zeros((3, 2)), [0, 0, 0], 0.2, 1, 0),
    ],
)
def test_too_few_classes_are_refused(make):
    with pytest.raises(ParameterError, match="needs at least"):
        make()


@pytest.mark.parametrize(
    ("transition", "message"),
    [
        ([[0.5, 0.5]], "as many rows as columns"),
        ([[1.2, -0.2], [0, 1]], "negative or no number"),
        ([[np.nan, 1], [0, 1]], "negative or no number"),
        ([[0.5, 0.5], [0.5, 0.4]], "Row 1 of the transition matrix sums to 0.9"),
    ],
)
def test_a_matrix_of_no_probabilities_is_refused(transition, message):
    with pytest.raises(ParameterError, match=message):
        corrupt([0, 1], transition, 0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 3], r"Label 3 of sample 2 is outside -1\.\.2"),
        ([0, -2, 1], r"Label -2 of sample 1 is outside -1\.\.2"),
        ([0.0, 1.0], "must be integers"),
        ([[0, 1]], "must be integers in one dimension"),
    ],
)
def test_labels_that_are_no_class_are_refused(labels, message):
    with pytest.raises(LabelError, match=message):
        corrupt(labels, symmetric_transition(3, 0.2), 0)


def test_as_many_labels_as_inputs_are_needed():
    with pytest.raises(LabelError, match="2 inputs and 3 labels"):
        instance_dependent(np.zeros((2, 2)), [0, 1, 1], 0.2, 2, 0)
