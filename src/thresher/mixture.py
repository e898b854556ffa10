"""Two-component mixtures of one quantity per sample: which of two populations is it from?

Losses of clean and of mislabelled samples form two heaps while the labels are not memorised yet; a
mixture turns a loss into the probability of belonging to the upper heap.

    r_i            = P(high | x_i)
    weight         = mean of r                  (of the low component: mean of 1 - r)
    mean, variance = moments of x weighted by r

For Gaussians the weighted moments are the maximum-likelihood step, so this is EM; for Beta
components they stand in for a maximisation without closed form.
Two heaps are found in anything: look at ``separated`` before believing them.

Sources: Gaussian mixture of losses: Li, Socher, Hoi, DivideMix, ICLR 2020. Beta mixture by moments:
Arazo, Ortego, Albert, O'Connor, McGuinness, Unsupervised label noise modeling and loss correction,
ICML 2019. Deviations: no random start; the values are sorted first, so that any order of the
samples gives the same bits and every process takes the same decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi, sqrt
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, expit

from thresher.errors import ParameterError

__all__ = ["BetaMixture", "GaussianMixture", "fit_beta_mixture", "fit_gaussian_mixture"]

Array: TypeAlias = NDArray[np.float64]
Pair: TypeAlias = tuple[float, float]
LogDensity: TypeAlias = Callable[[float, float], Array]  # of a mean and a variance, at all values

ITERATIONS = 100
REGULARISATION = 1e-6  # least variance of a component, as a share of the variance of all values
TOLERANCE = 1e-7  # greatest change of a parameter, in units of the values' deviation, to stop at
SMALLEST_COMPONENT = 1e-8  # a share below it is the rounding error of a component that has died
ROUNDING = 4  # last digits by which values of one heap may differ: a loss is a sum
LARGEST_VALUE = (
    1e60  # far enough from overflow for squared distances in units of the least deviation
)
INSIDE = 1e-4  # Beta densities may be infinite at 0 and 1; values keep this distance


class Moments(NamedTuple):
    """What is known of the components between two steps: arrays of 2, low and high."""

    weights: Array
    means: Array
    variances: Array


@dataclass(frozen=True)
class GaussianMixture:
    """Two Gaussians on a line, the one with the lower mean first.

    Attributes:
        weights: Shares of the two components; they sum to 1.
        means: Their means, in the unit of the values, ascending.
        stds: Their standard deviations, in the unit of the values.
        separated: The means differ by more than one pooled standard deviation, both shares exceed
            0.01, and two components explain the values better than one (Schwarz's criterion, 1978).
            If not, take the values as one population.
    """

    weights: Pair
    means: Pair
    stds: Pair
    separated: bool

    def posterior_high(self, values: ArrayLike) -> Array:
        """Give each value's probability of coming from the component with the larger mean.

        The wider Gaussian wins far out on both sides: where the high component is the wider one,
        values far below both means count as high again.

        Args:
            values: (n,) finite numbers.

        Returns:
            (n,) float64 in [0, 1]; zeros when the mixture has a single component.

        Raises:
            ParameterError: A value is not finite or above 1e60 in magnitude.
        """
        values = _finite(values)
        if self.weights[1] == 0:
            return np.zeros(len(values))
        densities = [
            _gaussian_log_density(values, mean, std**2)
            for mean, std in zip(self.means, self.stds, strict=True)
        ]
        return _posterior(self.weights, densities)


@dataclass(frozen=True)
class BetaMixture:
    """Two Beta distributions on (0, 1), the one with the lower mean first.

    Attributes:
        weights: Shares of the two components; they sum to 1.
        alphas: First shape parameters, > 0.
        betas: Second shape parameters, > 0.
        separated: As for `GaussianMixture`.
    """

    weights: Pair
    alphas: Pair
    betas: Pair
    separated: bool

    @property
    def means(self) -> Pair:
        """Means of the two components, ascending."""
        low, high = (a / (a + b) for a, b in zip(self.alphas, self.betas, strict=True))
        return low, high

    @property
    def stds(self) -> Pair:
        """Standard deviations of the two components."""
        low, high = (
            sqrt(a * b / (a + b + 1)) / (a + b)
            for a, b in zip(self.alphas, self.betas, strict=True)
        )
        return low, high

    def posterior_high(self, values: ArrayLike) -> Array:
        """Give each value's probability of coming from the component with the larger mean.

        Args:
            values: (n,) numbers in [0, 1]; those closer to an end than 1e-4 are moved to there.

        Returns:
            (n,) float64 in [0, 1]; zeros when the mixture has a single component.

        Raises:
            ParameterError: A value is outside [0, 1] or not finite.
        """
        values = _inside(values)
        if self.weights[1] == 0:
            return np.zeros(len(values))
        logs = np.log(values), np.log1p(-values)
        densities = [
            _beta_log_density(*logs, alpha, beta)
            for alpha, beta in zip(self.alphas, self.betas, strict=True)
        ]
        return _posterior(self.weights, densities)


def fit_gaussian_mixture(values: ArrayLike) -> GaussianMixture:
    """Fit two Gaussians to numbers by expectation maximisation from a fixed start.

    Fewer than 4 values, or values that are all equal but for rounding in their own precision, give
    one component (weights 1 and 0, not separated) instead of an error: an epoch's selection may
    well leave such a rest.

    Args:
        values: (n,) finite numbers up to 1e60 in magnitude, such as the losses of n samples.

    Raises:
        ParameterError: A value is not finite or too large.

    Cost: one sort and up to 100 passes, about 1 s for 10**6 values. Hurts when: one population is
    skewed (an exponential looks like two), or a few values lie far out and widen a component.

    >>> fit_gaussian_mixture([0.1, 0.2, 0.3, 5.1, 5.2, 5.3]).weights
    (0.5, 0.5)
    """
    ordered = np.sort(_finite(values))
    if _is_single(ordered, _precision(values)):
        mean = float(ordered.mean()) if len(ordered) else 0.0
        return GaussianMixture((1.0, 0.0), (mean, mean), (0.0, 0.0), False)
    centre, unit = ordered.mean(), ordered.std()
    standard = (ordered - centre) / unit

    def log_density(mean: float, variance: float) -> Array:
        return _gaussian_log_density(standard, mean, variance)

    fitted = _fit(standard, log_density)
    return GaussianMixture(
        weights=_pair(fitted.weights),
        means=_pair(centre + unit * fitted.means),
        stds=_pair(unit * np.sqrt(fitted.variances)),
        separated=_is_separated(fitted, standard, log_density),
    )


def fit_beta_mixture(values: ArrayLike) -> BetaMixture:
    """Fit two Beta distributions to numbers in [0, 1] by weighted moments from a fixed start.

    Fewer than 4 values, or values that are all equal but for rounding, give one component as for
    Gaussians.

    Args:
        values: (n,) numbers in [0, 1]; those closer to an end than 1e-4 are moved to there.

    Raises:
        ParameterError: A value is outside [0, 1] or not finite.
    """
    ordered = np.sort(_inside(values))
    if _is_single(ordered, _precision(values)):
        mean = float(ordered.mean()) if len(ordered) else 0.5
        # No Beta distribution is a point; this one has the mean and a deviation below 0.0005.
        return BetaMixture((1.0, 0.0), (1e6 * mean,) * 2, (1e6 * (1 - mean),) * 2, False)
    logs = np.log(ordered), np.log1p(-ordered)

    def log_density(mean: float, variance: float) -> Array:
        return _beta_log_density(*logs, *_beta_shape(mean, variance))

    fitted = _fit(ordered, log_density)
    low, high = (_beta_shape(*each) for each in zip(fitted.means, fitted.variances, strict=True))
    return BetaMixture(
        weights=_pair(fitted.weights),
        alphas=(low[0], high[0]),
        betas=(low[1], high[1]),
        separated=_is_separated(fitted, ordered, log_density),
    )


def _fit(ordered: Array, log_density: LogDensity) -> Moments:
    """Alternate expectation and moments until neither component moves."""
    squares, unit = ordered**2, float(ordered.std())
    floor = REGULARISATION * unit**2
    upper = (np.arange(len(ordered)) >= _two_means_split(ordered)).astype(np.float64)
    now = _moments(upper, ordered, squares, floor)
    for _ in range(ITERATIONS):
        densities = [log_density(*each) for each in zip(now.means, now.variances, strict=True)]
        high = _posterior(_pair(now.weights), densities)
        if not SMALLEST_COMPONENT < high.mean() < 1 - SMALLEST_COMPONENT:
            break
        before, now = now, _moments(high, ordered, squares, floor)
        if _change(before, now, unit) < TOLERANCE:
            break
    order = np.argsort(now.means, kind="stable")
    return Moments(*(each[order] for each in now))


def _two_means_split(ordered: Array) -> int:
    """Count the values below the best of 19 splits in two, at the twentieths of the sample.

    Best is the greatest variance between the parts, as in 2-means. Only the twentieths are tried,
    since a handful of extreme values would otherwise be a part of their own; a split at the median
    needs up to twice as many steps where the shares are unequal.
    """
    n, sums = len(ordered), np.cumsum(ordered)
    below = np.unique(np.clip(np.arange(1, 20) * n // 20, 1, n - 1))
    between = (sums[below - 1] * n - below * sums[-1]) ** 2 / (below * (n - below))
    return int(below[between.argmax()])


def _moments(high: Array, ordered: Array, squares: Array, floor: float) -> Moments:
    """Take weights, means and variances of the two components, given P(high)."""
    low = 1 - high
    mass = np.array([low.sum(), high.sum()])
    means = np.array([low @ ordered, high @ ordered]) / mass
    variances = np.array([low @ squares, high @ squares]) / mass - means**2
    return Moments(mass / len(ordered), means, np.maximum(variances, floor))


def _change(before: Moments, now: Moments, unit: float) -> float:
    """Measure the greatest change of a weight, or of a mean or deviation in units."""
    return float(
        max(
            np.abs(now.weights - before.weights).max(),
            np.abs(now.means - before.means).max() / unit,
            np.abs(np.sqrt(now.variances) - np.sqrt(before.variances)).max() / unit,
        )
    )


def _is_separated(fitted: Moments, ordered: Array, log_density: LogDensity) -> bool:
    """Compare distance, shares and likelihood with those of a single population."""
    pooled = np.sqrt(fitted.weights @ fitted.variances)
    if fitted.means[1] - fitted.means[0] <= pooled or fitted.weights.min() <= 0.01:
        return False
    components = zip(fitted.weights, fitted.means, fitted.variances, strict=True)
    low, high = (np.log(weight) + log_density(*moments) for weight, *moments in components)
    one = log_density(float(ordered.mean()), float(ordered.var()))
    gain = np.logaddexp(low, high).sum() - one.sum()
    # Three parameters more. By distance alone, a third of 300 draws of 2000 normal values were two.
    return bool(2 * gain > 3 * np.log(len(ordered)))


def _gaussian_log_density(values: Array, mean: float, variance: float) -> Array:
    density = values - mean
    density *= density
    density *= -0.5 / variance
    density -= 0.5 * log(2 * pi * variance)
    return density


def _beta_log_density(logs: Array, complement_logs: Array, alpha: float, beta: float) -> Array:
    """Evaluate at values given as log x and log(1 - x), which a fit takes once."""
    density: Array = (alpha - 1) * logs
    density += (beta - 1) * complement_logs
    density -= betaln(alpha, beta)
    return density


def _beta_shape(mean: float, variance: float) -> Pair:
    """Give the alpha and beta that have this mean and variance."""
    concentration = mean * (1 - mean) / variance - 1
    return float(mean * concentration), float((1 - mean) * concentration)


def _posterior(weights: Pair, densities: list[Array]) -> Array:
    """P(high) from the shares and the two log densities; the second is overwritten."""
    low, high = densities
    high -= low
    high += log(weights[1] / weights[0])
    expit(high, out=high)
    return high


def _is_single(ordered: Array, precision: float) -> bool:
    """Say whether there is nothing to split: fewer than 4 values, or no spread beyond rounding."""
    if len(ordered) < 4:
        return True
    largest = max(abs(ordered[0]), abs(ordered[-1]))
    return bool(ordered[-1] - ordered[0] <= max(1 / LARGEST_VALUE, ROUNDING * precision * largest))


def _precision(values: ArrayLike) -> float:
    """Relative distance of neighbouring numbers in the type that the values came in."""
    dtype, computed = np.asarray(values).dtype, float(np.finfo(np.float64).eps)
    return max(computed, float(np.finfo(dtype).eps)) if dtype.kind == "f" else computed


def _finite(values: ArrayLike) -> Array:
    checked = np.asarray(values, dtype=np.float64).reshape(-1)
    bad = ~(np.abs(checked) <= LARGEST_VALUE)  # NaN compares false
    if bad.any():
        first = int(bad.argmax())
        raise ParameterError(
            f"A mixture needs finite values up to {LARGEST_VALUE:g}, got {checked[first]} "
            f"at position {first}.",
            "Leave such values out, or find out why the loss became infinite.",
        )
    return checked


def _inside(values: ArrayLike) -> Array:
    checked = np.asarray(values, dtype=np.float64).reshape(-1)
    bad = ~((checked >= 0) & (checked <= 1))
    if bad.any():
        first = int(bad.argmax())
        raise ParameterError(
            f"A Beta mixture needs values in [0, 1], got {checked[first]} at position {first}.",
            "Scale the values to [0, 1] first, for losses by their largest value.",
        )
    return np.clip(checked, INSIDE, 1 - INSIDE)


def _pair(values: Array) -> Pair:
    low, high = values.tolist()
    return low, high
