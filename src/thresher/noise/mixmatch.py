"""MixMatch: learn from samples whose label is trusted and from the others, mixed with each other.

Samples whose label is trusted are *labelled*; of the others the label is forgotten and guessed. All
of a batch are mixed with a permutation of it, inputs and targets alike, so that what is guessed and
what is known hold each other in check.

    sharpen(p) = p^(1/T) / Σ p^(1/T)
    mixed      = λ own + (1 - λ) partner,   λ ← max(λ, 1 - λ),  λ ~ Beta(α, α), one for a batch
    loss       = mean over labelled of CE + λ_u · mean over unlabelled of ‖p - target‖² / k
                 + Σ_c π_c ln(π_c / mean p_c),   π the shares of the given labels

The last term keeps a network from answering one class to everything.

Source: Berthelot, Carlini, Goodfellow, Papernot, Oliver, Raffel, MixMatch: A Holistic Approach to
Semi-Supervised Learning, NeurIPS 2019; the last term: Tanaka, Ikami, Yamasaki, Aizawa, Joint
Optimization Framework for Learning with Noisy Labels, CVPR 2018. Deviations: a batch is one of all
samples, and not so many labelled as unlabelled ones; several networks see the same mixtures; π is
uniform there, where all classes have equally many samples.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thresher.distributed import gather_columns, summed
from thresher.history import SampleHistory
from thresher.noise.criterion import Criterion
from thresher.noise.method import Batch, Decision, Parts, Step
from thresher.noise.mixup import draw_partners
from thresher.noise.outputs import method_outputs

__all__ = [
    "given_shares",
    "labelled_and_unlabelled",
    "learn_from_mixtures",
    "linear_ramp",
    "prior_gap",
    "row_losses",
    "sharpen",
]

LEAST_SHARE = 1e-8  # of a class in the mean prediction, which the last term divides by


def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    """Make the largest of the probabilities larger: (…, k) in [0, 1], T > 0; rows sum to 1.

    >>> sharpen(torch.tensor([0.6, 0.4]), 1.0), sharpen(torch.tensor([0.75, 0.25]), 0.5)
    (tensor([0.6000, 0.4000]), tensor([0.9000, 0.1000]))
    """
    # by the largest one first, or small ones of many classes would all become 0
    powers = (probabilities / probabilities.amax(-1, keepdim=True)) ** (1 / temperature)
    return powers / powers.sum(-1, keepdim=True)


def linear_ramp(epochs: int, length: int) -> float:
    """Share of the full weight after so many epochs, in [0, 1].

    >>> linear_ramp(0, 16), linear_ramp(4, 16), linear_ramp(99, 16)
    (0.0, 0.25, 1.0)
    """
    return min(1.0, max(0, epochs) / length)


def labelled_and_unlabelled(labelled: Tensor, trained: Tensor) -> tuple[Tensor, Tensor]:
    """What losses are multiplied by, so that their mean over all rows is that over each part.

    Args:
        labelled: (J, G) bool.
        trained: (G,) bool, False = counts in neither part.

    Returns:
        (J, 1) and (J, 1): rows over labelled rows, rows over unlabelled ones; 0 of an empty part.
    """
    rows = trained.sum()
    parts = [(part & trained).sum(1, keepdim=True) for part in (labelled, ~labelled)]
    on_labelled, on_unlabelled = (
        torch.where(part > 0, rows / part.clamp(min=1), 0.0) for part in parts
    )
    return on_labelled, on_unlabelled


def row_losses(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy, and squared distance a class: (J, P, k) both; (J, P) and (J, P)."""
    cross_entropy = -(targets * torch.log_softmax(logits, -1)).sum(-1)
    return cross_entropy, (logits.softmax(-1) - targets).square().mean(-1)


