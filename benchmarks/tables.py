"""Tables and bars in Markdown, from the lines of a benchmark: means over seeds with their range."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean
from typing import Any

from cells import Line

__all__ = [
    "Bar",
    "Lines",
    "Values",
    "bars",
    "difference",
    "greatest",
    "percent",
    "plain",
    "seeds",
    "table",
]

Values = list[float]


@dataclass(frozen=True)
class Lines:
    """Lines of the results, narrowed down by what their cells say."""

    lines: tuple[Line, ...]

    def where(self, **wanted: Any) -> Lines:
        """Those whose entries are these."""
        return Lines(
            tuple(
                line
                for line in self.lines
                if all(line.get(name) == value for name, value in wanted.items())
            )
        )

    def values(self, figure: str) -> Values:
        """A figure of each; "a.b" looks into a. Missing ones are left out."""
        found = []
        for line in self.lines:
            value: Any = line
            for part in figure.split("."):
                value = None if value is None else value.get(part)
            if value is not None:
                found.append(float(value))
        return found

    def mean(self, figure: str) -> float | None:
        """The mean over seeds; None without lines."""
        values = self.values(figure)
        return mean(values) if values else None

    def distinct(self, name: str) -> list[Any]:
        """What the cells say of a name, in order of appearance."""
        return list(dict.fromkeys(line[name] for line in self.lines if name in line))


def percent(values: Values, digits: int = 1) -> str:
    """Mean, and the range where there are several: 76.0 (75.1–76.5)."""
    if not values:
        return "–"
    words = f"{100 * mean(values):.{digits}f}"
    if len(values) > 1:
        words += f" ({100 * min(values):.{digits}f}–{100 * max(values):.{digits}f})"
    return words


def plain(values: Values, digits: int = 3) -> str:
    """The same, not in per cent."""
    if not values:
        return "–"
    words = f"{mean(values):.{digits}f}"
    if len(values) > 1:
        words += f" ({min(values):.{digits}f}–{max(values):.{digits}f})"
    return words


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table, the first column to the left."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


@dataclass(frozen=True)
class Bar:
    """A threshold and what was measured; missing figures make no verdict."""

    words: str
    measured: float | None
    least: float | None = None
    most: float | None = None
    scale: float = 100  # figures are shown times this

    def row(self) -> list[str]:
        """As a row of a table."""
        limits = [
            f"{sign} {self.scale * limit:.4g}"
            for sign, limit in (("≥", self.least), ("≤", self.most))
            if limit is not None
        ]
        if self.measured is None:
            return [self.words, " and ".join(limits), "–", "not measured"]
        short = max(
            (self.least - self.measured) if self.least is not None else 0.0,
            (self.measured - self.most) if self.most is not None else 0.0,
        )
        met = "met" if short <= 1e-9 else f"**missed by {self.scale * short:.3g}**"
        return [self.words, " and ".join(limits), f"{self.scale * self.measured:.3g}", met]


def bars(rows: list[Bar]) -> str:
    """The bars as a table."""
    return table(["bar", "required", "measured", ""], (bar.row() for bar in rows))


def difference(first: float | None, second: float | None) -> float | None:
    """first - second, where both are known."""
    return None if first is None or second is None else first - second


def greatest(*values: float | None) -> float | None:
    """The largest of those that are known."""
    known = [value for value in values if value is not None]
    return max(known) if known else None


def seeds(lines: Lines) -> str:
    """How many seeds a section rests on."""
    count = len(lines.distinct("seed"))
    return "one seed" if count == 1 else f"{count} seeds: mean (smallest–largest)"
