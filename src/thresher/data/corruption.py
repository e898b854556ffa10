"""Label corruption: known wrong labels for experiments and tests.

    transition = symmetric_transition(classes, noise_rate)     (k, k), T[a, b] = P(given b | true a)
    transition = asymmetric_transition(10, noise_rate, CIFAR10_PAIRS)
    given      = corrupt(labels, transition, seed)             exact counts of every class pair
    given      = instance_dependent(inputs, labels, …, seed)   depends on the input as well

Symmetric noise excludes the true class, so its rate is the share of wrong labels. (Papers that draw
from all k classes, the true one included, corrupt a share of rate · (k - 1) / k only.)

Sources: symmetric and pair noise with excluded diagonal: Song, Kim, Lee, SELFIE, ICML 2019;
asymmetric noise of CIFAR: Patrini et al., Making deep neural networks robust to label noise, CVPR
2017; the super-classes: Krizhevsky, Learning multiple layers of features from tiny images, 2009;
instance-dependent noise: Xia et al., Part-dependent label noise, NeurIPS 2020, algorithm 2.
Deviations: exact counts by default, so that closed forms hold and runs differ by nothing but the
choice of samples; rates of samples that differ less where the mean is below 0.2 or above 0.8, as
it would be another one once they are cut to [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from thresher.errors import LabelError, ParameterError

__all__ = [
    "CIFAR10_PAIRS",
    "CIFAR100_SUPER_CLASSES",
    "asymmetric_transition",
    "class_dependent_transition",
    "corrupt",
    "cyclic_pairs",
    "instance_dependent",
    "pair_transition",
    "symmetric_transition",
]

Labels: TypeAlias = NDArray[np.int64]
Matrix: TypeAlias = NDArray[np.float64]

BLOCK_ROWS = 8192  # bounds the memory of instance-dependent noise
RATE_DEVIATION = 0.1  # of a sample's own noise rate (Xia et al. 2020)
RATE_MARGIN = 2 * RATE_DEVIATION  # from 0 and 1, so that little of the normal is cut off

#: truck → automobile, bird → airplane, deer → horse, cat ↔ dog; the other classes stay.
CIFAR10_PAIRS = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}

#: The 20 super-classes of CIFAR-100's classes in alphabetical order, each in that order.
CIFAR100_SUPER_CLASSES = (
    (4, 30, 55, 72, 95),  # aquatic mammals
    (1, 32, 67, 73, 91),  # fish
    (54, 62, 70, 82, 92),  # flowers
    (9, 10, 16, 28, 61),  # food containers
    (0, 51, 53, 57, 83),  # fruit and vegetables
    (22, 39, 40, 86, 87),  # household electrical devices
    (5, 20, 25, 84, 94),  # household furniture
    (6, 7, 14, 18, 24),  # insects
    (3, 42, 43, 88, 97),  # large carnivores
    (12, 17, 37, 68, 76),  # large man-made outdoor things
    (23, 33, 49, 60, 71),  # large natural outdoor scenes
    (15, 19, 21, 31, 38),  # large omnivores and herbivores
    (34, 63, 64, 66, 75),  # medium-sized mammals
    (26, 45, 77, 79, 99),  # non-insect invertebrates
    (2, 11, 35, 46, 98),  # people
    (27, 29, 44, 78, 93),  # reptiles
    (36, 50, 65, 74, 80),  # small mammals
    (47, 52, 56, 59, 96),  # trees
    (8, 13, 48, 58, 90),  # vehicles 1
    (41, 69, 81, 85, 89),  # vehicles 2
)


def symmetric_transition(classes: int, noise_rate: float) -> Matrix:
    """Make the matrix that turns a label into any other class with equal probability.

    Args:
        classes: Number of classes k, >= 2.
        noise_rate: Share of wrong labels, in [0, 1).

    Returns:
        (k, k) float64: 1 - noise_rate on the diagonal, noise_rate / (k - 1) elsewhere.

    Raises:
        ParameterError: Fewer than two classes, or a rate outside [0, 1).

    >>> symmetric_transition(3, 0.4).tolist()
    [[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]]
    """
    _check_setting(classes, 2, noise_rate)
    transition = np.full((classes, classes), noise_rate / (classes - 1))
    np.fill_diagonal(transition, 1 - noise_rate)
    return transition


def pair_transition(classes: int, noise_rate: float) -> Matrix:
    """Make the matrix that turns a label into the next class, the last one into the first.

    From a rate of 0.5 on, no learner can tell the true class from its pair.

    Args:
        classes: Number of classes k, >= 2.
        noise_rate: Share of wrong labels, in [0, 1).

    Returns:
        (k, k) float64.

    Raises:
        ParameterError: Fewer than two classes, or a rate outside [0, 1).
    """
    _check_setting(classes, 2, noise_rate)
    identity = np.eye(classes)
    return (1 - noise_rate) * identity + noise_rate * np.roll(identity, 1, axis=1)


def asymmetric_transition(classes: int, noise_rate: float, pairs: Mapping[int, int]) -> Matrix:
    """Make the matrix that turns some classes each into one that is easily confused with it.

    The noise rate is that of the classes that are mistaken: with `CIFAR10_PAIRS`, five of ten
    equally frequent classes, half as many labels are wrong in all.

    Args:
        classes: Number of classes k, >= 2.
        noise_rate: Share of wrong labels among the samples of a mistaken class, in [0, 1).
        pairs: True class → the class it is mistaken for; classes left out are always right.

    Returns:
        (k, k) float64.

    Raises:
        ParameterError: Fewer than two classes, a rate outside [0, 1), or a pair that leads out of
            the classes or to itself.

    >>> asymmetric_transition(3, 0.4, {0: 2}).tolist()
    [[0.6, 0.0, 0.4], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    _check_setting(classes, 2, noise_rate)
    transition = np.eye(classes)
    for true, mistaken in pairs.items():
        if true == mistaken or not (0 <= true < classes and 0 <= mistaken < classes):
            raise ParameterError(
                f"The pair {true} → {mistaken} must lead to another class within 0..{classes - 1}.",
                "Number the classes from 0, and leave out those that are always right.",
            )
        transition[true, true], transition[true, mistaken] = 1 - noise_rate, noise_rate
    return transition


def cyclic_pairs(groups: Iterable[Iterable[int]]) -> dict[int, int]:
    """Pair each class with the next one of its group, the last with the first.

    With `CIFAR100_SUPER_CLASSES` it gives the usual asymmetric noise of CIFAR-100. A class alone in
    its group has no pair.

    >>> cyclic_pairs([(0, 2, 5), (1, 3), (4,)])
    {0: 2, 2: 5, 5: 0, 1: 3, 3: 1}
    """
    pairs: dict[int, int] = {}
    for group in groups:
        ordered = list(group)
        if len(ordered) > 1:
            pairs |= dict(zip(ordered, [*ordered[1:], ordered[0]], strict=True))
    return pairs


def class_dependent_transition(
    classes: int, generator: np.random.Generator | int, noise_rate: float = 0.2
) -> Matrix:
    """Make a matrix in which classes differ in how often, and into what, they are mistaken.

    The noise rates of the classes are spaced evenly from a quarter to seven quarters of the mean
    and dealt at random; every class has two random targets, which take 60 % and 40 % of its wrong
    labels.

    Args:
        classes: Number of classes k, >= 3.
        generator: Source of randomness, or its seed.
        noise_rate: Mean of the classes' noise rates, in [0, 4/7).

    Returns:
        (k, k) float64, three entries in each row.

    Raises:
        ParameterError: Fewer than three classes, or a rate with which a class would be all wrong.
    """
    _check_setting(classes, 3, 7 / 4 * noise_rate)
    random = np.random.default_rng(generator)
    rates = random.permutation(np.linspace(noise_rate / 4, 7 / 4 * noise_rate, classes))
    transition = np.diag(1 - rates)
    for true, rate in enumerate(rates):
        others = np.delete(np.arange(classes), true)
        first, second = random.choice(others, 2, replace=False)
        transition[true, first], transition[true, second] = 0.6 * rate, 0.4 * rate
    return transition


def corrupt(
    labels: ArrayLike,
    transition: ArrayLike,
    generator: np.random.Generator | int,
    *,
    exact: bool = True,
) -> Labels:
    """Draw given labels from true ones.

    With ``exact``, class c with n_c samples gets n_c · (1 - T[c, c]) wrong labels, rounded to the
    nearest integer (halves up), and its wrong labels are dealt to the other classes in proportion
    to T[c], the remainders to those with the greatest fractions, ties to the classes that follow c.
    Only which samples are hit is random. Without it, each label is drawn on its own.

    Args:
        labels: (N,) integers in 0..k-1; -1 means no label and stays.
        transition: (k, k) numbers >= 0, rows sum to 1.
        generator: Source of randomness, or its seed.
        exact: Whether the counts are exact (default) or random.

    Returns:
        (N,) int64, a new array.

    Raises:
        LabelError: A label is no integer or outside -1..k-1.
        ParameterError: The matrix is not square, has a negative entry or a row that does not sum to
            1.

    >>> given = corrupt([0] * 5 + [1] * 5 + [-1], pair_transition(2, 0.4), 0)
    >>> int((given[:5] == 1).sum()), int((given[5:10] == 0).sum()), int(given[10])
    (2, 2, -1)
    """
    matrix = _checked_transition(transition)
    true = _checked_labels(labels, len(matrix))
    random = np.random.default_rng(generator)
    given = true.copy()
    for label, rows in _rows_by_class(true):
        if exact:
            counts = _exact_counts(label, matrix[label], len(rows))
            given[random.permutation(rows)] = np.repeat(np.arange(len(matrix)), counts)
        else:
            given[rows] = random.choice(len(matrix), len(rows), p=matrix[label])
    return given


def instance_dependent(
    inputs: NDArray[np.generic],
    labels: ArrayLike,
    noise_rate: float,
    classes: int,
    generator: np.random.Generator | int,
) -> Labels:
    """Draw given labels whose errors depend on the input: similar samples are mistaken alike.

        r_i = Normal(noise_rate, s²) cut to [0, 1]             the sample's own noise rate
        s   = 0.1; half the distance to 0 or 1, where that is less
        P(given | x, true y) = r_i softmax(x W[y] without y)   W[y] (d, k) standard normal
        P(y | x, true y) = 1 - r_i

    The mean of r_i lies within 0.006 of ``noise_rate``. Every label is drawn on its own: of N, the
    share that is wrong strays from it by about sqrt(noise_rate (1 - noise_rate) / N).

    Args:
        inputs: (N, …) numbers, flattened to d columns and best standardised, since the softmax
            becomes an argmax for large ones. May be a memory map: rows are read in blocks.
        labels: (N,) integers in 0..k-1; -1 means no label and stays.
        noise_rate: Mean share of wrong labels, in [0, 1); 0 changes nothing.
        classes: Number of classes k, >= 2.
        generator: Source of randomness, or its seed.

    Returns:
        (N,) int64, a new array.

    Raises:
        LabelError: A label is no integer or outside -1..k-1, or there are not as many as inputs.
        ParameterError: Fewer than two classes, or a rate outside [0, 1).
    """
    _check_setting(classes, 2, noise_rate)
    true = _checked_labels(labels, classes)
    if len(inputs) != len(true):
        raise LabelError(
            f"There are {len(inputs)} inputs and {len(true)} labels.",
            "Pass one label per input, -1 where there is none.",
        )
    random = np.random.default_rng(generator)
    rates = _own_rates(noise_rate, random.random(len(true)))
    choices = random.random(len(true))
    width = int(np.prod(inputs.shape[1:]))
    given = true.copy()
    for label, rows in _rows_by_class(true):
        projection = random.standard_normal((width, classes))  # (d, k)
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS]
            scores = inputs[block].reshape(len(block), -1).astype(np.float64) @ projection
            flips = _softmax_without(label, scores)  # (block, k)
            wrong = choices[block] < rates[block]
            # What is left of the draw below the rate is again uniform.
            drawn = _draw(flips[wrong], choices[block][wrong] / rates[block][wrong])
            given[block[wrong]] = drawn
    return given


