"""Samples: inputs, given labels and stable names of everything that was read."""

from __future__ import annotations

import hashlib
import json
import mmap
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from thresher.data.encoding import Encoding

__all__ = ["CONFLICTS", "SKIPPED", "Samples"]

SKIPPED = pa.schema(
    [
        ("row", pa.int64()),
        ("sample_id", pa.string()),
        ("path", pa.string()),
        ("error", pa.string()),
    ]
)
CONFLICTS = pa.schema(
    [
        ("sample_id", pa.string()),
        ("path", pa.string()),
        ("given_label", pa.string()),
        ("duplicate_of", pa.string()),  # sample_id of an identical sample
        ("other_label", pa.string()),  # and its label, which differs
    ]
)
HASHED_TEXTS = 1 << 14  # texts hashed at a time
HASHED_BYTES = 1 << 24  # bytes of inputs hashed at a time


@dataclass(frozen=True, eq=False)
class Samples:
    """Everything that was read from one source, in its order, without the rows that were skipped.

    Args:
        inputs: (N, d) float32 features, unscaled, missing numbers filled; or (N, H, W, C) uint8
            images, C = 1 (grey) or 3 (RGB). May share memory with the caller's array or a file.
        labels: (N,) int64 given labels in 0..k-1; -1 = no label.
        classes: The k class names in sorted order; whole numbers sort as numbers.
        sample_id: (N,) Arrow strings, unique; the same sample keeps its id when rows are reordered
            or labels corrected (rows that are alike in all but the label are numbered by it).
        paths: (N,) Arrow strings, where the source names files; else None.
        encoding: How the inputs were made; give it to ``open_data`` for test and new data.
        skipped: Rows that could not be read: row (int64, from 0), sample_id, path, error.
        notes: What must be said aloud, a sentence each.
        source: The path as given, or "arrays in memory".
        groups: (N,) int64, equal for samples that must stay on one side of a split; None = every
            sample is a group of its own.
        texts: N rows of the columns of text as read, for people to look at; None = there are none.
        conflicts: Samples of identical content and different labels (`CONFLICTS`); None = not
            looked for.
        trusted: (N,) bool, samples whose label people have decided; None = there are none.
        out_of_distribution: (N,) bool, samples known to be of none of the classes; None = there are
            none.
        aside: N rows of the columns that were asked for and are never learned from, as read; None =
            none was.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    sample_id: pa.StringArray
    paths: pa.StringArray | None
    encoding: Encoding
    skipped: pa.Table
    notes: tuple[str, ...]
    source: str
    groups: NDArray[np.int64] | None = None
    texts: pa.Table | None = None
    conflicts: pa.Table | None = None
    trusted: NDArray[np.bool_] | None = None
    out_of_distribution: NDArray[np.bool_] | None = None
    aside: pa.Table | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def kind(self) -> Literal["features", "images"]:
        """What the inputs are: "features" (N, d) or "images" (N, H, W, C)."""
        return self.encoding.kind

    @cached_property
    def fingerprint(self) -> str:
        """128-bit BLAKE2b of inputs, labels and class names, as 32 hex digits.

        The same data give the same fingerprint on every machine, whatever file they came from:
        texts are taken as read, since machines round differently what is made of them.
        Cost: one pass over the inputs at first use, in blocks.
        """
        shape = [list(self.inputs.shape), str(self.inputs.dtype), list(self.classes)]
        digest = hashlib.blake2b(json.dumps(shape).encode(), digest_size=16)
        rows = max(1, HASHED_BYTES // max(1, self.inputs[:1].nbytes))
        kept = slice(None) if self.texts is None else self.encoding.as_read
        for start in range(0, len(self), rows):
            digest.update(_little_endian(self.inputs[start : start + rows, kept]))
        for batch in [] if self.texts is None else self.texts.to_batches(HASHED_TEXTS):
            digest.update(json.dumps(batch.to_pydict()).encode())
        digest.update(_little_endian(self.labels))
        return digest.hexdigest()

    def joined_texts(self) -> pa.StringArray | None:
        """The texts of each sample as one, (N,) Arrow strings; None where there are none."""
        if self.texts is None:
            return None
        columns = [pc.fill_null(column.cast(pa.string()), "") for column in self.texts.columns]
        joined = pc.binary_join_element_wise(*columns, " ") if len(columns) > 1 else columns[0]
        return pa.concat_arrays(joined.chunks) if len(joined) else pa.array([], pa.string())

    def unload(self) -> None:
        """Give back the memory of inputs mapped from a file; the next use reads them again.

        Arrays that lie in memory stay there.
        """
        owner: Any = self.inputs
        while isinstance(owner, np.ndarray):
            owner = owner.base
        if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            owner.madvise(mmap.MADV_DONTNEED)

    def __getitem__(self, row: int) -> tuple[NDArray[Any], int]:
        """One sample as a loader of batches wants it: a copy of the input, and its label."""
        # a copy, as PyTorch warns of arrays that it cannot write to, such as a read-only map
        return np.array(self.inputs[row]), int(self.labels[row])

    def take(self, rows: NDArray[Any]) -> Samples:
        """Select samples, in the order asked for.

        Args:
            rows: (M,) integers in 0..N-1, or (N,) bool.
        """
        chosen = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        index = pa.array(chosen)
        ids = self.sample_id.take(index)
        return replace(
            self,
            inputs=self.inputs[chosen],
            labels=self.labels[chosen],
            sample_id=ids,
            paths=None if self.paths is None else self.paths.take(index),
            groups=None if self.groups is None else self.groups[chosen],
            texts=None if self.texts is None else self.texts.take(index),
            conflicts=None if self.conflicts is None else _within(self.conflicts, ids),
            trusted=None if self.trusted is None else self.trusted[chosen],
            out_of_distribution=None
            if self.out_of_distribution is None
            else self.out_of_distribution[chosen],
            aside=None if self.aside is None else self.aside.take(index),
        )


def _within(conflicts: pa.Table, ids: pa.StringArray) -> pa.Table:
    """Keep the conflicts of which both sides were taken."""
    here = (pc.is_in(conflicts[name], value_set=ids) for name in ("sample_id", "duplicate_of"))
    return conflicts.filter(pc.and_(*here))


def _little_endian(block: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(block.astype(block.dtype.newbyteorder("<"), copy=False)).data
