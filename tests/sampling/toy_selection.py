"""The toy of selectors: ten Gaussian classes, a small network, and what gets into its batches.

centres N(0, 0.885²) in 20 dimensions, unit noise, 4,000 samples, symmetric wrong labels
20 - 64 - 10 with ReLU, SGD 0.05 with momentum 0.9, batches of 64
12 shuffled epochs, then a pressure from 100 down to 1 in epoch 40
"""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from sampling.drawing import SlowSampler
from thresher.data.corruption import corrupt, symmetric_transition
from thresher.sampling import AdaBoundary, OnlineBatch, RecencyBias

N, WIDTH, CLASSES, BATCH = 4000, 20, 10, 64
WARMUP, EPOCHS, WATCHED = 12, 40, range(12, 26)  # epochs from 0

SELECTORS = {
    "easy": lambda s: AdaBoundary(s, variant="easy", decay="exponential", warmup=WARMUP),
    "random": lambda s: AdaBoundary(1, warmup=WARMUP),
    "recency": lambda s: RecencyBias(s, window=10, warmup=WARMUP),
    "ada": lambda s: AdaBoundary(s, decay="exponential", warmup=WARMUP),
    "hard": lambda s: AdaBoundary(s, variant="hard", decay="exponential", warmup=WARMUP),
    "online": lambda s: OnlineBatch(s, warmup=WARMUP),
}


@dataclass(frozen=True)
class Selected:
    """Means over the watched epochs."""

    loss_ratio: float  # loss of the selected over the loss of all, at the start of the epoch
    noisy_share: float  # wrong labels among the selected


def make_data(rate, seed):
    """Inputs, given labels, and which of them are wrong."""
    random = np.random.default_rng(seed)
    centres = 0.885 * random.standard_normal((CLASSES, WIDTH))
    true = random.integers(CLASSES, size=N)
    inputs = centres[true] + random.standard_normal((N, WIDTH))
    given = corrupt(true, symmetric_transition(CLASSES, rate), random) if rate else true
    return (
        torch.from_numpy(inputs).float(),
        torch.from_numpy(given).long(),
        torch.from_numpy(given != true),
    )


def network(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, CLASSES))


def selected(names, rate, seed, pressure=100.0):
    """What each selector puts into its batches; the warm-up is the same for all, and made once."""
    inputs, given, wrong = make_data(rate, seed)
    model = network(seed)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    samplers = {name: SlowSampler(SELECTORS[name](pressure), N, CLASSES, EPOCHS) for name in names}
    for epoch in range(WARMUP):
        train_epoch(model, optimizer, inputs, given, list(samplers.values()), epoch, seed)
    found = {}
    for name, sampler in samplers.items():
        own, its = copy.deepcopy((model, optimizer.state_dict()))
        tuned = torch.optim.SGD(own.parameters(), 0.05, momentum=0.9)
        tuned.load_state_dict(its)
        ratios, shares = [], []
        for epoch in WATCHED:
            with torch.no_grad():
                losses = F.cross_entropy(own(inputs), given, reduction="none")
            rows = train_epoch(own, tuned, inputs, given, [sampler], epoch, seed)
            ratios.append(float(losses[rows].mean() / losses.mean()))
            shares.append(float(wrong[rows].float().mean()))
        found[name] = Selected(math.fsum(ratios) / len(ratios), math.fsum(shares) / len(shares))
    return found


def train_epoch(model, optimizer, inputs, given, samplers, epoch, seed):
    """One epoch of the first sampler's batches, seen by all; returns the rows drawn."""
    for sampler in samplers:
        sampler.begin_epoch(epoch)
    drawn = []
    for index in samplers[0].batches(BATCH, seed):
        optimizer.zero_grad()
        logits = model(inputs[index])
        F.cross_entropy(logits, given[index]).backward()
        optimizer.step()
        for sampler in samplers:
            sampler.observe(index, logits, given[index])
        drawn.append(index)
    return torch.cat(drawn)