def _own_rates(noise_rate: float, uniforms: Matrix) -> Matrix:
    """Turn uniforms into Normal(noise_rate, s²) cut to [0, 1], by inversion."""
    if noise_rate == 0:
        return np.zeros_like(uniforms)
    margin = min(noise_rate, 1 - noise_rate)
    # 1 - 0.8 falls short of 0.2 by rounding, and is meant
    deviation = RATE_DEVIATION if margin > RATE_MARGIN - 1e-9 else margin / 2
    low, high = ndtr((np.array([0, 1]) - noise_rate) / deviation)
    rates: Matrix = noise_rate + deviation * ndtri(low + uniforms * (high - low))
    return np.clip(rates, 0, 1)


def _softmax_without(label: int, scores: Matrix) -> Matrix:
    scores[:, label] = -np.inf
    scores -= scores.max(axis=1, keepdims=True)
    powers: Matrix = np.exp(scores)
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def _draw(probabilities: Matrix, uniforms: Matrix) -> Labels:
    """Draw a class per row of (n, k) by inversion; a class of probability 0 is never drawn."""
    cumulative = probabilities.cumsum(axis=1)
    # The last sum may fall short of 1 by rounding; no draw may fall beyond it.
    targets = np.minimum(uniforms, np.nextafter(cumulative[:, -1], 0))
    drawn: Labels = (cumulative <= targets[:, None]).sum(axis=1)
    return drawn


