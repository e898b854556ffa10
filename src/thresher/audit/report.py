"""The report: one HTML file that shows what the audit found, to be opened anywhere.

The file needs no network, no script and no other file. Its content security policy forbids all
three, and every text from outside (class names, identifiers, cells, settings) is escaped and cut to
a readable length. Pictures are drawn in `thresher.audit.charts`; this module chooses what to show
and puts it into words, and ``report.html.jinja`` lays it out.
"""

from __future__ import annotations

import base64
import math
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

from thresher.audit.charts import (
    Line,
    history_strip,
    line_chart,
    noise_gauge,
    precision_curve,
    score_histogram,
)
from thresher.audit.confusions import Confusions
from thresher.audit.evidence_file import Evidence, picture_type
from thresher.audit.reasons import REASONS
from thresher.audit.suggestions import (
    FEWEST_DECISIONS,
    Review,
    precision_at_k,
    precision_of_suggestions,
    review,
)
from thresher.audit.summary import ClassSummary, Summary
from thresher.decisions import Decided
from thresher.errors import ParameterError
from thresher.whole_file import whole_file

__all__ = [
    "LARGEST_TOP",
    "percent",
    "render_report",
    "report_environment",
    "shorten",
    "write_report",
]

Metrics = Sequence[Mapping[str, Any]]

#: The most suspects one report shows; more make the file unwieldy, the table has them all.
LARGEST_TOP = 300

_MAP_CLASSES = 30  # a larger heat map cannot be read
_MAP_BESIDE = 12  # up to so many leave room for the pairs beside it
_LISTED_CLASSES = 100
_LISTED_PAIRS = 30
_PAIRS_BESIDE_MAP = 8
_LISTED_SETTINGS = 60
_LISTED_CELLS = 200
_GROUPS_ACROSS = 6  # more do not stand beside each other
_CELLS = 12
_NEIGHBOURS = 3
# Together these keep the file below 5 MB, even where every character must be escaped.
_PICTURE_BYTES = 1_700_000  # of all thumbnails; base64 adds a third
_CELL_CHARACTERS = 140_000  # of all cells, half for their names and half for their texts

_DECISION_WORDS = {
    "accept": "decided: suggestion accepted",
    "keep": "decided: given label kept",
    "exclude": "decided: excluded",
    "unsure": "decided: unsure",
}


@dataclass(frozen=True)
class Suspect:
    """One card of the report."""

    rank: int
    sample_id: str
    given: str
    suggested: str | None
    p_given: float
    p_suggested: float | None
    score: float
    reason: str
    held_out: bool
    thumbnail: str | None
    left_out: bool
    pixelated: bool
    cells: tuple[tuple[str, str], ...]
    history: Markup
    neighbours: tuple[str, ...]
    decided: str


def write_report(path: str | os.PathLike[str], page: str) -> None:
    """Write a page of `render_report`; the file appears whole or not at all.

    Args:
        path: Where to write; an existing file is replaced as a whole.
        page: The page.

    Raises:
        RunError: the file cannot be written.
    """
    with whole_file(path) as temporary:
        temporary.write_bytes(page.encode("utf-8", errors="replace"))


