"""Distinct rows gathered part by part."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from thresher.cluster import row_table
from thresher.cluster.row_table import RowTable, empty_slots, find, slots_of


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 300),
    d=st.integers(1, 4),
    parts=st.integers(1, 5),
    weighted=st.booleans(),
)
def test_rows_are_told_apart_weighed_and_numbered(seed, n, d, parts, weighted):
    """Whatever the parts and their order."""
    random = np.random.default_rng(seed)
    rows = random.integers(-2, 3, (n, d)) * 0.5
    weights = random.random(n) if weighted else random.integers(0, 9, n)
    table = RowTable(d, weights.dtype)
    pieces = np.array_split(np.arange(n), parts)
    for place in random.permutation(parts):
        chosen = pieces[place]
        table.add(rows[chosen], weights[chosen], chosen + 7)
    expected, first, same = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    order = np.lexsort(table.rows.T[::-1])
    np.testing.assert_array_equal(expected, table.rows[order])
    np.testing.assert_array_equal(first + 7, table.lowest[order])
    totals = np.bincount(same.reshape(-1), weights, minlength=len(expected))
    np.testing.assert_allclose(totals, table.weights[order], rtol=1e-12)


def test_a_table_grows(monkeypatch):
    """Beyond what it had room for at first."""
    monkeypatch.setattr(row_table, "FIRST", 2)
    rows = np.arange(5000.0)[:, None]
    table = RowTable(1)
    for start in range(0, 5000, 700):
        part = rows[start : start + 700]
        table.add(part, np.ones(len(part), np.int64), np.arange(start, start + len(part)))
    table.add(rows, np.ones(5000, np.int64), np.arange(5000))
    np.testing.assert_array_equal(rows, table.rows)
    assert {2} == set(table.weights.tolist())


def test_zero_is_zero_with_either_sign():
    table = RowTable(1)
    table.add(np.array([[0.0], [-0.0]]), np.ones(2, np.int64), np.arange(2))
    assert 1 == table.count
    assert not np.signbit(table.rows).any()


def test_rows_are_found_again():
    """Also in arrays that cannot be written to, as files that are mapped."""
    random = np.random.default_rng(0)
    held = np.unique(random.integers(0, 30, (500, 2)), axis=0).astype(float)
    slots = slots_of(held, empty_slots(len(held)))
    slots.flags.writeable = held.flags.writeable = False
    wanted = random.integers(0, 40, (300, 2)).astype(float)
    found = find(wanted, slots, held)
    there = (wanted[:, None] == held).all(axis=2)
    np.testing.assert_array_equal(there.any(axis=1), found >= 0)
    np.testing.assert_array_equal(wanted[found >= 0], held[found[found >= 0]])
