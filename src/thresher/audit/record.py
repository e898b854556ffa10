"""What one training run remembers of its samples, and how the audit reads it.

The record holds, for each sample, running sums over the epochs. Its largest part is the sum of the
predicted probabilities: as a full (N, k) matrix, or, where that is too large, as the m classes with
the largest sums. `MeanProbabilities` hides the difference and never holds more than a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.audit.stored_matrix import StoredMatrix
from thresher.errors import LabelError, ParameterError
from thresher.noise_rate import Integers, rows_per_block

__all__ = ["MeanProbabilities", "Reading", "Record", "pred_probs", "read"]

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Record:
    """Sums over one training run, one entry per sample in input order.

    Probabilities are those of the training-mode forward pass, before the update of that step. The
    *window* is the part of the run whose probabilities are averaged (all but the first epochs).
    Exactly one form of the probability sum is given: ``probability_sum``, or the compact
    ``top_classes``, ``top_sums`` and ``given_window_sum``.

    A record of predictions made elsewhere (``out_of_sample``) holds one prediction a row and no
    visits.

    Attributes:
        labels: (N,) int given labels in 0..k-1, -1 = none.
        classes: The k class names, k >= 2.
        probability_sum: (N, k) float, sum of the probabilities over the window visits; may lie in a
            file.
        top_classes: (N, m) int, the classes with the largest sums; -1 marks an unused slot.
        top_sums: (N, m) float, their sums.
        given_window_sum: (N,) float, exact sum of the given label's probability over the window.
        window_visits: (N,) int, visits inside the window.
        visits: (N,) int, visits in the whole run.
        correct: (N,) int, visits whose prediction was the given label.
        forgetting: (N,) int, changes from right to wrong between consecutive visits.
        margin_sum: (N,) float, sum of given logit minus largest other logit.
        given_sum: (N,) float, sum of the probability of the given label.
        given_square_sum: (N,) float, sum of its square.
        loss_sum: (N,) float, sum of the cross-entropy against the given label.
        in_training: (N,) bool, False for held-out and unlabelled rows.
        final_probability: (M, k) float, prediction of the finished model for the M unlabelled
            rows, in their order.
        trusted: (N,) bool, rows whose label people have decided; None = none.
        held_out_rows: (H,) int, rows that were held out at first and trained later; None = none.
        held_out_probability: (H, k) float, what was predicted of them while they were held out.
        out_of_sample: The probabilities are predictions of models that were not trained on the row
            they predict.

    Raises:
        LabelError: fewer than two classes, or a label outside -1..k-1.
        ParameterError: arrays that do not fit together.
    """

    labels: Integers
    classes: tuple[str, ...]
    window_visits: Integers
    visits: Integers
    correct: Integers
    forgetting: Integers
    margin_sum: Floats
    given_sum: Floats
    given_square_sum: Floats
    loss_sum: Floats
    in_training: NDArray[np.bool_]
    probability_sum: Floats | StoredMatrix | None = None
    top_classes: Integers | None = None
    top_sums: Floats | None = None
    given_window_sum: Floats | None = None
    final_probability: Floats | None = None
    trusted: NDArray[np.bool_] | None = None
    held_out_rows: Integers | None = None
    held_out_probability: Floats | None = None
    out_of_sample: bool = False

    @classmethod
    def from_history(
        cls,
        columns: Mapping[str, Any],
        labels: Any,
        classes: Sequence[str],
        final_probability: Floats | None = None,
    ) -> Record:
        """Take what a training remembered: `criterion.history.state_dict()`, or a saved one.

        Args:
            columns: By name, arrays or tensors of N rows; those that an audit does not read are
                left aside.
            labels: (N,) int given labels in 0..k-1, -1 = none.
            classes: The k class names.
            final_probability: (M, k) prediction of the finished model for the M unlabelled rows.

        Raises:
            ParameterError: the training did not record what an audit reads.
        """
        names = {field.name for field in fields(cls)} - {"held_out_rows"}
        known = [name for name in columns if name in names]
        lacking = [name for name in (*_COLUMNS[1:-1], "eligible") if name not in columns]
        if lacking:
            raise ParameterError(
                f"The history lacks {', '.join(lacking)}, which an audit reads.",
                "Start the method with audit=True.",
            )
        given = plain(labels)
        return cls(
            labels=given,
            classes=tuple(classes),
            in_training=plain(columns["eligible"]) & (given >= 0),
            final_probability=final_probability,
            **_arrays(columns, known),
            **_released(columns, given),
        )

    def __post_init__(self) -> None:
        n, k = len(self.labels), len(self.classes)
        if k < 2:
            raise LabelError(
                f"An audit compares classes, got {k}.", "Pass a record of two classes or more."
            )
        outside = (self.labels < -1) | (self.labels >= k)
        if outside.any():
            row = int(outside.argmax())
            raise LabelError(
                f"Label {int(self.labels[row])} of row {row} is outside 0..{k - 1}.",
                "Number the classes from 0; write -1 for a missing label.",
            )
        for name in _COLUMNS:
            _check_shape(name, getattr(self, name), (n,))
        compact = (self.top_classes, self.top_sums, self.given_window_sum)
        if self.probability_sum is not None and all(each is None for each in compact):
            _check_shape("probability_sum", self.probability_sum, (n, k))
        elif self.probability_sum is None and all(each is not None for each in compact):
            m = np.shape(self.top_sums)[-1] if self.top_sums is not None else 0
            _check_shape("top_classes", self.top_classes, (n, m))
            _check_shape("top_sums", self.top_sums, (n, m))
            _check_shape("given_window_sum", self.given_window_sum, (n,))
        else:
            raise ParameterError(
                "A record needs one form of the probability sums.",
                "Pass probability_sum alone, or top_classes, top_sums and given_window_sum.",
            )
        if self.trusted is not None:
            _check_shape("trusted", self.trusted, (n,))
        if self.held_out_rows is not None:
            shape = (len(self.held_out_rows), k)
            _check_shape("held_out_probability", self.held_out_probability, shape)
        if self.final_probability is not None:
            unlabelled = int(np.count_nonzero(self.labels < 0))
            _check_shape("final_probability", self.final_probability, (unlabelled, k))

    def __len__(self) -> int:
        return len(self.labels)


def _arrays(columns: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: plain(columns[name]) for name in names}


def _released(columns: Mapping[str, Any], labels: Integers) -> dict[str, Any]:
    """Held-out rows that were trained in the end, with their mean probabilities before."""
    if "held_out_rows" not in columns:
        return {}
    rows, visits = plain(columns["held_out_rows"]), plain(columns["held_out_visits"])
    here = plain(columns["eligible"])[rows] & (visits > 0) & (labels[rows] >= 0)
    if not here.any():
        return {}
    average = plain(columns["held_out_average"])[here].astype(np.float64)
    # a moving average that begins at 0 holds too little at first
    return {
        "held_out_rows": rows[here],
        "held_out_probability": average / average.sum(axis=1, keepdims=True),
    }


def plain(values: Any) -> NDArray[Any]:
    """An array, from a tensor on any device as well."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)


