"""The report's pictures: small inline SVG drawings without any library.

Every function returns safe markup; all text that comes from outside is escaped. Colours are left to
the page's style sheet (classes and CSS variables), so that one drawing serves light and dark. The
drawings are about as wide as a phone, so their text stays readable when they shrink to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from thresher.audit.verdicts import NoiseRate

__all__ = [
    "Line",
    "history_strip",
    "line_chart",
    "nice_ticks",
    "noise_gauge",
    "precision_curve",
    "score_histogram",
]

_WIDTH, _HEIGHT = 480, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 14, 14, 44
_PLOT_RIGHT, _PLOT_BOTTOM = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

_BINS = 50
_CURVE_POINTS = 400  # of a precision curve; more cannot be told apart
_STRIP_WIDTH, _STRIP_HEIGHT, _STRIP_POINTS = 120, 24, 40


@dataclass(frozen=True)
class Line:
    """One curve: its name in the legend, its CSS class, and (x, y) points; y None leaves a gap."""

    name: str
    style: str
    points: Sequence[tuple[float, float | None]]

    @property
    def drawn(self) -> list[tuple[float, float]]:
        """The points that have a finite value."""
        return [(x, y) for x, y in self.points if y is not None and math.isfinite(y)]


def line_chart(lines: Sequence[Line], *, title: str, x_label: str, percent: bool = False) -> Markup:
    """Draw curves over a common axis; curves without a point are left out.

    Args:
        lines: The curves.
        title: What the picture shows, for screen readers.
        x_label: Name of the horizontal axis.
        percent: Values are shares and are labelled in per cent.
    """
    drawn = [line.drawn for line in lines]
    xs = [x for points in drawn for x, _ in points]
    ys = [y for points in drawn for _, y in points]
    if not xs:
        return Markup("")
    y_ticks = nice_ticks(min(ys), max(ys), 5)
    x_ticks = [tick for tick in nice_ticks(min(xs), max(xs), 6) if min(xs) <= tick <= max(xs)]
    x_at = _scale(min(xs), max(xs), _LEFT, _PLOT_RIGHT)
    y_at = _scale(y_ticks[0], y_ticks[-1], _PLOT_BOTTOM, _TOP)
    parts = [_y_axis(y_ticks, y_at, _percent_label if percent else _plain_label)]
    parts += [_x_tick(x_at(tick), _plain_label(tick)) for tick in x_ticks]
    parts.append(_x_name(x_label))
    for line, points in zip(lines, drawn, strict=True):
        parts.append(_curve(line, x_at, y_at, single=len(points) == 1))
    return _drawing(title, parts)


def score_histogram(
    scores: NDArray[np.float32], flagged: NDArray[np.bool_], *, title: str
) -> Markup:
    """Draw how the label scores are spread, with the flagged rows in front.

    Heights grow with the square root of the count: the few suspects stay visible beside the many
    right labels. Both kinds of bar start at zero and overlap. One line marks the tie at 0.5,
    another the highest score that is flagged.

    Args:
        scores: (R,) label scores in [0, 1], none missing.
        flagged: (R,) rows that are label issues.
        title: What the picture shows, for screen readers.
    """
    if not len(scores):
        return Markup("")
    everything, _ = np.histogram(scores, bins=_BINS, range=(0.0, 1.0))
    suspects, _ = np.histogram(scores[flagged], bins=_BINS, range=(0.0, 1.0))
    x_at = _scale(0.0, 1.0, _LEFT, _PLOT_RIGHT)
    root_at = _scale(0.0, math.sqrt(everything.max()), _PLOT_BOTTOM, _TOP + 30)

    def y_at(count: float) -> float:
        return root_at(math.sqrt(count))

    parts = [_y_axis(_root_ticks(int(everything.max())), y_at, _count_label)]
    for counts, style in ((everything, "bar-all"), (suspects, "bar-flagged")):
        for number, count in enumerate(counts):
            if count:
                left, right, top = x_at(number / _BINS), x_at((number + 1) / _BINS), y_at(count)
                parts.append(
                    Markup(
                        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
                    ).format(style, left + 0.5, top, right - left - 1.0, _PLOT_BOTTOM - top)
                )
    parts += [_x_tick(x_at(tick), f"{tick:g}") for tick in (0.0, 0.25, 0.5, 0.75, 1.0)]
    last = float(scores[flagged].max()) if flagged.any() else None
    after = last is not None and last > 0.5
    parts.append(_mark(x_at(0.5), "tie with the rival", "tie", left=after))
    if last is not None:
        parts.append(_mark(x_at(last), f"suspect up to {last:.2f}", "limit", left=not after))
        title = f"{title}; {int(flagged.sum()):,} of {len(scores):,} are suspect, up to {last:.2f}"
    parts.append(_x_name("← suspect · label score · right →"))
    return _drawing(title, parts)


def precision_curve(shares: NDArray[np.float64], *, title: str) -> Markup:
    """Draw the share of wrong labels among the first k rows of a ranking, for k = 1..K.

    Args:
        shares: (K,) in [0, 1].
        title: What the picture shows, for screen readers.
    """
    if not len(shares):
        return Markup("")
    number = len(shares)
    chosen = np.unique(np.linspace(1, number, min(number, _CURVE_POINTS)).round().astype(int))
    points = [(float(k), float(shares[k - 1])) for k in chosen]
    x_ticks = [tick for tick in nice_ticks(0, number, 5) if tick <= number]
    x_at = _scale(0.0, number, _LEFT, _PLOT_RIGHT)
    y_at = _scale(0.0, 1.0, _PLOT_BOTTOM, _TOP)
    parts = [
        _y_axis((0.0, 0.25, 0.5, 0.75, 1.0), y_at, _percent_label),
        *(_x_tick(x_at(tick), _count_label(tick)) for tick in x_ticks),
        _x_name("k, the most suspect decided samples"),
        _curve(Line("precision", "precision", points), x_at, y_at, single=number == 1),
    ]
    return _drawing(f"{title}: {_percent_label(float(shares[-1]))} of {number:,}", parts)


def history_strip(history: NDArray[np.float32]) -> Markup:
    """Draw how probable the given label was in each epoch, as a small area from 0 to 1.

    Long histories are averaged over neighbouring epochs.

    Args:
        history: (E,) in [0, 1].
    """
    if not len(history):
        return Markup("")
    pieces = np.array_split(history, min(len(history), _STRIP_POINTS))
    values = [float(piece.mean()) for piece in pieces]
    values = values * 2 if len(values) == 1 else values
    x_at = _scale(0, len(values) - 1, 0, _STRIP_WIDTH)
    y_at = _scale(0.0, 1.0, _STRIP_HEIGHT, 0)
    line = "L".join(f"{x_at(place):.0f} {y_at(value):.0f}" for place, value in enumerate(values))
    first, last = (_percent_label(round(float(history[place]), 2)) for place in (0, -1))
    return Markup(
        '<svg class="strip" viewBox="0 0 {0} {1}" preserveAspectRatio="none" role="img" '
        'aria-label="Probability of the given label: {2} in the first epoch, {3} in the last">'
        '<path class="area" d="M0 {1}L{4}L{0} {1}z"/><path class="top" d="M{4}"/></svg>'
    ).format(_STRIP_WIDTH, _STRIP_HEIGHT, first, last, line)


def noise_gauge(rate: NoiseRate) -> Markup:
    """Draw the estimated noise rate as a point on its interval, with the held-out rate beside."""
    known = [rate.high, rate.estimate, rate.held_out or 0.0]
    end = nice_ticks(0.0, max(0.01, 1.15 * max(known)), 4)[-1]
    x_at = _scale(0.0, min(1.0, end), 12, _WIDTH - 12)
    ticks = [tick for tick in nice_ticks(0.0, min(1.0, end), 4) if tick <= end + 1e-9]
    parts = [
        Markup('<rect class="track" x="12" y="40" width="{}" height="14" rx="7"/>').format(
            _WIDTH - 24
        ),
        Markup('<rect class="band" x="{:.1f}" y="40" width="{:.1f}" height="14" rx="7"/>').format(
            x_at(rate.low) - 3, x_at(rate.high) - x_at(rate.low) + 6
        ),
    ]
    if rate.held_out is not None:
        parts.append(
            Markup(
                '<path class="held-out-mark" d="M{0:.1f} 33 l6 -9 h-12 z"><title>on held-out rows: '
                "{1}</title></path>"
            ).format(x_at(rate.held_out), _percent_label(rate.held_out))
        )
    parts.append(
        Markup('<circle class="point" cx="{:.1f}" cy="47" r="9"/>').format(x_at(rate.estimate))
    )
    for tick in ticks:
        parts.append(
            Markup('<text class="tick" x="{:.1f}" y="76" text-anchor="{}">{}</text>').format(
                x_at(tick),
                "start" if tick == 0 else "end" if tick == ticks[-1] else "middle",
                _percent_label(tick),
            )
        )
    return _drawing(
        f"Estimated noise rate {_percent_label(rate.estimate)}, "
        f"between {_percent_label(rate.low)} and {_percent_label(rate.high)}",
        parts,
        top=18,
        height=66,
    )


def nice_ticks(low: float, high: float, number: int) -> list[float]:
    """Round values, in steps of 1, 2 or 5 times a power of ten, that enclose low..high.

    >>> nice_ticks(0.13, 0.92, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / max(1, number)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1.0, 2.0, 5.0, 10.0) if f * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * number, 12) for number in range(first, last + 1)]


