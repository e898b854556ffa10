import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pictures import class_folders
from thresher.data import open_data
from thresher.data.label_file import read_label_file
from thresher.errors import DataError, LabelError

X = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), dtype=np.uint8)
OWN = np.array([0, 1, 2, 0, 1, 2, 0, 1])
WORSE = np.array([1, 1, 2, 0, 0, 2, 0, 2])


def human(path, **changes):
    """A file like CIFAR-10N's."""
    arrays = {"clean_label": OWN, "worse_label": WORSE, "random_label1": OWN} | changes
    torch.save(arrays, path)
    return f"{path}:worse_label"


def test_labels_of_a_pytorch_file_replace_those_of_the_data(tmp_path):
    samples = open_data((X, OWN), labels=human(tmp_path / "human.pt"))
    assert WORSE.tolist() == samples.labels.tolist()
    as_tensors = human(tmp_path / "t.pt", worse_label=torch.tensor(WORSE))
    assert WORSE.tolist() == open_data((X, OWN), labels=as_tensors).labels.tolist()


def test_numbers_take_the_class_names_of_the_data(tmp_path):
    names = np.array(["ant", "bee", "cow"])
    samples = open_data((X, names[OWN]), labels=human(tmp_path / "human.pt"))
    assert ("ant", "bee", "cow") == samples.classes
    assert WORSE.tolist() == samples.labels.tolist()


def test_another_order_of_rows_is_refused(tmp_path):
    source = human(tmp_path / "human.pt")
    order = np.array([3, 1, 2, 0, 5, 4, 6, 7])  # rows 4 and 5 differ
    with pytest.raises(LabelError, match=r"another order .* differs .* in 2 rows of 8") as caught:
        open_data((X[order], OWN[order]), labels=source)
    assert "torchvision" in caught.value.fix
    assert "TensorFlow" in caught.value.fix
    with pytest.raises(LabelError, match="in 8 rows of 8"):
        open_data((X, OWN), labels=human(tmp_path / "other.pt", clean_label=OWN + 7))


def test_data_without_labels_of_their_own_cannot_be_checked(tmp_path):
    np.save(tmp_path / "X.npy", X)
    samples = open_data(tmp_path / "X.npy", labels=human(tmp_path / "human.pt"))
    assert WORSE.tolist() == samples.labels.tolist()


def test_another_number_of_rows_is_refused(tmp_path):
    with pytest.raises(LabelError, match="holds 8 labels for 7 rows"):
        open_data((X[:7], OWN[:7]), labels=human(tmp_path / "human.pt"))
    np.save(tmp_path / "y.npy", WORSE)
    with pytest.raises(DataError, match="holds 8 labels for 7 rows"):
        open_data((X[:7], OWN[:7]), labels=str(tmp_path / "y.npy"))


@pytest.mark.parametrize(
    "name", ["y.npy", "y.npz:worse", "y.csv:worse", "y.parquet:worse", "l.csv"]
)
def test_labels_come_in_many_formats(tmp_path, name):
    frame = pd.DataFrame({"worse": WORSE, "more": 3})
    np.save(tmp_path / "y.npy", WORSE)
    np.savez(tmp_path / "y.npz", worse=WORSE, more=WORSE)
    frame.to_csv(tmp_path / "y.csv", index=False)
    frame.to_parquet(tmp_path / "y.parquet")
    frame.rename(columns={"worse": "label"}).to_csv(tmp_path / "l.csv", index=False)
    assert WORSE.tolist() == open_data((X, OWN), labels=str(tmp_path / name)).labels.tolist()


def test_a_file_of_several_labels_lists_them(tmp_path):
    human(tmp_path / "human.pt")
    with pytest.raises(DataError, match='"clean_label", "worse_label", "random_label1"') as caught:
        read_label_file(str(tmp_path / "human.pt"))
    assert "human.pt:clean_label" in caught.value.fix
    with pytest.raises(DataError, match='no labels "wors"'):
        read_label_file(f"{tmp_path}/human.pt:wors_label".replace("wors_label", "wors"))
    with pytest.raises(DataError, match="does not exist"):
        read_label_file(str(tmp_path / "humane.pt:worse_label"))


