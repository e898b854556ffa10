"""Arrays: (N, …) numbers or pixels, from memory or an .npz, become inputs.

uint8 arrays of three or four dimensions are images, everything else is features. float32 features
and images are taken as they are, without a copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.data.columns import refuse_infinite
from thresher.data.encoding import Encoding, NumberColumn
from thresher.data.files import one_line
from thresher.data.keys import row_keys
from thresher.data.table import Features, missing_notes
from thresher.errors import DataError

__all__ = [
    "as_array",
    "choose_array_columns",
    "encode_array",
    "flat_features",
    "image_array",
    "is_image_array",
]

BLOCK_NUMBERS = 1 << 22  # numbers looked at, or copied, at a time


def as_array(data: Any, name: str = "X") -> NDArray[Any]:
    """Take an array from anything that offers one (NumPy, a CPU tensor, a list of rows).

    Raises:
        DataError: It is no array of numbers, or has no rows.
    """
    try:
        array = np.asarray(data)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor on a device, ragged lists
        raise DataError(
            f"{name} cannot be read as an array: {one_line(error)}",
            "Give a NumPy array of numbers; move tensors to the CPU and detach them.",
        ) from error
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{name} holds values of type {array.dtype}, expected numbers or uint8 images.",
            "Convert them to float32, or give a table (pandas, polars, Arrow) or a path.",
        )
    if array.ndim == 0 or array.size == 0:
        raise DataError(
            f"{name} has shape {array.shape}: there is nothing to read.",
            "Give one row per sample, (N, …), with at least one number each.",
        )
    return array


def is_image_array(array: NDArray[Any]) -> bool:
    """Tell images, uint8 (N, H, W) or (N, H, W, C), from features."""
    return bool(array.dtype == np.uint8 and array.ndim in (3, 4))


def image_array(array: NDArray[np.uint8], name: str = "X") -> NDArray[np.uint8]:
    """Bring images to (N, H, W, C), C = 1 or 3, without copying pixels that lie in order.

    Raises:
        DataError: Another number of channels; says how to move channels that come first.
    """
    if array.ndim == 3:
        array = array[..., None]
    if array.shape[3] not in (1, 3):
        first = array.shape[1] in (1, 3)
        raise DataError(
            f"{name} holds images of shape {array.shape[1:]}, expected (height, width, channels) "
            "with 1 channel (grey) or 3 (RGB).",
            f"Move the channels last: {name}.transpose(0, 2, 3, 1)."
            if first
            else "Convert the images to grey or RGB; drop transparency.",
        )
    return np.ascontiguousarray(array)


def flat_features(array: NDArray[Any], name: str = "X") -> NDArray[np.float32]:
    """Bring numbers to (N, d) float32; float32 rows that lie in order are not copied.

    Raises:
        DataError: An infinity, or a number beyond float32; names the position and the row.
    """
    with np.errstate(over="ignore"):  # refused below
        flat = np.ascontiguousarray(array.reshape(len(array), -1), dtype=np.float32)
    size = max(1, BLOCK_NUMBERS // flat.shape[1])
    for start in range(0, len(flat), size):
        block = flat[start : start + size]
        infinite = np.isinf(block)
        if infinite.any():
            position = int(np.flatnonzero(infinite.any(axis=0))[0])
            refuse_infinite(block[:, position], f"Column {position} of {name}", first_row=start)
    return flat


def choose_array_columns(
    features: NDArray[np.float32], name: str = "X"
) -> tuple[NumberColumn, ...]:
    """Find each column's median, and whether numbers are missing.

    Args:
        features: (N, d) float32, NaN = missing.
        name: What errors call the array.

    Raises:
        DataError: A column without a number.

    Cost: memory for a few columns at a time.
    """
    columns: list[NumberColumn] = []
    size = max(1, BLOCK_NUMBERS // len(features))
    for start in range(0, features.shape[1], size):
        for position, values in enumerate(features[:, start : start + size].T.copy(), start):
            present = values[~np.isnan(values)]
            if not len(present):
                raise DataError(
                    f"Column {position} of {name} is empty: every number is NaN.",
                    "Remove the column, or fill it.",
                )
            median = float(np.median(present, overwrite_input=True))
            columns.append(NumberColumn(str(position), median, len(present) < len(values)))
    return tuple(columns)


def encode_array(features: NDArray[np.float32], encoding: Encoding, name: str = "X") -> Features:
    """Make features of an array by an encoding, columns by their position.

    Args:
        features: (N, d) float32, NaN = missing.
        encoding: Of the training data, kind "features", numbers only.
        name: What errors call the array.

    Returns:
        The features; they are the array itself where nothing is missing or flagged.

    Raises:
        DataError: Another number of columns, or the model was trained on categories.
    """
    if not all(isinstance(column, NumberColumn) for column in encoding.columns):
        raise DataError(
            f"{name} is an array, but the model was trained on a table with categories.",
            "Give a table with the same columns as the training data.",
        )
    if features.shape[1] != len(encoding.columns):
        raise DataError(
            f"{name} has {features.shape[1]:,} numbers per row, the training data have "
            f"{len(encoding.columns):,}.",
            "Give the same columns in the same order as for training.",
        )
    keys = row_keys(features)
    absent = _missing_counts(features)
    names = [column.name for column in encoding.columns]
    missing = {names[place]: int(absent[place]) for place in np.flatnonzero(absent)}
    if not missing and not any(column.flagged for column in encoding.columns):
        return Features(features, keys, ())
    return Features(_filled(features, encoding), keys, missing_notes(encoding, missing))


def _missing_counts(features: NDArray[np.float32]) -> NDArray[np.int64]:
    size = max(1, BLOCK_NUMBERS // features.shape[1])
    counts = np.zeros(features.shape[1], np.int64)
    for start in range(0, len(features), size):
        counts += np.isnan(features[start : start + size]).sum(axis=0)
    return counts


def _filled(features: NDArray[np.float32], encoding: Encoding) -> NDArray[np.float32]:
    starts = encoding.starts
    medians = np.array([column.median for column in encoding.columns], np.float32)  # type: ignore[union-attr]
    flagged = np.flatnonzero([column.flagged for column in encoding.columns])
    inputs = np.empty((len(features), starts[-1]), np.float32)
    size = max(1, BLOCK_NUMBERS // features.shape[1])
    for start in range(0, len(features), size):
        block = features[start : start + size]
        absent = np.isnan(block)
        into = inputs[start : start + size]
        into[:, starts[:-1]] = np.where(absent, medians, block)
        into[:, starts[flagged] + 1] = absent[:, flagged]
    return inputs
