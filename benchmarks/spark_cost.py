"""What a run on a cluster would move and hold, for data beyond any measured: a model, not figures.

Points in a cell of diagonal eps are taken to lie evenly in it, k on average, and a dictionary of
rho has b = 2^(d (h - 1)) places in such a cell, h = 1 + ⌈log₂ 1 / rho⌉. So of the places

    b (1 - exp(-k / b))   are taken

by a cell of k points, which is compared with real cells below.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import cluster_data as data
import numpy as np
from numpy.typing import NDArray
from tables import table

__all__ = ["cost_tables"]

SIZES = (1e9, 1e10, 1e11)
DENSITIES = (10, 1_000, 100_000)  # points in a cell of diagonal eps
RHOS = (0.01, 0.04, 0.16)
CORES = 256


def halvings(rho: float) -> int:
    """How often a cell is halved along each axis."""
    return math.ceil(math.log2(1 / rho))


def taken(points: Any, dimension: int, rho: float) -> Any:
    """Places of a cell of diagonal eps that are taken by so many points."""
    places = 2.0 ** (dimension * halvings(rho))
    return places * -np.expm1(-np.asarray(points, float) / places)


def cost_tables(newest: Mapping[str, Any]) -> list[str]:
    """Sections of the page of results."""
    passes = newest.get("passes")
    sections = [
        "## The model against real cells\n",
        "Cells of a dictionary, as counted and as the model has them from the counts of the cells "
        "of diagonal eps:\n",
        against_real_cells(),
        "## What larger data would take\n",
        "Cells a point, and the dictionary as it is shuffled (bytes of the pieces: 4 d + 5 a "
        "cell; every task tells of a cell once, and tasks of neighbouring rows share few):\n",
        larger(),
    ]
    if passes is not None:
        sections += [
            "Reading and labelling, from the passes measured above (assumed: the storage keeps "
            f"up, and {CORES} cores work as two do):\n",
            reading(passes),
        ]
    return sections


def against_real_cells() -> str:
    rows = []
    for name, points, eps in (
        ("mixture, 10⁶ × 2", data.gaussian_mixture(1_000_000, 2), 0.05),
        ("mixture, 10⁶ × 3", data.gaussian_mixture(1_000_000, 3), 0.15),
        ("walks, 10⁶ × 2", data.seed_spreader(1_000_000, 2), 200.0),
    ):
        dimension = points.shape[1]
        side = eps / math.sqrt(dimension)
        inside = counts_of(points, side)
        for rho in RHOS:
            real = len(counts_of(points, side / 2 ** halvings(rho)))
            model = float(taken(inside, dimension, rho).sum())
            rows.append(
                [name, f"{rho:g}", f"{len(inside):,}", f"{real:,}", f"{model:,.0f}",
                 f"{model / real:.2f}"]
            )  # fmt: skip
    return table(["data", "rho", "cells of eps", "counted", "model", "model / counted"], rows)


def counts_of(points: NDArray[np.float64], side: float) -> NDArray[np.int64]:
    """Points of every cell of a side that has any."""
    cubes = np.floor(points / side).astype(np.int64)
    cubes -= cubes.min(axis=0)
    keys = np.ravel_multi_index(tuple(cubes.T), tuple(cubes.max(axis=0) + 1))
    return np.unique(keys, return_counts=True)[1]


def larger() -> str:
    rows = []
    for dimension in (2, 3):
        for density in DENSITIES:
            for rho in RHOS:
                share = float(taken(density, dimension, rho)) / density
                size = 4 * dimension + 5
                gib = [f"{n * share * size / 2**30:,.1f}" for n in SIZES]
                rows.append([f"{dimension}", f"{density:,}", f"{rho:g}", f"{share:.2g}", *gib])
    heads = [f"GiB, 10{exponent} points" for exponent in ("⁹", "¹⁰", "¹¹")]
    return table(["d", "points a cell of eps", "rho", "cells a point", *heads], rows)


def reading(passes: Mapping[str, Any]) -> str:
    counting = passes["statistics"]["seconds"]["counting the cells"]
    rows = []
    for n in SIZES:
        scale = n / passes["n"] * 2 / CORES / 60
        rows.append(
            [
                f"{n:.0e}",
                f"{n * 16 / 1e12:,.2f}",
                f"{counting * scale:.1f}",
                f"{passes['labelling_seconds'] * scale:.1f}",
            ]
        )
    return table(
        ["points", "TB of two doubles", "minutes of counting", "minutes of labelling"], rows
    )
