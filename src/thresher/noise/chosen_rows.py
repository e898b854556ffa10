"""Chosen rows: look at a batch without a gradient, and learn from the part of it that is chosen.

    forward of the batch, no gradient → observed → the choice, on the global batch
    → forward and backward of this process's chosen rows alone

With a backward pass twice the cost of a forward pass, keeping a share s costs (1 + 3 s) / 3 of a
step that learns from the whole batch: less than it if s < 2/3.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from thresher.noise.criterion import Criterion
from thresher.noise.method import Batch, Decision, Parts, Step
from thresher.noise.outputs import method_outputs

__all__ = ["learn_from_chosen"]


def learn_from_chosen(
    criterion: Criterion, model: nn.Module, batch: Batch, choose: Callable[[Step], Tensor]
) -> Parts:
    """Score a batch, choose among the global batch, and learn from what is chosen of these rows.

    Every process chooses from the same losses and so comes to the same choice; how many of its own
    rows it then learns from differs. Samples whose label a person has seen to are always chosen.

    Args:
        criterion: At work.
        model: With outputs (B, k); in training mode, so that running averages of batch
            normalisation see the chosen rows twice.
        batch: Of this process.
        choose: From the step, whose logits have no graph, to (G,) bool.
    """
    with torch.no_grad():
        outputs = model(batch.inputs)
    seen, scored = criterion.gather(batch.index, outputs, batch.labels, sizes=batch.sizes)
    criterion.observe(seen)
    chosen = choose(seen)
    if "trusted" in criterion.history:
        chosen = chosen | criterion.history["trusted"][seen.index]
    if seen.eligible is not None:
        chosen = chosen & seen.eligible
    rows = rows_to_pass(chosen[seen.here])
    passed = method_outputs(
        model(batch.inputs[rows]), criterion.method, classes=criterion.plan.classes, rows=len(rows)
    )
    losses = criterion.method.sample_loss(passed, batch.labels[rows].unsqueeze(0))  # (1, R)
    everywhere = torch.zeros_like(scored).index_copy(1, rows, losses.to(scored.dtype))
    return criterion.weigh(seen, Decision(chosen.to(scored.dtype)), everywhere)


def rows_to_pass(chosen: Tensor) -> Tensor:
    """Places of the chosen rows, filled up to two where there are two.

    Batch normalisation cannot learn from one row, and a process without any must take part in the
    backward pass of the others. What fills up has weight 0.

    >>> rows_to_pass(torch.tensor([False, False, True])).tolist()
    [0, 2]

    Args:
        chosen: (B,) bool.
    """
    rows = torch.nonzero(chosen).flatten()
    missing = min(2, len(chosen)) - len(rows)
    if missing > 0:
        others = torch.nonzero(~chosen).flatten()[:missing]
        rows = torch.cat([others, rows]).sort().values
    return rows
