"""The rows that k-medoids goes over, wherever they lie: the seam between its search and an engine.

    search    → a gathering: what to gather of every tile of rows, and how to put that together
    engine    → tiles, in any order and by any number of workers → what was gathered of all

What is gathered depends neither on the order of the tiles nor on where they are cut: sums are
`ExactSums`, the nearest are found by distance and row number, chance by row number.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.medoid_space import embedded, tiles
from thresher.cluster.points import Phase, Points
from thresher.cluster.threads import each

__all__ = [
    "Both",
    "Gathering",
    "MedoidRows",
    "PointRows",
    "Taken",
    "Taking",
    "Tile",
    "drawn_rows",
    "lot_scale",
    "lots",
    "lots_at",
]

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
S = TypeVar("S")
S1 = TypeVar("S1")
S2 = TypeVar("S2")


class Tile:
    """Some thousand consecutive rows.

    Args:
        metric: The kernels' number.
        first: Number of the first row, of all.
        rows: (r, d) as they are given.
        weights: (r,) >= 0, or None for 1 each.
    """

    def __init__(self, metric: int, first: int, rows: NDArray[Any], weights: Floats | None) -> None:
        self.metric, self.first, self.rows, self.given_weights = metric, first, rows, weights

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def places(self) -> Floats:
        """The rows in the space of the metric, (r, D) float64."""
        return embedded(self.metric, self.rows)

    @cached_property
    def weights(self) -> Floats:
        """(r,) float64."""
        return np.ones(len(self.rows)) if self.given_weights is None else self.given_weights

    def weighted(self, values: Floats) -> Floats:
        """Values (r,) times the weights."""
        return values if self.given_weights is None else values * self.given_weights


class Gathering(Protocol[S]):
    """What a pass over the rows is for; tasks of a cluster get copies of it."""

    def begin(self) -> S:
        """What has been gathered of no rows."""
        ...

    def add(self, state: S, tile: Tile) -> None:
        """Gather of some rows."""
        ...

    def merge(self, state: S, other: S) -> None:
        """Put to a state what was gathered of other rows."""
        ...


class Both(Gathering[tuple[S1, S2]]):
    """Two gatherings in one pass."""

    def __init__(self, one: Gathering[S1], other: Gathering[S2]) -> None:
        self.one, self.other = one, other

    def begin(self) -> tuple[S1, S2]:
        """Of both."""
        return self.one.begin(), self.other.begin()

    def add(self, state: tuple[S1, S2], tile: Tile) -> None:
        """To both."""
        self.one.add(state[0], tile)
        self.other.add(state[1], tile)

    def merge(self, state: tuple[S1, S2], other: tuple[S1, S2]) -> None:
        """Of both."""
        self.one.merge(state[0], other[0])
        self.other.merge(state[1], other[1])


class Taken(NamedTuple):
    """Some rows."""

    numbers: Numbers  # (t,)
    rows: NDArray[Any]  # (t, d) as they are given
    weights: Floats | None  # (t,)


class Taking(Gathering[list[Taken]]):
    """Rows by their numbers.

    Args:
        numbers: (t,) in any order, any number of times.
    """

    def __init__(self, numbers: Numbers) -> None:
        self.wanted = np.unique(numbers)

    def begin(self) -> list[Taken]:
        """No rows."""
        return []

    def add(self, state: list[Taken], tile: Tile) -> None:
        """Those of a tile that are wanted."""
        first, last = np.searchsorted(self.wanted, (tile.first, tile.first + len(tile)))
        if first == last:
            return
        numbers = self.wanted[first:last]
        here = numbers - tile.first
        weights = None if tile.given_weights is None else tile.given_weights[here]
        state.append(Taken(numbers, tile.rows[here], weights))

    def merge(self, state: list[Taken], other: list[Taken]) -> None:
        """In any order."""
        state.extend(other)

    def ordered(self, state: list[Taken], numbers: Numbers) -> Taken:
        """The rows of these numbers, in their order, each as often as it is named."""
        found = np.concatenate([each.numbers for each in state])
        order = np.argsort(found)
        places = order[np.searchsorted(found[order], numbers)]
        rows = np.concatenate([each.rows for each in state])[places]
        weights = [each.weights for each in state if each.weights is not None]
        return Taken(numbers, rows, np.concatenate(weights)[places] if weights else None)


class MedoidRows(Protocol):
    """All rows, as an engine has them; one of them weighs more than 0."""

    metric: int  # the kernels' number
    count: int
    dtype: np.dtype[Any]
    keeps_labels: bool  # whether (count,) labels may be held
    jobs: int  # threads for what needs no pass
    phase: Phase  # is told of what needs no pass

    def over(self, name: str, gathering: Gathering[S]) -> S:
        """One pass.

        Args:
            name: Of the phase, for people.
            gathering: What of.
        """
        ...

    def take(self, numbers: Numbers) -> Taken:
        """Rows by their numbers."""
        ...

    def draw(self, uniforms: Floats) -> Taken:
        """Rows at random, in proportion to their weights if there are any.

        Args:
            uniforms: (t,) in [0, 1), one for each.
        """
        ...


class PointRows:
    """Points of this machine as rows of k-medoids: passes by threads.

    Args:
        points: N >= 1, finite.
        metric: The kernels' number.
        weights: (N,) >= 0, not all 0; or None.
        jobs: Threads.
        phase: Is told how far it has come.
    """

    keeps_labels = True

    def __init__(
        self, points: Points, metric: int, weights: Floats | None, jobs: int, phase: Phase
    ) -> None:
        self.points, self.metric, self.weights = points, metric, weights
        self.jobs, self.phase = jobs, phase
        self.count, self.dtype = points.rows, points.dtype

    def over(self, name: str, gathering: Gathering[S]) -> S:
        """One pass: a thread goes on with what it or another has gathered."""
        idle: list[S] = []  # whose pop and append are one step each

        def task(part: int) -> None:
            try:
                state = idle.pop()
            except IndexError:
                state = gathering.begin()
            for tile in self._tiles(part):
                gathering.add(state, tile)
            idle.append(state)

        each(task, len(self.points.starts) - 1, self.jobs, lambda share: self.phase(name, share))
        found = idle.pop()
        for state in idle:
            gathering.merge(found, state)
        return found

    def _tiles(self, part: int) -> Iterator[Tile]:
        for first, rows in tiles(self.points, part):
            last = first + len(rows)
            weights = None if self.weights is None else self.weights[first:last]
            yield Tile(self.metric, first, rows, weights)

    def take(self, numbers: Numbers) -> Taken:
        """Rows by their numbers."""
        weights = None if self.weights is None else self.weights[numbers]
        return Taken(numbers, self.points.take(numbers), weights)

    def draw(self, uniforms: Floats) -> Taken:
        """Rows at random."""
        cumulated = None
        if self.weights is not None:
            scale = lot_scale(self.count, float(self.weights.max()))
            cumulated = np.cumsum(lots(self.weights, scale))
        return self.take(drawn_rows(self.count, uniforms, cumulated))


# ---------------------------------------------------------------------- rows by chance
def lot_scale(count: int, largest: float) -> int:
    """The power of two that makes weights of rows whole numbers whose sum stays below 2^62."""
    return 62 - int(count).bit_length() - int(np.frexp(largest)[1])


def lots(weights: Floats, scale: int) -> Numbers:
    """Weights as whole numbers, whose sums are the same in any order, (r,)."""
    return np.ldexp(weights, scale).astype(np.int64)


def lots_at(uniforms: Floats, total: int) -> Numbers:
    """Lots 0 … total - 1 at places of [0, 1)."""
    return np.minimum((uniforms * total).astype(np.int64), total - 1)


def drawn_rows(count: int, uniforms: Floats, cumulated: Numbers | None) -> Numbers:
    """The numbers of rows drawn with replacement, in proportion to their lots, if any, (t,).

    Args:
        count: Of the rows.
        uniforms: (t,) in [0, 1).
        cumulated: (count,) lots up to each row.
    """
    if cumulated is None:
        return lots_at(uniforms, count)
    found = np.searchsorted(cumulated, lots_at(uniforms, int(cumulated[-1])), side="right")
    return found.astype(np.int64)
