"""Benchmark of the samplers: what a batch costs to draw, at any number of samples.

    python benchmarks/sampling.py draw    the engine against NumPy's choice; 10⁸ samples; memory
    python benchmarks/sampling.py table   results/sampling.jsonl → results/sampling.md

Every call measures anew and appends its lines; the newest line of a case counts. Times are medians
of paired alternations (paired.py), of the processor, for one thread draws.
"""

from __future__ import annotations

import argparse
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cells import keep
from numpy.typing import NDArray
from paired import Pairs, alternate

from thresher.sampling.binned_thinning import BinnedThinning
from thresher.sampling.levels import levels_of

RESULTS = Path(__file__).parent / "results" / "sampling.jsonl"
PRESSURE = 100.0
BLOCK = 2**20


def skewed_levels(samples: int) -> NDArray[np.uint16]:
    """Nine samples of ten are hardly wanted, as late in a training; (N,) uint16."""
    levels = np.empty(samples, np.uint16)
    for start in range(0, samples, BLOCK):
        generator = np.random.default_rng(start)
        score = generator.random(min(BLOCK, samples - start))
        settled = generator.random(len(score)) < 0.9
        levels[start : start + BLOCK] = levels_of(np.where(settled, 1 - 0.1 * score, score))
    return levels


def drawing(samples: int, size: int) -> tuple[BinnedThinning, Callable[[], object]]:
    """An engine, and a call that draws a batch of it."""
    engine = BinnedThinning(skewed_levels(samples), pressure=PRESSURE)
    generator = np.random.default_rng(0)
    return engine, lambda: engine.draw(size, generator)


# ---------------------------------------------------------------------- draw
def draw(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Distinct batches: against NumPy, at 10⁸ samples, and at 10⁶ against 10⁵."""
    yield against_numpy(1_300_000, 256, options.rounds)
    yield growth(10**5, 10**6, 256, options.rounds)
    yield large(10**8, 1024, options.rounds)


def against_numpy(samples: int, size: int, rounds: int) -> dict[str, Any]:
    """A batch of the engine, with and without new scores for it, over one of Generator.choice."""
    engine, ours = drawing(samples, size)
    learner, _ = drawing(samples, size)
    probability = engine.probabilities(np.arange(samples))
    probability /= probability.sum()
    generator = np.random.default_rng(1)

    def learning() -> None:
        """Draw, and write the scores of the batch anew."""
        index = learner.draw(size, generator)
        score = generator.random(size)
        learner.update(index, levels_of(np.where(score < 0.9, 1 - 0.1 * score, score)))

    pairs = alternate(
        {
            "numpy": lambda: generator.choice(samples, size, replace=False, p=probability),
            "ours": times(ours, 20),
            "learning": times(learning, 20),
        },
        rounds,
        warmups=2,
    )
    milliseconds = {
        "numpy": 1e3 * pairs.typical("numpy", "cpu"),
        "ours": 1e3 / 20 * pairs.typical("ours", "cpu"),
        "learning": 1e3 / 20 * pairs.typical("learning", "cpu"),
    }
    return {
        "case": f"N = {samples:,}, b = {size}, pressure {PRESSURE:g}",
        "ms": rounded(milliseconds),
        "numpy/ours": quotient(pairs, "numpy", "ours", 20),
        "numpy/learning": quotient(pairs, "numpy", "learning", 20),
        "bar": 100,
    }


def growth(few: int, many: int, size: int, rounds: int) -> dict[str, Any]:
    """What ten times the samples cost, at equal batches."""
    small, large = drawing(few, size), drawing(many, size)
    pairs = alternate({"few": times(small[1], 50), "many": times(large[1], 50)}, rounds, warmups=2)
    milliseconds = {name: 1e3 / 50 * pairs.typical(name, "cpu") for name in ("few", "many")}
    return {
        "case": f"N = {many:,} over N = {few:,}, b = {size}",
        "ms": rounded(milliseconds),
        "many/few": quotient(pairs, "many", "few", 1),
        "bar": 3,
    }


def large(samples: int, size: int, rounds: int) -> dict[str, Any]:
    """Draws of very many samples, a rebuild, and memory."""
    levels = skewed_levels(samples)
    tracemalloc.start()
    engine = BinnedThinning(levels, pressure=PRESSURE)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    generator = np.random.default_rng(0)
    pairs = alternate({"ours": times(lambda: engine.draw(size, generator), 20)}, rounds, warmups=2)
    rebuilt = alternate({"rebuild": engine.rebuild}, 1, warmups=0)
    return {
        "case": f"N = {samples:,}, b = {size}, pressure {PRESSURE:g}",
        "ms": rounded({"ours": 1e3 / 20 * pairs.typical("ours", "cpu")}),
        "rebuild_s": round(rebuilt.typical("rebuild", "cpu"), 2),
        "bytes": {"kept": round(kept / samples, 2), "peak of a rebuild": round(peak / samples, 2)},
        "bar": {"ms": 5, "bytes": 7},
    }


def times(action: Callable[[], object], count: int) -> Callable[[], object]:
    """An action so many times, to be longer than the clock's tick."""

    def repeated() -> None:
        for _ in range(count):
            action()

    return repeated


def quotient(pairs: Pairs, above: str, below: str, times_below: int) -> list[float]:
    """Low, median and high of one action over another one that was done so many times."""
    return [round(times_below * each, 2) for each in pairs.quotient(above, below, "cpu").to_json()]


def rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


# ---------------------------------------------------------------------- the command
TASKS: dict[str, Callable[[argparse.Namespace], Iterator[dict[str, Any]]]] = {"draw": draw}


def main() -> int:
    """Measure, print and keep; or write the table."""
    options = parse()
    if options.task == "table":
        from sampling_table import write_table

        write_table(options.results)
        return 0
    machine = {"threads": 1, "numpy": np.__version__}
    keep(options.task, TASKS[options.task](options), machine, options.results)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=[*TASKS, "table"])
    parser.add_argument("--rounds", type=int, default=30, help="paired repetitions (30)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSONL file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