@dataclass(frozen=True)
class MeanProbabilities:
    """Blocks of (B, k) float32 mean probabilities over the window; can be read again and again.

    Rows that were not visited inside the window are all zero. In a compact record the mass that no
    slot holds is spread evenly over the classes that no slot names.

    Attributes:
        record: Where to read.
        rows: (R,) row numbers to read; None reads all in order.
    """

    record: Record
    rows: Integers | None = None

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        step = rows_per_block(len(self.record.classes))
        length = len(self.record) if self.rows is None else len(self.rows)
        for start in range(0, length, step):
            here = slice(start, min(start + step, length))
            yield _mean_block(self.record, here if self.rows is None else self.rows[here])


@dataclass(frozen=True)
class Reading:
    """What the window's mean probabilities say of each row.

    Attributes:
        p_given: (N,) float32 mean probability of the given label; NaN where there is none.
        rival: (N,) int32 most probable class other than the given one; -1 where unknown. Of an
            unlabelled row predicted elsewhere, the most probable class.
        p_rival: (N,) float32 its mean probability; NaN where unknown.
    """

    p_given: NDArray[np.float32]
    rival: NDArray[np.int32]
    p_rival: NDArray[np.float32]

    @property
    def known(self) -> NDArray[np.bool_]:
        """(N,) rows with a given label and a finite mean probability."""
        return np.isfinite(self.p_given) & np.isfinite(self.p_rival)


