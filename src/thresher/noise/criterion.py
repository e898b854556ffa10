"""The criterion: a method at work in a training loop.

    criterion = SELFIE(noise_rate=0.4).start(len(data), classes)
    loader = DataLoader(Indexed(data), batch_size=128, shuffle=True)   # yields (index, x, y)
    for index, x, y in loader:
        criterion(index, model(x), y).backward()
    criterion.end_epoch()

The whole flow of a step is `Criterion.parts`: split the outputs, losses, gather, observe and
decide, losses on the targets, weighted sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thresher.distributed import gather_rows
from thresher.errors import ParameterError, RecordError
from thresher.history import AUDIT, SampleHistory
from thresher.keyed_random import keyed_seed
from thresher.models.logits import logits_of
from thresher.noise.method import Batch, Change, Decision, Method, Parts, Plan, Step
from thresher.stratified import stratified_rows

__all__ = ["Criterion", "draw_held_out", "no_stream"]

WINDOW_SKIP = 0.2  # the audit averages from this share of the epochs on
HELD_OUT_SHARE, HELD_OUT_MOST = 0.1, 2000


class Criterion:
    """What stands where `cross_entropy(outputs, labels)` stood; made by `Method.start`.

    Attributes:
        method: The rule at work, a copy of the one that was started.
        history: What was seen of every sample.
        epoch: Epochs ended so far.
    """

    def __init__(
        self,
        method: Method,
        plan: Plan,
        *,
        labels: Tensor | None,
        held_out: Tensor | None,
        audit: bool,
        device: torch.device | str,
    ) -> None:
        self.method, self.plan = method, plan
        skip = 0 if plan.epochs is None else math.floor(WINDOW_SKIP * plan.epochs)
        self.history = SampleHistory(plan.samples, plan.classes, device=device, window_start=skip)
        method.history, method.plan = self.history, plan
        self.history.declare(*method.begin(plan))
        if audit:
            self.history.declare(*AUDIT)
        self._all_eligible = True
        if held_out is None and "held_out" in method.needs:
            held_out = draw_held_out(plan, labels)
        if held_out is not None:
            self._hold_out(held_out)
        # labels that were given whole are checked once; a user's own loop is checked every step
        self._labels_checked = labels is not None
        if labels is not None:
            kept = labels >= 0
            rows = torch.arange(plan.samples)
            self.history.check_labels(rows[kept], labels[kept])
        self.epoch = 0
        self._change: Change | None = None

    def _hold_out(self, held_out: Tensor) -> None:
        if held_out.shape != (self.plan.samples,) or held_out.dtype != torch.bool:
            raise ParameterError(
                f"held_out must be ({self.plan.samples},) bool, got {tuple(held_out.shape)} "
                f"{held_out.dtype}.",
                "Pass one True or False for every sample.",
            )
        self.history["eligible"].copy_(~held_out)
        self._all_eligible = not bool(held_out.any())

    # ------------------------------------------------------------------ a step
    def __call__(
        self, index: Tensor, outputs: object, labels: Tensor, features: Tensor | None = None
    ) -> Tensor:
        """The loss of this step, a scalar with graph.

        Args:
            index: (B,) int64 stable sample indices.
            outputs: What the network answered: (B, k) logits, or (J, B, k) of a method with
                several networks; rows after the first B are further views or streams.
            labels: (B,) int64 given labels.
            features: (B, d) of the last layer, for methods that ask for them.

        Raises:
            LabelError: a label outside the classes, with the sample's index.
            RecordError: an index out of range, or a change asked for at the end of the last epoch
                that was not applied.
        """
        return self.parts(index, outputs, labels, features).mean()

    def parts(
        self, index: Tensor, outputs: object, labels: Tensor, features: Tensor | None = None
    ) -> Parts:
        """The same loss as sums and totals, for loops that accumulate over batches."""
        if self._change is not None:
            raise RecordError(
                f"{self.method.name} asked for a change at the end of the last epoch: "
                f"{self._change}.",
                "Apply it: Snapshots(model, optimizer, criterion).apply(criterion.end_epoch()).",
            )
        if not self._labels_checked:
            self.history.check_labels(index, labels)
        method, rows = self.method, len(labels)
        answered = logits_of(outputs)
        answered = answered if answered.dim() == 3 else answered.unsqueeze(0)
        self._check_outputs(answered, rows)
        logits = answered if answered.shape[1] == rows else answered[:, :rows]  # (J, B, k)
        losses = method.sample_loss(logits, labels.expand(len(logits), rows))  # (J, B)

        everyone, here = gather_rows(index)
        step = Step(
            index=everyone,
            labels=gather_rows(labels)[0],
            losses=gather_rows(losses, 1)[0],
            scores=gather_rows(logits, 1)[0],
            eligible=None if self._all_eligible else self.history["eligible"][everyone],
            here=here,
            logits=logits,
            rest=answered[:, rows:] if answered.shape[1] > rows else None,
            features=features,
            epoch=self.epoch,
        )
        if method.observe_first:
            self._observe(step)
        decision = method.decide(step)
        if not method.observe_first:
            self._observe(step)
        return self._weigh(step, decision, losses)

    def step(self, model: nn.Module, batch: Batch, draw: Callable[[str], Tensor]) -> Parts:
        """Forward pass and loss of one batch: the only thing a loop has to know of a method."""
        if self.method.step is not None:
            return self.method.step(self, model, batch, draw)
        return self.parts(batch.index, model(batch.inputs), batch.labels)

    def _check_outputs(self, outputs: Tensor, rows: int) -> None:
        networks, width = self.method.networks, self.plan.classes
        if outputs.shape[0] == networks and outputs.shape[1] >= rows and outputs.shape[2] == width:
            return
        expected = f"({rows}, {width})" if networks == 1 else f"({networks}, {rows}, {width})"
        raise ParameterError(
            f"{self.method.name} expects outputs {expected}, got {tuple(outputs.shape)}.",
            "Use a model with one logit a class"
            + (f", and {networks} of them in thresher.models.Networks." if networks > 1 else "."),
        )

    def _observe(self, step: Step) -> None:
        if not torch.is_grad_enabled():  # an evaluation leaves no trace
            return
        scores = step.scores
        # several networks: the logits of their mean probability
        mean = scores[0] if len(scores) == 1 else scores.softmax(2).mean(0).clamp(min=1e-30).log()
        self.history.observe(step.index, mean, step.labels)

    def _weigh(self, step: Step, decision: Decision, losses: Tensor) -> Parts:
        if decision.targets is not None:
            targets = decision.targets
            targets = targets.expand(len(losses), -1) if targets.dim() == 1 else targets
            losses = self.method.sample_loss(step.logits, targets[:, step.here])
        weights = decision.weights
        if weights is None and step.eligible is None:  # nothing to mask, which would cost 5 %
            sums = losses.sum(1)
            totals = torch.full_like(sums, len(step.labels), requires_grad=False)
        else:
            weights = step.ones() if weights is None else weights
            weights = weights.expand(len(losses), -1)  # (J, G)
            if step.eligible is not None:
                weights = weights * step.eligible
            mine = weights[:, step.here]
            # dropping is masking: 0 · inf would be NaN
            sums = torch.where(mine > 0, mine * losses, 0).sum(1)
            totals = weights.sum(1)
        if decision.penalty is not None:
            penalty = decision.penalty.expand(len(losses), -1)
            if step.eligible is not None and penalty.shape[1] == losses.shape[1]:
                penalty = torch.where(step.eligible[step.here], penalty, 0)
            sums = sums + penalty.sum(1)
        if decision.divisor == "weights":
            return Parts(sums, totals)
        count = len(step.labels) if step.eligible is None else int(step.eligible.sum())
        return Parts(sums, torch.full_like(sums, count, requires_grad=False))

    # ------------------------------------------------------------------ an epoch
    def end_epoch(self, measured: Mapping[str, float] | None = None) -> Change | None:
        """Close the epoch. A returned Change must be applied before the next batch.

        Args:
            measured: What the loop measured itself, by name (for methods that say they need it).
        """
        self.history.flush()
        self._change = self.method.end_epoch(measured or {})
        self.epoch += 1
        self.history.epoch = self.epoch
        return self._change

    def applied(self, change: Change | None) -> None:
        """Told by whoever applied the change."""
        if change is self._change:
            self._change = None

    # ------------------------------------------------------------------ state
    def state_dict(self) -> dict[str, Any]:
        """Epoch, the method's state (plain numbers) and the history's columns."""
        return {
            "epoch": self.epoch,
            "method": {name: getattr(self.method, name) for name in self.method.state},
            "history": self.history.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            RecordError: the state belongs to another method or to other data.
        """
        if set(state["method"]) != set(self.method.state):
            raise RecordError(
                f"The stored state holds {sorted(state['method'])}; {self.method.name} keeps "
                f"{sorted(self.method.state)}.",
                "Resume with the method that the run was started with.",
            )
        for name, value in state["method"].items():
            setattr(self.method, name, value)
        self.history.load_state_dict(state["history"])
        self.epoch = self.history.epoch = int(state["epoch"])
        self._change = None
        self._all_eligible = bool(self.history["eligible"].all())