def render_report(
    *,
    summary: Summary,
    table: pa.Table,
    metrics: Metrics = (),
    settings: Mapping[str, Any] | None = None,
    method: Mapping[str, Any] | None = None,
    evidence: Callable[[int], Evidence | None] | None = None,
    decisions: Mapping[str, Decided] | None = None,
    groups: Mapping[str, Any] | None = None,
    transition: ArrayLike | None = None,
    top: int = 60,
    title: str = "Label audit",
) -> str:
    """Make the report: one self-contained HTML page of less than 5 MB.

    Args:
        summary: The audit's summary.
        table: The audit table.
        metrics: One mapping per epoch with ``epoch`` and, where known, ``loss``,
            ``trained_accuracy``, ``held_out_accuracy`` (both on given labels), ``test_accuracy``
            and ``rate``, the noise rate that the method went by, in [0, 1].
        settings: Names and values to list, the run's settings.
        method: ``name``, ``summary`` (a sentence) and ``source`` of the training method.
        evidence: Row number -> what to show of the sample, as a
            `thresher.audit.evidence_file.Evidence` with a small PNG, JPEG or GIF; None for nothing.
        decisions: What people decided so far, by sample_id.
        groups: How groups compare, as ``groups`` of a run's summary; None = they are not compared.
        transition: T (k, k), how labels are confused as the method knows it; None = it does not.
        top: Number of suspects to show, 1 to `LARGEST_TOP`.
        title: Name of the data set, or any heading.

    Raises:
        ParameterError: top outside its range.
    """
    if not 1 <= top <= LARGEST_TOP:
        raise ParameterError(
            f"top must be in 1..{LARGEST_TOP}, got {top!r}.", "The audit table holds every row."
        )
    chosen = rows_shown(table, top)
    known = [(evidence(row) if evidence else None) or Evidence() for row in chosen.tolist()]
    decided = review(table, decisions or {})
    guess = precision_of_suggestions(table, summary.noise_rate.estimate)
    suspects = _suspects(table, chosen, known, decisions or {})
    small = len(summary.classes) <= _MAP_CLASSES
    classes = sorted(
        (each for each in summary.per_class if each.n), key=lambda c: (-c.flagged, -c.noise)
    )
    return (
        report_environment("thresher.audit")
        .get_template("report.html.jinja")
        .render(
            title=title,
            summary=summary,
            headline=_headline(summary),
            lead=_lead(summary),
            warnings=(*summary.warnings, *_advice(guess)),
            guess=guess,
            suspects=suspects,
            review=decided,
            decisions=_decision_counts(decided),
            curve=_curve_of(decided),
            fewest=FEWEST_DECISIONS,
            anything_flagged=summary.n_label_issues > 0,
            gauge=noise_gauge(summary.noise_rate),
            heat_map=_heat_map(summary) if small and summary.class_pairs else None,
            beside=len(summary.classes) <= _MAP_BESIDE,
            pairs=summary.class_pairs[: _PAIRS_BESIDE_MAP if small else _LISTED_PAIRS],
            accuracy_lines=(accuracy := _accuracy_lines(metrics)),
            accuracy_chart=line_chart(
                accuracy, title="Accuracy in each epoch", x_label="epoch", percent=True
            ),
            loss_chart=line_chart(
                [_line(metrics, "loss", "trained rows, given labels", "loss")],
                title="Loss in each epoch",
                x_label="epoch",
            ),
            rate_chart=_rate_chart(metrics),
            histogram=_histogram(table),
            classes=classes[:_LISTED_CLASSES],
            hidden_classes=len(classes) - len(classes[:_LISTED_CLASSES]),
            largest_noise=max((each.noise for each in classes), default=0.0),
            notes=_class_notes,
            any_notes=any(_class_notes(each) for each in classes[:_LISTED_CLASSES]),
            reasons=_reasons(table),
            last=metrics[-1] if metrics else {},
            groups=groups,
            confusions=_confusions(transition, summary.classes),
            grid=_grid(groups["selection"]) if groups else None,
            listed_cells=_LISTED_CELLS,
            method=method or {},
            settings=list((settings or {}).items())[:_LISTED_SETTINGS],
            pictures_left_out=sum(each.left_out for each in suspects),
        )
    )


