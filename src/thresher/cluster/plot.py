"""A picture of clusters: every pixel shows which cluster most of its points are of.

    points → at most a million → bins of pixels → noise below, clusters above → axes and legend

Like a density plot, a pixel is the darker the more points it holds, on a logarithmic scale; unlike
a scatter plot, nothing hides behind what was drawn later. Few points are drawn as discs.

The colours are Paul Tol's "muted" scheme, made for people with any kind of colour vision; the
largest clusters get the first ones. They repeat after nine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from thresher.cluster.points import Points
from thresher.whole_file import whole_file

__all__ = ["MOST_POINTS", "draw"]

MOST_POINTS = 1_000_000
COLOURS = (
    *("#332288", "#cc6677", "#117733", "#88ccee", "#aa4499"),
    *("#ddaa33", "#44aa99", "#882255", "#999933"),
)
NOISE, INK, FAINT, GRID = "#9a9a9a", "#222222", "#666666", "#e4e4e4"

WIDTH, HEIGHT = 1000, 720  # of the picture's largest panel, in pixels
LEFT, TOP, RIGHT, BOTTOM = 96, 84, 240, 64
MARGIN = 0.02  # of a side, between the outermost points and the frame
FAR = 0.001  # of the points, at either end, that may lie outside when they would squeeze the rest
SQUEEZED = 4.0
LEGEND = 9
RADII = ((500, 4.0), (5000, 3.0), (20_000, 2.0), (60_000, 1.0))  # below so many pixels, of a disc
CROWD = 200_000  # points whose discs would smear the fine structure that they show


class Window(NamedTuple):
    """What the panel shows."""

    low: NDArray[np.float64]  # (2,) across, up
    high: NDArray[np.float64]
    width: int  # pixels
    height: int
    outside: int  # points that lie beyond it


def draw(
    points: Points,
    labels: NDArray[np.int32],
    path: str | Path,
    columns: Sequence[str] | None = None,
    *,
    geographic: bool = False,
) -> int:
    """Draw clusters into a PNG; of more than two coordinates, the first two.

    Args:
        points: N finite rows.
        labels: (N,) clusters, -1 for noise.
        path: Where the picture appears, whole or not at all.
        columns: Names of the coordinates; None numbers them.
        geographic: The first two are latitude and longitude in degrees: north is up.

    Returns:
        The number of points drawn: every k-th, so that there are at most a million.

    Raises:
        RunError: the picture cannot be written.
    """
    step = max(1, math.ceil(points.rows / MOST_POINTS))
    shown, across_up = _drawn(points, step, geographic)
    names = _axis_names(columns, points.dimension, geographic)
    window = _window(across_up, geographic, same_scale=points.dimension > 1)
    sizes = np.bincount(labels[labels >= 0]) if points.rows else np.zeros(0, np.int64)
    by_size = np.argsort(-sizes, kind="stable")
    colour_of = np.empty(len(sizes) + 1, np.int64)  # the last for noise, which is -1
    colour_of[by_size] = np.arange(len(sizes)) % len(COLOURS)
    colour_of[-1] = -1
    panel = _panel(across_up, colour_of[labels[shown]], window)

    width = LEFT + window.width + RIGHT
    image = Image.new("RGB", (width, TOP + window.height + BOTTOM), "white")
    pen = ImageDraw.Draw(image)
    _grid(pen, window)
    image.paste(Image.fromarray(panel), (LEFT, TOP), _mask(panel))
    _frame(pen, window, names)
    _title(pen, labels, len(sizes), _notes(points, step, window, names, columns))
    _legend(pen, window, labels, sizes, by_size)
    with whole_file(path) as aside:
        image.save(aside, format="PNG", optimize=True)
    return len(shown)


# ---------------------------------------------------------------------- points
def _drawn(
    points: Points, step: int, geographic: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Every ``step``-th row: their numbers, and (n, 2) where they lie, across and up."""
    numbers = np.arange(0, points.rows, step, dtype=np.int64)
    places = np.empty((len(numbers), 2))
    for part in range(len(points.starts) - 1):
        start, stop = int(points.starts[part]), int(points.starts[part + 1])
        first, last = np.searchsorted(numbers, (start, stop))
        rows = points.part(part)[numbers[first:last] - start, :2]
        if rows.shape[1] == 1:  # on a line: the height is the row
            rows = np.column_stack([rows, numbers[first:last]])
        places[first:last] = rows[:, ::-1] if geographic else rows
    return numbers, places


def _axis_names(columns: Sequence[str] | None, dimension: int, geographic: bool) -> tuple[str, str]:
    names = [f"column {j}" for j in range(dimension)] if columns is None else list(columns)
    if dimension == 1:
        return names[0], "row"
    return (names[1], names[0]) if geographic else (names[0], names[1])


