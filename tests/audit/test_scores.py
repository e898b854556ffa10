"""Scores: closed forms and the dynamics they are named after."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.audit.scores import (
    area_under_margin,
    confidence,
    correctness,
    floored_log_margin,
    forgetting_events,
    label_score,
    mean_loss,
    normalised_margin,
    rank_ensemble,
    variability,
)
from thresher.errors import ParameterError

shares = st.floats(0, 1)


def margin(p_given, p_rival):
    return floored_log_margin(np.array([p_given]), np.array([p_rival]))[0]


def score(p_given, p_rival):
    return label_score(np.array([p_given]), np.array([p_rival]))[0]


def test_margin_of_the_most_probable_label():
    """p = (.7, .2, .1), given 0: ln(.73/.23)."""
    assert margin(0.7, 0.2) == pytest.approx(math.log(0.73 / 0.23))


def test_margin_of_the_least_probable_label():
    """p = (.7, .2, .1), given 2: ln(.13/.73)."""
    assert margin(0.1, 0.7) == pytest.approx(math.log(0.13 / 0.73))


def test_a_tie_scores_exactly_one_half():
    """Uniform probabilities."""
    assert margin(0.25, 0.25) == 0
    assert score(0.25, 0.25) == np.float32(0.5)


def test_a_certain_rival_scores_zero():
    """s = -ln(1.03/.03) = -3.536."""
    assert margin(0.0, 1.0) == pytest.approx(-3.536, abs=5e-4)
    assert score(0.0, 1.0) == 0


def test_a_certain_given_label_scores_one():
    """The other end of the range."""
    assert score(1.0, 0.0) == 1


@given(p=shares, q=shares)
def test_exchanging_given_and_rival_mirrors_the_score(p, q):
    """The score is antisymmetric about one half, and stays in [0, 1]."""
    assert 0 <= score(p, q) <= 1
    assert score(p, q) + score(q, p) == pytest.approx(1, abs=1e-6)


@given(p=shares, q=shares, r=shares)
def test_a_stronger_rival_never_raises_the_score(p, q, r):
    """Monotone in the rival's probability."""
    low, high = sorted((q, r))
    assert score(p, high) <= score(p, low)


def test_an_unknown_probability_has_an_unknown_score():
    """NaN in, NaN out."""
    assert np.isnan(score(np.nan, 0.5))


def test_a_floor_of_zero_is_refused():
    """The logarithm of nothing."""
    with pytest.raises(ParameterError, match="floor"):
        floored_log_margin(np.array([0.0]), np.array([1.0]), floor=0.0)


def test_dynamics_of_a_known_history():
    """Probabilities .2, .4, .9 (mean 1/2); right once; margins 1, 2, 6."""
    p, visits = np.array([0.2, 0.4, 0.9]), np.array([3])
    assert confidence(np.array([p.sum()]), visits)[0] == pytest.approx(0.5)
    spread = variability(np.array([p.sum()]), np.array([(p**2).sum()]), visits)[0]
    assert spread == pytest.approx(np.std(p), rel=1e-6)
    assert correctness(np.array([1]), visits)[0] == pytest.approx(1 / 3)
    assert area_under_margin(np.array([9.0]), visits)[0] == 3


@given(p=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30))
def test_variability_stays_between_zero_and_one_half(p):
    """Rounding of float32 sums never makes a root of something negative."""
    values = np.array(p, dtype=np.float32)
    sums = np.array([values.sum()]), np.array([(values**2).sum()])
    assert 0 <= variability(*sums, np.array([len(p)]))[0] <= 0.5001


def test_what_was_never_seen_is_unknown():
    """No visit, no mean."""
    assert np.isnan(confidence(np.array([0.0]), np.array([0]))[0])


def test_a_sample_never_right_is_forgotten_at_every_visit():
    """Worse than any that was right once: at most half the visits can forget."""
    found = forgetting_events(np.array([0, 2, 0]), np.array([0, 3, 9]), np.array([9, 9, 9]))
    assert [9, 2, 0] == found.tolist()


def test_the_normalised_margin_by_hand():
    """p = (.7, .2, .1), given 0 and given 2."""
    found = normalised_margin(np.array([0.7, 0.1, np.nan]), np.array([0.2, 0.7, 0.5]))
    np.testing.assert_allclose(found, [0.5, -0.6, np.nan], rtol=1e-6)


@given(st.lists(st.tuples(shares, shares), min_size=2, max_size=20))
def test_the_floored_margin_of_a_large_floor_orders_as_the_normalised_one(pairs):
    """Its limit: differences above rounding have the same sign."""
    p_given, p_rival = np.array(pairs).T
    large = floored_log_margin(p_given, p_rival, floor=1e6)
    plain = normalised_margin(p_given, p_rival).astype(np.float64)
    apart = np.abs(plain[:, None] - plain[None, :]) > 1e-4
    same = np.sign(large[:, None] - large[None, :]) == np.sign(plain[:, None] - plain[None, :])
    assert same[apart].all()


def test_the_mean_loss_is_per_visit():
    """NaN for a row never seen."""
    found = mean_loss(np.array([6.0, 1.0, 0.0]), np.array([3, 2, 0]))
    np.testing.assert_allclose(found, [2.0, 0.5, np.nan])


def test_an_ensemble_of_one_score_is_its_rank():
    """From 0 to 1; equal values share their mean."""
    found = rank_ensemble(np.array([5.0, -1.0, 5.0, 7.0, -3.0]))
    np.testing.assert_allclose(found, [2.5 / 4, 1 / 4, 2.5 / 4, 1.0, 0.0])


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=30))
def test_an_ensemble_knows_orders_alone(pairs):
    """Any increasing change of a score leaves it as it is; it stays within [0, 1]."""
    one, two = np.array(pairs, dtype=float).T
    found = rank_ensemble(one, two)
    np.testing.assert_array_equal(found, rank_ensemble(np.exp(one), 100 * two - 7))
    assert 0 <= found.min() <= found.max() <= 1
    np.testing.assert_allclose(found, rank_ensemble(two, one), rtol=1e-6)


def test_an_ensemble_knows_nothing_where_one_score_does_not():
    """The ranks are those among the others."""
    found = rank_ensemble(np.array([1.0, np.nan, 3.0, 2.0]), np.array([1.0, 2.0, np.nan, 5.0]))
    np.testing.assert_allclose(found, [0.0, np.nan, np.nan, 1.0])
    assert rank_ensemble(np.array([])).shape == (0,)


@pytest.mark.parametrize("scores", [(), (np.zeros(2), np.zeros(3))])
def test_an_ensemble_needs_scores_of_one_length(scores):
    """At least one."""
    with pytest.raises(ParameterError, match="scores of one length"):
        rank_ensemble(*scores)
