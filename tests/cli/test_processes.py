"""`torchrun … -m thresher fit`: one run, one voice, the numbers of one process."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import shipped
import thresher.fitting
from shipped import png
from thresher.run_folder import RunFolder

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
OPTIONS = ("--learning-rate", "0.01", "--device", "cpu")

#: A network that fails in the second process.
NETWORK = """
import os, signal
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.passes = nn.Linear(64, 10), 0

    def forward(self, images):
        self.passes += self.training
        if self.passes == 20 and os.environ["RANK"] == "1":
            if os.environ["HOW"] == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("a layer broke")
        return self.layer(images.flatten(1))
"""


#: A network without a kink: a unit that is 0 to rounding would learn in one run and not in the
#: other, and the two would part.
SMOOTH = """
from torch import nn
from thresher.models import BatchNorm1d

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Flatten(), nn.Linear(64, 32, bias=False), BatchNorm1d(32), nn.Tanh(),
            nn.Linear(32, 10),
        )
"""


@pytest.fixture
def torchrun(tmp_path):
    """Start `thresher fit` in several processes, in the test's directory."""
    started = []

    def start(count, *arguments, **variables):
        command = [*TORCHRUN, str(count), "-m", "thresher", "fit", *map(str, arguments)]
        started.append(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for each in started:
        if each.poll() is None:
            os.killpg(each.pid, signal.SIGKILL)
        each.communicate()


def digit_folders(root, rows=240):
    """A folder of PNG for each digit, a tenth of them in a wrong one."""
    images, labels = shipped.digits(rows)
    for row, label in enumerate(shipped.spoiled(labels)):
        path = root / str(label) / f"{row:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(images[row]))


def arrays(path, rows=300):
    images, labels = shipped.digits(rows)
    np.savez(path, X=images[..., None], y=labels)


def said(errors):
    """What thresher said, of all that launchers say."""
    return [line for line in errors.splitlines() if line.startswith("thresher:")]


def test_two_processes_write_the_run_of_one(torchrun, tmp_path):
    """Images in files, test data, convolution, batch norm; one object, one line an epoch."""
    digit_folders(tmp_path / "data")
    arrays(tmp_path / "test.npz", rows=101)
    asked = ("data", "--test", "test.npz", "--method", "selfie", "--noise-rate", "0.1")
    running = torchrun(2, *asked, "--epochs", "5", "--out", "two", "--json", *OPTIONS)
    torch.set_num_threads(1)
    alone = thresher.fitting.fit(
        tmp_path / "data",
        test=tmp_path / "test.npz",
        method="selfie",
        noise_rate=0.1,
        epochs=5,
        learning_rate=0.01,
        device="cpu",
        out=tmp_path / "one",
    )
    out, errors = running.communicate(timeout=300)
    assert running.returncode == 0, errors
    found = json.loads(out)
    assert [f"epoch {number}/5" for number in range(1, 6)] == [
        line.split("  ")[0] for line in errors.splitlines() if line.startswith("epoch")
    ]
    run = RunFolder(tmp_path / "two")
    assert run.complete
    assert sorted(path.name for path in run.path.iterdir()) == sorted(
        path.name for path in alone.run.path.iterdir()
    )
    for name in ("n", "n_label_issues", "classes"):
        assert alone.summary[name] == found[name]
    assert alone.summary["test_accuracy"] == pytest.approx(found["test_accuracy"], abs=0.01)
    assert_alike(load_file(alone.run.history), load_file(run.history), 0.02)


@pytest.mark.parametrize(
    "method",
    [
        "taufe",
        pytest.param("oat", marks=pytest.mark.slow),
        pytest.param("odnl", marks=pytest.mark.slow),
    ],
)
def test_two_processes_learn_from_further_data_as_one_does(torchrun, tmp_path, monkeypatch, method):
    """Each reads them all, and passes its part of every draw through the network."""
    arrays(tmp_path / "data.npz")
    random = np.random.default_rng(0)
    np.save(tmp_path / "other.npy", random.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8))
    (tmp_path / "smooth_network.py").write_text(SMOOTH)
    monkeypatch.syspath_prepend(tmp_path)
    asked = ("data.npz", "--auxiliary", "other.npy", "--method", method, "--epochs", "3")
    asked = (*asked, "--model", "smooth_network:Net", "--json", *OPTIONS)
    running = torchrun(2, *asked, "--out", "two")
    torch.set_num_threads(1)
    alone = thresher.fitting.fit(
        tmp_path / "data.npz",
        auxiliary=tmp_path / "other.npy",
        method=method,
        epochs=3,
        model="smooth_network:Net",
        learning_rate=0.01,
        device="cpu",
        out=tmp_path / "one",
    )
    out, errors = running.communicate(timeout=300)
    assert running.returncode == 0, errors
    assert alone.summary["n_label_issues"] == json.loads(out)["n_label_issues"]
    run = RunFolder(tmp_path / "two")
    assert_alike(load_file(alone.run.history), load_file(run.history), 1e-3)
    weights = (load_file(each.model / "model.safetensors") for each in (alone.run, run))
    assert_alike(*weights, 1e-3)