def report_environment(*packages: str) -> Environment:
    """What fills in the templates of reports: strictly, with every value escaped.

    Args:
        packages: Where templates and style sheets lie; the first that has one counts.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(each, package_path="") for each in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        name=lambda value: shorten(value, 60),
        identifier=lambda value: shorten(value, 200),
        text=lambda value: shorten(value, 400),
        percent=percent,
        count=lambda value: f"{value:,}",
    )
    return environment


def shorten(value: object, longest: int) -> str:
    """Cut a text to a length, on one line, without characters that control the display."""
    text = str(value)[: longest + 1]
    # Cc, Cf, Cs: control characters, marks that turn the reading direction, half characters
    text = "".join("�" if unicodedata.category(c) in {"Cc", "Cf", "Cs"} else c for c in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def percent(share: float | None) -> str:
    """Write a share in per cent with two digits that count.

    >>> percent(0.0312), percent(0.95), percent(0.0002), percent(0.0)
    ('3.1 %', '95 %', '<0.1 %', '0 %')
    """
    if share is None or not math.isfinite(share):
        return "–"
    if share == 0.0:
        return "0 %"
    if share < 0.0005:
        return "<0.1 %"
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"


def _headline(summary: Summary) -> str:
    count = summary.n_label_issues
    if not summary.labelled:
        return "There are no labels to audit."
    if summary.knows_nothing:
        return "No label got a verdict."
    if not count:
        return f"None of {summary.labelled:,} labels looks wrong."
    return f"{count:,} of {summary.labelled:,} labels look{'s' if count == 1 else ''} wrong."


def _lead(summary: Summary) -> str:
    if not summary.n_label_issues:
        return "Those with the lowest scores are shown below, to see for yourself."
    if not summary.class_pairs:
        return ""
    pair = summary.class_pairs[0]
    given, suggested = shorten(pair.given, 60), shorten(pair.suggested, 60)
    if summary.n_label_issues == 1:
        return f"It was given as “{given}” and looks like “{suggested}”."
    if pair.count == 1:
        return "No two classes stand out: no pair of them is confused more than once."
    return (
        f"Most often, {pair.count:,} times, something given as “{given}” looks like “{suggested}”."
    )


def rows_shown(table: pa.Table, top: int) -> NDArray[np.int64]:
    """The rows a report shows: the flagged ones by rank, or the lowest-ranked if none is flagged.

    Args:
        table: The audit table.
        top: How many at most.

    Returns:
        (R,) row numbers, most suspect first.
    """
    flagged = table["is_label_issue"].to_numpy()
    rank = table["rank"].fill_null(0).to_numpy()
    chosen = np.flatnonzero(flagged if flagged.any() else rank > 0)
    return chosen[np.argsort(rank[chosen], kind="stable")][:top]


def _suspects(
    table: pa.Table,
    chosen: NDArray[np.int64],
    evidence: Sequence[Evidence],
    decisions: Mapping[str, Decided],
) -> list[Suspect]:
    """The cards, with as many pictures as their share of the file allows."""
    budget = _PICTURE_BYTES
    suspects = []
    for entry, known in zip(table.take(chosen).to_pylist(), evidence, strict=True):
        picture, kind = known.image, picture_type(known.image)
        source = None
        if picture is not None and kind is not None and len(picture) <= budget:
            budget -= len(picture)
            source = f"data:{kind};base64,{base64.b64encode(picture).decode()}"
        suspects.append(
            Suspect(
                rank=entry["rank"],
                sample_id=entry["sample_id"],
                given=entry["given_label"],
                suggested=entry["suggested_label"],
                p_given=entry["p_given"],
                p_suggested=entry["p_suggested"],
                score=entry["label_score"],
                reason=REASONS.get(entry["reason"] or "", ""),
                held_out=not entry["in_training"],
                thumbnail=source,
                left_out=kind is not None and source is None,
                pixelated=picture is not None and _png_width(picture) <= 64,
                cells=_cells(known.cells, len(chosen)),
                history=Markup("") if known.history is None else history_strip(known.history),
                neighbours=_counted([each.label for each in known.neighbours[:_NEIGHBOURS]]),
                decided=_decision_words(decisions.get(entry["sample_id"])),
            )
        )
    return suspects


def _counted(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels with their number where it is more than one, in the order of their first."""
    names = [shorten(label, 60) for label in labels]
    return tuple(
        name if names.count(name) == 1 else f"{names.count(name)} × {name}"
        for name in dict.fromkeys(names)
    )


def _decision_words(decided: Decided | None) -> str:
    if decided is None:
        return ""
    if decided.decision in _DECISION_WORDS:
        return _DECISION_WORDS[decided.decision]
    return f"decided: {shorten(decided.label, 60)}"


def _advice(guess: float | None) -> list[str]:
    """What to beware of when suggestions are applied."""
    if guess is None or guess >= 0.5:
        return []
    return [
        f"Do not apply all suggestions: only {percent(guess)} of those on suspect labels are "
        "estimated to be right. A suggestion spoils a label that was right, so applying them all "
        "would probably make the labels worse."
    ]


def _decision_counts(decided: Review) -> list[tuple[str, int]]:
    """How often each decision was taken; none where nothing is decided."""
    counts = [
        ("suggestion accepted", decided.accepted),
        ("given label kept", decided.kept),
        ("another class", decided.other),
        ("excluded", decided.excluded),
        ("unsure", decided.unsure),
    ]
    return counts if decided.decided else []


def _curve_of(decided: Review) -> Markup:
    if len(decided.wrong) < FEWEST_DECISIONS:
        return Markup("")
    return precision_curve(
        precision_at_k(decided.wrong), title="Wrong labels among the decided samples"
    )


