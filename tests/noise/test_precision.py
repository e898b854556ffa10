"""Networks in double precision: what is remembered of their outputs is in single precision."""

import pytest
import torch

from noise.test_conformance import EPOCHS, K, N, data, loss_of, names, network
from thresher.noise import make_method
from thresher.noise.criterion import Criterion
from thresher.training.snapshots import Snapshots


def trained(name: str, dtype: torch.dtype) -> tuple[Criterion, list[torch.Tensor]]:
    """A user's own loop over outputs and weights of one type, and its losses."""
    x, y = data()
    x = x.to(dtype)
    criterion = make_method(name).start(N, K, epochs=EPOCHS)
    model = network(criterion.method).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    snapshots = Snapshots(model, optimizer, criterion)
    losses = []
    for epoch in range(EPOCHS):
        for index in torch.randperm(N, generator=torch.Generator().manual_seed(epoch)).split(16):
            optimizer.zero_grad()
            loss = loss_of(criterion, model, index, x[index], y[index])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        snapshots.apply(criterion.end_epoch())
    return criterion, losses


@names
def test_a_network_in_double_precision_trains(name):
    """Every method, from the first epoch to the last."""
    if make_method(name).streams():
        pytest.skip("its foreign rows are drawn in single precision here")
    criterion, losses = trained(name, torch.float64)
    columns = criterion.state_dict()["history"]
    assert all(torch.isfinite(loss) for loss in losses)
    assert not any(each.dtype == torch.float64 for each in columns.values())
