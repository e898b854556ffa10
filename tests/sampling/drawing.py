"""The slow, obvious batch sampler: weights from scores, and draws by exact references."""

import copy

import numpy as np
import torch

from thresher.history import SampleHistory
from thresher.keyed_random import keyed_seed
from thresher.sampling import Observed, PlannedRows


def weights_of(scores, pressure):
    """s^(-u), float64; what is not known yet counts as the median of what is."""
    known = scores[~scores.isnan()]
    middle = float(known.median()) if len(known) else 0.5
    return pressure ** -torch.where(scores.isnan(), middle, scores).double()


def draw(weights, count, generator):
    """Draw so many different samples, one after the other: the largest of ln w + Gumbel noise."""
    uniform = torch.rand(len(weights), generator=generator, dtype=torch.float64)
    return (weights.log() - (-uniform.log()).log()).topk(count).indices


class SlowSampler:
    """A selector over its own history, asked as a batch sampler asks it.

    Args:
        selector: The rule; a copy of it is begun.
        samples, classes, epochs: Of the run.
    """

    def __init__(self, selector, samples, classes, epochs):
        self.selector = copy.deepcopy(selector)
        self.history = SampleHistory(samples, classes)
        self.history.declare(*self.selector.begin(samples, classes, epochs))
        self.scores = torch.full((samples,), torch.nan)

    def begin_epoch(self, epoch):
        """What `refresh` says of all samples."""
        self.history.flush()
        self.history.epoch = self.epoch = epoch
        fresh = self.selector.refresh(self.history, epoch)
        self.scores = self.scores if fresh is None else fresh

    def weights(self):
        """Of all samples in this epoch, float64."""
        return weights_of(self.scores, self.selector.pressure(self.epoch))

    def batches(self, size, seed):
        """The batches of this epoch: shuffled in the warm-up, then drawn anew for each."""
        key = keyed_seed(seed, "draw", self.epoch)
        generator = torch.Generator().manual_seed(key)
        if self.epoch < self.selector.warmup:
            yield from torch.randperm(len(self.scores), generator=generator).split(size)
            return
        for _ in range(len(self.scores) // size):
            yield draw(self.weights(), size, generator)

    def observe(self, index, logits, targets):
        """Record a step, and take over the scores that it changes."""
        logits = logits.detach().float()
        self.history.observe(index, logits, targets)
        fresh = self.selector.rescore(Observed(index, logits, targets, self.epoch))
        if fresh is not None:
            self.scores[index] = torch.where(fresh.isnan(), self.scores[index], fresh)


def planned(selector, history, epoch=0, seed=0) -> PlannedRows:
    """The plan of an epoch."""
    generator = torch.Generator().manual_seed(keyed_seed(seed, "plan", epoch))
    return selector.plan(history, epoch, generator)


def history_with(selector, samples, classes, epochs, **columns):
    """A history for a begun selector, with columns set to these values."""
    history = SampleHistory(samples, classes)
    history.declare(*selector.begin(samples, classes, epochs))
    for name, values in columns.items():
        history[name].copy_(torch.as_tensor(np.asarray(values)))
    return history
