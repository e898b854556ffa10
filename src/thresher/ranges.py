"""Ranges of hyper-parameters, refused in one voice by the methods and by the settings of a run."""

from __future__ import annotations

import math

from thresher.errors import ParameterError

__all__ = ["check_not_negative", "check_positive", "check_rate"]


def check_rate(noise_rate: float | None) -> float | None:
    """Refuse a noise rate outside [0, 1).

    Raises:
        ParameterError: noise_rate is not None and outside [0, 1).
    """
    if noise_rate is not None and not 0 <= noise_rate < 1:
        raise ParameterError(
            f"noise_rate must be in [0, 1), got {noise_rate:g}.",
            "Pass the share of wrong labels, or leave it open to have it estimated.",
        )
    return noise_rate


def check_positive(name: str, value: float | None, *, below: float = math.inf) -> None:
    """Refuse a hyper-parameter outside (0, below].

    Raises:
        ParameterError: the value is not None, and not positive or too large.
    """
    if value is not None and not 0 < value <= below:
        limit = f"in (0, {below:g}]" if math.isfinite(below) else "positive"
        raise ParameterError(
            f"{name} must be {limit}, got {value:g}.", "Leave it out to use the default."
        )


def check_not_negative(name: str, value: float | None) -> None:
    """Refuse a hyper-parameter below 0.

    Raises:
        ParameterError: the value is not None, and negative.
    """
    if value is not None and not value >= 0:
        raise ParameterError(f"{name} must be 0 or more, got {value:g}.", "Use 0 for none.")
