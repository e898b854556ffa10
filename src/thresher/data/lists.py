"""Lists: paths of images, or texts, as they come in Python's lists, NumPy's arrays and series.

A list of which the first item is a path, or a text that ends as the names of images do, names
images; of texts alone it is free text to learn from.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from thresher.data.files import IMAGE_SUFFIXES, one_line
from thresher.errors import DataError

__all__ = ["TEXT_NAME", "is_column", "path_list", "text_list"]

TEXT_NAME = "text"  # the column that a list of texts becomes


def is_column(data: Any) -> bool:
    """Tell one column of a table: a series of pandas or polars, a chunked array of Arrow."""
    return type(data).__name__ in ("Series", "ChunkedArray")


def path_list(data: Any) -> pa.StringArray | None:
    """Take a list of paths of images: (N,) strings; None if it is none.

    Raises:
        DataError: An item of it is no path.
    """
    values = _values(data)
    if values is None or not _names_image(values[0]):
        return None
    return _texts([os.fspath(each) if isinstance(each, os.PathLike) else each for each in values])


def text_list(data: Any) -> pa.Table | None:
    """Take a list of texts as a table of one column of free text; None if it is none.

    Args:
        data: Texts; None and NaN are missing ones.

    Raises:
        DataError: A text is not Unicode.
    """
    values = _values(data)
    if values is None or _names_image(values[0]):
        return None
    if not all(isinstance(each, str) or _is_missing(each) for each in values):
        return None
    if all(map(_is_missing, values)) and not all(each is None for each in values):
        return None  # NaN alone is a number
    return pa.table({TEXT_NAME: _texts(values)})


def _values(data: Any) -> Any:
    """The items of a list; None if it is none, or empty."""
    values = np.asarray(data) if is_column(data) else data
    listed = isinstance(values, list | tuple) or (
        isinstance(values, np.ndarray) and values.ndim == 1
    )
    return values if listed and len(values) else None


def _names_image(item: Any) -> bool:
    if isinstance(item, str):
        return Path(item).suffix.lower() in IMAGE_SUFFIXES
    return isinstance(item, os.PathLike)


def _is_missing(item: Any) -> bool:
    return item is None or (isinstance(item, float) and item != item)


def _texts(values: Any) -> pa.StringArray:
    try:
        return pa.array(values, pa.string(), from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise DataError(
            f"The list cannot be read: {one_line(error)}.",
            "Give paths alone, or texts alone; a name or text must be valid Unicode.",
        ) from error
