"""The site loads nothing from another host: checked after every build."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

__all__ = ["foreign_loads", "foreign_styles", "setup"]

LOADS = {  # element → the attribute whose address is fetched without a click
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "img": "src",
    "link": "href",
    "object": "data",
    "script": "src",
    "source": "src",
    "video": "src",
}
NAMED_ONLY = {"canonical", "author", "license", "search", "prev", "next", "index"}  # never fetched
ADDRESS = re.compile(r"(?i)\s*(?:[a-z][a-z0-9+.-]*:)?//")
STYLE = re.compile(r"""(?i)(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s]+)""")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        address = values.get(LOADS.get(tag, ""), "")
        if tag == "link" and set(values.get("rel", "").split()) <= NAMED_ONLY:
            return
        if ADDRESS.match(address):
            self.found.append(address)
        self.found += foreign_styles(values.get("style", ""))


def foreign_loads(page: str) -> list[str]:
    """Addresses of other hosts that a browser fetches when it opens this HTML.

    >>> foreign_loads('<script src="https://cdn.example/x.js"></script><a href="https://a.b">b</a>')
    ['https://cdn.example/x.js']
    """
    reader = _Reader()
    reader.feed(page)
    return reader.found


def foreign_styles(sheet: str) -> list[str]:
    """Addresses of other hosts that a style sheet fetches.

    >>> foreign_styles('@import "https://fonts.example/css"; a { background: url(x.png) }')
    ['https://fonts.example/css']
    """
    return STYLE.findall(sheet)


def check(app: Sphinx, exception: Exception | None) -> None:
    """Warn of every such address, which fails a build with -W."""
    if exception is not None or app.builder.format != "html":
        return
    logger = logging.getLogger(__name__)
    for path in sorted(Path(app.outdir).rglob("*")):
        readers = {".html": foreign_loads, ".css": foreign_styles}
        if path.suffix in readers:
            for address in readers[path.suffix](path.read_text(encoding="utf-8")):
                logger.warning("%s loads %s from another host", path.name, address)


def setup(app: Sphinx) -> dict[str, bool]:
    """Check at the end."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
