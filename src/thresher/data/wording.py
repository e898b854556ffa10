"""Wording: names and counts as they stand in notes and errors."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["counted", "listed", "quoted"]


def quoted(name: object) -> str:
    """Put a name in quotes, on one line and not longer than 80 characters.

    >>> print(quoted("native country"))
    "native country"
    """
    text = " ".join(str(name).split())
    return f'"{text if len(text) <= 80 else text[:79] + "…"}"'


def listed(names: Iterable[str], limit: int = 8) -> str:
    """List the first names and count the others.

    >>> listed(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    every = list(names)
    shown = ", ".join(every[:limit])
    return shown if len(every) <= limit else f"{shown} and {len(every) - limit:,} more"


def counted(count: int, noun: str) -> str:
    """Write a count with its noun.

    >>> counted(1, "row"), counted(2100, "row")
    ('1 row', '2,100 rows')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
