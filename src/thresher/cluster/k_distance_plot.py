"""A picture of the k-distances: the curve, and where eps is suggested.

Across are the points, the farthest first; up, on a logarithmic scale, the distance to the k-th
nearest. At the height of eps, what is left of the curve is not core, what is right of it is.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from thresher.cluster.chart import (
    BOTTOM,
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
    logarithmic,
)
from thresher.cluster.k_distances import KDistances, four_digits
from thresher.whole_file import whole_file

__all__ = ["draw"]

CURVE, EPS = "#332288", "#cc6677"  # Paul Tol's "muted" scheme, as the clusters have
RIGHT = 48  # pixels beside the panel
FINER = 4  # times as many pixels while the curve is drawn, for soft edges
LEAST = 1e-300  # a distance that is drawn; ratios of smaller ones are rounded
RANGE = 1e3  # times eps, and part of it: what lies beyond is off the picture


def draw(found: KDistances, path: str | os.PathLike[str]) -> None:
    """Draw the k-distances into a PNG.

    Args:
        found: At least one distance.
        path: Where the picture appears, whole or not at all.

    Raises:
        RunError: the picture cannot be written.
    """
    eps = found.suggested_eps
    told = f"eps {four_digits(eps):,.10g} {found.unit if found.unit.isalpha() else ''}".rstrip()
    unit = f" ({found.unit})" if found.unit else ""
    across = linear(0, 100, WIDTH, 10, "points with a larger distance: not core at this eps (%)")
    up = _heights(found.distances, eps, f"distance to the k-th nearest, k = {found.k}{unit}")
    image = Image.new("RGB", (LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM), "white")
    pen = ImageDraw.Draw(image)
    draw_grid(pen, across, up)
    _curve(image, found.distances, up)
    if eps > 0:
        _eps(pen, up, eps, found.core_share(eps), told)
    draw_frame(pen, across, up)
    draw_title(pen, f"suggested {told}" if eps > 0 else "all distances are 0", _notes(found))
    with whole_file(path) as aside:
        image.save(aside, format="PNG", optimize=True)


def _heights(distances: NDArray[np.float64], eps: float, name: str) -> Scale:
    """The scale of the distances, with some room around them and eps."""
    shown = distances[(distances > max(eps / RANGE, LEAST)) & (distances < eps * RANGE)]
    if not len(shown):
        return logarithmic(0.1, 10, HEIGHT, name)
    return logarithmic(float(shown.min()) / 1.3, float(shown.max()) * 1.3, HEIGHT, name)


def _curve(image: Image.Image, distances: NDArray[np.float64], up: Scale) -> None:
    """Draw the curve over the panel; distances beyond it lie on its edge."""
    width, height = WIDTH * FINER, HEIGHT * FINER
    x = (np.arange(len(distances)) + 0.5) / len(distances) * width
    logs = np.log(np.clip(distances, up.low, up.high) / up.low) / np.log(up.high / up.low)
    some = np.unique(np.linspace(0, len(x) - 1, width).astype(np.int64))
    line = np.column_stack([x, (1 - logs) * height])[some]
    line = np.concatenate([[[0, line[0, 1]]], line, [[width, line[-1, 1]]]])
    mask = Image.new("L", (width, height), 0)
    ImageDraw.Draw(mask).line([(a, b) for a, b in line.tolist()], 255, 3 * FINER, "curve")
    mask = mask.resize((WIDTH, HEIGHT), Image.Resampling.BOX)
    image.paste(Image.new("RGB", mask.size, CURVE), (LEFT, TOP), mask)


def _eps(pen: ImageDraw.ImageDraw, up: Scale, eps: float, core: float, told: str) -> None:
    """Draw the height of eps, and where the curve goes through it."""
    x, y = LEFT + round((1 - core) * WIDTH), TOP + HEIGHT - up.pixel(eps)
    pen.line((LEFT, y, LEFT + WIDTH, y), EPS, 2)
    pen.line((x, y, x, TOP + HEIGHT), EPS, 1)
    pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=EPS)
    words = f"{told}: {100 * core:.1f} % of the points are core"
    pen.text((LEFT + WIDTH - 10, y - 8), words, INK, font(16), anchor="rs")


def _notes(found: KDistances) -> list[str]:
    sampled, rows = len(found.distances), found.rows
    notes = [f"{rows:,} points" + (f", {sampled:,} of them sampled" if sampled < rows else "")]
    notes.append(f"k = {found.k}, each point being the first from itself")
    zeros = int((found.distances == 0).sum())
    if zeros:
        notes.append(f"{100 * zeros / sampled:.3g} % have k points in one place")
    return notes
