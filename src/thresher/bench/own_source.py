"""The source of methods of one's own, by which a benchmark tells that one has changed.

module:Class → the file that the class is written in → its hash, in bench.toml
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path

from thresher.errors import RunError
from thresher.noise import method_class

__all__ = ["refuse_changed", "source_hashes"]


def source_hashes(methods: Iterable[str]) -> dict[str, str]:
    """Name → 128-bit BLAKE2b of its file, for methods of one's own that are written in one.

    Raises:
        ParameterError: there is no such method.
    """
    found = {}
    for name in methods:
        if ":" in name:
            try:
                content = Path(inspect.getfile(method_class(name))).read_bytes()
            except (OSError, TypeError):  # a class that was made without a file
                continue
            found[name] = hashlib.blake2b(content, digest_size=16).hexdigest()
    return found


def refuse_changed(before: Mapping[str, str], methods: Iterable[str]) -> None:
    """Refuse methods whose source is no longer that of the figures that are there.

    Args:
        before: Name → hash, as it was.
        methods: Names; those that were not there before are not compared.

    Raises:
        RunError: names the first one that has changed.
    """
    for name, found in source_hashes(methods).items():
        if before.get(name, found) != found:
            raise RunError(
                f'The source of the method "{name}" is not that of the cells that are there.',
                "Choose another --out, or put the source back.",
            )
