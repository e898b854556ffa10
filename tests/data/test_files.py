import zipfile

import pyarrow as pa
import pytest

import thresher
from thresher.data import open_data
from thresher.data.files import reading
from thresher.errors import DataError


def test_a_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "train.csv").write_text("a,label\n1,x\n")
    (tmp_path / "train.txt").touch()
    with pytest.raises(DataError, match=r"trian\.csv does not exist") as caught:
        open_data(tmp_path / "trian.csv")
    assert caught.value.fix == 'Did you mean "train.csv"?'


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        open_data(tmp_path / "nowhere" / "data.csv")


def test_an_empty_folder_says_so(tmp_path):
    with pytest.raises(DataError, match="does not exist") as caught:
        open_data(tmp_path / "data.csv")
    assert "holds no data file" in caught.value.fix


@pytest.mark.parametrize("name", ["data.xlsx", "data", "data.csv.gz"])
def test_other_formats_are_refused_with_those_that_are_read(tmp_path, name):
    (tmp_path / name).write_text("anything")
    with pytest.raises(DataError, match="a format that is not read") as caught:
        open_data(str(tmp_path / name))
    assert ".csv, .tsv, .parquet, .jsonl, .ndjson, .npz" in caught.value.fix


def test_suffixes_are_read_in_any_case(tmp_path):
    path = tmp_path / "DATA.CSV"
    path.write_text("a,label\n1,x\n2,y\n3,x\n4,y\n")
    assert str(path) == open_data(str(path)).source


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "permission denied"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (pa.ArrowInvalid("first\nsecond"), "as a table: first second"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "as a table"),
        (zipfile.BadZipFile("no archive"), "as a table: no archive"),
    ],
)
def test_failures_to_read_are_told_on_one_line(tmp_path, error, words):
    with pytest.raises(DataError, match=words) as caught, reading(tmp_path / "a.csv", "a table"):
        raise error
    assert "\n" not in caught.value.cause
    assert str(tmp_path / "a.csv") in caught.value.cause
    assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "said"), [("", "name of the data is empty"), ("a\udcff.csv", "is not UTF-8 text")]
)
def test_names_that_are_none_are_refused(name, said, tmp_path, monkeypatch):
    """An empty one, as of an unset variable of the shell, is not the current folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=said):
        open_data(name)
    with pytest.raises(DataError, match=said):
        thresher.fit(name, out="run")
    assert [] == list(tmp_path.iterdir())
