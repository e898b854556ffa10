"""A small training: a hundred rows of three classes, and a network that draws random numbers."""

import torch
from torch import nn

from thresher.models import Networks

N, D, K = 100, 6, 3


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(N, D, generator=generator), torch.randint(K, (N,), generator=generator)


def network(seed=0, networks=1):
    def one():
        return nn.Sequential(
            nn.Linear(D, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, K)
        )

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        members = [one() for _ in range(networks)]
    return members[0] if networks == 1 else Networks(members)


def weights(model):
    return {name: values.clone() for name, values in model.state_dict().items()}


def assert_equal(first, second):
    for name, values in first.items():
        assert torch.equal(values, second[name]), name
