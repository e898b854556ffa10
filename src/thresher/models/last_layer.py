"""The last layer of a network, and what it sees: the features of a sample."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from thresher.errors import ModelError
from thresher.models.networks import Networks

__all__ = ["features_seen", "last_layer"]

HALF = (torch.bfloat16, torch.float16)


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
            "Let the network end in torch.nn.Linear, or do without features: leave --features out, "
            "choose another method.",
        )
    return layers[-1]


@contextmanager
def features_seen(layer: nn.Linear) -> Iterator[list[Tensor]]:
    """Keep what a layer is given in the forward passes of the block.

    Yields:
        A list that grows by (rows, d) with graph a pass, float32 where they were half as wide.
    """
    seen: list[Tensor] = []

    def keep(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        features = given[0].flatten(1)
        seen.append(features.float() if features.dtype in HALF else features)

    hook = layer.register_forward_pre_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()
