"""The networks: shapes, sizes, parameter counts, and several networks as one."""

import pytest
import torch
from torch import nn

from thresher.errors import ModelError
from thresher.models import Mlp, Networks, PreActResNet18, ResNet18, SmallCnn, build_model
from thresher.training.snapshots import reset_modules

RESIDUAL = [ResNet18, PreActResNet18]


def parameters(model):
    return sum(each.numel() for each in model.parameters())


def test_mlp_has_the_parameters_of_its_widths():
    assert parameters(Mlp(64, 10)) == 64 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10


def test_mlp_flattens_images():
    assert Mlp(3 * 4 * 5, 7)(torch.zeros(2, 3, 4, 5)).shape == (2, 7)


def test_mlp_is_its_formula():
    model, inputs = Mlp(5, 3, hidden=(4,)), torch.randn(6, 5)
    first = model.body[1]
    hidden = (inputs @ first.weight.T + first.bias).clamp(min=0)
    expected = hidden @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(inputs), expected)


def shape_before_pooling(model, *inputs_shape):
    """(C, H, W) of the maps that are averaged, and the logits' shape."""
    with torch.no_grad():
        images = torch.randn(*inputs_shape)
        return tuple(model.stages(model.stem(images)).shape[1:]), tuple(model(images).shape)


def test_resnet18_has_its_published_size():
    assert parameters(ResNet18((3, 32, 32), 10)) == 11_173_962


def test_preact_resnet18_has_its_published_size():
    """No norm in the shortcuts and none after the first convolution, one before the average."""
    found = parameters(PreActResNet18((3, 32, 32), 10))
    assert 11_172_170 == found
    assert abs(found - 11.17e6) < 0.02e6


@pytest.mark.parametrize("network", RESIDUAL)
@pytest.mark.parametrize(
    ("sides", "before_pooling"),
    [((8, 8), (1, 1)), ((21, 33), (3, 5)), ((32, 32), (4, 4)), ((95, 120), (12, 15))],
)
def test_a_residual_network_halves_a_small_image_three_times(network, sides, before_pooling):
    model = network((3, *sides), 10).eval()
    maps, logits = shape_before_pooling(model, 2, 3, *sides)
    assert maps == (512, *before_pooling)
    assert logits == (2, 10)


@pytest.mark.parametrize("network", RESIDUAL)
@pytest.mark.parametrize(
    ("sides", "before_pooling"),
    [((96, 96), (3, 3)), ((97, 128), (4, 4)), ((128, 200), (4, 7)), ((224, 224), (7, 7))],
)
def test_a_residual_network_halves_a_large_image_five_times(network, sides, before_pooling):
    """The maps stay 3×3 or more, and a picture costs a sixteenth."""
    model = network((1, *sides), 5).eval()
    maps, logits = shape_before_pooling(model, 1, 1, *sides)
    assert maps == (512, *before_pooling)
    assert logits == (1, 5)


def test_the_first_layers_for_large_images_are_the_published_ones():
    """11,689,512 parameters at 1,000 classes, as of the original network."""
    assert parameters(ResNet18((3, 224, 224), 1000)) == 11_689_512


def test_a_preactivated_block_without_projection_adds_to_its_input():
    """Maps pass untouched where the convolutions answer with 0: the identity mapping."""
    block = PreActResNet18((3, 8, 8), 2).stages[1]
    nn.init.zeros_(block.residual[3].weight)
    maps = torch.randn(2, 64, 5, 5)
    assert torch.equal(maps, block(maps))


def test_a_preactivated_block_with_projection_is_its_formula():
    """Both paths start from the activated maps."""
    block = PreActResNet18((3, 8, 8), 2).stages[2].eval()
    maps = torch.randn(2, 64, 6, 6)
    first, second = block.residual[0], block.residual[3]
    scale = (1 + 1e-5) ** -0.5  # of a fresh batch norm in evaluation mode
    activated = (scale * maps).relu()
    inner = torch.conv2d(activated, first.weight, stride=2, padding=1)
    residual = torch.conv2d((scale * inner).relu(), second.weight, padding=1)
    expected = residual + torch.conv2d(activated, block.projection.weight, stride=2)
    torch.testing.assert_close(block(maps), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet18", "preact-resnet18"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 96, 96), (3, 128, 128)])
def test_two_networks_of_every_name_learn_and_begin_anew(name, shape):
    """A reset reaches every parameter and statistic, by the seed alone."""
    model = build_model(name, shape=shape, classes=4, seed=0, networks=2)
    logits = model(torch.randn(2, *shape))
    assert logits.shape == (2, 2, 4)
    logits.square().sum().backward()
    assert all(torch.isfinite(each.grad).all() for each in model.parameters())

    reset = reset_modules(model, ("",), seed=1)
    assert {id(each) for each in model.parameters()} == {id(each) for each in reset}
    first = {key: value.clone() for key, value in model.state_dict().items()}
    reset_modules(model, ("",), seed=1)
    assert all(torch.equal(value, first[key]) for key, value in model.state_dict().items())
    assert all(not value.any() for key, value in first.items() if "running_mean" in key)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("sides", [(1, 1), (2, 3), (7, 7), (8, 8), (28, 28), (32, 32), (8, 33)])
def test_small_cnn_takes_any_size_and_any_channels(channels, sides):
    model = SmallCnn((channels, *sides), 6)
    assert model(torch.randn(2, channels, *sides)).shape == (2, 6)


@pytest.mark.parametrize(("side", "pools"), [(32, 3), (28, 3), (16, 3), (8, 2), (4, 1), (3, 0)])
def test_small_cnn_pools_while_two_pixels_are_left(side, pools):
    model = SmallCnn((1, side, side), 3)
    assert sum(isinstance(each, nn.MaxPool2d) for each in model.modules()) == pools


def test_small_cnn_trains_on_a_batch_of_one():
    model = SmallCnn((1, 8, 8), 3)
    model(torch.randn(1, 1, 8, 8)).sum().backward()
    assert all(torch.isfinite(each.grad).all() for each in model.parameters())


def test_small_cnn_has_four_blocks_of_doubling_width():
    model = SmallCnn((3, 32, 32), 10)
    widths = [each.out_channels for each in model.modules() if isinstance(each, nn.Conv2d)]
    assert widths == [32, 64, 128, 256]


def test_networks_answer_like_their_members():
    members, inputs = [Mlp(4, 3), Mlp(4, 3), Mlp(4, 3)], torch.randn(5, 4)
    logits = Networks(members)(inputs)
    assert logits.shape == (3, 5, 3)
    for answer, member in zip(logits, members, strict=True):
        assert torch.equal(answer, member(inputs))


def test_member_parameters_split_all_parameters():
    model = Networks([Mlp(4, 3), Mlp(4, 3)])
    split = model.member_parameters()
    assert [len(each) for each in split] == [6, 6]
    assert [id(each) for part in split for each in part] == [
        id(each) for each in model.parameters()
    ]


def test_a_loss_of_one_network_leaves_the_other_alone():
    model = Networks([Mlp(4, 3), Mlp(4, 3)])
    model(torch.randn(5, 4))[1].sum().backward()
    first, second = model.member_parameters()
    assert all(each.grad is None or not each.grad.any() for each in first)
    assert any(each.grad.any() for each in second)


def test_members_that_share_parameters_are_refused():
    member = Mlp(4, 3)
    with pytest.raises(ModelError, match="share a parameter"):
        Networks([member, member])


def test_no_members_are_refused():
    with pytest.raises(ModelError, match="no network"):
        Networks([])
