"""Rows as Spark reads them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def table_of(X, **more):
    """Columns x0, x1, … and others."""
    return pa.table({f"x{j}": X[:, j] for j in range(X.shape[1])} | more)


def folder_of(tmp_path, table, files=3, group=250):
    """A folder of Parquet files with small row groups, in the order of their names."""
    folder = tmp_path / "points"
    folder.mkdir()
    cuts = np.linspace(0, len(table), files + 1).astype(int)
    for place, (first, last) in enumerate(pairwise(cuts)):
        part = table.slice(first, last - first)
        pq.write_table(part, folder / f"{place:02}.parquet", row_group_size=group)
    return folder
