"""Changes: a list of the samples whose label changes or that are left out, a row each.

    sample_id, path, row, label_original, label, decision, split

``row`` counts the rows of the data from 0; it is empty where nobody knows it. ``label`` is empty
for a sample that is left out. ``split`` says what the run did with the sample: train, held-out or
unlabelled.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from thresher.errors import ParameterError

__all__ = ["CHANGES_NAME", "COLUMNS", "check_changes_name", "is_changes", "write_changes"]

#: The list that lies in every exported folder.
CHANGES_NAME = "changes.csv"
COLUMNS = ("sample_id", "path", "row", "label_original", "label", "decision", "split")
SUFFIXES = (".csv", ".jsonl")


def check_changes_name(path: Path) -> None:
    """Refuse a name that says no form of a list.

    Raises:
        ParameterError: it ends in neither .csv nor .jsonl.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ParameterError(
            f'A list of changes ends in .csv or .jsonl, got "{path.name}".',
            "Example: --out changes.csv",
        )


def write_changes(changes: Iterable[Mapping[str, Any]], path: Path, suffix: str) -> None:
    """Write the list, in the form that a suffix names.

    Args:
        changes: A mapping of the columns for each sample.
        path: The file.
        suffix: .csv or .jsonl.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        if suffix.lower() == ".jsonl":
            file.writelines(
                json.dumps({name: each[name] for name in COLUMNS}, ensure_ascii=False) + "\n"
                for each in changes
            )
            return
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([each[name] for name in COLUMNS] for each in changes)


def is_changes(path: Path) -> bool:
    """Whether a file is such a list, as CSV."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline() == ",".join(COLUMNS) + "\n"
    except (OSError, UnicodeDecodeError):
        return False
