"""`thresher fit --out-of-distribution`: samples that are never relabelled, from a run or a file."""

import tomllib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import shipped
import thresher
from thresher.errors import DataError, ParameterError
from thresher.fitting import auxiliary_or_none
from thresher.settings import FitSettings

pytestmark = pytest.mark.usefixtures("plain_signals")


def test_a_second_run_takes_the_samples_that_the_first_detected(call):
    """The folder of a run that kept features is a file of marks; run.toml names it."""
    shipped.iris().to_csv("iris.csv", index=False)
    asked = ("fit", "iris.csv", "--label", "species", "--epochs", 3)
    assert call(*asked, "--features", "--out", "first").code == 0
    audit = pq.read_table("first/audit.parquet").to_pandas()
    audit.loc[[3, 77], "verdict"] = "out-of-distribution"
    audit.to_parquet("first/audit.parquet")
    done = call(*asked, "--out-of-distribution", "first", "--out", "second")
    assert done.code == 0, done.err
    foreign = (audit["verdict"] == "out-of-distribution").to_numpy()
    np.testing.assert_array_equal(foreign, shipped.tensors("second")["out_of_distribution"])
    settings = tomllib.loads(Path("second/run.toml").read_text())["fit"]
    assert settings["out_of_distribution"] == str(Path("../first"))
    done = call(*asked, "--out-of-distribution", "second", "--out", "third")
    assert done.code == 2
    assert "--features" in done.err
    assert not Path("third").exists()


def test_a_column_of_marks_is_never_learned_from(call):
    """The run is that of the same marks in a file."""
    frame = shipped.iris()
    marks = np.arange(150) % 10 == 0
    frame.to_csv("plain.csv", index=False)
    frame.assign(odd=marks).to_csv("marked.csv", index=False)
    np.save("marks.npy", marks)
    asked = ("--label", "species", "--epochs", 2, "--out")
    done = call("fit", "marked.csv", "--out-of-distribution-column", "odd", *asked, "first")
    assert done.code == 0, done.err
    done = call("fit", "plain.csv", "--out-of-distribution", "marks.npy", *asked, "second")
    assert done.code == 0, done.err
    shipped.assert_same_run("first", "second")
    assert 15 == shipped.tensors("first")["out_of_distribution"].sum()
    with pytest.raises(ParameterError, match="both given"):
        thresher.fit(
            frame, out_of_distribution="marks.npy", out_of_distribution_column="odd", out="x"
        )
    with pytest.raises(DataError, match='no column "oddd"'):
        thresher.fit("marked.csv", out_of_distribution_column="oddd", label="species", out="x")


def test_marked_samples_may_be_learned_from_as_what_belongs_to_no_class(call):
    """As if they had been read from a file of their own; without marks there is nothing to take."""
    frame = shipped.iris()
    marks = np.arange(150) % 10 == 0
    frame.to_csv("all.csv", index=False)
    np.save("marks.npy", marks)
    frame[~marks].to_csv("known.csv", index=False)
    frame[marks].to_csv("foreign.csv", index=False)
    asked = ("--label", "species", "--method", "taufe", "--epochs", 2, "--out")
    marked = ("--out-of-distribution", "marks.npy", "--auxiliary", "out-of-distribution")
    done = call("fit", "all.csv", *marked, *asked, "first")
    assert done.code == 0, done.err
    assert "15 marked samples" in done.err
    done = call("fit", "known.csv", "--auxiliary", "foreign.csv", *asked, "second")
    assert done.code == 0, done.err
    here, there = (shipped.tensors(each) for each in ("first", "second"))
    for name in ("loss_sum", "probability_sum"):
        np.testing.assert_array_equal(here[name], there[name])
    settings = tomllib.loads(Path("first/run.toml").read_text())["fit"]
    assert "out-of-distribution" == settings["auxiliary"]
    done = call("fit", "--resume", "first")
    assert done.code == 0, done.err
    done = call("fit", "all.csv", "--auxiliary", "out-of-distribution", *asked, "third")
    assert done.code == 2
    assert "--out-of-distribution" in done.err


def test_a_folder_may_bear_the_name_that_stands_for_the_marked_samples(tmp_path, monkeypatch):
    """Written as a path it is one, also where it is read again."""
    monkeypatch.chdir(tmp_path)
    for given in (Path("out-of-distribution"), "./out-of-distribution"):
        settings = FitSettings(data="out-of-distribution", auxiliary=auxiliary_or_none(given))
        assert settings.auxiliary == "./out-of-distribution"
        again = FitSettings.from_table(settings.to_table(Path("first")), Path("first"))
        assert ("out-of-distribution", settings.auxiliary) == (again.data, again.auxiliary)
    word = FitSettings(auxiliary=auxiliary_or_none("out-of-distribution"))
    assert word.auxiliary == word.to_table(Path("first"))["auxiliary"] == "out-of-distribution"


def test_a_class_is_not_marked_as_a_whole(call):
    """It would be an answer that nothing was ever learned for."""
    frame = shipped.iris()
    frame.to_csv("all.csv", index=False)
    np.save("marks.npy", (frame["species"] == frame["species"].iloc[0]).to_numpy())
    asked = ("--label", "species", "--method", "oat", "--epochs", 1, "--out", "first")
    marked = ("--out-of-distribution", "marks.npy", "--auxiliary", "out-of-distribution")
    done = call("fit", "all.csv", *marked, *asked)
    assert done.code == 2
    assert str(frame["species"].iloc[0]) in done.err
    assert not Path("first").exists()
