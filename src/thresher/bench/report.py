"""The report of a benchmark: one HTML file that opens anywhere, and the same tables in Markdown.

rows → entries (tables.py) → a section for every kind of noise → report.html, report.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
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
    seeds_in_words,
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
        "with another label; correction error: share of those labels that is wrong. Transition "
        "matrix, error: how far its rows are off, in total variation. A dash: the method trusts "
        "every label, replaces none, has estimated no noise rate, or knows of no matrix.",
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
    "one is better; one over fewer seeds than the others' never is."
)


@dataclass(frozen=True)
class Section:
    """Everything of one kind of noise.

    Attributes:
        noise: As it was named.
        realised: Share of wrong labels among the trained samples, the mean.
        found: A method each.
        worse: Methods whose last accuracy is below that of standard training, on the seeds that
            both have; those are named where others have more.
        alone: Methods that have no seed in common with standard training.
        groups: Who was trusted, by method, class and group; none where groups are not compared.
        seeds: Of the section, where other sections have more; else none.
    """

    noise: str
    realised: float | None
    found: list[Entry]
    worse: list[str]
    alone: list[str]
    groups: list[GroupEntry]
    seeds: tuple[int, ...]

    @property
    def heading(self) -> str:
        """For people."""
        seeds = f", {seeds_in_words(self.seeds)}" if self.seeds else ""
        return f"Noise: {self.noise}{seeds}"

    @property
    def verdict(self) -> str:
        """Who loses to standard training, by name."""
        rated = [each for each in self.found if each.method not in (BASELINE, PEER)]
        if not any(each.method == BASELINE for each in self.found) or not rated:
            return ""
        words = ""
        if self.worse:
            words = f"Below standard training at the end: {', '.join(self.worse)}."
        elif any(each.method not in (BASELINE, *self.alone) for each in self.found):
            common = (
                "" if all(each.whole for each in self.found) else ", on the seeds that both have"
            )
            words = f"No method ends below standard training{common}."
        if self.alone:
            words += f" Without a seed in common with it: {', '.join(self.alone)}."
        return words.strip()


def sections(rows: Sequence[Row]) -> list[Section]:
    """The finished cells by kind of noise, in their order."""
    everything = entries(rows)
    all_seeds = {seed for each in everything for seed in each.seeds}
    made = []
    for noise in dict.fromkeys(each.noise for each in everything):
        found = [each for each in everything if each.noise == noise]
        done = [row for row in rows if row["noise"] == noise and row["status"] == "done"]
        rates = [row["noise_rate"] for row in done]
        seeds = {row["seed"] for row in done}
        worse, alone = beside_standard(done, [each.method for each in found], len(seeds))
        made.append(
            Section(
                noise,
                sum(rates) / len(rates) if rates else None,
                found,
                worse,
                alone,
                group_entries(rows, noise),
                () if seeds == all_seeds else tuple(sorted(seeds)),
            )
        )
    return made


def beside_standard(
    done: Sequence[Row], methods: Sequence[str], seeds: int
) -> tuple[list[str], list[str]]:
    """The methods that end below standard training, and those that cannot be compared with it.

    Seeds are compared that both have: another seed is another problem.

    Args:
        done: Finished cells of one kind of noise.
        methods: Which.
        seeds: How many there are; a method that is compared on fewer names them.
    """
    last = {(row["method"], row["seed"]): row["last"] for row in done}
    standard = {seed: value for (method, seed), value in last.items() if method == BASELINE}
    worse, alone = [], []
    for method in methods:
        common = sorted(seed for seed in standard if (method, seed) in last)
        if not common:
            alone += [method] if standard else []
        elif mean(last[method, seed] for seed in common) < mean(standard[seed] for seed in common):
            few = f" ({seeds_in_words(common)})" if len(common) < seeds else ""
            worse.append(method + few)
    return worse, alone


def group_table(section: Section) -> str:
    """Who was trusted, in Markdown."""
    head = "| method | class | group | samples | selected | label precision | label recall |\n"
    titles = {each.method: each.title for each in section.found}
    lines = [
        f"| {titles[each.method]} | {in_cell(each.label)} | {in_cell(each.group)}"
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


@dataclass(frozen=True)
class Missing:
    """Cells of one method and noise that have no figure, for one reason."""

    method: str
    noise: str
    status: str
    reason: str
    seeds: tuple[int, ...]


def unfinished(rows: Sequence[Row]) -> list[Missing]:
    """Cells that failed, were skipped, or were not come to."""
    found: dict[tuple[str, str, str, str], list[int]] = {}
    for row in rows:
        if row["status"] != "done":
            key = (row["method"], row["noise"], row["status"], row["reason"])
            found.setdefault(key, []).append(row["seed"])
    return [Missing(*key, tuple(sorted(seeds))) for key, seeds in found.items()]


def introduction(rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    """What was compared, in a sentence."""
    done = [row for row in rows if row["status"] == "done"]
    if not done:
        return "No cell is finished."
    seeds = len({row["seed"] for row in done})
    fewest = min(len(each.seeds) for each in entries(rows))
    words = f"{seeds} seed{'s' if seeds > 1 else ''}"
    if fewest < seeds:
        words = f"{fewest} to {seeds} seeds: where there are fewer than elsewhere, they are named"
    first = done[0]
    return (
        f"{facts.get('data', 'data')}: {first['n']:,} samples trained, {first['n_validation']:,} "
        f"to choose an epoch by, {first['n_test']:,} tested, {first['classes']} classes; "
        f"{first['epochs']} epochs, {words}."
    )


def render_markdown(rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    """The report in Markdown.

    Args:
        rows: Of all cells, those without a figure among them, with their status.
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
            f"- {each.method}, {each.noise}, {seeds_in_words(each.seeds)}: {each.status}, "
            f"{each.reason}"
            for each in left
        ]
        text.append("")
    return "\n".join(text)


def render_html(rows: Sequence[Row], facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The report as one self-contained page.

    Args:
        rows: Of all cells, those without a figure among them, with their status.
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
