"""The time of every method over that of standard training: epochs in turns, in one process.

Every method trains as `thresher fit` would have it, and records what the audit reads. One epoch of
each makes a turn, and is compared with the epoch of standard training of the same turn, in
processor time. Only the second half of the epochs counts: warm-ups take a quarter at most, and what
waits for a moment of its own has been made to go on by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from cells import Line
from paired import alternate
from tables import Lines, table

if TYPE_CHECKING:
    from thresher.job import Job

__all__ = ["CASES", "EPOCHS", "bar_of", "factor_lines", "factors_section"]

EPOCHS = 16
CLASSES, WRONG = 10, 0.2
BATCH_SIZE = 128
#: What is trained → rows, and the shape of one. Few images: a turn is to take half a minute.
CASES: dict[str, tuple[int, tuple[int, ...]]] = {
    "MLP 64–256–128–10, 20,000 rows": (20_000, (64,)),
    "small CNN, 640 images of 32×32×3": (640, (32, 32, 3)),
}
ONE_NETWORK, TWO_NETWORKS = 1.10, 2.2
#: No bar: they learn from further rows, skip steps, or look at every row several times.
WITHOUT_BAR = ("open set", "batch selection")
SEVERAL_PASSES = ("dividemix",)


def factor_lines(
    case: str, *, epochs: int = EPOCHS, methods: Sequence[str] | None = None
) -> list[Line]:
    """Time an epoch of every method.

    Args:
        case: A key of `CASES`.
        epochs: Of every method, >= 2; the second half is timed.
        methods: Names; None = all of them. Standard training comes first in any case.

    Returns:
        A line for every method: milliseconds of an epoch, and low quartile, median and high
        quartile of its time over that of standard training.
    """
    from thresher.noise import METHODS

    names = list(dict.fromkeys(("standard", *(methods or METHODS))))
    jobs = {name: planned(case, name, epochs) for name in names}
    actions = {name: partial(next, job.training.run()) for name, job in jobs.items()}
    timed = epochs // 2
    pairs = alternate(actions, timed, warmups=epochs - timed)
    return [
        {
            "method": name,
            "epoch_ms": round(1e3 * pairs.typical(name, "cpu"), 1),
            "over_standard": pairs.quotient(name, "standard", "cpu").to_json(),
            "turns": timed,
            "family": job.method.family,
            "networks": job.method.networks,
            "bar": bar_of(name, job.method.family, job.method.networks),
        }
        for name, job in jobs.items()
    ]


def planned(case: str, name: str, epochs: int) -> Job:
    """A training that is ready to begin."""
    from thresher.data import open_data
    from thresher.fitting import Silence
    from thresher.job import Job
    from thresher.noise import make_method
    from thresher.settings import FitSettings

    inputs, labels, foreign = data_of(case)
    needs = make_method(name).needs
    settings = FitSettings(
        method=name,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        device="cpu",
        # rows are held out only where the method asks for it
        validation=None if "held_out" in needs else 0.0,
    )
    samples = open_data((inputs, labels))
    auxiliary = open_data((foreign, labels)) if make_method(name).streams() else None
    return Job.plan(settings, samples, None, Silence(), audit=True, auxiliary=auxiliary)


def data_of(case: str) -> tuple[Any, Any, Any]:
    """Ten heaps in which a fifth of the labels is wrong, so that methods find what they look for.

    Returns:
        Inputs, given labels, and as many foreign inputs.
    """
    rows, shape = CASES[case]
    random = np.random.default_rng(0)
    true = np.arange(rows) % CLASSES
    wrong = random.random(rows) < WRONG
    given = np.where(wrong, (true + random.integers(1, CLASSES, rows)) % CLASSES, true)
    centres = random.normal(size=(CLASSES, *shape))
    inputs, foreign = random.normal(size=(2, rows, *shape))
    inputs += 0.5 * centres[true]
    if len(shape) == 1:
        return inputs.astype(np.float32), given, foreign.astype(np.float32)
    images = [np.clip(128 + 40 * each, 0, 255).astype(np.uint8) for each in (inputs, foreign)]
    return images[0], given, images[1]


def bar_of(name: str, family: str, networks: int) -> float | None:
    """What the factor may be; None for no bar."""
    if name == "standard" or family in WITHOUT_BAR or name in SEVERAL_PASSES:
        return None
    return ONE_NETWORK if networks == 1 else TWO_NETWORKS


# ---------------------------------------------------------------------- the tables
def factors_section(lines: Lines) -> str:
    """A table for every network, and which bars are missed."""
    turns = " and ".join(str(each) for each in lines.distinct("turns"))
    parts = [
        "## What a method costs\n",
        "`python benchmarks/noise.py factors`: processor time of an epoch over that of standard "
        f"training, one thread, epochs of all methods in turns; medians of {turns} turns with "
        "quartiles, from the second half of the epochs on. All record what the audit reads. Bars: "
        f"{ONE_NETWORK:.2f} for one network, {TWO_NETWORKS:.1f} for two; none for methods that "
        "learn from further rows, skip steps or look at every row several times.\n",
    ]
    for case in CASES:
        cell = lines.where(data=case)
        if cell.lines:
            parts += [f"### {case}\n", factor_table(cell), missed(cell)]
    return "\n".join(parts)


def factor_table(cell: Lines) -> str:
    """Methods in the order of the command line."""
    head = ["method", "family", "networks", "ms an epoch", "× standard", "bar", "met"]
    return table(head, (row(line) for line in cell.lines))


def row(line: Line) -> list[str]:
    low, middle, high = line["over_standard"]
    bar = line["bar"]
    return [
        line["method"],
        line["family"],
        str(line["networks"]),
        f"{line['epoch_ms']:,.0f}",
        f"{middle:.2f} ({low:.2f}–{high:.2f})",
        "–" if bar is None else f"≤ {bar:.2f}",
        "–" if bar is None else "**no**" if middle > bar else "yes",
    ]


def missed(cell: Lines) -> str:
    """The bars that are missed, the furthest first, and how many are met."""
    judged = [line for line in cell.lines if line["bar"] is not None]
    over = {
        line["method"]: line["over_standard"][1] - line["bar"]
        for line in judged
        if line["over_standard"][1] > line["bar"]
    }
    said = ", ".join(
        f"`{name}` by {over[name]:.2f}" for name in sorted(over, key=over.__getitem__, reverse=True)
    )
    return f"Met: {len(judged) - len(over)} of {len(judged)} bars. Missed: {said or 'none'}.\n"
