"""The audit of predictions made elsewhere: probabilities or embeddings, and the given labels.

    pred_probs, labels -> Record -> judge -> Verdicts -> Audit
    embeddings, labels -> votes of the nearest rows  ---^

The probabilities should be out-of-sample: of each row, the prediction of a model that was not
trained on it, as k-fold cross-validation gives them. Their matrix may lie in a file; it is read in
blocks of rows, three times, and never held whole.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from thresher.audit.features import NEIGHBOURS, nearest_neighbours
from thresher.audit.record import Record
from thresher.audit.stored_matrix import StoredMatrix, stored_array
from thresher.audit.summary import Summary, summarise
from thresher.audit.verdicts import Level, Score, Verdicts, judge
from thresher.errors import DataError, LabelError, ParameterError
from thresher.noise_rate import Integers, rows_per_block

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Audit", "from_embeddings", "from_probabilities"]

_TOLERANCE = 0.02  # of the sum of a row: probabilities are often stored as float16 or rounded


@dataclass(frozen=True)
class Audit:
    """What came of an audit.

    Attributes:
        record: What was judged; `thresher.audit.pred_probs` gives its probabilities.
        verdicts: Score, suggestion and verdict of every row, as arrays.
        sample_ids: N identifiers; None = the row numbers.
    """

    record: Record
    verdicts: Verdicts
    sample_ids: Sequence[Any] | NDArray[Any] | None = None

    @cached_property
    def table(self) -> pa.Table:
        """The audit table, with the columns of a run's audit.parquet; needs pyarrow."""
        from thresher.audit.table import build_table

        ids = np.arange(len(self.record)) if self.sample_ids is None else self.sample_ids
        return build_table(self.record, self.verdicts, sample_ids=ids)

    @cached_property
    def summary(self) -> Summary:
        """The audit in a few numbers."""
        return summarise(self.record, self.verdicts)


def from_probabilities(
    pred_probs: NDArray[np.floating[Any]] | str | os.PathLike[str],
    labels: Any,
    classes: Sequence[Any] | None = None,
    *,
    level: Level = "balanced",
    score: Score = "log_margin",
    features: NDArray[np.floating[Any]] | None = None,
    sample_ids: Sequence[Any] | NDArray[Any] | None = None,
) -> Audit:
    """Audit the labels by predicted probabilities.

    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.05, 0.95]])
    >>> found = from_probabilities(p, ["cat", "cat", "dog", "cat"])
    >>> found.verdicts.is_label_issue
    array([False, False, False,  True])

    Args:
        pred_probs: (N, k) float, rows that sum to about 1: an array, a memory map, or the name of a
            .npy file.
        labels: (N,) given labels: column numbers, or names; -1 or None = none.
        classes: k names in the order of the columns. None = the sorted names among the labels, or
            the column numbers. Whole numbers as labels are names where all classes are named by
            whole numbers, column numbers otherwise.
        level: "balanced", "high_precision" (fewer) or "high_recall" (more).
        score: "log_margin", or "ensemble", which needs features.
        features: (N, d) embeddings; with them outliers and near-duplicates are looked for.
        sample_ids: N identifiers; None = the row numbers.

    Raises:
        DataError: probabilities that are no probabilities; names the first such row.
        LabelError: labels that are no single classes, or none of these.
        ParameterError: shapes that do not fit together, or an unknown level or score.

    Cost: three passes over the probabilities, in blocks of rows; some 100 bytes per sample besides.
    """
    matrix = _matrix(pred_probs)
    n, k = matrix.shape
    given, names = _numbered(labels, n, k, classes)
    _check_probabilities(matrix)
    record = Record(
        labels=given,
        classes=names,
        probability_sum=matrix,
        **_never_visited(n),
        window_visits=np.ones(n, dtype=np.int32),
    )
    return _audit(record, level, score, features, sample_ids)


