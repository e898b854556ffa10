"""evidence.parquet: what people are shown of some samples, so that nobody needs the data again.

    sample_id   string   of the audit table
    image       binary   a PNG or a JPEG
    cells       string   a JSON object, names and texts
    history     binary   one byte an epoch: probability of the given label × 255
    neighbours  string   a JSON list of {"sample_id", "label"}, the nearest first

Every column but the first may be null. The rows lie in small groups: whoever wants one sample reads
the identifiers and one group, not the pictures of all. The metadata hold, under the key
``thresher``, a JSON object with the schema version.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.errors import ParameterError, RunError
from thresher.whole_file import whole_file

__all__ = [
    "Evidence",
    "EvidenceReader",
    "Neighbour",
    "picture_type",
    "read_evidence",
    "write_evidence",
]

SCHEMA_VERSION = 1

_METADATA_KEY = b"thresher"
_GROUP = 16  # rows; with pictures of 20 kB a group is read in about a millisecond
_GROUPS_KEPT = 8  # of a reader: some 3 MB of pictures
_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("image", pa.binary()),
        ("cells", pa.string()),
        ("history", pa.binary()),
        ("neighbours", pa.string()),
    ],
    metadata={_METADATA_KEY: json.dumps({"schema": SCHEMA_VERSION}).encode()},
)


_PICTURE_TYPES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}


@dataclass(frozen=True)
class Neighbour:
    """A sample that the network sees as similar, with its given label."""

    sample_id: str
    label: str


@dataclass(frozen=True)
class Evidence:
    """What is shown of one sample.

    Attributes:
        image: A small PNG or JPEG; None for no picture.
        cells: Names and texts.
        history: (E,) float32 in [0, 1], probability of the given label in each epoch; None where it
            was not recorded.
        neighbours: The nearest trusted samples, the nearest first.
    """

    image: bytes | None = None
    cells: Mapping[str, str] = field(default_factory=dict)
    history: NDArray[np.float32] | None = None
    neighbours: tuple[Neighbour, ...] = ()


def write_evidence(path: str | os.PathLike[str], rows: Iterable[tuple[str, Evidence]]) -> None:
    """Write evidence.parquet, a few rows at a time; the file appears whole or not at all.

    Args:
        path: Where to write; an existing file is replaced as a whole.
        rows: Pairs of sample_id and evidence; may be a generator.

    Raises:
        ParameterError: a history that is no list of probabilities.
        RunError: the file cannot be written.
    """
    with (
        whole_file(path) as temporary,
        pq.ParquetWriter(temporary, _SCHEMA, compression="zstd", write_statistics=False) as writer,
    ):
        ahead = iter(rows)
        while group := list(islice(ahead, _GROUP)):
            lines = [_line(sample_id, evidence) for sample_id, evidence in group]
            writer.write_table(pa.Table.from_pylist(lines, _SCHEMA))


def read_evidence(path: str | os.PathLike[str], sample_ids: Sequence[str]) -> dict[str, Evidence]:
    """Read the evidence of some samples.

    Args:
        path: An evidence.parquet; may be absent.
        sample_ids: Whose; those that the file does not hold are left out of the answer.

    Returns:
        Evidence by sample_id, in the order of the file.

    Raises:
        RunError: the file is damaged, or of a later release.
    """
    if not Path(path).is_file():
        return {}
    wanted = pa.array(sorted(set(sample_ids)), pa.string())
    try:
        with pq.ParquetFile(path) as file:
            _check_version(path, file.schema_arrow.metadata or {})
            rows = np.flatnonzero(_among(file.read(["sample_id"]), wanted))
            sizes = [
                file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)
            ]
            groups = np.unique(np.searchsorted(np.cumsum(sizes), rows, side="right")).tolist()
            found = file.read_row_groups(groups)
            lines = found.filter(_among(found, wanted)).to_pylist()
            return {line["sample_id"]: _evidence(line) for line in lines}
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


class EvidenceReader:
    """The evidence of one sample after the other; a few groups of rows stay in memory.

    Args:
        path: An evidence.parquet; may be absent.

    Raises:
        RunError: the file is damaged, or of a later release.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._groups: dict[str, int] = {}  # sample_id → group
        self._read: OrderedDict[int, dict[str, Evidence]] = OrderedDict()
        if not self.path.is_file():
            return
        with self._explained():
            self._file = pq.ParquetFile(self.path)
            _check_version(path, self._file.schema_arrow.metadata or {})
            for number in range(self._file.num_row_groups):
                for each in self._file.read_row_group(number, ["sample_id"])[
                    "sample_id"
                ].to_pylist():
                    self._groups[each] = number

    def get(self, sample_id: str) -> Evidence | None:
        """What is kept of a sample; None if it is none of those.

        Raises:
            RunError: the file is damaged.
        """
        number = self._groups.get(sample_id)
        if number is None:
            return None
        if number not in self._read:
            with self._explained():
                lines = self._file.read_row_group(number).to_pylist()
                self._read[number] = {line["sample_id"]: _evidence(line) for line in lines}
            if len(self._read) > _GROUPS_KEPT:
                self._read.popitem(last=False)
        self._read.move_to_end(number)
        return self._read[number][sample_id]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise _damaged(self.path, error) from error


def picture_type(content: bytes | None) -> str | None:
    """The type of a kept picture, told by its first bytes; None for none, or an unknown one."""
    if content is None:
        return None
    return next((kind for start, kind in _PICTURE_TYPES.items() if content.startswith(start)), None)


def _damaged(path: str | os.PathLike[str], error: Exception) -> RunError:
    return RunError(
        f"{path} cannot be read: {error}.",
        "Delete it: reports and reviews go on without it, with less to see.",
    )


def _among(table: pa.Table, wanted: pa.Array) -> pa.ChunkedArray:
    """(R,) whether the sample of a row is wanted."""
    return pc.is_in(table["sample_id"], value_set=wanted)


def _check_version(path: str | os.PathLike[str], metadata: Mapping[bytes, bytes]) -> None:
    schema = json.loads(metadata.get(_METADATA_KEY, b"{}")).get("schema")
    if schema != SCHEMA_VERSION:
        raise RunError(
            f"{path} has schema {schema}; this release reads {SCHEMA_VERSION}.",
            "Use the release of thresher that wrote it.",
        )


def _line(sample_id: str, evidence: Evidence) -> dict[str, Any]:
    near = [{"sample_id": each.sample_id, "label": each.label} for each in evidence.neighbours]
    return {
        "sample_id": sample_id,
        "image": evidence.image,
        "cells": json.dumps(dict(evidence.cells)) if evidence.cells else None,
        "history": None if evidence.history is None else _bytes(sample_id, evidence.history),
        "neighbours": json.dumps(near) if near else None,
    }


def _bytes(sample_id: str, history: NDArray[np.float32]) -> bytes:
    if history.ndim != 1 or not ((history >= 0) & (history <= 1)).all():
        raise ParameterError(
            f"The history of sample {sample_id} must be a list of numbers in [0, 1].",
            "Pass the probability of the given label in each epoch that the sample was seen in.",
        )
    return np.rint(255 * history).astype(np.uint8).tobytes()


def _evidence(line: Mapping[str, Any]) -> Evidence:
    history, neighbours = line.get("history"), json.loads(line.get("neighbours") or "[]")
    return Evidence(
        image=line.get("image"),
        cells=json.loads(line.get("cells") or "{}"),
        history=None
        if history is None
        else np.frombuffer(history, dtype=np.uint8).astype(np.float32) / np.float32(255),
        neighbours=tuple(Neighbour(each["sample_id"], each["label"]) for each in neighbours),
    )
