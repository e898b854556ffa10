"""results/noise.jsonl → results/noise.md: means over seeds, bars, and where we lose.

Every figure is a mean over seeds with its smallest and largest value, in per cent unless it says
otherwise. A bar is a threshold that was set before the run, from earlier measurements on the same
data; it is judged on the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean

from cells import Line
from cleanlab_workflow import SCORES
from factors import factors_section
from rates_table import rates_section
from tables import Bar, Lines, Values, bars, difference, greatest, percent, plain, seeds, table
from toy_reference import reference_section

__all__ = ["write_tables"]

PEER = "cleanlab 5-fold"
FIXED, EARLY = "fixed epochs", "early-stopped"
WORTH_SAYING = 0.005  # by which auto is behind another of our methods

#: Rows and sections appear in this order, whichever cell was done first.
ORDER = {
    "data": (
        "toy",
        "digits",
        "letter",
        "fashion",
        "cifar",
        "magic",
        "segment",
        "hausa",
        "sign",
        "gtsrb",
    ),
    "noise": (
        "symmetric",
        "pair",
        "symmetric 20 %",
        "class-dependent 20 %",
        "instance-dependent 30 %",
        "pair 30 %",
        "worse",
        "aggre",
        "symmetric 40 %",
        "symmetric 30 %",
        "class-dependent 30 %",
        "real",
        "none",
    ),
    "method": (
        "standard",
        "auto",
        "elr",
        "mae",
        "gce",
        "sce",
        "active-passive",
        "forward",
        "forward, estimated",
        "backward",
        "backward, estimated",
        "s-model",
        "volminnet",
        "active-bias",
        "decoupling",
        "co-teaching",
        "co-teaching, estimated",
        "co-teaching-plus",
        "co-teaching-plus, estimated",
        "selfie",
        "selfie, estimated",
        "jocor",
        "jocor, agreement .9",
        "jocor, estimated",
        "itlm",
        "itlm, estimated",
        "morph",
        "morph, estimated",
        "morph, mixture",
        "dividemix",
        "pes",
        "prestopping",
        "prestopping, estimated",
        "prestopping-plus",
        "prestopping-plus, estimated",
        "label-smoothing",
        "bootstrap",
        "bootstrap, soft",
        "mixup",
        PEER,
    ),
}


# ---------------------------------------------------------------------- reference toy
def toy_section(lines: Lines) -> str:
    """Accuracy of every method on the reference toy."""
    shown = [
        (schedule, noise) for schedule in ("steps", "cosine") for noise in ("symmetric", "pair")
    ]
    head = ["method"]
    for schedule, noise in shown:
        head += [f"{noise} 40 %, {schedule}: best", "last"]
    rows = []
    for method in lines.distinct("method"):
        row = [method]
        for schedule, noise in shown:
            cell = lines.where(method=method, schedule=schedule, noise=noise)
            row += [percent(cell.values("best")), percent(cell.values("last"))]
        rows.append(row)

    def last(method: str, noise: str = "symmetric") -> float | None:
        return lines.where(method=method, schedule="steps", noise=noise).mean("last")

    symmetric = lines.where(schedule="steps", noise="symmetric")
    standard = symmetric.where(method="standard")
    checks = [
        Bar("symmetric 40 %, standard: best minus last",
            difference(standard.mean("best"), standard.mean("last")), least=0.08),
        *(Bar(f"symmetric 40 %, {method}: last minus standard's last",
              difference(last(method), last("standard")), least=0.10)
          for method in ("gce", "elr", "co-teaching", "selfie", "auto")),
        Bar("symmetric 40 %, selfie: refurbished labels that are right",
            symmetric.where(method="selfie").mean("refurbished_right"), least=0.94),
        Bar("clean, auto: last minus standard's last",
            difference(last("auto", "none"), last("standard", "none")), least=-0.015),
    ]  # fmt: skip
    clean = [
        [method, *(percent(lines.where(method=method, schedule=s, noise="none").values("last"))
                   for s in ("steps", "cosine"))]
        for method in lines.distinct("method")
    ]  # fmt: skip
    lost = [
        f"- {noise} 40 %, {schedule}: `auto` ends {100 * behind:.1f} points below the best method, "
        f"{best}."
        for schedule, noise in shown
        if (found := behind_the_best(lines.where(schedule=schedule, noise=noise))) is not None
        for best, behind in [found]
        if behind >= WORTH_SAYING
    ]
    return (
        "## Reference toy: test accuracy\n\n"
        "`python benchmarks/noise.py toy`: 4 000 samples, ten classes, 40 % wrong labels, 60 "
        "epochs (tests/toy.py). *steps*: the toy's own schedule in a user's loop; *cosine*: the "
        "library's loop. Methods that take a noise rate are told the true one, `forward` and "
        f"`backward` the true matrix, unless they estimate it. In per cent, {seeds(lines)}.\n\n"
        + table(head, rows)
        + "\nOn clean labels, last:\n\n"
        + table(["method", "steps", "cosine"], [row for row in clean if row[1] != "–"])
        + "\n"
        + bars(checks)
        + ("\nWhere `auto` loses:\n\n" + "\n".join(lost) + "\n" if lost else "")
    )


def behind_the_best(lines: Lines) -> tuple[str, float] | None:
    """The method with the best last accuracy, and how far auto is behind it."""
    means = {method: lines.where(method=method).mean("last") for method in lines.distinct("method")}
    known = {method: value for method, value in means.items() if value is not None}
    if "auto" not in known:
        return None
    best = max(known, key=known.__getitem__)
    return None if best == "auto" else (best, known[best] - known["auto"])


# ---------------------------------------------------------------------- the demo
def digits_section(lines: Lines) -> str:
    """The demo: standard training against `thresher fit`."""
    figures: list[tuple[str, Callable[[Lines], str]]] = [
        ("wrong labels", lambda cell: percent(cell.values("noise_rate"))),
        ("test accuracy, standard", lambda cell: percent(cell.values("standard_test_accuracy"))),
        ("test accuracy, auto", lambda cell: percent(cell.values("test_accuracy"))),
        ("average precision of the audit", lambda cell: percent(cell.values("average_precision"))),
        ("noise rate found", lambda cell: percent(cell.values("noise_rate_estimate"))),
        ("flagged, of all", lambda cell: percent(flagged(cell))),
        ("flagged that are wrong", lambda cell: percent(noisy_only(cell, "precision"))),
        ("wrong that are flagged", lambda cell: percent(noisy_only(cell, "recall"))),
        (
            "seconds with the audit; a process's first run is the slowest",
            lambda cell: plain(cell.values("seconds"), 1),
        ),
    ]

    def flagged(cell: Lines) -> Values:
        return [line["n_label_issues"] / line["n"] for line in cell.lines]

    def noisy_only(cell: Lines, figure: str) -> Values:
        return cell.values(figure) if cell.mean("noise_rate") else []

    noisy, clean = lines.where(rate=0.4), lines.where(rate=0.0)
    rows = [[name, show(noisy), show(clean)] for name, show in figures]
    return (
        "## The demo: digits\n\n"
        "`python benchmarks/noise.py digits`: 1 347 handwritten digits, accuracy on clean test "
        "labels. What `auto` does when it fires was chosen on these data. "
        f"In per cent, {seeds(lines)}.\n\n" + table(["", "40 % symmetric noise", "clean"], rows)
    )


# ---------------------------------------------------------------------- methods, audit, peer
FIGURES: list[tuple[str, str, Callable[[Values], str]]] = [
    ("AP", "ap", percent),
    ("AUROC", "auroc", percent),
    ("precision", "precision", percent),
    ("recall", "recall", percent),
    ("F1", "f1", percent),
    ("suggestion right", "suggestion_accuracy", percent),
    ("test accuracy", "test_accuracy", percent),
]


def problem_rows(lines: Lines) -> Iterable[tuple[str, Lines]]:
    """Our methods, then the peer's variants."""
    for method in lines.distinct("method"):
        if method != PEER:
            yield method, lines.where(method=method)
    for variant in (FIXED, EARLY):
        peer = lines.where(method=PEER, variant=variant)
        if peer.lines:
            yield f"{PEER}, {variant}", peer


