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

FENCE = re.compile(r"<mo(?: class=\"\w+\"| stretchy=\"false\")?>([|‖⟨⟩⌈⌉⌊⌋])</mo>")
ACCENT = re.compile(  # with a script, which would stand below what the accent stands above
    r"<munderover>\s*(<mi>\w</mi>)\s*(<m[in]>\w</m[in]>)\s*(<mo[^>]*>[~ˉˆ]</mo>)\s*</munderover>"
)
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
    """Mend what is drawn otherwise than by LaTeX: bars, scripts of accents, "ln p", set minus.

    >>> drawn_well("<mo>|</mo>")  # not stretched, not far off
    '<mo stretchy="false" lspace="0" rspace="0">|</mo>'
    """
    found = FENCE.sub(r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', found)
    found = ACCENT.sub(r'<msub><mover accent="true">\1\3</mover>\2</msub>', found)
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
