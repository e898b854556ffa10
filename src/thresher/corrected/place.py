"""Place: where corrected data may be written, and how a whole folder appears at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from thresher.corrected.changes import CHANGES_NAME, is_changes
from thresher.errors import ParameterError, RunError

__all__ = ["refuse_place", "whole_folder"]


def refuse_place(out: Path, sources: Iterable[Path], *, folder: bool, overwrite: bool) -> None:
    """Refuse to write where the data are, or over what is not ours.

    Args:
        out: Where the corrected data shall be.
        sources: Files and folders that hold the data.
        folder: Whether a folder is written there, or a file.
        overwrite: Whether an earlier export there is replaced.

    Raises:
        ParameterError: it is, or lies in, or holds the source.
        RunError: something is there already.
    """
    place = out.resolve()
    for source in sources:
        home = source.resolve()
        if place == home or home in place.parents or (folder and place in home.parents):
            raise ParameterError(
                f"--out {out} and the data in {source} are not apart.",
                "Choose a place outside of the data; they are never changed.",
            )
    if not place.exists():
        return
    if not overwrite:
        raise RunError(
            f"{out} exists already.", "Choose another --out, or --overwrite to replace it."
        )
    if folder != place.is_dir() or (folder and not is_changes(place / CHANGES_NAME)):
        raise RunError(
            f"{out} exists and is no earlier export of this form.", "Choose another --out."
        )


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Hand out a temporary folder beside ``path``; rename it there when the block ends well.

    After an error nothing is left, and a folder that stood there before is untouched. What a
    killed process left is removed by the next, and an old folder that it had moved is brought back.

    Raises:
        RunError: the folder cannot be written; names the system's reason.
    """
    place = path.resolve()
    aside = place.with_name(f".{place.name}.partial")
    old = place.with_name(f".{place.name}.replaced")
    try:
        if old.exists() and not place.exists():
            old.rename(place)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        yield aside
        os.sync()  # one call for any number of files
        if place.exists():
            place.rename(old)
        aside.rename(place)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise RunError(
            f"Cannot write {path}: {reason}.",
            "Free some space or choose a folder that can be written.",
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
