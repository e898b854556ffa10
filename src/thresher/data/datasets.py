"""Data sets of other libraries, recognised by what they can do; none of them is imported.

Hugging Face   .with_format("arrow")[:] is a table; .features name the classes
map-style      len(data), and data[row] = (x, y) or a dictionary (`thresher.data.items`); a list of
               such pairs or dictionaries too
streams        refused: their rows have no numbers to remember them by
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from thresher.data.wording import listed, quoted
from thresher.errors import DataError

__all__ = ["hugging_face_table", "is_hugging_face", "is_map_style", "refuse_stream"]


def refuse_stream(data: Any) -> None:
    """Refuse what hands out rows without numbers, and mappings of several data sets.

    Raises:
        DataError: Says what to give instead.
    """
    kind = type(data)
    names = {base.__name__ for base in kind.__mro__}
    if "DataLoader" in names:
        raise DataError(
            "A DataLoader hands out batches in random order, not rows by number.",
            "Give its data set: loader.dataset.",
        )
    if isinstance(data, Mapping):
        raise DataError(
            f"A {kind.__name__} of {listed(map(quoted, data))} is not one data set.",
            'Give one of its splits, such as data["train"]; a table or a pair (X, y) of arrays.',
        )
    sized = hasattr(kind, "__len__") and hasattr(kind, "__getitem__")
    streams = hasattr(kind, "__iter__") or hasattr(kind, "__getitem__")
    if "IterableDataset" in names or (streams and not sized and not hasattr(data, "__array__")):
        raise DataError(
            f"A {kind.__name__} hands out its rows in a stream: they have no numbers by which what "
            "was seen of a sample in one epoch is found again in the next.",
            "Give a data set with __len__ and __getitem__; a stream that fits into memory becomes "
            "one by list(…).",
        )


def is_hugging_face(data: Any) -> bool:
    """Tell a Hugging Face data set by its formats and features."""
    return hasattr(data, "with_format") and hasattr(data, "features") and hasattr(data, "__len__")


def is_map_style(data: Any) -> bool:
    """Tell samples by number from arrays, sequences of rows of numbers, and sparse matrices."""
    if isinstance(data, Sequence):
        return len(data) > 0 and _is_sample(data[0])
    kind = type(data)
    rows = hasattr(kind, "__len__") and hasattr(kind, "__getitem__")
    return rows and not hasattr(data, "__array__") and not hasattr(data, "toarray")


def _is_sample(row: Any) -> bool:
    """Tell a pair (x, y) or a dictionary from a row of numbers."""
    if isinstance(row, Mapping):
        return True
    return isinstance(row, tuple) and len(row) == 2 and not np.isscalar(row[0])


# ---------------------------------------------------------------------- Hugging Face
def hugging_face_table(data: Any) -> pa.Table:
    """Take the rows of a Hugging Face data set as an Arrow table, selections applied.

    Class names go into the schema's metadata, where the files of such data sets have them.
    """
    table: pa.Table = data.with_format("arrow")[:]
    names = {
        column: {"names": list(feature.names)}
        for column, feature in (data.features or {}).items()
        if isinstance(getattr(feature, "names", None), list)
    }
    described = json.dumps({"info": {"features": names}})
    return table.replace_schema_metadata({"huggingface": described})
