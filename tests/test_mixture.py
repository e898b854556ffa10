"""Two-component mixtures: known mixtures, scikit-learn as reference, degenerate inputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.mixture import GaussianMixture as ReferenceMixture

from thresher.errors import ParameterError
from thresher.mixture import BetaMixture, GaussianMixture, fit_beta_mixture, fit_gaussian_mixture


def losses(seed: int, n: int = 5000, share: float = 0.3) -> np.ndarray:
    """Draw 0.7 N(0.3, 0.1²) + 0.3 N(3, 0.5²) with exact shares, shuffled."""
    generator = np.random.default_rng(seed)
    high = generator.permutation(n) < round(share * n)
    return np.where(high, generator.normal(3, 0.5, n), generator.normal(0.3, 0.1, n))


def overlapping(seed: int, n: int = 4000) -> np.ndarray:
    generator = np.random.default_rng(seed)
    high = generator.random(n) < 0.3
    return np.where(high, generator.normal(3, 1, n), generator.normal(0, 0.7, n))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_distant_gaussians_are_found_with_their_shares(seed):
    fitted = fit_gaussian_mixture(losses(seed))
    assert_allclose(fitted.weights, (0.7, 0.3), atol=0.005)
    assert_allclose(fitted.means, (0.3, 3.0), atol=0.05)
    assert_allclose(fitted.stds, (0.1, 0.5), rtol=0.05)
    assert fitted.separated


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mean_posterior_is_the_share_of_the_high_component(seed):
    values = losses(seed)
    assert_allclose(fit_gaussian_mixture(values).posterior_high(values).mean(), 0.3, atol=0.005)


def test_gaussian_fit_agrees_with_scikit_learn():
    values = overlapping(5)
    reference = ReferenceMixture(2, tol=1e-9, max_iter=2000, random_state=0)
    reference.fit(values[:, None])
    order = np.argsort(reference.means_[:, 0])
    fitted = fit_gaussian_mixture(values)
    # Both stop at a finite step; the fit's own sampling error here is ten times the tolerance.
    assert_allclose(fitted.weights, reference.weights_[order], atol=1e-3)
    assert_allclose(fitted.means, reference.means_[order, 0], atol=3e-3)
    assert_allclose(fitted.stds, np.sqrt(reference.covariances_[order, 0, 0]), atol=3e-3)
    assert_allclose(
        fitted.posterior_high(values),
        reference.predict_proba(values[:, None])[:, order[1]],
        atol=3e-3,
    )


def test_a_posterior_is_the_ratio_of_the_weighted_densities():
    mixture = GaussianMixture((0.8, 0.2), (0.0, 2.0), (0.5, 1.0), True)
    values = np.linspace(-3, 5, 33)
    low = 0.8 * stats.norm.pdf(values, 0, 0.5)
    high = 0.2 * stats.norm.pdf(values, 2, 1)
    assert_allclose(mixture.posterior_high(values), high / (low + high), rtol=1e-12)


def test_a_beta_posterior_is_the_ratio_of_the_weighted_densities():
    mixture = BetaMixture((0.6, 0.4), (2.0, 7.0), (8.0, 3.0), True)
    values = np.linspace(0.01, 0.99, 33)
    low = 0.6 * stats.beta.pdf(values, 2, 8)
    high = 0.4 * stats.beta.pdf(values, 7, 3)
    assert_allclose(mixture.posterior_high(values), high / (low + high), rtol=1e-12)


def test_two_betas_are_found_with_their_shapes():
    generator = np.random.default_rng(0)
    high = np.arange(20000) < 6000
    values = np.where(high, generator.beta(8, 2, 20000), generator.beta(1.5, 6, 20000))
    fitted = fit_beta_mixture(values)
    assert_allclose(fitted.weights, (0.7, 0.3), atol=0.01)
    assert_allclose(fitted.means, (0.2, 0.8), atol=0.01)
    assert_allclose(fitted.stds, (stats.beta.std(1.5, 6), stats.beta.std(8, 2)), rtol=0.03)
    assert fitted.separated


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
def test_unequal_shares_are_found(share):
    fitted = fit_gaussian_mixture(losses(3, share=share))
    assert_allclose(fitted.weights[1], share, atol=0.005)
    assert fitted.separated


def test_a_handful_of_extreme_values_does_not_hide_the_two_heaps():
    values = np.append(losses(4), [30.0] * 5)
    assert_allclose(fit_gaussian_mixture(values).weights, (0.7, 0.3), atol=0.02)


@pytest.mark.parametrize("fit", [fit_gaussian_mixture, fit_beta_mixture])
def test_any_order_of_the_samples_gives_the_same_mixture(fit):
    values = overlapping(6)
    values = (values - values.min()) / np.ptp(values)
    shuffled = np.random.default_rng(0).permutation(values)
    assert fit(values) == fit(shuffled)


@given(shift=st.floats(-100, 100), scale=st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_a_change_of_unit_changes_the_gaussians_alike(shift, scale):
    values = losses(8, n=500)
    before, after = fit_gaussian_mixture(values), fit_gaussian_mixture(shift + scale * values)
    # The last step may differ where rounding decides that the parameters stand still.
    assert_allclose(after.weights, before.weights, atol=1e-6)
    assert_allclose(after.means, shift + scale * np.array(before.means), atol=1e-6 * scale)
    assert_allclose(after.stds, scale * np.array(before.stds), atol=1e-6 * scale)


def test_mirrored_values_swap_the_components():
    values = losses(9)
    before, after = fit_gaussian_mixture(values), fit_gaussian_mixture(-values)
    assert_allclose(after.weights, before.weights[::-1], atol=1e-6)
    assert_allclose(after.means, -np.array(before.means[::-1]), atol=1e-6)


@pytest.mark.parametrize("fit", [fit_gaussian_mixture, fit_beta_mixture])
@pytest.mark.parametrize("values", [[], [0.4], [0.1, 0.5, 0.9], [0.3] * 50, [0.1 + 0.2] * 7])
def test_nothing_to_split_is_one_component_and_nobody_is_high(fit, values):
    fitted = fit(values)
    assert fitted.weights == (1.0, 0.0)
    assert not fitted.separated
    assert_allclose(fitted.means, [np.mean(values)] * 2 if values else fitted.means)
    assert fitted.posterior_high(values).tolist() == [0.0] * len(values)


@pytest.mark.parametrize("fit", [fit_gaussian_mixture, fit_beta_mixture])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sign", [1, -1])
def test_values_that_differ_in_their_last_digit_are_one_heap(fit, dtype, sign):
    """The losses of a network that predicts the same of all: ln k, summed in another order."""
    loss = dtype(sign * np.log(10) if fit is fit_gaussian_mixture else 1 / np.log(10))
    values = np.full(100, loss)
    values[30:] = np.nextafter(loss, dtype(9))
    fitted = fit(values)
    assert not fitted.separated
    assert fitted.weights == (1.0, 0.0)
    assert_allclose(fitted.means, loss, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_heaps_a_hundred_last_digits_apart_are_two(dtype):
    """However small that is beside the values."""
    values = 2 + 100 * np.finfo(dtype).eps * (np.arange(100) >= 30).astype(dtype)
    fitted = fit_gaussian_mixture(values.astype(dtype))
    assert fitted.separated
    assert_allclose(fitted.weights, (0.3, 0.7))


@pytest.mark.parametrize("seed", range(8))
def test_one_population_is_not_separated(seed):
    generator = np.random.default_rng(seed)
    assert not fit_gaussian_mixture(generator.normal(size=2000)).separated
    assert not fit_beta_mixture(generator.beta(2, 5, size=2000)).separated


def test_a_part_of_less_than_one_percent_is_not_separated():
    assert not fit_gaussian_mixture(losses(1, share=0.005)).separated


@pytest.mark.parametrize("fit", [fit_gaussian_mixture, fit_beta_mixture])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_is_refused_with_its_position(fit, bad):
    with pytest.raises(ParameterError, match=f"got {bad} at position 2"):
        fit([0.1, 0.2, bad, 0.4, 0.5])


def test_a_beta_mixture_refuses_values_outside_its_range():
    with pytest.raises(ParameterError, match=r"in \[0, 1\], got 1.5 at position 1"):
        fit_beta_mixture([0.1, 1.5, 0.3, 0.4])


def assert_sound(fitted, values):
    posterior = fitted.posterior_high(values)
    assert posterior.shape == (len(values),)
    assert np.all((posterior >= 0) & (posterior <= 1))
    assert np.all(np.isfinite([*fitted.weights, *fitted.means, *fitted.stds]))
    assert_allclose(sum(fitted.weights), 1)
    assert fitted.means[0] <= fitted.means[1]


@given(arrays(np.float64, st.integers(0, 40), elements=st.floats(-1e60, 1e60)))
@settings(max_examples=150, deadline=None)
def test_gaussians_are_sound_for_any_finite_values(values):
    assert_sound(fit_gaussian_mixture(values), values)


@given(arrays(np.float64, st.integers(0, 40), elements=st.floats(0, 1)))
@settings(max_examples=150, deadline=None)
def test_betas_are_sound_for_any_values_in_the_unit_interval(values):
    assert_sound(fit_beta_mixture(values), values)


@given(arrays(np.float64, 30, elements=st.sampled_from([0.0, 0.25, 0.25000001, 1.0])))
@settings(max_examples=60, deadline=None)
def test_few_distinct_values_are_no_trouble(values):
    assert_sound(fit_gaussian_mixture(values), values)
    assert_sound(fit_beta_mixture(values), values)
