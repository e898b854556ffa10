"""NumPy files: arrays of an archive by name, or one alone, mapped into memory where they can be."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.data.files import reading
from thresher.data.wording import listed, quoted
from thresher.errors import DataError, nearest

__all__ = ["array_names", "labels_beside", "read_array", "read_npy"]

LABEL_WORDS = {
    "x": "y",
    **dict.fromkeys(("inputs", "images", "features", "embeddings"), "labels"),
}
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
            return _mapped(path, header)
        with np.load(path, allow_pickle=False) as archive:
            array: NDArray[Any] = archive[name]
            return array


def read_npy(path: Path) -> NDArray[Any]:
    """Read an .npy file, mapped into memory copy-on-write where its rows lie in order.

    Raises:
        DataError: It holds Python objects, or is damaged.
    """
    with reading(path, "a NumPy array (.npy)"):
        with path.open("rb") as file:
            shape, column_major, dtype, begin = _described(file)
        if dtype.hasobject:
            raise DataError(
                f"{path} holds Python objects, which are never unpickled.",
                "Store it as numbers or as fixed-width texts: array.astype(str).",
            )
        _refuse_cut(path.stat().st_size - begin, shape, dtype)
        if column_major or math.prod(shape) == 0:
            array: NDArray[Any] = np.load(path, allow_pickle=False)
            return array
        return _mapped(path, _Header(shape, dtype, begin))


def labels_beside(path: Path) -> Path | None:
    """Find the labels of the inputs in an .npy file among the files beside it.

    In this order: the name with the word for inputs replaced (X_train.npy → y_train.npy,
    train_images.npy → train_labels.npy), the name with "_labels" behind it, labels.npy, y.npy.

    >>> labels_beside(Path("nowhere/X.npy")) is None
    True
    """
    words = path.stem.split("_")
    names = [
        "_".join([*words[:place], LABEL_WORDS[word.lower()], *words[place + 1 :]])
        for place, word in enumerate(words)
        if word.lower() in LABEL_WORDS
    ]
    for name in (*names, f"{path.stem}_labels", "labels", "y"):
        beside = path.with_name(f"{name}.npy")
        if beside != path and beside.is_file():
            return beside
    return None


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int | None  # where the numbers begin in the file, if they can be mapped


def _described(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Read an array's header: shape, whether columns lie in order, type, where numbers begin."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, column_major, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, column_major, dtype = np.lib.format.read_array_header_2_0(file)
    return shape, column_major, dtype, file.tell()


def _refuse_cut(rest: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse a header that tells of more numbers than follow, before room is made for them."""
    if rest < math.prod(shape) * dtype.itemsize:
        raise ValueError(f"it ends before the last of {math.prod(shape):,} numbers")


def _mapped(path: Path, header: _Header) -> NDArray[Any]:
    """Map an array: writable without reaching the file, or read-only where it outgrows memory."""
    assert header.start is not None
    try:
        mapped = np.memmap(path, header.dtype, "c", header.start, header.shape)
    except OSError:  # the system counts what might be written against its memory
        mapped = np.memmap(path, header.dtype, "r", header.start, header.shape)
    return mapped.view(np.ndarray)


def _header(path: Path, member: str) -> _Header:
    with zipfile.ZipFile(path) as archive:
        found = archive.getinfo(member)
        with archive.open(found) as file:
            shape, column_major, dtype, begin = _described(file)
    if not dtype.hasobject:
        _refuse_cut(found.file_size - begin, shape, dtype)
    size = math.prod(shape) * dtype.itemsize
    stored = found.compress_type == zipfile.ZIP_STORED and found.file_size == begin + size
    if not stored or column_major or size == 0:
        return _Header(shape, dtype, None)
    with path.open("rb") as raw:
        raw.seek(found.header_offset)
        name_length, extra_length = np.frombuffer(raw.read(LOCAL_HEADER)[26:], "<u2").tolist()
    start = found.header_offset + LOCAL_HEADER + name_length + extra_length + begin
    return _Header(shape, dtype, start)
