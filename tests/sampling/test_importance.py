"""The importance correction: unbiased in full, none at all, and never more than ten."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.errors import ParameterError
from thresher.sampling.binned_thinning import BinnedThinning
from thresher.sampling.importance import check_beta, expected_correction, importance_weights
from thresher.sampling.levels import levels_of


def law(seed, pressure, samples=200):
    """A distribution, as an array over the samples and as the engine's spectrum."""
    engine = BinnedThinning(
        levels_of(np.random.default_rng(seed).random(samples)), pressure=pressure
    )
    return engine.probabilities(np.arange(samples)), engine.spectrum()


@given(st.integers(0, 1000), st.floats(1, 3))
def test_in_full_it_gives_the_mean_of_the_whole_data(seed, pressure):
    """Σ P ω g = mean g, for any g."""
    probability, spectrum = law(seed, pressure)
    weights = importance_weights(200 * probability, 1.0, expected_correction(*spectrum, 1.0))
    gradient = np.random.default_rng(seed + 1).normal(size=200)
    # abs: the weights are float32
    assert (probability * weights * gradient).sum() == pytest.approx(gradient.mean(), abs=1e-6)


@given(st.floats(0, 1), st.floats(1, 20))
def test_the_mean_weight_of_a_batch_is_one(beta, pressure):
    """So that the learning rate means the same for every exponent."""
    probability, spectrum = law(3, pressure)
    weights = importance_weights(200 * probability, beta, expected_correction(*spectrum, beta))
    assert weights.max() < 10  # nothing is clipped here
    assert 1 == pytest.approx((probability * weights).sum(), rel=1e-5)


def test_none_leaves_the_losses_as_they_are():
    probability, spectrum = law(0, 100.0)
    weights = importance_weights(200 * probability, 0.0, expected_correction(*spectrum, 0.0))
    assert weights == pytest.approx(np.ones(200))


def test_no_loss_counts_for_more_than_ten():
    assert [10.0, 10.0] == importance_weights(np.array([0.01, 0.1]), 1.0, 1.0).tolist()


@pytest.mark.parametrize("beta", [-0.1, 1.1])
def test_an_exponent_out_of_range_is_refused(beta):
    with pytest.raises(ParameterError, match="importance_beta"):
        check_beta(beta)
