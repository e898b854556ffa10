"""What every kernel is compiled with: machine code that leaves the interpreter's lock alone.

No fastmath anywhere: comparisons with eps decide results, so sums keep their order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba.core.event import Event, Listener, install_listener

__all__ = ["kernel", "told_of_compiling"]

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile at the first call, and keep the machine code for the next process.

    numba keeps it beside the source or, where that cannot be written, in the user's cache folder
    (NUMBA_CACHE_DIR names another). Where neither can be, or the disk is full, every process
    compiles anew.
    """
    settings: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        compiled = numba.njit(cache=True, **settings)(function)
    except RuntimeError:  # "no locator available": nowhere to write
        return cast(Callable[P, R], numba.njit(**settings)(function))
    # numba looks whether a kernel's own file has changed, not the files of the kernels it calls
    cache: Any = getattr(compiled, "_cache", None)
    if hasattr(cache, "save_overload"):
        cache.save_overload = _where_there_is_room(cache.save_overload)
    file: Any = getattr(cache, "_cache_file", None)
    if hasattr(file, "_source_stamp"):
        file._source_stamp = SOURCES
    return cast(Callable[P, R], compiled)


def _where_there_is_room(save: Callable[..., None]) -> Callable[..., None]:
    """Keep machine code if that can be done: what is compiled works without."""

    def kept(*arguments: Any) -> None:
        with suppress(OSError):
            save(*arguments)

    return kept


def _sources() -> str:
    """A fingerprint of all kernels."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


SOURCES = _sources()


class Told(Listener):
    """Passes on that a kernel is being compiled."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self.tell = tell

    def on_start(self, event: Event) -> None:
        """A compilation begins."""
        self.tell()

    def on_end(self, event: Event) -> None:
        """It has ended."""


@contextmanager
def told_of_compiling(tell: Callable[[], None]) -> Iterator[None]:
    """Call ``tell`` whenever a kernel is compiled, rather than taken from the cache."""
    with install_listener("numba:compile", Told(tell)):
        yield