def problem_table(lines: Lines) -> str:
    """One problem: a row for every method, and for the peer."""
    noisy = (lines.mean("noise_rate") or 0) > 0
    shown = [each for each in FIGURES if noisy or each[1] == "test_accuracy"]
    head = ["", *(title for title, _, _ in shown), "flagged", "noise rate [low, high]",
            "CPU s", "wall s"]  # fmt: skip
    rows = []
    for title, cell in problem_rows(lines):
        row = [title, *(show(cell.values(figure)) for _, figure, show in shown)]
        rate = percent(cell.values("rate_estimate"))
        low, high = cell.mean("rate_low"), cell.mean("rate_high")
        if low is not None and high is not None:
            rate = (
                f"{100 * (cell.mean('rate_estimate') or 0):.1f} [{100 * low:.1f}, {100 * high:.1f}]"
            )
        seconds = [plain(cell.values(f"{clock}_seconds"), 0) for clock in ("cpu", "wall")]
        again = cell.mean("retraining_cpu_seconds")
        if again is not None and cell.values("cpu_seconds"):
            seconds[0] += f" + {again:.0f} to train again"
        rows.append([*row, percent(cell.values("flagged")), rate, *seconds])
    text = table(head, rows)
    if noisy:
        text += score_sentence(lines)
    return text


