"""fit and resume as functions: any container of data, any listener, nothing lost on the way."""

import dataclasses
import inspect
import os
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import shipped
import thresher
import thresher.run_data
import thresher.run_owner
import thresher.training.checkpoint
import thresher.training.loop
from thresher.audit.run_report import report_of_run
from thresher.cli.fit import fit as command
from thresher.errors import DataError, LabelError, ModelError, ParameterError, RunError
from thresher.fitting import fit
from thresher.noise import ESTIMATORS, METHODS, make_method
from thresher.settings import FitSettings


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def checkpoints(monkeypatch):
    """A checkpoint after every step, whatever it costs."""
    monkeypatch.setattr(thresher.training.checkpoint, "SAVING_SHARE", 1e9)
    monkeypatch.setattr(thresher.training.checkpoint, "LEAST_SECONDS", 0)


class Heard:
    """A listener that remembers, and stops a run while an epoch is told."""

    def __init__(self, stop=None, error=KeyboardInterrupt):
        self.notes, self.epochs, self.stop, self.error = [], [], stop, error

    def note(self, sentence):
        self.notes.append(sentence)

    def reading(self, done, total):
        pass

    def epoch(self, number, epochs, metrics):
        self.epochs.append((number, epochs, dict(metrics)))
        if number == self.stop:
            raise self.error


def arrays():
    frame = shipped.iris()
    return frame.drop(columns="species").to_numpy(), frame["species"].to_numpy().astype(str)


