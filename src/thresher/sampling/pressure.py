"""Selection pressure: how it comes down to 1, where every sample is drawn alike.

With p the share of the way from the first drawn epoch to the last, s_0 the pressure at its start:

    constant      s = s_0
    exponential   s = s_0^(1 - p)                         (Recency Bias, Song et al. 2020)
    linear        s = 1 + (s_0 - 1) (1 - p)
    cosine        s = 1 + (s_0 - 1) (1 + cos πp) / 2
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from thresher.errors import ParameterError

__all__ = ["Decay", "Pressure", "pressure_at"]

Decay: TypeAlias = Literal["constant", "exponential", "linear", "cosine"]


def pressure_at(initial: float, progress: float, decay: Decay) -> float:
    """The pressure after a share of the way; 1 at its end unless it is constant.

    >>> [round(pressure_at(100, share, "exponential"), 3) for share in (0, 1 / 90, 0.5, 1)]
    [100.0, 95.012, 10.0, 1.0]

    Args:
        initial: s_0, >= 1.
        progress: p; what lies outside [0, 1] is clamped.
        decay: The shape of the way.
    """
    left = 1 - min(1.0, max(0.0, progress))
    if decay == "constant":
        return initial
    if decay == "exponential":
        return float(initial**left)
    if decay == "linear":
        return 1 + (initial - 1) * left
    return 1 + (initial - 1) * (1 - math.cos(math.pi * left)) / 2


@dataclass(frozen=True)
class Pressure:
    """A selection pressure s_e >= 1 that may decay.

    Args:
        initial: s_0: how much likelier the most wanted sample is than the least, >= 1 and finite.
        decay: How it comes down to 1.

    Raises:
        ParameterError: a value out of range.
    """

    initial: float
    decay: Decay = "constant"

    def __post_init__(self) -> None:
        if not 1 <= self.initial < math.inf:
            raise ParameterError(
                f"pressure must be 1 or more, got {self.initial:g}.",
                "1 draws every sample alike; 10 draws the most wanted ten times as often as the "
                "least.",
            )
        if self.decay not in get_args(Decay):
            raise ParameterError(
                f"decay must be one of {', '.join(get_args(Decay))}, got {self.decay!r}.",
                'Use "constant" for a pressure that stays.',
            )

    def needs_end(self, epochs: int | None) -> None:
        """Refuse a decay whose end is unknown.

        Args:
            epochs: Planned epochs, or None.

        Raises:
            ParameterError: it decays, and the run has no planned end.
        """
        if epochs is None and self.decay != "constant":
            raise ParameterError(
                f"The selection pressure decays ({self.decay}) until the last epoch, and the "
                "number of epochs is not known.",
                'Say how many epochs are planned, or pass decay="constant".',
            )

    def __call__(self, epoch: int, *, warmup: int, epochs: int | None) -> float:
        """The pressure of an epoch: s_0 at the end of the warm-up, 1 in the last epoch.

        Args:
            epoch: From 0.
            warmup: Epochs before the first drawn one.
            epochs: Planned epochs, or None where nothing decays.
        """
        if epochs is None:
            return self.initial
        way = epochs - warmup
        progress = (epoch + 1 - warmup) / way if way > 0 else 1.0
        return pressure_at(self.initial, progress, self.decay)
