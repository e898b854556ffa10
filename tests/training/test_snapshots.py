"""Snapshots refuse a network that cannot begin anew before anything is trained."""

import pytest
import torch
from torch import nn

from thresher.errors import ModelError
from thresher.noise import PES, SELFIE, Forward, PrestoppingPlus, Standard
from thresher.training.snapshots import Snapshots, reset_modules


class Shifted(nn.Module):
    """A parameter of its own, and no way to draw it anew."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.ones(3))

    def forward(self, inputs):
        return inputs + self.shift


class Centred(nn.Module):
    """A constant alone."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.full((3,), 2.0))

    def forward(self, inputs):
        return inputs - self.mean


def snapshots_of(method, *layers):
    """Of a network of one linear layer and these, in front of it."""
    model = nn.Sequential(*layers, nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    criterion = method.start(20, 2, epochs=12)
    return Snapshots(model, torch.optim.SGD(model.parameters(), lr=0.1), criterion)


@pytest.mark.parametrize("method", [Forward(), PrestoppingPlus(), SELFIE(restarts=1)])
def test_what_may_begin_anew_must_be_able_to(method):
    """Now, not when a warm-up is over."""
    with pytest.raises(ModelError, match=r'The module "0" \(Shifted\) cannot be initialised anew'):
        snapshots_of(method, Shifted())


@pytest.mark.parametrize("method", [Standard(), SELFIE(), Forward(anew=False), PES()])
def test_what_never_begins_anew_need_not(method):
    """Or lies in front of what does."""
    kept = snapshots_of(method, Shifted())
    assert kept.kept == {}
    assert kept.model[0].shift.tolist() == [1.0] * 3


def test_constants_stay_as_they_are():
    """Nothing about them was learned."""
    kept = snapshots_of(Forward(), Centred())
    before = kept.model[1].weight.detach().clone()
    reset_modules(kept.model, ("",), seed=1)
    assert kept.model[0].mean.tolist() == [2.0] * 3
    assert not torch.equal(before, kept.model[1].weight)


def test_nothing_is_drawn_anew_where_a_part_cannot_be():
    """The refusal comes first."""
    model = nn.Sequential(nn.Linear(3, 3), Shifted())
    before = model[0].weight.detach().clone()
    with pytest.raises(ModelError, match="cannot be initialised anew"):
        reset_modules(model, ("",), seed=1)
    assert torch.equal(before, model[0].weight)
