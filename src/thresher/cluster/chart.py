"""What the pictures of clustering share: scales, the grid and frame of a panel, words around it.

scale across, scale up → grid → (the caller's points or lines) → frame → title
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

__all__ = [
    "BOTTOM",
    "FAINT",
    "GRID",
    "HEIGHT",
    "INK",
    "LEFT",
    "TOP",
    "WIDTH",
    "Scale",
    "draw_frame",
    "draw_grid",
    "draw_title",
    "font",
    "linear",
    "logarithmic",
]

INK, FAINT, GRID = "#222222", "#666666", "#e4e4e4"
WIDTH, HEIGHT = 1000, 720  # of the largest panel, in pixels
LEFT, TOP, BOTTOM = 96, 84, 64  # pixels around it


class Scale(NamedTuple):
    """One side of a panel."""

    low: float
    high: float
    pixels: int
    ticks: tuple[tuple[float, str], ...]  # where, and what stands there
    name: str
    decades: bool = False  # equal ratios are equally far apart

    def pixel(self, value: float) -> int:
        """How far a value is from the low end, in pixels."""
        return round(self.share(value) * self.pixels)

    def share(self, value: float) -> float:
        """The same as a share of the side."""
        if self.decades:
            whole = math.log(self.high / self.low)
            return math.log(value / self.low) / whole
        return (float(value) - self.low) / (self.high - self.low)


def linear(low: float, high: float, pixels: int, most: int, name: str) -> Scale:
    """A scale with at most so many ticks, at round numbers."""
    values = _ticks(low, high, most)
    ticks = tuple(zip(values, _tick_words(values), strict=True))
    return Scale(low, high, pixels, ticks, name)


def logarithmic(low: float, high: float, pixels: int, name: str) -> Scale:
    """A scale with ticks at 1, 2 and 5 times powers of ten, or at the powers alone.

    Args:
        low: Above 0.
        high: Above ``low``.
        pixels: Of the side.
        name: What is measured.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    digits = (1, 2, 5) if last - first <= 4 else (1,)
    step = max(1, (last - first) // 8)
    values = [
        float(f"{digit}e{power}")
        for power in range(first, last + 1)
        if power % step == 0
        for digit in digits
    ]
    values = [each for each in values if low <= each <= high]
    if len(values) < 2:  # a narrow range holds no powers of ten
        values = _ticks(low, high, 6)
    return Scale(low, high, pixels, tuple((each, f"{each:,.7g}") for each in values), name, True)


# ---------------------------------------------------------------------- drawing
def draw_grid(pen: ImageDraw.ImageDraw, across: Scale, up: Scale) -> None:
    """Draw faint lines at the ticks, below everything else."""
    for value, _ in across.ticks:
        x = LEFT + across.pixel(value)
        pen.line((x, TOP, x, TOP + up.pixels), GRID)
    for value, _ in up.ticks:
        y = TOP + up.pixels - up.pixel(value)
        pen.line((LEFT, y, LEFT + across.pixels, y), GRID)


def draw_frame(pen: ImageDraw.ImageDraw, across: Scale, up: Scale) -> None:
    """Draw the frame, the numbers at the ticks, and the names of both sides."""
    letters, floor = font(14), TOP + up.pixels
    for value, word in across.ticks:
        x = LEFT + across.pixel(value)
        pen.line((x, floor, x, floor + 4), FAINT)
        pen.text((x, floor + 8), word, FAINT, letters, anchor="ma")
    for value, word in up.ticks:
        y = floor - up.pixel(value)
        pen.line((LEFT - 4, y, LEFT, y), FAINT)
        pen.text((LEFT - 8, y), word, FAINT, letters, anchor="rm")
    pen.rectangle((LEFT, TOP, LEFT + across.pixels, floor), outline=FAINT)
    middle = LEFT + across.pixels // 2
    pen.text((middle, floor + 34), _short(across.name, 60), INK, font(16), anchor="ma")
    _upright(pen, _short(up.name, max(20, up.pixels // 12)), (24, TOP + up.pixels // 2))


def draw_title(pen: ImageDraw.ImageDraw, words: str, notes: Sequence[str]) -> None:
    """Write what was found, and below it what it was found in."""
    pen.text((LEFT, 18), words, INK, font(26))
    pen.text((LEFT, 54), " · ".join(notes), FAINT, font(14))


def font(size: int) -> Any:
    """The font that Pillow brings along."""
    return ImageFont.load_default(size=size)


def _short(text: str, limit: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _upright(pen: ImageDraw.ImageDraw, text: str, middle: tuple[int, int]) -> None:
    """Write from below to above."""
    letters = font(16)
    left, top, right, bottom = letters.getbbox(text)
    size = math.ceil(right - left) + 4, math.ceil(bottom - top) + 4
    strip = Image.new("L", size, 0)
    ImageDraw.Draw(strip).text((2 - left, 2 - top), text, 255, letters)
    turned = strip.rotate(90, expand=True)
    place = middle[0] - turned.width // 2, middle[1] - turned.height // 2
    pen.bitmap(place, turned, INK)


# ---------------------------------------------------------------------- ticks
def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers within a range: at most so many, but two where there is room.

    >>> _ticks(0.0, 1.0, 5), _ticks(-122.52, -122.36, 6)[:2]
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [-122.5, -122.45])
    """
    span = float(high) - float(low)
    if not (span > 0 and math.isfinite(span)):
        return [float(low)]
    rough = span / max(2, most)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [round(number * step, digits) + 0.0 for number in range(first, last + 1)]


def _tick_words(values: Sequence[float]) -> list[str]:
    """As many digits as tell them apart, the same for all.

    >>> _tick_words([-0.5, 0.0, 0.25]), _tick_words([0.0, 2000.0]), _tick_words([0.0, 3e9])
    (['-0.50', '0.00', '0.25'], ['0', '2,000'], ['0e+00', '3e+09'])
    """
    largest = max((abs(value) for value in values), default=0.0)
    if largest >= 1e7 or 0 < largest < 1e-4:
        return [f"{value:.3g}" if value % 1e6 else f"{value:.0e}" for value in values]
    for digits in range(9):
        words = [f"{value:,.{digits}f}" for value in values]
        exact = all(abs(float(f"{value:.{digits}f}") - value) < 1e-12 for value in values)
        if exact:
            return words
    return [f"{value:.6g}" for value in values]
