"""Encoding: how the model's inputs are made from a source, kept for test and new data.

An encoding is chosen once, on the training data, and applied unchanged ever after: the same
columns in the same order, the same medians for missing numbers, the same categories, the same
image size. It travels with the model: as a JSON object, and where texts are learned from, some
arrays beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from thresher.errors import DataError

__all__ = [
    "CategoryColumn",
    "Column",
    "DateColumn",
    "EmbeddedColumn",
    "Encoding",
    "NumberColumn",
    "TextColumn",
    "VectorColumn",
]

SCHEMA = 2
READABLE = (1, 2)  # 1 knew numbers and categories only, written as they are now

Arrays = Mapping[str, NDArray[Any]]


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
        return (self.name, *_flag(self))

    def to_json(self) -> dict[str, Any]:
        """Describe the column by JSON's own types."""
        return {"number": self.name, "median": self.median, "flagged": self.flagged}

    @classmethod
    def from_json(cls, found: Mapping[str, Any], arrays: Arrays) -> Self:
        """Rebuild the column from what ``to_json`` gave."""
        return cls(found["number"], float(found["median"]), found["flagged"])


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories, one 0/1 feature for each; a category unseen in training sets none.

    Args:
        name: The source's column.
        values: The categories in sorted order.
        flagged: Whether a 0/1 feature "<name> missing" follows: training data had missing cells.
        rest: Whether a 0/1 feature "<name> other" precedes it, set by every other category:
            training data had too many for a feature each.
    """

    name: str
    values: tuple[str, ...]
    flagged: bool = False
    rest: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features made of this column."""
        each = tuple(f"{self.name}={value}" for value in self.values)
        return (*each, *((f"{self.name} other",) if self.rest else ()), *_flag(self))

    def to_json(self) -> dict[str, Any]:
        """Describe the column by JSON's own types."""
        return {
            "category": self.name,
            "values": list(self.values),
            "flagged": self.flagged,
            "rest": self.rest,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any], arrays: Arrays) -> Self:
        """Rebuild the column from what ``to_json`` gave."""
        values, rest = tuple(found["values"]), found.get("rest", False)  # schema 1 had none
        return cls(found["category"], values, found["flagged"], rest)


@dataclass(frozen=True)
class DateColumn:
    """A column of dates or times, taken apart into numbers and cyclic pairs.

    Args:
        name: The source's column.
        parts: What is made of it, some of `thresher.data.dates.PERIODS`, in order.
        first: Day that days are counted from, in days since 1970-01-01: the first of training.
        medians: Stand in for the features of a missing date, one each.
        flagged: Whether a 0/1 feature "<name> missing" follows: training data had missing dates.
    """

    name: str
    parts: tuple[str, ...]
    first: int
    medians: tuple[float, ...]
    flagged: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features made of this column."""
        each = (
            f"{self.name} {part}{ending}"
            for part in self.parts
            for ending in ("", " sine", " cosine")[: 1 if part in ("days", "year") else 3]
        )
        return (*each, *_flag(self))

    def to_json(self) -> dict[str, Any]:
        """Describe the column by JSON's own types."""
        return {
            "date": self.name,
            "parts": list(self.parts),
            "first": self.first,
            "medians": list(self.medians),
            "flagged": self.flagged,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any], arrays: Arrays) -> Self:
        """Rebuild the column from what ``to_json`` gave."""
        return cls(
            found["date"],
            tuple(found["parts"]),
            int(found["first"]),
            tuple(map(float, found["medians"])),
            found["flagged"],
        )


@dataclass(frozen=True)
class VectorColumn:
    """A column of lists of numbers, all of one length, such as embeddings.

    Args:
        name: The source's column.
        means: Stand in for missing numbers, one for each of the d places.
        flagged: Whether a 0/1 feature "<name> missing" follows: training data had rows that lack
            the vector or some of it.
    """

    name: str
    means: tuple[float, ...]
    flagged: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features made of this column."""
        each = tuple(f"{self.name}[{place}]" for place in range(len(self.means)))
        return (*each, *_flag(self))

    def to_json(self) -> dict[str, Any]:
        """Describe the column by JSON's own types."""
        return {"vector": self.name, "means": list(self.means), "flagged": self.flagged}

    @classmethod
    def from_json(cls, found: Mapping[str, Any], arrays: Arrays) -> Self:
        """Rebuild the column from what ``to_json`` gave."""
        return cls(found["vector"], tuple(map(float, found["means"])), found["flagged"])


