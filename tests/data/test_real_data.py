import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from thresher.data import open_data

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def folder():
    if "THRESHER_DATA" not in os.environ:
        pytest.skip("THRESHER_DATA does not point to the real data sets")
    return Path(os.environ["THRESHER_DATA"])


def test_adult_has_the_features_of_a_hand_made_encoding(folder):
    path = folder / "tabular" / "adult.parquet"
    samples = open_data(path, label="income")
    frame = pq.read_table(path).to_pandas().drop(columns="income")
    texts = frame.select_dtypes(exclude="number")
    known = texts.mask(texts == "?")
    width = 6 + int(known.nunique().sum()) + int(known.isna().any().sum())
    assert (48_842, width) == samples.inputs.shape
    assert ("<=50K", ">50K") == samples.classes
    names = list(samples.encoding.features)
    for name in ("age", "capital-gain"):
        np.testing.assert_array_equal(frame[name], samples.inputs[:, names.index(name)])
    for value in ("Private", "Never-worked"):
        expected = frame["workclass"] == value
        np.testing.assert_array_equal(
            expected, samples.inputs[:, names.index(f"workclass={value}")]
        )
    missing = samples.inputs[:, names.index("native-country missing")]
    assert 857 == missing.sum()


def test_letter_is_read_by_its_guessed_label(folder):
    samples = open_data(folder / "tabular" / "letter.parquet")
    assert (20_000, 16) == samples.inputs.shape
    assert tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ") == samples.classes
    assert "Z" == samples.classes[samples.labels[0]]


def test_human_labels_of_cifar_are_wrong_as_often_as_published(folder):
    path = folder / "cifar10" / "train.parquet"
    noisy = open_data(path, image="image", label="label_worse")
    clean = pq.read_table(path, columns=["label"])["label"].to_numpy()
    assert (30_000, 32, 32, 3) == noisy.inputs.shape
    assert 0.40573 == pytest.approx((noisy.labels != clean).mean(), abs=5e-6)
    assert "airplane" == noisy.classes[0]
    mean = noisy.inputs[:3000].mean(axis=(0, 1, 2))
    np.testing.assert_allclose([125.31, 122.88, 113.74], mean, atol=2.0)  # of all 30,000
    assert 30_000 == len(set(noisy.sample_id.to_pylist()))


def test_fashion_mnist_is_read_by_the_names_of_its_arrays(folder):
    path = folder / "fashion_mnist" / "fashion_mnist_20k.npz"
    samples = open_data(path, image="train_images", label="train_labels")
    tested = open_data(
        path,
        image="test_images",
        label="test_labels",
        encoding=samples.encoding,
        classes=samples.classes,
    )
    assert (20_000, 28, 28, 1) == samples.inputs.shape
    assert (5_000, 28, 28, 1) == tested.inputs.shape
    assert tuple("0123456789") == samples.classes
