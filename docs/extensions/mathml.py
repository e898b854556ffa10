"""Formulas as MathML: browsers draw it themselves, so that the site loads no script for it."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

__all__ = ["drawn_well", "setup"]

BAR = re.compile(r"<mo(?: class=\"\w+\"| stretchy=\"false\")?>([|‖])</mo>")
THIN = '<mspace width="0.15em"/>'


def markup(node: nodes.Element, *, as_block: bool = False) -> str:
    """The formula in MathML; what docutils does not know of LaTeX is a warning."""
    try:
        found = tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        logging.getLogger(__name__).warning("%s In: %s", error, node.astext(), location=node)
        return ""
    return drawn_well(found)


def drawn_well(found: str) -> str:
    """What browsers would draw otherwise than LaTeX does: bars, "ln p", the minus of sets.

    >>> drawn_well("<mo>|</mo>")  # no stretched or far-off bars
    '<mo stretchy="false" lspace="0" rspace="0">|</mo>'
    """
    found = BAR.sub(r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', found)
    found = found.replace("⧵", "∖")  # few fonts have the former
    return found.replace("<mi>ln</mi>", f"{THIN}<mi>ln</mi>{THIN}")


def visit_inline(translator: Any, node: nodes.math) -> None:
    """A formula within a line."""
    translator.body.append(markup(node))
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    """A formula on lines of its own."""
    translator.body.append(f'<div class="formula">{markup(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer as `html_math_renderer = "mathml"`."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
