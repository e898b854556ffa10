"""The review: a local page on which people decide what is right of the labels a run doubts.

    audit.parquet → queue.py (what to look at, in which order)
    evidence.parquet, history, the data → evidence.py (what is shown of a sample)
    browser → server.py → guard.py (who may ask) → routes.py → session.py → decisions.sqlite

Nothing here is loaded before it is used: Starlette and uvicorn serve the review alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thresher.review.server import ReviewServer

__all__ = ["ReviewServer"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("thresher.review.server"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
