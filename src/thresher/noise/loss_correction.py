"""Loss correction: what forward and backward share, a transition matrix given or estimated.

The estimate is read off the mean predictions of a warm-up with the cross-entropy: such a network
comes to predict the *given* labels (`thresher.transition.anchor_transition`). It also memorises
some of them, which no correction undoes, so that training begins anew once T is known.

    warm-up, cross-entropy → mean predictions → T → a fresh network, corrected loss
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from thresher.errors import ParameterError
from thresher.history import Column
from thresher.noise.method import Change, Decision, Method, Plan, Step
from thresher.phases import quarter, refuse_endless_warmup, shortened
from thresher.ranges import check_positive
from thresher.transition import anchor_transition, check_transition, without_trusted

__all__ = ["LossCorrection"]

WARMUP = 20

#: Predicted probabilities of every sample, summed over the epochs of the warm-up. Their mean is
#: less sure of memorised labels than the last prediction.
PREDICTED = Column("predicted", width="classes")


class LossCorrection(Method):
    """Base of the corrections: cross-entropy, until T is known.

    Args:
        transition: T (k, k), T[a, b] = P(given label b | true class a), or None.
        warmup: Epochs of standard training before T is estimated, or None.
        anew: Whether a fresh network is trained once T is estimated.
    """

    family = "loss correction"
    corrects_labels = True
    state: ClassVar[tuple[str, ...]] = ("matrix",)

    def __init__(
        self, transition: ArrayLike | None = None, *, warmup: int | None = None, anew: bool = True
    ) -> None:
        check_positive("warmup", warmup)
        if transition is not None and warmup is not None:
            raise ParameterError(
                f"A transition is given, so that warmup ({warmup}) has nothing to estimate.",
                "Leave one of them out.",
            )
        self.warmup = warmup
        self.anew = anew and transition is None
        self._matrix = None if transition is None else check_transition(transition)
        self._prepared: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    @property
    def transition(self) -> list[list[float]] | None:
        """T, (k, k) plain numbers; None before it is estimated."""
        return None if self._matrix is None else self._matrix.tolist()

    @transition.setter
    def transition(self, rows: ArrayLike | None) -> None:
        self._matrix = None if rows is None else check_transition(rows)
        self._prepared = {}

    @property
    def matrix(self) -> Tensor:
        """T, (k, k) float64, or (0, 0) before it is estimated: what outlives a step."""
        return torch.from_numpy(np.zeros((0, 0)) if self._matrix is None else self._matrix)

    @matrix.setter
    def matrix(self, matrix: Tensor) -> None:
        self.transition = matrix.numpy(force=True) if len(matrix) else None

    def known_transition(self) -> ArrayLike | None:
        """T, once it is known."""
        return self._matrix

    def rounds(self) -> int:
        """One training, or the warm-up and one."""
        return 2 if self.anew else 1

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """What T is estimated from, when it is not given."""
        self.warmup_epochs = shortened(self.warmup, WARMUP, quarter(plan.epochs))
        if self._matrix is not None:
            check_transition(self._matrix, plan.classes)
            return ()
        refuse_endless_warmup(
            self.warmup,
            plan.epochs,
            all_of_it=not self.anew,
            otherwise="; with anew=False it may take them all",
        )
        if self.warmup_epochs == plan.epochs:  # a run of one epoch: none left to train anew
            self.anew = False
        # given labels are noted with what is observed, were it the visits alone
        return PREDICTED, Column("visits", torch.int32)

    def prepared(self, like: Tensor) -> Tensor:
        """What the loss multiplies by, (k, k), with dtype and device of the logits."""
        key = (like.dtype, like.device)
        if self._matrix is not None and key not in self._prepared:
            self._prepared[key] = torch.from_numpy(self.kernel(self._matrix)).to(like)
        return self._prepared[key]

    def kernel(self, transition: NDArray[np.float64]) -> NDArray[np.float64]:
        """What `corrected_loss` needs of T, (k, k)."""
        raise NotImplementedError

    def corrected_loss(self, logits: Tensor, targets: Tensor, kernel: Tensor) -> Tensor:
        """Loss of every sample once T is known, as `sample_loss`."""
        raise NotImplementedError

    def sample_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy in the warm-up, then the corrected one."""
        if self._matrix is None:
            return super().sample_loss(logits, targets)
        return self.corrected_loss(logits, targets, self.prepared(logits))

    def decide(self, step: Step) -> Decision:
        """Every sample counts; in the warm-up, add up what is predicted of it."""
        if self._matrix is None:
            index, predicted = step.index, step.probabilities()
            if step.first is not None:
                index, predicted = index[step.first], predicted[step.first]
            self.history["predicted"].index_add_(0, index, predicted)
        return Decision()

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """Estimate T when the warm-up ends, and begin anew."""
        if self._matrix is not None or self.history.epoch + 1 < self.warmup_epochs:
            return None
        self.transition = self.estimate()
        return Change(reset=("",)) if self.anew else None

    def estimate(self) -> NDArray[Any]:
        """T by anchors, from the samples that were seen."""
        history = self.history
        seen = history["visits"] > 0
        sizes = torch.bincount(history["given"][seen].long(), minlength=self.plan.classes)
        sums = history["predicted"][seen]
        predicted = sums / sums.sum(1, keepdim=True)
        found = anchor_transition(predicted.cpu().numpy(), sizes=sizes.cpu().numpy())
        if "trusted" not in history:
            return found
        trusted = torch.bincount(
            history["given"][seen & history["trusted"]].long(), minlength=self.plan.classes
        )
        return without_trusted(found, sizes.cpu().numpy(), trusted.cpu().numpy())
