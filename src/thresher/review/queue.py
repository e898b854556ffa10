"""Queue: the labelled samples of a run in the order in which they deserve a look.

A sample has a *place*: the flagged ones come first, by rank, then the others, by rank. Numbers lie
in arrays, some 50 bytes a sample; identifiers stay Arrow's, and paths and texts on the disk. The
table is read in batches: of a million rows nothing is in memory twice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.audit.reasons import REASONS
from thresher.audit.table import table_facts
from thresher.errors import RunError

__all__ = ["Item", "Queue"]

WORDS = ("path", "text")  # columns that are read when they are shown
NAMES = ("given_label", "suggested_label", "reason", "split")  # columns of few words
NUMBERS = ("label_score", "p_given", "p_suggested")
BATCH = 8192  # rows read at once
WORDS_KEPT = 2048  # samples whose words are in memory


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
            # in small pieces, or a row group of texts would be in memory as a whole
            self._file = pq.ParquetFile(path, read_dictionary=NAMES, buffer_size=1 << 16)
            schema = self._file.schema_arrow
            facts = table_facts(pa.Table.from_batches([], schema))
            self.classes: tuple[str, ...] = tuple(facts["classes"])
            self._read(self._file.metadata.num_rows)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise RunError(
                f"{path} cannot be read: {error}.", "Copy it again, or train again."
            ) from error
        self._names = [name for name in WORDS if name in schema.names]
        sizes = [
            self._file.metadata.row_group(group).num_rows
            for group in range(self._file.num_row_groups)
        ]
        self._group_starts = np.cumsum([0, *sizes])
        self._lock = Lock()
        self._words: OrderedDict[int, dict[str, Any]] = OrderedDict()
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
        words = self.words([row])[row]
        return Item(
            place=place,
            row=row,
            sample_id=self._ids[row].as_py(),
            given=_code(self._given[row]),
            suggested=_code(self._suggested[row]),
            score=_number(self._numbers["label_score"][row]),
            p_given=_number(self._numbers["p_given"][row]),
            p_suggested=_number(self._numbers["p_suggested"][row]),
            reason=self._reasons[self._reason[row]],
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

    def name_of(self, place: int) -> tuple[int, str]:
        """Row and identifier of the sample at a place."""
        row = int(self._rows[place])
        return row, self._ids[row].as_py()

    def labels(self, place: int) -> tuple[str | None, str | None]:
        """The given and the suggested class of the sample at a place."""
        row = self._rows[place]
        given, suggested = _code(self._given[row]), _code(self._suggested[row])
        return (
            None if given is None else self.classes[given],
            None if suggested is None else self.classes[suggested],
        )

    def path_of(self, row: int) -> str | None:
        """The file of a row."""
        return self.words([row])[row].get("path")

    def words(self, rows: Iterable[int]) -> dict[int, dict[str, Any]]:
        """Path and text of rows, as far as the table has them; asked for together they come sooner.

        The last 2,048 stay in memory.
        """
        found: dict[int, dict[str, Any]] = {row: {} for row in rows}
        if not self._names:
            return found
        with self._lock:
            missing = []
            for row in found:
                if row in self._words:
                    self._words.move_to_end(row)
                    found[row] = self._words[row]
                else:
                    missing.append(row)
            for row, words in self._read_words(np.array(sorted(missing), dtype=np.int64)):
                found[row] = self._words[row] = words
            while len(self._words) > WORDS_KEPT:
                self._words.popitem(last=False)
        return found

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
    def _read(self, n: int) -> None:
        """Fill the arrays, and put the rows in order.

        Raises:
            KeyError: a column is missing.
        """
        self._given = np.empty(n, dtype=np.int32)
        self._suggested = np.empty(n, dtype=np.int32)
        self._numbers = {name: np.empty(n, dtype=np.float32) for name in NUMBERS}
        self._reason = np.empty(n, dtype=np.int16)
        self._held_out = np.empty(n, dtype=bool)
        flagged, rank = np.empty(n, dtype=bool), np.empty(n, dtype=np.int32)
        classes = {name: number for number, name in enumerate(self.classes)}
        reasons = {name: number for number, name in enumerate(REASONS)}
        ids: list[pa.Array] = []
        columns = ["sample_id", *NAMES, *NUMBERS, "is_label_issue", "rank"]
        end = 0
        for batch in self._file.iter_batches(BATCH, columns=columns):
            here = slice(end, end + len(batch))
            end = here.stop
            ids.append(batch["sample_id"])
            self._given[here] = _codes(batch["given_label"], classes)
            self._suggested[here] = _codes(batch["suggested_label"], classes)
            for name in _words_in(batch["reason"]):  # a later release may have more
                reasons.setdefault(name, len(reasons))
            self._reason[here] = _codes(batch["reason"], reasons)
            self._held_out[here] = _codes(batch["split"], {"held-out": 0}) == 0
            for name in NUMBERS:
                self._numbers[name][here] = batch[name].to_numpy(zero_copy_only=False)
            flagged[here] = batch["is_label_issue"].to_numpy(zero_copy_only=False)
            rank[here] = batch["rank"].fill_null(0).to_numpy(zero_copy_only=False)
        self._reasons: tuple[str | None, ...] = (*reasons, None)  # code -1: the last one
        self._ids = pa.chunked_array(ids, self._file.schema_arrow.field("sample_id").type)
        # rows without a rank were seen too rarely to say anything of them: they come last
        rank[rank == 0] = np.iinfo(np.int32).max
        labelled = np.flatnonzero(self._given >= 0).astype(np.int32)
        order = labelled[np.lexsort((rank[labelled], ~flagged[labelled]))]  # ties: by row
        self.flagged = int(flagged[labelled].sum())
        self._rows = order  # place → row
        self._places = np.full(n, -1, dtype=np.int32)  # row → place
        self._places[order] = np.arange(len(order), dtype=np.int32)

    def _read_words(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Paths and texts of rows in ascending order, batch by batch of their row groups."""
        groups = np.searchsorted(self._group_starts, rows, side="right") - 1
        for group in np.unique(groups).tolist():
            wanted = rows[groups == group]
            start = int(self._group_starts[group])
            for batch in self._file.iter_batches(BATCH, [group], self._names):
                end = start + len(batch)
                here = wanted[(wanted >= start) & (wanted < end)]
                for row in here.tolist():
                    line = batch.slice(row - start, 1)
                    yield row, {name: line[name][0].as_py() for name in self._names}
                start = end
                if start > wanted[-1]:
                    break


