"""The networks: shapes, sizes, parameter counts, and several networks as one."""

import pytest
import torch
from torch import nn

from thresher.errors import ModelError
from thresher.models import Mlp, Networks, ResNet18, SmallCnn


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


def test_resnet18_has_its_published_size():
    assert parameters(ResNet18(3, 10)) == 11_173_962


@pytest.mark.parametrize(("channels", "side", "classes"), [(3, 32, 10), (1, 8, 2), (4, 21, 5)])
def test_resnet18_answers_a_row_per_image(channels, side, classes):
    logits = ResNet18(channels, classes)(torch.randn(2, channels, side, side))
    assert logits.shape == (2, classes)
    assert torch.isfinite(logits).all()


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
