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
from PIL import Image, ImageDraw

from thresher.cluster.chart import (
    BOTTOM,
    FAINT,
    HEIGHT,
    INK,
    LEFT,
    TOP,
    WIDTH,
    Scale,
    draw_frame,
    draw_grid,
    draw_title,
    font,
    linear,
)
from thresher.cluster.points import Points
from thresher.whole_file import whole_file

__all__ = ["MOST_POINTS", "draw"]

MOST_POINTS = 1_000_000
COLOURS = (
    *("#332288", "#cc6677", "#117733", "#88ccee", "#aa4499"),
    *("#ddaa33", "#44aa99", "#882255", "#999933"),
)
NOISE = "#9a9a9a"

RIGHT = 240  # pixels beside the panel, for the legend
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
    across, up = _scales(window, _axis_names(columns, points.dimension, geographic))
    draw_grid(pen, across, up)
    image.paste(Image.fromarray(panel), (LEFT, TOP), _mask(panel))
    draw_frame(pen, across, up)
    draw_title(pen, _title(labels, len(sizes)), _notes(points, step, window))
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
def _scales(window: Window, names: tuple[str, str]) -> tuple[Scale, Scale]:
    """Across and up."""
    (left, below), (right, above) = window.low.tolist(), window.high.tolist()
    across = linear(left, right, window.width, window.width // 110, names[0])
    return across, linear(below, above, window.height, window.height // 80, names[1])


def _title(labels: NDArray[np.int32], clusters: int) -> str:
    noise = int((labels < 0).sum())
    share = f" ({100 * noise / len(labels):.1f} %)" if len(labels) else ""
    found = f"{clusters:,} cluster{'' if clusters == 1 else 's'}"
    of_noise = f"{noise:,} noise{share}" if noise else "no noise"
    return f"{found}, {of_noise}"


def _notes(points: Points, step: int, window: Window) -> list[str]:
    notes = [f"{points.rows:,} points"]
    if step > 1:
        notes.append(f"one in {step:,} drawn")
    if points.dimension > 2:
        notes.append(f"first 2 of {points.dimension:,} coordinates")
    if window.outside:
        notes.append(f"{window.outside:,} far outside")
    return notes


def _legend(
    pen: ImageDraw.ImageDraw,
    window: Window,
    labels: NDArray[np.int32],
    sizes: NDArray[np.int64],
    by_size: NDArray[np.int64],
) -> None:
    x, y, letters = LEFT + window.width + 24, TOP + 4, font(14)
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
        pen.text((x + 22, y), name, INK, letters)
        pen.text((x + RIGHT - 44, y), count, FAINT, letters, anchor="ra")
        y += 24
    if len(sizes) > LEGEND:
        pen.text((x + 22, y + 4), "colours repeat", FAINT, font(12))
