"""Distinct rows in a table that rows can be added to, part after part, and looked up in.

A slot holds the number of a row, or -1; a row lies in the first free slot from its hash on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from thresher.cluster.kernels.compiled import kernel

__all__ = ["add_rows", "fill_slots", "find_rows"]


@kernel
def _slot_of(row: int, hashes: Any, rows: Any, slots: Any, held: Any) -> int:
    """The slot where a row lies, or would lie."""
    mask = np.int64(len(slots) - 1)
    slot = np.int64(hashes[row]) & mask
    while slots[slot] >= 0:
        other = slots[slot]
        same = True
        for k in range(rows.shape[1]):
            same &= held[other, k] == rows[row, k]
        if same:
            break
        slot = (slot + 1) & mask
    return slot


@kernel
def add_rows(
    rows: Any,
    hashes: Any,
    weights: Any,
    numbers: Any,
    slots: Any,
    held: Any,
    totals: Any,
    lowest: Any,
    count: int,
) -> int:
    """Add rows to those of a table; equal ones add their weights and keep the lowest number.

    Args:
        rows: (b, d) float64, none of them -0.
        hashes: (b,) uint64.
        weights: (b,) of the type of ``totals``.
        numbers: (b,) int64.
        slots: (a power of two,) int32, more than twice the rows there will be.
        held: (capacity, d) the table's distinct rows, to write to.
        totals: (capacity,) their weights, to write to.
        lowest: (capacity,) int64 their lowest numbers, to write to.
        count: How many there are.

    Returns:
        How many there are now.
    """
    for i in range(rows.shape[0]):
        slot = _slot_of(i, hashes, rows, slots, held)
        place = slots[slot]
        if place < 0:
            slots[slot] = count
            for k in range(rows.shape[1]):
                held[count, k] = rows[i, k]
            totals[count], lowest[count] = weights[i], numbers[i]
            count += 1
        else:
            totals[place] += weights[i]
            lowest[place] = min(lowest[place], numbers[i])
    return count


@kernel
def fill_slots(held: Any, first: int, hashes: Any, slots: Any) -> None:
    """Fill in slots, -1 before, for as many of the distinct rows (m, d) from the first on."""
    rows = held[first : first + len(hashes)]
    for i in range(rows.shape[0]):
        slots[_slot_of(i, hashes, rows, slots, held)] = first + i


@kernel
def find_rows(rows: Any, hashes: Any, slots: Any, held: Any, found: Any) -> None:
    """Write the number of the held row that equals each of some rows, or -1."""
    for i in range(rows.shape[0]):
        found[i] = slots[_slot_of(i, hashes, rows, slots, held)]
