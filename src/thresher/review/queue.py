"""Queue: the labelled samples of a run in the order in which they deserve a look.

A sample has a *place*: the flagged ones come first, by rank, then the others, by rank. Numbers lie
in arrays, some 60 bytes a sample; identifiers stay Arrow's, and paths and texts on the disk.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.audit.reasons import REASONS
from thresher.audit.table import table_facts
from thresher.errors import RunError

__all__ = ["Item", "Queue"]

WORDS = ("path", "text")  # columns that are read when they are shown
GROUPS_KEPT = 4  # row groups of words in memory


@dataclass(frozen=True)
class Item:
    """A sample of the queue, as the audit table has it.

    Attributes:
        place: In the queue, from 0.
        row: In the audit table, from 0.
        sample_id: Its name.
        given: Class number; None = no label.
        suggested: Class number; None = nothing is known.
        score: Label score in [0, 1]; None = nothing is known.
        p_given: Mean probability of the given label.
        p_suggested: Mean probability of the suggested one.
        reason: Code of `thresher.audit.reasons`.
        split: "train" or "held-out".
        path: Of its file.
        text: As read.
    """

    place: int
    row: int
    sample_id: str
    given: int | None
    suggested: int | None
    score: float | None
    p_given: float | None
    p_suggested: float | None
    reason: str | None
    split: str
    path: str | None
    text: str | None

    @property
    def why(self) -> str | None:
        """The reason as a sentence."""
        return None if self.reason is None else REASONS.get(self.reason, self.reason)


class Queue:
    """The labelled samples of an audit table.

    Args:
        path: An audit.parquet.

    Raises:
        RunError: the file is missing or damaged.

    Attributes:
        classes: The k class names.
        flagged: How many are flagged; they have the first places.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = pq.ParquetFile(path, read_dictionary=["given_label", "suggested_label"])
            names = set(self._file.schema_arrow.names)
            self.classes: tuple[str, ...] = tuple(
                table_facts(self._file.schema_arrow.empty_table())["classes"]
            )
            self._given = self._codes("given_label")
            self._suggested = self._codes("suggested_label")
            self._numbers = {
                name: self._column(name).to_numpy()
                for name in ("label_score", "p_given", "p_suggested")
            }
            self._ids = _flat(self._column("sample_id"))
            self._reason = _flat(self._column("reason").dictionary_encode())
            self._held_out = pc.equal(self._column("split"), "held-out").to_numpy()
            flagged = self._column("is_label_issue").to_numpy()
            rank = self._column("rank").fill_null(0).to_numpy()
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise RunError(
                f"{path} cannot be read: {error}.", "Copy it again, or train again."
            ) from error
        self._words = [name for name in WORDS if name in names]
        self._group_starts = np.cumsum(
            [0]
            + [
                self._file.metadata.row_group(group).num_rows
                for group in range(self._file.num_row_groups)
            ]
        )
        self._lock = Lock()
        self._groups: OrderedDict[int, pa.Table] = OrderedDict()
        labelled = np.flatnonzero(self._given >= 0)
        # rows without a rank were seen too rarely to say anything of them: they come last
        last = np.where(rank[labelled] > 0, rank[labelled], np.iinfo(np.int32).max)
        order = labelled[np.lexsort((labelled, last, ~flagged[labelled]))]
        self.flagged = int(flagged[labelled].sum())
        self._rows = order.astype(np.int64)  # place → row
        self._places = np.full(len(self._ids), -1, dtype=np.int64)  # row → place
        self._places[order] = np.arange(len(order))
        self._hashes, self._hashed = _by_hash(self._ids)
        pa.default_memory_pool().release_unused()

    def __len__(self) -> int:
        return len(self._rows)

    def item(self, place: int) -> Item:
        """The sample at a place.

        Raises:
            IndexError: there is no such place.
        """
        if not 0 <= place < len(self):
            raise IndexError(f"place {place} is outside 0..{len(self) - 1}")
        row = int(self._rows[place])
        words = self._words_of(row)
        return Item(
            place=place,
            row=row,
            sample_id=self._ids[row].as_py(),
            given=_code(self._given[row]),
            suggested=_code(self._suggested[row]),
            score=_number(self._numbers["label_score"][row]),
            p_given=_number(self._numbers["p_given"][row]),
            p_suggested=_number(self._numbers["p_suggested"][row]),
            reason=self._reason[row].as_py(),
            split="held-out" if self._held_out[row] else "train",
            path=words.get("path"),
            text=words.get("text"),
        )

    def place_of(self, sample_id: str) -> int | None:
        """The place of a sample; None if the queue does not hold it."""
        row = self.row_of(sample_id)
        if row is None or self._places[row] < 0:
            return None
        return int(self._places[row])

    def row_of(self, sample_id: str) -> int | None:
        """The row of a sample in the audit table; None if it has no such sample."""
        wanted = _hash(sample_id)
        for at in range(int(np.searchsorted(self._hashes, wanted)), len(self._hashes)):
            if self._hashes[at] != wanted:
                return None
            row = int(self._hashed[at])
            if self._ids[row].as_py() == sample_id:
                return row
        return None

    def path_of(self, row: int) -> str | None:
        """The file of a row."""
        return self._words_of(row).get("path")

    def pairs(self) -> list[tuple[int, int, NDArray[np.int64]]]:
        """Given class, suggested class and places of the flagged ones; the largest pair first."""
        rows = self._rows[: self.flagged]
        places = np.flatnonzero(self._suggested[rows] >= 0)
        rows = rows[places]
        k = len(self.classes)
        cells = self._given[rows].astype(np.int64) * k + self._suggested[rows]
        order = np.argsort(cells, kind="stable")
        found, starts = np.unique(cells[order], return_index=True)
        parts = np.split(places[order], starts[1:]) if len(found) else []
        pairs = [
            (int(cell) // k, int(cell) % k, part) for cell, part in zip(found, parts, strict=True)
        ]
        return sorted(pairs, key=lambda pair: (-len(pair[2]), pair[0], pair[1]))

    def pair(self, given: int, suggested: int) -> NDArray[np.int64]:
        """The places of the flagged samples of one pair of classes."""
        rows = self._rows[: self.flagged]
        return np.flatnonzero((self._given[rows] == given) & (self._suggested[rows] == suggested))

    # ------------------------------------------------------------------ reading
    def _column(self, name: str) -> pa.ChunkedArray:
        return self._file.read([name])[name]

    def _codes(self, name: str) -> NDArray[np.int32]:
        """Class numbers of a column of names, -1 for null."""
        column = self._column(name)
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        classes = pa.array(self.classes, pa.string())
        parts = []
        for chunk in column.chunks:
            numbers = pc.index_in(chunk.dictionary.cast(pa.string()), value_set=classes)
            table = numbers.fill_null(-1).to_numpy(zero_copy_only=False)
            codes = chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            parts.append(np.where(codes < 0, -1, np.append(table, -1)[codes]))
        found: NDArray[np.int32] = np.concatenate([*parts, []]).astype(np.int32)
        return found

    def _words_of(self, row: int) -> dict[str, Any]:
        if not self._words:
            return {}
        group = int(np.searchsorted(self._group_starts, row, side="right")) - 1
        with self._lock:
            if group not in self._groups:
                self._groups[group] = self._file.read_row_group(group, self._words)
                if len(self._groups) > GROUPS_KEPT:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(group)
            at = row - int(self._group_starts[group])
            found: dict[str, Any] = self._groups[group].slice(at, 1).to_pylist()[0]
            return found


def _flat(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return (
        pa.concat_arrays(column.unify_dictionaries().chunks)
        if column.num_chunks
        else pa.array([], column.type)
    )


def _code(number: np.integer[Any]) -> int | None:
    return None if number < 0 else int(number)


def _number(value: np.floating[Any]) -> float | None:
    return None if np.isnan(value) else float(value)


def _hash(sample_id: str) -> int:
    return hash(sample_id)


def _by_hash(ids: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hashes in order and the rows they belong to: a dictionary of 12 bytes an entry."""
    hashes = np.empty(len(ids), dtype=np.int64)
    block = 1 << 16
    for start in range(0, len(ids), block):
        part = ids.slice(start, block).to_pylist()
        hashes[start : start + len(part)] = [_hash(each) for each in part]
    order = np.argsort(hashes, kind="stable")
    return hashes[order], order
