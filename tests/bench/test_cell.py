"""A cell measures a training from outside: what it says is by hand the same."""

import os
import signal
import sys
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

from thresher import noise
from thresher.bench import cell as cells
from thresher.bench import worker
from thresher.bench.cell import estimated_rate, measure
from thresher.bench.folder import BenchFolder
from thresher.bench.learned import Learned
from thresher.bench.noise_spec import parse_noise
from thresher.bench.prune_and_retrain import prune_and_retrain
from thresher.bench.reading import make_problem, open_source
from thresher.bench.rows import COLUMNS, rows_table
from thresher.bench.settings import BenchSettings, Cell
from thresher.errors import ParameterError
from thresher.noise import CoTeaching, Method
from thresher.noise.method import Decision

SETTINGS = BenchSettings(epochs=3, limit=400)


@pytest.fixture(autouse=True)
def one_thread():
    """As in a process of its own."""
    torch.set_num_threads(1)


@pytest.mark.parametrize("method", ["standard", "selfie", "cleanlab"])
def test_a_row_has_the_columns_of_the_table(method):
    """And no other, but those that the folder adds."""
    row = measure(SETTINGS, Cell(method, parse_noise("symmetric:0.4"), 0))
    assert set(row) <= set(COLUMNS.names)
    assert row["n"] == 270
    assert row["epochs"] == 3
    assert len(row["test_accuracies"]) == len(row["validation_accuracies"]) == 3
    assert row["last"] == row["test_accuracies"][-1]
    assert row["best_on_test"] == max(row["test_accuracies"])
    assert row["validation_selected"] == row["test_accuracies"][row["validation_epoch"] - 1]
    assert row["noise_rate"] == pytest.approx(0.4, abs=0.02)
    assert 0 < row["audit_average_precision"] <= 1
    assert row["cpu_seconds"] > 0
    assert row["peak_mib"] > 0
    assert row["held_mib"] > 0
    assert rows_table([row | {"status": "done"}]).num_rows == 1


def test_the_same_cell_gives_the_same_figures():
    """All that is not time or memory."""
    cell = Cell("elr", parse_noise("pair:0.2"), 1)
    first, second = (measure(SETTINGS, cell) for _ in range(2))
    for name in ("cpu_seconds", "wall_seconds", "held_mib", "peak_mib"):
        first.pop(name)
        second.pop(name)
    assert first == second


def test_watching_a_training_changes_nothing_of_it():
    """Accuracies are looked at between epochs, and the method does not hear of them."""
    from thresher.bench.trained import train
    from thresher.fitting import Silence
    from thresher.job import Job

    posed = make_problem(open_source(SETTINGS), parse_noise("none"), 0, validation=0.1)
    settings, problem = SETTINGS.fit("standard", 0, None), posed.problem
    watched = train(settings, problem.samples, problem.truth.test, posed.validation, audit=False)
    plain = Job.plan(settings, problem.samples, problem.truth.test, Silence(), audit=False)
    for _ in plain.training.run():
        pass
    for name, value in plain.training.model.state_dict().items():
        assert torch.equal(value, watched.job.training.model.state_dict()[name]), name


class Curious(Method):
    """A method that remembers all that it is told."""

    name = "curious"
    needs = ("noise_rate",)
    heard: list = []  # noqa: RUF012

    def __init__(self, noise_rate=None):
        self.noise_rate = noise_rate
        self.rate = 0.3

    def decide(self, step):
        self.heard.append(("labels", step.index.tolist(), step.labels.tolist()))
        return Decision()

    def end_epoch(self, measured):
        self.heard.append(("measured", dict(measured)))
        self.heard.append(("told", self.noise_rate))


@pytest.fixture
def curious(monkeypatch):
    """The method among the others, with an empty memory."""
    monkeypatch.setitem(noise.METHODS, "curious", "Curious")
    monkeypatch.setitem(noise._MODULES, "Curious", "curious")
    module = ModuleType("thresher.noise.curious")
    module.Curious = Curious
    monkeypatch.setitem(sys.modules, module.__name__, module)
    Curious.heard.clear()
    return Curious.heard


def test_a_method_never_sees_a_true_label(curious, monkeypatch):
    """It is given the labels of the problem, and no accuracy at all."""
    posed, make = [], cells.make_problem

    def kept(*arguments, **named):
        posed.append(make(*arguments, **named))
        return posed[-1]

    monkeypatch.setattr(cells, "make_problem", kept)
    row = measure(SETTINGS, Cell("curious", parse_noise("pair:0.4"), 0))
    problem = posed[0].problem
    told = [each for each in curious if each[0] == "labels"]
    for _, index, labels in told:
        np.testing.assert_array_equal(problem.samples.labels[index], labels)
    assert all(each[1] == {} for each in curious if each[0] == "measured")
    assert told
    assert ("told", None) in curious
    assert row["rate_estimate"] == 0.3
    assert row["rate_error"] == pytest.approx(0.3 - row["noise_rate"])