def read(record: Record) -> Reading:
    """Read the given label's probability and the strongest rival of every row.

    Ties between rivals go to the first class. Unlabelled rows and rows never visited inside the
    window, or with probabilities that are not finite, stay unknown.
    """
    n = len(record)
    p_given = np.full(n, np.nan, dtype=np.float32)
    rival = np.full(n, -1, dtype=np.int32)
    p_rival = np.full(n, np.nan, dtype=np.float32)
    start = 0
    for block in MeanProbabilities(record):
        here = slice(start, start + len(block))
        start += len(block)
        row, given = np.arange(len(block)), record.labels[here]
        labelled = given >= 0
        own = block[row, given.clip(min=0)]
        # the block is ours: a rival is another class
        block[row[labelled], given[labelled]] = -np.inf
        best = block.argmax(axis=1)
        strength = block[row, best]
        seen = (record.window_visits[here] > 0) & np.isfinite(own) & np.isfinite(strength)
        seen &= labelled | record.out_of_sample
        p_given[here] = np.where(seen & labelled, own, np.nan)
        rival[here] = np.where(seen, best, -1)
        p_rival[here] = np.where(seen, strength, np.nan)
    return Reading(p_given, rival, p_rival)


def pred_probs(record: Record) -> NDArray[np.float32]:
    """Build the full matrix of mean probabilities, as cleanlab's ``pred_probs`` wants it.

    Columns are in the order of ``record.classes``. Unlabelled rows hold the finished model's
    prediction where the record has it; rows about which nothing is known are uniform.

    Returns:
        (N, k) float32; every row is finite and sums to 1.
    """
    n, k = len(record), len(record.classes)
    matrix = np.empty((n, k), dtype=np.float32)
    start = 0
    for block in MeanProbabilities(record):
        matrix[start : start + len(block)] = block
        start += len(block)
    if record.final_probability is not None:
        matrix[record.labels < 0] = record.final_probability
    step = rows_per_block(k)
    for start in range(0, n, step):
        block = matrix[start : start + step]
        total = block.sum(axis=1, dtype=np.float64)
        known = np.isfinite(total) & (total > 0)
        block[~known] = 1.0 / k
        block[known] /= total[known, None].astype(np.float32)
    return matrix


_COLUMNS = (
    "labels",
    "window_visits",
    "visits",
    "correct",
    "forgetting",
    "margin_sum",
    "given_sum",
    "given_square_sum",
    "loss_sum",
    "in_training",
)


def _check_shape(name: str, array: Any, shape: tuple[int, ...]) -> None:
    if np.shape(array) != shape:
        raise ParameterError(
            f"{name} must have shape {shape}, got {np.shape(array)}.",
            "Pass arrays of one run, with an entry for every sample.",
        )


def _mean_block(record: Record, rows: slice | Integers) -> NDArray[np.float32]:
    visits = np.maximum(record.window_visits[rows], 1).astype(np.float32)
    if record.probability_sum is not None:
        block: NDArray[np.float32] = record.probability_sum[rows].astype(np.float32)
        block /= visits[:, None]
        return block
    return _spread_block(record, rows, visits)


def _spread_block(
    record: Record, rows: slice | Integers, visits: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Fill a (B, k) block from the recorded classes of each row."""
    assert record.top_classes is not None
    assert record.top_sums is not None
    assert record.given_window_sum is not None
    k = len(record.classes)
    given = record.labels[rows]
    top = record.top_classes[rows].astype(np.int64)  # (B, m)
    used = (top >= 0) & (top != given[:, None])  # the given label has its own exact sum
    mass = np.where(used, record.top_sums[rows] / visits[:, None], 0.0).astype(np.float32)
    own = np.where(given >= 0, record.given_window_sum[rows] / visits, 0.0).astype(np.float32)
    unnamed = k - used.sum(axis=1) - (given >= 0)
    rest = np.maximum(1.0 - mass.sum(axis=1) - own, 0.0) * (record.window_visits[rows] > 0)
    share = (rest / np.maximum(unnamed, 1)).astype(np.float32)
    block = np.repeat(share[:, None], k, axis=1)
    row, slot = np.nonzero(used)
    block[row, top[row, slot]] = mass[row, slot]
    labelled = np.flatnonzero(given >= 0)
    block[labelled, given[labelled]] = own[labelled]
    return block
