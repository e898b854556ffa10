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

from thresher.errors import ModelError
from thresher.models import Networks
from thresher.models.precision import Precision, in_precision

__all__ = ["last_layer", "last_layer_inputs"]

BLOCK = 1024


def last_layer(model: nn.Module, classes: int) -> nn.Linear:
    """The linear layer that gives the logits; of several networks, the first one's.

    Args:
        model: A network.
        classes: Number of classes k.

    Raises:
        ModelError: there is none with k outputs.
    """
    network = model.members[0] if isinstance(model, Networks) else model
    layers = [each for each in network.modules() if isinstance(each, nn.Linear)]
    if not layers or layers[-1].out_features != classes:
        raise ModelError(
            f"The network does not end in a linear layer of {classes} outputs, whose inputs would "
            "be the features.",
            "Train without --features, or let the network end in torch.nn.Linear.",
        )
    return layers[-1]


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
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        for first in range(0, len(inputs), BLOCK):
            seen.clear()
            batch = inputs[first : first + BLOCK]
            network(prepare(batch.to(device)))
            rows = seen[0].float().flatten(1).clamp(-most, most)
            kept[first : first + BLOCK] = rows.cpu().numpy()
    finally:
        hook.remove()
    return kept
