"""Features: what the last layer sees, of any network that ends in one."""

import numpy as np
import pytest
import torch
from torch import nn

from thresher.errors import ModelError
from thresher.models import Networks, build_model
from thresher.models.last_layer import last_layer
from thresher.training.features import last_layer_inputs


def scaled(batch):
    return batch.float() / 255


@pytest.mark.parametrize(("model", "shape"), [("mlp", (5,)), ("cnn", (1, 8, 8))])
@pytest.mark.parametrize("networks", [1, 2])
def test_the_last_layer_makes_the_logits_of_them(model, shape, networks):
    """Of several networks, the first one's."""
    network = build_model(model, shape=shape, classes=3, seed=0, networks=networks).eval()
    inputs = torch.randint(0, 255, (2500, *shape), dtype=torch.uint8)
    found = last_layer_inputs(network, inputs, scaled, classes=3)
    layer = last_layer(network, 3)
    assert (2500, layer.in_features) == found.shape
    with torch.no_grad():
        logits = layer(torch.from_numpy(found.astype(np.float32)))
        expected = network(scaled(inputs))
    expected = expected[0] if networks == 2 else expected
    assert torch.allclose(logits, expected, atol=5e-3)
    assert not layer._forward_pre_hooks


def test_numbers_that_half_a_float_cannot_hold_are_cut():
    """Rather than infinite."""
    network = nn.Linear(2, 2)
    found = last_layer_inputs(network, torch.full((3, 2), 1e9), lambda batch: batch, classes=2)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    "network", [nn.Sequential(nn.Linear(4, 7)), nn.Conv2d(1, 3, 1), Networks([nn.Identity()])]
)
def test_a_network_that_does_not_end_in_a_linear_layer_is_refused(network):
    """With what to do."""
    with pytest.raises(ModelError, match="linear layer of 3 outputs") as refused:
        last_layer(network, 3)
    assert "--features" in refused.value.fix
