"""The criterion: a method at work in a training loop.

    criterion = SELFIE(noise_rate=0.4).start(len(data), classes)
    loader = DataLoader(Indexed(data), batch_size=128, shuffle=True)   # yields (index, x, y)
    for index, x, y in loader:
        criterion(index, model(x), y).backward()
    criterion.end_epoch()

A step, top to bottom, in the order of the methods below:

    parts, step   from outputs, or from a batch and the network → checked → `_flow`
    gather        outputs → losses against the given labels → the global batch: a `Step`
    observe       the step → history
    decide        the step → what the method answers: a `Decision`
    weigh         losses on its targets, times its weights → `Parts`
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from thresher.batch_rows import missing_index
from thresher.distributed import gather_columns, processes
from thresher.errors import ParameterError, RecordError
from thresher.history import AUDIT, TRACE, Column, SampleHistory
from thresher.models.last_layer import features_seen, last_layer
from thresher.noise.held_out import draw_held_out
from thresher.noise.method import (
    OUT_OF_DISTRIBUTION,
    Batch,
    Change,
    Decision,
    Draw,
    Method,
    Parts,
    Plan,
    Step,
)
from thresher.noise.outputs import method_outputs
from thresher.noise.row_numbers import RowNumbers, only_repeated
from thresher.noise.weighing import trusting, unrelabelled, weighted_parts

__all__ = ["Criterion"]

WINDOW_SKIP = 0.2  # the audit averages from this share of the epochs on


class Criterion:
    """What stands where `cross_entropy(outputs, labels)` stood; made by `Method.start`.

    Attributes:
        method: The rule at work, a copy of the one that was started.
        history: What was seen of every sample.
        epoch: Epochs ended so far.
        listener: Told every step and what was decided of it: a sampler, an evaluator, or nobody.
    """

    def __init__(
        self,
        method: Method,
        plan: Plan,
        *,
        labels: Tensor | None,
        held_out: Tensor | None,
        trusted: Tensor | None,
        out_of_distribution: Tensor | None,
        audit: bool,
        repeats: bool,
        device: torch.device | str,
    ) -> None:
        self.method, self.plan = method, plan
        self.numbers = RowNumbers(plan.samples, repeats=repeats)
        skip = 0 if plan.epochs is None else math.floor(WINDOW_SKIP * plan.epochs)
        self.history = SampleHistory(
            plan.samples, plan.classes, device=device, window_start=skip, repeats=repeats
        )
        method.history, method.plan = self.history, plan
        self.history.declare(*method.begin(plan))
        if audit:
            self.history.declare(*AUDIT)
            if plan.epochs is not None:
                self.history.declare(Column(TRACE, torch.uint8, width=plan.epochs))
        self._all_eligible = True
        # labels that are given whole are checked once, so that `step` need not do it
        self._labels_checked = labels is not None
        if labels is not None:
            self._check_given(labels)
        self._any_trusted = False
        if trusted is not None:
            self._trust(trusted)
        if out_of_distribution is not None:
            self._check_marks("out_of_distribution", out_of_distribution)
            self.history.declare(OUT_OF_DISTRIBUTION)
            self.history[OUT_OF_DISTRIBUTION.name].copy_(out_of_distribution)
        if held_out is None and "held_out" in method.needs:
            held_out = draw_held_out(plan, labels, spared=trusted)
        if held_out is not None:
            self._hold_out(held_out)
        self.epoch = 0
        self._change: Change | None = None
        self._factors: Tensor | None = None  # of the batch that is trained
        self.listener: Callable[[Step, Decision], None] | None = None

    def _check_given(self, labels: Tensor) -> None:
        if labels.shape != (self.plan.samples,):
            raise ParameterError(
                f"labels must be ({self.plan.samples},) int64, got {tuple(labels.shape)} "
                f"{labels.dtype}.",
                "Pass one label for every sample, -1 where there is none.",
            )
        rows = torch.nonzero(labels >= 0).flatten()
        self.history.check_labels(rows, labels[rows])

    def _check_marks(self, name: str, marks: Tensor) -> None:
        if marks.shape != (self.plan.samples,) or marks.dtype != torch.bool:
            raise ParameterError(
                f"{name} must be ({self.plan.samples},) bool, got {tuple(marks.shape)} "
                f"{marks.dtype}.",
                "Pass one True or False for every sample.",
            )

    def _hold_out(self, held_out: Tensor) -> None:
        self._check_marks("held_out", held_out)
        self._all_eligible = not bool(held_out.any())
        if not self._all_eligible:
            self.history.hold_out(held_out)

    def _trust(self, trusted: Tensor) -> None:
        self._check_marks("trusted", trusted)
        self._any_trusted = bool(trusted.any())
        if self._any_trusted:
            self.history.declare(Column("trusted", torch.bool))
            self.history["trusted"].copy_(trusted)

    # ------------------------------------------------------------------ a step
    def __call__(
        self,
        index: Tensor,
        outputs: object,
        labels: Tensor | None = None,
        features: Tensor | None = None,
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
            ParameterError: outputs of another batch size or width.
            RecordError: an index that is missing, out of range or repeated; more rows in an epoch
                than samples; or a change asked for at the end of the last epoch was not applied.
        """
        if labels is None:  # the arguments of cross_entropy
            raise missing_index("the outputs and the labels only")
        return self.parts(index, outputs, labels, features).mean()

    def parts(
        self, index: Tensor, outputs: object, labels: Tensor, features: Tensor | None = None
    ) -> Parts:
        """The same loss as sums and totals, for loops that accumulate over batches.

        Raises:
            ParameterError: the method makes forward passes of its own; `step` serves it.
        """
        if self.method.step is not None:
            raise ParameterError(
                f"{self.method.name} makes its own forward passes; it cannot start from outputs.",
                "Call criterion.step(model, Batch(index, inputs, labels), no_stream).mean().",
            )
        if self.method.streams():
            raise ParameterError(
                f"{self.method.name} learns from further data in every step; it cannot start from "
                "outputs.",
                "Call criterion.step(model, Batch(index, inputs, labels), draw).mean(), where draw "
                "gives the Drawn rows of a thresher.training.stream.Stream.",
            )
        self._check(index, labels)
        return self._flow(index, outputs, labels, features)

    def step(self, model: nn.Module, batch: Batch, draw: Draw) -> Parts:
        """Forward pass and loss of one batch: the only thing a loop has to know of a method.

        Where `start` was given the labels, those of the batch and its index are not checked again.

        Args:
            model: The network.
            batch: Of this process.
            draw: Gives the rows of a stream by its name; `no_stream` where there is none.
        """
        if not self._labels_checked:
            self._check(batch.index, batch.labels)
        self._factors = batch.factors
        if self.method.step is not None:
            return self.method.step(self, model, batch, draw)
        drawn = [draw(name) for name in self.method.streams()]
        inputs, stream = batch.inputs, None
        if drawn:  # one pass: a second would meet other statistics of batch normalisation
            inputs = torch.cat([inputs, *(each.inputs for each in drawn)])
            stream = torch.cat([each.index for each in drawn])
        features = None
        if self.method.wants_features:
            with features_seen(last_layer(model, self.plan.classes)) as seen:
                outputs = model(inputs)
            features = seen[-1]
        else:
            outputs = model(inputs)
        return self._flow(batch.index, outputs, batch.labels, features, batch.sizes, stream)

    def _check(self, index: Tensor, labels: Tensor) -> None:
        self.history.check_labels(index, labels)
        if torch.is_grad_enabled():  # an evaluation belongs to no epoch
            self.numbers.check(index)

    def _flow(
        self,
        index: Tensor,
        outputs: object,
        labels: Tensor,
        features: Tensor | None = None,
        sizes: Sequence[int] | None = None,
        stream: Tensor | None = None,
    ) -> Parts:
        step, losses = self.gather(index, outputs, labels, features, sizes, stream)
        if self.method.observe_first:
            self.observe(step)
        decision = self.decide(step)
        if not self.method.observe_first:
            self.observe(step)
        return self.weigh(step, decision, losses)

    # ---- what a step is made of, for methods too that make forward passes of their own
    def gather(
        self,
        index: Tensor,
        outputs: object,
        labels: Tensor,
        features: Tensor | None = None,
        sizes: Sequence[int] | None = None,
        stream: Tensor | None = None,
    ) -> tuple[Step, Tensor]:
        """Join a batch with those of the other processes, which must call it too.

        Args:
            index, outputs, labels, features: As `Criterion` takes them.
            sizes: Rows of every process in this step, where all of them know it: `Batch.sizes`.
            stream: (S,) int64 rows of a stream, whose outputs are the last S.

        Returns:
            The step as a method sees it, and the loss of this process's rows against their given
            labels, (J, B) with the graph of the outputs.
        """
        self._refuse_unapplied_change()
        rows = len(labels)
        answered = method_outputs(outputs, self.method, classes=self.plan.classes, rows=rows)
        logits = answered if answered.shape[1] == rows else answered[:, :rows]  # (J, B, k)
        losses = self.method.sample_loss(logits, labels.expand(len(logits), rows))  # (J, B)

        everyone, given, every_loss, scores, here = self._joined(
            index, labels, losses, logits, sizes
        )
        first = self.numbers.first(everyone) if torch.is_grad_enabled() else None
        eligible = None if self._all_eligible else self.history["eligible"][everyone]
        if first is not None:
            eligible = first if eligible is None else eligible & first
        step = Step(
            index=everyone,
            labels=given,
            losses=every_loss,
            scores=scores,
            eligible=eligible,
            here=here,
            logits=logits,
            rest=answered[:, rows:] if answered.shape[1] > rows else None,
            features=features,
            epoch=self.epoch,
            first=first,
            stream=stream,
        )
        return step, losses

    @staticmethod
    def _joined(
        index: Tensor,
        labels: Tensor,
        losses: Tensor,
        logits: Tensor,
        sizes: Sequence[int] | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, slice]:
        """The batches of all processes, in one gather: (G,), (G,), (J, G), (J, G, k), detached."""
        if processes() == 1:
            return index, labels, losses.detach(), logits.detach(), slice(0, len(index))
        rows = [index, labels, losses.movedim(1, 0), logits.movedim(1, 0)]
        (everyone, given, every_loss, scores), here = gather_columns(rows, sizes)
        # row-major like those of one process, whose sums are rounded in the same order
        return (
            everyone,
            given,
            every_loss.movedim(0, 1).contiguous(),
            scores.movedim(0, 1).contiguous(),
            here,
        )

    def observe(self, step: Step) -> None:
        """Remember the predictions of a step, once a step; nothing while gradients are off.

        What matters is whether gradients are on when it is called, not whether they were on for
        the forward pass: an evaluation leaves no trace.
        """
        if not torch.is_grad_enabled():
            return
        self.numbers.mark(step.index, step.here)
        index, labels, first = step.index, step.labels, step.first
        logits = step.scores[0]
        if len(step.scores) > 1:
            logits = step.probabilities().clamp(min=1e-30).log()
        if first is not None:
            index, labels, logits = index[first], labels[first], logits[first]
        self.history.observe(index, logits, labels)

    def decide(self, step: Step) -> Decision:
        """Ask the method; what it writes of rows that do not count is taken back.

        Those are the ones that only fill up a batch, and all of them while gradients are off.
        """
        rows = None if step.first is None else only_repeated(step.index, step.first)
        if not torch.is_grad_enabled():
            rows = step.index
        if rows is None:
            return self.method.decide(step)
        columns = self.history.columns_of_method()
        before = {name: values[rows] for name, values in columns.items()}
        decision = self.method.decide(step)
        for name, values in before.items():
            columns[name][rows] = values
        return decision

    def weigh(
        self, step: Step, decision: Decision, losses: Tensor, learned: Tensor | None = None
    ) -> Parts:
        """Sum the losses of this process's rows, (J, B) with graph, as the method decided.

        A trusted sample counts in full and with its given label, whatever the method decided; one
        that is known to be out of distribution is dropped where it was to get another label.

        Args:
            step: The step.
            decision: What the method answered.
            losses: Of this process's rows, where the decision has no targets of its own.
            learned: (G,) int64 labels that the losses are taken against, for a listener. None =
                those of the decision.
        """
        if OUT_OF_DISTRIBUTION.name in self.history:
            decision = unrelabelled(step, decision, ~self.method.may_relabel(step.index))
        if self._any_trusted:
            decision = trusting(step, decision, self.history["trusted"][step.index])
        if self.listener is not None and torch.is_grad_enabled():
            told = decision if learned is None else replace(decision, targets=learned)
            self.listener(step, told)
        targets = decision.targets
        if targets is not None:
            targets = targets.expand(len(losses), -1) if targets.dim() == 1 else targets
            losses = self.method.sample_loss(step.logits, targets[:, step.here])
        if self._any_trusted and self.method.corrects_labels:
            losses = self._uncorrected(step, losses)
        return weighted_parts(step, decision, losses, self._factors)

    def _uncorrected(self, step: Step, losses: Tensor) -> Tensor:
        """The losses, (J, B), with the cross-entropy in the place of those of trusted rows."""
        given = step.labels[step.here].expand(len(losses), -1)
        trusted = self.history["trusted"][step.index[step.here]]
        return torch.where(trusted, Method.sample_loss(self.method, step.logits, given), losses)

    # ------------------------------------------------------------------ an epoch
    def end_epoch(self, measured: Mapping[str, float] | None = None) -> Change | None:
        """Close the epoch. A returned Change must be applied before the next batch.

        Args:
            measured: What the loop measured itself, by name (for methods that say they need it).

        Raises:
            RecordError: the places in the batches were passed for the numbers of the rows.
        """
        self.numbers.end_epoch()
        self.history.flush()
        self._change = self.method.end_epoch(measured or {})
        self._all_eligible = self._all_eligible or bool(self.history["eligible"].all())
        self.epoch += 1
        self.history.epoch = self.epoch
        return self._change

    def _refuse_unapplied_change(self) -> None:
        if self._change is not None:
            raise RecordError(
                f"{self.method.name} asked for a change at the end of the last epoch: "
                f"{self._change}.",
                "Apply it: Snapshots(model, optimizer, criterion).apply(criterion.end_epoch()).",
            )

    def applied(self, change: Change | None) -> None:
        """Told by whoever applied the change."""
        if change is self._change:
            self._change = None

    # ------------------------------------------------------------------ state
    def state_dict(self) -> dict[str, Any]:
        """Epoch, the method's state (plain numbers), the history, the rows of this epoch so far.

        It may be taken between any two steps, and changes nothing that comes after.
        """
        return {
            "name": self.method.name,
            "epoch": self.epoch,
            "method": {name: getattr(self.method, name) for name in self.method.state},
            "history": self.history.running_state(),
            "numbers": self.numbers.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            RecordError: the state belongs to another method or to other data.
        """
        if state["name"] != self.method.name:
            raise RecordError(
                f'The stored state is of the method "{state["name"]}", not of '
                f'"{self.method.name}".',
                "Resume with the method that the run was started with.",
            )
        if set(state["method"]) != set(self.method.state):
            raise RecordError(
                f"The stored state holds {sorted(state['method'])}; {self.method.name} keeps "
                f"{sorted(self.method.state)}.",
                "Resume with the method that the run was started with.",
            )
        self.history.load_state_dict(state["history"])
        for name, value in state["method"].items():
            setattr(self.method, name, value)
        self.epoch = self.history.epoch = int(state["epoch"])
        self.numbers.load_state_dict(state["numbers"], self.history.device)
        self._change = None
        self._all_eligible = bool(self.history["eligible"].all())
