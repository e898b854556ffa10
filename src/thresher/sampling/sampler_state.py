"""How a sampler's plan, its batches that are out and its waiting feedback become tensors, and back.

Runs of different lengths lie end to end in one tensor, with their lengths beside it. What has 16
bits without a sign is stored as if it had one: torch cannot unpickle such tensors otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from thresher.sampling.epoch_batches import Batch, EpochPlan

__all__ = [
    "as_array",
    "as_tensor",
    "pack_feedback",
    "pack_plan",
    "unpack_feedback",
    "unpack_plan",
]

Step = tuple[int, NDArray[np.int64], NDArray[np.uint16]]


def as_tensor(array: NDArray[Any]) -> torch.Tensor:
    """The array in the same memory; uint16 comes as int16 of the same bits."""
    return torch.from_numpy(array.view(np.int16) if array.dtype == np.uint16 else array)


def as_array(tensor: torch.Tensor) -> NDArray[Any]:
    """The inverse of `as_tensor`."""
    array: NDArray[Any] = tensor.numpy()
    return array.view(np.uint16) if array.dtype == np.int16 else array


def pack_plan(plan: EpochPlan | None, out: Sequence[Batch]) -> dict[str, Any]:
    """The epoch that runs, and the batches that were handed out and not heard of again.

    Args:
        plan: None before the first epoch.
        out: In the order in which they were handed out.
    """
    if plan is None:
        return {"plan.number": -1}
    state: dict[str, Any] = {
        "plan.number": plan.number,
        "plan.expected": plan.expected,
        "plan.drawn": plan.drawn,
        "plan.consumed": plan.consumed,
        "plan.bounds": torch.from_numpy(plan.bounds.copy()),
        "out.steps": torch.tensor([batch.step for batch in out], dtype=torch.int64),
        "out.lengths": torch.tensor([len(batch.index) for batch in out], dtype=torch.int64),
        "out.index": _joined([batch.index for batch in out], np.int64),
    }
    if plan.rows is not None:
        state["plan.rows"] = torch.from_numpy(plan.rows.copy())
    if plan.weights is not None:
        state["plan.weights"] = torch.from_numpy(plan.weights.copy())
    weights = [batch.weights for batch in out if batch.weights is not None]
    if weights:
        state["out.weights"] = _joined(weights, np.float32)
    return state


def unpack_plan(state: Mapping[str, Any]) -> tuple[EpochPlan | None, list[Batch]]:
    """The inverse of `pack_plan`."""
    if state["plan.number"] < 0:
        return None, []
    plan = EpochPlan(
        number=int(state["plan.number"]),
        bounds=state["plan.bounds"].numpy().copy(),
        rows=_array(state, "plan.rows"),
        weights=_array(state, "plan.weights"),
        expected=float(state["plan.expected"]),
        drawn=int(state["plan.drawn"]),
        consumed=int(state["plan.consumed"]),
    )
    lengths = state["out.lengths"].tolist()
    index = _cut(state["out.index"], lengths)
    weights: Sequence[Any] = [None] * len(lengths)
    if "out.weights" in state:
        weights = _cut(state["out.weights"], lengths)
    steps = state["out.steps"].tolist()
    return plan, [Batch(*each) for each in zip(steps, index, weights, strict=True)]


def pack_feedback(feedback: Iterable[Step]) -> dict[str, Any]:
    """Levels that wait for their step.

    Args:
        feedback: (step, index (n,) int64, levels (n,) uint16) each.
    """
    waiting = list(feedback)
    return {
        "feedback.steps": torch.tensor([step for step, _, _ in waiting], dtype=torch.int64),
        "feedback.lengths": torch.tensor([len(index) for _, index, _ in waiting]).long(),
        "feedback.index": _joined([index for _, index, _ in waiting], np.int64),
        "feedback.levels": _joined([levels for _, _, levels in waiting], np.uint16),
    }


def unpack_feedback(state: Mapping[str, Any]) -> list[Step]:
    """The inverse of `pack_feedback`."""
    lengths = state["feedback.lengths"].tolist()
    index = _cut(state["feedback.index"], lengths)
    levels = _cut(state["feedback.levels"], lengths)
    return list(zip(state["feedback.steps"].tolist(), index, levels, strict=True))


def _joined(runs: list[Any], dtype: type) -> torch.Tensor:
    return as_tensor(np.concatenate([np.empty(0, dtype), *runs]).astype(dtype))


def _cut(joined: torch.Tensor, lengths: list[int]) -> list[Any]:
    return np.split(as_array(joined).copy(), np.cumsum(lengths)[:-1]) if lengths else []


def _array(state: Mapping[str, Any], name: str) -> Any:
    return state[name].numpy().copy() if name in state else None