def test_a_file_name_may_hold_a_colon(tmp_path):
    np.save(tmp_path / "a:b.npy", WORSE)
    assert WORSE.tolist() == read_label_file(str(tmp_path / "a:b.npy")).column.to_pylist()


class Trap:
    def __reduce__(self):
        return open, ("/nowhere/at/all",)


def test_a_pytorch_file_that_would_run_something_is_refused(tmp_path):
    torch.save({"label": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(DataError, match="is refused: it holds more than tensors"):
        read_label_file(str(tmp_path / "trap.pt"))


def test_other_formats_are_refused(tmp_path):
    (tmp_path / "labels.xlsx").write_bytes(b"x")
    with pytest.raises(DataError, match="labels are not read from"):
        read_label_file(str(tmp_path / "labels.xlsx"))


def test_labels_of_a_table_are_no_feature_beside_those_of_a_file(tmp_path):
    np.save(tmp_path / "y.npy", WORSE)
    table = pa.table({"a": np.arange(8.0), "label": OWN})
    samples = open_data(table, labels=str(tmp_path / "y.npy"))
    assert ("a",) == samples.encoding.features
    assert WORSE.tolist() == samples.labels.tolist()
    tested = open_data(table, encoding=samples.encoding, classes=samples.classes)
    assert OWN.tolist() == tested.labels.tolist()
    with pytest.raises(DataError, match="Which column holds the labels"):
        open_data(table.append_column("target", table["label"]), labels=str(tmp_path / "y.npy"))


def test_labels_of_images_follow_when_broken_ones_are_set_aside(tmp_path):
    class_folders(tmp_path / "data", each=6)
    (tmp_path / "data" / "cat" / "1.png").write_bytes(b"rubbish")
    np.save(tmp_path / "y.npy", np.array([0, 1] * 6))
    samples = open_data(tmp_path / "data", labels=str(tmp_path / "y.npy"))
    assert ("cat", "dog") == samples.classes
    (tmp_path / "loose").mkdir()
    for path in (tmp_path / "data").rglob("*.png"):
        path.rename(tmp_path / "loose" / f"{path.parent.name}{path.name}")
    loose = open_data(tmp_path / "loose", labels=str(tmp_path / "y.npy"))
    assert ("0", "1") == loose.classes
    assert [0, *([0, 1] * 5)] == samples.labels.tolist()


def test_class_names_of_a_parquet_file_name_the_labels_of_the_file(tmp_path):
    schema = pa.schema(
        [("a", pa.float32()), ("label", pa.int64())], metadata={"classes": '["ant", "bee", "cow"]'}
    )
    pq.write_table(pa.table([np.arange(8, dtype=np.float32), OWN], schema), tmp_path / "a.parquet")
    samples = open_data(tmp_path / "a.parquet", labels=human(tmp_path / "human.pt"))
    assert ("ant", "bee", "cow") == samples.classes
    assert WORSE.tolist() == samples.labels.tolist()


def test_an_archive_needs_no_labels_of_its_own(tmp_path):
    np.savez(tmp_path / "a.npz", X=X)
    samples = open_data(tmp_path / "a.npz", labels=human(tmp_path / "human.pt"))
    assert WORSE.tolist() == samples.labels.tolist()


def test_a_refusal_of_a_pickle_does_not_advise_to_run_it(tmp_path):
    class Program:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"labels": Program()}, tmp_path / "labels.pt")
    with pytest.raises(DataError, match="Nothing was run") as caught:
        read_label_file(str(tmp_path / "labels.pt"))
    assert "weights_only" not in str(caught.value)


def test_a_name_for_the_only_array_without_one_is_refused(tmp_path):
    np.save(tmp_path / "y.npy", WORSE)
    with pytest.raises(DataError, match='no labels "0": it holds one array without a name'):
        read_label_file(f"{tmp_path / 'y.npy'}:0")
    with pytest.raises(DataError, match="is a folder, which labels are not read from"):
        read_label_file(str(tmp_path))