@pytest.mark.parametrize(("told", "expected"), [("true", None), (0.25, 0.25)])
def test_a_method_is_told_the_rate_on_demand(curious, told, expected):
    """Then it estimates none."""
    settings = BenchSettings(epochs=1, limit=400, told=told)
    row = measure(settings, Cell("curious", parse_noise("pair:0.4"), 0))
    assert ("told", row["noise_rate"] if expected is None else expected) in curious
    assert row["rate_estimate"] is None


@pytest.mark.parametrize("told", [0.4, "true", "gaussian-mean"])
@pytest.mark.parametrize("method", ["standard", "cleanlab"])
def test_a_method_without_a_noise_rate_is_told_none(method, told):
    """It trains as it does where nothing is told."""
    cell = Cell(method, parse_noise("pair:0.2"), 0)
    rows = [
        measure(BenchSettings(epochs=1, limit=200, told=each), cell)["test_accuracies"]
        for each in (None, told)
    ]
    assert rows[0] == rows[1]


def test_an_estimator_is_named_to_the_methods_that_ask_one():
    """The estimate is theirs, and stands in the row."""
    settings = BenchSettings(epochs=2, limit=200, told="gaussian-mean")
    row = measure(settings, Cell("co-teaching", parse_noise("pair:0.2"), 0))
    assert row["rate_estimate"] is not None


def test_further_data_reach_the_methods_that_learn_from_them_alone(tmp_path):
    """taufe needs them to train at all; standard training is the one without them."""
    further = tmp_path / "noise.npy"
    np.save(further, np.random.default_rng(0).uniform(0, 16, size=(60, 64)).astype(np.float32))
    settings = BenchSettings(epochs=2, limit=200, auxiliary=str(further))
    assert measure(settings, Cell("taufe", parse_noise("none"), 0))["last"] > 0
    standard = Cell("standard", parse_noise("none"), 0)
    plain = measure(BenchSettings(epochs=2, limit=200), standard)
    assert measure(settings, standard)["test_accuracies"] == plain["test_accuracies"]


def test_learned_hears_weights_and_labels_of_the_last_visit():
    """The mean over networks; held-out rows count nothing."""

    class Choosing(Method):
        name = "choosing"

        def decide(self, step):
            weights = (step.index < 6).float()
            return Decision(weights, targets=torch.where(step.index < 2, 0, step.labels))

    held_out = torch.arange(8) == 5
    criterion = Choosing().start(8, 3, held_out=held_out)
    learned = Learned(criterion)
    labels = torch.tensor([1, 2, 0, 1, 2, 0, 1, 2])
    criterion(torch.arange(8), torch.randn(8, 3, requires_grad=True), labels)
    assert learned.weights.tolist() == [1, 1, 1, 1, 1, 0, 0, 0]
    assert learned.labels.tolist() == [0, 0, 0, 1, 2, 0, 1, 2]


