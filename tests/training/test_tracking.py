"""Trackers hear of a run when asked to, and a broken one stops nothing."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

import shipped
import thresher
from thresher.errors import MissingPackageError, ParameterError
from thresher.training import tracking
from thresher.training.tracking import Tracking, require_trackers


class Notes:
    """A listener that keeps what it is told."""

    def __init__(self):
        self.said = []

    def note(self, sentence):
        self.said.append(sentence)

    def reading(self, done, total):
        pass

    def epoch(self, number, epochs, metrics):
        pass


def events(folder):
    """What TensorBoard's own reader finds: tag → list of (step, value)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for file in folder.rglob("events.out.tfevents.*"):
        reader = EventAccumulator(str(file))
        reader.Reload()
        for tag in reader.Tags()["scalars"]:
            found[tag] = [(each.step, each.value) for each in reader.Scalars(tag)]
    return found


@pytest.mark.filterwarnings("ignore")  # of TensorBoard and protobuf
def test_tensorboard_gets_every_epoch_and_the_audit(tmp_path):
    """The numbers of metrics.jsonl and of the summary, inside the run folder."""
    done = thresher.fit(
        shipped.iris(), label="species", epochs=3, out=tmp_path / "run", track="tensorboard"
    )
    found = events(done.run.tracking)
    metrics = done.run.read_metrics()
    assert [(each["epoch"], pytest.approx(each["loss"])) for each in metrics] == found["loss"]
    rate = done.summary["noise_rate_estimate"]
    assert [(3, pytest.approx(rate, abs=1e-6))] == found["noise_rate_estimate"]
    assert found["n_label_issues"] == [(3, done.summary["n_label_issues"])]


def test_a_run_without_trackers_imports_none(tmp_path):
    """And writes nothing for them."""
    code = (
        "import sys, numpy as np, thresher\n"
        "X = np.random.default_rng(0).normal(size=(60, 3)); y = np.arange(60) % 2\n"
        f"run = thresher.fit((X, y), epochs=1, out={str(tmp_path / 'run')!r}).run\n"
        "assert not run.tracking.exists()\n"
        "assert not {'tensorboard', 'mlflow', 'wandb'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_a_tracker_that_fails_is_left_behind(tmp_path, monkeypatch):
    """Told once; the run ends as it would have."""

    class Broken:
        def __init__(self, **options):
            raise OSError("no route to host")

    monkeypatch.setattr(tracking, "Accelerator", Broken)
    notes = Notes()
    done = thresher.fit(
        shipped.iris(), label="species", epochs=2, out=tmp_path / "run", track="tensorboard",
        listener=notes,
    )  # fmt: skip
    assert done.run.complete
    told = [each for each in notes.said if "Tracking stopped" in each]
    assert told == ["Tracking stopped, training goes on: no route to host"]


def test_a_tracker_that_fails_later_is_left_behind_too(tmp_path):
    """At any epoch."""

    class Failing:
        def log(self, values, step):
            raise RuntimeError("quota exceeded\nsee the manual")

    notes = Notes()
    opened = Tracking(None, tmp_path, "run", notes.note)
    opened._accelerator = Failing()
    opened.log({"loss": 1.0}, step=1)
    opened.log({"loss": 0.5}, step=2)
    opened.finish()
    assert notes.said == ["Tracking stopped, training goes on: quota exceeded"]


def test_a_missing_package_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    """With the line that installs it."""
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="pip install wandb"):
        require_trackers("wandb")
    with pytest.raises(MissingPackageError):
        thresher.fit(shipped.iris(), label="species", out=tmp_path / "run", track="wandb")
    assert not (tmp_path / "run").exists()


def test_mlflow_stays_in_the_run_folder_and_reports_to_nobody(tmp_path, monkeypatch):
    """Unless the user's own variables say otherwise."""
    stores = []
    monkeypatch.setattr(tracking, "find_spec", lambda name: name)
    monkeypatch.setattr(
        tracking, "import_module", lambda name: SimpleNamespace(set_tracking_uri=stores.append)
    )
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "")  # restored afterwards
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")
    folder = tmp_path / "tracking"
    place = Tracking("mlflow", folder, "run", print)._place("mlflow")
    assert place == {"logging_dir": str(folder / "artifacts")}
    assert stores == [f"sqlite:///{folder / 'mlflow.db'}"]
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example")
    assert Tracking("mlflow", folder, "run", print)._place("mlflow") == {}
    assert len(stores) == 1


def test_an_unknown_tracker_is_refused():
    """With the nearest name."""
    with pytest.raises(ParameterError, match='Did you mean "tensorboard"'):
        thresher.fit(shipped.iris(), label="species", track="tensorbord")
