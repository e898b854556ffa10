"""`thresher predict`: classes for new rows, from a run wherever it lies."""

import csv
import json
import shutil

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import shipped
import thresher
from pictures import class_folders
from thresher.data import open_data
from thresher.trained_model import TrainedModel


@pytest.fixture
def run(iris_run, tmp_path):
    """A copy of a finished run at tmp_path/run, and new.csv: rows without a label."""
    shutil.copytree(iris_run, tmp_path / "run")
    new = shipped.iris().drop(columns="species")[:20]
    new.to_csv(tmp_path / "new.csv", index=False)
    return tmp_path / "run"


@pytest.mark.usefixtures("run")
def test_predictions_are_csv_on_standard_output(call):
    """A row for every row, in the order of the input, and nothing else."""
    done = call("predict", "run", "new.csv")
    assert done.code == 0
    rows = list(csv.DictReader(done.out.splitlines()))
    assert ["sample_id", "predicted_label", "probability"] == list(rows[0])
    assert len(rows) == 20
    assert {each["predicted_label"] for each in rows} <= set(shipped.IRIS)
    assert all(1 / 3 < float(each["probability"]) <= 1 for each in rows)
    ids = open_data("new.csv", labelled=False).sample_id.to_pylist()
    assert ids == [each["sample_id"] for each in rows]


def test_predictions_are_those_of_the_model(run, call):
    """The file and the model in this process say the same."""
    rows = json.loads(call("predict", "run", "new.csv", "--json").out)["predictions"]
    model = TrainedModel.load(run / "model")
    probabilities = model.probabilities(model.read(run.parent / "new.csv"))
    assert [model.classes[each] for each in probabilities.argmax(1)] == [
        each["predicted_label"] for each in rows
    ]
    np.testing.assert_allclose(
        probabilities.max(1), [each["probability"] for each in rows], rtol=1e-6
    )


@pytest.mark.usefixtures("run")
def test_json_is_one_object_with_its_schema(call):
    """And the same rows as the CSV."""
    done = call("predict", "run", "new.csv", "--json")
    assert 1 == done.out.count("\n")
    found = json.loads(done.out)
    assert ["schema", "predictions"] == list(found)
    assert found["schema"] == 1
    rows = csv.DictReader(call("predict", "run", "new.csv").out.splitlines())
    assert [each["predicted_label"] for each in rows] == [
        each["predicted_label"] for each in found["predictions"]
    ]


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("name", ["classes.csv", "classes.parquet"])
def test_predictions_go_to_a_file_on_request(name, call, tmp_path):
    """In either format the table is the same; standard output stays empty."""
    done = call("predict", "run", "new.csv", "--out", name)
    assert done.code == 0
    assert done.out == ""
    assert f"20 predictions in {name}" in done.err
    read = pyarrow.csv.read_csv if name.endswith(".csv") else pq.read_table
    found = read(tmp_path / name).to_pylist()
    rows = json.loads(call("predict", "run", "new.csv", "--json").out)["predictions"]
    assert [each["predicted_label"] for each in rows] == [each["predicted_label"] for each in found]
    assert {name, "run", "new.csv"} == {each.name for each in tmp_path.iterdir()}


def test_a_label_column_in_new_data_is_ignored(run, call):
    """Even one with classes that training never saw."""
    frame = shipped.iris()[:20].assign(species="rose")
    frame.to_csv(run.parent / "labelled.csv", index=False)
    assert call("predict", "run", "new.csv").out == call("predict", "run", "labelled.csv").out


def test_columns_may_come_in_any_order(run, call):
    """They are found by name."""
    frame = shipped.iris()[:20]
    frame[frame.columns[::-1]].assign(more=1).to_csv(run.parent / "turned.csv", index=False)
    first, second = (
        [each.split(",")[1:] for each in call("predict", "run", name).out.splitlines()]
        for name in ("new.csv", "turned.csv")
    )
    assert first == second


