"""Labels stand beside the rows they belong to, in one whole file."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from thresher.cluster.labels_file import check_names, write_labels
from thresher.cluster.open_points import open_rows
from thresher.errors import DataError, ParameterError, RunError


@pytest.fixture
def table():
    """Ten rows of many types."""
    return pa.table(
        {
            "x": pa.array(np.arange(10), pa.int16()),
            "y": pa.array(np.linspace(0, 1, 10), pa.float32()),
            "name": pa.array([*"abcdefghi", None]).dictionary_encode(),
            "when": pa.array(range(10), pa.timestamp("us", tz="UTC")),
            "tags": pa.array([["a"]] * 10),
            "price": pa.array(range(10), pa.decimal128(9, 2)),
        },
        metadata={"made by": "hand"},
    )


ADDED = {"cluster": np.arange(10, dtype=np.int32) - 1, "is_core": np.arange(10) % 2 == 0}


def test_the_columns_of_the_input_stay_as_they_are(table, tmp_path):
    """Names, types, order and metadata; clusters come last."""
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=3)
    write_labels(tmp_path / "out.parquet", open_rows(tmp_path / "in.parquet"), ADDED, {"eps": 0.5})
    written = pq.read_table(tmp_path / "out.parquet")
    assert written.select(table.column_names).equals(table)
    assert written.schema.field("name").type == table.schema.field("name").type
    assert [*table.column_names, "cluster", "is_core"] == written.column_names
    assert [pa.int32(), pa.bool_()] == written.schema.types[-2:]
    assert ADDED["cluster"].tolist() == written["cluster"].to_pylist()
    assert ADDED["is_core"].tolist() == written["is_core"].to_pylist()
    assert written.schema.metadata[b"made by"] == b"hand"
    assert json.loads(written.schema.metadata[b"thresher"]) == {"schema": 1, "eps": 0.5}


def test_a_folder_becomes_one_file_in_the_order_of_its_rows(table, tmp_path):
    """With the columns that its folders name."""
    for name, start, stop in (("k=b/0", 0, 4), ("k=a/1", 4, 4), ("k=a/0", 4, 10)):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.slice(start, stop - start), tmp_path / f"in/{name}.parquet")
    write_labels(tmp_path / "out.parquet", open_rows(tmp_path / "in"), ADDED, {})
    written = pq.read_table(tmp_path / "out.parquet")
    assert [*range(4, 10), *range(4)] == written["x"].to_pylist()
    assert ["a"] * 6 + ["b"] * 4 == written["k"].to_pylist()
    assert ADDED["cluster"].tolist() == written["cluster"].to_pylist()


@pytest.mark.parametrize("kind", ["csv", "npy", "pandas", "polars"])
def test_every_source_becomes_parquet(kind, tmp_path):
    """Text and arrays too, in their own types."""
    X = np.arange(20, dtype=np.int32).reshape(10, 2)
    frame = pd.DataFrame(X, columns=["x0", "x1"])
    frame.to_csv(tmp_path / "in.csv", index=False)
    np.save(tmp_path / "in.npy", X)
    source = {"pandas": frame, "polars": pl.DataFrame({"x0": X[:, 0], "x1": X[:, 1]})}.get(
        kind, tmp_path / f"in.{kind}"
    )
    write_labels(tmp_path / "out.parquet", open_rows(source), ADDED, {})
    written = pq.read_table(tmp_path / "out.parquet")
    assert X[:, 0].tolist() == written["x0"].to_pylist()
    assert X[:, 1].tolist() == written["x1"].to_pylist()
    assert written.schema.field("x0").type == (pa.int64() if kind == "csv" else pa.int32())


def test_labels_can_stand_alone(table, tmp_path):
    """In the order of the rows, and nothing else."""
    write_labels(tmp_path / "out.parquet", None, ADDED, {})
    written = pq.read_table(tmp_path / "out.parquet")
    assert written.to_pydict() == {name: each.tolist() for name, each in ADDED.items()}


def test_no_rows_make_a_file_without_rows(table, tmp_path):
    """With all its columns."""
    none = {name: each[:0] for name, each in ADDED.items()}
    for rows in (open_rows(table.slice(0, 0)), None):
        write_labels(tmp_path / "out.parquet", rows, none, {})
        written = pq.read_table(tmp_path / "out.parquet")
        assert written.num_rows == 0
        assert ["cluster", "is_core"] == written.column_names[-2:]


def test_the_share_that_is_written_is_told(table, tmp_path):
    """From the first part to the last."""
    told = []
    write_labels(tmp_path / "out.parquet", open_rows(table), ADDED, {}, told.append)
    assert [1.0] == told


def test_a_name_that_is_taken_is_refused(table, tmp_path):
    """Before anything is written; the repair says how to do without."""
    taken = table.append_column("cluster", table["x"])
    with pytest.raises(ParameterError, match=r'column "cluster" already\. .*--only-labels'):
        check_names(taken.schema, ("cluster", "is_core"))
    with pytest.raises(ParameterError):
        write_labels(tmp_path / "out.parquet", open_rows(taken), ADDED, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rows", [9, 11])
def test_an_input_that_changed_meanwhile_is_refused(rows, table, tmp_path):
    """A file that stood there before is untouched, and nothing half-written is left."""
    (tmp_path / "out.parquet").write_text("before")
    other = pa.concat_tables([table, table]).slice(0, rows)
    with pytest.raises(DataError, match="10 labels for an input of other length"):
        write_labels(tmp_path / "out.parquet", open_rows(other), ADDED, {})
    assert ["out.parquet"] == [each.name for each in tmp_path.iterdir()]
    assert (tmp_path / "out.parquet").read_text() == "before"


def test_a_place_that_cannot_be_written_is_named(table, tmp_path):
    """With the system's reason."""
    with pytest.raises(RunError, match="No such file"):
        write_labels(tmp_path / "nowhere/out.parquet", open_rows(table), ADDED, {})
