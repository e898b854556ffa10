"""How many labels are wrong: counts from averaged or held-out probabilities, and closed forms.

Nothing here knows the true labels. Three counts bracket the number of wrong ones; all compare the
given label with what the probabilities say:

    global count   rows whose confident class is another one; cautious
    class counts   the same, scaled up within each given class to all rows of that class
    argmax count   rows whose most probable class is another one; an upper estimate

A row is *confident* of class c when p[c] reaches the class's own threshold, the mean of p[c] over
the rows given as c. Thresholds of their own keep the counts right when the model is surer of some
classes than of others.

The matrices of probabilities are read in blocks of rows, so they may be larger than memory.

Source: Northcutt, Jiang & Chuang, "Confident learning: estimating uncertainty in dataset labels",
JAIR 2021. Conventions follow cleanlab 2.9; the differences are named where they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from thresher.errors import DataError, LabelError, ParameterError

__all__ = [
    "RARE_CLASS_ROWS",
    "ConfidentCounts",
    "Integers",
    "Probabilities",
    "class_thresholds",
    "confident_counts",
    "confident_joint",
    "confident_thresholds",
    "disagreement",
    "noise_rate_from_agreement",
    "rows_per_block",
]

Integers = NDArray[np.integer[Any]]
Probabilities = NDArray[np.floating[Any]] | Iterable[NDArray[np.floating[Any]]]

#: A class with fewer rows has no trustworthy threshold of its own.
RARE_CLASS_ROWS = 20

_BLOCK_ELEMENTS = 2**20  # 4 MiB of float32: stays in the cache, costs nothing beside the input
_TOLERANCE = 1e-6  # a constant column must reach its own mean in spite of rounding
_LOWEST_THRESHOLD = 2e-6  # a class never given any probability has no confident rows


@dataclass(frozen=True)
class ConfidentCounts:
    """What the probabilities say about each labelled row, and the counts that follow.

    Attributes:
        labels: (N,) given labels in -1..k-1; rows with -1 are counted nowhere.
        confident: (N,) int32 confident class, -1 where the row reaches no threshold.
        predicted: (N,) int32 most probable class; the given label wins ties.
        thresholds: (k,) float64; infinite for a class without rows.
    """

    labels: Integers
    confident: NDArray[np.int32]
    predicted: NDArray[np.int32]
    thresholds: NDArray[np.float64]

    @property
    def classes(self) -> int:
        """Number of classes k."""
        return len(self.thresholds)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """(k,) labelled rows of each given class."""
        return np.bincount(self.labels[self.labels >= 0], minlength=self.classes)

    @property
    def rows(self) -> int:
        """Number of labelled rows."""
        return int(self.sizes.sum())

    @cached_property
    def rare(self) -> NDArray[np.bool_]:
        """(k,) classes with some but fewer than `RARE_CLASS_ROWS` rows."""
        rare: NDArray[np.bool_] = (self.sizes > 0) & (self.sizes < RARE_CLASS_ROWS)
        return rare

    @cached_property
    def never_predicted(self) -> NDArray[np.bool_]:
        """(k,) classes that have rows, yet are the most probable class of no row."""
        predicted = np.bincount(self.predicted[self.labels >= 0], minlength=self.classes)
        never: NDArray[np.bool_] = (self.sizes > 0) & (predicted == 0)
        return never

    def joint(self) -> NDArray[np.int64]:
        """Count the confident rows by given class (axis 0) and confident class (axis 1).

        As in cleanlab, every class counts one right row at least, so no row of the matrix is empty.

        Returns:
            (k, k) int64; the memory of k² counts, which nothing else here needs.
        """
        kept = (self.labels >= 0) & (self.confident >= 0)
        cells = self.labels[kept].astype(np.int64) * self.classes + self.confident[kept]
        joint = np.bincount(cells, minlength=self.classes**2).reshape(self.classes, self.classes)
        np.fill_diagonal(joint, joint.diagonal().clip(min=1))
        return joint

    def calibrated_joint(self) -> NDArray[np.float64]:
        """Scale every row of `joint` to the number of rows given as that class.

        cleanlab rounds the entries to integers; we leave the fractions, which add up exactly.
        """
        joint = self.joint()
        scale: NDArray[np.float64] = self.sizes / joint.sum(axis=1)
        return joint * scale[:, None]

    @cached_property
    def class_noise(self) -> NDArray[np.float64]:
        """(k,) estimated share of wrong labels among the rows given as each class.

        Two classes of cases differ from the calibrated joint, on purpose. A rare class (fewer than
        `RARE_CLASS_ROWS` rows) takes the global rate, as its own threshold is mere noise. A class
        that is never predicted gets 0: the model has not learnt it, which says nothing about it.
        """
        right, wrong = self._confident_by_given
        noise: NDArray[np.float64] = wrong / (right + wrong)
        noise[self.rare] = self.global_rate
        noise[self.never_predicted | (self.sizes == 0)] = 0.0
        return noise

    @cached_property
    def inverse_noise(self) -> NDArray[np.float64]:
        """(k,) estimated share of the rows truly of each class that carry another label.

        From the columns of the calibrated joint; NaN for a class without rows.
        """
        right, wrong = self._confident_by_given
        scale = self.sizes / (right + wrong)
        astray = (self.confident >= 0) & (self.labels >= 0) & (self.confident != self.labels)
        strayed = np.bincount(
            self.confident[astray], weights=scale[self.labels[astray]], minlength=self.classes
        )
        total = scale * right + strayed
        inverse = np.full(self.classes, np.nan)
        np.divide(strayed, total, out=inverse, where=self.sizes > 0)
        return inverse

    @cached_property
    def class_counts(self) -> NDArray[np.int64]:
        """(k,) estimated number of wrong labels among the rows given as each class."""
        return np.rint(self.class_noise * self.sizes).astype(np.int64)

    @cached_property
    def global_count(self) -> int:
        """Rows off the diagonal of the uncalibrated joint whose prediction disagrees as well.

        The same number as cleanlab's ``num_label_issues``.
        """
        wrong = (self.confident >= 0) & (self.confident != self.labels)
        return int(np.count_nonzero(wrong & (self.predicted != self.labels) & (self.labels >= 0)))

    @cached_property
    def argmax_count(self) -> int:
        """Rows whose most probable class is not the given one."""
        return int(np.count_nonzero((self.predicted != self.labels) & (self.labels >= 0)))

    @property
    def class_rate(self) -> float:
        """Mean of `class_noise` over the rows of the classes the model knows; the point estimate.

        Not rounded class by class: with many classes of few rows each, nothing would be left.
        """
        known = np.where(self.never_predicted, 0, self.sizes)
        return float(self.class_noise @ known / known.sum()) if known.any() else 0.0

    @property
    def global_rate(self) -> float:
        """The global count as a share of the labelled rows."""
        return self._share(self.global_count)

    @property
    def argmax_rate(self) -> float:
        """The argmax count as a share of the labelled rows."""
        return self._share(self.argmax_count)

    @cached_property
    def _confident_by_given(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Diagonal and off-diagonal row sums of `joint`, without its k² cells."""
        kept = (self.labels >= 0) & (self.confident >= 0)
        labels, agrees = self.labels[kept], self.confident[kept] == self.labels[kept]
        right = np.bincount(labels[agrees], minlength=self.classes).clip(min=1)
        return right, np.bincount(labels[~agrees], minlength=self.classes)

    def _share(self, count: int) -> float:
        return count / self.rows if self.rows else 0.0