def _window(places: NDArray[np.float64], geographic: bool, *, same_scale: bool) -> Window:
    """The range that is shown, and pixels for it."""
    if not len(places):
        return Window(np.zeros(2), np.ones(2), WIDTH // 2, HEIGHT // 2, 0)
    low, high = places.min(axis=0), places.max(axis=0)
    inner_low, inner_high = np.quantile(places, (FAR, 1 - FAR), axis=0)
    for axis in range(2):
        inner = inner_high[axis] - inner_low[axis]
        if 0 < inner * SQUEEZED < high[axis] - low[axis]:
            low[axis], high[axis] = inner_low[axis] - inner / 10, inner_high[axis] + inner / 10
    size = np.where(high > low, high - low, np.maximum(1.0, np.abs(high)))
    middle = (low + high) / 2
    size = size * (1 + 2 * MARGIN)
    scale = np.ones(2)
    if geographic:  # a degree of longitude is shorter away from the equator
        scale[0] = max(0.05, math.cos(math.radians(float(middle[1]))))
    shape = float(size[0] * scale[0] / (size[1] * scale[1]))
    if not same_scale or not 1 / 5 < shape < 5:
        shape = WIDTH / HEIGHT  # in different units, or a strip: the axes have their own scales
    width = min(WIDTH, round(HEIGHT * shape))
    height = min(HEIGHT, round(WIDTH / shape))
    if width < WIDTH // 3:  # narrow: leave room for the title
        size[0] *= WIDTH / 3 / width
        width = WIDTH // 3
    low, high = middle - size / 2, middle + size / 2
    outside = int(((places < low) | (places > high)).any(axis=1).sum())
    return Window(low, high, width, height, outside)


# ---------------------------------------------------------------------- pixels
def _panel(
    places: NDArray[np.float64], colours: NDArray[np.int64], window: Window
) -> NDArray[np.uint8]:
    """(height, width, 4) the points; transparent where there are none."""
    shape = window.height, window.width
    inside = ((places >= window.low) & (places <= window.high)).all(axis=1)
    share = (places[inside] - window.low) / (window.high - window.low)
    x = np.minimum((share[:, 0] * window.width).astype(np.int64), window.width - 1)
    y = (
        window.height
        - 1
        - np.minimum((share[:, 1] * window.height).astype(np.int64), window.height - 1)
    )
    colours = colours[inside]
    counts = np.zeros((len(COLOURS) + 1, *shape), np.float32)  # the last for noise
    occupied = len(np.unique(y * window.width + x))  # points that repeat need no smaller discs
    radius = next((each for most, each in RADII if occupied < most), 0.0)
    if len(x) > CROWD:
        radius = min(radius, 1.0)
    reach = math.ceil(radius)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            cover = min(1.0, radius + 0.5 - math.hypot(down, right))  # soft edges
            if cover > 0:
                _count(counts, colours, y + down, x + right, cover)
    panel = np.zeros((*shape, 4), np.float32)
    _blend(panel, counts[-1], np.array([_rgb(NOISE)]), counts[-1:], 0.45)
    of_clusters = counts[:-1].sum(axis=0)
    _blend(panel, of_clusters, np.array([_rgb(each) for each in COLOURS]), counts[:-1], 0.65)
    return np.round(panel).astype(np.uint8)


def _count(
    counts: NDArray[np.float32],
    colours: NDArray[np.int64],
    y: NDArray[Any],
    x: NDArray[Any],
    cover: float,
) -> None:
    kinds, height, width = counts.shape
    kept = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    places = ((colours[kept] % kinds) * height + y[kept]) * width + x[kept]
    np.add.at(counts.reshape(-1), places, np.float32(cover))


def _blend(
    panel: NDArray[np.float32],
    total: NDArray[np.float32],
    colours: NDArray[np.float64],
    counts: NDArray[np.float32],
    faintest: float,
) -> None:
    """Lay the mean colour of the points over the panel, the more solid the more points."""
    there = total > 0
    if not there.any():
        return
    mean = np.einsum("kn,kc->nc", counts[:, there], colours) / total[there, None]
    solid = np.log1p(total[there]) / max(math.log1p(float(total.max())), 1e-9)
    solid = (faintest + (1 - faintest) * solid) * np.minimum(total[there], 1)
    below = panel[there]
    visible = below[:, 3:] / 255
    covered = solid[:, None] + visible * (1 - solid[:, None])
    panel[there, :3] = (mean * solid[:, None] + below[:, :3] * visible * (1 - solid[:, None])) / (
        covered
    )
    panel[there, 3] = 255 * covered[:, 0]


def _mask(panel: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(panel[:, :, 3])


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


# ---------------------------------------------------------------------- words
def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)


def _short(text: str, limit: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _title(
    pen: ImageDraw.ImageDraw, labels: NDArray[np.int32], clusters: int, notes: list[str]
) -> None:
    noise = int((labels < 0).sum())
    share = f" ({100 * noise / len(labels):.1f} %)" if len(labels) else ""
    found = f"{clusters:,} cluster{'' if clusters == 1 else 's'}"
    of_noise = f"{noise:,} noise{share}" if noise else "no noise"
    pen.text((LEFT, 18), f"{found}, {of_noise}", INK, _font(26))
    pen.text((LEFT, 54), " · ".join(notes), FAINT, _font(14))


def _notes(
    points: Points,
    step: int,
    window: Window,
    names: tuple[str, str],
    columns: Sequence[str] | None,
) -> list[str]:
    notes = [f"{points.rows:,} points"]
    if step > 1:
        notes.append(f"one in {step:,} drawn")
    if points.dimension > 2:
        notes.append(f"first 2 of {points.dimension:,} coordinates")
    if window.outside:
        notes.append(f"{window.outside:,} far outside")
    return notes


def _grid(pen: ImageDraw.ImageDraw, window: Window) -> None:
    for value in _ticks(window.low[0], window.high[0], window.width // 110):
        x = LEFT + _pixel(value, window.low[0], window.high[0], window.width)
        pen.line((x, TOP, x, TOP + window.height), GRID)
    for value in _ticks(window.low[1], window.high[1], window.height // 80):
        y = TOP + window.height - _pixel(value, window.low[1], window.high[1], window.height)
        pen.line((LEFT, y, LEFT + window.width, y), GRID)


def _frame(pen: ImageDraw.ImageDraw, window: Window, names: tuple[str, str]) -> None:
    font, floor = _font(14), TOP + window.height
    across = _ticks(window.low[0], window.high[0], window.width // 110)
    for value, word in zip(across, _tick_words(across), strict=True):
        x = LEFT + _pixel(value, window.low[0], window.high[0], window.width)
        pen.line((x, floor, x, floor + 4), FAINT)
        pen.text((x, floor + 8), word, FAINT, font, anchor="ma")
    up = _ticks(window.low[1], window.high[1], window.height // 80)
    for value, word in zip(up, _tick_words(up), strict=True):
        y = floor - _pixel(value, window.low[1], window.high[1], window.height)
        pen.line((LEFT - 4, y, LEFT, y), FAINT)
        pen.text((LEFT - 8, y), word, FAINT, font, anchor="rm")
    pen.rectangle((LEFT, TOP, LEFT + window.width, floor), outline=FAINT)
    middle = LEFT + window.width // 2
    pen.text((middle, floor + 34), _short(names[0], 60), INK, _font(16), anchor="ma")
    _upright(pen, _short(names[1], 40), (24, TOP + window.height // 2))


def _upright(pen: ImageDraw.ImageDraw, text: str, middle: tuple[int, int]) -> None:
    """Write from below to above."""
    font = _font(16)
    left, top, right, bottom = font.getbbox(text)
    size = math.ceil(right - left) + 4, math.ceil(bottom - top) + 4
    strip = Image.new("L", size, 0)
    ImageDraw.Draw(strip).text((2 - left, 2 - top), text, 255, font)
    turned = strip.rotate(90, expand=True)
    place = middle[0] - turned.width // 2, middle[1] - turned.height // 2
    pen.bitmap(place, turned, INK)


def _legend(
    pen: ImageDraw.ImageDraw,
    window: Window,
    labels: NDArray[np.int32],
    sizes: NDArray[np.int64],
    by_size: NDArray[np.int64],
) -> None:
    x, y, font = LEFT + window.width + 24, TOP + 4, _font(14)
    noise = int((labels < 0).sum())
    rows = [
        (COLOURS[place], f"cluster {cluster}", f"{sizes[cluster]:,}")
        for place, cluster in enumerate(by_size[:LEGEND].tolist())
    ]
    if len(sizes) > LEGEND:
        rest = int(sizes[by_size[LEGEND:]].sum())
        rows.append(("", f"{len(sizes) - LEGEND:,} more", f"{rest:,}"))
    if noise:
        rows.append((NOISE, "noise", f"{noise:,}"))
    for colour, name, count in rows:
        if colour:
            pen.ellipse((x, y + 2, x + 12, y + 14), fill=colour)
        pen.text((x + 22, y), name, INK, font)
        pen.text((x + RIGHT - 44, y), count, FAINT, font, anchor="ra")
        y += 24
    if len(sizes) > LEGEND:
        pen.text((x + 22, y + 4), "colours repeat", FAINT, _font(12))


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


def _pixel(value: float, low: float, high: float, pixels: int) -> int:
    return round((float(value) - float(low)) / (float(high) - float(low)) * pixels)