def draw_held_out(plan: Plan, labels: Tensor | None) -> Tensor:
    """Draw the rows that ride along unlearned: a tenth of the labelled ones, at most 2000.

    Every class gives its share (to rounding) and keeps at least one row for training.

    Args:
        plan: Samples, and the seed of the draw.
        labels: (N,) int64 given labels, -1 = none, or None when they are not known yet.

    Returns:
        (N,) bool.
    """
    labels = torch.zeros(plan.samples, dtype=torch.int64) if labels is None else labels.cpu()
    labelled = torch.nonzero(labels >= 0).flatten()
    wanted = min(round(HELD_OUT_SHARE * len(labelled)), HELD_OUT_MOST)
    drawn = stratified_rows(labels[labelled], wanted, keyed_seed(plan.seed, "held-out"))
    held_out = torch.zeros(plan.samples, dtype=torch.bool)
    held_out[labelled[drawn]] = True
    alone = torch.bincount(labels[labelled]) == 1
    held_out[labelled] &= ~alone[labels[labelled]]
    return held_out


def no_stream(name: str) -> Tensor:
    """Refuse a further stream of data: what a loop without streams passes as `draw`."""
    raise ParameterError(
        f'The method asks for the data stream "{name}", and this loop has none.',
        "Pass the stream's data to the loop.",
    )
