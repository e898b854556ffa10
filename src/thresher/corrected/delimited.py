"""Delimited text with corrected labels: every byte stays but those of the labels that change.

A record is cut out of the file by a regular expression rather than read and written again, so that
quotes, line ends and the form of numbers are those of the source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thresher.data.delimited import sniff
from thresher.data.files import reading
from thresher.data.roles import ORIGINAL_NAME
from thresher.errors import DataError

__all__ = ["correct_delimited"]

BOM = b"\xef\xbb\xbf"


def correct_delimited(
    source: Path, out: Path, label: str, new: Sequence[str | None], stays: NDArray[np.bool_]
) -> None:
    """Write a delimited file anew, with a last column ``label_original``.

    Args:
        source: The file, N records below its header.
        out: The file to write.
        label: Name of the column of labels.
        new: (N,) the label to write, None = the one that is there.
        stays: (N,) False leaves a record out.

    Raises:
        DataError: the file has other than N records, or one that cannot be told apart.
    """
    with reading(source, "a table"):
        dialect = sniff(source)
        content = source.read_bytes()
    names = [name.strip() for name in dialect.header]
    records = _records(content, dialect.delimiter, names.index(label), len(names), source)
    kept = stays.tolist()
    adds = ORIGINAL_NAME not in names
    between = dialect.delimiter.encode()
    special = (*'"\r\n', dialect.delimiter)
    start = len(BOM) if content.startswith(BOM) else 0
    body, _, end = next(records).group(1, 2, 3)
    with out.open("wb") as file:
        tail = between + ORIGINAL_NAME.encode() if adds else b""
        file.write(b"".join((content[:start], body, tail, end)))
        row = -1
        for row, record in enumerate(records):
            if row == len(new):
                break
            if not kept[row]:
                continue
            body, old, end = record.group(1, 2, 3)
            label_now = new[row]
            if label_now is not None:
                first, last = record.span(2)
                after = content[last : record.end(1)]
                body = content[record.start() : first] + _cell(label_now, old, special) + after
            file.write(body + between + old + end if adds else body + end)
    if row + 1 != len(new):
        raise DataError(
            f"{source} has not the {len(new):,} records that the run read.",
            "Pass the data that the run was made from.",
        )


def _records(
    content: bytes, delimiter: str, place: int, width: int, source: Path
) -> Iterator[re.Match[bytes]]:
    """Find the records; group 1 is all but the line end, 2 the label in it, 3 the line end."""
    cut = re.escape(delimiter.encode())
    plain = rb"[^%s\r\n]*+" % cut
    field = rb'(?:"(?:[^"]++|"")*+"%s|(?!")%s)' % (plain, plain)
    record = re.compile(
        rb"((?:\r\n|\n|\r)*+(?:%s%s){%d}(%s)(?:%s%s){%d})(\r\n|\n|\r|\Z)"
        % (field, cut, place, field, cut, field, width - place - 1)
    )
    position = len(BOM) if content.startswith(BOM) else 0
    for found in record.finditer(content, position):
        if found.start() != position or found.end() == position:
            break
        position = found.end()
        yield found
    if content[position:].strip():
        raise DataError(
            f"{source}: the records cannot be told apart from byte {position:,} on.",
            "Write another form, such as --out corrected.parquet, or a list with --changes.",
        )


def _cell(label: str, old: bytes, special: Sequence[str]) -> bytes:
    """A label as it stands in a file: in quotes where the old one was, or where it must be."""
    quoted = old.startswith(b'"') or label != label.strip() or any(s in label for s in special)
    return ('"' + label.replace('"', '""') + '"' if quoted else label).encode()