def test_a_missing_column_is_named(run, call):
    """With the nearest of those that are there."""
    frame = shipped.iris().drop(columns="species")
    frame.rename(columns={"petal width": "petal widht"}).to_csv(run.parent / "x.csv", index=False)
    done = call("predict", "run", "x.csv")
    assert done.code == 2
    assert done.out == ""
    assert done.complaint == [
        'thresher: Column "petal width" is lacking; the model was trained with it.',
        '          Did you mean "petal widht"?',
    ]


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_without_a_run_is_refused(made, call, tmp_path):
    """Missing or without run.toml."""
    if made:
        (tmp_path / "nowhere").mkdir()
    done = call("predict", "nowhere", "new.csv")
    assert done.code == 2
    assert done.complaint == [
        "thresher: nowhere is not a run folder: it has no run.toml.",
        "          Pass the folder that thresher fit wrote (its --out).",
    ]


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["missing.csv"], "missing.csv does not exist"),
        (["new.csv", "--out", "classes.txt"], "--out must end in .csv or .parquet"),
        (["new.csv", "--out", "nowhere/classes.csv"], "Cannot write nowhere/classes.csv: No such"),
        (["new.csv", "--device", "warp"], 'The device "warp" cannot be used'),
    ],
)
def test_unusable_arguments_are_refused(arguments, cause, call, tmp_path):
    """Exit 2, and no file."""
    before = shipped.contents(tmp_path)
    done = call("predict", "run", *arguments)
    assert done.code == 2
    assert len(done.complaint) == 2
    assert cause in done.complaint[0]
    assert before == shipped.contents(tmp_path)


def test_images_are_not_features(run, call):
    """Data of the other kind are refused."""
    images, labels = shipped.digits(20)
    np.savez(run.parent / "digits.npz", X=images, y=labels)
    done = call("predict", "run", "digits.npz")
    assert done.code == 2
    assert "images, the model was trained on features" in done.complaint[0]


def test_a_run_that_was_moved_still_predicts_and_audits(run, call, tmp_path):
    """It needs neither its old place nor its data."""
    before = call("predict", "run", "new.csv").out
    listed = call("audit", "run").out
    (tmp_path / "elsewhere").mkdir()
    run.rename(tmp_path / "elsewhere" / "moved run")
    assert before == call("predict", "elsewhere/moved run", "new.csv").out
    assert listed == call("audit", "elsewhere/moved run").out


def test_the_run_may_be_the_working_directory(run, call, monkeypatch):
    """`cd run; thresher predict . ../new.csv`."""
    outside = call("predict", "run", "new.csv").out
    monkeypatch.chdir(run)
    assert outside == call("predict", ".", "../new.csv").out


@pytest.mark.parametrize("damage", ["missing", "cut", "rubbish"])
def test_a_damaged_model_is_refused(damage, run, call):
    """A line of cause, a line of fix."""
    file = run / "model" / "model.safetensors"
    content = {"cut": file.read_bytes()[:1000], "rubbish": b"rubbish" * 1000}.get(damage)
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    done = call("predict", "run", "new.csv")
    assert done.code == 2
    assert len(done.complaint) == 2
    assert done.out == ""


def test_a_run_without_an_audit_predicts(call, tmp_path):
    """`fit(…, audit=False)` leaves a finished run; only its audit is not there."""
    shipped.iris().to_csv(tmp_path / "iris.csv", index=False)
    thresher.fit(
        tmp_path / "iris.csv", label="species", epochs=1, audit=False, out=tmp_path / "run"
    )
    assert call("predict", "run", "iris.csv").code == 0
    done = call("audit", "run")
    assert done.code == 2
    assert "holds no audit.parquet" in done.complaint[0]


def test_rows_that_cannot_be_read_are_said_aloud(call, tmp_path):
    """There are fewer predictions than rows then."""
    class_folders(tmp_path / "pictures", each=10)
    assert call("fit", "pictures", "--epochs", "1", "--out", "seen").code == 0
    (tmp_path / "pictures" / "cat" / "0.png").write_bytes(b"cut")
    done = call("predict", "seen", "pictures")
    assert len(done.out.splitlines()) == 1 + 19
    assert '1 image of 20 left out as unreadable; the first "cat/0.png"' in done.err
