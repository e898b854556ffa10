"""Every row of an audit leads back to a file or to a row of the data, whatever their form."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from torch.utils.data import TensorDataset

import pictures
import shipped
import thresher
from thresher.data import open_data
from thresher.data.splits import training_and_test
from thresher.review.evidence import source_folder


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def class_folders():
    pictures.class_folders(Path("photos"), each=6)
    return "photos"


def folders_of_folders():
    pictures.class_folders(Path("photos"), names=("cat/day", "dog/day", "dog/night"), each=4)
    return "photos"


def train_and_test_folders():
    pictures.class_folders(Path("photos/train"), each=6)
    pictures.class_folders(Path("photos/test"), each=2)
    return "photos"


def a_lone_split_folder():
    pictures.class_folders(Path("photos/train"), each=6)
    return "photos"


def images_beside_a_table():
    paths = pictures.class_folders(Path("photos"), each=6)
    labels = [each.partition("/")[0] for each in paths]
    table = pd.DataFrame({"file_name": paths, "label": labels})[::-1]
    table.to_csv("photos/metadata.csv", index=False)
    return "photos"


def a_list_of_paths():
    paths = pictures.class_folders(Path("photos"), each=6)
    return [f"photos/{each}" for each in paths], [each[:3] for each in paths]


FILES = {
    "photos": [class_folders, folders_of_folders, images_beside_a_table],
    "photos/train": [train_and_test_folders, a_lone_split_folder],
    ".": [a_list_of_paths],
}


@pytest.mark.parametrize(
    ("root", "make"),
    [(root, make) for root, makes in FILES.items() for make in makes],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_every_path_of_an_audit_is_a_file(root, make):
    """Of the label that stands beside it; a review finds it as well."""
    data = make()
    done = thresher.fit(data, model="mlp", epochs=1, out="run")
    rows = pq.read_table("run/audit.parquet").to_pylist()
    assert 12 == len({each["path"] for each in rows})
    for each in rows:
        assert (Path(root) / each["path"]).is_file()
        assert each["given_label"] in each["path"]
        assert each["path"] == each["sample_id"]
    if isinstance(data, str):
        assert all((source_folder(done.run) / each["path"]).is_file() for each in rows)
        Path("photos").rename("moved")
        assert source_folder(done.run) is None
        moved = source_folder(done.run, Path("moved"))
        assert all((moved / each["path"]).is_file() for each in rows)


def table_in_parts():
    Path("parts").mkdir()
    frame = shipped.iris().reset_index(drop=True)
    frame[:70].to_parquet("parts/part-0.parquet")
    frame[70:].to_parquet("parts/part-1.parquet")
    return "parts", frame["species"].tolist()


def archive_of_images():
    Path("cifar").mkdir()
    pixels, labels = np.arange(60 * 3072).reshape(60, 3072).astype(np.uint8), [*range(10)] * 6
    for number in range(1, 6):
        part = slice(12 * number - 12, 12 * number)
        content = {b"data": pixels[part], b"labels": labels[part], b"filenames": [b"a.png"] * 12}
        Path(f"cifar/data_batch_{number}").write_bytes(pickle.dumps(content))
    content = {b"data": pixels[:10], b"labels": labels[:10], b"filenames": [b"a.png"] * 10}
    Path("cifar/test_batch").write_bytes(pickle.dumps(content))
    names = {b"label_names": [f"kind {each}".encode() for each in range(10)]}
    Path("cifar/batches.meta").write_bytes(pickle.dumps(names))
    return "cifar", [f"kind {each}" for each in labels]


def table_with_ids():
    frame = shipped.iris().assign(sample_id=[f"flower {row}" for row in range(150)])
    frame.to_csv("iris.csv", index=False)
    return "iris.csv", frame["species"].tolist()


def arrays():
    images, labels = shipped.digits(60)
    return (images, labels), [str(each) for each in labels]


def torch_data_set():
    frame = shipped.wine()
    X, y = torch.tensor(frame.drop(columns="target").to_numpy()), torch.tensor(frame["target"])
    return TensorDataset(X, y), [str(each) for each in frame["target"]]


def hugging_face_data_set():
    frame = shipped.iris().reset_index(drop=True).rename(columns={"species": "label"})
    return Dataset.from_pandas(frame), frame["label"].tolist()


def texts():
    words = [f"{word} number {row}" for row in range(30) for word in ("sun", "rain")]
    return (words, [each.split()[0] for each in words]), [each.split()[0] for each in words]


KEYS = [
    table_in_parts,
    archive_of_images,
    table_with_ids,
    arrays,
    torch_data_set,
    hugging_face_data_set,
    texts,
]


@pytest.mark.parametrize("make", KEYS, ids=lambda each: each.__name__)
def test_every_name_of_an_audit_is_a_row_of_the_data(make):
    """A row of its own: that of its place, with its label, when the data are read again."""
    data, labels = make()
    named = "species" if labels[0] in shipped.IRIS and isinstance(data, str) else None
    thresher.fit(data, label=named, model="mlp", epochs=1, out="run")
    audit = pq.read_table("run/audit.parquet")
    names = audit["sample_id"].to_pylist()
    assert len(labels) == len(set(names))
    assert labels == audit["given_label"].to_pylist()
    training, *_ = training_and_test(data)
    assert names == open_data(training, label=named).sample_id.to_pylist()
