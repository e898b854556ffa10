"""JSON lines: one object per line becomes an Arrow table; columns are the union of the keys."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json

from thresher.data.files import reading
from thresher.data.wording import quoted
from thresher.errors import DataError

__all__ = ["read_json_lines"]

BLOCK_BYTES = 1 << 24  # Arrow's default of 1 MiB is too small for one long object


def read_json_lines(path: Path) -> pa.Table:
    """Read a file of JSON objects, one per line; a key that an object lacks is null.

    Raises:
        DataError: A line is no JSON object, or a key changes its type; names the line.
    """
    try:
        with reading(path, "JSON lines"):
            table = pa.json.read_json(
                path, read_options=pa.json.ReadOptions(block_size=BLOCK_BYTES)
            )
            table.validate(full=True)  # Arrow takes texts that are not UTF-8
    except DataError:
        _explain(path)
        raise
    if table.num_rows == 0 or table.num_columns == 0:
        raise DataError(f"{path} holds no values.", "Add one JSON object per sample.")
    return table


def _explain(path: Path) -> None:
    """Read again, slowly, and raise a DataError at the line that is wrong, if it is found."""
    kinds: dict[str, tuple[str, int]] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                for key, value in _object(path, number, line).items():
                    kind, before = kinds.setdefault(key, (_kind(value), number))
                    if kind == "null":
                        kinds[key] = (_kind(value), number)
                    elif _kind(value) not in (kind, "null"):
                        raise DataError(
                            f"{path}, line {number}: {quoted(key)} is a {_kind(value)}, but a "
                            f"{kind} in line {before}.",
                            "Write the same type in every line, and null where there is no value.",
                        )


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        found = json.loads(text, object_pairs_hook=partial(_once_each, path, number))
    except UnicodeDecodeError:
        raise DataError(f"{path}, line {number}: not UTF-8 text.", "Save it as UTF-8.") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {number}: not JSON ({error.msg}, column {error.colno}).",
            "Correct the line; each one holds a whole object, such as "
            '{"height": 1.5, "label": "cat"}.',
        ) from None
    if not isinstance(found, dict):
        raise DataError(
            f"{path}, line {number}: a {_kind(found)}, expected an object.",
            'Write each sample as an object, such as {"height": 1.5, "label": "cat"}.',
        )
    return found


def _once_each(path: Path, number: int, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise DataError(
            f"{path}, line {number}: the key {quoted(twice)} occurs more than once.",
            "Give every key one value.",
        )
    return found


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    for types, kind in KINDS:
        if isinstance(value, types):
            return kind
    return "value"


KINDS = (
    (bool, "boolean"),
    ((int, float), "number"),
    (str, "text"),
    (list, "list"),
    (dict, "object"),
)
