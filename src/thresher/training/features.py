"""Features: what the last layer of a trained network sees of every sample.

one pass in evaluation mode → input of the last linear layer → (n, d) float16

Likeness in these features shows what the network takes for alike: neighbours, near-duplicates,
samples that are like nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from thresher.models.last_layer import features_seen, last_layer
from thresher.models.precision import Precision, in_precision

__all__ = ["last_layer_inputs"]

BLOCK = 1024


@torch.no_grad()
def last_layer_inputs(
    model: nn.Module,
    inputs: Tensor,
    prepare: Callable[[Tensor], Tensor],
    *,
    classes: int,
    device: torch.device | str = "cpu",
    precision: Precision = "fp32",
) -> NDArray[np.float16]:
    """Look at every sample once more, and keep what the last layer sees.

    Args:
        model: Ends in a linear layer of k outputs; put into evaluation mode.
        inputs: (n, …) raw inputs.
        prepare: Raw batch → network input.
        classes: Number of classes k.
        device: Where the model is.
        precision: Of the forward pass.

    Returns:
        (n, d) float16, for float16 holds what a comparison needs; what is larger than it can hold
        is cut.

    Raises:
        ModelError: the network does not end in such a layer.

    Cost: a forward pass over the data.
    """
    model.eval()
    network = in_precision(model, precision)
    layer = last_layer(model, classes)
    kept = np.empty((len(inputs), layer.in_features), dtype=np.float16)
    most = float(np.finfo(np.float16).max)
    with features_seen(layer) as seen:
        for first in range(0, len(inputs), BLOCK):
            seen.clear()
            batch = inputs[first : first + BLOCK]
            network(prepare(batch.to(device)))
            kept[first : first + BLOCK] = seen[0].clamp(-most, most).cpu().numpy()
    return kept
