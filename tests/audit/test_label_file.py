"""Labels and class names in files."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from thresher.audit.label_file import read_classes, read_labels
from thresher.errors import DataError, ParameterError


def test_npy_holds_numbers_or_names(tmp_path):
    """As they are."""
    np.save(tmp_path / "n.npy", np.array([0, 2, 1], np.int16))
    np.save(tmp_path / "s.npy", np.array(["cat", "dog"]))
    assert [0, 2, 1] == read_labels(str(tmp_path / "n.npy")).tolist()
    assert ["cat", "dog"] == read_labels(str(tmp_path / "s.npy")).tolist()


def test_csv_with_one_column_needs_no_name(tmp_path):
    """An empty field is a missing label; NA is a name."""
    (tmp_path / "l.csv").write_text('label\ncat\n""\nNA\n')
    assert ["cat", None, "NA"] == read_labels(str(tmp_path / "l.csv")).tolist()


def test_a_column_is_named_behind_a_colon(tmp_path):
    """Colons within it, and in the folder, are part of their names."""
    folder = tmp_path / "a:b.csv.d"
    folder.mkdir()
    (folder / "l.csv").write_text("id,x:y\n1,5\n2,\n3,0\n")
    assert [5, -1, 0] == read_labels(f"{folder}/l.csv:x:y").tolist()
    with pytest.raises(ParameterError, match="has 2 columns"):
        read_labels(f"{folder}/l.csv")
    with pytest.raises(ParameterError, match='no column "x"'):
        read_labels(f"{folder}/l.csv:x")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([3, None, 1]), [3, -1, 1]),
        (pa.array(["b", None, "a"]), ["b", None, "a"]),
        (pa.array(["b", None, "a"]).dictionary_encode(), ["b", None, "a"]),
        (pa.array(["b", "a"], pa.large_string()), ["b", "a"]),
        (pa.array([0.5, 1.0]), [0.5, 1.0]),
        (pa.array([True, False, None]), [True, False, None]),
        (pa.array([["a", "b"], ["a"]]), [["a", "b"], ["a"]]),
    ],
)
def test_parquet_columns_keep_their_kind(tmp_path, column, expected):
    """Lists too, so that they are refused by their name."""
    pq.write_table(pa.table({"y": column, "z": column}), tmp_path / "l.parquet")
    assert expected == read_labels(f"{tmp_path}/l.parquet:y").tolist()


@pytest.mark.parametrize(
    ("place", "kind", "message"),
    [
        ("none.csv", DataError, r"none\.csv does not exist"),
        ("none.npy", DataError, r"none\.npy does not exist"),
        ("l.txt", ParameterError, r"\.npy, \.csv or \.parquet"),
        ("bad.parquet", DataError, r"bad\.parquet cannot be read"),
        ("bad.csv", DataError, r"bad\.csv cannot be read"),
        ("n.npy:y", ParameterError, "has no column 'y'"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, monkeypatch, place, kind, message):
    """With its file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.parquet").write_bytes(b"rubbish")
    (tmp_path / "bad.csv").write_bytes(b"a\n1\n2,3\n")
    with pytest.raises(kind, match=message):
        read_labels(place)


def test_class_names_come_from_a_list_or_a_file(tmp_path):
    """A line each; commas within a line are part of the name."""
    (tmp_path / "names.txt").write_text("cat, big\ndog\n", encoding="utf-8-sig")
    assert ["cat, big", "dog"] == read_classes(str(tmp_path / "names.txt"))
    assert ["cat", "dog"] == read_classes("cat,dog")
    assert 3000 == len(read_classes(",".join(map(str, range(3000)))))
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="one class name a line"):
        read_classes(str(tmp_path / "names.txt"))
