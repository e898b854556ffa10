import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from thresher.data import open_data
from thresher.errors import LabelError
from thresher.transition import annotator_transition, transition_noise_rate

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


def test_label_files_of_cifar_follow_the_order_of_the_data(folder, tmp_path):
    """A file as CIFAR-10N's, made of the columns; its clean labels vouch for the order."""
    import torch

    path = folder / "cifar10" / "train.parquet"
    table = pq.read_table(path)
    names = ("aggre", "worse", "random1", "random2", "random3")
    arrays = {f"{name}_label": table[f"label_{name}"].to_numpy().astype(np.int64) for name in names}
    clean = table["label"].to_numpy().astype(np.int64)
    torch.save({"clean_label": clean, **arrays}, tmp_path / "human.pt")
    samples = open_data(
        path, image="image", label="label", labels=f"{tmp_path}/human.pt:worse_label"
    )
    assert "airplane" == samples.classes[0]
    assert 0.40573 == pytest.approx((samples.labels != clean).mean(), abs=5e-6)
    assert arrays["worse_label"].tolist() == samples.labels.tolist()
    turned = clean[::-1].copy()
    torch.save({"clean_label": turned, **arrays}, tmp_path / "turned.pt")
    with pytest.raises(LabelError, match="in another order than the data"):
        open_data(path, image="image", label="label", labels=f"{tmp_path}/turned.pt:aggre_label")
    rates = [0.09007, 0.40573, 0.17123, 0.18273, 0.17957]
    found = [(arrays[f"{name}_label"] != clean).mean() for name in names]
    np.testing.assert_allclose(rates, found, atol=5e-6)


@pytest.mark.parametrize("source", ["cifar10", "gtsrb", "fashion_mnist", "sign_digits"])
def test_real_images_are_read_without_a_loss(folder, source):
    if source == "fashion_mnist":
        path, names = folder / source / "fashion_mnist_20k.npz", ("train_images", "train_labels")
        samples = open_data(path, image=names[0], label=names[1])
    else:
        file = {"sign_digits": "sign_digits_64"}.get(source, "test")
        samples = open_data(folder / source / f"{file}.parquet", label="label")
    assert 0 == len(samples.skipped)
    assert "images" == samples.kind
    labels = samples.labels[np.isin(samples.sample_id, samples.conflicts["sample_id"])]
    assert len(samples.conflicts) == len(labels)


def test_three_annotators_tell_how_people_confuse_classes(folder):
    """CIFAR-10N: rows of T within six points; the noise rate a little low, as the docstring warns.

    What annotators get wrong together passes for right: 16.1 % were found, 17.8 % are wrong.
    """
    columns = ["label", *(f"label_random{number}" for number in (1, 2, 3))]
    table = pq.read_table(folder / "cifar10" / "train.parquet", columns=columns)
    true, *given = (table[name].to_numpy() for name in columns)
    found = annotator_transition(np.stack(given, axis=1), 10)
    counts = np.zeros((10, 10))
    for labels in given:
        np.add.at(counts, (true, labels), 1)
    expected = counts / counts.sum(axis=1, keepdims=True)
    assert np.abs(found.transition - expected).sum(axis=1).mean() / 2 <= 0.03
    assert np.abs(found.transition - expected).max() <= 0.06
    rate = transition_noise_rate(found.transition, found.shares)
    wrong = np.mean([(labels != true).mean() for labels in given])
    assert wrong - 0.03 <= rate <= wrong
