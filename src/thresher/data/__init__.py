"""Reading data: files, tables and arrays become samples with stable ids."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thresher.data.encoding import Encoding
    from thresher.data.indexed import Indexed
    from thresher.data.samples import Samples
    from thresher.data.source import open_data

__all__ = ["Encoding", "Indexed", "Samples", "open_data"]

# Late, as Arrow takes a tenth of a second to import.
HOMES = {
    "Encoding": "thresher.data.encoding",
    "Indexed": "thresher.data.indexed",
    "Samples": "thresher.data.samples",
    "open_data": "thresher.data.source",
}


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
