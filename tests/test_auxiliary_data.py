"""Auxiliary data: whatever holds training data may hold them, in the shape of the training's."""

import numpy as np
import pandas as pd
import pytest

import shipped
from thresher.auxiliary_data import read_auxiliary
from thresher.data import open_data
from thresher.errors import DataError


def folders(root, images, names):
    """A folder of PNG for each name."""
    for row, (pixels, name) in enumerate(zip(images, names, strict=True)):
        path = root / str(name) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(shipped.png(pixels))


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Grey pictures of 8 × 8, in every form that training data come in."""
    monkeypatch.chdir(tmp_path)
    images, labels = shipped.digits(40)
    larger = np.kron(images, np.ones((2, 3), np.uint8))
    folders(tmp_path / "digits", images, labels % 3)
    folders(tmp_path / "other", larger, ["sky"] * 20 + ["sea"] * 20)
    folders(tmp_path / "flat", np.repeat(images[..., None], 3, axis=3), [""] * 40)
    shipped.image_table(40).to_parquet("table.parquet")
    np.savez("digits.npz", X=images, y=labels % 3)
    np.savez("named.npz", pixels=images, labels=labels)
    np.savez("two.npz", first=images, second=images)
    np.save("bare.npy", images)
    np.save("larger.npy", larger)
    np.save("numbers.npy", images.reshape(40, -1).astype(np.float32))
    return [open_data(each) for each in ("digits", "digits.npz", "table.parquet")]


@pytest.mark.parametrize(
    "form", ["digits", "other", "flat", "table.parquet", "digits.npz", "named.npz", "bare.npy"]
)
def test_pictures_of_any_form_serve_pictures_of_any_form(pictures, form):
    """Files are brought to the size and colours of the training; classes are of no account."""
    for training in pictures:
        found = read_auxiliary(form, training)
        assert (40, 8, 8, 1) == found.inputs.shape
        assert np.uint8 == found.inputs.dtype
        assert (found.labels == -1).all()


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("larger.npy", r"shape \(16, 24, 1\), the training data of \(8, 8, 1\)"),
        ("numbers.npy", "holds features"),
        ("two.npz", r'it holds "first", "second"\..*Call the array of the inputs X'),
        ("absent.npz", "absent.npz does not exist"),
    ],
)
def test_what_differs_of_pictures_is_named(pictures, form, words):
    """Arrays are taken as they are, not scaled."""
    with pytest.raises(DataError, match=f"The auxiliary data cannot be read.*{words}"):
        read_auxiliary(form, pictures[0])


@pytest.fixture
def flowers(tmp_path, monkeypatch):
    """Four numbers and a category that say the species; further rows without it."""
    monkeypatch.chdir(tmp_path)
    frame = shipped.iris().assign(colour=["red", "blue"] * 75)
    further = frame.drop(columns="species")[frame.columns[[5, 3, 2, 1, 0]]]
    further.to_csv("further.csv", index=False)
    further.to_parquet("further.parquet", index=False)
    further.to_json("further.jsonl", orient="records", lines=True)
    (tmp_path / "parts").mkdir()
    further.to_parquet("parts/part-0.parquet", index=False)
    return frame


@pytest.mark.parametrize("form", ["further.csv", "further.parquet", "further.jsonl", "parts"])
def test_tables_of_any_form_serve_tables(flowers, form):
    """Columns are found by their names, in whatever order they stand."""
    training = open_data(flowers, label="species")
    np.testing.assert_array_equal(training.inputs, read_auxiliary(form, training).inputs)


def test_arrays_serve_tables_of_numbers(flowers):
    """Column by column, in their order."""
    frame = flowers.drop(columns="colour")
    training = open_data(frame, label="species")
    numbers = frame.drop(columns="species").to_numpy()
    np.save("numbers.npy", numbers)
    np.savez("numbers.npz", embeddings=numbers, y=np.arange(150))
    for form in (numbers, "numbers.npy", "numbers.npz"):
        np.testing.assert_array_equal(training.inputs, read_auxiliary(form, training).inputs)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.drop(columns="petal width"), 'Column "petal width" is lacking'),
        (lambda frame: frame.assign(**{"petal width": "wide"}), 'holds the text "wide" in row 0'),
        (lambda frame: np.zeros((5, 5)), "trained on a table with categories"),
    ],
)
def test_what_differs_of_tables_is_named(flowers, change, words):
    """The first column that does not fit."""
    training = open_data(flowers, label="species")
    with pytest.raises(DataError, match=f"The auxiliary data cannot be read.*{words}"):
        read_auxiliary(change(flowers), training)


def test_a_table_cannot_serve_an_array(flowers):
    """Which of its columns is which, nobody knows."""
    training = open_data((np.zeros((4, 2)), ["a", "b", "a", "b"]))
    with pytest.raises(DataError, match=r"columns have names.*an array of 2, have none"):
        read_auxiliary(pd.DataFrame({"length": [1.0], "width": [2.0]}), training)
    with pytest.raises(DataError, match="3 numbers per row, the training data have 2"):
        read_auxiliary(np.zeros((4, 3)), training)
