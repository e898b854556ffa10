"""Predictions of a trained network, in blocks and without a trace in the history."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from thresher.models.logits import logits_of
from thresher.models.precision import Precision, in_precision

__all__ = ["as_tensor", "predict_probabilities"]

BLOCK = 1024


def as_tensor(array: NDArray[Any]) -> Tensor:
    """Share an array's memory with torch; a read-only memory map is only ever read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


@torch.no_grad()
def predict_probabilities(
    model: nn.Module,
    inputs: Tensor,
    prepare: Callable[[Tensor], Tensor],
    *,
    device: torch.device | str = "cpu",
    precision: Precision = "fp32",
) -> NDArray[np.float32]:
    """Class probabilities, averaged over the networks of a method that trains several.

    Args:
        model: Outputs (B, k) or (J, B, k) logits; put into evaluation mode.
        inputs: (n, …) raw inputs.
        prepare: Raw batch → network input.
        device: Where the model is.
        precision: Of the forward pass.

    Returns:
        (n, k) float32, rows sum to 1.
    """
    model.eval()
    network = in_precision(model, precision)
    blocks = []
    for first in range(0, len(inputs), BLOCK):
        logits = logits_of(network(prepare(inputs[first : first + BLOCK].to(device)))).float()
        probability = logits.softmax(-1)
        if probability.dim() == 3:
            probability = probability.mean(0)
        blocks.append(probability.cpu().numpy())
    return np.concatenate(blocks)
