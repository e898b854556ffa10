"""Precision: run a network's forward pass in float32 or in bfloat16.

    fp32    everything in float32
    bf16    products of matrices and convolutions in bfloat16; weights, logits, losses and the
            gradients of the weights in float32

bfloat16 has the range of float32, so that no loss need be scaled; it keeps 8 significant bits.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from thresher.errors import ParameterError
from thresher.models.logits import logits_of

__all__ = ["Precision", "in_precision"]

Precision: TypeAlias = Literal["fp32", "bf16"]


def in_precision(model: nn.Module, precision: Precision) -> nn.Module:
    """Give what stands for a network in a precision.

    Args:
        model: A network; its weights stay float32 and where they are.
        precision: Of the forward pass.

    Returns:
        The network itself for fp32. For bf16 a module whose forward pass maps (B, …) float32 to
        logits (B, k) or (J, B, k) float32; the weights are the network's own.

    Raises:
        ParameterError: Another precision.
    """
    if precision not in get_args(Precision):
        raise ParameterError(
            f'precision must be fp32 or bf16, got "{precision}".', "Leave it out for fp32."
        )
    return model if precision == "fp32" else _BFloat16(model)


class _BFloat16(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16):
            answer = self.model(inputs)
        return logits_of(answer).float()  # what follows, the loss first, is float32
