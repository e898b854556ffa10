"""Places on the command line: paths of this machine, and addresses as s3://bucket/folder."""

from __future__ import annotations

import re
from pathlib import Path

from thresher.errors import ParameterError, RunError

__all__ = ["address_in", "check_apart"]

WITHOUT_HOST = ("file", "dbfs", "viewfs")  # file:///home/…; of hdfs the host must be named


def address_in(out: Path) -> str | None:
    """The address that a path was made of, whose slashes it has joined; None for a path.

    >>> address_in(Path("s3://bucket/folder")), address_in(Path("folder"))
    ('s3a://bucket/folder', None)
    """
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]+):/(.*)", str(out))
    if found is None:
        return None
    scheme, rest = found.groups()
    if scheme in ("s3", "s3n"):
        scheme = "s3a"
    slashes = "///" if scheme in WITHOUT_HOST else "//"
    return f"{scheme}:{slashes}{rest}"


def plain(place: str) -> str:
    """A place with one name for one thing, to be compared: a path, or scheme:/rest."""
    scheme, _, rest = place.partition(":/")
    if not rest or not scheme.isalnum():
        return str(Path(place).resolve())
    if scheme == "file":
        return str(Path("/" + rest.lstrip("/")).resolve())
    return f"{'s3' if scheme in ('s3a', 's3n') else scheme}:/{rest.strip('/')}"


def check_apart(source: str, option: str, place: Path) -> None:
    """Refuse a place within the input, or in no folder.

    Args:
        source: The input, a path or an address.
        option: That names the place.
        place: A path, or what became of an address.

    Raises:
        ParameterError: it is the input, within it, or around it.
        RunError: there is no such folder.
    """
    home, there = plain(source), plain(str(place))
    if f"{there}/".startswith(f"{home}/") or f"{home}/".startswith(f"{there}/"):
        raise ParameterError(
            f"{option} {place} and the points in {source} are not apart.",
            "Choose a place outside of the input; it is never changed.",
        )
    if address_in(place) is None and not place.resolve().parent.is_dir():
        raise RunError(f"There is no folder {place.parent} for {option}.", "Make it first.")
