"""The report of a benchmark: one HTML file that opens anywhere, and the same tables in Markdown.

rows → entries (tables.py) → a section for every kind of noise → report.html, report.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thresher.audit.report import percent, report_environment, shorten
from thresher.bench.plots import accuracy_curves, accuracy_dots, drawn_methods
from thresher.bench.settings import BASELINE, PEER
from thresher.bench.tables import (
    ACCURACIES,
    AUDIT,
    COSTS,
    GROUPS,
    TRUST,
    Entry,
    Figure,
    GroupEntry,
    entries,
    group_entries,
    is_best,
    markdown_table,
)
from thresher.group_report import FEWEST

__all__ = ["LEGEND", "PARTS", "Part", "Section", "render_html", "render_markdown", "sections"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """One table of a section: its heading, what it says, its columns."""

    title: str
    note: str
    figures: tuple[Figure, ...]


PARTS = (
    Part(
        "Accuracy on true test labels",
        "Per cent. Validation-selected: of the epoch that agrees best with the given labels of "
        "rows that nothing was trained on. Best on test is chosen on the test set itself: it "
        "shows what was passed on the way, and is no figure of a method.",
        ACCURACIES,
    ),
    Part(
        "What was trusted",
        "Per cent. Label precision: share of right ones among the given labels that were learned "
        "as they are, when each sample came last and however little it weighed; recall: share of "
        "the right ones that was. "
        "Coverage: share of the samples that was learned from at all. Replaced: share learned "
        "with another label; correction error: share of those labels that is wrong. A dash: the "
        "method trusts every label, replaces none, or has estimated no noise rate.",
        TRUST,
    ),
    Part(
        "The audit of each training",
        "Per cent. Average precision and AUROC of the wrong labels under the audit's ranking.",
        AUDIT,
    ),
    Part(
        "By group",
        "Per cent, on the test set. The gaps are the largest over classes and pairs of groups.",
        GROUPS,
    ),
    Part(
        "What it cost",
        "Processor seconds of the training in one thread; the most memory that it took beyond what "
        "its process held before, with the data, and the most of the whole process. The factors "
        "are taken within each seed, of memory beyond the process.",
        COSTS,
    ),
)

TRUSTED_BY_GROUP = "Who was trusted, by given class and group"
TRUSTED_NOTE = (
    "Per cent, means over seeds, of the rows that the method may train on. "
    f"An asterisk marks cells of fewer than {FEWEST} samples, whose "
    "figures say little."
)

LEGEND = (
    "Means over seeds, with the smallest and the largest. The best mean of a column is bold where "
    "one is better."
)


@dataclass(frozen=True)
class Section:
    """Everything of one kind of noise.

    Attributes:
        noise: As it was named.
        realised: Share of wrong labels among the trained samples, the mean.
        found: A method each.
        worse: Methods whose last accuracy is below that of standard training.
        groups: Who was trusted, by method, class and group; none where groups are not compared.
    """

    noise: str
    realised: float | None
    found: list[Entry]
    worse: list[str]
    groups: list[GroupEntry]

    @property
    def heading(self) -> str:
        """For people."""
        return f"Noise: {self.noise}"

    @property
    def verdict(self) -> str:
        """Who loses to standard training, by name."""
        rated = [each for each in self.found if each.method not in (BASELINE, PEER)]
        if not any(each.method == BASELINE for each in self.found) or not rated:
            return ""
        if not self.worse:
            return "No method ends below standard training."
        return f"Below standard training at the end: {', '.join(self.worse)}."


def sections(rows: Sequence[Row]) -> list[Section]:
    """The finished cells by kind of noise, in their order."""
    everything = entries(rows)
    made = []
    for noise in dict.fromkeys(each.noise for each in everything):
        found = [each for each in everything if each.noise == noise]
        rates = [
            row["noise_rate"] for row in rows if row["noise"] == noise and row["status"] == "done"
        ]
        last = {each.method: each.figures["last"].mean for each in found}
        worse = [
            name
            for name, value in last.items()
            if name != BASELINE and value < last.get(BASELINE, value)
        ]
        realised = sum(rates) / len(rates) if rates else None
        made.append(Section(noise, realised, found, worse, group_entries(rows, noise)))
    return made


def group_table(section: Section) -> str:
    """Who was trusted, in Markdown."""
    head = "| method | class | group | samples | selected | label precision | label recall |\n"
    lines = [
        f"| {each.method} | {in_cell(each.label)} | {in_cell(each.group)}"
        f"{'*' if each.small else ''} | {each.n:.0f} | "
        f"{percent(each.selection_rate)} | {percent(each.label_precision)} | "
        f"{percent(each.label_recall)} |\n"
        for each in section.groups
    ]
    return head + "| --- | --- | --- | ---: | ---: | ---: | ---: |\n" + "".join(lines)


def in_cell(name: str) -> str:
    r"""A name that neither ends its cell nor its line.

    >>> print(in_cell("a|b"))
    a\|b
    """
    return shorten(name, 60).replace("|", "\\|")


def unfinished(rows: Sequence[Row]) -> list[Row]:
    """Cells that failed or were skipped."""
    return [row for row in rows if row["status"] != "done"]


def introduction(rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    """What was compared, in a sentence."""
    done = [row for row in rows if row["status"] == "done"]
    if not done:
        return "No cell is finished."
    seeds = len({row["seed"] for row in done})
    first = done[0]
    return (
        f"{facts.get('data', 'data')}: {first['n']:,} samples trained, {first['n_validation']:,} "
        f"to choose an epoch by, {first['n_test']:,} tested, {first['classes']} classes; "
        f"{first['epochs']} epochs, {seeds} seed{'s' if seeds > 1 else ''}."
    )


def render_markdown(rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    """The report in Markdown.

    Args:
        rows: Of all cells, with their status.
        facts: "data", "command" and "thresher": where the figures come from.
    """
    text = [
        "# Methods against label noise\n",
        introduction(rows, facts) + "\n",
        f"Made by `{facts['command']}` (thresher {facts['thresher']}). {LEGEND}\n",
    ]
    for section in sections(rows):
        realised = "" if section.realised is None else f" ({percent(section.realised)} wrong)"
        text.append(f"## {section.heading}{realised}\n")
        if section.verdict:
            text.append(section.verdict + "\n")
        for part in PARTS:
            table = markdown_table(section.found, part.figures)
            if table:
                text += [f"### {part.title}\n", part.note + "\n", table]
        if section.groups:
            text += [f"### {TRUSTED_BY_GROUP}\n", TRUSTED_NOTE + "\n", group_table(section)]
    left = unfinished(rows)
    if left:
        text.append("## Cells without a figure\n")
        text += [
            f"- {row['method']}, {row['noise']}, seed {row['seed']}: {row['status']}, "
            f"{row['reason']}"
            for row in left
        ]
        text.append("")
    return "\n".join(text)


def render_html(rows: Sequence[Row], facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The report as one self-contained page.

    Args:
        rows: Of all cells, with their status.
        facts: As of `render_markdown`.
        settings: Names and values to list.
    """
    # the style sheet is the audit report's
    environment = report_environment("thresher.bench", "thresher.audit")
    return environment.get_template("report.html.jinja").render(
        introduction=introduction(rows, facts),
        legend=LEGEND,
        facts=facts,
        sections=sections(rows),
        parts=PARTS,
        shown=shown_figures,
        is_best=is_best,
        dots=lambda section: accuracy_dots(
            section.found, "last", title=f"Last test accuracy, noise {section.noise}"
        ),
        curves=lambda section: accuracy_curves(
            section.found, title=f"Test accuracy along the training, noise {section.noise}"
        ),
        drawn=lambda section: drawn_methods(section.found),
        unfinished=unfinished(rows),
        settings=list(settings.items()),
        by_group=TRUSTED_BY_GROUP,
        by_group_note=TRUSTED_NOTE,
    )


def shown_figures(section: Section, part: Part) -> list[Figure]:
    """The columns of a table that have a figure at all."""
    return [
        each for each in part.figures if any(each.name in entry.figures for entry in section.found)
    ]
