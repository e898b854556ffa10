"""Benchmark of the training loop: what watching costs, how fast the loop is, how far it reaches.

    python benchmarks/training.py recording   a step with the audit's columns and without
    python benchmarks/training.py loop        our loop and the shortest plain one; loading alone
    python benchmarks/training.py audit       `fit` with the audit and without (THRESHER_DATA)
    python benchmarks/training.py scale       10⁶ × 64 embeddings, 100 classes: time and memory
    python benchmarks/training.py checkpoint  part of the time that saving takes, at its default
    python benchmarks/training.py table       results/training.jsonl → results/training.md

Every call measures anew and appends its lines; the newest line of a case counts. Times are medians
of paired alternations (paired.py).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from cells import keep
from numpy.typing import NDArray
from paired import Pairs, alternate
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from thresher.fitting import fit
from thresher.keyed_random import keyed_seed
from thresher.models import Preparation, build_model
from thresher.noise import make_method
from thresher.sampling import shuffled_batches
from thresher.training.checkpoint import Saver
from thresher.training.loop import Rows, Settings, Training

RESULTS = Path(__file__).parent / "results" / "training.jsonl"
BATCH = 128
MANY_EPOCHS = 10**6  # the loop is stopped after the epochs that are timed
SCALE_ROWS, SCALE_FEATURES, SCALE_CLASSES, SCALE_NOISE = 10**6, 64, 100, 0.1


@dataclass(frozen=True)
class Net:
    """A network and its input, made of noise: nothing here depends on what is learned.

    Args:
        title: As the table names it.
        model: As `build_model` takes it.
        shape: Of one stored sample: (d,) features or (H, W, C) pixels.
        classes: Number of classes.
        batches: Batches a round; 32 of them fill a block of the history.
        rounds: How often.
        samples: Length of the history; None: no longer than the rows of a round.
    """

    title: str
    model: str
    shape: tuple[int, ...]
    classes: int
    batches: int
    rounds: int
    samples: int | None = None

    @property
    def rows(self) -> int:
        """Rows a round: nothing but whole batches."""
        return self.batches * BATCH

    def inputs(self) -> NDArray[Any]:
        """(N, d) float32 or (N, H, W, C) uint8."""
        generator = np.random.default_rng(0)
        if len(self.shape) == 1:
            return generator.standard_normal((self.rows, *self.shape), dtype=np.float32)
        return generator.integers(0, 256, (self.rows, *self.shape), dtype=np.uint8)

    def labels(self) -> Tensor:
        """(N,) int64."""
        generator = torch.Generator().manual_seed(1)
        return torch.randint(self.classes, (self.rows,), generator=generator)


MLP_WIDE = Net("MLP 784–256–128–10", "mlp", (784,), 10, 64, 60)
MLP_SMALL = Net("MLP 16–256–128–26", "mlp", (16,), 26, 64, 80)
MLP_MANY = Net("MLP 64–256–128–100, compact history", "mlp", (64,), 100, 64, 40, 10**6)
CNN = Net("small CNN, 32×32×3", "cnn", (32, 32, 3), 10, 4, 25)
RESNET = Net("ResNet-18, 32×32×3", "resnet18", (32, 32, 3), 10, 1, 5)


# ---------------------------------------------------------------------- the two loops
def our_loop(net: Net, *, audit: bool, blind: bool = False) -> Callable[[], object]:
    """An epoch of thresher's loop a call, with standard training.

    Args:
        net: The network.
        audit: Declare what the audit reads.
        blind: Let the history observe nothing at all.
    """
    training = prepared(net, audit=audit)
    if blind:
        training.criterion.history.observe = lambda *_: None  # type: ignore[method-assign]
    epochs = training.run()
    return lambda: next(epochs)


def prepared(net: Net, *, audit: bool) -> Training:
    """Thresher's loop, as `thresher fit` sets it up."""
    inputs, labels = net.inputs(), net.labels()
    model, prepare = built(net, inputs)
    samples = net.samples or net.rows
    labels = F.pad(labels, (0, samples - net.rows), value=-1)  # further rows take no part
    criterion = make_method("standard").start(samples, net.classes, labels=labels, audit=audit)
    rows = Rows(torch.from_numpy(inputs), labels, torch.arange(net.rows), prepare)
    return Training(model, criterion, rows, Settings(epochs=MANY_EPOCHS, batch_size=BATCH))


def built(net: Net, inputs: NDArray[Any]) -> tuple[nn.Module, Preparation]:
    """The network, and the scaling of its input."""
    prepare = Preparation.fit(inputs)
    shape = prepare.shape(inputs.shape)
    model = build_model(net.model, shape=shape, classes=net.classes, seed=0)
    if len(net.shape) == 3:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model, prepare


