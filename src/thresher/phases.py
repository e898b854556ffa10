"""Lengths of phases: as written by the user, else the literature's, shortened to a short run."""

from __future__ import annotations

import math

from thresher.errors import ParameterError

__all__ = ["quarter", "refuse_endless_warmup", "shortened"]


def shortened(written: int | None, paper: int, limit: int | None) -> int:
    """Length of a phase: as the user wrote it, else the paper's, shortened to a short run.

    >>> shortened(None, 25, 15), shortened(None, 25, None), shortened(40, 25, 15)
    (15, 25, 40)
    """
    if written is not None:
        return written
    return paper if limit is None else max(1, min(paper, limit))


def refuse_endless_warmup(
    warmup: int | None, epochs: int | None, *, all_of_it: bool = False, otherwise: str = ""
) -> None:
    """Refuse a warm-up that leaves no epoch for what it is to warm up for.

    Args:
        warmup: As the user wrote it, or None.
        epochs: Of the run, or None.
        all_of_it: It may take all of the run.
        otherwise: What else a user may do, for the end of the error.

    Raises:
        ParameterError: it does not end within the run.
    """
    if warmup is None or epochs is None or warmup < epochs + all_of_it:
        return
    raise ParameterError(
        f"The warm-up takes {warmup} epochs of {epochs}, and none is left in which the loss is "
        "corrected.",
        f"Raise --epochs or shorten the warm-up{otherwise}.",
    )


def quarter(epochs: int | None) -> int | None:
    """A quarter of the run, rounded up; None when its length is unknown."""
    return None if epochs is None else math.ceil(epochs / 4)