def from_embeddings(
    features: NDArray[np.floating[Any]],
    labels: Any,
    neighbours: int = NEIGHBOURS,
    classes: Sequence[Any] | None = None,
    *,
    level: Level = "balanced",
    score: Score = "log_margin",
    sample_ids: Sequence[Any] | NDArray[Any] | None = None,
) -> Audit:
    """Audit the labels by embeddings alone: the nearest other rows vote with their labels.

    Args:
        features: (N, d) float, one embedding a row.
        labels: (N,) given labels: class numbers, or names; -1 or None = none.
        neighbours: Votes, >= 1.
        classes: All names, sorted as you like; None = those among the labels.
        level: "balanced", "high_precision" (fewer) or "high_recall" (more).
        score: "log_margin", or "ensemble".
        sample_ids: N identifiers; None = the row numbers.

    Raises:
        DataError: embeddings that are not finite.
        LabelError: labels that are no single classes, or none of these, or fewer than two classes.
        ParameterError: shapes that do not fit together, or an unknown level or score.

    Cost: `thresher.audit.features`; besides, some 12 bytes per sample and neighbour.
    """
    features = np.asarray(features)
    given, names = _numbered(labels, len(features), None, classes)
    near = nearest_neighbours(features, neighbours, among=given >= 0)
    asked = np.count_nonzero(near.rows >= 0, axis=1)
    votes = np.full(near.rows.shape, -1, dtype=np.int64)
    if len(given):
        votes = np.sort(np.where(near.rows >= 0, given[near.rows], -1), axis=1)
    shares = np.zeros(votes.shape, dtype=np.float32)
    for slot in range(neighbours):
        shares[:, slot] = np.count_nonzero(votes == votes[:, slot, None], axis=1)
    shares /= np.maximum(asked, 1)[:, None]
    own = np.where((votes == given[:, None]) & (given >= 0)[:, None], shares, 0).max(1, initial=0)
    votes[:, 1:][votes[:, 1:] == votes[:, :-1]] = -1  # one slot a class
    record = Record(
        labels=given,
        classes=names,
        top_classes=votes,
        top_sums=shares,
        given_window_sum=own.astype(np.float32),
        **_never_visited(len(given)),
        window_visits=np.minimum(asked, 1).astype(np.int32),
    )
    return _audit(record, level, score, features, sample_ids)


def _audit(
    record: Record,
    level: Level,
    score: Score,
    features: NDArray[np.floating[Any]] | None,
    sample_ids: Sequence[Any] | NDArray[Any] | None,
) -> Audit:
    if sample_ids is not None and len(sample_ids) != len(record):
        raise ParameterError(
            f"sample_ids must have {len(record)} entries, got {len(sample_ids)}.",
            "Pass one for every sample.",
        )
    # a model that does not know the labels made the embeddings: they stand for the input as well
    verdicts = judge(record, level, score=score, features=features, inputs=features)
    return Audit(record, verdicts, sample_ids)


def _never_visited(n: int) -> dict[str, Any]:
    """The sums over a training that nobody watched."""
    floats = ("margin_sum", "given_sum", "given_square_sum", "loss_sum")
    return {
        "out_of_sample": True,
        "in_training": np.zeros(n, dtype=bool),
        **{name: np.zeros(n, dtype=np.int32) for name in ("visits", "correct", "forgetting")},
        **{name: np.zeros(n, dtype=np.float32) for name in floats},
    }