CONTAINERS = {
    "csv": lambda: shipped.iris().to_csv("iris.csv", index=False) or "iris.csv",
    "path": lambda: Path(shipped.iris().to_csv("iris.csv", index=False) or "iris.csv"),
    "pandas": shipped.iris,
    "polars": lambda: polars.from_pandas(shipped.iris()),
    "arrow": lambda: pa.Table.from_pandas(shipped.iris(), preserve_index=False),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_table_is_the_same_run_wherever_it_comes_from(kind):
    """Weights, history and audit, bit for bit."""
    thresher.fit(shipped.iris(), label="species", epochs=2, out="frame")
    done = thresher.fit(CONTAINERS[kind](), label="species", epochs=2, out="run")
    shipped.assert_same_run("frame", "run")
    assert done.summary["n"] == 150


@pytest.mark.parametrize("labels", [list, np.asarray, pa.array], ids=["list", "numpy", "arrow"])
def test_arrays_are_fitted_as_a_pair(labels):
    """X and one label per row."""
    X, y = arrays()
    done = thresher.fit((X, labels(y.tolist())), epochs=12, out="run")
    assert done.model.classes == shipped.IRIS
    assert done.run.complete
    right = np.array(thresher.predict("run", X).labels) == shipped.iris(share=0)["species"]
    assert 0.9 < right.mean()


def test_the_result_is_the_run_the_summary_and_the_model():
    """What is on the disk is what is returned."""
    done = thresher.fit(shipped.iris(), label="species", epochs=2, out="run")
    assert done.run.path == Path("run")
    assert done.summary == done.run.read_summary()
    found = done.model.probabilities(done.model.read(shipped.iris()))
    np.testing.assert_array_equal(thresher.predict("run", shipped.iris()).probabilities, found)


def test_a_listener_hears_every_epoch_and_every_note():
    """Numbers from 1, and the metrics that are written."""
    heard = Heard()
    frame = shipped.iris().rename(columns={"species": "label"})
    done = thresher.fit(frame, test=frame[:30], epochs=3, out="run", listener=heard)
    assert [(1, 3), (2, 3), (3, 3)] == [each[:2] for each in heard.epochs]
    written = [{k: v for k, v in line.items() if k != "schema"} for line in done.run.read_metrics()]
    assert written == [each[2] for each in heard.epochs]
    assert all("test_accuracy" in each for each in written)
    assert 'The labels are taken from column "label".' in heard.notes


def test_without_a_listener_nothing_is_printed(capsys):
    """A library is silent."""
    thresher.fit(shipped.iris(), label="species", epochs=2, out="run")
    assert capsys.readouterr() == ("", "")


def test_the_audit_may_be_left_out():
    """The run is complete without it, and keeps no history."""
    done = thresher.fit(shipped.iris(), label="species", epochs=2, out="run", audit=False)
    assert done.run.complete
    assert not done.run.audit.exists()
    assert not done.run.report.exists()
    assert "n_label_issues" not in done.summary
    assert thresher.predict("run", shipped.iris()).labels


def test_the_audit_changes_no_weight():
    """It watches."""
    for audit in (True, False):
        thresher.fit(
            shipped.iris(), label="species", epochs=3, method="standard",
            out=f"run{audit}", audit=audit,
        )  # fmt: skip
    first, second = (
        Path(f"run{audit}/model/model.safetensors").read_bytes() for audit in (True, False)
    )
    assert first == second


@pytest.mark.parametrize("method", ["auto", "standard", "co-teaching", "selfie"])
def test_the_audit_costs_no_further_pass(method):
    """The network sees as many batches, of as many rows, with the audit as without it."""
    import torch

    passes = []

    def seen(module, inputs):
        if isinstance(module, torch.nn.Linear):
            passes[-1].append(len(inputs[0]))

    counting = torch.nn.modules.module.register_module_forward_pre_hook(seen)
    for audit in (True, False):
        passes.append([])
        thresher.fit(
            shipped.iris(), label="species", epochs=3, method=method,
            out=f"run{audit}", audit=audit,
        )  # fmt: skip
    counting.remove()
    assert passes[0] == passes[1] != []


def test_a_run_changes_no_state_of_the_process():
    """Neither torch's generator nor the caller's data."""
    import torch

    frame, before = shipped.iris(), torch.get_rng_state()
    thresher.fit(frame, label="species", epochs=2, out="run")
    assert torch.equal(before, torch.get_rng_state())
    assert frame.equals(shipped.iris())


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_resumes_to_the_same_numbers_from_memory(method):
    """Stopped in the fourth of six epochs; the arrays are given again."""
    data, options = arrays(), {"method": method, "epochs": 6, "seed": 5}
    further = data[0][:40, ::-1].copy() if make_method(method).streams() else None
    options["auxiliary"] = further
    heard = Heard(stop=4)
    with pytest.raises(KeyboardInterrupt):
        thresher.fit(data, out="run", listener=heard, **options)
    assert heard.notes[-1] == (
        "Interrupted. Go on with: thresher.resume('run', data=…) and the same arrays"
    )
    with pytest.raises(RunError, match="arrays in memory, which are not kept"):
        thresher.resume("run")
    thresher.resume("run", data=data, auxiliary=further)
    thresher.fit(data, out="whole", **options)
    shipped.assert_same_run("whole", "run")


def test_two_networks_of_images_resume_to_the_same_numbers():
    """With views, batch norm and the exchange of small losses."""
    data = shipped.digits(150)
    options = {"method": "co-teaching", "epochs": 4, "augment": "flip,crop", "test": data}
    with pytest.raises(KeyboardInterrupt):
        thresher.fit(data, out="run", listener=Heard(stop=3), **options)
    thresher.resume("run", data=data, test=data)
    thresher.fit(data, out="whole", **options)
    shipped.assert_same_run("whole", "run")


def test_other_arrays_than_a_run_began_with_are_refused():
    """One label is enough."""
    X, y = arrays()
    with pytest.raises(KeyboardInterrupt):
        thresher.fit((X, y), epochs=3, out="run", listener=Heard(stop=2))
    changed = y.copy()
    changed[3] = shipped.IRIS[(shipped.IRIS.index(y[3]) + 1) % 3]
    with pytest.raises(RunError, match="arrays in memory are not those"):
        thresher.resume("run", data=(X, changed))
    thresher.resume("run", data=(X, y))


@pytest.mark.usefixtures("checkpoints")
def test_a_loss_that_is_no_number_leaves_no_run(monkeypatch):
    """Though there is a checkpoint: the same would come again."""
    run = thresher.training.loop.Training.run

    def until_the_third(self, *arguments):
        for epoch in run(self, *arguments):
            if epoch.epoch == 2:
                raise ModelError("The loss became nan in epoch 3.", "Lower the learning rate.")
            yield epoch

    monkeypatch.setattr(thresher.training.loop.Training, "run", until_the_third)
    heard = Heard()
    with pytest.raises(ModelError):
        thresher.fit(arrays(), epochs=4, out="run", listener=heard)
    assert not Path("run").exists()
    assert not any("kept" in each for each in heard.notes)


@pytest.mark.usefixtures("checkpoints")
def test_a_listener_that_fails_costs_no_training():
    """What was trained is kept, and said to be."""
    heard = Heard(stop=3, error=RuntimeError("the notebook went away"))
    with pytest.raises(RuntimeError, match="went away"):
        thresher.fit(arrays(), epochs=4, out="run", listener=heard)
    assert any("What was trained is kept" in each for each in heard.notes)
    assert thresher.resume("run", data=arrays()).run.complete


def test_a_failure_before_the_first_checkpoint_leaves_nothing():
    """There is nothing to go on from."""
    with pytest.raises(RuntimeError):
        thresher.fit(arrays(), epochs=4, out="run", listener=Heard(1, RuntimeError("early")))
    assert list(Path().iterdir()) == []


def test_the_old_run_survives_a_new_one_that_fails():
    """And is gone when the new one has ended."""
    first = thresher.fit(arrays(), epochs=1, out="run")
    before = shipped.contents("run")
    with pytest.raises(RuntimeError):
        thresher.fit(
            arrays(), epochs=2, out="run", overwrite=True, listener=Heard(1, RuntimeError("early"))
        )
    assert before == shipped.contents("run")
    with pytest.raises(ParameterError):
        thresher.fit(arrays(), epochs=0, out="run", overwrite=True)
    with pytest.raises(DataError):
        thresher.fit("nowhere.csv", out="run", overwrite=True)
    assert before == shipped.contents("run")
    second = thresher.fit(arrays(), epochs=2, out="run", overwrite=True)
    assert (first.summary["epochs"], second.run.read_summary()["epochs"]) == (1, 2)
    assert ["run"] == [each.name for each in Path().iterdir()]


def test_the_old_run_waits_for_a_new_one_that_is_interrupted():
    """Resumed, the new one takes its place."""
    thresher.fit(arrays(), epochs=1, out="run")
    with pytest.raises(KeyboardInterrupt):
        thresher.fit(arrays(), epochs=3, out="run", overwrite=True, listener=Heard(2))
    assert Path(".run.replaced/audit.parquet").is_file()
    thresher.resume("run", data=arrays())
    assert ["run"] == [each.name for each in Path().iterdir()]


def test_a_taken_folder_is_refused_before_the_data_are_read(monkeypatch):
    """Reading may take long."""
    thresher.fit(arrays(), epochs=1, out="run")

    def read(*arguments, **options):
        raise AssertionError("data were read")

    monkeypatch.setattr(thresher.run_data, "open_data", read)
    with pytest.raises(RunError, match="exists and holds a run"):
        thresher.fit(arrays(), epochs=1, out="run")


def test_runs_that_begin_at_once_get_folders_of_their_own():
    """The default name is taken by one; the others are numbered."""
    barrier, made = threading.Barrier(6), []

    def make():
        barrier.wait()
        made.append(thresher.run_owner.dated_folder("iris.csv").path.name)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(made) == len(set(made)) == 6
    assert sorted(made) == sorted(each.name for each in Path("runs").iterdir())


def test_a_run_in_a_default_folder_that_cannot_be_made_is_refused():
    """It does not look for another number for ever."""
    Path("runs").write_text("a file")
    with pytest.raises(RunError, match="Cannot write runs/"):
        thresher.fit(arrays(), epochs=1)


def test_test_data_without_labels_are_refused():
    """An accuracy of nothing is no number."""
    frame = shipped.iris()
    with pytest.raises(LabelError, match="hold no label"):
        thresher.fit(frame, label="species", test=frame.assign(species=None), out="run")
    assert not Path("run").exists()


def test_nothing_to_fit_is_refused():
    """In the words of a caller."""
    with pytest.raises(ParameterError, match="no data to fit"):
        thresher.fit()


def test_all_losses_of_a_run_are_numbers():
    """On features that do not differ, on two classes of two rows, on one feature."""
    for X, y in (
        (np.ones((60, 3)), np.repeat(["a", "b"], 30)),
        (np.arange(4.0)[:, None], ["a", "a", "b", "b"]),
        (np.linspace(-1e37, 1e37, 60)[:, None], np.repeat(["a", "b"], 30)),
        (np.linspace(0, 1e-38, 60)[:, None], np.repeat(["a", "b"], 30)),
    ):
        done = thresher.fit((X, y), epochs=3, out="run", overwrite=True)
        assert all(np.isfinite(each["loss"]) for each in done.run.read_metrics())
        scores = pq.read_table(done.run.audit)["label_score"]
        assert scores.null_count == 0
        assert len(scores) == len(y)


@pytest.mark.skipif(os.name != "posix", reason="file permissions")
def test_read_only_data_are_read():
    """The source is never written to."""
    shipped.iris().to_csv("iris.csv", index=False)
    Path("iris.csv").chmod(0o400)
    before = Path("iris.csv").stat()
    assert thresher.fit("iris.csv", label="species", epochs=1, out="run").run.complete
    after = Path("iris.csv").stat()
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)