def prior_gap(probabilities: Tensor, mean: Tensor, prior: Tensor) -> Tensor:
    """Each row's part in Σ_c π_c ln(π_c / m_c), m the mean of p over all rows.

    The parts add up to the sum and their gradients to its gradient, whatever rows are where:
    the gradient of the logarithm of a mean is linear in the rows.

    Args:
        probabilities: (J, P, k) with graph, of the rows here.
        mean: (J, k) detached, over the rows of all processes.
        prior: (k,) π, sums to 1.

    Returns:
        (J, P), whose mean over the rows of all processes is the term, >= 0.
    """
    mean = mean.clamp(min=LEAST_SHARE)
    gap: Tensor = torch.special.xlogy(prior, prior / mean).sum(-1, keepdim=True)  # (J, 1)
    return gap + 1 - (probabilities * (prior / mean)[:, None]).sum(-1)


def learn_from_mixtures(
    criterion: Criterion,
    model: nn.Module,
    batch: Batch,
    seen: Step,
    labelled: Tensor,
    targets: Tensor,
    *,
    alpha: float,
    unlabelled_weight: float,
    prior: Tensor,
) -> Parts:
    """Mix the rows of all processes, views included, and learn from the mixtures.

    Args:
        criterion: At work.
        model: With outputs (J, P, k).
        batch: Of this process, with all views of its inputs.
        seen: The step, gathered.
        labelled: (J, G) bool, the rows of the global batch whose label is trusted.
        targets: (J, B, k) shares that the rows here are learned towards, detached.
        alpha: α of the Beta distribution, > 0.
        unlabelled_weight: λ_u, ramped up so far.
        prior: (k,) π.
    """
    method, everyone = criterion.method, len(seen.index)
    views, rows = method.views, len(batch.labels)
    # (B, V, …); without -1, which means nothing where there are no rows
    looks = batch.inputs.view(views, rows, *batch.inputs.shape[1:]).movedim(0, 1)
    (looks, goals), _ = gather_columns([looks, targets.movedim(0, 1)], batch.sizes)
    looks, goals = looks.movedim(1, 0).flatten(0, 1), goals.movedim(0, 1)  # (V·G, …), (J, G, k)
    trained = torch.ones_like(labelled[0]) if seen.eligible is None else seen.eligible
    partner, share = draw_partners(
        seen.index.repeat(views),
        trained.repeat(views),
        alpha,
        seed=criterion.plan.seed,
        epoch=seen.epoch,
    )
    share = max(share, 1 - share)
    places = torch.arange(views * everyone, device=partner.device).view(views, everyone)
    own = places[:, seen.here].flatten()  # (V·B,) in the pool of all rows and views
    partner = partner[own]
    mixed = torch.lerp(looks[partner], batch.inputs, share)
    learned = goals.mean(0).argmax(-1)  # (G,) before they are mixed
    goals = torch.lerp(goals[:, partner % everyone], goals[:, own % everyone], share)  # (J, V·B, k)

    logits = method_outputs(model(mixed), method, classes=criterion.plan.classes, rows=rows)
    cross_entropy, distance = row_losses(logits, goals)
    on_labelled, on_unlabelled = labelled_and_unlabelled(labelled, trained)
    known = labelled[:, seen.here].repeat(1, views)
    losses = torch.where(
        known, on_labelled * cross_entropy, unlabelled_weight * on_unlabelled * distance
    )
    mean = mean_prediction(logits, trained, seen.here, views)
    losses = losses + prior_gap(logits.softmax(-1), mean, prior)
    return criterion.weigh(seen, Decision(), losses.view(len(losses), views, rows).mean(1), learned)


def given_shares(history: SampleHistory) -> list[float]:
    """How often each class is given among the trained samples that were seen, k numbers."""
    given = history["given"][history["eligible"]].long()
    counts = torch.bincount(given[given >= 0], minlength=history.classes).double()
    shares: list[float] = (counts / counts.sum().clamp(min=1)).tolist()
    return shares


def mean_prediction(logits: Tensor, trained: Tensor, here: slice, views: int) -> Tensor:
    """The mean probabilities of the trained rows of all processes, (J, k), detached."""
    counted = trained[here].repeat(views)[:, None]
    total = summed(torch.where(counted, logits.detach().softmax(-1), 0.0).sum(1))
    return total / (views * trained.sum()).clamp(min=1)
