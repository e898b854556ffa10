"""Levels: scores in two bytes, and the weight of every level in a table.

    score u in [0, 1]  →  level 0 … 65534  →  weight = pressure^(-u), 1 for the most wanted

Levels stand 1.5e-5 apart: rounding to them changes a weight by a factor of at most
pressure^(1/131068), 3.5e-5 relative at pressure 100. Level 65535 says that the score is not known.

The weights are whole multiples of 2⁻³², as integers. Sums over samples are then exact in whatever
order they are formed, and the table is made by square roots and products alone, which IEEE 754
rounds alike everywhere: processes on different machines draw from the same distribution.

Source: P ∝ pressure^(-u) is the common form of Ada-Boundary (Song et al., Machine Learning 2020),
Recency Bias (Song et al., CIKM 2020) and online batch selection (Loshchilov & Hutter, 2016).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.errors import ParameterError

__all__ = [
    "LEVELS",
    "MAX_PRESSURE",
    "UNIT",
    "UNKNOWN",
    "check_pressure",
    "levels_of",
    "scores_of",
    "weight_table",
]

TOP = 65534  # the level of score 1
#: Says that a sample's score is not known.
UNKNOWN = 65535
#: Entries of a table over all levels, `UNKNOWN` included.
LEVELS = 65536
#: Weights are counted in units of 1 / UNIT; 2³¹ samples of weight 1 fit into an int64.
UNIT = 2**32
#: Beyond it the smallest weights would no longer be many units.
MAX_PRESSURE = 1e6
BITS = 47  # of a score, kept exactly; 65534 · 2⁴⁷ fits into an int64


def levels_of(scores: NDArray[Any]) -> NDArray[np.uint16]:
    """Round scores to levels.

    Args:
        scores: (n,) float in [0, 1]; NaN = not known.

    Returns:
        (n,) uint16, `UNKNOWN` for NaN.

    Raises:
        ParameterError: a score outside [0, 1].

    >>> levels_of(np.array([0.0, 0.5, 1.0, np.nan]))
    array([    0, 32767, 65534, 65535], dtype=uint16)
    """
    known = ~np.isnan(scores)
    outside = known & ~((scores >= 0) & (scores <= 1))
    if outside.any():
        raise ParameterError(
            f"Scores must be in [0, 1], got {float(scores[outside][0]):g}.",
            "Scale them, 0 = most wanted, or clamp what rounding has moved outside.",
        )
    levels = np.full(scores.shape, UNKNOWN, np.uint16)
    levels[known] = np.rint(scores[known].astype(np.float64) * TOP)
    return levels


def scores_of(levels: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The scores that levels stand for, (n,) float32; NaN for `UNKNOWN`."""
    scores = levels.astype(np.float32) / np.float32(TOP)
    scores[levels == UNKNOWN] = np.nan
    return scores


def check_pressure(pressure: float) -> float:
    """Refuse a selection pressure outside [1, 1e6].

    Raises:
        ParameterError: pressure outside.
    """
    if not 1 <= pressure <= MAX_PRESSURE:
        raise ParameterError(
            f"pressure must be in [1, {MAX_PRESSURE:g}], got {pressure:g}.",
            "1 draws uniformly; papers use 2 to 1000.",
        )
    return pressure


def weight_table(pressure: float) -> NDArray[np.int64]:
    """The weight of every level, in units of 1 / `UNIT`.

    Args:
        pressure: Weight of score 0 over weight of score 1, in [1, 1e6].

    Returns:
        (65536,) int64 in 1 … UNIT, not increasing; the entry of `UNKNOWN` is 0, for whoever uses
        the table decides what an unknown sample weighs.

    Raises:
        ParameterError: pressure out of range.

    >>> table = weight_table(100.0)
    >>> (table[[0, 32767, 65534]] / UNIT).round(6).tolist()
    [1.0, 0.1, 0.01]
    """
    factor = 1 / check_pressure(pressure)
    score = np.arange(LEVELS - 1, dtype=np.int64) * 2**BITS // TOP  # in units of 2^-BITS
    weight = np.ones(LEVELS - 1)
    # pressure^(-u) is the product of pressure^(-2^-k) over the bits k of u that are set: a byte of
    # them at a time, whose products are in a table
    for shift in range(BITS - 7, -1, -8):
        of_byte = np.ones(1)
        for _ in range(8):  # from its highest bit down
            of_byte = np.stack([of_byte, of_byte * factor], 1).ravel()
            factor = float(np.sqrt(factor))
        weight *= of_byte[score >> shift & 255]
    table = np.zeros(LEVELS, np.int64)
    table[:-1] = np.rint(weight * UNIT)
    return table
