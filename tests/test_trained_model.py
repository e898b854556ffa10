"""A trained model as a file: what comes back is bit for bit what was saved, or an error."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

import shipped
import thresher
from thresher.errors import DataError, RunError
from thresher.trained_model import Predictions, TrainedModel, choose_device

FILES = ("config.json", "preprocess.json", "model.safetensors")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Finished runs by name; nobody writes there."""
    folder = tmp_path_factory.mktemp("runs")
    pixels, digits = shipped.digits(200)
    frame = shipped.iris()
    frame["colour"] = np.where(frame["species"] == "setosa", "blue", "white")
    frame.iloc[::7, 0] = np.nan
    kinds = {
        "table": (frame, {"label": "species"}),
        "images": ((pixels, digits), {}),
        "two networks": ((pixels, digits), {"method": "co-teaching"}),
        "resnet": ((pixels[:80], digits[:80] % 2), {"model": "resnet18"}),
    }
    return {
        name: (data, thresher.fit(data, epochs=3, out=folder / name, device="cpu", **options))
        for name, (data, options) in kinds.items()
    }


@pytest.fixture(params=["table", "images", "two networks", "resnet"])
def result(request, results):
    return results[request.param]


def new_data(data):
    return data.drop(columns="species") if hasattr(data, "drop") else data[0]


