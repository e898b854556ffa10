"""Categories: one 0/1 feature for each value of a column, and one for all beyond the hundredth.

A column of more than 100 values keeps the 100 most frequent ones; the others share the feature
"<name> other", which new values set as well. Replacing a category by the mean label of its rows is
the usual alternative, and is not done here: it would hand the labels that are under suspicion to
the network as a feature, a rare category's own label unblurred.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.data.columns import Texts, count_distinct, is_number, read_texts, trimmed
from thresher.data.dates import looks_like_dates
from thresher.data.encoding import CategoryColumn
from thresher.data.text import looks_like_text

__all__ = ["MOST_CATEGORIES", "choose_category", "set_categories"]

MOST_CATEGORIES = 100
FEW_ROWS = 20  # may all differ


def choose_category(name: str, column: pa.ChunkedArray) -> CategoryColumn | str:
    """Find the categories of a column, or the reason to leave it out.

    The reason is a key of `column_choice.LEFT_OUT`. Where more than half of the rows have a value
    that differs from all others, it names the row and teaches nothing about new ones.

    Args:
        name: The column's.
        column: (N,) texts, some of them present.
    """
    present = len(column) - trimmed(column).null_count
    if present > FEW_ROWS and count_distinct(column) > present / 2:
        head = read_texts(column.slice(0, 10_000), name)
        numbers = sum(map(is_number, head.values))
        if numbers == len(head.values):
            return "numbers as text"
        if numbers > len(head.values) / 2:
            return "numbers and texts"
        if looks_like_dates(column):
            return "dates"
        return "free text" if looks_like_text(column) else "ids"
    texts = read_texts(column, name)
    flagged = present < len(column)
    if len(texts.values) <= MOST_CATEGORIES:
        return CategoryColumn(name, texts.values, flagged)
    counts = np.bincount(texts.codes[texts.codes >= 0], minlength=len(texts.values))
    frequent = np.sort(np.argsort(-counts, kind="stable")[:MOST_CATEGORIES])
    values = tuple(texts.values[place] for place in frequent)
    return CategoryColumn(name, values, flagged, rest=True)


def set_categories(
    column: CategoryColumn, texts: Texts, into: NDArray[np.float32]
) -> tuple[str, ...]:
    """Set the 0/1 features of one column.

    Args:
        column: As chosen on the training data.
        texts: The N cells.
        into: (N, number of features) float32 zeros, written to.

    Returns:
        The categories that training did not have; none where others share a feature.
    """
    place = {value: position for position, value in enumerate(column.values)}
    otherwise = len(column.values) if column.rest else -1
    known = np.array([*(place.get(value, otherwise) for value in texts.values), -1], np.int64)
    feature = known[texts.codes]
    rows = np.flatnonzero(feature >= 0)
    into[rows, feature[rows]] = 1.0
    if column.rest:
        return ()
    return tuple(value for value in texts.values if value not in place)
