"""Rows at random in proportion to their weights, when no machine holds all weights.

    pass 1      the lots of every task: weights as whole numbers, whose sums no order changes
    driver      which task a drawn lot lies in
    pass 2      which row of the task; it is fetched at once

The same rows as a search in the cumulated lots of all rows finds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.medoid_rows import Gathering, Taken, Tile, lots, lots_at

__all__ = ["Drawing", "WeightLots"]

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


class WeightLots(Gathering[list[tuple[int, int]]]):
    """The first row and the lots of every task, whose rows follow each other.

    Args:
        scale: The power of two of a lot.
    """

    def __init__(self, scale: int) -> None:
        self.scale = scale

    def begin(self) -> list[tuple[int, int]]:
        """No task."""
        return []

    def add(self, state: list[tuple[int, int]], tile: Tile) -> None:
        """Of some rows of one task."""
        first, total = state[0] if state else (tile.first, 0)
        state[:] = [(first, total + int(lots(tile.weights, self.scale).sum()))]

    def merge(self, state: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
        """Of other tasks."""
        state.extend(other)


class Fall(NamedTuple):
    """Lots that fall on rows of a tile."""

    lots: Numbers  # (r,)
    numbers: Numbers  # (r,) of the rows
    rows: NDArray[Any]  # (r, d) as they are given


@dataclass
class Drawn:
    """Rows that a task has drawn."""

    before: int | None = None  # lots in front of the next tile
    falls: list[Fall] = field(default_factory=list)


class Drawing(Gathering[Drawn]):
    """The rows that some lots fall on.

    Args:
        of: Gave the lots of the tasks.
        told: What it gathered.
        uniforms: (t,) in [0, 1): places among all lots.
    """

    def __init__(self, of: WeightLots, told: list[tuple[int, int]], uniforms: Floats) -> None:
        self.scale = of.scale
        told = sorted(told)
        self.firsts = np.array([first for first, _ in told], np.int64)
        totals = np.array([total for _, total in told], np.int64)
        self.before = np.cumsum(totals) - totals  # lots in front of every task
        self.drawn = lots_at(uniforms, int(totals.sum()))
        self.sought = np.unique(self.drawn)

    def begin(self) -> Drawn:
        """No rows."""
        return Drawn()

    def add(self, state: Drawn, tile: Tile) -> None:
        """Of the next rows of one task."""
        if state.before is None:
            task = np.searchsorted(self.firsts, tile.first, side="right") - 1
            state.before = int(self.before[task])
        cumulated = state.before + np.cumsum(lots(tile.weights, self.scale))
        first, last = np.searchsorted(self.sought, (state.before, int(cumulated[-1])))
        state.before = int(cumulated[-1])
        if first < last:
            places = np.searchsorted(cumulated, self.sought[first:last], side="right")
            state.falls.append(
                Fall(self.sought[first:last], tile.first + places, tile.rows[places])
            )

    def merge(self, state: Drawn, other: Drawn) -> None:
        """Of other tasks."""
        state.falls.extend(other.falls)

    def ordered(self, state: Drawn) -> Taken:
        """The row of every uniform, in their order."""
        found = np.concatenate([fall.lots for fall in state.falls])
        order = np.argsort(found)
        places = order[np.searchsorted(found[order], self.drawn)]
        numbers = np.concatenate([fall.numbers for fall in state.falls])[places]
        return Taken(numbers, np.concatenate([fall.rows for fall in state.falls])[places], None)
