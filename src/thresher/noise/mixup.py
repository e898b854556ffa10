"""Mixup: learn from mixtures of two samples and of their labels, in the same proportion.

Between two samples the network is asked to change its mind evenly. A wrong label is never seen
alone, and what it asks for is contradicted by its many partners.

    mixed = λ x_i + (1 - λ) x_j                    λ ~ Beta(α, α), one for a batch
    loss  = λ CE(mixed, y_i) + (1 - λ) CE(mixed, y_j)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from thresher.distributed import gather_rows
from thresher.errors import ParameterError
from thresher.keyed_random import keyed_seed
from thresher.models.logits import logits_of
from thresher.noise.criterion import Criterion
from thresher.noise.method import Batch, Decision, Draw, Method, Parts
from thresher.ranges import check_positive

__all__ = ["Mixup", "check_mixable", "draw_partners"]


def check_mixable(name: str, inputs: Tensor) -> None:
    """Refuse inputs whose mean is none of their kind.

    Raises:
        ParameterError: they are no floating-point numbers.
    """
    if not inputs.is_floating_point():
        raise ParameterError(
            f"{name} mixes floating-point inputs, got {inputs.dtype}.",
            "Use a method that leaves the inputs as they are.",
        )


def draw_partners(
    index: Tensor, trained: Tensor | None, alpha: float, *, seed: int, epoch: int
) -> tuple[Tensor, float]:
    """Draw each sample's partner in the batch, and λ; both belong to (seed, epoch, samples).

    Args:
        index: (G,) int64 stable sample indices of the global batch.
        trained: (G,) bool, or None for all; samples held out of training stay by themselves.
        alpha: α of the Beta distribution, > 0.
        seed: The run's seed.
        epoch: The epoch.

    Returns:
        (G,) int64 places in the batch, on the device of `index`; λ in [0, 1].
    """
    random = np.random.default_rng(keyed_seed(seed, "mixup", epoch, str(index.tolist())))
    partner = np.arange(len(index))
    rows = partner if trained is None else np.flatnonzero(trained.cpu().numpy())
    partner[rows] = random.permutation(rows)
    return torch.from_numpy(partner).to(index.device), float(random.beta(alpha, alpha))


class Mixup(Method):
    """Train on mixtures of two samples and of their labels.

    Args:
        alpha: α of the Beta distribution that λ is drawn from, > 0. Default 1 (Zhang et al. 2018);
            8 for heavy noise. Towards 0 nothing is mixed.

    Raises:
        ParameterError: alpha out of range; inputs that are no floating-point numbers.

    Cost: a forward pass more a step, about a third: what is remembered of a sample is predicted
    from the sample as it is, not from a mixture. Running averages of batch normalisation see both.
    With several processes, whose samples mix across them, the inputs of every batch are exchanged.
    Hurts when: the mean of two inputs means nothing, as of categories.
    Source: Zhang, Cisse, Dauphin, Lopez-Paz, mixup: Beyond Empirical Risk Minimization, ICLR 2018.
    Deviations: held-out rows are not mixed.
    """

    name = "mixup"
    source = "Zhang et al., ICLR 2018"
    family = "regularisation"
    properties = "++++-~"

    def __init__(self, *, alpha: float = 1.0) -> None:
        check_positive("alpha", alpha)
        self.alpha = alpha

    def step(self, criterion: Criterion, model: nn.Module, batch: Batch, draw: Draw) -> Parts:
        """Look at the samples as they are, and learn from their mixtures."""
        check_mixable(self.name, batch.inputs)
        with torch.no_grad():
            outputs = model(batch.inputs)
        seen, _ = criterion.gather(batch.index, outputs, batch.labels, sizes=batch.sizes)
        criterion.observe(seen)
        partner, share = draw_partners(
            seen.index, seen.eligible, self.alpha, seed=self.plan.seed, epoch=seen.epoch
        )
        partner = partner[seen.here]  # (B,) places in the global batch
        inputs, _ = gather_rows(batch.inputs, batch.sizes)
        mixed = torch.lerp(inputs[partner], batch.inputs, share)
        logits = logits_of(model(mixed)).unsqueeze(0).float()  # (1, B, k), half under autocast
        own, other = (
            self.sample_loss(logits, labels.unsqueeze(0))
            for labels in (batch.labels, seen.labels[partner])
        )
        return criterion.weigh(seen, Decision(), share * own + (1 - share) * other)
