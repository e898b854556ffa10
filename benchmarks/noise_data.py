"""Data sets with known or human-made wrong labels, as the benchmarks on label noise use them.

What a training may see (`Problem.samples`) and what only the evaluator may see (`Problem.truth`)
are kept apart.

    letter    UCI letter recognition, 15 000 training rows drawn by the seed, 5 000 to test
    digits    scikit-learn's handwritten digits, 1 347 drawn by the seed as 64 numbers, 450 to test
    magic     gamma or hadron, 10 numbers, 14 000 rows drawn by the seed, 5 020 to test
    segment   outdoor image segments, 19 numbers, 1 700 rows drawn by the seed, 610 to test
    fashion   Fashion-MNIST, the first 10 000 training images as 784 numbers in 0..1, 5 000 to test
    sign      hands showing digits, 64x64 RGB, 774 drawn by the seed, 257 to test
    gtsrb     traffic signs, 32x32 RGB, 43 classes from 60 to 720 images, and the official test set
    hausa     titles of news in Hausa, labelled by rules of keywords, half of them wrong
    cifar     CIFAR-10N, the first training images with the labels people gave them, 5 000 to test
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from thresher.bench.noise_spec import NoiseSpec, given_labels
from thresher.bench.problem import Problem, Truth
from thresher.data import open_data
from thresher.keyed_random import keyed_seed

__all__ = ["Problem", "Truth", "corrupted", "load_problem"]

Labels = NDArray[np.int64]


def load_problem(
    folder: Path, data: str, noise: str, seed: int, rows: int | None = None
) -> Problem:
    """Make a problem by the names that a cell gives it.

    Args:
        folder: Where the data sets are.
        data: A name of the list above.
        noise: A kind of `corrupted`; for cifar the set of labels, "worse" or "aggre"; for hausa
            "real"; "none" everywhere.
        seed: Of the noise, and of letter's split.
        rows: Training rows, where not all are wanted.
    """
    if data == "cifar":
        return cifar(folder, noise, rows or 10_000)
    return {
        "digits": digits,
        "letter": letter,
        "magic": magic,
        "segment": segment,
        "fashion": fashion,
        "sign": sign,
        "gtsrb": gtsrb,
        "hausa": hausa,
    }[data](folder, noise, seed)


def digits(folder: Path, noise: str, seed: int) -> Problem:
    """64 grey values, 10 classes; the folder is not needed."""
    inputs, labels = load_digits(return_X_y=True)
    names = tuple(map(str, range(10)))
    return split(inputs.astype(np.float32), labels, 1347, "digits", noise, seed, names)


def letter(folder: Path, noise: str, seed: int) -> Problem:
    """16 numbers, 26 classes."""
    return table_problem(folder, "letter", 15_000, noise, seed)


def magic(folder: Path, noise: str, seed: int) -> Problem:
    """10 numbers, 2 classes."""
    return table_problem(folder, "magic", 14_000, noise, seed)


def segment(folder: Path, noise: str, seed: int) -> Problem:
    """19 numbers, 7 classes."""
    return table_problem(folder, "segment", 1700, noise, seed)


def table_problem(folder: Path, name: str, rows: int, noise: str, seed: int) -> Problem:
    """A table of numbers with a column "label"."""
    table = pq.read_table(folder / "tabular" / f"{name}.parquet")
    columns = [each for each in table.column_names if each != "label"]
    inputs = np.column_stack([table[each].to_numpy() for each in columns]).astype(np.float32)
    names, labels = np.unique(np.array(table["label"].to_pylist()), return_inverse=True)
    return split(inputs, labels, rows, name, noise, seed, tuple(names.tolist()))


def split(
    inputs: NDArray[np.generic],
    labels: NDArray[np.integer],
    rows: int,
    name: str,
    noise: str,
    seed: int,
    names: tuple[str, ...],
) -> Problem:
    """Train on rows that the seed draws, test on the others."""
    order = np.random.default_rng(keyed_seed(seed, f"{name} split")).permutation(len(labels))
    return problem(inputs, labels, order[:rows], order[rows:], noise, seed, names)


def sign(folder: Path, noise: str, seed: int) -> Problem:
    """64×64 colour images, 10 classes."""
    whole = open_data(folder / "sign_digits" / "sign_digits_64.parquet")
    return split(whole.inputs, whole.labels, 774, "sign", noise, seed, whole.classes)


def gtsrb(folder: Path, noise: str, seed: int) -> Problem:
    """32×32 colour images, 43 classes of very different size."""
    train = open_data(folder / "gtsrb" / "train.parquet")
    test = open_data(
        folder / "gtsrb" / "test.parquet", encoding=train.encoding, classes=train.classes
    )
    given = corrupted(train.inputs, train.labels, noise, len(train.classes), seed)
    return Problem(replace(train, labels=given), Truth(train.labels, test))


def hausa(folder: Path, noise: str, seed: int) -> Problem:
    """Texts, 5 classes; "real" are labels by rules, "none" the gold ones."""
    table = pq.read_table(folder / "text" / "hausa_news_train.parquet")
    tested = pq.read_table(folder / "text" / "hausa_news_test.parquet")
    tested = tested.filter(pc.equal(tested["split"], "test")).select(["text", "label"])
    column = {"real": "noisy_label", "none": "label"}[noise]
    given = pa.table({"text": table["text"], "label": table[column]})
    samples = open_data(given, label="label", text=["text"])
    test = open_data(tested, encoding=samples.encoding, classes=samples.classes)
    gold = pa.table({"text": table["text"], "label": table["label"]})
    true = open_data(gold, label="label", encoding=samples.encoding, classes=samples.classes)
    return Problem(samples, Truth(true.labels, test))


def fashion(folder: Path, noise: str, seed: int) -> Problem:
    """784 grey values in [0, 1] (the training standardises every column), 10 classes."""
    with np.load(folder / "fashion_mnist" / "fashion_mnist_20k.npz") as stored:
        images = np.concatenate([stored["train_images"][:10_000], stored["test_images"]])
        labels = np.concatenate([stored["train_labels"][:10_000], stored["test_labels"]])
    inputs = (images.reshape(len(images), -1) / 255).astype(np.float32)
    train, test = np.arange(10_000), np.arange(10_000, len(labels))
    return problem(inputs, labels, train, test, noise, seed, tuple(map(str, range(10))))


def cifar(folder: Path, noise: str, rows: int) -> Problem:
    """32×32 colour images; "worse" and "aggre" are labels that people gave."""
    table = pq.read_table(folder / "cifar10" / "train.parquet").slice(0, rows)
    true = table["label"].to_numpy().astype(np.int64)
    column = "label" if noise == "none" else f"label_{noise}"
    given = pa.table({"image": table["image"], "label": table[column]})
    samples = open_data(given, label="label", image="image")
    tested = pq.read_table(folder / "cifar10" / "test.parquet").select(["image", "label"])
    test = open_data(tested, encoding=samples.encoding, classes=samples.classes)
    return Problem(samples, Truth(true, test))


def problem(
    inputs: NDArray[np.generic],
    labels: NDArray[np.integer],
    train: NDArray[np.integer],
    test: NDArray[np.integer],
    noise: str,
    seed: int,
    names: tuple[str, ...],
) -> Problem:
    """Corrupt the training rows, and name the classes."""
    true = labels[train].astype(np.int64)
    given = corrupted(inputs[train], true, noise, len(names), seed)
    words = np.array(names)
    samples = open_data((inputs[train], words[given]))
    tested = open_data(
        (inputs[test], words[labels[test]]), encoding=samples.encoding, classes=samples.classes
    )
    if samples.classes != names:
        raise ValueError(f"classes were reordered: {samples.classes}")
    return Problem(samples, Truth(true, tested))


def corrupted(
    inputs: NDArray[np.generic], true: Labels, noise: str, classes: int, seed: int
) -> Labels:
    """Draw given labels by the name of the noise.

    Args:
        inputs: (N, d), for instance-dependent noise, which gets them standardised.
        true: (N,) true labels.
        noise: "none", or one of symmetric, class-dependent, pair and instance-dependent with its
            rate, such as "pair 30 %".
        classes: k.
        seed: Of the draw.
    """
    kind, _, share = noise.removesuffix(" %").partition(" ")
    kind = {"instance-dependent": "instance"}.get(kind, kind)
    spec = NoiseSpec(kind, float(share or 0) / 100)  # type: ignore[arg-type]
    return given_labels(spec, inputs, true, classes, keyed_seed(seed, "benchmark noise"))
