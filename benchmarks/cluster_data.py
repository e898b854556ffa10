"""Points to cluster: generated from a seed, or read from files, with the card's eps and counts.

Generated rows come in random order: neighbours in space do not lie side by side in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "EARTH_RADIUS",
    "click_log",
    "gaussian_mixture",
    "projected",
    "seed_spreader",
    "shoreline",
    "small_gaussians",
    "taxi",
    "unit_embeddings",
]

Points = NDArray[np.float64]

EARTH_RADIUS = 6_371_008.8  # metres, mean radius (IUGG)

SPACE = 1e5  # side of the seed spreader's cube
VICINITY = 100.0  # radius of the ball that its points are drawn from
COUNTER = 100  # points until it moves on
NOISE = 1e-4  # share of the points that lie anywhere


# ---------------------------------------------------------------------- generated
def seed_spreader(
    n: int, d: int, density: Literal["similar", "varying"] = "similar", seed: int = 0
) -> Points:
    """A random walk that leaves 100 points in a ball around every place it visits.

    It moves by 50·d in a random direction when the 100 points are spent, jumps anywhere about ten
    times, and a ten-thousandth of the points is spread over the whole cube. With varying density
    the ball and the step grow up to tenfold from jump to jump. A step that would leave the cube is
    reflected at its side.

    Args:
        n: Points, (n, d) float64 in about [0, 1e5]^d.
        d: Dimension.
        density: Whether all clusters have the same.
        seed: Of NumPy's generator.

    Source: Gan and Tao, "DBSCAN Revisited" (SIGMOD 2015), section 5.1.
    """
    random = np.random.default_rng(seed)
    walked = n - round(n * NOISE)
    jumps = np.flatnonzero(random.random(walked) < 10 / max(walked, 1))
    ends = np.unique([0, *jumps, walked])
    parts = [random.uniform(0, SPACE, (n - walked, d))]
    for number, count in enumerate(np.diff(ends), 1):
        radius = VICINITY * (number % 10 + 1 if density == "varying" else 1)
        moves = -(-count // COUNTER)
        steps = radius / 2 * d * directions(random, moves, d)
        steps[0] = random.uniform(0, SPACE, d)
        places = np.repeat(reflected(np.cumsum(steps, axis=0)), COUNTER, axis=0)[:count]
        distance = radius * random.random((count, 1)) ** (1 / d)
        parts.append(places + distance * directions(random, count, d))
    return random.permutation(np.concatenate(parts))


def directions(random: np.random.Generator, n: int, d: int) -> Points:
    """Vectors of length 1, evenly over all directions."""
    vectors = random.standard_normal((n, d))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def reflected(places: Points) -> Points:
    """A walk that may have left the cube, folded back into it."""
    folded = np.mod(places, 2 * SPACE)
    return np.where(folded > SPACE, 2 * SPACE - folded, folded)


def gaussian_mixture(n: int, d: int, seed: int = 0) -> Points:
    """Ten Gaussians of variance 1 with centres anywhere in [0, 100]^d: clusters with long tails."""
    random = np.random.default_rng(seed)
    centres = random.uniform(0, 100, (10, d))
    return centres[random.integers(0, 10, n)] + random.standard_normal((n, d))


def cube(n: int, seed: int = 0) -> Points:
    """Points anywhere in the unit cube, on which scikit-learn is killed: its issue 31407."""
    return np.random.default_rng(seed).random((n, 3))


def twelve_spots(n: int, seed: int = 0) -> Points:
    """Twelve spots on a wide plane, which take scikit-learn 15 GB: its issue 26726."""
    random = np.random.default_rng(seed)
    centres = np.repeat(random.uniform(0, 20_000, (12, 2)), -(-n // 12), axis=0)[:n]
    return centres + 15 * random.standard_normal((n, 2))


def small_gaussians(n: int, k: int = 10, seed: int = 0) -> Points:
    """Well separated clusters of equal size in the plane: k Gaussians on the crossings of a grid.

    They lie 10 standard deviations apart, so that every one of them deserves a medoid.
    """
    random = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(k)))
    centres = 10.0 * np.stack(np.divmod(np.arange(k), side), axis=1)
    return centres[random.integers(0, k, n)] + random.standard_normal((n, 2))


def click_log(n: int, d: int = 13, seed: int = 0, *, dispersion: float = 0.24) -> Points:
    """Counters as a click log holds them: log(1 + count), many zeros, few dense spots.

    Twenty kinds of visitors. Each has counters that are nearly always zero (three in ten) and
    others that follow a negative binomial distribution, whose variance is far above its mean.

    Args:
        n: Points, (n, d) float64.
        d: Counters.
        seed: Of NumPy's generator.
        dispersion: Of the counts: the variance is mean + dispersion · mean². At 0.24 the kinds
            are about two dozen clusters in nine parts noise (eps .8, 20 points, n = 100,000), at 1
            they run into each other.
    """
    random = np.random.default_rng(seed)
    kinds = 20
    kind = random.integers(0, kinds, n)
    busy = random.random((kinds, d)).argsort(axis=1) < round(0.7 * d)
    mean = np.where(busy, np.exp(random.normal(2.5, 0.7, (kinds, d))), 0.05)
    counts = random.poisson(mean[kind] * random.gamma(1 / dispersion, dispersion, (n, d)))
    return np.log1p(counts.astype(np.float64))


def unit_embeddings(n: int, d: int = 64, seed: int = 0) -> NDArray[np.float32]:
    """Unit vectors around 50 directions, about 5 % of them in any direction; (n, d) float32.

    Two vectors of one direction are about .5 apart, of two directions about 1.4.
    """
    random = np.random.default_rng(seed)
    centres = directions(random, 50, d)
    vectors = centres[random.integers(0, 50, n)] + 0.05 * random.standard_normal((n, d))
    anywhere = random.random(n) < 0.05
    vectors[anywhere] = random.standard_normal((int(anywhere.sum()), d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


# ---------------------------------------------------------------------- from files
def taxi(folder: Path) -> Points:
    """Positions of San Francisco's taxis, (2,000,000, 2) float64: latitude, longitude in degrees.

    Args:
        folder: Of the data sets, with points/sf_taxi.parquet (Piorkowski and others, 2009).
    """
    import pyarrow.parquet

    stored = pyarrow.parquet.read_table(
        folder / "points" / "sf_taxi.parquet", columns=["lat_e5", "lon_e5"]
    )
    return np.stack([column.to_numpy() for column in stored.columns], axis=1) * 1e-5


def projected(degrees: Points) -> Points:
    """Latitude and longitude on a plane that touches the Earth at their median: metres, (n, 2)."""
    latitude = np.radians(np.median(degrees[:, 0]))
    scale = np.array([1.0, np.cos(latitude)])
    return EARTH_RADIUS * np.radians(degrees - np.median(degrees, axis=0)) * scale


def shoreline(path: Path) -> Points:
    """Vertices of the world's shores, (10,995,687, 2) float64: longitude, latitude in degrees.

    Args:
        path: binned_GSHHS_f.nc, of Debian's package gmt-gshhg-full, which h5py reads; or the
            .npy file that was made of it.

    Source: Wessel and Smith, "A global, self-consistent, hierarchical, high-resolution shoreline
    database" (JGR 1996).
    """
    if path.suffix == ".npy":
        stored: Points = np.load(path)
        return stored
    import h5py

    with h5py.File(path) as file:
        segments = whole(file, "N_segments_in_a_bin")
        points = whole(file, "Embedded_npts_levels_exit_entry_for_a_segment") >> 9
        firsts = whole(file, "Id_of_first_point_in_a_segment")
        width = int(whole(file, "N_bins_in_360_longitude_range")[0])
        size = float(whole(file, "Bin_size_in_minutes")[0]) / 60  # degrees
        across = relative(file, "Relative_longitude_from_SW_corner_of_bin") * size
        up = relative(file, "Relative_latitude_from_SW_corner_of_bin") * size
        first_segments = whole(file, "Id_of_first_segment_in_a_bin")
    bin_of_segment = np.empty(len(points), np.int64)
    for number in np.flatnonzero(segments):
        start = first_segments[number]
        bin_of_segment[start : start + segments[number]] = number
    order = np.argsort(firsts, kind="stable")
    row, column = np.divmod(np.repeat(bin_of_segment[order], points[order]), width)
    longitude = (column * size + across + 180) % 360 - 180
    return np.stack([longitude, 90 - (row + 1) * size + up], axis=1)


def whole(file: Any, name: str) -> NDArray[np.int64]:
    """A variable of whole numbers."""
    return np.asarray(file[name]).astype(np.int64)


def relative(file: Any, name: str) -> Points:
    """Places within a bin as shares of its side; they are stored as if they had a sign."""
    return np.asarray(file[name]).astype(np.uint16) / 65535