# ---------------------------------------------------------------------- probabilities
def _matrix(
    pred_probs: NDArray[np.floating[Any]] | str | os.PathLike[str],
) -> NDArray[np.floating[Any]] | StoredMatrix:
    """Take the probabilities as they are, or as a file to read by blocks."""
    values = stored_array(Path(pred_probs)) if isinstance(pred_probs, str | os.PathLike) else None
    values = np.asanyarray(pred_probs) if values is None else values
    if values.ndim != 2 or values.dtype.kind != "f":
        raise ParameterError(
            f"pred_probs must be (N, k) floats, got {values.shape} {values.dtype}.",
            "Pass one column of probabilities for each class.",
        )
    stored = StoredMatrix.of_map(values)
    if stored is None and isinstance(values, np.memmap) and not values.flags.c_contiguous:
        raise ParameterError(
            f"pred_probs of {values.shape} lie column by column in {values.filename}.",
            "Save them row by row: numpy.save(path, numpy.ascontiguousarray(pred_probs)).",
        )
    return values if stored is None else stored


def _check_probabilities(matrix: NDArray[np.floating[Any]] | StoredMatrix) -> None:
    """Refuse what are no probabilities of exclusive classes.

    Raises:
        DataError: names the first such row.
    """
    step = rows_per_block(matrix.shape[1])
    for start in range(0, len(matrix), step):
        block = matrix[start : start + step]
        total = block.sum(axis=1, dtype=np.float32 if block.dtype.itemsize < 8 else np.float64)
        lowest = block.min(axis=1)
        bad = ~(np.abs(total - 1.0) <= _TOLERANCE) | ~(lowest >= -_TOLERANCE)
        if bad.any():
            row = int(bad.argmax())
            raise _no_probabilities(start + row, block[row], float(total[row]))


def _no_probabilities(row: int, values: NDArray[np.floating[Any]], total: float) -> DataError:
    if not np.isfinite(values).all():
        return DataError(
            f"Row {row} of pred_probs holds numbers that are not finite.",
            "Leave such rows out, of the labels as well.",
        )
    if values.min() < 0:
        return DataError(
            f"Row {row} of pred_probs holds {values.min():.4g}, which is no probability.",
            "Pass probabilities, not logits: take the softmax.",
        )
    return DataError(
        f"Row {row} of pred_probs sums to {total:.4g}, not 1.",
        "Pass probabilities of classes that exclude each other; multi-label is not audited.",
    )


# ---------------------------------------------------------------------- labels
def _numbered(
    labels: Any, n: int, k: int | None, classes: Sequence[Any] | None
) -> tuple[Integers, tuple[str, ...]]:
    """Number the given labels by the columns of their classes.

    Args:
        labels: As users pass them.
        n: Rows.
        k: Columns; None = as many as there are classes.
        classes: Names, or None.

    Returns:
        (N,) int64 in -1..k-1, and the k names.

    Raises:
        LabelError: labels that are no single classes, or none of these.
        ParameterError: another number of labels or classes.
    """
    given = _single(labels)
    if len(given) != n:
        raise ParameterError(
            f"There are {len(given)} labels for {n} rows.", "Pass one label for each row."
        )
    named = given.dtype.kind not in "iu"
    if named:
        missing = np.array([_is_missing(each) for each in given.tolist()], dtype=bool)
    if classes is None:
        if named:
            found = {str(each) for each, no in zip(given.tolist(), missing, strict=True) if not no}
            names = tuple(sorted(found))
        else:
            highest = int(given.max(initial=-1)) + 1
            names = tuple(map(str, range(highest if k is None else k)))
    else:
        names = tuple(map(str, classes))
        if len(set(names)) < len(names):
            raise ParameterError("classes hold a name twice.", "Name each column once.")
    if k is not None and len(names) != k:
        raise ParameterError(
            f"pred_probs have {k} columns, but there are {len(names)} classes.",
            "Pass classes: one name for each column, in their order.",
        )
    if named:
        return _looked_up(given, missing, names), names
    if classes is not None and all(each.lstrip("-").isdecimal() for each in names):
        return _looked_up_numbers(given, names), names
    outside = (given < -1) | (given >= len(names))
    if outside.any():
        row = int(outside.argmax())
        raise LabelError(
            f"Label {int(given[row])} of row {row} is outside 0..{len(names) - 1}.",
            "Number the columns from 0; write -1 for a missing label.",
        )
    return given.astype(np.int64), names


