"""Scores of how far a sample lies from what a network was trained on; higher = farther out.

    maximum_softmax     -max_c p_c                                  of logits
    energy              -T ln Σ_c exp(z_c / T)                      of logits
    mahalanobis         min_c (f - μ_c)ᵀ Σ⁻¹ (f - μ_c)              of features
    nearest_neighbour   distance to the K-th neighbour, all rows    of features
                        brought to length 1

Means, Σ and neighbours are those of *trusted* samples: wrong labels move the means and widen Σ, and
foreign samples among the neighbours make their like look familiar.

    Σ = (1/n) Σ_i (f_i - μ_{y_i}) (f_i - μ_{y_i})ᵀ + 1e-6 (tr / d) I

Everything is computed in float64, block by block: a matrix product in float32 loses the small
distances, which are the ones that order near samples.

Sources: Hendrycks, Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution
Examples, ICLR 2017; Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020; Lee et
al., A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks,
NeurIPS 2018; Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thresher.errors import DataError, ParameterError
from thresher.noise_rate import rows_per_block

__all__ = [
    "NEIGHBOURS",
    "SHRINKAGE",
    "ClassGaussians",
    "as_array",
    "energy",
    "fit_gaussians",
    "mahalanobis",
    "maximum_softmax",
    "nearest_neighbour",
]

Floats = NDArray[np.floating[Any]]
Scores = NDArray[np.float64]

#: K of `nearest_neighbour` (Sun et al. 2022: 50 for CIFAR-10, 200 for CIFAR-100).
NEIGHBOURS = 50
#: Share of the mean variance that is added to every variance of Σ.
SHRINKAGE = 1e-6


def maximum_softmax(logits: ArrayLike) -> Scores:
    """The largest probability, negated.

    >>> maximum_softmax(np.array([[0.0, 0.0], [1000.0, 0.0]])).tolist()
    [-0.5, -1.0]

    Args:
        logits: (N, k) float.

    Returns:
        (N,) in [-1, -1/k].

    Raises:
        DataError: logits that are not finite.
        ParameterError: of another shape.
    """
    checked = _matrix("logits", logits)
    scores = np.empty(len(checked))
    for here in _blocks(len(checked), checked.shape[1]):
        block = checked[here].astype(np.float64)
        block -= block.max(axis=1, keepdims=True)
        scores[here] = -1.0 / np.exp(block).sum(axis=1)
    return scores


def energy(logits: ArrayLike, *, temperature: float = 1.0) -> Scores:
    """The free energy of the logits: low where some class is strongly supported.

    >>> energy(np.array([[0.0, 0.0], [1000.0, 0.0]])).round(4).tolist()
    [-0.6931, -1000.0]

    Args:
        logits: (N, k) float.
        temperature: T > 0, finite. Default 1 (Liu et al. 2020).

    Raises:
        DataError: logits that are not finite.
        ParameterError: of another shape; temperature not above 0, not finite, or so small or large
            that something overflows.
    """
    if not 0 < temperature < np.inf:
        raise ParameterError(
            f"temperature must be positive and finite, got {temperature!r}.", "Leave it out for 1."
        )
    checked = _matrix("logits", logits)
    scores = np.empty(len(checked))
    for here in _blocks(len(checked), checked.shape[1]):
        with np.errstate(over="ignore", invalid="ignore"):  # seen in what comes out
            block = checked[here].astype(np.float64) / temperature
            most = block.max(axis=1, keepdims=True)
            sums = np.exp(block - most).sum(axis=1)
            scores[here] = -temperature * (most[:, 0] + np.log(sums))
        if not (np.isfinite(block).all() and np.isfinite(scores[here]).all()):
            raise ParameterError(
                f"The energy of these logits overflows at temperature {temperature!r}.",
                "Leave it out for 1.",
            )
    return scores


@dataclass(frozen=True)
class ClassGaussians:
    """One normal distribution a class, with a covariance that all share.

    Attributes:
        means: (c, d) float64, of the classes that have a trusted sample.
        factor: (d, d) float64 lower triangle L of Σ = L Lᵀ.
    """

    means: NDArray[np.float64]
    factor: NDArray[np.float64]


def fit_gaussians(
    features: ArrayLike, labels: ArrayLike, *, shrinkage: float = SHRINKAGE
) -> ClassGaussians:
    """Means of the classes and their shared covariance.

    Args:
        features: (N, d) float, of trusted samples.
        labels: (N,) their labels; rows with -1 are left out.
        shrinkage: Share of the mean variance tr / d that is added to each variance, > 0.

    Raises:
        DataError: features that are not finite, or that do not vary; no labelled row.
        ParameterError: shapes that do not fit, or shrinkage not above 0.

    Cost: two passes over the features, N d² multiplications and d² numbers.
    """
    from scipy.linalg import cholesky

    if not shrinkage > 0:
        raise ParameterError(f"shrinkage must be positive, got {shrinkage!r}.", "Use 1e-6.")
    checked, given = _matrix("features", features), as_array("labels", labels)
    if given.shape != (len(checked),):
        raise ParameterError(
            f"labels must be ({len(checked)},), got {given.shape}.", "Pass one for every row."
        )
    known = np.flatnonzero(given >= 0)
    if not len(known):
        raise DataError("No row has a label.", "Pass the labels of trusted samples.")
    classes, member = np.unique(given[known], return_inverse=True)
    width = checked.shape[1]
    sums, largest = np.zeros((len(classes), width)), np.zeros(width)
    for here in _blocks(len(known), width):
        block = checked[known[here]].astype(np.float64)
        np.add.at(sums, member[here], block)
        np.maximum(largest, np.abs(block).max(axis=0), out=largest)
    means = sums / np.bincount(member)[:, None]
    covariance = np.zeros((width, width))
    for here in _blocks(len(known), width):
        centred = checked[known[here]].astype(np.float64) - means[member[here]]
        covariance += centred.T @ centred
    covariance /= len(known)
    variance = float(np.trace(covariance)) / width
    rounding = _rounding(checked.dtype, len(known)) * largest
    if not (np.sqrt(covariance.diagonal()) > rounding).any():
        raise DataError(
            "The features do not vary: they are the same in all rows of a class, up to rounding.",
            "Pass more trusted samples, or features of another layer.",
        )
    covariance.flat[:: width + 1] += shrinkage * variance
    return ClassGaussians(means, cholesky(covariance, lower=True))


def _rounding(dtype: np.dtype[Any], rows: int) -> float:
    """Relative error of a number of this type, or of the mean of so many where that is larger."""
    own = float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0
    return max(own, rows * float(np.finfo(np.float64).eps))


def mahalanobis(features: ArrayLike, fitted: ClassGaussians) -> Scores:
    """Squared Mahalanobis distance to the nearest class mean.

    Args:
        features: (N, d) float.
        fitted: Of `fit_gaussians`.

    Returns:
        (N,) >= 0.

    Raises:
        DataError: features that are not finite.
        ParameterError: of another width.
    """
    from scipy.linalg import solve_triangular

    checked = _matrix("features", features, fitted.means.shape[1])
    means = solve_triangular(fitted.factor, fitted.means.T, lower=True).T  # (c, d) whitened
    scores = np.empty(len(checked))
    for here in _blocks(len(checked), checked.shape[1]):
        white = solve_triangular(fitted.factor, checked[here].astype(np.float64).T, lower=True).T
        nearest = np.full(len(white), np.inf)
        for mean in means:  # differences, as the product of sums would cancel near a mean
            away = white - mean
            np.minimum(nearest, np.einsum("ij,ij->i", away, away), out=nearest)
        scores[here] = nearest
    return scores


def nearest_neighbour(
    features: ArrayLike, trusted: ArrayLike, *, neighbours: int = NEIGHBOURS, own: bool = False
) -> Scores:
    """Distance to the K-th nearest trusted sample, all rows brought to length 1.

    A row of zeros has no direction; its distance to every other row is 1.

    Args:
        features: (N, d) float.
        trusted: (M, d) float, M >= K.
        neighbours: K >= 1.
        own: The features are the trusted ones, in their order: no row is its own neighbour.

    Returns:
        (N,) in [0, 2].

    Raises:
        DataError: features that are not finite.
        ParameterError: shapes that do not fit, or fewer trusted rows than neighbours.

    Cost: N M d multiplications; blocks of rows against all M.
    """
    bank = _unit_rows(_matrix("trusted", trusted))
    checked = _matrix("features", features, bank.shape[1])
    if own and len(checked) != len(bank):
        raise ParameterError(
            f"own=True needs the {len(bank)} trusted rows, got {len(checked)}.",
            "Pass the same array twice, or own=False.",
        )
    most = len(bank) - own
    if not (isinstance(neighbours, int | np.integer) and 1 <= neighbours <= most):
        raise ParameterError(
            f"neighbours must be in 1 … {most}, the trusted rows, got {neighbours!r}.",
            "Pass more trusted samples, or ask fewer neighbours.",
        )
    scores = np.empty(len(checked))
    for here in _blocks(len(checked), max(len(bank), checked.shape[1])):
        units = _unit_rows(checked[here])
        cosines = units @ bank.T
        if own:
            cosines[np.arange(len(units)), np.arange(here.start, here.stop)] = -np.inf
        place = np.argpartition(-cosines, neighbours - 1, axis=1)[:, neighbours - 1]
        # 2 - 2 cos would lose half of the digits where two rows nearly agree
        scores[here] = np.linalg.norm(units - bank[place], axis=1)
    return scores


def _unit_rows(block: Floats) -> NDArray[np.float64]:
    """Rows of length 1; their largest number first, so that no square overflows."""
    rows = block.astype(np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    rows /= np.where(largest > 0, largest, 1)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(length > 0, length, 1)
    return rows


def _blocks(rows: int, numbers: int) -> Iterator[slice]:
    """Blocks of rows that hold some 8 MiB, where a row holds so many numbers."""
    step = rows_per_block(numbers)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def as_array(name: str, values: ArrayLike) -> NDArray[Any]:
    """The values as an array: lists are copied, arrays are not, for they may lie in a file.

    Raises:
        ParameterError: rows of different lengths.
    """
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ParameterError(
            f"{name} is no array: {error}.", "Pass rows of the same length."
        ) from error


def _matrix(name: str, given: ArrayLike, width: int | None = None) -> Floats:
    """Check shape and numbers."""
    values = as_array(name, given)
    fits = values.ndim == 2 and values.shape[1] > 0 and values.dtype.kind in "fiu"
    if not fits or (width is not None and values.shape[1] != width):
        wanted = "(N, columns)" if width is None else f"(N, {width})"
        raise ParameterError(
            f"{name} must be {wanted} numbers, got {values.shape} {values.dtype}.",
            "Pass one row of numbers for each sample.",
        )
    for here in _blocks(len(values), values.shape[1]):
        bad = ~np.isfinite(values[here]).all(axis=1)
        if bad.any():
            raise DataError(
                f"Row {here.start + int(bad.argmax())} of {name} holds numbers that are not "
                "finite.",
                "Leave such rows out.",
            )
    return values
