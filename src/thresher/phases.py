"""Lengths of phases: as written by the user, else the literature's, shortened to a short run."""

from __future__ import annotations

import math

__all__ = ["quarter", "shortened"]


def shortened(written: int | None, paper: int, limit: int | None) -> int:
    """Length of a phase: as the user wrote it, else the paper's, shortened to a short run.

    >>> shortened(None, 25, 15), shortened(None, 25, None), shortened(40, 25, 15)
    (15, 25, 40)
    """
    if written is not None:
        return written
    return paper if limit is None else max(1, min(paper, limit))


def quarter(epochs: int | None) -> int | None:
    """A quarter of the run, rounded up; None when its length is unknown."""
    return None if epochs is None else math.ceil(epochs / 4)
