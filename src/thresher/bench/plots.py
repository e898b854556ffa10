"""The pictures of a benchmark's report: inline SVG in the look of the audit's charts."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from thresher.audit.charts import Line, line_chart, nice_ticks
from thresher.bench.settings import BASELINE, PEER
from thresher.bench.tables import Entry

__all__ = ["accuracy_curves", "accuracy_dots", "drawn_methods"]

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP, _LETTER = 480, 150, 28, 22, 10, 7


def accuracy_dots(found: Sequence[Entry], figure: str, *, title: str) -> Markup:
    """Draw one dot a method, with the range over seeds, the best at the top.

    Args:
        found: Methods under one kind of noise.
        figure: An accuracy, in [0, 1].
        title: What the picture shows, for screen readers.
    """
    shown = [entry for entry in found if figure in entry.figures]
    if not shown:
        return Markup("")
    shown.sort(key=lambda entry: -entry.figures[figure].mean)
    lows = [entry.figures[figure].low for entry in shown]
    highs = [entry.figures[figure].high for entry in shown]
    ticks = nice_ticks(min(lows), max(highs), 5)
    bottom = _TOP + _ROW * len(shown)
    left = max(_LEFT, min(_WIDTH // 2, 10 + _LETTER * max(len(each.title) for each in shown)))
    span = _WIDTH - left - _RIGHT

    def x_at(value: float) -> float:
        return left + (value - ticks[0]) / (ticks[-1] - ticks[0]) * span

    parts = [
        Markup(
            '<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
            '<text class="tick" x="{0:.1f}" y="{3}" text-anchor="middle">{4}</text>'
        ).format(x_at(tick), _TOP, bottom, bottom + 18, f"{100 * tick:.3g} %")
        for tick in ticks
    ]
    for number, entry in enumerate(shown):
        spread = entry.figures[figure]
        y = _TOP + _ROW * (number + 0.5)
        style = "trained" if entry.method == BASELINE else "test"
        parts.append(
            Markup(
                '<text class="tick" x="{0}" y="{1:.1f}" text-anchor="end">{2}</text>'
                '<line class="curve {3}" x1="{4:.1f}" x2="{5:.1f}" y1="{6:.1f}" y2="{6:.1f}"/>'
                '<circle class="dot {3}" cx="{7:.1f}" cy="{6:.1f}" r="4"/>'
            ).format(
                left - 10, y + 4, entry.title, style,
                x_at(spread.low), x_at(spread.high), y, x_at(spread.mean),
            )
        )  # fmt: skip
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        _WIDTH, bottom + 28, title
    )
    return head + Markup("").join(parts) + Markup("</svg>")


def drawn_methods(found: Sequence[Entry]) -> list[tuple[Entry, str]]:
    """The methods whose curves are drawn, with the look of each: standard, the best, the peer.

    One with all the seeds goes before one that lacks some.
    """
    by_name = {entry.method: entry for entry in found}
    others = [each for each in found if each.method not in (BASELINE, PEER) and each.curve]
    best = max(others, key=lambda entry: (entry.whole, entry.curve[-1]), default=None)
    chosen = [(by_name.get(BASELINE), "trained"), (best, "test"), (by_name.get(PEER), "loss")]
    return [(entry, style) for entry, style in chosen if entry is not None and entry.curve]


def accuracy_curves(found: Sequence[Entry], *, title: str) -> Markup:
    """Draw test accuracy along the training, of the methods of `drawn_methods`."""
    lines = [
        Line(entry.title, style, [(float(number), y) for number, y in enumerate(entry.curve, 1)])
        for entry, style in drawn_methods(found)
    ]
    return line_chart(lines, title=title, x_label="epoch", percent=True)
