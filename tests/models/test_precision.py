"""bfloat16 in the forward pass: what it changes, and what it leaves as it was."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from thresher.errors import ParameterError
from thresher.models import Networks, build_model, in_precision

NAMES = [
    ("mlp", (6,)),
    ("cnn", (3, 16, 16)),
    ("resnet18", (1, 8, 8)),
    ("preact-resnet18", (3, 8, 8)),
]


def test_float32_is_the_network_itself():
    model = nn.Linear(3, 2)
    assert in_precision(model, "fp32") is model


def test_another_precision_is_refused():
    with pytest.raises(ParameterError, match='fp32 or bf16, got "fp16"'):
        in_precision(nn.Linear(3, 2), "fp16")


@pytest.mark.parametrize(("name", "shape"), NAMES)
@pytest.mark.parametrize("networks", [1, 2])
def test_bfloat16_is_close_to_float32_and_not_equal(name, shape, networks):
    """8 significant bits a product: a few hundredths of the spread of the logits."""
    model = build_model(name, shape=shape, classes=5, seed=0, networks=networks).eval()
    inputs = torch.randn(16, *shape)
    with torch.no_grad():
        expected, found = model(inputs), in_precision(model, "bf16")(inputs)
    assert found.dtype == torch.float32
    assert found.shape == expected.shape
    assert not torch.equal(expected, found)
    assert (found - expected).abs().max() < 0.1 * expected.std()


def test_products_are_rounded_to_bfloat16_and_nothing_else_is():
    """By hand: 1 + 2^-9 is 1 in bfloat16, and weights and gradients stay float32."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    found = in_precision(model, "bf16")(torch.tensor([[1 + 2**-9], [1.5]]))
    assert [[1.0], [1.5]] == found.tolist()
    found.sum().backward()
    assert model.weight.dtype == model.weight.grad.dtype == torch.float32


def test_maps_are_bfloat16_and_stay_channels_last():
    """The order that the images are stored in, from the first convolution to the last."""
    model = build_model("resnet18", shape=(3, 8, 8), classes=2, seed=0)
    model.to(memory_format=torch.channels_last)
    seen = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _module, _inputs, maps: seen.append(maps))
    images = torch.randn(4, 8, 8, 3).permute(0, 3, 1, 2)
    in_precision(model, "bf16")(images)
    assert len(seen) == 20
    assert {torch.bfloat16} == {each.dtype for each in seen}
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in seen)


@pytest.mark.parametrize(
    "wrap", [lambda x: (x, x), lambda x: {"logits": x}, lambda x: SimpleNamespace(logits=x)]
)
def test_logits_come_out_of_any_answer(wrap):
    """As a float32 tensor."""

    class Wrapping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, inputs):
            return wrap(self.layer(inputs))

    model = Wrapping()
    pair = Networks([model, Wrapping()])
    found = in_precision(model, "bf16")(torch.ones(2, 4))
    assert found.dtype == torch.float32
    torch.testing.assert_close(model.layer(torch.ones(2, 4)), found, rtol=0.02, atol=0.02)
    assert in_precision(pair, "bf16")(torch.ones(2, 4)).shape == (2, 2, 3)