def assert_alike(before, after, slack):
    """Numbers to rounding, which grows with the steps; whole numbers and marks exactly."""
    for name, values in before.items():
        if values.is_floating_point() or name == "given_trace":
            torch.testing.assert_close(
                after[name].float(), values.float(), rtol=slack, atol=slack, msg=name
            )
        else:
            assert torch.equal(after[name], values), name


@pytest.mark.slow
def test_a_run_of_two_processes_is_resumed_by_two(torchrun, tmp_path):
    """Interrupted as by Ctrl+C, which every process gets; bit for bit the run that was not."""
    arrays(tmp_path / "data.npz")
    asked = ("data.npz", "--method", "prestopping", "--sampler", "recency-bias", "--epochs", "40")
    asked = (*asked, "--save-every", "0.2", *OPTIONS)
    whole = torchrun(2, *asked, "--out", "whole")
    assert whole.wait(timeout=300) == 0
    cut = torchrun(2, *asked, "--out", "cut")
    while not (tmp_path / "cut" / "state" / "checkpoint.safetensors").exists():
        assert cut.poll() is None
        sleep(0.01)
    cut.send_signal(signal.SIGINT)
    _, errors = cut.communicate(timeout=120)
    assert cut.returncode != 0
    assert ["thresher: Interrupted."] == said(errors)
    assert not (tmp_path / "cut" / "summary.json").exists()
    resumed = torchrun(2, "--resume", "cut", "--json")
    out, errors = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, errors
    assert json.loads(out)["epochs"] == 40
    for file in ("history.safetensors", "model/model.safetensors"):
        first, second = (load_file(tmp_path / name / file) for name in ("whole", "cut"))
        for name, values in first.items():
            assert torch.equal(second[name], values), name
    first, second = ((tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut"))
    for before, after in zip(first.splitlines(), second.splitlines(), strict=True):
        assert {**json.loads(before), "seconds": 0} == {**json.loads(after), "seconds": 0}


@pytest.mark.slow
def test_two_processes_killed_at_any_time_come_to_the_same_numbers(torchrun, tmp_path):
    """Ten kills of all at once, at random by the clock, several of them in one epoch."""
    arrays(tmp_path / "data.npz")
    asked = ("data.npz", "--method", "selfie", "--sampler", "ada-boundary", "--epochs", "60")
    asked = (*asked, "--save-every", "0.05", *OPTIONS)
    whole = torchrun(2, *asked, "--out", "whole")
    assert whole.wait(timeout=300) == 0
    chance, kills = random.Random(), 0  # of another seed each time: it is the clock that is tried
    while kills < 10:
        begun = (tmp_path / "cut" / "run.toml").exists()
        cut = torchrun(2, *(("--resume", "cut") if begun else (*asked, "--out", "cut")))
        before = checkpointed(tmp_path / "cut")
        while cut.poll() is None and checkpointed(tmp_path / "cut") == before:
            sleep(0.01)
        sleep(chance.uniform(0, 0.5))
        if cut.poll() is not None:
            break
        kill_all(cut)
        kills += 1
    assert kills, "it ended before it was killed"
    assert torchrun(2, "--resume", "cut").wait(timeout=300) == 0
    for file in ("history.safetensors", "model/model.safetensors"):
        first, second = (load_file(tmp_path / name / file) for name in ("whole", "cut"))
        for name, values in first.items():
            assert torch.equal(second[name], values), name


def checkpointed(run):
    """When the run's newest checkpoint was written, in nanoseconds; 0 = never."""
    path = run / "state" / "checkpoint.safetensors"
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def kill_all(launcher):
    """Kill a launcher and the processes that it has started, which have sessions of their own."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    workers = [int(number) for number in children.read_text().split()]
    for number in (launcher.pid, *workers):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    launcher.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("broken", "thresher: Unforeseen ValueError: a layer broke"),
        ("killed", "thresher: Another process of this training ended."),
    ],
)
def test_a_process_that_fails_ends_all_with_one_message(torchrun, tmp_path, how, message):
    """Its own, or where it could say nothing, that of the one that misses it. Nobody waits."""
    arrays(tmp_path / "data.npz")
    (tmp_path / "network.py").write_text(NETWORK)
    running = torchrun(2, "data.npz", "--model", "network:Net", "--out", "run", *OPTIONS, HOW=how)
    out, errors = running.communicate(timeout=120)
    assert running.returncode != 0
    assert out == ""
    assert [message] == said(errors)


@pytest.mark.slow
def test_what_all_processes_refuse_is_said_once(torchrun, tmp_path):
    """Options, data, a folder that is taken: found by one process or by each."""
    arrays(tmp_path / "data.npz")
    (tmp_path / "taken").mkdir()
    for asked, message in (
        (["data.npz", "--epochs", "0"], "epochs must be at least 1, got 0."),
        (["absent.npz"], "absent.npz does not exist."),
        (["data.npz", "--out", "taken"], "taken exists and is not a run."),
        (
            ["data.npz", "--batch-size", "2"],
            "A batch of 2 samples cannot be shared by 3 processes.",
        ),
    ):
        running = torchrun(3, *asked)
        out, errors = running.communicate(timeout=120)
        assert running.returncode != 0
        assert out == ""
        assert [f"thresher: {message}"] == said(errors)
    assert sorted(path.name for path in tmp_path.iterdir()) in (
        ["data.npz", "taken"],
        ["data.npz", "runs", "taken"],
    )
