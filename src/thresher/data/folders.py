"""Folders of images: one folder for each class, or a table of labels beside the files.

    root/class/…/image.png            the class is the first folder below the root
    root/metadata.csv, root/…/a.png   rows of file_name (or path, file), label and further columns;
                                      .jsonl and .parquet too

Images lie at any depth below their class's folder. Names are kept as Arrow arrays: a million paths
as Python objects would take a hundred bytes each.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thresher.data.columns import type_of
from thresher.data.delimited import read_delimited
from thresher.data.encoded import ImageFiles
from thresher.data.files import IMAGE_SUFFIXES, SPLITS, reading
from thresher.data.json_lines import read_json_lines
from thresher.data.parquet import read_parquet
from thresher.data.roles import PATH_NAMES
from thresher.data.wording import counted, listed, quoted
from thresher.errors import DataError

__all__ = ["ImageFolder", "Listing", "list_images", "metadata_file", "read_image_folder"]

METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
EXPECTED = (
    "Put the images of each class into a folder of its own, {0}/<class>/…, or name them with their "
    "labels in {0}/metadata.csv (columns file_name and label)."
)


@dataclass(frozen=True)
class Listing:
    """The images below a folder, folder by folder, in the order of their names.

    Args:
        paths: (N,) strings relative to the folder, with "/" between the parts.
        folders: The folders that hold images, relative, "" = the root.
        counts: How many images lie in each of them.
        data_files: How many Parquet files lie beside them.
        notes: What was passed over.
    """

    paths: pa.StringArray
    folders: tuple[str, ...]
    counts: tuple[int, ...]
    data_files: int
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images as a table.

    Args:
        table: N rows, a column of paths and what the metadata say of them.
        files: The N images.
        labels: (N,) class names by folder; None = a column of the table may hold them.
        notes: What must be said aloud.
    """

    table: pa.Table
    files: ImageFiles
    labels: pa.ChunkedArray | None
    notes: tuple[str, ...]


def read_image_folder(
    root: Path, found: Listing, *, labelled: bool = True, optional: bool = False
) -> ImageFolder:
    """Find the images of a folder and their labels.

    Args:
        root: The folder.
        found: What `list_images` found in it, at least one image.
        labelled: False for data to predict: no class folders are looked for.
        optional: Whether there may be no class folders, as the labels come from elsewhere.

    Raises:
        DataError: There are neither class folders nor metadata, or the folder holds several splits
            of one data set.
    """
    metadata = metadata_file(root)
    if metadata is not None:
        return _with_metadata(root, metadata, found)
    everything = pa.table({"path": found.paths})
    if not labelled:
        return ImageFolder(everything, ImageFiles(root, found.paths), None, found.notes)
    depth = _class_depth(root, found)
    names = [each.split("/") for each in found.folders]
    inside = np.array([len(parts) > depth and parts[0] != "" for parts in names])
    if not inside.any() and optional:
        return ImageFolder(everything, ImageFiles(root, found.paths), None, found.notes)
    if not inside.any():
        raise DataError(
            f"The folder {root} holds {counted(len(found), 'image')}, but no folder for each "
            "class, and nothing says their labels.",
            EXPECTED.format(root),
        )
    classes = sorted({parts[depth] for parts, kept in zip(names, inside, strict=True) if kept})
    place = {name: number for number, name in enumerate(classes)}
    codes = np.array(
        [place[parts[depth]] if kept else -1 for parts, kept in zip(names, inside, strict=True)],
        np.int32,
    ).repeat(found.counts)
    rows = pa.array(np.flatnonzero(codes >= 0))
    labels = pa.DictionaryArray.from_arrays(codes[codes >= 0], pa.array(classes, pa.string()))
    paths = found.paths.take(rows) if len(rows) < len(found) else found.paths
    notes = found.notes
    if len(rows) < len(found):
        notes += (
            f"{counted(len(found) - len(rows), 'image')} outside the class folders left out.",
        )
    return ImageFolder(
        pa.table({"path": paths}), ImageFiles(root, paths), pa.chunked_array([labels]), notes
    )


def metadata_file(root: Path) -> Path | None:
    """Find the table of labels beside the images of a folder."""
    return next((root / name for name in METADATA_NAMES if (root / name).is_file()), None)


