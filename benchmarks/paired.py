"""Paired timing: A B C A B C …, so that a machine that slows down slows all of them alike.

Every action is timed once a round, in an order that rotates from round to round, and compared
within its round; the median over the rounds is what is reported. Two clocks run: the wall, and the
processor time of this process. Where other work shares the machine, only the second one is steady;
it is honest for one thread, which cannot wait for another one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Literal

__all__ = ["Pairs", "Quotient", "alternate"]

Clock = Literal["cpu", "wall"]


@dataclass(frozen=True)
class Quotient:
    """The median of a quotient over the rounds, and its quartiles."""

    median: float
    low: float
    high: float

    def to_json(self) -> list[float]:
        """Low, median, high."""
        return [round(value, 4) for value in (self.low, self.median, self.high)]


@dataclass(frozen=True)
class Pairs:
    """Seconds of every action in every round.

    Args:
        seconds: Clock → action → one number a round.
    """

    seconds: Mapping[Clock, Mapping[str, list[float]]]

    def typical(self, action: str, clock: Clock) -> float:
        """The median seconds of an action."""
        return median(self.seconds[clock][action])

    def quotient(self, above: str, below: str, clock: Clock) -> Quotient:
        """Seconds of one action over those of another one of the same round."""
        taken = self.seconds[clock]
        pairs = [a / b for a, b in zip(taken[above], taken[below], strict=True)]
        low, middle, high = quantiles(pairs, n=4) if len(pairs) > 1 else pairs * 3
        return Quotient(middle, low, high)


def alternate(actions: Mapping[str, Callable[[], object]], rounds: int, *, warmups: int) -> Pairs:
    """Time actions in turns.

    Args:
        actions: What to time, by name.
        rounds: How often, >= 1.
        warmups: Rounds before, which do not count.
    """
    names = list(actions)
    wall: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-warmups, rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            started, used = time.perf_counter(), time.process_time()
            actions[name]()
            used, started = time.process_time() - used, time.perf_counter() - started
            if turn >= 0:
                wall[name].append(started)
                cpu[name].append(used)
    return Pairs({"wall": wall, "cpu": cpu})
