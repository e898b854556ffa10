from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pictures import class_folders
from thresher.data import open_data
from thresher.data.splits import dataset_splits, folder_splits, training_and_test

ROWS = pa.table({"a": [1, 2, 3, 4], "label": list("pqpq")})


def test_folders_named_as_splits_are_found(tmp_path):
    for name in ("Train", "val", "test"):
        class_folders(tmp_path / name)
    expected = {"train": "Train", "validation": "val", "test": "test"}
    found = folder_splits(tmp_path)
    assert expected == {split: path.name for split, path in found.items()}
    assert 6 == len(open_data(found["train"]))


def test_class_folders_are_no_splits(tmp_path):
    class_folders(tmp_path, ("bus", "car", "train"))
    assert {} == folder_splits(tmp_path)
    assert {} == folder_splits(tmp_path / "nowhere")
    assert {} == folder_splits(tmp_path / "bus" / "0.png")


@pytest.mark.parametrize("below", ["", "data"])
def test_files_and_part_files_named_as_splits_are_found(tmp_path, below):
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    for part in range(2):
        rows = ROWS.set_column(0, "a", pa.array([part] * 4))
        pq.write_table(rows, folder / f"train-0000{part}-of-00002.parquet")
    pq.write_table(ROWS, folder / "validation.parquet")
    (folder / "README.md").touch()
    found = folder_splits(tmp_path)
    assert {"train", "validation"} == set(found)
    assert [0] * 4 + [1] * 4 == open_data(found["train"]).inputs[:, 0].tolist()
    assert 4 == len(open_data(str(found["validation"])))


def test_test_data_come_from_the_test_split_or_else_from_validation(tmp_path):
    for name in ("train.csv", "val.csv", "test.csv"):
        (tmp_path / name).write_text("a,label\n1,x\n2,y\n1,x\n2,y\n")
    train, test, notes = training_and_test(tmp_path)
    assert ("train.csv", "test.csv") == (train.name, test.name)
    assert "Trained on the train split, tested on test." == notes[0]
    assert 'Not used beside the train split: "val.csv".' == notes[1]
    (tmp_path / "test.csv").unlink()
    assert "val.csv" == training_and_test(str(tmp_path))[1].name
    (tmp_path / "val.csv").unlink()
    assert (tmp_path / "train.csv", None, ()) == training_and_test(tmp_path)


def test_test_data_given_by_name_win(tmp_path):
    for name in ("train", "test"):
        class_folders(tmp_path / name)
    train, test, notes = training_and_test(tmp_path, "other")
    assert (tmp_path / "train", "other") == (train, test)
    assert ('Not used beside the train split: "test".',) == notes
    assert () == training_and_test(tmp_path, tmp_path / "test")[2]


def test_anything_else_is_left_as_it_is(tmp_path):
    path = tmp_path / "a.csv"
    assert (path, None, ()) == training_and_test(path)
    assert (ROWS, 1, ()) == training_and_test(ROWS, 1)


def test_mappings_of_data_sets_are_taken_apart():
    data = {"train": [1], "test": [2], "unsupervised": [3]}
    assert {"train": [1], "test": [2]} == dataset_splits(data)
    assert ([1], [2]) == training_and_test(data)[:2]
    assert 'Not used beside the train split: "unsupervised".' == training_and_test(data)[2][-1]
    assert {} == dataset_splits({"x": [1], "y": [2]})
    assert {} == dataset_splits(Path("train"))


def test_what_lies_beside_the_splits_and_is_not_used_is_said_aloud(tmp_path):
    for name in ("train", "test", "val", "extra"):
        class_folders(tmp_path / name)
    (tmp_path / "metadata.csv").write_text("file_name,label\ntrain/cat/0.png,dog\n")
    (tmp_path / "LICENSE").touch()
    said = 'Not used beside the train split: "extra", "metadata.csv", "val".'
    assert said == training_and_test(tmp_path)[2][1]
