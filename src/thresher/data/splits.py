"""Splits: which part of a source trains, and which one tests.

root/train/…, root/test/…                folders of class folders, or of Parquet files
root/train.csv, root/test.csv            files; also below root/data
root/train-00000-of-00002.parquet, …     part files, named together as train-*.parquet
CIFAR's folders and archives
a Hugging Face DatasetDict
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thresher.data.cifar import cifar_splits
from thresher.data.files import READABLE, SPLITS, reading
from thresher.data.folders import metadata_file
from thresher.data.parquet import SPLIT_NAME
from thresher.data.wording import listed, quoted

__all__ = ["dataset_splits", "folder_splits", "training_and_test"]


def folder_splits(path: Path) -> dict[str, Path]:
    """Find the splits that a folder or an archive is made of.

    Args:
        path: Any path.

    Returns:
        Paths for `open_data` under the names "train", "validation" and "test"; empty if there is
        nothing that is called so, or no training split.
    """
    if found := cifar_splits(path):
        return found
    if not path.is_dir():
        return {}
    for folder in (path, path / "data"):
        if folder.is_dir():
            with reading(folder, "a folder"):
                entries = sorted(each for each in folder.iterdir() if each.name[0] not in "._")
            found = _split_folders(entries) or _split_files(entries)
            if "train" in found:
                return found
    return {}


def dataset_splits(data: Any) -> dict[str, Any]:
    """Find the splits of a mapping of data sets, such as a DatasetDict; empty for anything else."""
    if not isinstance(data, Mapping) or not all(hasattr(each, "__len__") for each in data.values()):
        return {}
    found: dict[str, Any] = {}
    for name, split in data.items():
        if str(name).lower() in SPLITS:
            found.setdefault(SPLITS[str(name).lower()], split)
    return found if "train" in found else {}


def training_and_test(data: Any, test: Any = None) -> tuple[Any, Any, tuple[str, ...]]:
    """Take the splits of a source apart, where it has any and no test data are given.

    Args:
        data: What `open_data` takes, or a folder, archive or mapping of splits.
        test: Test data given on their own; they win.

    Returns:
        The training data; the test data (without a test split, the validation split), None if
        there are none; and what must be said aloud.
    """
    path = Path(data) if isinstance(data, str | os.PathLike) else None
    found: dict[str, Any] = dataset_splits(data) if path is None else {**folder_splits(path)}
    if not found:
        return data, test, ()
    notes: tuple[str, ...] = ()
    name = next((each for each in ("test", "validation") if each in found), None)
    if test is None and name is not None:
        test = found[name]
        notes += (f"Trained on the train split, tested on {name}.",)
    rest = _other_keys(data, found, test) if path is None else _beside(path, found, test)
    if rest:
        notes += (f"Not used beside the train split: {listed(map(quoted, rest))}.",)
    return found["train"], test, notes


def _other_keys(data: Mapping[str, Any], found: Mapping[str, Any], test: Any) -> list[str]:
    """The data sets of a mapping that are neither trained on nor tested on."""
    used = (found["train"], test)
    return [name for name, split in data.items() if not any(split is each for each in used)]


def _beside(path: Path, found: Mapping[str, Path], test: Any) -> list[str]:
    """What lies beside a training split and looks as if it belonged to the data."""
    if found["train"] == path:  # of CIFAR, all of it is known
        return []
    folder = found["train"].parent
    entries = {each for each in folder.iterdir() if each.is_dir() and each.name[0] not in "._"}
    entries |= {*found.values(), metadata_file(folder) or found["train"]}
    used = {found["train"], Path(test) if isinstance(test, str | os.PathLike) else None}
    return sorted(each.name for each in entries - used)


def _split_folders(entries: list[Path]) -> dict[str, Path]:
    """Folders named as splits: two or more of them, or the only folder (else it is a class)."""
    folders = [each for each in entries if each.is_dir()]
    found: dict[str, Path] = {}
    for each in folders:
        if each.name.lower() in SPLITS:
            found.setdefault(SPLITS[each.name.lower()], each)
    return found if len(found) > 1 or len(folders) == 1 else {}


def _split_files(entries: list[Path]) -> dict[str, Path]:
    """Files named as splits; several part files of one are named together by a pattern."""
    parts: dict[str, list[Path]] = {}
    for each in entries:
        name = SPLIT_NAME.match(each.name)
        if name and each.suffix.lower() in READABLE and each.is_file():
            parts.setdefault(SPLITS[name.group(1).lower()], []).append(each)
    found: dict[str, Path] = {}
    for split, files in parts.items():
        if len(files) == 1:
            found[split] = files[0]
        elif all(each.suffix == ".parquet" for each in files):
            prefix = _common_start([each.name for each in files])
            found[split] = files[0].with_name(f"{prefix}*.parquet")
    return found


def _common_start(names: list[str]) -> str:
    """The characters that all names begin with.

    >>> _common_start(["train-00000-of-2", "train-00001-of-2"])
    'train-0000'
    """
    first, last = min(names), max(names)
    length = next(
        (place for place, letter in enumerate(first) if last[place : place + 1] != letter), None
    )
    return first[:length]
