"""A training in bfloat16: the loss and all that is remembered stay float32, and it learns."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from thresher.models import Preparation, build_model
from thresher.noise import METHODS, Standard, make_method
from thresher.training.loop import Rows, Settings, Training
from thresher.training.predict import predict_probabilities
from thresher.training.stream import Stream

BF16, FP32 = "bf16", "fp32"


def training(precision, *, method="standard", model="mlp", epochs=3, rows=600):
    """A training on digits, and what prepares its inputs."""
    images, labels = load_digits(return_X_y=True)
    images, labels = images[:rows], torch.from_numpy(labels[:rows]).long()
    if model != "mlp":
        images = (images * 15.9).astype(np.uint8).reshape(-1, 8, 8, 1)
    inputs = torch.from_numpy(images.astype(np.float32) if model == "mlp" else images)
    prepare = Preparation.fit(inputs.numpy())
    rule = make_method(method) if isinstance(method, str) else method
    network = build_model(
        model, shape=prepare.shape(inputs.shape), classes=10, seed=0, networks=rule.networks
    )
    if model != "mlp":
        network.to(memory_format=torch.channels_last)
    criterion = rule.start(rows, 10, epochs=epochs, labels=labels)
    data = Rows(inputs, labels, torch.arange(rows), prepare)
    settings = Settings(epochs=epochs, batch_size=64, precision=precision)
    streams = {name: Stream(inputs.flip(-1), prepare) for name in rule.streams()}
    return Training(network, criterion, data, settings, streams=streams)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_remembers_in_float32(method):
    """Finite losses, float32 columns, float32 weights, within a few points of float32."""
    found = {}
    for precision in (FP32, BF16):
        run = training(precision, method=method)
        losses = [epoch.loss for epoch in run.run()]
        assert np.isfinite(losses).all()
        floats = {
            each.dtype for each in run.model.state_dict().values() if each.is_floating_point()
        }
        assert {torch.float32} == floats
        history = run.criterion.history
        for name, column in history.state_dict().items():
            assert column.dtype != torch.bfloat16, name
            assert torch.isfinite(column.float()).all(), name
        found[precision] = history.accuracy(history["eligible"])
    assert abs(found[FP32] - found[BF16]) < 0.05


def test_a_method_computes_its_loss_in_float32():
    """From logits that were brought back before it, and outside of autocast."""
    seen = []

    class Watching(Standard):
        def sample_loss(self, logits, targets):
            losses = super().sample_loss(logits, targets)
            seen.extend([logits.dtype, losses.dtype, torch.is_autocast_enabled("cpu")])
            return losses

    next(training(BF16, method=Watching()).run())
    assert {torch.float32, False} == set(seen)


def test_bfloat16_changes_the_weights_and_hardly_the_predictions():
    """On a small convolutional network; predictions in the precision of the training."""
    probability = {}
    for precision in (FP32, BF16):
        run = training(precision, model="cnn", rows=400)
        list(run.run())
        rows = run.rows
        probability[precision] = predict_probabilities(
            run.model, rows.inputs, rows.prepare, precision=precision
        )
        assert (probability[precision].argmax(1) == rows.labels.numpy()).mean() > 0.8
    assert probability[BF16].dtype == np.float32
    np.testing.assert_allclose(probability[BF16].sum(1), 1, atol=1e-5)
    difference = np.abs(probability[FP32] - probability[BF16])
    assert 0 < difference.mean() < 0.02


def test_one_network_predicts_alike_in_both_precisions():
    """The same weights: the probabilities differ by rounding, the classes hardly."""
    run = training(FP32)
    list(run.run())
    first, second = (
        predict_probabilities(run.model, run.rows.inputs, run.rows.prepare, precision=each)
        for each in (FP32, BF16)
    )
    assert not np.array_equal(first, second)
    np.testing.assert_allclose(first, second, atol=0.05)
    assert (first.argmax(1) == second.argmax(1)).mean() > 0.98
