"""Trainings on the reference toy (tests/toy.py), by its own schedule and by the library's loop.

steps    the reference: a user's own loop, rate × 0.2 at 50 % and 75 % of a round
cosine   `thresher.training.loop.Training`, as `thresher fit` would do it
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from thresher.data.corruption import pair_transition, symmetric_transition
from thresher.keyed_random import keyed_seed
from thresher.models import Networks
from thresher.noise import MORPH, Backward, Bootstrap, Forward, JoCoR, Method, make_method
from thresher.noise.criterion import Criterion
from thresher.noise.method import Batch, Decision, Step
from thresher.noise.streams import no_stream
from thresher.training.loop import Rows, Settings, Training
from thresher.training.snapshots import Snapshots

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import toy  # the reference toy is a fixture of the tests

__all__ = [
    "METHODS",
    "TOLD",
    "ToyRun",
    "toy_figures",
    "train_by_cosine",
    "train_by_steps",
]

#: Name in the table → method. "estimated" ones are not told the noise rate, or the matrix.
METHODS = (
    "standard",
    "label-smoothing",
    "bootstrap",
    "bootstrap, soft",
    "mixup",
    "mae",
    "gce",
    "sce",
    "active-passive",
    "elr",
    "forward",
    "forward, estimated",
    "backward",
    "backward, estimated",
    "s-model",
    "volminnet",
    "active-bias",
    "decoupling",
    "co-teaching",
    "co-teaching, estimated",
    "co-teaching-plus",
    "co-teaching-plus, estimated",
    "jocor",
    "jocor, agreement .9",
    "jocor, estimated",
    "itlm",
    "itlm, estimated",
    "selfie",
    "selfie, estimated",
    "prestopping",
    "prestopping, estimated",
    "prestopping-plus",
    "prestopping-plus, estimated",
    "morph",
    "morph, estimated",
    "morph, mixture",
    "dividemix",
    "pes",
    "auto",
)
#: Further settings of a method → how it is made, told the noise rate.
VARIANTS: dict[str, Callable[[float], Method]] = {
    "bootstrap, soft": lambda rate: Bootstrap(prediction="soft"),
    "jocor, agreement .9": lambda rate: JoCoR(rate, agreement=0.9),  # as published
    "morph, mixture": lambda rate: MORPH(estimate="gaussian-mean"),
}
TOLD_MATRIX = {"forward": Forward, "backward": Backward}
TOLD = (
    "co-teaching", "co-teaching-plus", "jocor", "jocor, agreement .9", "itlm", "selfie",
    "prestopping", "prestopping-plus", "morph", *TOLD_MATRIX,
)  # fmt: skip


@dataclass(frozen=True)
class ToyRun:
    """Test accuracies after each epoch, the criterion with its history, what it learned from."""

    accuracies: tuple[float, ...]
    criterion: Criterion
    chosen: Tensor  # (N,) weight of each sample in the last epoch, the mean of several networks

    @property
    def best(self) -> float:
        return max(self.accuracies)

    @property
    def last(self) -> float:
        return self.accuracies[-1]

    @property
    def rate(self) -> float | None:
        """The noise rate that the method goes by."""
        return getattr(self.criterion.method, "rate", None)


def toy_method(name: str, rate: float, noise: str = "symmetric") -> Method:
    """Make a method by its name in the table; told the noise rate or matrix where it takes one."""
    if name in TOLD_MATRIX:
        matrix = {"symmetric": symmetric_transition, "pair": pair_transition}[noise]
        return TOLD_MATRIX[name](matrix(toy.CLASSES, rate))
    if name in VARIANTS:
        return VARIANTS[name](rate)
    base = name.removesuffix(", estimated")
    return make_method(base, noise_rate=rate if name in TOLD else None)


def toy_network(networks: int, seed: int) -> nn.Module:
    """The toy's network, or several with starts of their own."""
    if networks == 1:
        return toy.ToyNet(seed)
    return Networks([toy.ToyNet(keyed_seed(seed, "member", j)) for j in range(networks)])