def test_a_saved_model_gives_the_probabilities_of_the_trained_one(result):
    """Bit for bit: columns, medians, scaling and weights all came back."""
    data, done = result
    loaded = TrainedModel.load(done.run.model)
    found, expected = (
        each.probabilities(each.read(new_data(data))) for each in (loaded, done.model)
    )
    np.testing.assert_array_equal(found, expected, strict=True)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_saving_what_was_loaded_gives_the_same_file(result, tmp_path):
    """Nothing is lost and nothing added."""
    _, done = result
    TrainedModel.load(done.run.model).save(tmp_path / "again")
    for file in FILES:
        assert (done.run.model / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_the_folder_holds_tensors_and_objects(result):
    """No pickle: what is not a tensor is JSON, in the layout of Hugging Face."""
    _, done = result
    assert {*FILES, "README.md"} == {each.name for each in done.run.model.iterdir()}
    found = json.loads((done.run.model / "config.json").read_text())
    assert found["schema"] == 1
    assert list(found["id2label"].values()) == list(done.model.classes)
    assert found["label2id"] == {name: place for place, name in enumerate(done.model.classes)}
    assert found["networks"] == (2 if done.summary["method"] == "co-teaching" else 1)
    state = done.model.network.state_dict()
    assert state.keys() == load_file(done.run.model / "model.safetensors").keys()


def test_the_card_tells_what_the_run_knows(result):
    """Noise, rows that taught nothing, and which data they were."""
    _, done = result
    card = (done.run.model / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: thresher\n")
    facts = done.run.read_settings()["run"]
    assert facts["fingerprint"] in card
    assert f"About {100 * done.summary['noise_rate_estimate']:.1f} % of the labels" in card
    assert f"| rows read | {done.summary['n']:,} |" in card
    for name in done.model.classes:
        assert f"\n| {name} | " in card


def test_a_model_folder_predicts_alone(results, tmp_path):
    """Away from its run."""
    data, done = results["table"]
    alone = shutil.copytree(done.run.model, tmp_path / "model")
    found = thresher.predict(alone, new_data(data)).probabilities
    np.testing.assert_array_equal(
        thresher.predict(done.run.path, new_data(data)).probabilities, found
    )


def test_predict_says_what_the_model_of_the_run_says(result):
    """Ids of the input, the most probable class by name, in the order of the input."""
    data, done = result
    found = thresher.predict(done.run.path, new_data(data), device="cpu")
    samples = done.model.read(new_data(data))
    expected = done.model.probabilities(samples)
    np.testing.assert_array_equal(expected, found.probabilities)
    assert samples.sample_id.to_pylist() == list(found.sample_id)
    assert [done.model.classes[each] for each in expected.argmax(1)] == found.labels


def test_accuracy_counts_the_labelled_rows(result):
    """Of those it was given labels for; none is no number."""
    data, done = result
    samples = done.model.read(data, labelled=True)
    labels = samples.labels.copy()
    labels[::2] = -1
    hidden = dataclasses.replace(samples, labels=labels)
    right = done.model.probabilities(samples).argmax(1) == samples.labels
    assert done.model.accuracy(samples) == pytest.approx(right.mean())
    assert done.model.accuracy(hidden) == pytest.approx(right[1::2].mean())
    assert np.isnan(done.model.accuracy(dataclasses.replace(samples, labels=labels * 0 - 1)))


def test_a_row_is_predicted_alone_as_among_others(results):
    """Nothing of the batch leaks into it, to rounding."""
    data, done = results["table"]
    whole = thresher.predict(done.run.path, new_data(data)).probabilities
    alone = thresher.predict(done.run.path, new_data(data)[5:6]).probabilities
    np.testing.assert_allclose(whole[5:6], alone, rtol=1e-4, atol=1e-6)


def test_predictions_make_a_table():
    """Of texts and float32."""
    probabilities = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    table = Predictions(["a", "b"], ("cat", "dog"), probabilities).to_table()
    assert {"sample_id": "string", "predicted_label": "string", "probability": "float"} == {
        field.name: str(field.type) for field in table.schema
    }
    assert table.to_pydict() == {
        "sample_id": ["a", "b"],
        "predicted_label": ["dog", "cat"],
        "probability": [0.75, 0.5],
    }


def test_an_unfinished_run_does_not_predict(results, tmp_path):
    """Its weights may be of any epoch."""
    _, done = results["table"]
    (tmp_path / "state").mkdir()
    shutil.copytree(done.run.model, tmp_path / "model")
    for file in (done.run.settings, done.run.summary):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(RunError, match="is not finished"):
        thresher.predict(tmp_path, [[1.0]])


def test_data_that_lack_a_column_are_refused(results):
    """By name."""
    data, done = results["table"]
    with pytest.raises(DataError, match='"colour" is lacking'):
        thresher.predict(done.run.path, new_data(data).drop(columns="colour"))


@pytest.mark.parametrize("name", ["config.json", "preprocess.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "rubbish", "folder"])
def test_a_damaged_file_is_refused(damage, name, results, tmp_path):
    """Whatever happened to it, with the way out."""
    folder = shutil.copytree(results["table"][1].run.model, tmp_path / "model")
    path = folder / name
    whole = path.read_bytes()
    path.unlink()
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(whole[:-10])
        case "rubbish":
            path.write_bytes(np.random.default_rng(0).bytes(5000))
        case "folder":
            path.mkdir()
    with pytest.raises(RunError, match="cannot be read") as refused:
        TrainedModel.load(folder)
    assert refused.value.fix == "Train again."


@pytest.mark.parametrize("name", ["config.json", "preprocess.json"])
def test_a_folder_of_a_later_release_is_refused(name, results, tmp_path):
    """Rather than misread."""
    folder = shutil.copytree(results["table"][1].run.model, tmp_path / "model")
    changed = json.loads((folder / name).read_text()) | {"schema": 2}
    (folder / name).write_text(json.dumps(changed))
    with pytest.raises(RunError, match="has schema 2; this release reads 1"):
        TrainedModel.load(folder)


OWN = """
from torch import nn

def build(shape, classes):
    return nn.Sequential(nn.Linear(shape[0], {width}), nn.Linear({width}, classes))
"""


def test_a_users_model_that_changed_since_is_refused(tmp_path, monkeypatch):
    """Weights that fit nowhere are told as that; its code is imported, not kept."""
    monkeypatch.chdir(tmp_path)
    Path("own_changing.py").write_text(OWN.format(width=4))
    done = thresher.fit(
        shipped.iris(), label="species", model="own_changing:build", epochs=1, out="run"
    )
    assert thresher.predict("run", shipped.iris()).labels
    Path("own_changing.py").write_text(OWN.format(width=55))
    del sys.modules["own_changing"]
    with pytest.raises(RunError, match="do not fit the model own_changing:build"):
        TrainedModel.load(done.run.model)


def test_tied_weights_are_saved_twice(results, tmp_path):
    """The format refuses shared memory."""
    done = results["table"][1]
    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    network[1].weight = network[0].weight
    dataclasses.replace(done.model, network=network).save(tmp_path / "tied")
    saved = load_file(tmp_path / "tied" / "model.safetensors")
    assert torch.equal(saved["0.weight"], saved["1.weight"])


def test_the_processor_is_a_device():
    """And auto finds one."""
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda")


@pytest.mark.parametrize("name", ["warp", "", "cpu:x", "meta", "cuda:9999"])
def test_a_device_that_computes_nothing_here_is_refused(name):
    """Unknown, absent, or one that holds no numbers."""
    with pytest.raises(RunError, match="cannot be used") as refused:
        choose_device(name)
    assert "\n" not in refused.value.cause
    assert refused.value.fix == "Use --device cpu, or auto."


def test_predictions_of_the_audit_are_those_of_unlabelled_rows(tmp_path):
    """Rows without a label get the class that `predict` gives them."""
    frame = shipped.iris()
    frame.loc[frame.index[::4], "species"] = None
    done = thresher.fit(frame, label="species", epochs=3, out=tmp_path / "run")
    audit = pq.read_table(done.run.audit).to_pandas()
    rows = audit["split"] == "unlabelled"
    found = np.array(thresher.predict(done.run.path, frame.drop(columns="species")).labels)
    assert (audit["predicted_label"][rows] == found[rows]).all()
