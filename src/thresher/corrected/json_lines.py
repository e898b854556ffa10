"""JSON lines with corrected labels: a line whose label stays keeps its text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.data.files import reading
from thresher.data.roles import ORIGINAL_NAME
from thresher.errors import DataError

__all__ = ["correct_json_lines"]

BOM = b"\xef\xbb\xbf"


def correct_json_lines(
    source: Path,
    out: Path,
    label: str,
    like: NDArray[np.int64],
    stays: NDArray[np.bool_],
    originals: pa.ChunkedArray | None = None,
) -> None:
    """Write a file of JSON objects anew, each with a last key ``label_original``.

    Args:
        source: The file, N objects.
        out: The file to write.
        label: Key of the labels.
        like: (N,) the object whose label each one gets; its own for most.
        stays: (N,) False leaves an object out.
        originals: (N,) labels as read, of a file without the key ``label_original``: spares reading
            the lines whose label stays.

    Raises:
        DataError: the file has other than N objects.
    """
    with reading(source, "JSON lines"):
        content = source.read_bytes().removeprefix(BOM)
    lines = [line for line in content.split(b"\n") if line.strip()]
    if len(lines) != len(like):
        raise DataError(
            f"{source} has not the {len(like):,} objects that the run read.",
            "Pass the data that the run was made from.",
        )
    own = (like == np.arange(len(like))).tolist()
    new = {int(row): json.loads(lines[row]).get(label) for row in np.unique(like[~np.array(own)])}
    texts = _texts(originals)
    with out.open("wb") as file:
        for row, (line, kept) in enumerate(zip(lines, stays.tolist(), strict=True)):
            if not kept:
                continue
            if own[row] and texts is not None:
                text = _with_original(line, texts[row])
            else:
                text = _corrected(line, label, None if own[row] else new[int(like[row])], own[row])
            file.write(text + (b"\r\n" if line.endswith(b"\r") else b"\n"))


def _corrected(line: bytes, label: str, new: Any, stays: bool) -> bytes:
    """The text of one object with another label, or with its own."""
    found = json.loads(line)
    adds, original = ORIGINAL_NAME not in found, found.get(label)
    if not stays:
        found[label] = new
        if adds:
            found[ORIGINAL_NAME] = original
        return json.dumps(found, ensure_ascii=line.isascii()).encode()
    if not adds:
        return line.strip()
    return _with_original(line, json.dumps(original, ensure_ascii=line.isascii()).encode())


def _with_original(line: bytes, value: bytes) -> bytes:
    """Add a key at the end of an object's text."""
    body = line.strip()[:-1].rstrip()  # without its brace
    between = b"" if body == b"{" else b", "
    return b'%s%s"%s": %s}' % (body, between, ORIGINAL_NAME.encode(), value)


def _texts(labels: pa.ChunkedArray | None) -> list[bytes] | None:
    """Labels as JSON; None where Arrow may have read another value than is written, as of dates."""
    if labels is None or not any(
        kind(labels.type) for kind in (pa.types.is_string, pa.types.is_integer, pa.types.is_boolean)
    ):
        return None
    encoded = labels.dictionary_encode().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        return None
    texts = [json.dumps(each, ensure_ascii=False).encode() for each in encoded.dictionary.tolist()]
    texts.append(b"null")
    return [texts[code] for code in encoded.indices.fill_null(-1).to_pylist()]