def score_sentence(lines: Lines) -> str:
    """The peer's three scores, since the table shows the best of them."""
    parts = []
    for variant in (FIXED, EARLY):
        peer = lines.where(method=PEER, variant=variant)
        if peer.lines:
            aps = ", ".join(
                f"{score} {percent(peer.values(f'scores.{score}.ap'))}" for score in SCORES
            )
            parts.append(f"{variant}: {aps}")
    return f"\nAP of cleanlab's scores: {'; '.join(parts)}.\n" if parts else ""


def losses(title: str, lines: Lines) -> list[str]:
    """Where auto is worse than the peer, or than our other methods, on means, a sentence each."""
    found = []
    ours = lines.where(method="auto")
    for name, figure, _ in FIGURES:
        if figure in ("precision", "recall"):  # F1 weighs the two
            continue
        for variant in (FIXED, EARLY):
            theirs = lines.where(method=PEER, variant=variant)
            behind = difference(theirs.mean(figure), ours.mean(figure))
            if behind is not None and behind >= 5e-4:
                found.append(f"{name} {100 * behind:.1f} points below cleanlab, {variant}")
    for variant in (FIXED, EARLY):
        theirs = lines.where(method=PEER, variant=variant)
        astray = difference(rate_error(ours), rate_error(theirs))
        if astray is not None and astray >= 5e-4:
            found.append(
                f"noise rate {100 * astray:.1f} points further off than cleanlab, {variant}"
            )
    for name, figure in (("AP", "ap"), ("test accuracy", "test_accuracy")):
        own = {
            method: value
            for method in lines.distinct("method")
            if method != PEER and (value := lines.where(method=method).mean(figure)) is not None
        }
        if "auto" not in own:
            continue
        best = max(own, key=own.__getitem__)
        if own[best] - own["auto"] >= WORTH_SAYING:
            behind = 100 * (own[best] - own["auto"])
            found.append(f"{name} {behind:.1f} points below our own `{best}`")
    return [f"- {title}: {sentence}." for sentence in found]


def rate_error(lines: Lines) -> float | None:
    """Mean distance of the estimated noise rate from the true one."""
    pairs = zip(lines.values("rate_estimate"), lines.values("noise_rate"), strict=True)
    errors = [abs(estimate - true) for estimate, true in pairs]
    return mean(errors) if errors else None


def best_peer(lines: Lines, *variants: str) -> float | None:
    """The peer's average precision with its best score, chosen for every seed with hindsight."""
    return greatest(*(lines.where(method=PEER, variant=each).mean("ap") for each in variants))


