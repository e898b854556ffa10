"""Figures with a range stand above it: ``76.0 (75.0–77.1)`` in a cell of a table is two lines.

Without this a wide table breaks them wherever there is no room.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

__all__ = ["setup", "split_range"]

RANGE = re.compile(r"(?s)(\S.*\d) (\([^()\s]*\d(?:–| to )[^()\s]*\d\))\s*")


def split_range(words: str) -> tuple[str, str] | None:
    """A figure and its range; None where the words are anything else.

    >>> split_range("76.0 (75.0–77.1)"), split_range("+9.8 (+9.0 to +10.7)")
    (('76.0', '(75.0–77.1)'), ('+9.8', '(+9.0 to +10.7)'))
    >>> split_range("0.0601 s (1.28 ×)"), split_range("76.0")
    (None, None)
    """
    found = RANGE.fullmatch(words)
    return None if found is None else (found[1], found[2])


def set_below(app: Sphinx, document: nodes.document) -> None:
    """Put every range of a table's cell into an element of its own."""
    for entry in document.findall(nodes.entry):
        for text in list(entry.findall(nodes.Text)):
            if found := split_range(text.astext()):
                figure, between = found
                below = nodes.inline("", between, classes=["range"])
                text.parent.replace(text, [nodes.Text(figure + " "), below])


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx to call it for every page that was read."""
    app.connect("doctree-read", set_below)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
