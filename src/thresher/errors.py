"""Errors: what was received, what is allowed, what to do now.

    ThresherError
    ├── DataError            the input cannot be read or does not hold what it must
    │   └── LabelError       … because of its labels
    ├── ParameterError       a setting is unknown or out of its range
    ├── ModelError           the network does not fit the data
    ├── RecordError          the history was asked for what it never recorded
    ├── RunError             a run folder is missing, occupied, torn or of other data
    └── MissingPackageError  an extra is needed; names the pip line

Every one carries two sentences: the cause, and the repair. The command line prints them on a line
each and exits with 2; a traceback is shown with ``--debug`` only.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "DataError",
    "LabelError",
    "MissingPackageError",
    "ModelError",
    "ParameterError",
    "RecordError",
    "RunError",
    "ThresherError",
    "nearest",
]

SHOWN = 24  # names that a message lists


class ThresherError(Exception):
    """Base of all errors that thresher raises on purpose.

    Args:
        cause: One line: what was received and why it cannot be used.
        fix: One line: what to do now.
    """

    def __init__(self, cause: str, fix: str = "") -> None:
        super().__init__(f"{cause} {fix}".strip())
        self.cause = cause
        self.fix = fix


class DataError(ThresherError, ValueError):
    """The input cannot be read or does not hold what it must."""


class LabelError(DataError):
    """The labels cannot be used: missing, of one class, continuous, or unknown."""


class ParameterError(ThresherError, ValueError):
    """A setting is unknown or outside its range."""


class ModelError(ThresherError):
    """The network does not fit the data: wrong width, wrong output, cannot be built."""


class RecordError(ThresherError):
    """The history was asked for something that was not declared before the first batch."""


class RunError(ThresherError):
    """A run folder is missing, occupied, torn, or belongs to other data."""


class MissingPackageError(ThresherError, ImportError):
    """An optional package is needed."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Say which allowed name is meant, for the end of an error's repair.

    >>> nearest("selfy", ["standard", "selfie"])
    'Did you mean "selfie"?'
    >>> nearest("zzz", ["standard", "selfie"])
    'Allowed: selfie, standard.'
    """
    names = sorted(allowed)
    lowered = {each.lower(): each for each in reversed(names)}
    close = get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.5)
    if close:
        return f'Did you mean "{lowered[close[0]]}"?'
    shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
    return f"Allowed: {shown}."
