"""Scratch: large inputs in files that are mapped into memory, whole or not there at all.

    RowsInMemory, RowsOnDisk   (M, …) uint8 rows appended block by block
    kept_images                what an earlier, interrupted run decoded, if it is still the same
    keep_images                a folder for such a copy, named by what it was made of

A copy is written to the disk as a stream: a map that grows would end the process, not raise, where
the disk is full.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from thresher.data.keys import Words
from thresher.errors import DataError, RunError

__all__ = [
    "IN_MEMORY_BYTES",
    "KeptImages",
    "RowSink",
    "RowsInMemory",
    "RowsOnDisk",
    "keep_images",
    "kept_images",
]

SCHEMA = 1
IN_MEMORY_BYTES = 256 << 20  # inputs up to this size stay in memory


class RowSink(Protocol):
    """Takes rows block by block."""

    def append(self, block: NDArray[np.uint8]) -> None:
        """Add (k, …) rows."""
        ...


class RowsInMemory:
    """Rows in one array.

    Args:
        count: How many there may be, >= 0.
        shape: Of one row.

    Raises:
        DataError: There is not enough memory; names how much is needed.
    """

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        try:
            self._array = np.empty((count, *shape), np.uint8)
        except MemoryError as error:
            raise DataError(
                f"{count:,} images of {' x '.join(map(str, shape))} need "
                f"{count * np.prod(shape) / 1e9:,.0f} GB of memory.",
                "Make the images smaller first.",
            ) from error
        self.filled = 0

    def append(self, block: NDArray[np.uint8]) -> None:
        """Copy rows behind those that are there."""
        self._array[self.filled : self.filled + len(block)] = block
        self.filled += len(block)

    def array(self) -> NDArray[np.uint8]:
        """What was appended: (M, …) uint8."""
        return self._array[: self.filled]


class RowsOnDisk:
    """Rows in an .npy file that is written front to back.

    Args:
        path: The file, written anew.
        count: How many rows there may be; fewer are corrected in the header at the end.
        shape: Of one row.
    """

    def __init__(self, path: Path, count: int, shape: tuple[int, ...]) -> None:
        self.shape, self.filled = shape, 0
        self._file = path.open("wb")
        self._header(count)

    def append(self, block: NDArray[np.uint8]) -> None:
        """Write rows behind those that are there."""
        self._file.write(np.ascontiguousarray(block).data)
        self.filled += len(block)

    def close(self) -> None:
        """Write the final number of rows; NumPy pads its headers so that any number fits."""
        with self._file:
            self._file.seek(0)
            self._header(self.filled)
            _settle(self._file)

    def _header(self, count: int) -> None:
        np.lib.format.write_array_header_1_0(
            self._file, {"descr": "|u1", "fortran_order": False, "shape": (count, *self.shape)}
        )


@dataclass(frozen=True)
class KeptImages:
    """A copy of decoded images.

    Args:
        pixels: (M, H, W, C) uint8, mapped read-only.
        keys: (N,) uint64 content keys.
        facts: What else is known of them, of JSON's types.
    """

    pixels: NDArray[np.uint8]
    keys: Words
    facts: Mapping[str, Any]


def kept_images(folder: Path) -> KeptImages | None:
    """Open a copy that `keep_images` finished; None if there is none, or a damaged one."""
    try:
        facts = json.loads((folder / "images.json").read_text(encoding="utf-8"))
        if facts.get("schema") != SCHEMA:
            return None
        pixels = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
        keys = np.load(folder / "keys.npy", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return KeptImages(pixels, keys, facts)


class ImageCopy:
    """A copy in the making.

    Args:
        folder: Where it is made.
        rows: Takes the pixels.
    """

    def __init__(self, folder: Path, rows: RowsOnDisk) -> None:
        self.folder, self.rows = folder, rows

    def append(self, block: NDArray[np.uint8]) -> None:
        """Write pixels behind those that are there."""
        self.rows.append(block)

    def describe(self, keys: Words, facts: Mapping[str, Any]) -> None:
        """Write everything but the pixels."""
        with (self.folder / "keys.npy").open("wb") as file:
            np.save(file, keys)
            _settle(file)
        with (self.folder / "images.json").open("wb") as file:
            file.write(json.dumps({"schema": SCHEMA, **facts}).encode())
            _settle(file)


@contextmanager
def keep_images(folder: Path, count: int, shape: tuple[int, ...]) -> Iterator[ImageCopy]:
    """Hand out a copy in the making; it takes the name ``folder`` when the block ends well.

    Raises:
        RunError: It cannot be written; names the size that is needed. Nothing is left then.
    """
    needed = int(count * np.prod(shape, dtype=np.int64))
    beside = folder.with_name(f".{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _refuse_full(folder.parent, needed)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        rows = RowsOnDisk(beside / "pixels.npy", count, shape)
        try:
            yield ImageCopy(beside, rows)
        finally:
            rows.close()
        shutil.rmtree(folder, ignore_errors=True)  # damaged, or `kept_images` had opened it
        beside.rename(folder)
    except OSError as error:
        raise _not_written(folder.parent, needed, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _settle(file: BinaryIO) -> None:
    """Bring a file to the disk: a copy is trusted by its name alone after a crash."""
    file.flush()
    os.fsync(file.fileno())


def _refuse_full(folder: Path, needed: int) -> None:
    """Refuse before the work what will not fit after it."""
    if shutil.disk_usage(folder).free < needed:
        raise _not_written(folder, needed, OSError(errno.ENOSPC, "No space left on device"))


def _not_written(folder: Path, needed: int, error: OSError) -> RunError:
    return RunError(
        f"A copy of the decoded inputs needs {needed / 1e9:,.2f} GB in {folder}: "
        f"{(error.strerror or str(error)).lower()}.",
        "Free some space, choose another place with --out, or make the images smaller.",
    )
