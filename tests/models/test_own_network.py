"""A user's own network, from the file they write to the predictions of a later day."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import shipped
import thresher
from thresher.errors import ModelError
from thresher.models import build_model
from thresher.models.logits import logits_of
from thresher.trained_model import TrainedModel
from thresher.training.predict import as_tensor

PAGE = Path(__file__).parents[2] / "docs/model.md"
STRIDED, TRANSFORMER = "my_network:Strided", "my_transformer:transformer"


@pytest.fixture
def own_networks(tmp_path, monkeypatch):
    """The files of the page on networks, in the working directory."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = ["my_network", "my_transformer"]
    for name, block in zip(names, blocks, strict=True):
        (tmp_path / f"{name}.py").write_text(block)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield
    for name in names:
        sys.modules.pop(name, None)


def logits(model, samples):
    """What the network says of samples, before any softmax."""
    with torch.no_grad():
        return logits_of(model.network.eval()(model.preparation(as_tensor(samples.inputs))))


@pytest.mark.usefixtures("own_networks")
@pytest.mark.parametrize(
    ("model", "method", "rate"),
    [
        (STRIDED, "auto", 0.05),
        (STRIDED, "co-teaching", 0.05),
        (TRANSFORMER, "auto", 0.02),
        (TRANSFORMER, "co-teaching", 0.02),
    ],
)
def test_the_networks_of_the_page_are_trained_saved_and_loaded(model, method, rate, tmp_path):
    """Logits after loading are those of training, bit for bit, and predict reads them."""
    pytest.importorskip("transformers")
    images, labels = shipped.digits(200)
    done = thresher.fit(
        (images, labels),
        model=model,
        method=method,
        epochs=2,
        learning_rate=rate,
        device="cpu",
        out=tmp_path / "run",
    )
    assert done.run.read_settings()["fit"]["model"] == model
    loaded = TrainedModel.load(done.run.model)
    samples = loaded.read(images)
    assert torch.equal(logits(done.model, samples), logits(loaded, samples))
    found = thresher.predict(done.run.path, images, device="cpu")
    np.testing.assert_array_equal(done.model.probabilities(samples), found.probabilities)


@pytest.mark.usefixtures("own_networks")
@pytest.mark.parametrize(("model", "rate"), [(STRIDED, 0.05), (TRANSFORMER, 0.02)])
def test_the_networks_of_the_page_learn(model, rate, tmp_path):
    """Far better than one in ten, in a few epochs."""
    pytest.importorskip("transformers")
    images, labels = shipped.digits(1200)
    done = thresher.fit(
        (images[:900], labels[:900]),
        test=(images[900:], labels[900:]),
        model=model,
        epochs=6,
        learning_rate=rate,
        augment="none",
        device="cpu",
        out=tmp_path / "run",
    )
    assert done.summary["test_accuracy"] > 0.5


def test_the_page_names_every_built_in_network():
    """In its table, and nothing else."""
    rows = re.findall(
        r"^\| `([^`]+)` \|", PAGE.read_text().replace("`--model` |", ""), re.MULTILINE
    )
    with pytest.raises(ModelError) as caught:
        build_model("zzzzzz", shape=(1, 8, 8), classes=2, seed=0)
    for name in rows:
        assert name in caught.value.fix
    assert caught.value.fix.split(".")[0].count(",") == len(rows) - 1
