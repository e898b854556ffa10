"""Logits: find them in whatever a network answers with.

Networks of other libraries answer with an object, a dictionary or a tuple. Every place that calls a
network, the criterion and the predictions alike, reads its answer here.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from thresher.errors import ModelError

__all__ = ["logits_of"]


def logits_of(answer: object) -> Tensor:
    """Take the logits from a network's answer.

    Args:
        answer: A tensor; an object with the attribute ``logits``; a mapping with the key
            ``logits``; or a tuple or list whose first item is one of these.

    Raises:
        ModelError: The answer is nothing of this kind.

    >>> import torch
    >>> logits_of({"logits": torch.zeros(2, 3), "loss": None}).shape
    torch.Size([2, 3])
    """
    if isinstance(answer, Tensor):
        return answer
    found = answer.get("logits") if isinstance(answer, Mapping) else getattr(answer, "logits", None)
    if isinstance(found, Tensor):
        return found
    if isinstance(answer, (tuple, list)) and len(answer):
        return logits_of(answer[0])
    raise ModelError(
        f"The network answers with a {type(answer).__name__} in which there are no logits.",
        'Let its forward method return a tensor (B, k), or an object or dictionary with "logits".',
    )
