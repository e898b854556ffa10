"""Files: what every reader checks first, and how a failure to read is told."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from thresher.data.wording import listed
from thresher.errors import DataError, nearest

__all__ = ["IMAGE_SUFFIXES", "READABLE", "SPLITS", "as_path", "existing", "one_line", "reading"]

READABLE = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".npz", ".npy")
IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for names in (
        ("jpg", "jpeg", "jpe", "jfif", "jp2", "j2k"),
        ("png", "gif", "webp", "avif", "tif", "tiff"),
        ("bmp", "dib", "pbm", "pgm", "ppm", "pnm", "pcx", "sgi", "tga"),
    )
    for name in names
)
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
}


def as_path(name: str | os.PathLike[str]) -> Path:
    """Take the name of a source as a path.

    Raises:
        DataError: It is empty, which Python takes for the current folder, or not UTF-8 text.
    """
    text = os.fspath(name)
    if not text:
        raise DataError(
            "The name of the data is empty.", 'Name a file or a folder; "." is the current folder.'
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"The name {text!r} is not UTF-8 text.", "Rename it.") from error
    return Path(text)


def existing(path: Path) -> Path:
    """Check that a path exists and is not an empty file.

    A pattern of Parquet files, such as train-*.parquet, is left to its reader.

    Raises:
        DataError: Names the nearest name that does exist.
    """
    if "*" in path.name and path.suffix.lower() == ".parquet":
        return path
    with reading(path, "a file"):
        if path.exists():
            if path.is_file() and path.stat().st_size == 0:
                raise DataError(f"{path} is empty (0 bytes).", "Name another file.")
            return path
        parent = path.parent
        if not parent.is_dir():
            raise DataError(
                f"{path} does not exist: there is no folder {parent}.", "Check the path."
            )
        names = [each.name for each in parent.iterdir() if each.is_dir() or _readable(each)]
    raise DataError(
        f"{path} does not exist.",
        nearest(path.name, names) if names else f"The folder {parent} holds no data file.",
    )


def _readable(path: Path) -> bool:
    return path.suffix.lower() in READABLE


@contextmanager
def reading(path: Path | str, kind: str) -> Iterator[None]:
    """Turn what readers raise about a file into a DataError that names it."""
    try:
        yield
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(
            f"{path} cannot be read: permission denied.",
            "Ask for the right to read it, or copy it.",
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or one_line(error).rstrip('.')}.",
            "Check the path and the disk; copy the file again if it was cut short.",
        ) from error
    except (
        pa.ArrowException,
        ValueError,
        RuntimeError,  # an encrypted archive
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DataError(
            f"{path} cannot be read as {kind}: {one_line(error)}",
            f"Check that it is whole and that its name ends in its format ({listed(READABLE)}).",
        ) from error


def one_line(error: BaseException) -> str:
    """Shorten an error's text to one line.

    >>> one_line(ValueError("first\\n  second"))
    'first second'
    """
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:199] + "…"