def train_by_steps(
    method: Method,
    data: toy.ToyData,
    seed: int,
    *,
    epochs: int = toy.EPOCHS,
    stop: int | None = None,
    watch: Callable[[Criterion, int], None] | None = None,
) -> ToyRun:
    """Train in a user's own loop, with the reference's schedule in every round.

    Args:
        method: Any.
        data: The toy.
        seed: Of network and order.
        epochs: Planned epochs, restarts included.
        stop: Leave after so many of them.
        watch: Called after every epoch, with the number of epochs so far.
    """
    inputs, labels = torch.from_numpy(data.x_train), torch.from_numpy(data.given)
    net = toy_network(method.networks, seed)
    optimizer = torch.optim.SGD(
        net.parameters(), toy.LEARNING_RATE, momentum=toy.MOMENTUM, weight_decay=toy.WEIGHT_DECAY
    )
    criterion = method.start(len(labels), toy.CLASSES, epochs=epochs, labels=labels, seed=seed)
    chosen = watch_choice(criterion)
    snapshots = Snapshots(net, optimizer, criterion)
    generator = torch.Generator().manual_seed(seed)
    begun, length = 0, epochs // method.rounds()
    accuracies = []
    for epoch in range(stop or epochs):
        place = epoch - begun
        decays = (place >= length // 2) + (place >= length * 3 // 4)
        for group in optimizer.param_groups:
            group["lr"] = toy.LEARNING_RATE * toy.DECAY**decays
        for index in torch.randperm(len(labels), generator=generator).split(toy.BATCH_SIZE):
            optimizer.zero_grad()
            batch = Batch(index, inputs[index], labels[index])
            criterion.step(net, batch, no_stream).mean().backward()
            optimizer.step()
        change = criterion.end_epoch()
        snapshots.apply(change)
        if change is not None and change.reset:  # the schedule spans what is left, as in our loop
            begun = epoch + 1
            length = (epochs - begun) // max(1, method.rounds() - snapshots.resets)
        accuracies.append(toy_accuracy(net, data))
        if watch is not None:
            watch(criterion, epoch + 1)
    return ToyRun(tuple(accuracies), criterion, chosen)


def train_by_cosine(method: Method, data: toy.ToyData, seed: int) -> ToyRun:
    """Train in the library's loop: warm-up and cosine, Nesterov's momentum."""
    labels = torch.from_numpy(data.given)
    rows = Rows(torch.from_numpy(data.x_train), labels, torch.arange(len(labels)), lambda x: x)
    settings = Settings(
        epochs=toy.EPOCHS,
        batch_size=toy.BATCH_SIZE,
        peak_rate=toy.LEARNING_RATE,
        weight_decay=toy.WEIGHT_DECAY,
        seed=seed,
    )
    criterion = method.start(len(labels), toy.CLASSES, epochs=toy.EPOCHS, labels=labels, seed=seed)
    chosen = watch_choice(criterion)
    training = Training(toy_network(method.networks, seed), criterion, rows, settings)
    epochs = list(training.run(lambda net: {"accuracy": toy_accuracy(net, data)}))
    return ToyRun(tuple(epoch.measured["accuracy"] for epoch in epochs), criterion, chosen)


def watch_choice(criterion: Criterion) -> Tensor:
    """The weight that each sample had when it was last decided on, written while it trains."""
    chosen, decide = torch.zeros(criterion.plan.samples), criterion.method.decide

    def watched(step: Step) -> Decision:
        decision = decide(step)
        weights = step.ones() if decision.weights is None else decision.weights
        weights = weights if weights.dim() == 1 else weights.mean(0)
        trained = 1 if step.eligible is None else step.eligible
        chosen[step.index] = trained * weights
        return decision

    criterion.method.decide = watched
    return chosen


@torch.no_grad()
def toy_accuracy(net: nn.Module, data: toy.ToyData) -> float:
    """Test accuracy of the mean probability of all networks."""
    probability: Tensor = net(torch.from_numpy(data.x_test)).softmax(-1)
    if probability.dim() == 3:
        probability = probability.mean(0)
    return float((probability.argmax(1).numpy() == data.y_test).mean())


def toy_figures(
    name: str,
    noise: str,
    rate: float,
    schedule: str,
    seed: int,
    geometry: int = toy.GEOMETRY_SEED,
) -> dict[str, float | None]:
    """Best and last test accuracy of a method; precision and recall of what it learned from."""
    data = toy.make_toy(None if noise == "none" else noise, rate, seed, geometry)
    train = {"steps": train_by_steps, "cosine": train_by_cosine}[schedule]
    run = train(toy_method(name, rate, noise), data, seed)
    figures: dict[str, float | None] = {"best": run.best, "last": run.last, "rate_used": run.rate}
    clean, chosen = data.given == data.true, run.chosen.numpy()
    may_train = run.criterion.history["eligible"].numpy()
    if 0 < chosen.sum() < may_train.sum():
        figures["label_precision"] = float(chosen[clean].sum() / chosen.sum())
        figures["label_recall"] = float(chosen[clean].sum() / (clean & may_train).sum())
    if "refurbished" in run.criterion.history:
        label = run.criterion.history["refurbished"].numpy()
        figures["refurbished"] = float((label >= 0).mean())
        figures["refurbished_right"] = float((label == data.true)[label >= 0].mean())
    return figures