def test_cleanlab_is_needed_for_its_own_row_alone(monkeypatch):
    """And says how to get it."""
    from thresher.bench import prune_and_retrain
    from thresher.errors import MissingPackageError

    monkeypatch.setattr(prune_and_retrain, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'thresher\[bench\]'"):
        measure(SETTINGS, Cell("cleanlab", parse_noise("none"), 0))
    assert measure(SETTINGS, Cell("standard", parse_noise("none"), 0))["last"] > 0


def test_cleanlab_needs_a_class_with_a_row_for_every_fold():
    """Fewer are refused in words; a rare class beside others is not, and warns of nothing."""
    settings = BenchSettings(limit=70, epochs=1).fit("standard", 0, None)

    def found(limit):
        source = open_source(BenchSettings(limit=limit))
        posed = make_problem(source, parse_noise("none"), 0, validation=0.1)
        samples, tested = posed.problem.samples, posed.problem.truth.test
        return np.bincount(samples.labels), prune_and_retrain(settings, samples, tested, None)

    with pytest.raises(ParameterError, match=r"into 5 folds, and no class has more than 4 rows"):
        found(50)
    counts, pruned = found(70)
    assert counts.min() < 5 <= counts.max()
    assert len(pruned.flagged) == counts.sum()


def test_groups_are_compared_and_never_trained(tmp_path):
    """Two numbers are inputs; the town, which gives the class away, is none."""
    random = np.random.default_rng(0)
    true = np.arange(240) % 2
    pd.DataFrame(
        {
            "x": true + random.normal(size=240),
            "z": random.normal(size=240),
            "label": np.where(true, "yes", "no"),
            "town": np.where(random.random(240) < 0.8, true, 1 - true),
        }
    ).to_csv(tmp_path / "data.csv", index=False)
    settings = BenchSettings(data=str(tmp_path / "data.csv"), group_report="town", epochs=2)
    assert cells.opened(settings, None).samples.inputs.shape[1] == 2
    for method in ("co-teaching", "cleanlab"):
        row = measure(settings, Cell(method, parse_noise("symmetric:0.2"), 0))
        assert row["worst_group"] in ("0", "1")
        assert row["worst_group_accuracy"] <= row["last"]
        assert 0 <= row["demographic_parity_gap"] <= 1
        assert {(each["label"], each["group"]) for each in row["groups"]} == {
            (label, group) for label in ("no", "yes") for group in ("0", "1")
        }
        assert sum(each["n"] for each in row["groups"]) == row["n"]
        assert set(row) <= set(COLUMNS.names)
        table = rows_table([row | {"status": "done"}])
        assert table["groups"].to_pylist()[0] == row["groups"]


def test_a_rate_that_was_never_estimated_is_no_estimate():
    """Nothing settles in two epochs; and 0 is the estimate of labels that are right."""
    row = measure(
        BenchSettings(epochs=2, limit=200), Cell("co-teaching", parse_noise("pair:0.4"), 0)
    )
    assert (row["rate_estimate"], row["rate_error"]) == (None, None)
    found = CoTeaching().start(8, 2).method
    assert (found.rate, estimated_rate(found)) == (0.0, None)
    found.estimator.estimated = True
    assert estimated_rate(found) == 0.0


@pytest.mark.parametrize(
    ("method", "known"), [("volminnet", True), ("forward", True), ("elr", False)]
)
def test_a_matrix_that_a_method_learned_is_held_against_the_truth(method, known):
    """Other methods have no such figure."""
    row = measure(BenchSettings(epochs=4, limit=300), Cell(method, parse_noise("pair:0.4"), 0))
    if known:
        assert 0 < row["transition_error"] < 1
    else:
        assert row["transition_error"] is None


def test_rows_that_a_method_holds_out_are_in_no_group(tmp_path):
    """Prestopping learns from all others while it has not stopped, and distrusts none."""
    labels = np.arange(240) % 2
    pd.DataFrame({"x": labels + 0.1, "label": labels, "town": labels // 1}).to_csv(
        tmp_path / "data.csv", index=False
    )
    settings = BenchSettings(
        data=str(tmp_path / "data.csv"), label="label", group_report="town", epochs=1
    )
    row = measure(settings, Cell("prestopping", parse_noise("none"), 0))
    assert {each["selection_rate"] for each in row["groups"]} == {1.0}
    assert sum(each["n"] for each in row["groups"]) < row["n"]


def test_importing_cleanlab_is_no_memory_of_its_training(monkeypatch, tmp_path):
    """It is imported before what the process holds is measured."""
    pytest.importorskip("cleanlab")
    for name in [each for each in sys.modules if each.split(".")[0] == "cleanlab"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(worker, "warm_up", lambda: None)
    monkeypatch.setattr(
        cells,
        "measure",
        lambda *_: {
            "there": {"cleanlab.count", "cleanlab.filter", "cleanlab.rank"} <= {*sys.modules}
        },
    )
    folder = BenchFolder(tmp_path / "bench")
    folder.make()
    folder.write_settings({"data": {"fingerprint": "any"}})
    cell = Cell("cleanlab", parse_noise("none"), 0)
    assert worker.warmed(SETTINGS, cell, folder) == {"there": True}


def test_what_a_cell_prints_goes_to_standard_error(monkeypatch, tmp_path, capfd):
    """Standard output is the command's own, which may print an object there."""

    class Pipe:
        def __init__(self):
            self.sent = []

        def send(self, failure):
            self.sent.append(failure)

        def close(self):
            pass

    def printing(*_):
        os.write(1, b"hello from a method\n")
        return {"last": 1.0}

    monkeypatch.setattr(worker, "warmed", printing)
    (tmp_path / "cells").mkdir()
    pipe, out = Pipe(), os.dup(1)
    handler = signal.getsignal(signal.SIGINT)
    try:
        worker.compute(pipe, SETTINGS, Cell("gce", parse_noise("none"), 0), tmp_path)
    finally:
        os.dup2(out, 1)
        os.close(out)
        signal.signal(signal.SIGINT, handler)
    assert pipe.sent == [None]
    assert capfd.readouterr() == ("", "hello from a method\n")