@dataclass(frozen=True, eq=False)
class TextColumn:
    """Columns of free text, read as one: counts of character n-grams, brought to d dimensions.

    Args:
        names: The source's columns.
        buckets: (V,) int32 hash buckets of the n-grams that are counted, ascending.
        idf: (V,) float32 weight of each of them.
        components: (d, V) float16 directions that the counts are projected on.
        flagged: Whether a 0/1 feature "<name> missing" follows: training data had empty texts.
    """

    names: tuple[str, ...]
    buckets: NDArray[np.int32]
    idf: NDArray[np.float32]
    components: NDArray[np.float16]
    flagged: bool = False

    @property
    def name(self) -> str:
        """The source's columns in a word."""
        return " + ".join(self.names)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features made of this column."""
        each = tuple(f"{self.name} text {place}" for place in range(1, len(self.components) + 1))
        return (*each, *_flag(self))

    def to_json(self) -> dict[str, Any]:
        """Describe the column, but for its arrays, by JSON's own types."""
        return {"text": list(self.names), "flagged": self.flagged}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays, by name."""
        return {"buckets": self.buckets, "idf": self.idf, "components": self.components}

    @classmethod
    def from_json(cls, found: Mapping[str, Any], arrays: Arrays) -> Self:
        """Rebuild the column from what ``to_json`` and ``arrays`` gave."""
        return cls(
            tuple(found["text"]),
            arrays["buckets"],
            arrays["idf"],
            arrays["components"],
            found["flagged"],
        )

    def __eq__(self, other: object) -> bool:
        """Compare number by number; arrays would answer with an array."""
        if not isinstance(other, TextColumn):
            return NotImplemented
        return self.to_json() == other.to_json() and all(
            np.array_equal(mine, other.arrays()[name]) for name, mine in self.arrays().items()
        )

    __hash__ = None  # type: ignore[assignment]  # equal by value, and arrays have no hash


@dataclass(frozen=True)
class EmbeddedColumn:
    """Columns of free text, read as one and turned into vectors by an encoder.

    Args:
        names: The source's columns.
        encoder: Name of the encoder, as `thresher.data.encoder.load_encoder` takes it.
        width: Length d of its vectors.
        flagged: Whether a 0/1 feature "<name> missing" follows: training data had empty texts.
    """

    names: tuple[str, ...]
    encoder: str
    width: int
    flagged: bool = False

    @property
    def name(self) -> str:
        """The source's columns in a word."""
        return " + ".join(self.names)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features made of this column."""
        each = tuple(f"{self.name} text {place}" for place in range(1, self.width + 1))
        return (*each, *_flag(self))

    def to_json(self) -> dict[str, Any]:
        """Describe the column by JSON's own types."""
        return {
            "embedded": list(self.names),
            "encoder": self.encoder,
            "width": self.width,
            "flagged": self.flagged,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any], arrays: Arrays) -> Self:
        """Rebuild the column from what ``to_json`` gave."""
        names, width = tuple(found["embedded"]), int(found["width"])
        return cls(names, found["encoder"], width, found["flagged"])


Column = NumberColumn | CategoryColumn | DateColumn | VectorColumn | TextColumn | EmbeddedColumn


def _flag(column: Column) -> tuple[str, ...]:
    return (f"{column.name} missing",) if column.flagged else ()


KINDS: dict[str, type[Column]] = {  # told apart by the key that holds the name
    "number": NumberColumn,
    "category": CategoryColumn,
    "date": DateColumn,
    "vector": VectorColumn,
    "text": TextColumn,
    "embedded": EmbeddedColumn,
}


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

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the source's columns of free text."""
        return tuple(
            name
            for column in self.columns
            if isinstance(column, TextColumn | EmbeddedColumn)
            for name in column.names
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of all of the source's columns that are used."""
        plain = (
            column.name
            for column in self.columns
            if not isinstance(column, TextColumn | EmbeddedColumn)
        )
        return (*plain, *self.texts)

    @property
    def positional(self) -> bool:
        """Whether columns are known by their place, as those of an array are, not by a name."""
        return self.sources == tuple(map(str, range(len(self.columns))))

    @property
    def as_read(self) -> NDArray[np.int64]:
        """Positions of the features that are the same on every machine: none made of texts."""
        kept = [
            np.arange(start, end)
            for column, start, end in zip(self.columns, self.starts, self.starts[1:], strict=False)
            if not isinstance(column, TextColumn | EmbeddedColumn)
        ]
        return np.concatenate(kept) if kept else np.zeros(0, np.int64)

    @property
    def readable(self) -> dict[str, int]:
        """Features that tell a person something: name → position; no parts of texts or vectors."""
        return {
            name: int(start) + place
            for column, start in zip(self.columns, self.starts[:-1], strict=True)
            if isinstance(column, NumberColumn | CategoryColumn | DateColumn)
            for place, name in enumerate(column.features)
        }

    def to_json(self) -> dict[str, Any]:
        """Describe the encoding by JSON's own types; ``from_json`` is the way back."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "columns": [column.to_json() for column in self.columns],
            "size": list(self.size) if self.size else None,
            "channels": self.channels,
            "label": self.label,
            "image": self.image,
            "class_codes": list(self.class_codes),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays that belong to the JSON object, named "<position of the column>/<array>"."""
        return {
            f"{place}/{name}": array
            for place, column in enumerate(self.columns)
            if isinstance(column, TextColumn)
            for name, array in column.arrays().items()
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any], arrays: Arrays | None = None) -> Encoding:
        """Rebuild an encoding from what ``to_json`` and ``arrays`` gave.

        Raises:
            DataError: The object is of another schema version, or incomplete.
        """
        if found.get("schema") not in READABLE:
            raise DataError(
                f"The encoding has schema version {found.get('schema')!r}, "
                f"this version of thresher reads {' and '.join(map(str, READABLE))}.",
                "Use the version of thresher that wrote it, or train again.",
            )
        try:
            return cls(
                kind=found["kind"],
                columns=tuple(
                    _column(each, _below(f"{place}/", arrays or {}))
                    for place, each in enumerate(found["columns"])
                ),
                size=(found["size"][0], found["size"][1]) if found["size"] else None,
                channels=found["channels"],
                label=found["label"],
                image=found["image"],
                class_codes=tuple(found["class_codes"]),
            )
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise DataError(
                f"The encoding is incomplete: {error!r}.", "Train again to write a whole one."
            ) from error


def _column(found: Mapping[str, Any], arrays: Arrays) -> Column:
    kind = next((each for each in KINDS if each in found), "")
    return KINDS[kind].from_json(found, arrays)


def _below(prefix: str, arrays: Arrays) -> Arrays:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