def vector_bars(of: Callable[[str, str], Lines]) -> list[Bar]:
    """The bars of the vector problems."""
    idn, pair = of("fashion", "instance-dependent 30 %"), of("fashion", "pair 30 %")
    by_class, symmetric = of("letter", "class-dependent 20 %"), of("letter", "symmetric 20 %")
    clean_letter, clean_fashion = of("letter", "none"), of("fashion", "none")

    def ap(lines: Lines, method: str = "auto") -> float | None:
        return lines.where(method=method).mean("ap")

    def tested(lines: Lines, method: str) -> float | None:
        return lines.where(method=method).mean("test_accuracy")

    def gain(lines: Lines) -> float | None:
        return difference(tested(lines, "auto"), tested(lines, "standard"))

    rows = [
        Bar("Fashion instance-dependent: AP of auto", ap(idn), least=0.85),
        Bar("… minus 5-fold", difference(ap(idn), best_peer(idn, FIXED)), least=0.15),
        Bar("… minus early-stopped 5-fold", difference(ap(idn), best_peer(idn, EARLY)), least=0.01),
        Bar("… test accuracy minus standard",
            gain(idn), least=0.08),
        Bar("… AP of elr", ap(idn, "elr"), least=0.89),
        Bar("Fashion pair: AP of auto", ap(pair), least=0.84),
        Bar("… minus early-stopped 5-fold",
            difference(ap(pair), best_peer(pair, EARLY)), least=0.05),
        Bar("… AP of elr", ap(pair, "elr"), least=0.90),
        Bar("letter class-dependent: AP of auto", ap(by_class), least=0.945),
        Bar("… minus 5-fold, the better of both",
            difference(ap(by_class), best_peer(by_class, FIXED, EARLY)), least=0.01),
        Bar("… AP of elr", ap(by_class, "elr"), least=0.975),
        Bar("letter symmetric: AP of auto", ap(symmetric), least=0.990),
        Bar("… noise rate of auto",
            symmetric.where(method="auto").mean("rate_estimate"), least=0.15, most=0.22),
        Bar("clean letter: flagged by auto",
            clean_letter.where(method="auto").mean("flagged"), most=0.005),
        Bar("… test accuracy minus standard",
            gain(clean_letter), least=-0.01),
        Bar("clean Fashion: flagged by auto",
            clean_fashion.where(method="auto").mean("flagged"), most=0.05),
        Bar("… test accuracy minus standard",
            gain(clean_fashion), least=-0.01),
    ]  # fmt: skip
    for title, lines in (
        ("Fashion instance-dependent", idn),
        ("Fashion pair", pair),
        ("letter class-dependent", by_class),
        ("letter symmetric", symmetric),
    ):
        cost = lines.where(method="auto").mean("cpu_seconds")
        whole = lines.where(method=PEER, variant=FIXED).mean("cpu_seconds")
        ratio = None if cost is None or not whole else cost / whole
        rows.append(Bar(f"{title}: CPU of auto / 5-fold", ratio, most=0.40, scale=1))
        rows.append(
            Bar(f"{title}: rows on which cleanlab's filter and our verdict differ",
                lines.where(method="auto").mean("cleanlab_difference"), most=0.05)
        )  # fmt: skip
    return rows


def cifar_bars(of: Callable[[str, str], Lines]) -> list[Bar]:
    """The bars of CIFAR-10N at its full size."""
    rows = []
    for noise, ap, tested in (("worse", 0.81, 0.615), ("aggre", 0.50, 0.695)):
        lines = of("cifar", noise)
        standard, auto = lines.where(method="standard"), lines.where(method="auto")
        fired = auto.values("fired_at")
        rows += [
            Bar(f"{noise}: AP of standard", standard.mean("ap"), least=ap),
            Bar("… test accuracy", standard.mean("test_accuracy"), least=tested),
            Bar("… AP of standard minus 5-fold",
                difference(standard.mean("ap"), best_peer(lines, FIXED)), least=0.0),
            Bar("… epoch from which auto regularises (16 = never)",
                min(16.0 if epoch < 0 else epoch for epoch in fired) if fired else None,
                least=0.8 * 16, scale=1),
        ]  # fmt: skip
    return rows


TITLES = {"letter": "letter", "fashion": "Fashion-MNIST", "cifar": "CIFAR-10N"}


