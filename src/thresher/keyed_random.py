"""Randomness that belongs to a sample, not to the order in which samples arrive.

A generator hands out its numbers in the order it is asked: another batch size, another number of
workers or a resumed run would change what each sample gets. Here every number is a hash of its
key, so it can be asked for in any order, as often as one likes.

    keyed_seed      a 63-bit seed for a generator, from a seed and names or numbers
    keyed_uniform   one number in [0, 1) per sample, from (seed, epoch, sample, stream)

This module works on tensors without importing torch, so that seeds cost nothing to make.

Source: the mixing function is SplitMix64 (Steele, Lea, Flood, Fast splittable pseudorandom number
generators, OOPSLA 2014); hashing a counter instead of stepping a state follows Salmon et al.,
Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

from __future__ import annotations

import operator
from hashlib import blake2b
from typing import TYPE_CHECKING

from thresher.errors import ParameterError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["keyed_seed", "keyed_uniform"]

# SplitMix64's increment and its two multipliers, as signed 64-bit numbers.
_INCREMENT = 0x9E3779B97F4A7C15 - 2**64
_FIRST_MULTIPLIER = 0xBF58476D1CE4E5B9 - 2**64
_SECOND_MULTIPLIER = 0x94D049BB133111EB - 2**64


def keyed_seed(seed: int, *parts: int | str) -> int:
    """Derive a seed from a seed and a key; equal on every machine, Python and library version.

    Different keys give unrelated seeds: ``("network", 1)`` and ``("network1",)`` differ, and so do
    the number ``1`` and the text ``"1"``.

    Args:
        seed: The run's seed, any integer.
        parts: What the seed is for, integers and texts, in order.

    Returns:
        An integer in [0, 2**63), fit for ``torch.Generator`` and ``numpy.random.default_rng``.

    Raises:
        ParameterError: A part is neither an integer nor a text.

    >>> keyed_seed(0, "network", 1)
    3652439832025897295
    """
    key = blake2b(digest_size=8)
    for part in (seed, *parts):
        written = _written(part)
        key.update(b"%d:" % len(written) + written)
    return int.from_bytes(key.digest(), "little") >> 1


def keyed_uniform(seed: int, epoch: int, index: Tensor, stream: int) -> Tensor:
    """Draw one number per sample that depends on (seed, epoch, sample, stream) and nothing else.

    Args:
        seed: The run's seed.
        epoch: The epoch, so that a sample is treated anew each time it is visited.
        index: Stable sample indices, (B,) int64, on any device.
        stream: Which of the sample's numbers: independent uses take different streams.

    Returns:
        (B,) float32 in [0, 1), multiples of 2**-24, on the device of ``index``.

    Raises:
        ParameterError: ``index`` does not hold integers.
    """
    if index.is_floating_point() or index.is_complex():
        raise ParameterError(
            f"The sample index must hold integers, got {index.dtype}.",
            "Pass the stable sample numbers of the batch as an int64 tensor.",
        )
    start = keyed_seed(seed, epoch, stream)
    bits = _mixed(index.long() * _INCREMENT + start)
    # float32 holds 24 bits exactly; more of them would round up to 1.0.
    return _shifted(bits, 40).float() * 2.0**-24


def _written(part: int | str) -> bytes:
    if isinstance(part, str):
        return b"s" + part.encode()
    try:
        return b"i%d" % operator.index(part)
    except TypeError:
        raise ParameterError(
            f"A seed is made of integers and texts, got {part!r} of type {type(part).__name__}.",
            "Convert it to int or str first.",
        ) from None


def _mixed(state: Tensor) -> Tensor:
    """SplitMix64's output function on int64, whose products wrap around as unsigned ones do."""
    state = (state ^ _shifted(state, 30)) * _FIRST_MULTIPLIER
    state = (state ^ _shifted(state, 27)) * _SECOND_MULTIPLIER
    return state ^ _shifted(state, 31)


def _shifted(bits: Tensor, places: int) -> Tensor:
    """Shift right and fill with zeros; ``>>`` alone repeats the sign bit of an int64."""
    return (bits >> places) & ((1 << (64 - places)) - 1)
