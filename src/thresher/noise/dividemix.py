"""DivideMix: two networks tell each other which labels to trust, and guess the others.

After a warm-up, each network's losses are taken for a mixture of two populations. Where the *other*
network's loss is probably of the lower one, the label is trusted, as far as that probability goes;
the other samples lose their label and get one from the predictions of both networks. Trusted and
guessed are learned together by MixMatch (mixmatch.py), so nothing is thrown away.

    w_j      = P(lower of two Gaussians | loss of network j)     after every epoch, from the warm-up
    labelled ⟺ w of the other network > threshold
    target   = sharpen(w given + (1 - w) p)    p of the network that learns, the mean of its views
             = sharpen(mean p of both)         where the label is not trusted
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from thresher.errors import ParameterError
from thresher.history import Column
from thresher.mixture import fit_gaussian_mixture
from thresher.noise.criterion import Criterion
from thresher.noise.method import (
    OUT_OF_DISTRIBUTION,
    Batch,
    Change,
    Decision,
    Draw,
    Method,
    Parts,
    Plan,
    Step,
)
from thresher.noise.mixmatch import given_shares, learn_from_mixtures, linear_ramp, sharpen
from thresher.noise.mixup import check_mixable
from thresher.noise.rate import MIXTURE_ROWS
from thresher.phases import quarter, shortened
from thresher.ranges import check_positive

__all__ = ["DivideMix", "clean_probability", "mean_normalised", "negative_entropy"]


def negative_entropy(logits: Tensor) -> Tensor:
    """Σ p ln p, which grows as a network gets sure: (J, B, k) with graph; (J, B), <= 0."""
    log_probability = torch.log_softmax(logits, -1)
    # 0 ln 0 = 0, where a logit is -inf
    log_probability = log_probability.clamp(min=torch.finfo(logits.dtype).min)
    return (log_probability.exp() * log_probability).sum(-1)


def mean_normalised(losses: NDArray[np.float32]) -> NDArray[np.float64]:
    """Losses of several epochs, each scaled to [0, 1] and averaged; an epoch may be missing.

    Args:
        losses: (n, epochs) >= 0, NaN where a sample was not seen.

    Returns:
        (n,) in [0, 1]; NaN for a sample that was never seen.
    """
    total, count = np.zeros(len(losses)), np.zeros(len(losses))
    for epoch in losses.astype(np.float64).T:
        there = np.isfinite(epoch)
        if not there.any():
            continue
        low, high = epoch[there].min(), epoch[there].max()
        total[there] += (epoch[there] - low) / max(high - low, 1e-12)
        count[there] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def clean_probability(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(lower of two Gaussians) of every loss; 1 for all where they are one heap.

    Args:
        losses: (n,) finite numbers.
    """
    ordered = np.sort(losses)
    mixture = fit_gaussian_mixture(ordered[:: 1 + len(ordered) // MIXTURE_ROWS])
    if not mixture.separated:
        return np.ones(len(losses))
    # the wider Gaussian would win again far below the lower mean
    return 1 - mixture.posterior_high(np.maximum(losses, mixture.means[0]))


class DivideMix(Method):
    """Train two networks that choose each other's labels, and guess the rest.

    Args:
        warmup: Epochs of standard training, > 0. Default 10 (Li et al. 2020, CIFAR-10; 30 there for
            CIFAR-100), or a quarter of a shorter run.
        threshold: Smallest probability of being clean that trusts a label, in (0, 1]. Default 0.5
            (the same).
        temperature: T of sharpening, in (0, 1]. Default 0.5 (the same).
        alpha: α of the Beta distribution that λ is drawn from, > 0. Default 4 (the same).
        unlabelled_weight: λ_u, >= 0. Default 25 (the same). The paper's: CIFAR-10 symmetric 20 %
            and asymmetric 40 %: 0; symmetric 50 and 80 %: 25, 90 %: 50; CIFAR-100 symmetric
            20 %: 25, from 50 % on: 150.
        ramp: Epochs from the warm-up to the full λ_u, > 0. Default 16 (the same), or a quarter of a
            shorter run.
        window: Epochs whose losses are averaged, >= 1. Default 1; the paper takes 5 at 90 % noise.
        asymmetric: Keep the warm-up from getting sure, for labels that are mistaken for few others:
            adds Σ p ln p. Default False.
        views: Random views of every sample, 1 or 2. None takes 2, as the paper, where the data are
            augmented.

    Raises:
        ParameterError: a value out of range; inputs that are no floating-point numbers.

    Cost: two networks and a forward pass more a step, times the views; 20 bytes a sample, 8 more
    for every further epoch of the window; with several processes the inputs of every batch are
    exchanged. Hurts when: the given labels favour a class (the mean prediction is held to their
    shares), or the mean of two inputs means nothing.
    Source: Li, Socher, Hoi, DivideMix: Learning with Noisy Labels as Semi-supervised Learning,
    ICLR 2020. Deviations: losses are those of the training-mode forward pass in which targets are
    guessed, one epoch of changing weights, and not of a pass of their own in evaluation mode, and
    the other network is not in evaluation mode either; an epoch is one pass over all samples, in
    batches that are part labelled and part not as they come; both networks learn at once and from
    the same mixtures; the mean prediction is held to the shares of the given labels, which are
    uniform in the paper's data; the warm-up learns from all views; the ramp moves once an epoch;
    losses that are one heap trust every label.
    """

    name = "dividemix"
    source = "Li, Socher & Hoi, ICLR 2020"
    sample_bytes = "20"
    family = "hybrid"
    properties = "+++++~"
    networks = 2
    state: ClassVar[tuple[str, ...]] = ("prior",)

    def __init__(
        self,
        *,
        warmup: int | None = None,
        threshold: float = 0.5,
        temperature: float = 0.5,
        alpha: float = 4.0,
        unlabelled_weight: float = 25.0,
        ramp: int | None = None,
        window: int = 1,
        asymmetric: bool = False,
        views: int | None = None,
    ) -> None:
        for name, length in (("warmup", warmup), ("ramp", ramp), ("window", window)):
            check_positive(name, length)
        check_positive("threshold", threshold, below=1)
        check_positive("temperature", temperature, below=1)
        check_positive("alpha", alpha)
        if not unlabelled_weight >= 0:
            raise ParameterError(
                f"unlabelled_weight must be 0 or more, got {unlabelled_weight:g}.",
                "Use 0 to learn from the labelled samples alone.",
            )
        if views not in (None, 1, 2):
            raise ParameterError(f"views must be 1 or 2, got {views}.", "Leave it out.")
        self.warmup, self.threshold, self.temperature = warmup, threshold, temperature
        self.alpha, self.unlabelled_weight, self.ramp = alpha, unlabelled_weight, ramp
        self.window, self.asymmetric = window, asymmetric
        self.wanted_views = views
        self.views = views or 1
        self.prior: list[float] = []  # π, from the end of the warm-up on

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """Each network's losses of the last epochs, and the probabilities that came of them."""
        limit = quarter(plan.epochs)
        self.warmup_epochs = shortened(self.warmup, 10, limit)
        self.ramp_epochs = shortened(self.ramp, 16, limit)
        self.views = self.wanted_views or (2 if plan.augmented else 1)
        return (
            Column("visits", torch.int32),  # without any of its columns the history forgets labels
            Column("network_losses", width=2 * self.window, fill=float("nan")),
            Column("clean_probability", width=2, fill=1),
        )

    def warming_up(self) -> bool:
        """Whether nothing is divided yet."""
        return self.history.epoch < self.warmup_epochs

    def step(self, criterion: Criterion, model: nn.Module, batch: Batch, draw: Draw) -> Parts:
        """Warm up; then look at the samples as they are, guess, and learn from mixtures."""
        check_mixable(self.name, batch.inputs)
        if self.warming_up():
            seen, losses = criterion.gather(
                batch.index, model(batch.inputs), batch.labels, sizes=batch.sizes
            )
            criterion.observe(seen)
            if seen.rest is not None:
                other = self.sample_loss(seen.rest, batch.labels.expand(len(losses), -1))
                losses = (losses + other) / 2
            return criterion.weigh(seen, criterion.decide(seen), losses)
        with torch.no_grad():
            outputs = model(batch.inputs)
        seen, _ = criterion.gather(batch.index, outputs, batch.labels, sizes=batch.sizes)
        criterion.observe(seen)
        chosen = criterion.decide(seen).weights
        assert chosen is not None  # of a step after the warm-up
        labelled = chosen > 0
        seen = self.without_doubted_foreign(seen, labelled)
        ramped = linear_ramp(seen.epoch - self.warmup_epochs, self.ramp_epochs)
        return learn_from_mixtures(
            criterion,
            model,
            batch,
            seen,
            labelled,
            self.targets(seen, labelled),
            alpha=self.alpha,
            unlabelled_weight=ramped * self.unlabelled_weight,
            prior=seen.losses.new_tensor(self.prior),
        )

    def decide(self, step: Step) -> Decision:
        """Remember the losses; after the warm-up say whose label is trusted, a network a row."""
        losses = self.history["network_losses"].view(-1, 2, self.window)
        losses[step.index, :, step.epoch % self.window] = step.losses.T.float()
        if self.warming_up():
            return Decision(penalty=negative_entropy(step.logits) if self.asymmetric else None)
        return Decision((self.trust(step.index) >= self.threshold).to(step.losses.dtype))

    def without_doubted_foreign(self, seen: Step, labelled: Tensor) -> Step:
        """The step without samples of no class whose label is not trusted: none is guessed.

        Both networks learn from the same mixtures, so that both must trust it.

        Args:
            seen: The step.
            labelled: (2, G) bool.
        """
        if OUT_OF_DISTRIBUTION.name not in self.history:
            return seen
        kept = self.may_relabel(seen.index) | labelled.all(0)
        return replace(seen, eligible=kept if seen.eligible is None else kept & seen.eligible)

    def trust(self, index: Tensor) -> Tensor:
        """w of the labels of these samples, for the network that learns: the other's; (2, B)."""
        clean = self.history["clean_probability"][index].flip(1).T
        if "trusted" in self.history:  # seen to by a person
            clean = torch.where(self.history["trusted"][index], 1.0, clean)
        return clean

    def targets(self, seen: Step, labelled: Tensor) -> Tensor:
        """What the rows here are learned towards: refined labels, guessed ones; (2, B, k).

        Args:
            seen: Their predictions, without a graph.
            labelled: (2, G) bool.
        """
        predicted = seen.logits.softmax(-1)
        if seen.rest is not None:
            predicted = (predicted + seen.rest.softmax(-1)) / 2
        index = seen.index[seen.here]
        # what is of no class keeps its label unrefined
        trust = torch.where(self.may_relabel(index), self.trust(index), 1.0)[..., None]  # (2, B, 1)
        given = F.one_hot(seen.labels[seen.here], predicted.shape[-1]).to(predicted.dtype)
        refined = trust * given + (1 - trust) * predicted
        guessed = predicted.mean(0).expand_as(predicted)
        chosen = torch.where(labelled[:, seen.here, None], refined, guessed)
        return sharpen(chosen, self.temperature)

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """From the end of the warm-up on: divide the samples anew."""
        history = self.history
        if history.epoch + 1 < self.warmup_epochs:
            return None
        self.prior = given_shares(history)
        eligible = history["eligible"].cpu().numpy()
        losses = history["network_losses"].view(-1, 2, self.window).cpu().numpy()
        for network in (0, 1):
            mean = mean_normalised(losses[:, network])
            rows = eligible & np.isfinite(mean)
            clean = torch.from_numpy(clean_probability(mean[rows])).to(history.device)
            places = torch.from_numpy(np.flatnonzero(rows)).to(history.device)
            history["clean_probability"][places, network] = clean.float()
        return None
