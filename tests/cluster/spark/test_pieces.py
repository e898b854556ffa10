"""Pieces of a dictionary: small, and the same numbers when they are put together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thresher.cluster.row_table import RowTable
from thresher.cluster.snapped import snap
from thresher.cluster.spark import pieces
from thresher.errors import DataError


def rows_of(batches):
    """The rows of record batches, one after another."""
    return [row for batch in batches for row in batch.to_pylist()]


def filled(centres, weights):
    """A table of rows of these weights."""
    table = RowTable(centres.shape[1], weights.dtype)
    table.add(centres, weights, np.arange(len(centres)) + 2**41)
    return table


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 200),
    d=st.integers(1, 4),
    side=st.sampled_from([0.1, 1 / 3, 1e-9, 1e9]),
    buckets=st.integers(1, 5),
    kind=st.sampled_from(["whole", "fractions", "heavy"]),
)
def test_pieces_give_the_table_back(seed, n, d, side, buckets, kind):
    """Bit for bit, and a cell is in the bucket of its hash, whichever task tells of it."""
    random = np.random.default_rng(seed)
    centres = snap(random.normal(size=(n, d)) * random.choice([1, 1e6]), side)
    weights = {
        "whole": random.integers(1, 5, n),
        "fractions": random.random(n),
        "heavy": random.integers(2**40, 2**41, n),
    }[kind]
    table = filled(centres, weights)
    rows = rows_of(pieces.pieces(table, side, buckets))
    found = RowTable(d, weights.dtype)
    for row in rows:
        found.add(*pieces.decoded(row, d, side))
    assert sum(row["cells"] for row in rows) == table.count
    order, other = np.argsort(table.lowest), np.argsort(found.lowest)
    for name in ("rows", "weights", "lowest"):
        np.testing.assert_array_equal(getattr(table, name)[order], getattr(found, name)[other])
    half = filled(centres[::2], weights[::2])
    again = rows_of(pieces.pieces(half, side, buckets))
    bucket_of = {tuple(p): row["bucket"] for row in rows for p in pieces.decoded(row, d, side).rows}
    for row in again:
        for place in pieces.decoded(row, d, side).rows:
            assert row["bucket"] == bucket_of[tuple(place)]


@pytest.mark.parametrize(("apart", "size"), [(1, 11), (1000, 13), (2**33, 17)])
def test_a_cell_of_two_dimensions_takes_few_bytes(apart, size):
    """Two numbers of cubes, a count, and the lowest point's number beyond the piece's lowest."""
    centres = snap(np.random.default_rng(0).normal(size=(1000, 2)), 0.01)
    table = RowTable(2)
    table.add(centres, np.ones(1000, np.int64), apart * np.arange(1000) + 2**41)
    rows = rows_of(pieces.pieces(table, 0.01, 1))
    found = sum(len(row[name]) for row in rows for name in ("rows", "weights", "lowest"))
    assert size * table.count == found


def test_a_fault_is_raised_in_its_words():
    rows = rows_of([pieces.fault(3, DataError("Row 7 is wrong.", "Mend it."))])
    with pytest.raises(DataError, match=r"Row 7 is wrong\. Mend it\."):
        pieces.raise_faults([row["fault"] for row in rows])
    pieces.raise_faults([])
