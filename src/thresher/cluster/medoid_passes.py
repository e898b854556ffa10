"""Passes over all rows: what sets of medoids cost, and objects that are no medoid yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.exact_sums import ExactSums
from thresher.cluster.medoid_objects import Objects, distinct, united
from thresher.cluster.medoid_rows import Gathering, MedoidRows, Tile
from thresher.cluster.medoid_space import NearestMedoid, embedded
from thresher.errors import DataError

__all__ = ["Assigned", "completed", "evaluate", "labelled"]

Numbers = NDArray[np.int64]
Labels = NDArray[np.int32]

NO_ROW = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Assigned:
    """All rows, each with the nearest of some medoids."""

    medoids: Objects  # k of them
    counts: Numbers  # (k,) rows of positive weight
    first_rows: Numbers  # (k,) the lowest row of positive weight that equals each medoid
    inertia: float  # φ
    find: NearestMedoid
    labels: Labels | None  # (N,), where they have been kept

    def labels_of(self, tile: Tile) -> Labels:
        """The labels of some rows, (r,)."""
        if self.labels is None:
            return self.find(tile.places)[0]
        return self.labels[tile.first : tile.first + len(tile)]


@dataclass
class Tally:
    """What is counted of the rows, for each of some sets of medoids."""

    sums: ExactSums  # (m,) Σ w · distance
    counts: list[Numbers]  # (k,) each
    first_rows: list[Numbers]  # (k,) each


class Evaluation(Gathering[Tally]):
    """The sums, counts and first rows of sets of medoids.

    Args:
        sets: The medoids.
        find: Finds the nearest of every set.
        labels: (N,) into which the labels of the last set are written, or None.
    """

    def __init__(
        self, sets: list[Objects], find: list[NearestMedoid], labels: Labels | None
    ) -> None:
        self.sets, self.find, self.labels = sets, find, labels

    def begin(self) -> Tally:
        """Nothing."""
        sizes = [len(each.rows) for each in self.sets]
        return Tally(
            ExactSums(len(sizes)),
            [np.zeros(size, np.int64) for size in sizes],
            [np.full(size, NO_ROW) for size in sizes],
        )

    def add(self, state: Tally, tile: Tile) -> None:
        """Of some rows."""
        heavy = tile.weights > 0
        for number, (medoids, find) in enumerate(zip(self.sets, self.find, strict=True)):
            near, distances = find(tile.places)
            if self.labels is not None:
                self.labels[tile.first : tile.first + len(tile)] = near
            state.sums.add(number, tile.weighted(distances))
            state.counts[number] += np.bincount(near[heavy], minlength=len(medoids.rows))
            here = np.flatnonzero(heavy & (distances == 0))
            here = here[(tile.rows[here] == medoids.coordinates[near[here]]).all(axis=1)]
            np.minimum.at(state.first_rows[number], near[here], tile.first + here)

    def merge(self, state: Tally, other: Tally) -> None:
        """Of other rows."""
        state.sums.merge(other.sums)
        for number in range(len(self.sets)):
            state.counts[number] += other.counts[number]
            np.minimum(
                state.first_rows[number],
                other.first_rows[number],
                out=state.first_rows[number],
            )


def evaluate(data: MedoidRows, sets: list[Objects]) -> list[Assigned]:
    """Every set of medoids on all rows, in one pass; labels are kept where there is one set.

    Raises:
        DataError: coordinates are so large that their squares overflow.
    """
    find = [NearestMedoid(data.metric, embedded(data.metric, each.coordinates)) for each in sets]
    labels = np.empty(data.count, np.int32) if data.keeps_labels and len(sets) == 1 else None
    tally = data.over("evaluating medoids", Evaluation(sets, find, labels))
    inertias = tally.sums.values()
    if not np.isfinite(inertias).all():
        raise DataError(
            "The coordinates are so large that their squared differences overflow.",
            "Divide them by a constant first.",
        )
    return [
        Assigned(
            medoids,
            tally.counts[number],
            np.where(tally.first_rows[number] < NO_ROW, tally.first_rows[number], medoids.rows),
            float(inertias[number]),
            find[number],
            labels,
        )
        for number, medoids in enumerate(sets)
    ]


def labelled(data: MedoidRows, assigned: Assigned) -> Assigned:
    """With the labels, where they may be kept."""
    if assigned.labels is not None or not data.keeps_labels:
        return assigned
    return evaluate(data, [assigned.medoids])[0]


class Elsewhere(Gathering[list[Objects]]):
    """Distinct objects of positive weight that are not among the medoids, those in lowest rows.

    Args:
        metric: The kernels' number.
        find: Of the medoids.
        most: Objects.
    """

    def __init__(self, metric: int, find: NearestMedoid, most: int) -> None:
        self.metric, self.find, self.most = metric, find, most

    def begin(self) -> list[Objects]:
        """None."""
        return []

    def add(self, state: list[Objects], tile: Tile) -> None:
        """Of some rows."""
        apart = (self.find(tile.places)[1] > 0) & (tile.weights > 0)
        places = np.flatnonzero(apart)
        if len(places):
            more = distinct(self.metric, tile.rows[places], tile.first + places, None)
            self.merge(state, [more])

    def merge(self, state: list[Objects], other: list[Objects]) -> None:
        """Of other rows."""
        if other:
            state[:] = [united(self.metric, [*state, *other], self.most)]


def completed(data: MedoidRows, sets: list[Objects], best: int, n_clusters: int) -> Objects:
    """More medoids for a sample that had fewer than k distinct objects.

    What other samples found comes first, then what a pass over the data finds elsewhere: with no
    more than k distinct objects in all, every one of them ends as a medoid.
    """
    metric = data.metric
    pooled = distinct(
        metric,
        np.concatenate([each.coordinates for each in sets]),
        np.concatenate([each.rows for each in sets]),
        None,
    )
    known = pooled if len(pooled.rows) <= n_clusters else sets[best]
    missing = n_clusters - len(known.rows)
    find = NearestMedoid(metric, embedded(metric, known.coordinates))
    found = data.over("looking for objects", Elsewhere(metric, find, missing))
    return united(metric, [known, *found], n_clusters) if found else known