def _exact_counts(label: int, row: Matrix, samples: int) -> Labels:
    """Split the samples of a class over the given labels: (k,) integers that sum to samples."""
    stay = row[label]
    flips = int(_floor(samples * (1 - stay) + 0.5))
    order = np.roll(np.arange(len(row)), -label - 1)[:-1]  # the classes after this one, cyclic
    counts = np.zeros(len(row), dtype=np.int64)
    if flips:
        shares = flips * row[order] / row[order].sum()
        counts[order] = _floor(shares)
        fractions = np.round(shares - counts[order], 9)
        first = np.argsort(-fractions, kind="stable")[: flips - counts.sum()]
        counts[order[first]] += 1
    counts[label] = samples - flips
    return counts


def _floor(numbers: Matrix | float) -> Matrix:
    """Round down, but 2.9999999999 is meant to be 3."""
    return np.floor(np.asarray(numbers) + 1e-9)


def _rows_by_class(labels: Labels) -> list[tuple[int, Labels]]:
    """Group the rows of each class that occurs, in order; rows without a label are left out."""
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    groups = np.split(order, starts)[1:]  # the part before the first start is empty
    return [(int(label), rows) for label, rows in zip(present, groups, strict=True) if label >= 0]


def _check_setting(classes: int, least: int, noise_rate: float) -> None:
    if classes < least:
        raise ParameterError(
            f"This kind of noise needs at least {least} classes, got {classes}.",
            "Pass the number of classes of the data.",
        )
    if not 0 <= noise_rate < 1:
        raise ParameterError(
            f"noise_rate must be in [0, 1), got {noise_rate}.",
            "Pass the share of labels to make wrong, such as 0.2.",
        )


