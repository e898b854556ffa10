"""Folders of images with corrected labels: each image in the folder of its class, or a new table.

root/class/…/image.png            an image that is relabelled moves to the folder of its class
root/metadata.csv, root/…/a.png   images keep their place, the table says the new labels
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from thresher.errors import DataError

__all__ = ["corrected_paths", "place_files"]


def corrected_paths(
    paths: Sequence[str], folders: Sequence[str | None], depth: int, stays: Sequence[bool]
) -> list[str | None]:
    """Say where each image goes.

    A name that is taken gets a number: two classes may hold different images of one name.

    Args:
        paths: (N,) relative to the root, unique.
        folders: (N,) the folder of the new class, None = the image keeps its place.
        depth: Which part of a path names the class.
        stays: (N,) False leaves an image out.

    Returns:
        (N,) paths relative to the new root, None for an image that is left out.

    Raises:
        DataError: a class name is no name of a folder.
    """
    taken = {
        path for path, new, kept in zip(paths, folders, stays, strict=True) if kept and new is None
    }
    places: list[str | None] = []
    for path, new, kept in zip(paths, folders, stays, strict=True):
        if not kept:
            places.append(None)
        elif new is None:
            places.append(path)
        else:
            parts = path.split("/")
            parts[depth] = _folder_name(new)
            place = wanted = "/".join(parts)
            number = 2
            while place in taken:
                name = PurePosixPath(wanted)
                place = str(name.with_name(f"{name.stem}-{number}{name.suffix}"))
                number += 1
            taken.add(place)
            places.append(place)
    return places


def _folder_name(name: str) -> str:
    """Refuse a class name that would lead out of its folder."""
    if name in ("", ".", "..") or any(sign in name for sign in "/\\\0"):
        raise DataError(
            f"The class {name!r} cannot be the name of a folder.",
            "Write a list with --changes, or rename the class.",
        )
    return name


def place_files(root: Path, out: Path, places: Iterable[tuple[str, str]], *, link: bool) -> int:
    """Copy or link images.

    Args:
        root: The folder they lie in.
        out: The folder they go to.
        places: Pairs of relative paths, from and to.
        link: Make hard links where the file system allows it.

    Returns:
        How many were linked.

    Raises:
        DataError: an image is not there any more, or cannot be read.
    """
    made: set[str] = set()
    linked = 0
    for source, place in places:
        target = out / place
        folder = place.rpartition("/")[0]
        if folder not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(folder)
        image = root / source
        if not image.is_file():
            raise DataError(f"{image} is not there any more.", "Put the data back as they were.")
        if link and _linked(image, target):
            linked += 1
        else:
            shutil.copyfile(image, target)
    return linked


def _linked(source: Path, target: Path) -> bool:
    """Link a file, if both places are on one file system that has links."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        return False
    return True
