"""Auto: training that stops believing labels once it starts to memorise them.

A tenth of the rows ride in the batches with weight 0. They pass through the same network, in the
same mode, in the same step as their trained neighbours, so that the accuracy A on the given labels
of the trained rows and V on those of the held-out rows differ by memorisation and nothing else.
When A - V stays above a gap, the network goes back to the epoch with the best V, before it had
memorised much, and the early-learning term of ELR is ramped in; the last 30 % of the epochs leave
no time for that. Once it has fired, or can fire no more, the held-out rows have said what they were
asked, and are trained with the others, unless a user named them.

    loss = CE + β RCE                          RCE of SCE: a label that seems wrong pulls less
    fires  when A - V > gap in two epochs in a row
    loss = CE + β RCE + λ ramp ln(1 - ⟨p, t⟩)  ramp 1/3, 2/3, 1 in the epochs after
           · min(1, 40 / epochs left)          so that a long training goes no further than a short
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from thresher.errors import ParameterError
from thresher.history import AUDIT, Column
from thresher.noise.elr import TARGETS, early_learning_penalty, move_targets
from thresher.noise.method import Change, Decision, Method, Plan, Step
from thresher.noise.sce import reverse_cross_entropy
from thresher.ranges import check_positive

__all__ = ["Auto", "required_gap"]

LOG_ZERO = -4.0  # what the reverse cross-entropy takes ln 0 for (Wang et al. 2019)
RAMP_EPOCHS = 3
# epochs' worth of steps it may go, at most, once it has fired: trainings of 40 epochs and less are
# as they were without it
REACH = 40
LEFT = 0.3  # of the epochs, at least, for what it has learned by then to matter
ENOUGH_HELD_OUT = 500


def required_gap(gap: float, held_out_accuracy: float, held_out: int) -> float:
    """The gap that A - V must exceed: with few held-out rows, three standard errors of V.

    >>> required_gap(0.05, 0.5, 1000), round(required_gap(0.05, 0.5, 100), 3)
    (0.05, 0.15)
    """
    if held_out >= ENOUGH_HELD_OUT or held_out == 0:
        return gap
    error = math.sqrt(held_out_accuracy * (1 - held_out_accuracy) / held_out)
    return max(gap, 3 * error)


class Auto(Method):
    """Robust cross-entropy, and early-learning regularisation from when labels are memorised.

    Args:
        gap: Excess of the accuracy on given labels of trained rows over held-out rows that counts
            as memorisation, in (0, 1]. Default 0.05.
        reverse: β, the weight of the reverse cross-entropy, >= 0. Default 1 (Wang et al. 2019,
            who weigh the cross-entropy itself by 0.1, which underfits a short training).
        memory: Of ELR's moving average, in (0, 1]. Default 0.7 (Liu et al. 2020).
        strength: λ of ELR, > 0. Default 6: twice that of Liu et al. 2020, whose loss is the
            cross-entropy alone.

    Raises:
        ParameterError: a value out of range.

    Cost: 4 k + 2 bytes a sample, 4 k of them written once it has fired; a tenth of the rows (at
    most 2000) teach nothing until then. Hurts when: rows are so few that a tenth of them is missed.
    Source: the trigger is thresher's own; the regularisation is ELR, Liu et al., NeurIPS 2020; the
    reverse cross-entropy is that of SCE, Wang et al., ICCV 2019;
    going back is early stopping by the accuracy on noisy held-out labels, as Prestopping does
    with clean ones (Song et al. 2020).
    """

    name = "auto"
    source = "thresher; with ELR, Liu et al., NeurIPS 2020, and SCE, Wang et al., ICCV 2019"
    sample_bytes = "4k+2"
    family = "hybrid"
    needs = ("held_out",)
    state = ("exceeded", "fired_at", "best")

    def __init__(
        self,
        *,
        gap: float = 0.05,
        reverse: float = 1.0,
        memory: float = 0.7,
        strength: float = 6.0,
    ) -> None:
        check_positive("gap", gap, below=1)
        check_positive("memory", memory, below=1)
        check_positive("strength", strength)
        if not 0 <= reverse < math.inf:
            raise ParameterError(
                f"reverse must be a number of at least 0, got {reverse:g}.", "Leave it at 1."
            )
        self.gap, self.reverse, self.memory, self.strength = gap, reverse, memory, strength
        self.exceeded = 0  # epochs in a row
        self.fired_at = -1  # first epoch with the penalty; -1 = not yet
        self.best = -1.0  # highest accuracy on held-out rows so far

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """The last prediction of every sample, and ELR's moving average once it is needed."""
        return (TARGETS, *(column for column in AUDIT if column.name == "last_prediction"))

    def sample_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """CE + β · RCE."""
        loss = super().sample_loss(logits, targets)
        if not self.reverse:
            return self.calm * loss
        if targets.dim() == logits.dim():
            reverse = reverse_cross_entropy(logits, targets, LOG_ZERO)
            return self.calm * (loss + self.reverse * reverse)
        # With one class as its target, CE = -ln p_y: no second softmax is needed for 1 - p_y.
        return self.calm * (loss + self.reverse * LOG_ZERO * torch.expm1(-loss))

    def decide(self, step: Step) -> Decision:
        """Every sample with its given label; the early-learning penalty once it has fired."""
        if self.fired_at < 0:
            return Decision()
        ramp = min(1.0, (step.epoch - self.fired_at + 1) / RAMP_EPOCHS)
        targets = move_targets(self.history, step, self.memory)
        penalty = early_learning_penalty(step.logits[0], targets[step.here])
        return Decision(penalty=self.calm * ramp * self.strength * penalty)

    @property
    def calm(self) -> float:
        """What the loss is multiplied by: less than 1 in a long training that has fired.

        The penalty pulls a sample three times as hard as its label does, so that what is predicted
        by accident for a few epochs stays, whatever its label says. Accidents are large steps, and
        many of them, of many epochs at a high learning rate.
        """
        if self.fired_at < 0 or self.plan.epochs is None:
            return 1.0
        return min(1.0, REACH / max(1, self.plan.epochs - self.fired_at))

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """Compare trained with held-out rows; after two epochs above the gap go back and fire."""
        done = self.history.epoch + 1
        if self.fired_at >= 0 or done > self.last_chance:
            return None
        eligible = self.history["eligible"]
        doubted = eligible
        if "trusted" in self.history:  # no row like them is held out
            doubted = eligible & ~self.history["trusted"]
        trained = self.history.accuracy(doubted)
        held_out = self.history.accuracy(~eligible)
        gap = required_gap(self.gap, held_out, int((~eligible).sum()))
        self.exceeded = self.exceeded + 1 if trained - held_out > gap else 0
        if self.exceeded >= 2:
            self.fired_at = done
            self._release()
            return Change(restore="best")
        if done == self.last_chance:
            self._release()
            return None
        if held_out > self.best:
            self.best = held_out
            return Change(save="best")
        return None

    @property
    def last_chance(self) -> float:
        """Epochs that have ended when it may fire for the last time."""
        epochs = self.plan.epochs
        return math.inf if epochs is None else epochs - max(RAMP_EPOCHS, math.ceil(LEFT * epochs))

    def _release(self) -> None:
        if self.plan.releases:
            self.history.release()
