"""The program, called in this process or as one of its own."""

import os
import subprocess
import sys
from typing import NamedTuple

import pytest
import torch

import shipped
import thresher.fitting
from thresher.cli import main

PROGRAM = (sys.executable, "-c", "from thresher.cli import main; main()")


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def complaint(self):
        """The lines on standard error without what is merely said aloud."""
        lines = self.err.splitlines()
        return [each for each in lines if not each.startswith(("note: ", "epoch "))]


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run a command in this process, in an empty working directory, on one thread as `process`."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)  # weights agree bit for bit on equal numbers of threads only

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["thresher", *map(str, arguments)])
        with pytest.raises(SystemExit) as leaving:
            main()
        return Outcome(leaving.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def process(tmp_path):
    """Start a command as a process of its own in the test's directory."""
    started = []

    def start(*arguments, **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": tmp_path} | options
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
        started.append(
            subprocess.Popen(
                [*PROGRAM, *map(str, arguments)], env=environment, text=True, **options
            )
        )
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.communicate()


@pytest.fixture(scope="session")
def iris_run(tmp_path_factory):
    """A finished run on iris.csv, which lies beside it; nobody writes there."""
    folder = tmp_path_factory.mktemp("iris")
    shipped.iris().to_csv(folder / "iris.csv", index=False)
    thresher.fitting.fit(
        folder / "iris.csv", label="species", epochs=12, out=folder / "run", device="cpu"
    )
    return folder / "run"
