"""Dates: days and times become numbers and cyclic pairs.

    days      days since the first training date, with the time of day as a fraction
    year      as it is
    month     1 to 12          } as a number, for what comes early or late in the year, and as
    day       1 to 31          } sine and cosine, in which December is beside January
    weekday   0 = Monday to 6  }
    hour      0 to 24, minutes as a fraction

A part that is the same in all training rows is left out. A time of day has an hour only. Times are
read as they stand, in the zone that the column is stored with; in texts that name one, in UTC.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from thresher.data.columns import dense, trimmed, type_of
from thresher.data.encoding import DateColumn
from thresher.data.wording import quoted
from thresher.errors import DataError

__all__ = [
    "NO_DATE",
    "PERIODS",
    "choose_date",
    "date_features",
    "holds_dates",
    "looks_like_dates",
    "read_dates",
]

PERIODS = {"days": 0, "year": 0, "month": 12, "day": 31, "weekday": 7, "hour": 24}  # 0 = none
DAY = 86_400_000_000  # microseconds
NO_DATE = np.iinfo(np.int64).min  # NumPy's "not a time"
ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?)?$"

ANY_DATE = (
    r"(?i)^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b"
    r"|\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?[ -]+(\d{1,2}, *)?\d{2,4}\b"
)


def holds_dates(column: pa.ChunkedArray) -> bool:
    """Tell whether all texts of a column are dates in ISO 8601 (2026-11-05, 2026-11-05 14:30)."""
    head = trimmed(column.slice(0, 1_000))
    if not pc.all(pc.match_substring_regex(head, ISO), min_count=1).as_py():
        return False
    try:
        _from_text(trimmed(column))
    except pa.ArrowInvalid:
        return False
    return True


def looks_like_dates(column: pa.ChunkedArray) -> bool:
    """Tell whether most texts are dates in whatever form, as 31.12.2026 or 31 Dec 2026."""
    head = trimmed(column.slice(0, 1_000))
    share = pc.mean(pc.match_substring_regex(head, ANY_DATE).cast(pa.float64())).as_py()
    return share is not None and share > 0.5


def read_dates(column: pa.ChunkedArray, name: str) -> NDArray[np.int64]:
    """Read dates, times or texts in ISO 8601: (N,) microseconds since 1970, or since midnight.

    A missing one is the smallest int64, NumPy's "not a time".

    Raises:
        DataError: The column holds something else; of a text, names the row.
    """
    kind = type_of(column.type)
    if kind == "text":
        column = _dates_in_text(column, name)
    elif kind not in ("date", "empty"):
        raise DataError(
            f"Column {quoted(name)} holds values of type {column.type}, expected dates.",
            "Write the column as dates, as in the training data.",
        )
    column = dense(column)
    if pa.types.is_time(column.type):
        column = column.cast(pa.time64("us"), safe=False)
    elif pa.types.is_timestamp(column.type) and column.type.tz:
        column = pc.local_timestamp(column)
    if not pa.types.is_time(column.type):
        column = column.cast(pa.timestamp("us"), safe=False)  # beyond microseconds is cut off
    whole = column.cast(pa.int64()).fill_null(NO_DATE)
    return np.asarray(whole.to_numpy(), np.int64)


def _from_text(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return cells.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return cells.cast(pa.timestamp("us", "UTC"))  # all of them name a zone


def _dates_in_text(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    cells = trimmed(column)
    try:
        return _from_text(cells)
    except pa.ArrowInvalid:
        wrong = pc.invert(pc.match_substring_regex(cells, ISO)).fill_null(False)
        row = max(0, pc.index(wrong, True).as_py())  # else a date that is none, as 2026-02-30
        raise DataError(
            f"Column {quoted(name)} holds the text {quoted(cells[row].as_py())} in row {row} "
            "(counting from 0), expected a date."
            if wrong[row].as_py()
            else f"Column {quoted(name)} holds a date that is none, or some with a time zone and "
            "some without.",
            "Write dates as 2026-11-05 or 2026-11-05 14:30; leave the cell empty if unknown.",
        ) from None


def choose_date(name: str, column: pa.ChunkedArray) -> DateColumn:
    """Decide which parts of the training dates are used.

    Args:
        name: The column's.
        column: (N,) dates, times, or texts in ISO 8601, one at least not missing.
    """
    moments = read_dates(column, name)
    present = moments[moments != NO_DATE]
    first = int(present.min() // DAY)
    if pa.types.is_time(dense(column).type):
        parts: tuple[str, ...] = ("hour",)
    else:
        varying = [
            part
            for part in PERIODS
            if part == "days" or len(np.unique(_part(present, part, first)[:, 0])) > 1
        ]
        parts = tuple(varying)
    features = date_features(present, parts, first)
    medians = tuple(map(float, np.median(features, axis=0)))
    return DateColumn(name, parts, first, medians, flagged=len(present) < len(moments))


def date_features(
    moments: NDArray[np.int64], parts: tuple[str, ...], first: int
) -> NDArray[np.float32]:
    """Take dates apart.

    Args:
        moments: (N,) microseconds, none missing.
        parts: Some of `PERIODS`.
        first: The day that days are counted from, in days since 1970-01-01.

    Returns:
        (N, number of features) float32: for each part its number, and sine and cosine where it
        comes round.
    """
    return np.concatenate([_part(moments, part, first) for part in parts], axis=1)


def _part(moments: NDArray[np.int64], part: str, first: int) -> NDArray[np.float32]:
    days = moments // DAY
    within = moments - days * DAY
    dates = days.astype("M8[D]")
    months = dates.astype("M8[M]")
    number: NDArray[Any]
    if part == "days":
        number = (days - first) + within / DAY
    elif part == "year":
        number = months.astype(np.int64) // 12 + 1970
    elif part == "month":
        number = months.astype(np.int64) % 12 + 1
    elif part == "day":
        number = (dates - months.astype("M8[D]")).astype(np.int64) + 1
    elif part == "weekday":
        number = (days + 3) % 7  # 1970 began on a Thursday
    else:
        number = within / (DAY / 24)
    period = PERIODS[part]
    columns = [number]
    if period:
        angle = number * (2 * np.pi / period)
        columns += [np.sin(angle), np.cos(angle)]
    return np.column_stack(columns).astype(np.float32)