# ---------------------------------------------------------------------- settings
FIELDS = {field.name for field in dataclasses.fields(FitSettings)}


def test_settings_arguments_and_options_are_the_same():
    """What run.toml can say, `thresher.fit` and `thresher fit` can, with equal defaults."""
    arguments = inspect.signature(thresher.fit).parameters
    assert FIELDS | {"out", "overwrite", "audit", "listener"} == set(arguments)
    assert FIELDS <= set(inspect.signature(command).parameters)
    for field in dataclasses.fields(FitSettings):
        assert arguments[field.name].default == field.default, field.name


def test_every_setting_is_documented():
    """In one sentence."""
    for name in FIELDS:
        assert f"        {name}: " in FitSettings.__doc__ or f"    {name}: " in FitSettings.__doc__


settings = st.builds(
    FitSettings,
    data=st.none() | st.sampled_from(["a.csv", "b c/ü.parquet", "/d/e.npz"]),
    label=st.none() | st.text(),
    image=st.none() | st.text(),
    test=st.none() | st.just("t.csv"),
    method=st.sampled_from(sorted(METHODS)),
    noise_rate=st.none() | st.floats(0, 1, exclude_max=True) | st.sampled_from(sorted(ESTIMATORS)),
    model=st.text(),
    epochs=st.none() | st.integers(1, 10**6),
    limit=st.none() | st.integers(2, 10**9),
    seed=st.integers(0, 2**63 - 1),
    augment=st.sampled_from(["auto", "none", "crop", "flip", "flip,crop"]),
    batch_size=st.none() | st.integers(2, 10**6),
    learning_rate=st.none() | st.floats(1e-9, 1e9),
    weight_decay=st.none() | st.floats(0, 10),
)


