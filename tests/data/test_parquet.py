import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from thresher.data import open_data
from thresher.errors import DataError

ROWS = pa.table({"a": [1, 2, 3, 4], "label": list("pqpq")})


def test_part_files_are_read_in_the_order_of_their_paths(tmp_path):
    for place, name in enumerate(["b/2.parquet", "a.parquet", "b/1.parquet"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        part = pa.table({"a": [10 * place, 10 * place + 1], "label": ["p", "q"]})
        pq.write_table(part, tmp_path / name)
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".hidden.parquet").write_bytes(b"rubbish")
    assert [10, 11, 20, 21, 0, 1] == open_data(tmp_path).inputs[:, 0].tolist()


def test_parts_may_lack_columns_and_differ_in_width(tmp_path):
    pq.write_table(ROWS, tmp_path / "0.parquet")
    more = pa.table({"a": [5.5, 6.5], "b": [1, 2], "label": ["p", "q"]})
    pq.write_table(more, tmp_path / "1.parquet")
    samples = open_data(tmp_path)
    assert ("a", "b", "b missing") == samples.encoding.features
    assert [1, 2, 3, 4, 5.5, 6.5] == samples.inputs[:, 0].tolist()


def test_folders_named_by_key_and_value_are_columns(tmp_path):
    for label in "pq":
        (tmp_path / f"label={label}").mkdir()
        pq.write_table(ROWS.drop_columns("label"), tmp_path / f"label={label}" / "0.parquet")
    samples = open_data(tmp_path)
    assert ("p", "q") == samples.classes
    assert [0] * 4 + [1] * 4 == samples.labels.tolist()


def test_a_folder_of_several_splits_is_refused(tmp_path):
    pq.write_table(ROWS, tmp_path / "train-00000.parquet")
    pq.write_table(ROWS, tmp_path / "test-00000.parquet")
    with pytest.raises(DataError, match=r"several splits: .*test-00000.*train-00000"):
        open_data(tmp_path)


def test_a_folder_without_parquet_names_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match="holds no Parquet files") as caught:
        open_data(tmp_path)
    assert "Name a file that ends in .csv" in caught.value.fix
    (tmp_path / "rows.csv").touch()
    with pytest.raises(DataError, match="holds no Parquet files") as caught:
        open_data(tmp_path)
    assert 'Name one of its files: "rows.csv"' in caught.value.fix


@pytest.mark.parametrize("cut", [0, 4, 100])
def test_a_file_cut_short_is_refused(tmp_path, cut):
    path = tmp_path / "a.parquet"
    pq.write_table(ROWS, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(
        DataError, match=r"a\.parquet (is empty|cannot be read as Parquet)"
    ) as caught:
        open_data(path)
    assert caught.value.fix


def test_a_broken_part_is_named(tmp_path):
    pq.write_table(ROWS, tmp_path / "0.parquet")
    (tmp_path / "1.parquet").write_bytes(b"rubbish, and nothing else")
    with pytest.raises(DataError, match=r"1\.parquet cannot be read as Parquet"):
        open_data(tmp_path)


def test_incompatible_parts_are_refused(tmp_path):
    pq.write_table(ROWS, tmp_path / "0.parquet")
    pq.write_table(pa.table({"a": ["x"], "label": ["p"]}), tmp_path / "1.parquet")
    with pytest.raises(DataError, match="cannot be read as a folder of Parquet files"):
        open_data(tmp_path)
