"""Blocks: which parts a network has, in which order, and which are the later ones."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from thresher.models import build_model
from thresher.models.blocks import blocks, later_blocks, parameters_outside, under

SHAPES = {"mlp": (12,), "cnn": (3, 32, 32), "resnet18": (3, 32, 32), "preact-resnet18": (3, 8, 8)}


@pytest.mark.parametrize("name", SHAPES)
def test_every_parameter_of_our_networks_belongs_to_exactly_one_block(name):
    """Normalisation included, and the last block is the head."""
    model = build_model(name, shape=SHAPES[name], classes=4, seed=0)
    found = blocks(model)
    assert ("head",) == found[-1]
    for parameter, _ in model.named_parameters():
        assert 1 == sum(under(parameter, block) for block in found), parameter


def test_the_middle_of_a_residual_network_is_its_fourth_stage():
    """As published for it; normalisation goes with the block before."""
    model = build_model("resnet18", shape=(3, 8, 8), classes=4, seed=0)
    assert ("head",) == later_blocks(model, 1)
    assert ("stages.6", "stages.7", "head") == later_blocks(model, 2)
    model = build_model("cnn", shape=(3, 32, 32), classes=4, seed=0)
    assert ("body.12", "body.13", "head") == later_blocks(model, 2)


def test_a_small_network_keeps_its_first_block():
    """Of two blocks there is no middle; a single layer has no later ones."""
    two = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    assert ("2",) == later_blocks(two, 1) == later_blocks(two, 2)
    assert () == later_blocks(nn.Linear(3, 2), 1) == later_blocks(nn.Sequential(two[0]), 2)


@given(layers=st.integers(2, 40))
def test_the_last_part_lies_in_the_last_two_and_a_front_is_left(layers):
    """Whatever the depth; front and later blocks share no parameter and miss none."""
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(layers)])
    last, both = later_blocks(model, 1), later_blocks(model, 2)
    assert 1 == len(last)
    assert both[-1:] == last
    front = parameters_outside(model, both)
    assert "0.weight" in front
    assert {name for name, _ in model.named_parameters() if under(name, both)} | set(front) == {
        name for name, _ in model.named_parameters()
    }


def test_parameters_of_the_network_itself_belong_to_the_front():
    """Such as the class token of a transformer."""

    class Token(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.zeros(3))
            self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
            self.head = nn.Linear(3, 2)

    model = Token()
    assert [("layers.0",), ("layers.1",), ("head",)] == blocks(model)
    assert ("token", "layers.0.weight", "layers.0.bias") == parameters_outside(
        model, later_blocks(model, 2)
    )


def test_what_wraps_a_network_is_looked_into():
    """A network that is compiled, or wrapped for several processes, is the only child."""

    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    model = Wrapper(build_model("mlp", shape=(4,), classes=3, seed=0))
    assert [("module.body.1",), ("module.body.3",), ("module.head",)] == blocks(model)


def test_without_later_blocks_nothing_is_outside_of_them():
    """So that nothing is frozen where nothing is renewed."""
    assert () == parameters_outside(nn.Linear(3, 2), ())