def _cells(entries: Mapping[str, str] | None, cards: int) -> tuple[tuple[str, str], ...]:
    """The cells of one card, cut so that all cards together stay within their share."""
    kept = list((entries or {}).items())[:_CELLS]
    longest = _CELL_CHARACTERS // (2 * max(1, cards) * max(1, len(kept)))
    return tuple(
        (shorten(key, min(60, longest)), shorten(value, min(400, longest))) for key, value in kept
    )


def _png_width(picture: bytes) -> float:
    """Width in pixels from a PNG's header; infinite for other kinds."""
    is_png = picture.startswith(b"\x89PNG") and len(picture) >= 24
    return int.from_bytes(picture[16:20], "big") if is_png else math.inf


def _heat_map(summary: Summary) -> list[tuple[str, list[tuple[str, str, float]]]]:
    """Rows of (given, [(suggested, count in words, shade 0..1)]); shades by the square root."""
    counts = {(pair.given, pair.suggested): pair.count for pair in summary.class_pairs}
    largest = max(counts.values())
    return [
        (
            given,
            [
                (suggested, f"{count:,}" if count else "", math.sqrt(count / largest))
                for suggested in summary.classes
                for count in [counts.get((given, suggested), 0)]
            ],
        )
        for given in summary.classes
    ]


def _confusions(transition: ArrayLike | None, classes: Sequence[str]) -> Confusions | None:
    if transition is None:
        return None
    listed = _PAIRS_BESIDE_MAP if len(classes) <= _MAP_CLASSES else _LISTED_PAIRS
    return Confusions.of(transition, classes, largest_map=_MAP_CLASSES, listed=listed)


def _grid(
    selection: Sequence[Mapping[str, Any]],
) -> tuple[list[tuple[str, bool]], list[tuple[str, list[Mapping[str, Any] | None]]]] | None:
    """Cells of class and group as a table of classes by groups; None where it would be too large.

    Returns:
        The groups, and whether all of their cells are small; a line a class, None for no such cell.
    """
    groups = sorted({each["group"] for each in selection})
    labels = list(dict.fromkeys(each["label"] for each in selection))
    if not groups or len(groups) > _GROUPS_ACROSS or len(groups) * len(labels) > _LISTED_CELLS:
        return None
    cells = {(each["label"], each["group"]): each for each in selection}
    small = [all(each["small"] for each in selection if each["group"] == name) for name in groups]
    return (
        list(zip(groups, small, strict=True)),
        [(label, [cells.get((label, group)) for group in groups]) for label in labels],
    )


def _accuracy_lines(metrics: Metrics) -> list[Line]:
    lines = [
        _line(metrics, "trained_accuracy", "trained rows, given labels", "trained"),
        _line(metrics, "held_out_accuracy", "held-out rows, given labels", "held-out"),
        _line(metrics, "test_accuracy", "test set", "test"),
    ]
    return [line for line in lines if line.drawn]


def _rate_chart(metrics: Metrics) -> Markup:
    """The noise rate that was estimated in each epoch; nothing for one that was given."""
    line = _line(metrics, "rate", "estimated", "loss")
    if len({rate for _, rate in line.drawn}) < 2:
        return Markup("")
    return line_chart(
        [line], title="Noise rate that the method went by", x_label="epoch", percent=True
    )


def _line(metrics: Metrics, column: str, name: str, style: str) -> Line:
    return Line(name, style, [(float(each["epoch"]), each.get(column)) for each in metrics])


def _histogram(table: pa.Table) -> Markup:
    scored = table.select(["label_score", "is_label_issue"])
    scored = scored.filter(scored["label_score"].is_valid())
    scores: NDArray[np.float32] = scored["label_score"].to_numpy()
    return score_histogram(
        scores, scored["is_label_issue"].to_numpy(), title="How the label scores are spread"
    )


def _reasons(table: pa.Table) -> list[tuple[str, int]]:
    """The reasons of the flagged rows in words, most frequent first."""
    found = table["reason"].filter(table["is_label_issue"]).value_counts().to_pylist()
    counts = [(REASONS[each["values"]], each["counts"]) for each in found if each["values"]]
    return sorted(counts, key=lambda each: (-each[1], each[0]))


def _class_notes(entry: ClassSummary) -> str:
    if entry.never_predicted:
        return "never predicted"
    return "few rows: overall rate" if entry.rare else ""
