"""One learning-rate curve: a linear warm-up, then a cosine to zero.

As "super-convergence" without its momentum cycle (Smith & Topin 2018): a high rate reached slowly
keeps a short training from memorising early, and the decay to zero makes its last epoch its best.
"""

from __future__ import annotations

import math

__all__ = ["learning_rate"]

WARMUP = 0.2


def learning_rate(step: int, steps: int, peak: float) -> float:
    """The rate of a step.

    >>> [round(learning_rate(step, 10, 1.0), 3) for step in (0, 1, 2, 6, 9, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.038, 0.0]

    Args:
        step: From 0; later ones than `steps` stay at 0.
        steps: Length of the schedule, > 0.
        peak: The highest rate, reached after a fifth of the steps.
    """
    warmup = max(1, round(WARMUP * steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * 0.5 * (1 + math.cos(math.pi * done))
