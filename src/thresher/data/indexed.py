"""Indexed: a map-style data set that also says which row it hands out.

    dataset[i] = (x, y)     →  (i, x, y)
    dataset[i] = {"x": …}   →  {"index": i, "x": …}

The number of a row is what the history of a training is keyed by: it must be the same in every
epoch, whatever the order of the batches, the number of loader workers or of processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from thresher.errors import DataError

__all__ = ["Indexed", "MapStyle"]

KEY = "index"


class MapStyle(Protocol):
    """Rows that can be asked for by number: most torch and Hugging Face data sets, and lists."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Any: ...


class Indexed:
    """A data set that puts each row's number before what the row holds.

    Wrap it last, around subsets and transforms, so that the numbers are 0 … N - 1 of what is
    trained on; pass its length to `Method.start`. A torch `DataLoader` makes the numbers a (B,)
    int64 tensor.

    Args:
        dataset: Any object with a length and rows by number, each a tuple or list (x, y, …) or a
            mapping. It is kept as it is, and not read before a row is asked for.

    Raises:
        DataError: the data set streams its rows, or has no length or no rows by number; later, a
            row is neither a tuple nor a mapping, or has a key "index" already.

    >>> rows = Indexed([("a", 0), ("b", 1)])
    >>> len(rows), rows[1]
    (2, (1, 'b', 1))
    >>> Indexed([{"text": "a", "label": 0}])[0]
    {'index': 0, 'text': 'a', 'label': 0}
    """

    def __init__(self, dataset: MapStyle) -> None:
        kind = type(dataset)
        # by name: torch's and Hugging Face's both, without importing either
        streams = any(base.__name__ == "IterableDataset" for base in kind.__mro__)
        if streams or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise DataError(
                f"A {kind.__name__} hands out its rows in a stream: they have no numbers by which "
                "what was seen of a sample in one epoch is found again in the next.",
                "Pass a map-style data set, with __len__ and __getitem__; a stream that fits into "
                "memory becomes one by list(…).",
            )
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> Any:
        number = int(number)
        number = number + len(self) if number < 0 else number
        return _numbered(number, self.dataset[number])

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        """Rows of a whole batch: torch's loader asks for them in one call where it can."""
        fetch = getattr(self.dataset, "__getitems__", None)
        items = fetch(numbers) if fetch else [self.dataset[number] for number in numbers]
        return [_numbered(int(number), item) for number, item in zip(numbers, items, strict=True)]


def _numbered(number: int, item: Any) -> Any:
    if isinstance(item, Mapping):
        if KEY in item:
            raise DataError(
                f'Row {number} has a key "{KEY}" already.',
                "Rename it; or, if it holds the row's number, use the data set as it is.",
            )
        return {KEY: number, **item}
    if isinstance(item, tuple | list):
        return (number, *item)
    raise DataError(
        f"Row {number} is a {type(item).__name__}; the row's number has no place beside it.",
        "Let the data set return (x, y) or a dictionary.",
    )
