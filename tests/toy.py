"""The reference toy: ten noisy classes that a small network learns in seconds, and memorises.

Latent points around ten centres pass two random layers, so that classes are curved and overlap a
little. The geometry is the same for every seed; the seed draws the samples and the wrong labels.
Plain training on 40 % symmetric noise is best in its first half and loses more than ten points of
test accuracy to the wrong labels later on: the gap that a robust method must close.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thresher.data.corruption import corrupt, pair_transition, symmetric_transition

CLASSES = 10
LATENT, HIDDEN, COLUMNS = 12, 48, 64
TRAIN_PER_CLASS = TEST_PER_CLASS = 400
GEOMETRY_SEED = 123

EPOCHS, BATCH_SIZE = 60, 128
LEARNING_RATE, DECAY = 0.05, 0.2  # × 0.2 at 50 % and 75 % of the epochs
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4


@dataclass(frozen=True)
class ToyData:
    """What `make_toy` gives; only an evaluator may look at ``true``."""

    x_train: np.ndarray  # (4000, 64) float32, standardised per column
    given: np.ndarray  # (4000,) int64, partly wrong
    true: np.ndarray  # (4000,) int64
    x_test: np.ndarray  # (4000, 64) float32
    y_test: np.ndarray  # (4000,) int64, all right


def make_toy(
    noise: Literal["symmetric", "pair"] | None,
    rate: float,
    seed: int,
    geometry: int = GEOMETRY_SEED,
) -> ToyData:
    """Draw a training set with exact counts of wrong labels, and a test set without any."""
    random = np.random.default_rng(seed)
    x_train, true = _samples(TRAIN_PER_CLASS, geometry, random)
    x_test, y_test = _samples(TEST_PER_CLASS, geometry, random)
    mean, std = x_train.mean(axis=0), x_train.std(axis=0)
    given = true
    if noise is not None:
        matrix = {"symmetric": symmetric_transition, "pair": pair_transition}[noise]
        given = corrupt(true, matrix(CLASSES, rate), random)
    return ToyData(
        ((x_train - mean) / std).astype(np.float32),
        given,
        true,
        ((x_test - mean) / std).astype(np.float32),
        y_test,
    )


def _samples(
    per_class: int, geometry: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(geometry)
    centres = drawn.standard_normal((CLASSES, LATENT)) * 3 / (np.sqrt(2) * 1.6)
    first = drawn.standard_normal((LATENT, HIDDEN)) / np.sqrt(LATENT)
    second = drawn.standard_normal((HIDDEN, COLUMNS)) / np.sqrt(HIDDEN)
    labels = random.permutation(np.repeat(np.arange(CLASSES), per_class))
    latent = centres[labels] + random.standard_normal((len(labels), LATENT))
    noise = 0.1 * random.standard_normal((len(labels), COLUMNS))
    return np.tanh(latent @ first) @ second + noise, labels


class ToyNet(nn.Module):
    """64 – 256 – 10 with ReLU; He initialisation, halved in the output layer."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.hidden = nn.Linear(COLUMNS, 256)
        self.head = nn.Linear(256, CLASSES)
        with torch.no_grad():
            for layer, gain in ((self.hidden, 1.0), (self.head, 0.5)):
                deviation = gain * (2 / layer.in_features) ** 0.5
                layer.weight.normal_(0, deviation, generator=generator)
                layer.bias.zero_()

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, 64) to logits (B, 10)."""
        logits: Tensor = self.head(self.hidden(inputs).relu())
        return logits


@dataclass(frozen=True)
class PlainResult:
    """Test accuracies in [0, 1] of a plain training."""

    accuracies: tuple[float, ...]  # after each epoch

    @property
    def best(self) -> float:
        return max(self.accuracies)

    @property
    def last(self) -> float:
        return self.accuracies[-1]


def train_plain(net: nn.Module, data: ToyData, seed: int, epochs: int = EPOCHS) -> PlainResult:
    """Train with cross-entropy on the given labels in the shortest PyTorch loop."""
    x_train, given, x_test, y_test = map(
        torch.from_numpy, (data.x_train, data.given, data.x_test, data.y_test)
    )
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(
        net.parameters(), LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    milestones = [epochs // 2, epochs * 3 // 4]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=DECAY)
    accuracies = []
    for _ in range(epochs):
        for index in torch.randperm(len(given), generator=generator).split(BATCH_SIZE):
            optimizer.zero_grad()
            F.cross_entropy(net(x_train[index]), given[index]).backward()
            optimizer.step()
        schedule.step()
        accuracies.append(accuracy(net, x_test, y_test))
    return PlainResult(tuple(accuracies))


@torch.no_grad()
def accuracy(net: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Share of the samples that the network predicts as labelled."""
    return float((net(inputs).argmax(1) == labels).double().mean())
