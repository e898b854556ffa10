"""A matrix in a .npy file, read by blocks of rows into memory of our own.

A memory map would do the same with less code, but the pages that it has touched count as memory of
the process until the system wants them back: of a file of 4 GB, 4 GB.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.errors import DataError
from thresher.noise_rate import Integers

__all__ = ["StoredMatrix", "stored_array"]


class StoredMatrix:
    """Rows of numbers in a file, row after row.

    Args:
        path: The file.
        dtype: Of the numbers.
        shape: (N, k).
        offset: Byte at which the first number stands.
    """

    def __init__(
        self, path: str | Path, dtype: np.dtype[Any], shape: tuple[int, int], offset: int
    ) -> None:
        self.path, self.dtype, self.shape, self.offset = Path(path), dtype, shape, offset

    @classmethod
    def of_map(cls, values: NDArray[Any]) -> StoredMatrix | None:
        """What a whole memory map of (N, k) numbers shows; None for any other array."""
        if (
            not isinstance(values, np.memmap)
            or not isinstance(values.base, mmap.mmap)  # else a part of one, of unknown place
            or values.filename is None
            or values.mode == "c"  # may hold changes of its own
            or values.ndim != 2
            or not values.flags.c_contiguous
        ):
            return None
        return cls(values.filename, values.dtype, values.shape, values.offset)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Integers) -> NDArray[Any]:
        """(B, k) a slice without step, or ascending row numbers, read from the file.

        Raises:
            DataError: the file has become shorter.
        """
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            return self._read(start, stop)
        runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
        read = [self._read(int(each[0]), int(each[-1]) + 1) for each in runs if len(each)]
        return np.concatenate(read) if read else np.empty((0, self.shape[1]), self.dtype)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        columns = self.shape[1]
        values = np.fromfile(
            self.path,
            self.dtype,
            count=(stop - start) * columns,
            offset=self.offset + start * columns * self.dtype.itemsize,
        )
        if len(values) != (stop - start) * columns:
            raise DataError(
                f"{self.path} ended before row {stop}.", "Do not write to it while it is read."
            )
        return values.reshape(-1, columns)


def stored_array(path: str | Path) -> NDArray[Any]:
    """Open a .npy file as a memory map; nothing is read yet.

    Raises:
        DataError: it cannot be read, is no .npy file, is cut short, or holds Python objects.
    """
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.", "Check the path.") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path} cannot be read as .npy: {str(error).rstrip('.')}.",
            "Write it with numpy.save, as numbers or texts.",
        ) from error
    if not isinstance(values, np.ndarray):
        values.close()
        raise DataError(f"{path} is an archive of several arrays.", "Save one array as .npy.")
    return values
