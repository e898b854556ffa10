"""A task's rows as numbers, or one sentence that names the row that cannot be one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.spark.source import Part
from thresher.cluster.table_points import Coordinates, coordinate_rows
from thresher.cluster.weights import REPAIR, first_wrong
from thresher.data.wording import quoted
from thresher.errors import DataError

__all__ = ["counted_from", "finite_rows", "row_weights"]


def finite_rows(part: Part, chosen: Coordinates) -> NDArray[Any]:
    """The coordinates of a part's rows, (b, d), of the type that was chosen.

    Raises:
        DataError: one is NaN, missing or infinite, or a list has another length.
    """
    with counted_from(part):
        rows = coordinate_rows(part.table, chosen)
    finite = np.isfinite(rows)
    if not finite.all():
        row = int(np.argmin(finite.all(axis=1)))
        axis = chosen.axes[int(np.argmin(finite[row]))]
        what = "NaN (or missing)" if np.isnan(rows[row]).any() else "infinity"
        raise DataError(
            f"Column {quoted(axis)} has {what} in {part.where(row)}; every coordinate must be a "
            "finite number.",
            "Remove or fill rows with NaN or infinity first.",
        )
    return rows


def row_weights(part: Part, weight: Coordinates) -> NDArray[np.float64]:
    """The weights of a part's rows, (b,).

    Raises:
        DataError: one is negative or not finite.
    """
    weights = coordinate_rows(part.table, weight)[:, 0].astype(np.float64)
    row = first_wrong(weights)
    if row is not None:
        raise DataError(f"The weight is {weights[row]:g} in {part.where(row)}.", REPAIR)
    return weights


@contextmanager
def counted_from(part: Part) -> Iterator[None]:
    """Say of which rows an error speaks that knows no more than a part."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{error.cause} Rows count from {part.where(0)}.", error.fix) from error
