"""The loop that another library's trainer must equal, written out, and how they are compared."""

import torch

from thresher.noise import Decision, Method
from thresher.training.accumulation import Accumulation
from thresher.training.snapshots import Snapshots


def train_plainly(model, x, y, method, *, classes, epochs=3, batch=8, accumulate=1):
    """Train in order, with accumulation, clipping and what the method asks for between epochs."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    criterion = method.start(len(x), classes, epochs=epochs)
    accumulation = Accumulation(model, criterion)
    snapshots = Snapshots(model, optimizer, criterion)
    for _ in range(epochs):
        batches = torch.arange(len(x)).split(batch)
        for number, index in enumerate(batches, 1):
            parts = criterion.parts(index, model(x[index]), y[index])
            accumulation.loss(parts).backward()
            if number % accumulate == 0 or number == len(batches):
                accumulation.scale()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
        snapshots.apply(criterion.end_epoch())
    return model, criterion


def assert_same(first, second, *, exactly=False):
    """Weights and history."""
    tolerance = {"rtol": 0, "atol": 0} if exactly else {}
    for pair in (
        (first[0].state_dict(), second[0].state_dict()),
        (first[1].state_dict()["history"], second[1].state_dict()["history"]),
    ):
        for name, values in pair[0].items():
            torch.testing.assert_close(values, pair[1][name], msg=name, **tolerance)


class EveryThird(Method):
    """Drops two thirds of the samples, so that batches have different totals."""

    name = "every-third"

    def decide(self, step):
        return Decision((step.index % 3 == 0).float())
