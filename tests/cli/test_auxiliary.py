"""`thresher fit --auxiliary`: further data without labels, read as the training's own."""

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import shipped
import thresher
from thresher.errors import ParameterError, RunError

pytestmark = pytest.mark.usefixtures("plain_signals")


def shuffled_columns(frame):
    """Rows that are of no class: every number from another flower."""
    return frame.apply(lambda column: column.sample(frac=1, random_state=1).to_numpy())


@pytest.fixture
def data(tmp_path):
    """Flowers to train on, and rows of none of the classes, in a folder of their own."""
    iris = shipped.iris()
    iris.to_csv(tmp_path / "iris.csv", index=False)
    (tmp_path / "far").mkdir()
    foreign = shuffled_columns(iris.drop(columns="species"))
    foreign.to_parquet(tmp_path / "far" / "foreign.parquet", index=False)
    return ["iris.csv", "--label", "species", "--method", "oat", "--epochs", 4]


def test_a_run_with_further_data_goes_on_to_the_same_numbers(call, data, monkeypatch):
    """Stopped in the second of four epochs; their path and fingerprint are in run.toml."""

    def told(self, number, epochs, metrics):
        if number == 2:
            raise KeyboardInterrupt

    whole = call("fit", *data, "--auxiliary", "far/foreign.parquet", "--out", "whole")
    assert whole.code == 0, whole.err
    with monkeypatch.context() as patch:
        patch.setattr("thresher.cli.output.Narrator.epoch", told)
        done = call("fit", *data, "--auxiliary", "far/foreign.parquet", "--out", "run")
    assert done.code == 130
    assert call("fit", "--resume", "run").code == 0
    shipped.assert_same_run("whole", "run")
    written = tomllib.loads(Path("run/run.toml").read_text())
    assert written["fit"]["auxiliary"] == str(Path("../far/foreign.parquet"))
    assert len(written["run"]["auxiliary_fingerprint"]) == 32


def test_other_further_data_than_a_run_began_with_are_refused(call, data, monkeypatch):
    """One number is enough; moved data are found by their new path."""

    def told(self, number, epochs, metrics):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("thresher.cli.output.Narrator.epoch", told)
        call("fit", *data, "--auxiliary", "far/foreign.parquet", "--out", "run")
    moved = Path("far/foreign.parquet").rename("moved.parquet")
    changed = pd.read_parquet(moved)
    changed.iloc[3, 1] += 1
    changed.to_parquet("changed.parquet", index=False)
    done = call("fit", "--resume", "run", "--auxiliary", "changed.parquet")
    assert done.code == 2
    assert "The auxiliary data are not those that the run was started with." in done.err
    assert call("fit", "--resume", "run", "--auxiliary", moved).code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--auxiliary FOLDER_OR_FILE"),
        (["--auxiliary", "nowhere.csv"], "nowhere.csv"),
        (["--auxiliary", "narrow.csv"], "narrow.csv"),
        (["--method", "elr", "--auxiliary", "far/foreign.parquet"], "taufe, oat, odnl"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(call, data, options, words):
    """A method without its stream, a stream without its method, other columns."""
    pd.DataFrame({"sepal length": [1.0, 2.0]}).to_csv("narrow.csv", index=False)
    done = call("fit", *data, "--out", "run", *options)
    assert done.code == 2
    assert words in done.err or "sepal width" in done.err
    assert not Path("run").exists()


def test_labels_of_further_data_are_of_no_account(call, data):
    """A column of that name may hold classes that nobody knows, or be missing."""
    foreign = pd.read_parquet("far/foreign.parquet")
    foreign.assign(species="no flower").to_csv("labelled.csv", index=False)
    foreign.to_csv("bare.csv", index=False)
    for name in ("labelled", "bare"):
        done = call("fit", *data, "--auxiliary", f"{name}.csv", "--out", name)
        assert done.code == 0, done.err
    shipped.assert_same_run("labelled", "bare")


def test_arrays_in_memory_are_given_again(tmp_path, monkeypatch):
    """As the training's own are."""
    monkeypatch.chdir(tmp_path)
    frame = shipped.iris()
    foreign = shuffled_columns(frame.drop(columns="species"))

    class Stop:
        def note(self, sentence):
            pass

        def reading(self, done, total):
            pass

        def epoch(self, number, epochs, metrics):
            raise KeyboardInterrupt

    options = {"label": "species", "method": "odnl", "epochs": 2, "out": "run"}
    with pytest.raises(KeyboardInterrupt):
        thresher.fit(frame, auxiliary=foreign, listener=Stop(), **options)
    with pytest.raises(ParameterError, match="auxiliary"):
        thresher.resume("run", data=frame)
    with pytest.raises(RunError, match="The auxiliary data are not those"):
        thresher.resume("run", data=frame, auxiliary=foreign[::-1])
    assert thresher.resume("run", data=frame, auxiliary=foreign).run.complete


def test_pictures_of_another_size_are_brought_to_that_of_the_training(call, tmp_path):
    """A folder of pictures without folders of classes will do."""
    images, labels = shipped.digits(120)
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "digits" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(shipped.png(pixels))
    (tmp_path / "other").mkdir()
    random = np.random.default_rng(0)
    for number in range(20):
        pixels = random.integers(0, 256, (12, 10), dtype=np.uint8)
        (tmp_path / "other" / f"{number}.png").write_bytes(shipped.png(pixels))
    done = call(
        *("fit", "digits", "--method", "taufe", "--auxiliary", "other", "--epochs", 2),
        *("--out", "run"),
    )
    assert done.code == 0, done.err