def _checked_transition(transition: ArrayLike) -> Matrix:
    matrix = np.asarray(transition, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise ParameterError(
            f"A transition matrix has as many rows as columns, got the shape {matrix.shape}.",
            "Pass T of shape (classes, classes) with T[a, b] = P(given b | true a).",
        )
    if not (matrix >= 0).all():  # NaN compares false
        raise ParameterError(
            "The transition matrix holds an entry that is negative or no number.",
            "Its entries are probabilities.",
        )
    sums = matrix.sum(axis=1)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > 1e-6:
        raise ParameterError(
            f"Row {worst} of the transition matrix sums to {sums[worst]:g}, not to 1.",
            "Divide each row by its sum.",
        )
    rows: Matrix = matrix / sums[:, None]
    return rows


def _checked_labels(labels: ArrayLike, classes: int) -> Labels:
    given = np.asarray(labels)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise LabelError(
            f"Labels must be integers in one dimension, got {given.dtype} of shape {given.shape}.",
            "Pass class numbers 0..k-1, and -1 where there is no label.",
        )
    bad = (given < -1) | (given >= classes)
    if bad.any():
        first = int(bad.argmax())
        raise LabelError(
            f"Label {given[first]} of sample {first} is outside -1..{classes - 1}.",
            "Pass class numbers 0..k-1, and -1 where there is no label.",
        )
    return given.astype(np.int64)