def _drawing(title: str, parts: Sequence[Markup], *, top: int = 0, height: int = _HEIGHT) -> Markup:
    head = Markup('<svg viewBox="0 {} {} {}" role="img" aria-label="{}">').format(
        top, _WIDTH, height, title
    )
    return head + Markup("").join(parts) + Markup("</svg>")


def _curve(
    line: Line, x_at: Callable[[float], float], y_at: Callable[[float], float], *, single: bool
) -> Markup:
    if single:
        ((x, y),) = line.drawn
        return Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(
            line.style, x_at(x), y_at(y)
        )
    commands, pen_down = [], False
    for epoch, value in line.points:
        if value is None or not math.isfinite(value):
            pen_down = False
            continue
        commands.append(f"{'L' if pen_down else 'M'}{x_at(epoch):.1f} {y_at(value):.1f}")
        pen_down = True
    return Markup('<path class="curve {}" d="{}"/>').format(line.style, " ".join(commands))


def _y_axis(
    ticks: Sequence[float], y_at: Callable[[float], float], label: Callable[[float], str]
) -> Markup:
    return Markup("").join(
        Markup(
            '<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>'
            '<text class="tick" x="{3}" y="{4:.1f}" text-anchor="end">{5}</text>'
        ).format(_LEFT, _PLOT_RIGHT, y_at(tick), _LEFT - 7, y_at(tick) + 4, label(tick))
        for tick in ticks
    )


