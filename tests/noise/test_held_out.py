"""Held-out rows: drawn by class, or by whole groups, and never all that a class has."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thresher.errors import ParameterError
from thresher.noise.held_out import HELD_OUT_MOST, draw_held_out
from thresher.noise.method import Plan


def drawn(labels, *, share=None, groups=None, seed=0):
    """The held-out rows of some labels, as booleans."""
    labels = np.asarray(labels)
    plan = Plan(len(labels), int(labels.max()) + 1, 10, seed)
    return draw_held_out(plan, torch.from_numpy(labels), share=share, groups=groups).numpy()


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=6),
    share=st.floats(0, 0.5),
    seed=st.integers(0, 99),
)
def test_every_class_gives_its_share_and_keeps_a_row(counts, share, seed):
    """To rounding: a class may differ by one from its share."""
    labels = np.repeat(np.arange(len(counts)), counts)
    held = drawn(labels, share=share, seed=seed)
    for label, count in enumerate(counts):
        given_away = held[labels == label].sum()
        assert given_away < count
        assert abs(given_away - share * count) <= 1.5 or given_away == count - 1
    assert held.sum() <= round(share * len(labels))


def test_by_default_a_tenth_and_never_more_than_2000():
    """A tenth of little; of much, what tells enough."""
    assert drawn(np.arange(300) % 3).sum() == 30
    assert drawn(np.arange(50_000) % 5).sum() == HELD_OUT_MOST


def test_rows_without_a_label_are_never_held_out():
    """They teach nothing anyway."""
    labels = np.where(np.arange(400) % 4 == 0, -1, np.arange(400) % 2)
    held = drawn(labels, share=0.2)
    assert held.sum() == 60
    assert not held[labels < 0].any()


@given(size=st.integers(1, 7), share=st.sampled_from([0.1, 0.2, 0.4]), seed=st.integers(0, 20))
@settings(deadline=None)
def test_groups_are_held_out_whole_or_not_at_all(size, share, seed):
    """And make up the share, to the size of a few groups."""
    groups = np.arange(420) // size
    labels = np.arange(420) % 3
    held = drawn(labels, share=share, groups=groups, seed=seed)
    for group in np.unique(groups):
        assert held[groups == group].all() or not held[groups == group].any()
    # one of round(1 / share) folds of equal size, to a group a class or so
    assert abs(held.sum() - 420 / round(1 / share)) <= 3 * size + 3


def test_a_class_that_one_group_holds_stays_in_training():
    """Whatever the seed: nobody could learn it otherwise."""
    groups = np.arange(60) // 6
    labels = np.where(groups == 4, 2, np.arange(60) % 2)
    for seed in range(12):
        held = drawn(labels, share=0.2, groups=groups, seed=seed)
        assert not held[labels == 2].any()


def test_too_few_groups_are_refused():
    """With the number of them, and what to do."""
    with pytest.raises(ParameterError, match="There are 3 groups, too few to hold out one in 10"):
        drawn(np.arange(90) % 2, groups=np.arange(90) // 30)


def test_the_draw_belongs_to_the_seed():
    """The same again, another for another."""
    labels = np.arange(500) % 5
    assert (drawn(labels, seed=3) == drawn(labels, seed=3)).all()
    assert (drawn(labels, seed=3) != drawn(labels, seed=4)).any()


def test_few_rows_of_a_class_do_not_stop_the_draw_of_groups():
    """The splitter wants a class with a row for every fold; there are fewer folds then."""
    labels = np.arange(8) % 2
    held = drawn(labels, groups=np.arange(8))
    assert 0 < held.sum() < 8
    assert set(labels[~held]) == {0, 1}
