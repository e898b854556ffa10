"""Sums of numbers of at least 0 that lose nothing, so that any order gives the same.

A float64 is a whole number of units of 2^-1075 (twice, for the smallest); a sum is such a number,
in chunks of 32 bits that are given 63 each to grow in.

Source: Neal, Fast exact summation using small and large superaccumulators, 2015.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.compiled import kernel

__all__ = ["CHUNKS", "add_bits", "add_exactly", "carry"]

CHUNKS = 69  # the last one counts what is infinite or NaN

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@kernel
def add_bits(bits: int, chunks: Numbers) -> None:
    """Add a number, given by its bits; grows no chunk by more than 2^33.

    Args:
        chunks: (CHUNKS,) of the sum.
    """
    exponent = bits >> 52
    mantissa = bits & 0xFFFFFFFFFFFFF
    if exponent == 0x7FF:
        chunks[CHUNKS - 1] += 1
        return
    if exponent > 0:
        mantissa |= 1 << 52
    else:
        exponent = 1
    place, shift = exponent >> 5, exponent & 31
    low = (mantissa & 0xFFFFFFFF) << shift
    high = (mantissa >> 32) << shift
    chunks[place] += low & 0xFFFFFFFF
    chunks[place + 1] += (low >> 32) + (high & 0xFFFFFFFF)
    chunks[place + 2] += high >> 32


@kernel
def add_exactly(values: Floats, chunks: Numbers) -> None:
    """Add numbers of at least 0, (r,), to a sum, (CHUNKS,)."""
    bits = values.view(np.int64)
    for i in range(len(bits)):
        add_bits(bits[i], chunks)


@kernel
def carry(sums: Numbers) -> None:
    """Leave 32 bits in every chunk of the sums, (n, CHUNKS)."""
    for s in range(len(sums)):
        over = np.int64(0)
        for i in range(CHUNKS - 1):
            value = sums[s, i] + over
            over = value >> 32
            sums[s, i] = value & 0xFFFFFFFF