def _single(labels: Any) -> NDArray[Any]:
    """(N,) whole numbers or objects; refuses what gives a row several labels, or shares of them."""
    if hasattr(labels, "cpu"):
        labels = labels.cpu()
    if any(isinstance(each, list | tuple | set | np.ndarray) for each in _first(labels)):
        try:
            values = np.asarray(labels)
        except ValueError:  # rows of different lengths
            values = np.empty((len(labels), 0), dtype=object)
    else:
        values = np.asarray(labels)
    if values.ndim == 2 and values.dtype.kind == "f":
        raise LabelError(
            f"labels of {values.shape} {values.dtype} are soft labels, which are not audited.",
            "Pass the one class that each row was given.",
        )
    if values.ndim != 1 or any(isinstance(each, list | tuple | set) for each in _first(values)):
        raise LabelError(
            f"labels of {values.shape} are multi-label, which is not audited.",
            "Pass the one class that each row was given; of one-hot rows, labels.argmax(axis=1).",
        )
    if not len(values):
        return np.zeros(0, dtype=np.int64)
    if values.dtype.kind == "f":  # as pandas holds whole numbers with gaps
        broken = ~np.isnan(values) & (values != np.rint(values))
        if broken.any():
            row = int(broken.argmax())
            raise LabelError(
                f"Label {values[row]:.4g} of row {row} is a soft label or no class at all.",
                "Pass whole numbers or names; write -1 or None for a missing label.",
            )
        return np.where(np.isnan(values), -1, values).astype(np.int64)
    if values.dtype.kind == "b":
        return values.astype(np.int64)
    if values.dtype.kind in "iu":
        return values
    if values.dtype != object:
        # of a list, NumPy may have written a missing label as the text "nan"
        values = np.array([*labels, None], dtype=object)[:-1]
    return _whole_numbers(values)


def _whole_numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Objects that are whole numbers or missing as whole numbers, -1 = missing; others as they are.

    As names they would be sorted as texts, 10 before 2.
    """
    missing = [_is_missing(each) for each in values]
    whole = all(
        no or isinstance(each, int | np.integer) for each, no in zip(values, missing, strict=True)
    )
    if not whole or all(missing):
        return values
    return np.array([-1 if no else int(each) for each, no in zip(values, missing, strict=True)])


def _first(values: Any) -> list[Any]:
    """The first few entries of whatever holds labels."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return []
    return [each for each, _ in zip(values, range(1000), strict=False)]


def _is_missing(value: Any) -> bool:
    """None, and what pandas writes for it, which does not equal itself."""
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def _looked_up(given: NDArray[Any], missing: NDArray[np.bool_], names: tuple[str, ...]) -> Integers:
    """(N,) positions of names."""
    place = {name: number for number, name in enumerate(names)}
    numbers = [
        -1 if no else place.get(str(each), -2)
        for each, no in zip(given.tolist(), missing, strict=True)
    ]
    return _known(np.array(numbers, dtype=np.int64), given, names)


def _looked_up_numbers(given: Integers, names: tuple[str, ...]) -> Integers:
    """(N,) positions of whole numbers among classes that are named by such; -1 = no label."""
    place = {int(name): number for number, name in enumerate(names)}
    place.setdefault(-1, -1)
    values, where = np.unique(given, return_inverse=True)
    numbers = np.array([place.get(int(each), -2) for each in values], dtype=np.int64)
    return _known(numbers[where.reshape(-1)], given, names)


def _known(numbers: Integers, given: NDArray[Any], names: tuple[str, ...]) -> Integers:
    unknown = numbers == -2
    if unknown.any():
        row = int(unknown.argmax())
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise LabelError(
            f'Label "{given[row]}" of row {row} is none of the {len(names)} classes.',
            f"The classes are: {shown}.",
        )
    return numbers
