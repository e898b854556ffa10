"""Random numbers by their place in a stream, so that parts may be drawn in any order.

Source: SplitMix64, Steele et al., Fast splittable pseudorandom number generators, OOPSLA 2014, by
counter as in `thresher.keyed_random`, which does the same for tensors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.compiled import kernel

__all__ = ["keyed_uniforms"]


@kernel
def keyed_uniforms(seed: int, first: int, count: int) -> NDArray[np.float64]:
    """Numbers first, first + 1, … of a stream, in [0, 1): a hash of (seed, number) each."""
    found = np.empty(count, np.float64)
    for i in range(count):
        state = np.uint64(seed) + np.uint64(first + i + 1) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
        found[i] = np.float64(state >> np.uint64(11)) * 2.0**-53
    return found
