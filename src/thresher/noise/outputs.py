"""Outputs: what a network answered to a batch, as the method at work expects it.

answer of any kind → logits → (J, P, k) → of the right size, or an error that says why not → float32
"""

from __future__ import annotations

import torch
from torch import Tensor

from thresher.errors import ParameterError
from thresher.models.logits import logits_of
from thresher.noise.method import Method

__all__ = ["method_outputs"]

HALF = (torch.bfloat16, torch.float16)


def method_outputs(outputs: object, method: Method, *, classes: int, rows: int) -> Tensor:
    """Bring the outputs of a batch into the form that every method reads.

    Args:
        outputs: What the network answered, in any of the forms that `logits_of` reads.
        method: How many networks and views it compares.
        classes: Number of classes k.
        rows: Samples in the batch, B.

    Returns:
        (J, P, k) with graph, float32 where they were half as wide; the first B of the P rows are
        the batch.

    Raises:
        ModelError: there are no logits among the outputs.
        ParameterError: outputs of another batch size, width or number of networks or views.
    """
    answered = logits_of(outputs)
    found = answered if answered.dim() == 3 else answered.unsqueeze(0)
    if found.dim() != 3 or found.shape[::2] != (method.networks, classes):
        raise _another_shape(answered, method, classes, rows)
    further = found.shape[1] - rows * method.views
    if further and not (further > 0 and method.streams()):
        raise _another_shape(answered, method, classes, rows)
    # half are those of autocast; losses and history are float32
    return found.float() if found.dtype in HALF else found


def _another_shape(answered: Tensor, method: Method, classes: int, rows: int) -> ParameterError:
    networks, received = method.networks, tuple(answered.shape)
    if method.views > 1 and received[-2:] == (rows, classes):
        return ParameterError(
            f"{method.name} compares {method.views} random views of each sample, got the outputs "
            f"of one, {received}.",
            "Pass model(torch.cat([view, other_view])): the batch once more, augmented anew.",
        )
    wanted = rows * method.views
    expected = f"({wanted}, {classes})" if networks == 1 else f"({networks}, {wanted}, {classes})"
    return ParameterError(
        f"{method.name} expects outputs {expected}, got {received}.",
        "Use a model with one logit a class"
        + (f", and {networks} of them in thresher.models.Networks." if networks > 1 else "."),
    )
