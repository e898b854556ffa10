"""Selectors of a few lines, and a training that is a function of the rows it is shown."""

import numpy as np
import torch

from thresher.keyed_random import keyed_uniform
from thresher.sampling import Observed, Planned, PlannedRows, Scored

CLASSES = 3


class Frozen(Scored):
    """Row i of N has the score i / (N - 1), for ever."""

    def __init__(self, pressure=4.0, warmup=0, columns=()):
        self.constant, self.warmup, self.columns = pressure, warmup, columns

    def begin(self, samples, classes, epochs):
        return self.columns

    def pressure(self, epoch):
        return self.constant

    def refresh(self, history, epoch):
        return torch.linspace(0, 1, history.samples)


class Learner(Scored):
    """Scores a row by its first logit, at once."""

    def __init__(self, warmup=1):
        self.warmup = warmup

    def pressure(self, epoch):
        return 30.0 / (1 + epoch)

    def rescore(self, observed):
        return observed.logits[:, 0]


class Half(Planned):
    """Half of the rows in odd epochs; a row's loss may weigh by its number."""

    def __init__(self, weigh=False):
        self.weigh = weigh

    def plan(self, history, epoch, generator):
        order = torch.randperm(history.samples, generator=generator)
        index = order[: len(order) // 2] if epoch % 2 else order
        return PlannedRows(index, 1.0 + index if self.weigh else None)


def answer(index, epoch):
    """What a network would say of these rows in this epoch: a function of both and nothing else."""
    rows = torch.from_numpy(np.asarray(index)).long()
    logits = torch.stack([keyed_uniform(0, epoch, rows, stream) for stream in range(CLASSES)], 1)
    return Observed(rows, logits, rows % CLASSES, epoch)


def report_back(sampler, batch):
    """Observe one batch of a sampler of one process."""
    observed = answer(batch, sampler.epoch)
    sampler.observe(observed.index, logits=observed.logits, targets=observed.targets)
    return batch


def run_epoch(sampler):
    """All batches of the next epoch, each observed before the next is asked for."""
    return [report_back(sampler, batch) for batch in sampler]