def _x_tick(x: float, label: str) -> Markup:
    return Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
        x, _PLOT_BOTTOM + 17, label
    )


def _mark(x: float, name: str, style: str, *, left: bool) -> Markup:
    """A dashed upright line with its name, written to the left or to the right of it."""
    return Markup(
        '<line class="threshold {0}" x1="{1:.1f}" x2="{1:.1f}" y1="{2}" y2="{3}"/>'
        '<text class="mark {0}" x="{4:.1f}" y="{5}" text-anchor="{6}">{7}</text>'
    ).format(
        style, x, _TOP, _PLOT_BOTTOM, x - 6 if left else x + 6, _TOP + 9,
        "end" if left else "start", name,
    )  # fmt: skip


def _x_name(name: str) -> Markup:
    return Markup('<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text>').format(
        (_LEFT + _PLOT_RIGHT) / 2, _HEIGHT - 7, escape(name)
    )


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _root_ticks(highest: int) -> list[float]:
    """Counts 0, 1, 10, 100, … plus the highest decade's 2 and 5, where they leave room."""
    ticks = [0.0]
    for power in range(int(math.log10(max(1, highest))) + 1):
        for factor in (1, 2, 5):
            value = float(factor * 10**power)
            far = math.sqrt(value) - math.sqrt(ticks[-1]) >= 0.14 * math.sqrt(highest)
            if value <= highest and far:
                ticks.append(value)
    return ticks


def _plain_label(value: float) -> str:
    return f"{value:.10g}"


def _percent_label(value: float) -> str:
    return f"{100 * value:.3g} %"


def _count_label(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:g}k" if value < 1_000_000 else f"{value / 1_000_000:g}M"
    return f"{int(value):,}"