def confident_counts(
    labels: Integers,
    probabilities: Probabilities,
    *,
    thresholds: NDArray[np.floating[Any]] | None = None,
) -> ConfidentCounts:
    """Find the confident and the most probable class of every row, block by block.

    A row that reaches one threshold is confident of that class; one that reaches several, of its
    most probable class (as in cleanlab); one that reaches none is not counted in the joint.

    Args:
        labels: (N,) given labels in -1..k-1, -1 = none.
        probabilities: (N, k) in [0, 1], or an iterable over its consecutive blocks of rows that
            can be started again (a list, not a generator).
        thresholds: (k,) class thresholds; None takes `confident_thresholds`, one more pass.

    Raises:
        DataError: a labelled row with numbers that are not finite.
        LabelError: a label outside -1..k-1.
        ParameterError: the blocks do not add up to N rows, or can be read only once.
    """
    labels = np.asarray(labels)
    limits = (
        confident_thresholds(labels, probabilities)
        if thresholds is None
        else np.asarray(thresholds, dtype=np.float64)
    )
    _check_labels(labels, len(limits))
    confident = np.empty(len(labels), dtype=np.int32)
    predicted = np.empty(len(labels), dtype=np.int32)
    for rows, block in _aligned(len(labels), probabilities):
        given = labels[rows]
        confident[rows], predicted[rows] = _read_block(given, block, limits, first_row=rows.start)
    return ConfidentCounts(labels, confident, predicted, limits)