def _codes(column: pa.Array, numbers: Mapping[str, int]) -> NDArray[np.int32]:
    """The numbers of a column of names, -1 for null and for a name that has none."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    known = [numbers.get(name, -1) for name in _words_in(column)]
    indices = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    found: NDArray[np.int32] = np.array([*known, -1], dtype=np.int32)[indices]
    return found


def _words_in(column: pa.Array) -> list[str]:
    """The different names of a column."""
    names: list[str] = (
        column.dictionary if pa.types.is_dictionary(column.type) else column.unique().drop_null()
    ).to_pylist()
    return names


def _code(number: np.integer[Any]) -> int | None:
    return None if number < 0 else int(number)


def _number(value: np.floating[Any]) -> float | None:
    return None if np.isnan(value) else float(value)


def _hash(sample_id: str) -> int:
    return hash(sample_id)


def _by_hash(ids: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Hashes in order and the rows they belong to: a dictionary of 12 bytes an entry."""
    hashes = np.empty(len(ids), dtype=np.int64)
    end = 0
    for chunk in ids.chunks:
        hashes[end : end + len(chunk)] = [_hash(each) for each in chunk.to_pylist()]
        end += len(chunk)
    order = np.argsort(hashes, kind="stable").astype(np.int32)
    return hashes[order], order
