"""Foreign marks: where they may come from, and what they do to a run."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from safetensors.numpy import load_file

import shipped
import thresher
from thresher.data import open_data
from thresher.errors import DataError, RunError
from thresher.foreign_marks import (
    Marks,
    keep_marks,
    kept_marks,
    marked,
    marks_of_column,
    read_marks,
)

pytestmark = pytest.mark.usefixtures("plain_signals")


@pytest.fixture(autouse=True)
def samples(tmp_path, monkeypatch):
    """Eight rows with names."""
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(
        {
            "sample_id": [f"row {each}" for each in range(8)],
            "size": np.arange(8.0),
            "label": list("abababab"),
        }
    )
    return open_data(frame)


FOREIGN = np.isin(np.arange(8), [1, 4])
NAMES = ["row 1", "row 4"]


def written(form):
    """The two marks in a file of this form; its path."""
    whole = pd.DataFrame({"sample_id": [f"row {each}" for each in range(8)]})
    if form == "rows.npy":
        np.save(form, FOREIGN)
    elif form == "rows.csv":
        pd.DataFrame({"out_of_distribution": FOREIGN}).to_csv(form, index=False)
    elif form == "names.csv":
        whole[FOREIGN].to_csv(form, index=False)
    elif form == "both.jsonl":
        whole.assign(out_of_distribution=FOREIGN).to_json(form, orient="records", lines=True)
    elif form == "audit.parquet":
        verdict = np.where(FOREIGN, "out-of-distribution", "clean")
        whole.assign(verdict=verdict).to_parquet(form)
    return form


@pytest.mark.parametrize(
    "form", ["rows.npy", "rows.csv", "names.csv", "both.jsonl", "audit.parquet"]
)
def test_files_of_any_form_mark_the_same_samples(samples, form):
    """Names, marks row by row, both, or the verdicts of an audit."""
    found, said = marked(samples, read_marks(written(form)))
    assert FOREIGN.tolist() == found.out_of_distribution.tolist()
    assert said == "Known to be out of distribution: 2 samples."


@pytest.mark.parametrize(
    "given",
    [FOREIGN, FOREIGN.tolist(), pd.Series(FOREIGN), pl.Series(FOREIGN), NAMES, pd.Series(NAMES)],
)
def test_objects_in_memory_mark_the_same_samples(samples, given):
    """Arrays, lists, series of any library."""
    assert FOREIGN.tolist() == marked(samples, read_marks(given))[0].out_of_distribution.tolist()


def test_marks_follow_the_rows_that_are_taken(samples):
    """In the order asked for."""
    found = marked(samples, read_marks(FOREIGN))[0]
    assert [True, False, True] == found.take(np.array([4, 0, 1])).out_of_distribution.tolist()


def test_marks_row_by_row_count_the_images_that_cannot_be_read():
    """They were rows of the data, and are samples no longer."""
    table = shipped.image_table(30)
    table.loc[2, "image"] = b"no image"
    samples = open_data(table)
    marks = np.isin(np.arange(30), [2, 3])
    found = marked(samples, read_marks(marks))[0].out_of_distribution
    assert [2] == np.flatnonzero(found).tolist()  # row 3, behind the one that is left out


def test_names_that_are_not_there_are_counted(samples):
    """Some may be missing, not all."""
    _, said = marked(samples, read_marks(["row 1", "row 9"]))
    assert said.endswith("1 sample. 1 named samples are not in these data.")
    with pytest.raises(DataError, match="None of the 1 samples that out_of_distribution names"):
        marked(samples, read_marks(["row 9"]))
    assert not marked(samples, Marks("a run", names=pa.array([], pa.string())))[
        0
    ].out_of_distribution.any()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.arange(8), "shape .8,. and type int64"),
        (np.zeros((8, 2), bool), "shape .8, 2."),
        ("absent.csv", "absent.csv does not exist"),
        ("marks.txt", "marks are not read from"),
        ("other.csv", 'neither a column "sample_id" nor "out_of_distribution"'),
        ("odd.csv", 'holds "perhaps" in row 1'),
    ],
)
def test_what_marks_nothing_is_refused(given, words):
    """With what it holds instead."""
    Path("marks.txt").write_text("row 1")
    pd.DataFrame({"x": [1]}).to_csv("other.csv", index=False)
    pd.DataFrame({"out_of_distribution": ["true", "perhaps"]}).to_csv("odd.csv", index=False)
    with pytest.raises(DataError, match=words):
        read_marks(given)


def test_marks_of_another_number_of_rows_are_refused(samples):
    """Row by row there must be one each."""
    with pytest.raises(DataError, match="holds 3 marks for 8 rows"):
        marked(samples, read_marks(FOREIGN[:3]))


def test_columns_say_true_in_several_ways():
    """A missing cell marks nothing."""
    for cells in ([True, False, None], [1, 0, None], ["True", "false", ""], [1.0, 0.0, None]):
        assert [True, False, False] == marks_of_column(pa.chunked_array([cells]), "x").tolist()


def test_marks_are_kept_whole():
    """Of either kind; a torn file is named."""
    for given in (FOREIGN, NAMES):
        keep_marks(read_marks(given), Path("kept.parquet"))
        found, wanted = kept_marks(Path("kept.parquet")), read_marks(given)
        assert np.array_equal(found.rows, wanted.rows)
        assert found.names == wanted.names
    Path("kept.parquet").write_bytes(b"torn")
    with pytest.raises(RunError, match=r"kept\.parquet cannot be read"):
        kept_marks(Path("kept.parquet"))


# ---------------------------------------------------------------------- in a run
def history(run):
    return load_file(Path(run) / "history.safetensors")


def test_a_run_marks_its_samples_and_a_resumed_one_knows_them():
    """Of an array in memory, which need not be given again."""

    class Stop:
        def note(self, sentence):
            notes.append(sentence)

        def reading(self, done, total):
            pass

        def epoch(self, number, epochs, metrics):
            raise KeyboardInterrupt

    frame, notes = shipped.iris(), []
    marks = np.arange(150) % 10 == 0
    options = {"label": "species", "method": "selfie", "noise_rate": 0.2, "epochs": 3}
    with pytest.raises(KeyboardInterrupt):
        thresher.fit(frame, out_of_distribution=marks, listener=Stop(), out="run", **options)
    assert "Known to be out of distribution: 15 samples." in notes
    assert thresher.resume("run", data=frame).run.complete
    np.testing.assert_array_equal(marks, history("run")["out_of_distribution"])
    assert not history("run")["refurbished"][marks].clip(min=0).any()
    thresher.fit(frame, out="plain", **options)
    assert "out_of_distribution" not in history("plain")


def test_verdicts_that_are_none_are_refused_by_their_row(tmp_path, monkeypatch):
    """A number in their place would mark nothing, and nobody would see it."""
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"sample_id": ["a", "b"], "verdict": [0, 2]})
    frame.to_csv("codes.csv", index=False)
    frame.to_parquet("codes.parquet")
    for name in ("codes.csv", "codes.parquet"):
        with pytest.raises(DataError, match=r'holds "0" in row 0 .*"mislabelled"'):
            read_marks(name)
    with pytest.raises(DataError, match="one True or False"):
        read_marks([["a"], ["b", "c"]])