def confident_thresholds(labels: Integers, probabilities: Probabilities) -> NDArray[np.float64]:
    """Average, for every class, its probability over the rows given as that class.

    Args:
        labels: (N,) given labels in -1..k-1, -1 = none.
        probabilities: (N, k), or an iterable over consecutive blocks of rows.

    Returns:
        (k,) float64, at least 2e-6; infinite for a class without rows (cleanlab writes 2: no
        probability reaches either).

    Raises:
        DataError: a row whose given label has a probability that is not finite.
        LabelError: a label outside -1..k-1.
        ParameterError: the blocks do not add up to N rows.
    """
    labels = np.asarray(labels)
    p_given = np.zeros(len(labels))
    classes = 0
    for rows, block in _aligned(len(labels), probabilities):
        classes = block.shape[1]
        given = labels[rows]
        _check_labels(given, classes, first_row=rows.start)
        own = block[np.arange(len(given)), given.clip(min=0)]
        _check_finite(given, own, rows.start)
        p_given[rows] = own
    return class_thresholds(labels, p_given, classes)


def class_thresholds(
    labels: Integers, p_given: NDArray[np.floating[Any]], classes: int
) -> NDArray[np.float64]:
    """Compute `confident_thresholds` from the probabilities of the given labels alone.

    Args:
        labels: (N,) given labels in -1..k-1, -1 = none.
        p_given: (N,) probability of the given label; ignored where there is none.
        classes: Number of classes k.
    """
    kept = labels >= 0
    sizes = np.bincount(labels[kept], minlength=classes)
    sums = np.bincount(labels[kept], weights=p_given[kept], minlength=classes)
    means: NDArray[np.float64] = np.full(classes, np.inf)
    np.divide(sums, sizes, out=means, where=sizes > 0)
    return means.clip(min=_LOWEST_THRESHOLD)


def confident_joint(
    labels: Integers, probabilities: Probabilities, *, calibrated: bool = False
) -> NDArray[np.float64]:
    """Count rows by given class (axis 0) and confident class (axis 1).

    Args:
        labels: (N,) given labels in -1..k-1, -1 = none.
        probabilities: As in `confident_counts`.
        calibrated: Scale the rows to the class sizes.

    Returns:
        (k, k) float64.

    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.05, 0.95]])
    >>> confident_joint(np.array([0, 0, 1, 0]), p)
    array([[2., 1.],
           [0., 1.]])
    """
    counts = confident_counts(labels, probabilities)
    return counts.calibrated_joint() if calibrated else counts.joint().astype(np.float64)


def disagreement(refurbished: Integers, labels: Integers) -> float | None:
    """Share of the refurbished samples whose refurbished label is not the given one.

    Refurbished labels are those a robust method is sure of, hence nearly always true; their
    disagreement estimates the noise rate, a little low where wrong labels are refurbished less.

    Args:
        refurbished: (N,) refurbished labels, -1 = not refurbished.
        labels: (N,) given labels, -1 = none.

    Returns:
        A share in [0, 1], or None when nothing is refurbished yet.

    >>> disagreement(np.array([0, 1, -1, 1]), np.array([0, 0, 1, 1]))
    0.3333333333333333
    """
    known = (np.asarray(refurbished) >= 0) & (np.asarray(labels) >= 0)
    if not known.any():
        return None
    return float(np.mean(refurbished[known] != labels[known]))


