"""Binned thinning: exact weighted draws in O(batch) from any number of samples.

    levels → rebuild: samples counting-sorted by bin, each bin with the weight of its best level
    draw     bin ∝ count · envelope → uniform slot of it → accept with weight / envelope
    update   the level is written; a sample that outgrew its bin moves to the overflow

One trial hits a given slot with probability envelope / mass and accepts it with weight / envelope,
so a sample comes with weight / mass whatever bin it lies in: **exact**, though bins go stale
between rebuilds. A sample whose weight fell stays where it is and is refused more often; one whose
weight rose above its bin's envelope gets a slot in an overflow bin, and its old slot is dead (it
may rise again, to a better overflow bin, never back). Every sample has exactly one live slot. When
fewer than half of the trials would be accepted (known beforehand, for all sums are kept exactly),
or too many samples have outgrown their bins, these are made anew.

    kind of bin   members                                    envelope
    0 … 63        known scores, 1,024 levels each            the weight of the best level at rebuild
    unknown       no score yet                               the weight of the median known level
    ineligible    flagged by a noise method or held out      their weight: revisit × mean
    8 overflow    outgrew their bin since the rebuild        the weight of the best of 8,192 levels
    mixed         every eligible sample once more            its share of the uniform mix

A batch of distinct samples is a successive sample: draws go on, and samples that are in the batch
already are passed over. Where that would take many turns, the same law comes from an exponential
race, the smallest of Exp(1) / weight, equal to the largest of ln(weight) + Gumbel noise.

Source: thinning is rejection sampling (von Neumann, 1951) from a step function; weighted sampling
without replacement by exponential keys follows Efraimidis and Spirakis (Information Processing
Letters, 2006). The bins, the overflow and the exact sums are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.errors import ParameterError
from thresher.sampling.levels import (
    LEVELS,
    UNIT,
    UNKNOWN,
    check_pressure,
    weight_table,
)

__all__ = ["BinnedThinning", "permuted"]

LEVEL_BITS = 10  # levels of a bin, as a power of two
NOT_KNOWN, INELIGIBLE, OVERFLOW, MIXED = 64, 65, 66, 74
SLOTTED = 66  # bins whose slots lie in the sorted order
SPILL_BITS = 13  # levels of an overflow bin, as a power of two
BINS = 75
FEW = 4096  # samples among which a race is as cheap as anything
BLOCK = 2**20  # rows sorted at a time: bounds what a rebuild needs beside the result
MOST_OVERFLOW = 16  # rebuild when one sample of so many has outgrown its bin


class _Trial(NamedTuple):
    """What is equal for all trials between two changes."""

    bounds: NDArray[np.float64]  # (BINS,) running sums of count × envelope
    last: int  # the last bin that holds anything
    acceptance: float
    heaviest: float  # a bound of the largest weight


class BinnedThinning:
    """Samples with weights pressure^(-score), drawn exactly, updated in O(1) each.

    Memory: 7 bytes a sample (level 2, order 4, bin 1; order takes 8 from 2³¹ samples on), up to 1/3
    byte more for the overflow, and 1 MiB for tables over the levels. Cost: a draw of b samples and
    an update of b samples O(b); a new pressure O(levels); a rebuild O(N).

    Args:
        levels: (N,) uint16 as `levels_of` makes them; `UNKNOWN` weighs as the median known one.
        pressure: Weight of score 0 over weight of score 1, in [1, 1e6].
        eligible: (N,) bool, None = all.
        revisit: How often an ineligible sample is drawn, over the mean of the eligible, >= 0.
        uniform_mix: Share of the probability that is spread evenly over the eligible, in [0, 1).

    Raises:
        ParameterError: an argument is out of range, or no sample is eligible.

    Attributes:
        proposals: Trials of all draws so far: what drawing costs.
        rebuilds: How often the bins were made anew.

    >>> from thresher.sampling.levels import levels_of
    >>> engine = BinnedThinning(levels_of(np.array([0.0, 0.5, 1.0])), pressure=4.0)
    >>> engine.probabilities(np.arange(3)).round(4).tolist()
    [0.5714, 0.2857, 0.1429]
    >>> engine.draw(3, np.random.default_rng(0), distinct=True).tolist()
    [2, 0, 1]
    """

    def __init__(
        self,
        levels: NDArray[np.uint16],
        *,
        pressure: float = 1.0,
        eligible: NDArray[np.bool_] | None = None,
        revisit: float = 1.0,
        uniform_mix: float = 0.0,
    ) -> None:
        _check(levels, revisit, uniform_mix)
        self.samples = len(levels)
        self.pressure = check_pressure(pressure)
        self.revisit, self.uniform_mix = revisit, uniform_mix
        self.proposals = self.rebuilds = 0
        self._level = levels.copy()
        self._bin = np.zeros(self.samples, np.uint8)
        wide = np.int64 if self.samples >= 2**31 else np.int32
        self._order: NDArray[Any] = np.empty(self.samples, wide)
        self._overflow: NDArray[Any] = np.empty(0, wide)  # a run of slots for each overflow bin
        self._first = np.zeros(BINS, np.int64)  # where a bin's slots begin, in either of the two
        self._size = np.zeros(BINS, np.int64)
        self._room = np.zeros(BINS, np.int64)
        self._weight = weight_table(pressure)
        self._trial: _Trial | None = None
        self.rebuild(eligible=np.ones(self.samples, bool) if eligible is None else eligible)

    # ------------------------------------------------------------------ what is known exactly
    @property
    def eligible_count(self) -> int:
        """Samples that are not flagged."""
        return self.samples - int(self._size[INELIGIBLE])

    @property
    def overflow_count(self) -> int:
        """Slots of samples that have outgrown a bin since the last rebuild."""
        return int(self._size[OVERFLOW:MIXED].sum())

    @property
    def mean_weight(self) -> float:
        """Mean weight of the eligible samples, the uniform mix left out."""
        return self._total / UNIT / self.eligible_count

    @property
    def acceptance(self) -> float:
        """Share of trials that succeed."""
        return self._present_trial().acceptance

    def weights(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Unnormalised weights: pressure^(-score), plus the uniform mix; (n,) float64 >= 0."""
        weight = self._weight[self._level[index]] / UNIT + self._mix()
        weight[self._bin[index] == INELIGIBLE] = self._ineligible_weight()
        return weight

    def probabilities(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probability of each sample in a single draw, (n,) float64."""
        return self.weights(index) / self._whole()

    def whole_weights(self) -> NDArray[np.int64]:
        """All weights in whole units, as `systematic_rows` takes them: (N,) int64 >= 0. O(N)."""
        weight = self._weight[self._level]
        weight += round(self._mix() * UNIT)
        weight[self._bin == INELIGIBLE] = round(self._ineligible_weight() * UNIT)
        return weight

    def digest(self) -> str:
        """A text that differs between engines that have come apart: sums and 1,024 levels."""
        probed = self._level[:: max(1, self.samples // 1024)]
        return f"{self._total} {self.overflow_count} {probed.tobytes().hex()}"

    def spectrum(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The distribution in O(levels): probabilities that occur, and of how many samples each."""
        weight = np.append(self._weight / UNIT + self._mix(), self._ineligible_weight())
        count = np.append(self._count, self._size[INELIGIBLE])
        there = (count > 0) & (weight > 0)
        return weight[there] / self._whole(), count[there]

    def effective_sample_size(self) -> float:
        """1 / Σ P²: how many equally likely samples the distribution is worth, in [1, N]."""
        probability, count = self.spectrum()
        return float(1 / (count * probability**2).sum())

    def _mix(self) -> float:
        """What the uniform mix adds to every eligible sample's weight."""
        return self.uniform_mix / (1 - self.uniform_mix) * self.mean_weight

    def _ineligible_weight(self) -> float:
        return self.revisit * self.mean_weight / (1 - self.uniform_mix)

    def _whole(self) -> float:
        """The sum of all weights."""
        eligible = self._total / UNIT / (1 - self.uniform_mix)
        return eligible + int(self._size[INELIGIBLE]) * self._ineligible_weight()

    def _present_trial(self) -> _Trial:
        """What trials look like until the next change."""
        if self._trial is None:
            self._envelope[INELIGIBLE] = self._ineligible_weight()
            self._envelope[MIXED] = self._mix()
            masses = self._size * self._envelope
            there = np.flatnonzero(masses)
            bounds = np.cumsum(masses)
            heaviest = self._envelope[there[there != MIXED]].max() + self._mix()
            self._trial = _Trial(
                bounds, int(there[-1]), self._whole() / float(bounds[-1]), float(heaviest)
            )
        return self._trial

    # ------------------------------------------------------------------ drawing
    def draw(
        self, count: int, generator: np.random.Generator, *, distinct: bool = True
    ) -> NDArray[np.int64]:
        """Draw samples.

        Args:
            count: How many, >= 0.
            generator: The only source of randomness.
            distinct: No sample twice (successive sampling; the earlier a sample comes, the likelier
                it is a heavy one); otherwise independent draws.

        Returns:
            (count,) int64 in the order drawn.

        Raises:
            ParameterError: more distinct samples are asked for than can be drawn.
        """
        if not distinct:
            return self._accepted(count, generator)[:count]
        drawable = self.samples if self.revisit > 0 else self.eligible_count
        if count > drawable:
            raise ParameterError(
                f"{count} distinct samples are asked for, {drawable} can be drawn.",
                "Ask for smaller batches, or draw with replacement.",
            )
        if self._crowded(count):
            return self._race(count, generator)
        chosen = np.empty(0, np.int64)
        while len(chosen) < count:
            fresh = self._accepted(count - len(chosen), generator)
            chosen = _first_occurrences(np.concatenate([chosen, fresh]))
        return chosen[:count]

    def draw_several(
        self, sizes: Sequence[int], generator: np.random.Generator, *, distinct: bool
    ) -> list[NDArray[np.int64]]:
        """Draw several batches by the same weights, in little more time than one.

        Args:
            sizes: Of the batches, each >= 0.
            generator: The only source of randomness.
            distinct: As of `draw`, within every batch.

        Raises:
            ParameterError: as `draw`.
        """
        largest = max(sizes, default=0)
        if len(sizes) == 1 or not distinct or self._crowded(largest):
            return [self.draw(size, generator, distinct=distinct) for size in sizes]
        *found, spare = np.split(self._accepted(sum(sizes), generator), np.cumsum(sizes))
        for number in self._with_repeats(found):
            batch, size = _first_occurrences(found[number]), sizes[number]
            while len(batch) < size:
                missing = size - len(batch)
                # draws are independent: those that nobody needed are as good as fresh ones
                further, spare = spare[:missing], spare[missing:]
                if not len(further):
                    further = self._accepted(missing, generator)
                batch = _first_occurrences(np.concatenate([batch, further]))[:size]
            found[number] = batch
        return found

    def _with_repeats(self, batches: Sequence[NDArray[np.int64]]) -> list[int]:
        """Which batches name a sample twice."""
        number = np.repeat(np.arange(len(batches)), [len(each) for each in batches])
        keys = np.sort(number * self.samples + np.concatenate(batches))
        again: list[int] = np.unique(keys[1:][keys[1:] == keys[:-1]] // self.samples).tolist()
        return again

    def _crowded(self, count: int) -> bool:
        """Whether so many distinct samples are drawn sooner by a race of all."""
        return self.samples < FEW or count > self._whole() / (2 * self._present_trial().heaviest)

    def _accepted(self, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """At least `count` independent draws."""
        acceptance = self._present_trial().acceptance
        found: list[NDArray[np.int64]] = []
        missing = count
        while missing > 0:
            found.append(self._attempt(int(1.05 * missing / acceptance) + 16, generator))
            missing -= len(found[-1])
        if len(found) == 1:
            return found[0]
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def _attempt(self, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Propose `count` slots; return the samples of those that are accepted, in order."""
        self.proposals += count
        trial = self._present_trial()
        choice, place, chance = generator.random((3, count))
        chosen = np.searchsorted(trial.bounds, choice * trial.bounds[-1], side="right")
        # rounding may reach the whole mass, which belongs to the last bin that holds anything
        np.minimum(chosen, trial.last, out=chosen)
        slot = (place * self._size[chosen]).astype(np.int64)
        slot += self._first[chosen]
        index: NDArray[np.int64]
        if self.overflow_count:
            beyond = (chosen >= OVERFLOW) & (chosen < MIXED)
            index = self._order[np.where(beyond, 0, slot)].astype(np.int64)
            index[beyond] = self._overflow[slot[beyond]]
        else:
            index = self._order[slot].astype(np.int64)
        chance *= self._envelope[chosen] * UNIT
        live = self._bin[index] == chosen
        accept = live & (chance < self._weight[self._level[index]])
        # these two are accepted whatever the level: their envelope is their weight
        if self._size[INELIGIBLE]:
            accept |= live & (chosen == INELIGIBLE)
        if self.uniform_mix:
            accept |= chosen == MIXED
        accepted: NDArray[np.int64] = index[accept]
        return accepted

    def _race(self, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """The `count` smallest of Exp(1) / weight: a successive sample in O(N)."""
        weight = self._weight[self._level] / UNIT + self._mix()
        weight[self._bin == INELIGIBLE] = self._ineligible_weight()
        # its logarithms may differ in the last bit between machines: that changes an order only
        # where two arrivals agree to that bit
        arrival = generator.standard_exponential(self.samples)
        with np.errstate(divide="ignore"):
            arrival /= weight
        first = np.argpartition(arrival, count - 1)[:count] if count else np.empty(0, np.int64)
        batch: NDArray[np.int64] = first[np.argsort(arrival[first], kind="stable")]
        return batch

    # ------------------------------------------------------------------ changing
    def update(self, index: NDArray[np.int64], levels: NDArray[np.uint16]) -> None:
        """Write new levels of some samples.

        Args:
            index: (n,) int64; of a sample that stands there twice the last level counts.
            levels: (n,) uint16; `UNKNOWN` leaves a sample as it is.
        """
        known = levels != UNKNOWN
        index, levels = index[known], levels[known]
        last = len(index) - 1 - np.unique(index[::-1], return_index=True)[1]
        index, levels = index[last], levels[last]
        here = self._bin[index]
        counted = here != INELIGIBLE
        before, after = self._level[index[counted]], levels[counted]
        np.subtract.at(self._count, before, 1)
        np.add.at(self._count, after, 1)
        self._total += int(self._weight[after].sum() - self._weight[before].sum())
        self._level[index] = levels
        risen = levels < self._best[here]
        if risen.any():
            self._append(index[risen], OVERFLOW + (levels[risen] >> SPILL_BITS).astype(np.int64))
        self._trial = None
        if self.acceptance < 0.5 or self.overflow_count > max(64, self.samples // MOST_OVERFLOW):
            self.rebuild()

    def _append(self, index: NDArray[np.int64], bins: NDArray[np.int64]) -> None:
        """Give samples slots in overflow bins."""
        order = np.argsort(bins, kind="stable")
        index, bins = index[order], bins[order]
        added = np.bincount(bins, minlength=BINS)
        if (self._size + added > self._room).any():
            self._make_room(self._size + added)
        within = np.arange(len(bins)) - (np.cumsum(added) - added)[bins]
        self._overflow[self._first[bins] + self._size[bins] + within] = index
        self._bin[index] = bins
        self._size += added

    def _make_room(self, needed: NDArray[np.int64]) -> None:
        """Lay the overflow bins out with room for so many slots, and a fourth more."""
        room = np.where(needed > self._room, 16 + needed * 5 // 4, self._room)
        first = self._first.copy()
        first[OVERFLOW:MIXED] = np.cumsum(room[OVERFLOW:MIXED]) - room[OVERFLOW:MIXED]
        overflow = np.empty(int(room[OVERFLOW:MIXED].sum()), self._order.dtype)
        for each in range(OVERFLOW, MIXED):
            old, new, size = self._first[each], first[each], self._size[each]
            overflow[new : new + size] = self._overflow[old : old + size]
        self._first, self._room, self._overflow = first, room, overflow

    def set_pressure(self, pressure: float) -> None:
        """Change the pressure; nothing that grows with the number of samples is touched.

        Raises:
            ParameterError: pressure out of range.
        """
        if pressure != self.pressure:
            self.pressure = check_pressure(pressure)
            self._weight = weight_table(pressure)
            self._weigh()

    def rebuild(
        self,
        levels: NDArray[np.uint16] | None = None,
        eligible: NDArray[np.bool_] | None = None,
    ) -> None:
        """Make the bins anew. O(N).

        Args:
            levels: (N,) uint16, the levels of all samples; None = as they are.
            eligible: (N,) bool; None = as they are.

        Raises:
            ParameterError: a length differs from N, or no sample is eligible.
        """
        for given in (levels, eligible):
            if given is not None and len(given) != self.samples:
                raise ParameterError(
                    f"The engine was started with {self.samples} samples, got {len(given)} values.",
                    "Pass one value for every sample.",
                )
        if eligible is not None and not eligible.any():
            raise ParameterError(
                "No sample is eligible.", "Keep at least one: the others are weighed by their mean."
            )
        if levels is not None:
            self._level[:] = levels
        self._count = np.zeros(LEVELS, np.int64)  # of the eligible samples at every level
        for start in range(0, self.samples, BLOCK):
            part = slice(start, start + BLOCK)
            level = self._level[part]
            keep = self._bin[part] != INELIGIBLE if eligible is None else eligible[part]
            self._count += np.bincount(level[keep], minlength=LEVELS).astype(np.int64)
            bins = (level >> LEVEL_BITS).astype(np.uint8)
            bins[level == UNKNOWN] = NOT_KNOWN
            bins[~keep] = INELIGIBLE
            self._bin[part] = bins
        self._median = _median_level(self._count)
        self._best = np.zeros(BINS, np.uint16)  # the best level that a bin has or may have
        self._best[OVERFLOW:MIXED] = np.arange(MIXED - OVERFLOW) << SPILL_BITS
        levels_there = np.flatnonzero(self._count[:UNKNOWN])
        where, which = np.unique(levels_there >> LEVEL_BITS, return_index=True)
        self._best[where] = levels_there[which]
        self._best[NOT_KNOWN] = self._median
        self._lay_out(self._bin)
        self.rebuilds += 1
        self._weigh()

    def _lay_out(self, bins: NDArray[np.uint8]) -> None:
        """Sort the samples by bin into `_order`; the overflow is empty after it."""
        self._size = np.zeros(BINS, np.int64)
        for start in range(0, self.samples, BLOCK):
            self._size += np.bincount(bins[start : start + BLOCK], minlength=BINS)
        self._first = np.cumsum(self._size) - self._size
        free = self._first.copy()
        for start in range(0, self.samples, BLOCK):
            block = bins[start : start + BLOCK]
            order = np.argsort(block, kind="stable")  # of bytes: a radix sort
            sizes = np.bincount(block, minlength=BINS)
            stops = np.cumsum(sizes)
            for each in np.flatnonzero(sizes):
                members = order[stops[each] - sizes[each] : stops[each]]
                self._order[free[each] : free[each] + sizes[each]] = members
                self._order[free[each] : free[each] + sizes[each]] += start
            free += sizes
        self._room = np.full(BINS, self.samples, np.int64)  # only overflow bins grow
        self._room[OVERFLOW:MIXED] = self._first[OVERFLOW:MIXED] = 0
        self._overflow = np.empty(0, self._order.dtype)
        # the eligible samples come before the ineligible ones, so that the mix is a run from 0
        self._size[MIXED], self._first[MIXED] = self.samples - self._size[INELIGIBLE], 0

    def _weigh(self) -> None:
        """What depends on the pressure: envelopes, and the sum of the eligible weights."""
        self._weight[UNKNOWN] = self._weight[self._median]
        self._envelope = self._weight[self._best] / UNIT
        self._total = int((self._count * self._weight).sum())
        self._trial = None

    # ------------------------------------------------------------------ state
    def state_dict(self) -> dict[str, Any]:
        """Levels, bins and overflow: what the draws to come depend on. Arrays are copies."""
        slots = np.empty(self.samples, np.uint8)  # the bin in whose run each sample's slot lies
        for each in np.flatnonzero(self._size[:SLOTTED]):
            first = self._first[each]
            slots[self._order[first : first + self._size[each]]] = each
        return {
            "pressure": self.pressure,
            "levels": self._level.copy(),
            "slots": slots,
            "best": self._best.copy(),
            "median": self._median,
            "overflow": np.concatenate(
                [
                    self._overflow[self._first[each] : self._first[each] + self._size[each]]
                    for each in range(OVERFLOW, MIXED)
                ]
            ).astype(np.int64),
            "overflow_sizes": self._size[OVERFLOW:MIXED].copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`: the same generators draw the same samples.

        Raises:
            ParameterError: the state is of another number of samples.
        """
        if len(state["levels"]) != self.samples:
            raise ParameterError(
                f"The stored state has {len(state['levels'])} samples, this engine {self.samples}.",
                "Resume with the data that the run was started with.",
            )
        self.pressure = float(state["pressure"])
        self._weight = weight_table(self.pressure)
        self._level[:] = state["levels"]
        self._bin[:] = state["slots"]
        self._best, self._median = state["best"].copy(), int(state["median"])
        self._lay_out(self._bin)
        eligible = self._order[: self.eligible_count]
        self._count = np.zeros(LEVELS, np.int64)
        for start in range(0, len(eligible), BLOCK):
            members = eligible[start : start + BLOCK]
            self._count += np.bincount(self._level[members], minlength=LEVELS)
        sizes = state["overflow_sizes"]
        spilled = np.split(state["overflow"], np.cumsum(sizes)[:-1])
        # from the worst to the best: a sample's live slot is that of the best bin it rose to
        for number in reversed(range(len(sizes))):
            self._append(spilled[number], np.full(sizes[number], OVERFLOW + number))
        self._weigh()


def _check(levels: NDArray[Any], revisit: float, uniform_mix: float) -> None:
    if levels.dtype != np.uint16 or levels.ndim != 1 or not len(levels):
        raise ParameterError(
            f"levels must be (N,) uint16 with N >= 1, got {levels.shape} {levels.dtype}.",
            "Make them of scores with levels_of.",
        )
    if not 0 <= revisit < np.inf:
        raise ParameterError(
            f"revisit must be at least 0, got {revisit:g}.", "0 never draws ineligible samples."
        )
    if not 0 <= uniform_mix < 1:
        raise ParameterError(
            f"uniform_mix must be in [0, 1), got {uniform_mix:g}.",
            "For uniform draws alone, set the pressure to 1.",
        )


def _median_level(count: NDArray[np.int64]) -> int:
    """The lower median of the known levels; 0 where none is known."""
    below = np.cumsum(count[:UNKNOWN])
    return int(np.searchsorted(below, (int(below[-1]) + 1) // 2)) if below[-1] else 0


def permuted(
    batches: Sequence[NDArray[np.int64]], generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """The same batches, each in an order that is as likely as any other."""
    sizes = [len(each) for each in batches]
    number = np.repeat(np.arange(len(batches)), sizes)
    order = np.argsort(number + generator.random(len(number)))
    return np.split(np.concatenate(batches)[order], np.cumsum(sizes)[:-1])


def _first_occurrences(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every value once, in order of first appearance."""
    ordered = np.sort(index)
    if not (ordered[1:] == ordered[:-1]).any():
        return index
    return index[np.sort(np.unique(index, return_index=True)[1])]
