"""`{measured} elr gce`: what the benchmarks say of methods, beside standard training.

benchmarks/results/*.md → tables with a row of the method → its rows, column by column of interest

The pages of methods and families hold no figures of their own: they are read when the site is
built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from thresher.sampling import SELECTORS

__all__ = ["Table", "excerpt", "read_tables", "setup"]

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
BASELINES = ("standard", "shuffled")  # the latter where samplers are compared
SAMPLERS = "selection"  # the page of samplers, of which one is named as a method is
LEFT_OUT = {"AUROC", "precision", "recall", "suggestion right", "wall s"}  # see the full table
COMMAND = re.compile(r"`(python benchmarks/[^`]+)`")
SUBJECT = re.compile(r"^(.+?): [\d,]+ samples trained")  # what `thresher bench` was run on
RANGE = re.compile(r" \([^()]*\)$")


@dataclass(frozen=True)
class Table:
    """A table of a page of results.

    Args:
        page: Name of the page, without its suffix.
        section: Heading of level 2 above it, after the data of the page where it names them; or the
            title of the page.
        data: Heading of level 3 above it, or the sentence before it, "" for neither.
        command: What makes the figures; "" where the section names none.
        head: The titles of the columns.
        rows: The cells.
    """

    page: str
    section: str
    data: str
    command: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def read_tables(page: str, text: str) -> Iterator[Table]:
    """Read the tables of a page of results.

    Args:
        page: Its name.
        text: Its Markdown.
    """
    section = data = command = subject = ""
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            lines.append(line)
            continue
        if len(lines) > 2:
            head, _, *rows = (_cells(each) for each in lines)
            yield Table(page, section, data, command, head, tuple(rows))
        lines = []
        if line.startswith("# "):
            section = line[2:]
        elif line.startswith("## "):
            section, data, command = line[3:], "", ""
            if subject:
                section = f"{subject}, {section[0].lower()}{section[1:]}"
        elif line.startswith("### "):
            data = line[4:]
        elif line.endswith(":") and len(line) < 80:
            data = line[:-1]
        elif found := SUBJECT.match(line):
            subject = found[1].capitalize()
        if found := COMMAND.search(line):
            command = found[1]


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))


def excerpt(methods: Sequence[str], tables: Sequence[Table]) -> str:
    """What the tables say of methods, as Markdown; means without ranges, no column of mere dashes.

    Args:
        methods: Names on the command line; rows of variants begin with one and a comma.
        tables: Of all pages.
    """
    found: dict[tuple[str, ...], list[tuple[str, list[str]]]] = {}
    captions: dict[str, str] = {}
    for table in tables:
        names = [each for each in methods if table.page != SAMPLERS or each not in SELECTORS]
        if not any(_of(row, names) for row in table.rows):
            continue
        captions.setdefault(table.section, _caption(table))
        columns = [place for place, title in enumerate(table.head) if title not in LEFT_OUT]
        head = [table.head[place] or "method" for place in columns]
        data = RANGE.sub("", table.data) or table.section.split(":")[0]
        found.setdefault((table.section, *head), []).extend(
            (data, [RANGE.sub("", row[place]) for place in columns])
            for row in table.rows
            if row[0] in BASELINES or _of(row, names)
        )
    parts: list[str] = []
    for (section, *head), rows in found.items():
        told = [place for place in range(len(head)) if any(row[place] != "–" for _, row in rows)]
        head, rows = (
            [head[at] for at in told],
            [(data, [row[at] for at in told]) for data, row in rows],
        )
        several = len({data for data, _ in rows}) > 1
        above = captions.pop(section, "")
        if several:
            head = ["data", *head]
        elif not section.startswith(rows[0][0]):
            above += f"*{rows[0][0]}*\n\n"
        texts = 1 + several
        ruler = ["---"] * texts + ["---:"] * (len(head) - texts)
        cells = [[data, *row] if several else row for data, row in rows]
        parts.append(above + "\n".join(_row(each) for each in (head, ruler, *cells)))
    return "\n\n".join(parts)


def _of(row: tuple[str, ...], methods: Sequence[str]) -> bool:
    """Whether a row is of one of the methods, or of a variant."""
    return row[0].split(", ")[0] in methods


def _caption(table: Table) -> str:
    command = f", `{table.command}`" if table.command else ""
    return f"**{table.section}**{command}; in full: {{doc}}`/measurements/{table.page}`\n\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


class Measured(SphinxDirective):
    """The directive; its options take the tables whose headings begin with these words alone."""

    required_arguments = 1
    final_argument_whitespace = True  # several methods
    option_spec: ClassVar = {"section": str, "data": str}

    def run(self) -> list[nodes.Node]:
        """Parse the excerpt of all pages of results."""
        tables: list[Table] = []
        for path in sorted(RESULTS.glob("*.md")):
            self.env.note_dependency(str(path))
            tables += [
                table
                for table in read_tables(path.stem, path.read_text(encoding="utf-8"))
                if table.section.startswith(self.options.get("section", ""))
                and table.data.startswith(self.options.get("data", ""))
            ]
        text = excerpt(self.arguments[0].split(), tables)
        return self.parse_text_to_nodes(text or "The benchmarks have not measured it yet.")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("measured", Measured)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