def noise_rate_from_agreement(
    agreement: float, classes: int, noise: Literal["symmetric", "pair"] = "symmetric"
) -> float:
    """Invert the accuracy on noisy held-out labels of a model that has memorised its own.

    A network that fits noise of rate τ repeats it on new data, so that its prediction and the
    label given there, both wrong with rate τ, agree with probability

        A = (1 - τ)² + τ²/(k - 1)   symmetric noise        A = (1 - τ)² + τ²   pair noise

    and τ = (1 - sqrt(1 - c·(1 - A)))/c with c = k/(k - 1), or 2. An agreement below chance gives
    the largest rate that can be told, 1/c.

    Args:
        agreement: A, the share of held-out rows whose prediction is the given label, in [0, 1].
        classes: Number of classes k, at least 2.
        noise: Kind of noise that is assumed.

    Raises:
        ParameterError: a value outside its range.

    Source: Chen, Liao, Chen & Zhang, "Understanding and utilizing deep neural networks trained
    with noisy labels", ICML 2019. Where the network memorises only in part, the rate comes out
    low.

    >>> round(noise_rate_from_agreement(0.8**2 + 0.2**2 / 9, classes=10), 12)
    0.2
    """
    if not 0.0 <= agreement <= 1.0:
        raise ParameterError(
            f"agreement must be in [0, 1], got {agreement!r}.", "Pass a share of rows."
        )
    if classes < 2:
        raise ParameterError(f"classes must be 2 or more, got {classes!r}.", "Count all classes.")
    if noise not in ("symmetric", "pair"):
        raise ParameterError(
            f'noise must be "symmetric" or "pair", got {noise!r}.', "Choose one of the two."
        )
    c = classes / (classes - 1) if noise == "symmetric" else 2.0
    return float((1.0 - np.sqrt(max(0.0, 1.0 - c * (1.0 - agreement)))) / c)


def rows_per_block(columns: int) -> int:
    """Rows of a block that stays within 2²⁰ numbers; at least one."""
    return max(1, _BLOCK_ELEMENTS // max(1, columns))


def _read_block(
    given: Integers,
    block: NDArray[np.floating[Any]],
    thresholds: NDArray[np.float64],
    *,
    first_row: int,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Confident and most probable class of each row of a (B, k) block."""
    row = np.arange(len(block))
    most_probable = block.argmax(axis=1)
    highest = block[row, most_probable]  # argmax stops at a NaN, wherever in the row it is
    _check_finite(given, highest, first_row)
    reached = block >= (thresholds - _TOLERANCE).astype(block.dtype)  # (B, k)
    number = np.count_nonzero(reached, axis=1)
    confident = np.where(number > 1, most_probable, reached.argmax(axis=1))
    confident[number == 0] = -1
    ties = block[row, given.clip(min=0)] >= highest
    predicted = np.where(ties & (given >= 0), given, most_probable)
    return confident.astype(np.int32), predicted.astype(np.int32)


def _aligned(
    rows: int, probabilities: Probabilities
) -> Iterator[tuple[slice, NDArray[np.floating[Any]]]]:
    """Yield the blocks with the rows that they stand for."""
    if isinstance(probabilities, np.ndarray):
        if probabilities.ndim != 2:
            raise ParameterError(
                f"The probabilities must have shape (N, k), got {probabilities.shape}.",
                "Pass one column for each class.",
            )
        step = rows_per_block(probabilities.shape[1])
        matrix = probabilities
        blocks: Iterable[NDArray[np.floating[Any]]] = (
            matrix[start : start + step] for start in range(0, len(matrix), step)
        )
    else:
        if iter(probabilities) is probabilities:
            raise ParameterError(
                "The probabilities can be read only once, but two passes are needed.",
                "Pass a list of blocks or an object whose iteration can start again.",
            )
        blocks = probabilities
    start = 0
    for block in blocks:
        if start + len(block) > rows:
            start += len(block)
            break
        yield slice(start, start + len(block)), block
        start += len(block)
    if start != rows:
        raise ParameterError(
            f"The probabilities have {'more than ' if start > rows else ''}"
            f"{min(start, rows)} rows, labels {rows}.",
            "Pass one row of probabilities for each label.",
        )


def _check_finite(given: Integers, numbers: NDArray[np.floating[Any]], first_row: int) -> None:
    """Refuse labelled rows that are no numbers; one number stands for each row, (B,)."""
    bad = ~np.isfinite(numbers) & (given >= 0)
    if bad.any():
        raise DataError(
            f"Row {first_row + int(bad.argmax())} of the probabilities holds numbers that are not "
            "finite.",
            "Write -1 as the label of such rows, or leave them out.",
        )


def _check_labels(labels: Integers, classes: int, *, first_row: int = 0) -> None:
    bad = (labels < -1) | (labels >= classes)
    if bad.any():
        row = int(bad.argmax())
        raise LabelError(
            f"Label {int(labels[row])} of row {first_row + row} is outside 0..{classes - 1}.",
            "Number the classes from 0; write -1 for a missing label.",
        )
