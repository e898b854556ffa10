"""Figures of a detector, counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.errors import DataError, ParameterError
from thresher.openset import figures

scores = st.lists(st.integers(-5, 5), min_size=1, max_size=30).map(
    lambda found: np.array(found, dtype=float)
)


def test_figures_by_hand():
    """Known 1 2 3 4, foreign 3.5 5: 7 of 8 pairs in order; 5 is found first, 3.5 third."""
    found = figures(np.array([1.0, 2, 3, 4]), np.array([3.5, 5]))
    assert found.auroc == 7 / 8
    assert found.aupr == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found.fpr_at_95 == 0.5  # all four must pass, and 3.5 passes with them


def test_one_known_sample_of_twenty_may_be_lost():
    """Nineteen pass at 18: half of the foreign ones lie below it."""
    found = figures(np.arange(20.0), np.array([17.5, 18.5]))
    assert found.fpr_at_95 == 0.5


@given(scores, scores)
def test_figures_are_those_of_all_pairs_and_thresholds(known, foreign):
    """Slow and obvious."""
    found = figures(known, foreign)
    pairs = np.sign(foreign[:, None] - known[None])
    assert found.auroc == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2)
    passing = [at for at in np.unique([*known, *foreign]) if (known <= at).mean() >= 0.95 - 1e-9]
    assert found.fpr_at_95 == pytest.approx((foreign <= min(passing)).mean())


@given(scores, scores)
def test_only_the_order_counts(known, foreign):
    """A rising function of the scores changes nothing."""
    assert figures(known, foreign) == figures(np.exp(known), np.exp(foreign))


def test_bad_input_is_refused():
    """Empty, missing, of another shape."""
    some = np.array([1.0])
    with pytest.raises(DataError, match="scores of the foreign samples are none"):
        figures(some, some[:0])
    with pytest.raises(DataError, match="scores of the known samples"):
        figures(np.array([np.nan]), some)
    with pytest.raises(ParameterError, match="known must have one dimension"):
        figures(some[None], some)
