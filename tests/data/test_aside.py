"""Columns set aside are handed on and never learned from."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import shipped
from thresher.data import open_data
from thresher.errors import DataError


@pytest.fixture
def frame():
    """Two numbers, labels, a group, and the truth."""
    return pd.DataFrame(
        {
            "x": np.arange(8.0),
            "z": np.arange(8.0) % 3,
            "given": list("aabbaabb"),
            "town": list("uuvvuuvv"),
            "label": list("aabbaaba"),
        }
    )


def test_they_are_no_features(frame):
    """The inputs are those of a table without them."""
    samples = open_data(frame, label="given", aside=["town", "label"])
    alone = open_data(frame[["x", "z", "given"]], label="given")
    np.testing.assert_array_equal(alone.inputs, samples.inputs)
    assert alone.fingerprint == samples.fingerprint
    assert alone.sample_id.equals(samples.sample_id)
    assert samples.aside.to_pydict() == {"town": list("uuvvuuvv"), "label": list("aabbaaba")}
    assert alone.aside is None


def test_they_follow_the_rows_that_are_taken(frame):
    """In the order asked for."""
    samples = open_data(frame, label="given", aside=["town"])
    assert samples.take(np.array([3, 0])).aside["town"].to_pylist() == ["v", "u"]


def test_a_label_is_not_looked_for_among_them(frame):
    """One candidate is left."""
    frame = frame.rename(columns={"given": "target"})
    assert open_data(frame, aside=["label", "town"]).encoding.label == "target"


def test_csv_keeps_them_as_texts(frame, tmp_path):
    """A code such as 007 stays what it is."""
    frame["town"] = ["007", "008"] * 4
    frame.to_csv(tmp_path / "data.csv", index=False)
    samples = open_data(tmp_path / "data.csv", label="given", aside=["town", "label"])
    assert samples.aside["town"].to_pylist() == ["007", "008"] * 4


def test_images_keep_them_beside(tmp_path):
    """Rows whose image is broken are missing there, too."""
    table = shipped.image_table(40)
    table["town"] = np.arange(len(table)) % 2
    column = next(name for name in table if isinstance(table[name].iloc[0], bytes))
    table.loc[3, column] = b"no image"
    samples = open_data(table, aside=["town"])
    assert len(samples) == 39
    assert samples.aside["town"].to_pylist() == [each % 2 for each in range(40) if each != 3]
    assert not any("town" in note for note in samples.notes)


def test_arrays_of_an_archive_can_be_set_aside(tmp_path):
    """One value a row."""
    x, y = np.random.default_rng(0).normal(size=(12, 3)), np.arange(12) % 2
    np.savez(tmp_path / "data.npz", X=x, y=y, true=1 - y, short=y[:3])
    samples = open_data(tmp_path / "data.npz", aside=["true"])
    assert samples.aside == pa.table({"true": 1 - y})
    with pytest.raises(DataError, match="short holds 3 values for 12 rows"):
        open_data(tmp_path / "data.npz", aside=["short"])
    with pytest.raises(DataError, match='no array "ture"'):
        open_data(tmp_path / "data.npz", aside=["ture"])


def test_a_missing_column_is_named_with_the_nearest(frame):
    """Of training data; test data may lack it."""
    with pytest.raises(DataError, match=r'no column "twon".*Did you mean "town"'):
        open_data(frame, label="given", aside=["twon"])
    samples = open_data(frame, label="given", aside=["town"])
    test = open_data(
        frame.drop(columns="town"),
        encoding=samples.encoding,
        classes=samples.classes,
        aside=["town"],
    )
    assert test.aside is None


def test_the_labels_cannot_be_set_aside(frame):
    """They are what is learned."""
    with pytest.raises(DataError, match="holds the labels that are learned"):
        open_data(frame, label="given", aside=["given"])


def test_arrays_in_memory_have_no_columns():
    """Said, instead of passing over it."""
    with pytest.raises(DataError, match='no column "town"'):
        open_data((np.zeros((4, 2)), [0, 1, 0, 1]), aside=["town"])