def _with_metadata(root: Path, metadata: Path, found: Listing) -> ImageFolder:
    """Take the rows of the metadata, in their order."""
    if metadata.suffix == ".csv":
        table, notes = read_delimited(metadata, lambda _: True)
    elif metadata.suffix == ".jsonl":
        table, notes = read_json_lines(metadata), ()
    else:
        table, notes = read_parquet(metadata), ()
    name = next((each for each in PATH_NAMES if each in table.column_names), None)
    if name is None:
        raise DataError(
            f"{metadata} has no column that names the files; its columns are "
            f"{listed(map(quoted, table.column_names))}.",
            'Call the column "file_name"; its paths start from the folder of the table.',
        )
    kind = type_of(table.schema.field(name).type)
    if kind not in ("text", "number", "empty"):
        raise DataError(
            f"{metadata}: column {quoted(name)} holds values of type "
            f"{table.schema.field(name).type}, expected the names of files.",
            "Write one path in each row, from the folder of the table.",
        )
    paths = pa.concat_arrays(table[name].cast(pa.string()).chunks)
    paths = pc.if_else(pc.equal(paths, ""), pa.scalar(None, pa.string()), paths)
    outside = pc.match_substring_regex(paths, r"^(/|[A-Za-z]:)|(^|/)\.\.(/|$)").fill_null(False)
    if pc.any(outside).as_py():
        row = pc.index(outside, True).as_py()
        raise DataError(
            f"{metadata}, row {row} (counting from 0): {quoted(paths[row])} does not lie in "
            f"{root}.",
            "Write the paths relative to the folder, and keep the images in it.",
        )
    paths = pc.replace_substring_regex(paths, r"^(\./)+", "")
    unnamed = len(found) - pc.sum(pc.is_in(found.paths, value_set=paths)).as_py()
    notes = (*found.notes, *notes)
    if unnamed:
        notes += (f"{counted(unnamed, 'image')} that {metadata.name} does not name left out.",)
    table = table.set_column(table.column_names.index(name), name, paths)
    return ImageFolder(table, ImageFiles(root, paths), None, notes)


def _class_depth(root: Path, found: Listing) -> int:
    """Say which part of a path names the class: the first, below a lone train folder the second.

    Raises:
        DataError: All folders are splits of one data set.
    """
    top = sorted({each.split("/")[0] for each in found.folders if each})
    splits = [name for name in top if name.lower() in SPLITS]
    if not top or len(splits) < len(top):
        return 0
    if len(top) > 1:
        raise DataError(
            f"The folder {root} holds several splits: {listed(map(quoted, top))}.",
            "Name the training folder, and give the test folder on its own.",
        )
    return 1


# ---------------------------------------------------------------------- listing
def list_images(root: Path) -> Listing:
    """List the images below a folder, links followed; hidden files and others are counted.

    Raises:
        DataError: A folder cannot be read.

    Cost: 10⁶ files in 1,000 folders: `benchmarks/sources.py listing`.
    """
    paths: list[pa.Array] = []
    folders: list[str] = []
    counts: list[int] = []
    hidden, unnameable = 0, 0
    others: Counter[str] = Counter()
    for folder, names in _walk(root):
        images = []
        for name in names:
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 (a million times)
            if name[0] == ".":
                hidden += 1
            elif suffix in IMAGE_SUFFIXES:
                images.append(name)
            elif name not in METADATA_NAMES or folder:
                others[suffix] += 1
        try:
            here = pa.array(images, pa.string())
            folder.encode()
        except UnicodeEncodeError:
            kept = [name for name in images if _is_text(f"{folder}/{name}")]
            unnameable += len(images) - len(kept)
            here = pa.array(kept, pa.string())
        if len(here):
            if folder:
                here = pc.binary_join_element_wise(pa.scalar(folder), here, "/")
            paths.append(here)
            folders.append(folder)
            counts.append(len(here))
    notes = []
    if others:
        kinds = listed(suffix or "no suffix" for suffix in sorted(others))
        notes.append(f"{counted(others.total(), 'file')} that are no images passed over ({kinds}).")
    if hidden:
        notes.append(f"{counted(hidden, 'hidden file')} passed over.")
    if unnameable:
        notes.append(f"{counted(unnameable, 'image')} whose paths are not UTF-8 left out.")
    every = pa.concat_arrays(paths) if paths else pa.array([], pa.string())
    return Listing(every, tuple(folders), tuple(counts), others[".parquet"], tuple(notes))


def _walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield every folder below a root, relative to it, with the names of its files, sorted."""
    waiting: list[tuple[str, tuple[Path, ...]]] = [("", ())]
    while waiting:
        folder, links = waiting.pop()
        files: list[str] = []
        below: list[tuple[str, tuple[Path, ...]]] = []
        place = root / folder
        with reading(place, "a folder"), os.scandir(place) as entries:
            for entry in entries:
                if not _is_folder(entry):
                    files.append(entry.name)
                elif entry.name[0] != ".":
                    inside = f"{folder}/{entry.name}" if folder else entry.name
                    if not entry.is_symlink():
                        below.append((inside, links))
                    elif not _leads_back(place / entry.name, chain := (*links, place.resolve())):
                        below.append((inside, chain))
        files.sort()
        yield folder, files
        waiting += sorted(below, reverse=True)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder; a link that leads nowhere, or round to itself, is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _leads_back(link: Path, chain: tuple[Path, ...]) -> bool:
    """Whether a link points to a folder that it lies in: following it would have no end."""
    target = link.resolve()
    return any(target == each or target in each.parents for each in chain)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
