"""Template: <what the method trusts, what it does with the rest, in two sentences>.

    <formula, one line a quantity, with the names used in the code>

This one, as an example, gives each sample the weight of its mean confidence so far.

    weight_i = mean over visits of p_i(given label),  1 before the first visit
"""

from __future__ import annotations

import torch
from torch import Tensor

from thresher.history import Column
from thresher.noise.method import Decision, Method, Plan, Step


def mean_confidence(given_sum: Tensor, visits: Tensor) -> Tensor:
    """Pure mathematics first: functions of tensors, named after the paper's quantities."""
    return torch.where(visits > 0, given_sum / visits.clamp(min=1), 1.0)


class ConfidenceWeights(Method):
    """<One sentence; `thresher methods` prints it>.

    Args: <each hyper-parameter, its range, its default and where the default comes from>.
    Cost: <memory a sample, work a step>. Hurts when: <the known failure>.
    Source: <authors, title, venue year>. Deviations: <what differs and why>.
    """

    name = "confidence-weights"  # on the command line
    source = "an example"
    needs = ()  # of "noise_rate", "held_out"
    sample_bytes = "0"  # remembered of a sample beside what the audit reads, for the card
    networks = 1  # 2 = outputs (2, B, k)
    views = 1  # 2 = a second random view of every sample; what came of it is step.rest
    state = ()  # attributes that outlive a step, numbers, short lists, tensors: in checkpoints
    observe_first = False  # True = the history holds this step already when decide is called

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """Before the first batch: resolve lengths that depend on the run, say what to remember.

        Columns that `SampleHistory` fills by itself are named at the top of history.py; any other
        name is the method's own.
        """
        return (Column("visits", torch.int32), Column("given_sum"))

    # sample_loss(logits (J, B, k), targets (J, B) or (J, B, k)) -> (J, B): override it for another
    # loss than the cross-entropy.

    def decide(self, step: Step) -> Decision:
        """Once a step: what each sample of the global batch is worth, and its target.

        Reading a column that is filled block by block digests what is pending first; a method that
        reads in every step had better keep a column of its own.
        """
        visits = self.history["visits"][step.index]
        return Decision(mean_confidence(self.history["given_sum"][step.index], visits))

    # end_epoch(measured) -> Change | None: move a phase, estimate a rate, or ask for a snapshot, a
    # rollback, a fresh network or frozen layers.

    # corrects_labels = True: its loss expects wrong labels; that of labels which a person has seen
    # to is the cross-entropy then, as thresher/noise/forward.py has it.

    # known_transition() -> (k, k): how it thinks labels are confused, for the report of the run.

    # streams() -> names of further data: their rows follow those of the batch through the network,
    # and Decision(further=…) says their losses; thresher/noise/oat.py is one.

    # step(criterion, model, batch, draw) -> Parts: for methods that change the inputs, instead of
    # sample_loss and decide; thresher/noise/mixup.py is one.
