"""Weights of rows, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.errors import DataError

__all__ = ["REPAIR", "checked_weights", "first_wrong", "whole_where_they_can_be"]


REPAIR = "Weights are finite and at least 0; rows that do not matter have 0."


def first_wrong(weights: NDArray[np.float64]) -> int | None:
    """The first row whose weight is negative or not finite; None if there is none."""
    right = np.isfinite(weights) & (weights >= 0)
    return None if right.all() else int(np.argmin(right))


def checked_weights(
    weights: Any, rows: int, *, name: str = "sample_weight"
) -> NDArray[np.float64] | None:
    """Weights as float64; None stays None.

    Args:
        weights: (rows,) finite numbers, at least 0 and not all 0; or one number for all.
        rows: How many rows there are.
        name: What the user knows them by.

    Raises:
        DataError: they are something else; names the first row at fault.
    """
    if weights is None:
        return None
    try:
        found = np.asarray(weights, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name} is not made of numbers: {error}.", "Pass one weight for each row."
        ) from None
    if found.ndim == 0:
        found = np.full(rows, float(found))
    if found.shape != (rows,):
        raise DataError(
            f"{name} has the shape {found.shape} for {rows:,} rows.",
            "Pass one weight for each row.",
        )
    row = first_wrong(found)
    if row is not None:
        raise DataError(
            f"The weight of row {row:,} (counting from 0) is {found[row]:g}, in {name}.", REPAIR
        )
    if rows and not found.any():
        raise DataError(
            f"All weights are zero, in {name}: no row counts.",
            "Sample weights must contain at least one non-zero number.",
        )
    return np.ascontiguousarray(found)


def whole_where_they_can_be(
    weights: NDArray[np.float64] | None,
) -> NDArray[np.int64] | NDArray[np.float64] | None:
    """Weights as int64 where all are whole numbers, whose sums are exact in any order."""
    if weights is None or not ((weights == np.floor(weights)).all() and weights.sum() < 2.0**53):
        return weights
    return weights.astype(np.int64)
