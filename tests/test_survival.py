"""Runs that survive: killed at any moment, they go on to the numbers of those that were not."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

import killed_run
import shipped
import thresher
from thresher.training.checkpoint import load_tensors

METHODS = ("auto", "selfie", "co-teaching", "prestopping", "elr", "mixup", "dividemix", "pes")
SAMPLERS = {"elr": "recency-bias", "prestopping": "info-batch", "co-teaching": "ada-boundary"}
OFTEN = 1e-9  # seconds between two checkpoints: one after every step


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)


def images(epochs, method="auto", **options):
    """Digits, randomly shifted, for a network with dropout; 10 steps an epoch."""
    pixels, labels = shipped.digits(160)
    np.savez("digits.npz", X=pixels, y=shipped.spoiled(labels))
    return "digits.npz", {
        "epochs": epochs,
        "method": method,
        "augment": "crop",
        "model": "killed_run:network",
        "batch_size": 16,
        "device": "cpu",
        **options,
    }


def convolutions(epochs, **options):
    """The same digits for the built-in network, whose weights lie channels last in memory."""
    return images(epochs // 6, model="cnn", **options)


def features(epochs, method="auto", **options):
    """The rows of iris, 10 steps an epoch."""
    shipped.iris().to_csv("iris.csv", index=False)
    return "iris.csv", {"label": "species", "epochs": epochs, "method": method, **options}


def killed(data, options, *moments):
    """Kill a run again and again, each time where it is told to; it must get there."""
    for moment, call in moments:
        process = killed_run.process("run", data, options, moment, call)
        process.start()
        process.join()
        assert process.exitcode == -9, (moment, call)


def assert_it_ends_as_if_nothing_had_happened(data, options):
    thresher.resume("run")
    thresher.fit(data, out="whole", **options)
    shipped.assert_same_run("whole", "run")
    assert set(shipped.contents("whole")) == set(shipped.contents("run"))


def test_a_run_killed_three_times_comes_to_the_same_numbers():
    """Before anything was saved, in the second epoch, and in the same epoch while it is saved."""
    data, options = images(3, save_every=OFTEN)
    killed(data, options, ("step", 1), ("optimizer", 14), ("writing", 4))
    assert not Path("run/state/checkpoint.safetensors").exists()
    position = load_tensors(Path("run/state/checkpoint-before.safetensors"))["position"]
    assert (1, 6, 16) == (position["epoch"], position["batches"], position["step"])
    assert_it_ends_as_if_nothing_had_happened(data, options)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_run_may_be_killed_at_every_moment(method):
    """Seven kills, among them two or three in each epoch, one while the audit is written."""
    data, options = images(4, method, save_every=OFTEN)
    options["sampler"] = SAMPLERS.get(method, "shuffled")
    killed(
        data,
        options,
        ("step", 7),
        ("between steps", 5),
        ("optimizer", 3),
        ("end of an epoch", 1),
        ("renamed", 4),
        ("writing", 2),
        ("report", 1),
    )
    assert_it_ends_as_if_nothing_had_happened(data, options)


@pytest.mark.slow
@pytest.mark.parametrize("source", [images, convolutions, features])
def test_a_run_may_be_killed_at_any_time(source):
    """Twelve times, at random by the clock, with checkpoints every 50 ms."""
    data, options = source(60, save_every=0.05)
    chance, kills = random.Random(), 0  # of another seed each time: it is the clock that is tried
    for _ in range(12):
        process = killed_run.process("run", data, options)
        process.start()
        process.join(chance.uniform(0.3, 1.5))
        process.kill()
        process.join()
        assert process.exitcode in (0, -9)
        kills += process.exitcode == -9 and Path("run/state").exists()
    assert kills, "every process was killed before it had begun, or ended before it was killed"
    assert_it_ends_as_if_nothing_had_happened(data, options)
