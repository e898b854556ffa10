"""NumPy archives: arrays by name, mapped into memory where they lie uncompressed."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.data.files import reading
from thresher.data.wording import listed, quoted
from thresher.errors import DataError, nearest

__all__ = ["array_names", "read_array"]

LOCAL_HEADER = 30  # bytes before the name in a member's local header


def array_names(path: Path) -> tuple[str, ...]:
    """List the arrays of an archive.

    Raises:
        DataError: The file is no .npz.
    """
    with reading(path, "a NumPy archive (.npz)"), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return tuple(name.removesuffix(".npy") for name in names if name.endswith(".npy"))


def read_array(path: Path, name: str) -> NDArray[Any]:
    """Read one array of an archive.

    An uncompressed array is mapped into memory copy-on-write: nothing is read before it is used,
    and nothing that is written to it reaches the file.

    Raises:
        DataError: There is no such array, it holds Python objects, or the file is damaged.
    """
    names = array_names(path)
    if name not in names:
        raise DataError(
            f"{path} has no array {quoted(name)}; it holds {listed(map(quoted, names))}.",
            nearest(name, names),
        )
    with reading(path, "a NumPy archive (.npz)"):
        header = _header(path, f"{name}.npy")
        if header.dtype.hasobject:
            raise DataError(
                f"Array {quoted(name)} of {path} holds Python objects, which are never unpickled.",
                "Store it as numbers or as fixed-width texts: array.astype(str).",
            )
        if header.start is not None:
            mapped = np.memmap(path, header.dtype, "c", header.start, header.shape)
            return mapped.view(np.ndarray)
        with np.load(path, allow_pickle=False) as archive:
            array: NDArray[Any] = archive[name]
            return array


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int | None  # where the numbers begin in the file, if they can be mapped


def _header(path: Path, member: str) -> _Header:
    with zipfile.ZipFile(path) as archive:
        found = archive.getinfo(member)
        with archive.open(found) as file:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, column_major, dtype = np.lib.format.read_array_header_1_0(file)
            else:
                shape, column_major, dtype = np.lib.format.read_array_header_2_0(file)
            begin = file.tell()
    size = math.prod(shape) * dtype.itemsize
    stored = found.compress_type == zipfile.ZIP_STORED and found.file_size == begin + size
    if not stored or column_major or size == 0:
        return _Header(shape, dtype, None)
    with path.open("rb") as raw:
        raw.seek(found.header_offset)
        name_length, extra_length = np.frombuffer(raw.read(LOCAL_HEADER)[26:], "<u2").tolist()
    start = found.header_offset + LOCAL_HEADER + name_length + extra_length + begin
    return _Header(shape, dtype, start)
