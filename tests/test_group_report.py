"""Groups are compared by closed forms, and small ones are marked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.group_report import (
    FEWEST,
    NAMELESS,
    demographic_parity_gap,
    equalised_odds_gap,
    fairness,
    numbered,
    selection_by_group,
)

LABELS = np.array([0, 0, 1, 1, 0, 0, 1, 1])
GROUPS = np.repeat([0, 1], 4)


def test_demographic_parity_by_hand():
    """Class 1 for three quarters of one group and one quarter of the other."""
    predicted = np.array([1, 1, 1, 0, 1, 0, 0, 0])
    assert demographic_parity_gap(predicted, GROUPS, 2, fewest=1) == 0.5


def test_equalised_odds_by_hand():
    """True positives 1 and ½, false positives ½ and ½: the larger gap is ½."""
    predicted = np.array([0, 1, 1, 1, 0, 1, 1, 0])
    assert equalised_odds_gap(predicted, LABELS, GROUPS, 2, fewest=1) == 0.5


def test_equalised_odds_sees_false_positives_too():
    """Of three classes, false alarms of one that is never missed."""
    labels = np.array([0, 1, 2, 0, 1, 2])
    predicted = np.array([0, 1, 2, 0, 0, 0])
    assert equalised_odds_gap(predicted, labels, np.repeat([0, 1], 3), 3, fewest=1) == 1.0


def test_a_right_prediction_has_no_gap_in_odds_but_may_have_one_in_parity():
    """Where classes are spread unevenly over groups."""
    labels = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    found = fairness(labels, labels, GROUPS, ("a", "b"), 2, fewest=1)
    assert found.equalised_odds_gap == 0
    assert found.demographic_parity_gap == 0.5
    assert found.worst_group_accuracy == 1


def test_the_worst_group_is_named():
    """With its accuracy."""
    predicted = np.array([0, 0, 1, 1, 0, 1, 1, 1])
    found = fairness(predicted, LABELS, GROUPS, ("north", "south"), 2, fewest=1)
    assert (found.worst_group, found.worst_group_accuracy) == ("south", 0.75)
    assert [(each.group, each.n, each.accuracy) for each in found.groups] == [
        ("north", 4, 1.0),
        ("south", 4, 0.75),
    ]


def test_small_groups_are_marked_and_move_nothing():
    """A group of one that is all wrong is neither the worst nor a gap."""
    labels = np.zeros(2 * FEWEST + 1, int)
    predicted = labels.copy()
    predicted[-1] = 1
    groups = np.repeat([0, 1, 2], [FEWEST, FEWEST, 1])
    found = fairness(predicted, labels, groups, ("a", "b", "c"), 2)
    assert [each.small for each in found.groups] == [False, False, True]
    assert found.worst_group_accuracy == 1
    assert found.demographic_parity_gap == 0
    assert found.equalised_odds_gap == 0


def test_of_small_groups_alone_nothing_is_said():
    """No worst, no gap."""
    found = fairness(LABELS, LABELS, GROUPS, ("a", "b"), 2)
    assert found.worst_group is None
    assert found.demographic_parity_gap is None
    assert found.equalised_odds_gap is None
    assert all(each.small for each in found.groups)


def test_selection_by_class_and_group_by_hand():
    """Of class 0 in group a: three given, one wrong; two trusted, the wrong one among them."""
    labels, true = np.array([0, 0, 0, 1, 0]), np.array([0, 0, 1, 1, 0])
    groups = np.array([0, 0, 0, 0, 1])
    trusted = np.array([True, False, True, False, True])
    first, second, third = selection_by_group(
        trusted, labels, groups, ("a", "b"), ("x", "y"), true=true, fewest=3
    )
    assert (first.label, first.group, first.n, first.small) == ("x", "a", 3, False)
    assert first.selection_rate == pytest.approx(2 / 3)
    assert (first.label_precision, first.label_recall) == (0.5, 0.5)
    assert (second.group, second.n, second.label_recall, second.small) == ("b", 1, 1.0, True)
    assert (third.label, third.selection_rate, third.label_precision) == ("y", 0.0, None)


def test_without_truth_there_is_a_selection_rate_alone():
    """Nobody knows which labels are right; rows without a label are left out."""
    (cell,) = selection_by_group(
        np.array([True, False]), np.array([0, -1]), np.zeros(2, int), ("a",), ("x",)
    )
    assert (cell.n, cell.selection_rate) == (1, 1.0)
    assert cell.label_precision is None
    assert cell.label_recall is None


@given(st.integers(0, 2**31), st.integers(2, 4), st.integers(1, 4))
def test_gaps_are_shares_and_do_not_depend_on_names_or_order(seed, classes, groups):
    """Permuting samples and renumbering groups changes nothing."""
    random = np.random.default_rng(seed)
    predicted, labels = random.integers(0, classes, (2, 60))
    group = random.integers(0, groups, 60)
    names = tuple("abcd"[:groups])
    found = fairness(predicted, labels, group, names, classes, fewest=3)
    order, renamed = random.permutation(60), random.permutation(groups)
    other = fairness(
        predicted[order], labels[order], renamed[group[order]], names, classes, fewest=3
    )
    for name in ("worst_group_accuracy", "demographic_parity_gap", "equalised_odds_gap"):
        first, second = getattr(found, name), getattr(other, name)
        assert (first is None) == (second is None)
        if first is not None:
            assert first == pytest.approx(second)
            assert 0 <= first <= 1


def test_gaps_of_two_classes_are_the_textbooks():
    """|P(ŷ=1|a=0) - P(ŷ=1|a=1)|, and the larger of the gaps of TPR and FPR."""
    random = np.random.default_rng(0)
    predicted, labels, group = random.integers(0, 2, (3, 400))
    rate = [predicted[group == each].mean() for each in (0, 1)]
    assert demographic_parity_gap(predicted, group, 2) == pytest.approx(abs(rate[0] - rate[1]))
    odds = [
        abs(np.subtract(*(predicted[(labels == y) & (group == each)].mean() for each in (0, 1))))
        for y in (0, 1)
    ]
    assert equalised_odds_gap(predicted, labels, group, 2) == pytest.approx(max(odds))


def test_samples_without_a_group_are_one_of_their_own():
    """Under a name of its own."""
    codes, names = numbered([None, 2, 1, "", float("nan")])
    assert names == (NAMELESS, "1", "2")
    assert codes.tolist() == [0, 2, 1, 0, 0]
