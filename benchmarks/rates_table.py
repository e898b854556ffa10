"""Estimated noise rates → a section of results/noise.md: how far off, by kind of noise, and who.

An error is an estimate minus the true rate, a mean over seeds. Methods decide by an estimate from
the end of a warm-up of a quarter on, which is epoch 15 of 60: an estimator is judged by the
greater of its errors at epochs 10 and 20.
"""

from __future__ import annotations

from statistics import mean

from tables import Bar, Lines, bars, percent, seeds, table

__all__ = ["rates_section"]

JUDGED = ("10", "20")  # epochs
MOST = 0.1  # error that is still met
GROUPS = {"right labels": "none", "symmetric noise": "symmetric", "pair noise": "pair"}
ALL = "all of these"

Kind = tuple[str, float]
Errors = dict[str, dict[Kind, float]]  # estimator → kind of noise → error


def rates_section(lines: Lines) -> str:
    """Errors by kind of noise, who is closest and where each fails, bars, and every estimate."""
    epochs = list(lines.lines[0]["estimates"])
    names = list(lines.lines[0]["estimates"][epochs[0]])
    kinds = sorted(
        {(line["noise"], line["rate"]) for line in lines.lines},
        key=lambda kind: (kind[0] != "none", kind),
    )
    errors = {name: {kind: error(lines, name, kind) for kind in kinds} for name in names}
    rows = [
        [name, *(points(errors[name][kind]) for kind in kinds), f"{100 * worst(errors[name]):.1f}"]
        for name in names
    ]
    checks = [
        Bar(f"{name}: largest error at epochs 10 and 20", worst(errors[name]), most=MOST)
        for name in names
    ]
    detail = [
        [title(kind), name, *(percent(at(lines, name, kind, epoch)) for epoch in epochs)]
        for kind in kinds
        for name in names
    ]
    return (
        "## Estimated noise rate\n\n"
        "`python benchmarks/noise.py rates`: all that `--noise-rate NAME` can be, along one "
        "standard training on the toy, and three that no method asks: *the audit* of a run that "
        "ended there, *argmax* of the probabilities that it averages, and the Gaussian mixture "
        "*unchecked*, believed even where it is one heap. Those by cross-validation look at a "
        "second training, without a tenth of the rows. Estimate minus true rate in points, mean "
        "over seeds; of epochs 10 and 20, between which methods begin to decide, the greater one. "
        f"Further down every estimate, {seeds(lines)}.\n\n"
        + table(["estimator", *map(title, kinds), "largest"], rows)
        + "\n"
        + verdict(errors)
        + "\n"
        + bars(checks)
        + "\nThe estimates, in per cent:\n\n"
        + table(["noise", "estimator", *(f"epoch {epoch}" for epoch in epochs)], detail)
    )


def at(lines: Lines, name: str, kind: Kind, epoch: str) -> list[float]:
    """The estimates of an epoch, one a seed."""
    cell = lines.where(noise=kind[0], rate=kind[1]).lines
    return [line["estimates"][epoch][name] for line in cell if name in line["estimates"][epoch]]


def error(lines: Lines, name: str, kind: Kind) -> float:
    """The greater of the mean errors at the epochs that are judged, with its sign."""
    found = [mean(at(lines, name, kind, epoch)) - kind[1] for epoch in JUDGED]
    return max(found, key=abs)


def worst(errors: dict[Kind, float]) -> float:
    return max(abs(each) for each in errors.values())


def title(kind: Kind) -> str:
    return "clean" if kind[0] == "none" else f"{kind[0]} {100 * kind[1]:.0f} %"


def points(value: float) -> str:
    """An error in points; one that fails is bold."""
    text = f"{100 * value:+.1f}"
    return f"**{text}**" if abs(value) > MOST else text


def verdict(errors: Errors) -> str:
    """Who is closest, by kind of noise and over all of them, and where each fails."""
    kinds = list(next(iter(errors.values())))
    closest = []
    for words, noise in (*GROUPS.items(), (ALL, None)):
        own = [kind for kind in kinds if noise in (None, kind[0])]
        if own:
            furthest = {name: max(abs(of[kind]) for kind in own) for name, of in errors.items()}
            best = min(furthest, key=furthest.__getitem__)
            closest.append(f"{words} `{best}` ({100 * furthest[best]:.1f} points off at most)")
    failing = {
        name: [f"{title(kind)} ({100 * value:+.1f})" for kind, value in of.items()
               if abs(value) > MOST]
        for name, of in errors.items()
    }  # fmt: skip
    fine = [f"`{name}`" for name, where in failing.items() if not where]
    return (
        f"Closest: {'; '.join(closest)}. Within {100 * MOST:.0f} points everywhere: "
        f"{', '.join(fine) or 'none'}. Further off:\n\n"
        + "\n".join(f"- `{name}`: {', '.join(where)}" for name, where in failing.items() if where)
        + "\n"
    )
