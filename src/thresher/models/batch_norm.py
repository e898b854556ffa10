"""Batch normalisation over the global batch, on any device.

    mean, variance   of all rows of all processes, from those of each and their number
    output           γ (x - mean) / √(variance + ε) + β
    gradient of x    γ / √(variance + ε) · (g - mean of g - x̂ · mean of g x̂), means over all rows

torch.nn.SyncBatchNorm needs a GPU. Here a process may have few rows or none; the running averages
are the same on every process, and what one process has on the whole batch, to rounding. With a
single process, and in evaluation, these layers are torch's own.

Source: Ioffe, Szegedy, Batch normalization, ICML 2015; variances of parts are joined as in Chan,
Golub, LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from thresher.distributed import processes
from thresher.errors import ModelError

__all__ = ["BatchNorm1d", "BatchNorm2d", "joined_moments"]


def joined_moments(means: Tensor, variances: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of all values, from those of parts.

    Args:
        means: (P, C) float64; anything where a part is empty.
        variances: (P, C) float64, not corrected: sums of squares divided by the counts.
        counts: (P, 1) float64, values a part, >= 0, not all 0.

    Returns:
        (C,) and (C,) float64, the variance again not corrected.
    """
    shares = counts / counts.sum()
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean).square())).sum(0)


class _OverAllProcesses(torch.autograd.Function):
    """Normalise by moments of the global batch, which the inputs of all processes had a part in."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        epsilon: float,
        count: float,
    ) -> Tensor:
        ctx.save_for_backward(inputs, weight, mean, variance)
        ctx.epsilon, ctx.count = epsilon, count
        if not len(inputs):  # torch's kernels divide by the number of rows
            return torch.empty_like(inputs)
        return F.batch_norm(inputs, mean, variance, weight, bias, False, 0.0, epsilon)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        inputs, weight, mean, variance = ctx.saved_tensors
        if len(inputs):
            # as if the moments were constants: γ g / σ, and sums of g x̂ and g over the rows here
            direct, scaled_sum, plain_sum = torch.ops.aten.native_batch_norm_backward(
                gradient, inputs, weight, mean, variance, None, None, False, ctx.epsilon, [True] * 3
            )
        else:
            direct, scaled_sum, plain_sum = gradient, mean * 0, mean * 0
        sums = torch.stack([scaled_sum, plain_sum])  # (2, C)
        dist.all_reduce(sums)
        inverse = (variance + ctx.epsilon).rsqrt()
        scale = inverse if weight is None else inverse * weight
        of_scaled, of_plain = sums * scale / ctx.count
        # mean of g + x̂ · mean of g x̂ is linear in x: one pass
        slope = of_scaled * inverse
        through_moments = torch.addcmul(
            _per_channel(of_plain - slope * mean, inputs).to(inputs.dtype),
            _per_channel(slope, inputs).to(inputs.dtype),
            inputs,
        )
        for_weight, for_bias = (None, None) if weight is None else (scaled_sum, plain_sum)
        return direct - through_moments, for_weight, for_bias, None, None, None, None


def _per_channel(values: Tensor, inputs: Tensor) -> Tensor:
    """(C,) → (C, 1, …), to be broadcast over (B, C, …)."""
    return values.view(-1, *[1] * (inputs.dim() - 2))


def _normalised(layer: _BatchNorm, inputs: Tensor) -> Tensor:
    """The training-mode forward pass of a layer over the rows of all processes."""
    here = inputs.numel() // inputs.shape[1] if len(inputs) else 0
    own = torch.zeros(1, 2 * inputs.shape[1] + 1, dtype=torch.float64, device=inputs.device)
    precise = torch.promote_types(inputs.dtype, torch.float32)
    if here:
        moments = torch.batch_norm_update_stats(inputs.detach().to(precise), None, None, 0.0)
        # a count above 2^24 is not exact in float32
        own[0] = torch.cat([*moments, moments[0].new_zeros(1)]).double()
        own[0, -1] = here
    parts = [torch.empty_like(own) for _ in range(processes())]
    dist.all_gather(parts, own)
    widths = [inputs.shape[1], inputs.shape[1], 1]
    means, variances, counts = torch.split(torch.cat(parts), widths, 1)  # (P, …)
    count = float(counts.sum())
    if count < 2:
        raise ModelError(
            "Batch normalisation was given one value a channel in the whole batch.",
            "Use batches of more rows.",
        )
    mean, variance = joined_moments(means, variances, counts)
    _remember(layer, mean, variance * (count / (count - 1)))
    mean, variance = mean.to(precise), variance.to(precise)
    return _OverAllProcesses.apply(  # type: ignore[no-any-return, no-untyped-call]
        inputs, layer.weight, layer.bias, mean, variance, layer.eps, count
    )


def _remember(layer: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running averages, as torch's layers do."""
    if layer.running_mean is None or layer.running_var is None:
        return
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked.add_(1)
    factor = layer.momentum
    if factor is None:  # the plain average of all batches
        factor = 1.0 / float(layer.num_batches_tracked)
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), factor)
    layer.running_var.lerp_(variance.to(layer.running_var.dtype), factor)


class _OfTheGlobalBatch(_BatchNorm):
    """What both layers do."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise a batch of the shape that the layer takes."""
        if not self.training or processes() == 1:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        return _normalised(self, input)


class BatchNorm1d(_OfTheGlobalBatch, nn.BatchNorm1d):
    """torch.nn.BatchNorm1d, over the global batch where several processes train.

    Args, shapes and state: those of torch.nn.BatchNorm1d; weights fit either. All processes must
    make the forward and the backward pass in step.

    Raises:
        ModelError: the global batch has one value a channel.

    Cost: two small exchanges a step and layer.
    """


class BatchNorm2d(_OfTheGlobalBatch, nn.BatchNorm2d):
    """torch.nn.BatchNorm2d, over the global batch where several processes train.

    Args, shapes and state: those of torch.nn.BatchNorm2d; weights fit either. All processes must
    make the forward and the backward pass in step.

    Raises:
        ModelError: the global batch has one value a channel.

    Cost: two small exchanges a step and layer.
    """