@given(settings)
def test_settings_come_back_from_their_table(chosen):
    """Through TOML; paths lead to the same file, from wherever the run lies."""
    import tomllib

    import tomli_w

    folder = Path("runs/deep/one")
    text = tomli_w.dumps(chosen.to_table(folder))
    found = FitSettings.from_table(tomllib.loads(text), folder)
    for name in ("data", "test"):
        before, after = getattr(chosen, name), getattr(found, name)
        assert (before is None) == (after is None)
        assert before is None or os.path.abspath(before) == os.path.abspath(after)  # noqa: PTH100 - lexical, as in run.toml
    same = {"data": chosen.data, "test": chosen.test}
    words = {name for name in ("label", "image") if getattr(chosen, name) == "auto"}
    assert words or chosen == dataclasses.replace(found, **same)


def test_a_noise_rate_left_open_may_be_written():
    """As run.toml and the command line do."""
    assert FitSettings(noise_rate="auto") == FitSettings()


def test_a_noise_rate_is_refused_with_the_estimators_there_are():
    """A slip in a settings file, or in Python."""
    for make in (
        lambda: FitSettings(noise_rate="gausian-mean"),
        lambda: FitSettings.from_table({"noise_rate": "gausian-mean"}, Path()),
    ):
        with pytest.raises(ParameterError, match=r"auto, or one of settled, .*, got") as refused:
            make()
        assert refused.value.fix == 'Did you mean "gaussian-mean"?'