def problems_section(
    lines: Lines, title: str, intro: str, checks: Callable[[Callable[[str, str], Lines]], list[Bar]]
) -> str:
    """A table for every data set and noise, then the bars, then where we lose."""
    text, lost = f"## {title}\n\n{intro} In per cent, {seeds(lines)}.\n", []
    cells = list(dict.fromkeys((line["data"], line["noise"]) for line in lines.lines))
    for data, noise in cells:
        cell = lines.where(data=data, noise=noise)
        name = f"{TITLES[data]}, {'clean' if noise == 'none' else noise}"
        wrong = 100 * (cell.mean("noise_rate") or 0)
        sizes = [f"{rows:,} rows".replace(",", " ") for rows in cell.distinct("rows")]
        sizes += [f"{epochs} epochs" for epochs in cell.distinct("epochs")]
        facts = ", ".join([f"{wrong:.1f} % of the labels wrong", *sizes])
        text += f"\n### {name} ({facts})\n\n{problem_table(cell)}"
        lost += losses(name, cell)
    text += "\n### Bars\n\nOf `auto` where no method is named.\n\n" + bars(
        checks(lambda data, noise: lines.where(data=data, noise=noise))
    )
    if lost:
        text += "\n### Where `auto` loses\n\n" + "\n".join(lost) + "\n"
    return text


VECTORS_INTRO = (
    "`python benchmarks/noise.py vectors`: the MLP of `thresher fit`, letter 15 000 rows and 40 "
    "epochs, Fashion-MNIST 10 000 rows (784 numbers in [0, 1], standardised) and 30 epochs. Ours: "
    "one training each. cleanlab 2.9: five stratified folds of the same training, AP and AUROC of "
    "the best of its three scores with hindsight, its default filter, and a training without the "
    "flagged rows; *early-stopped* takes each fold's epoch of best held-out accuracy. "
    "The step back that `auto` takes when it fires was chosen on digits and on these sets (seeds 0 "
    "and 1, by clean test accuracy and AP): its figures here and on digits are not those of a "
    "method fixed beforehand."
)
CIFAR_INTRO = (
    "`python benchmarks/noise.py cifar`: the first training images with the labels people gave "
    "them, the small CNN of `thresher fit`, 5 000 test images. cleanlab: as above, "
    "without early stopping. The cells ran beside other work, so that their seconds differ by a "
    "third and more for equal work."
)


def write_tables(lines: list[Line], factors: list[Line], path: Path) -> None:
    """Write the page: a section for every task that has lines.

    Args:
        lines: Of all tasks but `factors`.
        factors: Of that one, in the order in which they were measured.
        path: The page.
    """
    everything = Lines(tuple(sorted(lines, key=place)))
    sections: list[tuple[str, Callable[[Lines], str]]] = [
        ("toy", toy_section),
        ("rates", rates_section),
        ("digits", digits_section),
        ("vectors",
         lambda part: problems_section(part, "Vectors: methods, audit and cleanlab",
                                       VECTORS_INTRO, vector_bars)),
        ("cifar",
         lambda part: problems_section(part, "CIFAR-10N: methods, audit and cleanlab",
                                       CIFAR_INTRO, cifar_bars)),
    ]  # fmt: skip
    text = [
        "# Wrong labels: methods and audit\n\nMade by `python benchmarks/noise.py table` from "
        "noise.jsonl; do not edit. One thread per process. *AP* is the average precision of wrong "
        "labels under the ranking of the audit, *flagged* the share of labels called wrong.\n\n"
        "How far these figures may be trusted: the floor of the label score, the window that it "
        "averages and the gap at which `auto` fires were chosen earlier by looking at letter, "
        "Fashion-MNIST and CIFAR-10N, and the bars come from those measurements. Comparisons "
        "with cleanlab lean our way by as much as that choice is worth; cleanlab is given its "
        "best score with hindsight in return. Data never looked at must decide.\n"
    ]
    for task, section in sections:
        part = everything.where(task=task)
        if part.lines:
            text.append(section(part))
        if task == "toy":
            beside = everything.where(task="geometries")
            text.append(reference_section(Lines((*part.lines, *beside.lines))))
    if factors:
        text.append(factors_section(Lines(tuple(factors))))
    path.write_text("\n".join(text))


def place(line: Line) -> tuple[int, ...]:
    """Where a line belongs: data, noise, method, seed."""
    return (*(ORDER[name].index(line.get(name, ORDER[name][0])) for name in ORDER), line["seed"])
