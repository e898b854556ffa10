"""Active Bias and static weights: draws in proportion to what was asked for."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sampling.drawing import history_with, weights_of
from thresher.errors import ParameterError
from thresher.prediction_deviation import prediction_deviation
from thresher.sampling import ActiveBias, StaticWeights


def sums_of(visits):
    """Σ p, Σ p² and n of lists of probabilities."""
    values = [np.asarray(each, dtype=np.float32) for each in visits]
    return (
        torch.tensor([float(each.sum()) for each in values]),
        torch.tensor([float((each**2).sum()) for each in values]),
        torch.tensor([len(each) for each in values], dtype=torch.int32),
    )


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=200))
def test_the_deviation_is_that_of_the_visits(values):
    """sqrt(v + v² / (n - 1)) with NumPy's variance; the sums lose less than a thousandth."""
    variance = np.var(values)
    expected = math.sqrt(variance + variance**2 / (len(values) - 1))
    assert float(prediction_deviation(*sums_of([values]))) == pytest.approx(expected, abs=1e-3)


def test_one_visit_has_no_variance_and_none_is_unknown():
    """0 and NaN."""
    found = prediction_deviation(*sums_of([[0.7], []]))
    assert found[0] == 0
    assert found[1].isnan()


def history_of(selector, visits):
    total, squares, count = sums_of(visits)
    return history_with(
        selector, len(visits), 3, 40, given_sum=total, given_square_sum=squares, visits=count
    )


VISITS = [[0.1, 0.9, 0.5], [0.8, 0.8, 0.8], [0.0, 1.0], [0.3, 0.4, 0.35, 0.31], [0.6]]


@pytest.mark.parametrize("smoothing", [None, 0.02, 0.2])
def test_samples_are_drawn_in_proportion_to_deviation_and_smoothing(smoothing):
    """P ∝ ŝ + ε, ε the mean of ŝ where it is not given."""
    selector = ActiveBias(smoothing=smoothing)
    history = history_of(selector, VISITS)
    deviation = prediction_deviation(*sums_of(VISITS)).double()
    epsilon = float(deviation.mean()) if smoothing is None else smoothing
    expected = (deviation + epsilon) / (deviation + epsilon).sum()
    weights = weights_of(selector.refresh(history, 20), selector.pressure(20))
    assert (weights / weights.sum()).tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_while_nothing_has_varied_all_are_drawn_alike():
    """And what was never seen has no score."""
    selector = ActiveBias()
    scores = selector.refresh(history_of(selector, [[0.4], [0.9], []]), 0)
    assert scores[:2].tolist() == [0, 0]
    assert scores[2].isnan()


def test_the_warmup_shrinks_with_the_run():
    """Ten epochs, or a quarter."""
    selector = ActiveBias()
    for epochs, expected in ((None, 10), (100, 10), (12, 3)):
        selector.begin(5, 3, epochs)
        assert expected == selector.warmup


# ---------------------------------------------------------------------- weights that are given
@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30), st.floats(0.01, 100))
def test_static_weights_are_drawn_in_proportion_whatever_their_scale(values, scale):
    """P_i = w_i / Σ w."""
    selector = StaticWeights([value * scale for value in values])
    history = history_with(selector, len(values), 2, None)
    weights = weights_of(selector.refresh(history, 0), selector.pressure(0))
    expected = np.asarray(values) / np.sum(values)
    np.testing.assert_allclose((weights / weights.sum()).numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.inf, math.nan])
def test_a_weight_that_is_not_positive_is_named(wrong):
    """Its place and its value."""
    with pytest.raises(ParameterError, match="weight 1 is"):
        StaticWeights([1.0, wrong, 2.0])


def test_weights_of_other_data_are_refused():
    """One a sample."""
    with pytest.raises(ParameterError, match="3 weights for 4 samples"):
        StaticWeights([1.0, 2.0, 3.0]).begin(4, 2, 10)
    with pytest.raises(ParameterError, match="there is none"):
        StaticWeights([])