@pytest.mark.parametrize("name", ["epcohs", "Epochs", "lr", ""])
def test_an_unknown_setting_is_refused(name):
    """With the nearest name."""
    with pytest.raises(ParameterError, match="There is no setting") as refused:
        FitSettings.from_table({name: 3}, Path())
    assert refused.value.fix


def test_groups_are_reported_and_the_column_never_trained(tmp_path):
    """On the test set if it has the column, else on held-out rows; the network does not see it."""
    random = np.random.default_rng(0)
    y = np.arange(600) % 2
    frame = pd.DataFrame(
        {
            "x": y * 2 + random.normal(size=600),
            "z": random.normal(size=600),
            "label": np.where(y, "yes", "no"),
            "town": np.where(np.arange(600) % 3 == 0, "u", "v"),
        }
    )
    frame.loc[:4, "town"] = None
    frame[:400].to_csv(tmp_path / "data.csv", index=False)
    frame[400:].to_csv(tmp_path / "test.csv", index=False)
    options = {"group_report": "town", "epochs": 2, "device": "cpu", "method": "standard"}
    result = fit(
        tmp_path / "data.csv", test=tmp_path / "test.csv", out=tmp_path / "tested", **options
    )
    assert result.model.shape == (2,)
    groups = result.summary["groups"]
    assert (groups["column"], groups["judged_on"]) == ("town", "test")
    assert {each["group"] for each in groups["groups"]} == {"u", "v"}
    accuracies = {each["group"]: each["accuracy"] for each in groups["groups"]}
    assert groups["worst_group_accuracy"] == min(accuracies.values())
    assert sum(each["n"] for each in groups["selection"]) == 400
    assert [each["small"] for each in groups["selection"] if each["group"] == "(none)"] == [
        True
    ] * 2
    assert all(each["label_precision"] is None for each in groups["selection"])
    plain = fit(
        frame.drop(columns="town")[:400], test=frame[400:].drop(columns="town"),
        out=tmp_path / "plain", **options | {"group_report": None},
    )  # fmt: skip
    for name, value in plain.model.network.state_dict().items():
        assert torch.equal(value, result.model.network.state_dict()[name]), name
    page = (tmp_path / "tested" / "report.html").read_text()
    assert "By town" in page
    assert "(none)*" in page
    again = report_of_run(result.run).page
    assert "By town" in again

    result = fit(tmp_path / "data.csv", out=tmp_path / "held", **options)
    assert result.summary["groups"]["judged_on"] == "held-out"
    with pytest.raises(DataError, match='no column "twon"'):
        fit(tmp_path / "data.csv", out=tmp_path / "no", **options | {"group_report": "twon"})
