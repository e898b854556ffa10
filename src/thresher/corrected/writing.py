"""Writing: corrected rows in the form of their source, or in another; whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.corrected.changes import CHANGES_NAME, write_changes
from thresher.corrected.converted import write_converted
from thresher.corrected.delimited import correct_delimited
from thresher.corrected.folders import corrected_paths, place_files
from thresher.corrected.json_lines import correct_json_lines
from thresher.corrected.parquet import correct_parquet
from thresher.corrected.place import whole_folder
from thresher.corrected.source import SUFFIXES, Rows, Source, parts_of
from thresher.data.roles import ORIGINAL_NAME
from thresher.errors import ParameterError
from thresher.whole_file import whole_file

__all__ = ["form_of", "is_folder", "write_rows"]


def form_of(source: Source, out: Path) -> str:
    """The form that is written: the source's, or that of a table by the name of the file.

    Raises:
        ParameterError: the name says no form, or one that images cannot have.
    """
    suffix = out.suffix.lower()
    if source.form == "other":
        return "changes"
    if source.form in ("class folders", "image table"):
        if suffix in SUFFIXES:
            raise ParameterError(
                f'The data are a folder of images, and --out is a file, "{out.name}".',
                "Name a folder; or add --changes to write a list of the changes.",
            )
        return source.form
    assert source.path is not None
    if source.form == "parquet" and not source.path.is_file() and suffix not in SUFFIXES:
        return source.form
    if suffix not in SUFFIXES:
        raise ParameterError(
            f'--out must end in {", ".join(SUFFIXES)}, got "{out.name}".',
            f"Example: --out corrected{source.path.suffix}",
        )
    same = source.path.is_file() and suffix in (source.path.suffix.lower(), *_alike(source))
    return source.form if same else suffix


def _alike(source: Source) -> tuple[str, ...]:
    """Further suffixes that name the same form."""
    return (".jsonl", ".ndjson") if source.form == "json lines" else ()


def is_folder(source: Source, form: str) -> bool:
    """Whether a form is a folder of files: images, or Parquet in parts."""
    parts = source.path is not None and not source.path.is_file()
    return form in ("class folders", "image table") or (form == "parquet" and parts)


def write_rows(
    source: Source,
    rows: Rows,
    like: NDArray[np.int64],
    stays: NDArray[np.bool_],
    listed: Iterable[Mapping[str, Any]],
    out: Path,
    form: str,
    *,
    link: bool,
) -> None:
    """Write corrected rows.

    Args:
        source: Where they came from.
        rows: N rows.
        like: (N,) the row whose label each one gets; its own for most.
        stays: (N,) False leaves a row out.
        listed: The list of changes, which lies in every folder.
        out: A folder or a file, as `is_folder` says.
        form: Of `form_of`.
        link: Hard links to images instead of copies.

    Raises:
        RunError: it cannot be written.
        DataError: the form has no words for the data, or they changed meanwhile.
    """
    path = source.path
    assert path is not None
    if is_folder(source, form):
        with whole_folder(out) as aside:
            if form == "parquet":
                root = path.parent if "*" in path.name else path
                parts = [(each, aside / each.relative_to(root)) for each in parts_of(path)]
                assert source.label is not None
                correct_parquet(parts, source.label, rows.labels, like, stays)
            else:
                _write_images(source, rows, like, stays, aside, link=link)
            write_changes(listed, aside / CHANGES_NAME, ".csv")
        return
    with whole_file(out) as aside:
        if form == source.form:
            _write_table(source, path, rows, like, stays, aside)
        else:
            assert source.label is not None
            write_converted(rows.table, aside, form, source.label, like, stays)


def _write_table(
    source: Source,
    path: Path,
    rows: Rows,
    like: NDArray[np.int64],
    stays: NDArray[np.bool_],
    out: Path,
) -> None:
    """Write one file in its own form."""
    assert source.label is not None
    kind = SUFFIXES[path.suffix.lower()]
    if kind == "parquet":
        correct_parquet([(path, out)], source.label, rows.labels, like, stays)
    elif kind == "json lines":
        known = None if ORIGINAL_NAME in rows.table.column_names else rows.labels
        correct_json_lines(path, out, source.label, like, stays, known)
    else:
        correct_delimited(path, out, source.label, _new_labels(rows, like), stays)


def _write_images(
    source: Source,
    rows: Rows,
    like: NDArray[np.int64],
    stays: NDArray[np.bool_],
    out: Path,
    *,
    link: bool,
) -> None:
    """Write images in the folders of their classes, or beside the table of their labels."""
    assert source.path is not None
    assert rows.files is not None
    paths = rows.files.to_pylist()
    if source.table is None:
        labels = rows.labels.to_pylist()
        # below a lone folder "train", the class is the second part of a path
        depth = int(
            any(path.split("/")[0] != name for path, name in zip(paths, labels, strict=True))
        )
        places = corrected_paths(paths, _new_labels(rows, like), depth, stays.tolist())
        pairs = [(old, new) for old, new in zip(paths, places, strict=True) if new is not None]
    else:
        _write_table(source, source.table, rows, like, stays, out / source.table.name)
        kept = dict.fromkeys(path for path, stay in zip(paths, stays, strict=True) if stay)
        pairs = [(path, path) for path in kept if path and (source.path / path).is_file()]
    place_files(source.path, out, pairs, link=link)


def _new_labels(rows: Rows, like: NDArray[np.int64]) -> list[str | None]:
    """The label cell of each row that gets another one, as text; None where it stays."""
    new: list[str | None] = [None] * len(like)
    changed = np.flatnonzero(like != np.arange(len(like)))
    texts = rows.labels.take(pa.array(like[changed])).to_pylist()
    for row, text in zip(changed.tolist(), texts, strict=True):
        new[row] = str(text)
    return new
