"""Data sets with known or human-made wrong labels, as the benchmarks on label noise use them.

What a training may see (`Problem.samples`) and what only the evaluator may see (`Problem.truth`)
are kept apart.

    letter    UCI letter recognition, 15 000 training rows drawn by the seed, 5 000 to test
    fashion   Fashion-MNIST, the first 10 000 training images as 784 numbers in 0..1, 5 000 to test
    cifar     CIFAR-10N, the first training images with the labels people gave them, 5 000 to test
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.data import Samples, open_data
from thresher.data.corruption import (
    class_dependent_transition,
    corrupt,
    instance_dependent,
    pair_transition,
    symmetric_transition,
)
from thresher.keyed_random import keyed_seed

__all__ = ["Problem", "Truth", "cifar", "corrupted", "fashion", "letter", "load_problem"]

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Truth:
    """What no training may see.

    Attributes:
        labels: (N,) int64 true labels of the training rows.
        test: Test samples, all with their true label.
    """

    labels: Labels
    test: Samples


@dataclass(frozen=True)
class Problem:
    """A training set with given labels, and the truth about it."""

    samples: Samples
    truth: Truth

    @property
    def bad(self) -> NDArray[np.bool_]:
        """(N,) whether the given label is wrong."""
        return self.samples.labels != self.truth.labels


def load_problem(
    folder: Path, data: str, noise: str, seed: int, rows: int | None = None
) -> Problem:
    """Make a problem by the names that a cell gives it.

    Args:
        folder: Where the data sets are.
        data: "letter", "fashion" or "cifar".
        noise: A kind of `corrupted`, or for cifar the set of labels: "worse", "aggre".
        seed: Of the noise, and of letter's split.
        rows: Training rows, where not all are wanted.
    """
    if data == "letter":
        return letter(folder, noise, seed)
    if data == "fashion":
        return fashion(folder, noise, seed)
    return cifar(folder, noise, rows or 10_000)


def letter(folder: Path, noise: str, seed: int) -> Problem:
    """16 numbers, 26 classes."""
    table = pq.read_table(folder / "tabular" / "letter.parquet")
    columns = [name for name in table.column_names if name != "label"]
    inputs = np.column_stack([table[name].to_numpy() for name in columns]).astype(np.float32)
    names, labels = np.unique(np.array(table["label"].to_pylist()), return_inverse=True)
    order = np.random.default_rng(keyed_seed(seed, "letter split")).permutation(len(labels))
    train, test = order[:15_000], order[15_000:]
    return problem(inputs, labels, train, test, noise, seed, tuple(names.tolist()))


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
    given = pa.table({"image": table["image"], "label": table[f"label_{noise}"]})
    samples = open_data(given, label="label", image="image")
    tested = pq.read_table(folder / "cifar10" / "test.parquet").select(["image", "label"])
    test = open_data(tested, encoding=samples.encoding, classes=samples.classes)
    return Problem(samples, Truth(true, test))


def problem(
    inputs: NDArray[np.float32],
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
    inputs: NDArray[np.float32], true: Labels, noise: str, classes: int, seed: int
) -> Labels:
    """Draw given labels by the name of the noise.

    Args:
        inputs: (N, d), for instance-dependent noise, which gets them standardised.
        true: (N,) true labels.
        noise: "none", "symmetric 20 %", "class-dependent 20 %", "pair 30 %" or
            "instance-dependent 30 %".
        classes: k.
        seed: Of the draw.
    """
    kind, _, share = noise.removesuffix(" %").partition(" ")
    drawn = keyed_seed(seed, "benchmark noise")
    if kind == "none":
        return true
    if kind == "class-dependent":
        random = np.random.default_rng(drawn)
        return corrupt(true, class_dependent_transition(classes, random), random)
    rate = float(share) / 100
    if kind == "instance-dependent":
        scaled = (inputs - inputs.mean(axis=0)) / np.maximum(inputs.std(axis=0), 1e-6)
        return instance_dependent(scaled, true, rate, classes, drawn)
    transition = {"symmetric": symmetric_transition, "pair": pair_transition}[kind]
    return corrupt(true, transition(classes, rate), drawn)
