"""Encoding: how the model's inputs are made from a source, kept for test and new data.

An encoding is chosen once, on the training data, and applied unchanged ever after: the same
columns in the same order, the same medians for missing numbers, the same categories, the same
image size. It travels with the model as a JSON object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from thresher.errors import DataError

__all__ = ["CategoryColumn", "Column", "Encoding", "NumberColumn"]

SCHEMA = 1


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers, taken as it is.

    Args:
        name: The source's column, or the position in an array as text.
        median: Stands in for a missing number.
        flagged: Whether a 0/1 feature "<name> missing" follows: training data had missing numbers.
    """

    name: str
    median: float
    flagged: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features made of this column."""
        return (self.name, f"{self.name} missing") if self.flagged else (self.name,)


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories, one 0/1 feature for each; a category unseen in training sets none.

    Args:
        name: The source's column.
        values: The categories in sorted order.
        flagged: Whether a 0/1 feature "<name> missing" follows: training data had missing cells.
    """

    name: str
    values: tuple[str, ...]
    flagged: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features made of this column."""
        each = tuple(f"{self.name}={value}" for value in self.values)
        return (*each, f"{self.name} missing") if self.flagged else each


Column = NumberColumn | CategoryColumn


@dataclass(frozen=True)
class Encoding:
    """How inputs were made from the source.

    Args:
        kind: "features" for vectors of numbers, "images" for pixels.
        columns: The source's columns, in the order of their features; empty for images.
        size: Height and width of the images in pixels; None for features.
        channels: 1 (grey) or 3 (RGB); None for features.
        label: Where the labels stood, if the source names it.
        image: Where the images stood, if the source names it.
        class_codes: Class names of the integer labels 0, 1, …, if the source's metadata gave them.
    """

    kind: Literal["features", "images"]
    columns: tuple[Column, ...] = ()
    size: tuple[int, int] | None = None
    channels: int | None = None
    label: str | None = None
    image: str | None = None
    class_codes: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in the order of the inputs' columns; empty for images."""
        return tuple(name for column in self.columns for name in column.features)

    @property
    def starts(self) -> NDArray[np.int64]:
        """First feature of each column and the number of all features: (columns + 1,) int64."""
        widths = [len(column.features) for column in self.columns]
        return np.concatenate([[0], np.cumsum(widths, dtype=np.int64)]).astype(np.int64)

    def to_json(self) -> dict[str, Any]:
        """Describe the encoding by JSON's own types; ``from_json`` is the way back."""
        columns: list[dict[str, Any]] = [
            {"number": column.name, "median": column.median, "flagged": column.flagged}
            if isinstance(column, NumberColumn)
            else {
                "category": column.name,
                "values": list(column.values),
                "flagged": column.flagged,
            }
            for column in self.columns
        ]
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "columns": columns,
            "size": list(self.size) if self.size else None,
            "channels": self.channels,
            "label": self.label,
            "image": self.image,
            "class_codes": list(self.class_codes),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Encoding:
        """Rebuild an encoding from what ``to_json`` gave.

        Raises:
            DataError: The object is of another schema version, or incomplete.
        """
        if found.get("schema") != SCHEMA:
            raise DataError(
                f"The encoding has schema version {found.get('schema')!r}, "
                f"this version of thresher reads {SCHEMA}.",
                "Use the version of thresher that wrote it, or train again.",
            )
        try:
            return cls(
                kind=found["kind"],
                columns=tuple(map(_column, found["columns"])),
                size=(found["size"][0], found["size"][1]) if found["size"] else None,
                channels=found["channels"],
                label=found["label"],
                image=found["image"],
                class_codes=tuple(found["class_codes"]),
            )
        except (KeyError, TypeError, IndexError) as error:
            raise DataError(
                f"The encoding is incomplete: {error!r}.", "Train again to write a whole one."
            ) from error


def _column(found: Mapping[str, Any]) -> Column:
    if "number" in found:
        return NumberColumn(found["number"], float(found["median"]), found["flagged"])
    return CategoryColumn(found["category"], tuple(found["values"]), found["flagged"])