def plain_loop(net: Net) -> Callable[[], object]:
    """An epoch a call of the shortest loop that PyTorch allows, on the same tensors."""
    array, labels = net.inputs(), net.labels()
    model, prepare = built(net, array)
    inputs, optimizer = torch.from_numpy(array), Settings(epochs=1).optimizer(model)

    def epoch(number: int) -> None:
        model.train()
        generator = torch.Generator().manual_seed(keyed_seed(0, "order", number))  # ours
        for index in torch.randperm(net.rows, generator=generator).split(BATCH):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(prepare(inputs[index])), labels[index])
            loss.backward()
            optimizer.step()

    epochs = iter(map(epoch, range(MANY_EPOCHS)))
    return lambda: next(epochs)


# ---------------------------------------------------------------------- recording
def recording(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A step that records what the audit reads, over the same step that does not."""
    for net in (MLP_WIDE, MLP_SMALL, MLP_MANY, CNN):
        pairs = alternate(
            {
                "audit": our_loop(net, audit=True),
                "without": our_loop(net, audit=False),
                "blind": our_loop(net, audit=True, blind=True),
            },
            rounds(net, options),
            warmups=2,
        )
        yield {
            "case": net.title,
            "step_us": microseconds(pairs, net),
            "audit/without": quotients(pairs, "audit", "without"),
            "audit/blind": quotients(pairs, "audit", "blind"),
            "bar": 1.03 if net is CNN else 1.15,
        }
    yield {"case": "bytes a sample", **bytes_a_sample(1000, 10), "bar": 64}
    yield {"case": "bytes a sample, compact", **bytes_a_sample(10**6, 100), "bar": 64}


def bytes_a_sample(rows: int, classes: int) -> dict[str, Any]:
    """What the history keeps of a sample: mean probabilities, and everything else."""
    criterion = make_method("standard").start(rows, classes, audit=True)
    columns = criterion.history.state_dict()
    wide = {"probability_sum", "top_classes", "top_sums"}
    size = {name: values.nbytes / rows for name, values in columns.items()}
    return {
        "classes": classes,
        "probabilities": sum(size[name] for name in size if name in wide),
        "besides": sum(size[name] for name in size if name not in wide),
    }


# ---------------------------------------------------------------------- the loop
def loop(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Throughput of our loop over that of the plain one, and of the loading alone."""
    for net in (MLP_WIDE, MLP_SMALL, CNN, RESNET):
        pairs = alternate(
            {
                "plain": plain_loop(net),
                "ours": our_loop(net, audit=False),
                "ours, audit": our_loop(net, audit=True),
            },
            rounds(net, options),
            warmups=1,
        )
        yield {
            "case": net.title,
            "step_us": microseconds(pairs, net),
            "plain/ours": quotients(pairs, "plain", "ours"),
            "plain/audit": quotients(pairs, "plain", "ours, audit"),
            "bar": 0.97,
        }
    for net in (MLP_WIDE, MLP_SMALL, CNN):
        pairs = alternate(
            {"loader": data_loader(net), "ours": loading(net)}, rounds(net, options), warmups=1
        )
        yield {
            "case": f"loading of {' × '.join(map(str, net.shape))}",
            "step_us": microseconds(pairs, net),
            "loader/ours": quotients(pairs, "loader", "ours"),
            "bar": 5.0,
        }


def loading(net: Net) -> Callable[[], object]:
    """An epoch of batches as our loop takes them, raw: no scaling, no network."""
    labels, order = net.labels(), torch.arange(net.rows)
    rows = Rows(torch.from_numpy(net.inputs()), labels, order, prepare=lambda batch: batch)
    device = torch.device("cpu")

    def epoch() -> None:
        for index in shuffled_batches(order, BATCH, seed=0, epoch=0):
            rows.batch(index, 0, device)

    return epoch


def data_loader(net: Net) -> Callable[[], object]:
    """An epoch of batches as PyTorch's own loader makes them, sample by sample."""
    data = TensorDataset(torch.from_numpy(net.inputs()), net.labels())
    loader = DataLoader(data, batch_size=BATCH, shuffle=True)

    def epoch() -> None:
        for _ in loader:
            pass

    return epoch


# ---------------------------------------------------------------------- the audit
def audit(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The whole of `fit` with the audit and without it, on Fashion-MNIST."""
    folder = os.environ.get("THRESHER_DATA")
    if folder is None:
        raise SystemExit("Set THRESHER_DATA to the folder of the data sets.")
    with np.load(Path(folder) / "fashion_mnist" / "fashion_mnist_20k.npz") as stored:
        images, labels = stored["train_images"][:10_000], stored["train_labels"][:10_000]
    features = images.reshape(len(images), -1).astype(np.float32)
    for title, inputs, epochs in (("MLP, 30 epochs", features, 30), ("CNN, 3 epochs", images, 3)):
        with tempfile.TemporaryDirectory() as aside:
            run = partial(
                fit, (inputs, labels), epochs=epochs, out=Path(aside) / "run", overwrite=True
            )
            pairs = alternate(
                {"with": partial(run, audit=True), "without": partial(run, audit=False)},
                options.rounds or 5,
                warmups=1,
            )
        yield {
            "case": f"Fashion-MNIST, 10,000 rows, {title}",
            "seconds": {
                clock: {name: round(pairs.typical(name, clock), 3) for name in ("with", "without")}
                for clock in ("wall", "cpu")
            },
            "with/without": quotients(pairs, "with", "without"),
            "bar": 1.05,
        }


# ---------------------------------------------------------------------- the scale
def scale(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """`thresher fit` on a million embeddings, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "embeddings.npz"
        write_embeddings(data)
        for epochs in options.epochs:
            command = [
                sys.executable,
                str(Path(__file__).with_name("one_fit.py")),
                str(data),
                "--out",
                str(Path(folder) / "run"),
                "--overwrite",
                *(() if epochs == "default" else ("--epochs", epochs)),
            ]
            environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
            done = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            figures = json.loads(done.stdout.splitlines()[-1])
            yield {
                "case": f"{SCALE_ROWS:,} × {SCALE_FEATURES}, {SCALE_CLASSES} classes, "
                f"{figures['epochs']} epochs" + (" (default)" if epochs == "default" else ""),
                "input_mib": round(data.stat().st_size / 2**20, 1),
                **figures,
                "bar": {"memory": 2.0, "audit.parquet": 10.0},
            }


def write_embeddings(path: Path) -> None:
    """Gaussian clusters in 64 dimensions, a tenth of the labels made wrong at random."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((SCALE_CLASSES, SCALE_FEATURES), dtype=np.float32)
    true = generator.integers(SCALE_CLASSES, size=SCALE_ROWS)
    inputs = generator.standard_normal((SCALE_ROWS, SCALE_FEATURES), dtype=np.float32)
    inputs *= 1.5
    inputs += centres[true]
    wrong = generator.random(SCALE_ROWS) < SCALE_NOISE
    other = generator.integers(1, SCALE_CLASSES, size=SCALE_ROWS)
    np.savez(path, X=inputs, y=np.where(wrong, (true + other) % SCALE_CLASSES, true))


# ---------------------------------------------------------------------- checkpoints
class TimedSaver(Saver):
    """A saver that notes when it began and how long it took."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.begun: list[float] = []
        self.seconds: list[float] = []

    def save(self) -> None:
        self.begun.append(time.perf_counter())
        super().save()
        self.seconds.append(time.perf_counter() - self.begun[-1])


def checkpoint(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """From one save to the next, at the default interval: the part in which no step is taken."""
    for net in (MLP_WIDE, MLP_MANY, CNN, RESNET):
        with tempfile.TemporaryDirectory() as folder:
            paths = Path(folder) / "checkpoint", Path(folder) / "before"
            training = prepared(net, audit=True)
            saver = TimedSaver(*paths, training, [], note=lambda said: sys.exit(said))
            wanted = options.rounds or 2
            step_with(training, saver, wanted + 1)
            size = paths[0].stat().st_size
        pauses = np.diff(saver.begun)
        yield {
            "case": net.title,
            "mib": round(size / 2**20, 2),
            "seconds": [round(each, 4) for each in saver.seconds],
            "seconds_between": [round(each, 2) for each in pauses],
            "share": round(float(sum(saver.seconds[:-1]) / pauses.sum()), 6),
            "bar": 0.01,
        }


def step_with(training: Training, saver: TimedSaver, saves: int) -> None:
    """Train, from a first save after the first step until there are so many."""

    def after_step() -> None:
        if saver.begun:
            saver()
        else:
            saver.save()
        if len(saver.begun) == saves:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        for _ in training.run(after_step=after_step):
            pass


# ---------------------------------------------------------------------- the command
def rounds(net: Net, options: argparse.Namespace) -> int:
    """As asked for, or as the network's cost allows."""
    return options.rounds or net.rounds


def microseconds(pairs: Pairs, net: Net) -> dict[str, dict[str, int]]:
    """Median time of a step (or of loading a batch) by clock and action."""
    return {
        clock: {
            name: round(1e6 * pairs.typical(name, clock) / net.batches)
            for name in pairs.seconds[clock]
        }
        for clock in ("wall", "cpu")
    }


def quotients(pairs: Pairs, above: str, below: str) -> dict[str, list[float]]:
    """Lower quartile, median and upper quartile by clock."""
    return {clock: pairs.quotient(above, below, clock).to_json() for clock in ("wall", "cpu")}


TASKS = {
    "recording": recording,
    "loop": loop,
    "audit": audit,
    "scale": scale,
    "checkpoint": checkpoint,
}


def main() -> int:
    """Measure, print and keep; or write the table."""
    options = parse()
    if options.task == "table":
        from training_table import write_table

        write_table(options.results)
        return 0
    torch.set_num_threads(options.threads)
    machine = {"threads": options.threads, "torch": torch.__version__}
    keep(options.task, TASKS[options.task](options), machine, options.results)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=[*TASKS, "table"])
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (1)")
    parser.add_argument("--rounds", type=int, help="paired repetitions (default: by the network)")
    parser.add_argument(
        "--epochs",
        type=lambda text: text.split(","),
        default=["5", "default"],
        help="scale: runs to make, such as 5 or 5,default",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSONL file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
