"""Encoded images: where the bytes of image files lie, in a column or in files, told alike.

ImageCells   a column of bytes, as Parquet files and data frames hold them
ImageFiles   files named by their paths below a folder
"""

from __future__ import annotations

import hashlib
import io
import os
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Protocol

import pyarrow as pa

from thresher.data.keys import bytes_key
from thresher.data.wording import quoted

__all__ = ["EncodedImages", "ImageCells", "ImageFiles"]


class EncodedImages(Protocol):
    """Encoded images by row."""

    def __len__(self) -> int: ...

    def open(self, row: int) -> BinaryIO:
        """One image, to be read in part; raises OSError or ValueError where there is none."""
        ...

    def read(self, row: int) -> bytes | pa.Buffer:
        """All bytes of one image; raises as `open` does."""
        ...

    def where(self, row: int) -> str:
        """Where an image stands, for an error."""
        ...

    def state(self) -> str:
        """32 hex digits that change when an image does; costs less than decoding."""
        ...


class ImageCells:
    """Images in a column of encoded bytes.

    Args:
        column: (N,) large_binary.
        paths: (N,) strings; a cell without bytes whose path is absolute is read from there, as
            Hugging Face data sets mean it. None = there are none, or they are not to be trusted.
    """

    def __init__(self, column: pa.ChunkedArray, paths: pa.StringArray | None = None) -> None:
        self.column, self.paths = column, paths
        self._chunks = column.chunks
        self._starts = [0, *accumulate(len(chunk) for chunk in self._chunks)]

    def __len__(self) -> int:
        return len(self.column)

    def open(self, row: int) -> BinaryIO:
        """The bytes of a cell, as a file.

        Raises:
            OSError: The cell is empty, and the file of its path cannot be opened.
            ValueError: The cell is empty.
        """
        return io.BytesIO(self.read(row))

    def read(self, row: int) -> bytes | pa.Buffer:
        """The bytes of a cell; raises as `open` does."""
        part = bisect_right(self._starts, row) - 1
        data = self._chunks[part][row - self._starts[part]].as_buffer()
        if data is not None:
            return data
        path = None if self.paths is None else self.paths[row].as_py()
        if path is None or not Path(path).is_absolute():
            raise ValueError("no image")
        return Path(path).read_bytes()

    def where(self, row: int) -> str:
        """The row of a cell."""
        return f"in row {row} (counting from 0)"

    def state(self) -> str:
        """A digest of the contents."""
        digest = hashlib.blake2b(digest_size=16)
        for row, cell in enumerate(_cells(self.column)):
            path = "" if self.paths is None else self.paths[row].as_py() or ""
            key = bytes_key(cell) if cell is not None else bytes_key(path.encode())
            digest.update(key.to_bytes(8, "little"))
        return digest.hexdigest()


class ImageFiles:
    """Images in files.

    Args:
        folder: The folder that the paths start from; None = they stand for themselves.
        paths: (N,) strings with "/" between the parts; a row without a path has no image.
    """

    def __init__(self, folder: Path | None, paths: pa.StringArray) -> None:
        self.folder, self.paths = folder, paths
        self._prefix = "" if folder is None else f"{folder}/"

    def __len__(self) -> int:
        return len(self.paths)

    def path(self, row: int) -> str:
        """Where the image of a row lies.

        Raises:
            ValueError: The row names no file.
        """
        found = self.paths[row].as_py()
        if found is None:
            raise ValueError("no image")
        return f"{self._prefix}{found}"

    def open(self, row: int) -> BinaryIO:
        """The bytes of a file, read as they are asked for.

        Raises:
            OSError: The file cannot be opened.
            ValueError: The row names no file.
        """
        return open(self.path(row), "rb", opener=_without_waiting)

    def read(self, row: int) -> bytes:
        """All bytes of a file; raises as `open` does."""
        with self.open(row) as file:
            return file.read()

    def where(self, row: int) -> str:
        """The path of a file as the source names it, or the row that names none."""
        found = self.paths[row].as_py()
        return f"in row {row} (counting from 0)" if found is None else quoted(found)

    def state(self) -> str:
        """A digest of the names, sizes and times of change; a folder that moves keeps it."""
        digest = hashlib.blake2b(digest_size=16)
        for row in range(len(self)):
            try:
                found = Path(self.path(row)).stat()
                facts = f"{self.paths[row]}\0{found.st_size}\0{found.st_mtime_ns}"
            except (OSError, ValueError) as error:
                facts = f"{self.paths[row]}\0{type(error).__name__}"
            digest.update(facts.encode() + b"\0")
        return digest.hexdigest()


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; of a named pipe nothing is waited for, so that it is read as empty."""
    return os.open(path, flags | os.O_NONBLOCK)


def _cells(column: pa.ChunkedArray) -> Iterator[pa.Buffer | None]:
    for chunk in column.chunks:
        for cell in chunk:
            yield cell.as_buffer()
