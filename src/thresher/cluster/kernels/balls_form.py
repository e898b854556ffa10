"""Balls: which centre a point belongs to, and how far a ball reaches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.balls_tile import (
    BLOCK,
    ROUNDED,
    ROUNDING,
    VANISHED,
    Balls,
    empty,
    place,
    place_ball,
    place_centres,
    product,
    scale_for,
    slack,
)
from thresher.cluster.kernels.compiled import kernel

__all__ = ["assign", "face", "measure"]


@kernel
def assign(
    rows: NDArray[Any],
    middle: NDArray[np.float64],
    scale: float,
    centres: NDArray[np.float32],
    nearest: NDArray[np.int32],
    distance: NDArray[np.float32],
) -> None:
    """Find a centre that is nearest to a row, or nearly so: no result depends on which.

    Args:
        rows: (m, d).
        middle: (d,), subtracted before the rows are rounded to single precision.
        scale: Multiplied by after that, so that nothing overflows.
        centres: (k, d), subtracted from and scaled alike.
        nearest: (m,) receives the number of the centre.
        distance: (m,) receives the distance in the unit of the rows.
    """
    halves = np.empty(centres.shape[0], np.float32)
    for number in range(centres.shape[0]):
        half = np.float32(0.0)
        for column in range(centres.shape[1]):
            half += np.float32(0.5) * centres[number, column] * centres[number, column]
        halves[number] = half
    placed = empty(BLOCK, rows.shape[1])
    space = np.empty(BLOCK * centres.shape[0], np.float32)
    for first in range(0, rows.shape[0], BLOCK):
        count = min(BLOCK, rows.shape[0] - first)
        for index in range(count):
            placed.positions[index] = first + index
        place(rows, middle, scale, math.inf, count, placed)
        tile = product(placed.coordinates, 0, count, centres, centres.shape[0], space)
        for index in range(count):
            best = np.int32(0)
            highest = tile[index, 0] - halves[0]
            for number in range(1, centres.shape[0]):
                value = tile[index, number] - halves[number]
                if value > highest:
                    highest = value
                    best = np.int32(number)
            nearest[first + index] = best
            square = max(0.0, placed.squares[index] - 2.0 * highest)
            distance[first + index] = np.float32(math.sqrt(square) / scale)


@kernel
def measure(
    points: NDArray[Any],
    start: int,
    stop: int,
    centre: NDArray[np.float64],
    distances: NDArray[np.float64],
) -> None:
    """The mean of a ball's points, and no less than the distance of each from it."""
    for position in range(start, stop):
        for column in range(points.shape[1]):
            centre[column] += np.float64(points[position, column])
    for column in range(points.shape[1]):
        centre[column] /= stop - start
    for position in range(start, stop):
        total = 0.0
        for column in range(points.shape[1]):
            difference = np.float64(points[position, column]) - centre[column]
            total += difference * difference
        distances[position] = math.sqrt(total) * (1.0 + ROUNDING)


@kernel
def face(
    balls: Balls, ball: int, others: NDArray[np.int64], eps: float, facing: NDArray[np.float32]
) -> None:
    """Find how far a ball's points reach towards every other centre that is near.

    Args:
        balls: All of them; what they know of ``facing`` is not used.
        ball: Its number.
        others: Numbers of the balls that are near.
        eps: Positive.
        facing: (balls, balls) of infinity, of which one row is written: see ``Balls``.
    """
    radius = balls.radii[ball]
    if not radius < math.inf:
        return
    scale = scale_for(radius + eps)
    error = slack(balls.points.shape[1])
    members = np.arange(balls.starts[ball], balls.starts[ball + 1])
    placed = place_ball(balls.points, members, balls.centres[ball], scale)
    axes, products = place_centres(placed, balls.centres, others, balls.centres[ball], scale)
    for index in range(others.size):
        length = math.sqrt(axes.squares[index])
        if length == 0.0:
            continue
        most = -math.inf
        for row in range(members.size):
            unsure = error * (placed.squares[row] + axes.squares[index]) + VANISHED
            most = max(most, (products[index, row] + unsure) / length)
        facing[ball, others[index]] = np.float32((most + abs(most) * ROUNDED) / scale)
