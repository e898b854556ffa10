"""Sines and cosines of many angles, the same bits on every machine.

    n = the multiple of π/2 nearest to x      r = x - n π/2, at most π/4      Taylor's series of r

The same few multiplications for every angle, so that they are done for several at once: several
times as fast as library calls, whose last bits differ from one processor to the next besides.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from thresher.cluster.kernels.compiled import kernel

__all__ = ["sines_and_cosines"]

TO_QUARTERS = 2 / math.pi
ROUND = 1.5 * 2.0**52  # added to a small number, leaves no bit behind the point
# π/2 in two parts: the first has 33 bits, so that a multiple of it is exact
QUARTER = math.floor(math.pi / 2 * 2**32) / 2**32
QUARTER_REST = (math.pi / 2 - QUARTER) + 6.123233995736766e-17  # what float64's π/2 lacks

S3, S5, S7, S9 = -1 / 6, 1 / 120, -1 / 5040, 1 / 362_880
S11, S13, S15 = -1 / 39_916_800, 1 / 6_227_020_800, -1 / 1_307_674_368_000
C4, C6, C8, C10 = 1 / 24, -1 / 720, 1 / 40_320, -1 / 3_628_800
C12, C14, C16 = 1 / 479_001_600, -1 / 87_178_291_200, 1 / 20_922_789_888_000


@kernel
def sines_and_cosines(angles: Any, sines: Any, cosines: Any) -> None:
    """Write sine and cosine of every angle.

    Args:
        angles: (n,) float64, contiguous, radians, at most a million.
        sines: (n,) float64, to write to; right to 2e-16.
        cosines: (n,) float64, to write to; right to 2e-16.
    """
    for i in range(len(angles)):
        x = angles[i]
        n = (x * TO_QUARTERS + ROUND) - ROUND
        r = (x - n * QUARTER) - n * QUARTER_REST
        z = r * r
        tail = S3 + z * (S5 + z * (S7 + z * (S9 + z * (S11 + z * (S13 + z * S15)))))
        sine = r + r * (z * tail)
        half = 0.5 * z
        most = 1.0 - half
        tail = C4 + z * (C6 + z * (C8 + z * (C10 + z * (C12 + z * (C14 + z * C16)))))
        cosine = most + (((1.0 - most) - half) + z * z * tail)
        quarter = np.int64(n) & 3
        first, second = (cosine, sine) if quarter & 1 else (sine, cosine)
        sines[i] = -first if quarter & 2 else first
        cosines[i] = -second if (quarter + 1) & 2 else second
