"""The audit in a few numbers: how many labels look wrong, in which classes, what to beware of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from thresher.audit.reasons import REASONS
from thresher.audit.record import Record
from thresher.audit.verdicts import FEWEST_HELD_OUT, FEWEST_VISITS, Level, NoiseRate, Verdicts
from thresher.errors import ParameterError

__all__ = ["SUMMARY_VERSION", "ClassPair", "ClassSummary", "Summary", "summarise"]

SUMMARY_VERSION = 1

_NAMES_IN_A_SENTENCE = 5
_NOTABLE_GAP = 0.02
DECIDED = list(REASONS).index("decided")


@dataclass(frozen=True)
class ClassSummary:
    """One given class.

    Attributes:
        name: The class.
        n: Labelled rows given as this class.
        flagged: How many of them are label issues.
        noise: Estimated share of wrong labels among them.
        inverse_noise: Estimated share of the rows truly of this class that carry another label;
            None without rows.
        top_rival: Class most often suggested instead; None when nothing is flagged.
        rare: Too few rows for an estimate of its own; ``noise`` is the overall rate.
        never_predicted: No row's most probable class; the model knows nothing about it.
    """

    name: str
    n: int
    flagged: int
    noise: float
    inverse_noise: float | None
    top_rival: str | None
    rare: bool
    never_predicted: bool


@dataclass(frozen=True)
class ClassPair:
    """Flagged rows given as one class and suggested as another."""

    given: str
    suggested: str
    count: int


@dataclass(frozen=True)
class Summary:
    """The result of an audit, ready for JSON.

    Attributes:
        n: All rows.
        labelled: Rows with a given label.
        held_out: Labelled rows kept out of training.
        released: Labelled rows kept out of training at first, and trained later.
        classes: Class names.
        n_label_issues: Flagged rows.
        level: How much was flagged.
        noise_rate: Estimated share of wrong labels, with its interval.
        memorised: The model learnt its labels by heart; the held-out rows gave the number.
        per_class: One entry per class, in the order of ``classes``.
        class_pairs: Flagged (given, suggested) pairs, most frequent first.
        warnings: Sentences for the reader.
        n_without_verdict: Labelled rows of which too little is known to call them right or wrong.
        schema: Version of this layout.
    """

    n: int
    labelled: int
    held_out: int
    classes: tuple[str, ...]
    n_label_issues: int
    level: Level
    noise_rate: NoiseRate
    memorised: bool
    per_class: tuple[ClassSummary, ...]
    class_pairs: tuple[ClassPair, ...]
    warnings: tuple[str, ...]
    released: int = 0
    n_without_verdict: int = 0
    schema: int = SUMMARY_VERSION

    @property
    def knows_nothing(self) -> bool:
        """Whether there are labels, and none of them got a verdict."""
        return 0 < self.labelled == self.n_without_verdict

    def to_json(self) -> dict[str, Any]:
        """Lay the summary out in plain lists, dictionaries, numbers and strings."""
        plain = asdict(self)
        for name in ("classes", "per_class", "class_pairs", "warnings"):
            plain[name] = list(plain[name])
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Summary:
        """Rebuild a summary from `to_json`.

        Raises:
            ParameterError: the layout is of another version.
        """
        if plain.get("schema") != SUMMARY_VERSION:
            raise ParameterError(
                f"The summary has schema {plain.get('schema')!r}, not {SUMMARY_VERSION}.",
                "Run the audit again.",
            )
        return cls(
            **{
                **plain,
                "classes": tuple(plain["classes"]),
                "noise_rate": NoiseRate(**plain["noise_rate"]),
                "per_class": tuple(ClassSummary(**each) for each in plain["per_class"]),
                "class_pairs": tuple(ClassPair(**each) for each in plain["class_pairs"]),
                "warnings": tuple(plain["warnings"]),
            }
        )


def summarise(record: Record, verdicts: Verdicts) -> Summary:
    """Sum up an audit.

    Args:
        record: What the run remembers.
        verdicts: What `thresher.audit.verdicts.judge` made of it.
    """
    pairs = _class_pairs(record, verdicts)
    labelled = record.labels >= 0
    return Summary(
        n=len(record),
        labelled=int(np.count_nonzero(labelled)),
        held_out=int(np.count_nonzero(labelled & ~record.in_training)),
        classes=record.classes,
        n_label_issues=int(np.count_nonzero(verdicts.is_label_issue)),
        level=verdicts.level,
        noise_rate=verdicts.noise_rate,
        memorised=verdicts.memorised,
        per_class=_per_class(record, verdicts, pairs),
        class_pairs=pairs,
        warnings=tuple(_warnings(record, verdicts)),
        released=0 if record.held_out_rows is None else len(record.held_out_rows),
        n_without_verdict=without_verdict(record, verdicts),
    )


def without_verdict(record: Record, verdicts: Verdicts) -> int:
    """Labelled rows that neither the audit nor a person has judged."""
    unknown = ~verdicts.judged & (verdicts.reason != DECIDED)
    return int(np.count_nonzero((record.labels >= 0) & unknown))


def _class_pairs(record: Record, verdicts: Verdicts) -> tuple[ClassPair, ...]:
    flagged = verdicts.is_label_issue & (verdicts.suggested >= 0)
    k = len(record.classes)
    cells = record.labels[flagged].astype(np.int64) * k + verdicts.suggested[flagged]
    cells, counts = np.unique(cells, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return tuple(
        ClassPair(record.classes[cell // k], record.classes[cell % k], int(count))
        for cell, count in zip(cells[order].tolist(), counts[order], strict=True)
    )


def _per_class(
    record: Record, verdicts: Verdicts, pairs: tuple[ClassPair, ...]
) -> tuple[ClassSummary, ...]:
    k = len(record.classes)
    sizes = np.bincount(record.labels[record.labels >= 0], minlength=k)
    flagged = np.bincount(record.labels[verdicts.is_label_issue], minlength=k)
    rivals: dict[str, str] = {}
    for pair in pairs:  # most frequent first
        rivals.setdefault(pair.given, pair.suggested)
    counts = verdicts.counts
    return tuple(
        ClassSummary(
            name=name,
            n=int(sizes[c]),
            flagged=int(flagged[c]),
            noise=float(counts.class_noise[c]),
            inverse_noise=_or_none(counts.inverse_noise[c]),
            top_rival=rivals.get(name),
            rare=bool(counts.rare[c]),
            never_predicted=bool(counts.never_predicted[c]),
        )
        for c, name in enumerate(record.classes)
    )


def _warnings(record: Record, verdicts: Verdicts) -> list[str]:
    """Say what limits the trust in this audit, most important first."""
    rate, counts = verdicts.noise_rate, verdicts.counts
    labelled = record.labels >= 0
    held_out = int(np.count_nonzero(labelled & ~record.in_training))
    if record.held_out_rows is not None:
        held_out += len(record.held_out_rows)
    sentences = []
    if verdicts.memorised:
        sentences.append(
            f"The model learnt its labels by heart: {_percent(rate.trained)} of the trained rows "
            f"look wrong, but {_percent(rate.held_out)} of the held-out rows. The number of label "
            "issues follows the held-out rows; the ranking is less sure than usual."
        )
    elif rate.held_out is None and held_out < FEWEST_HELD_OUT:
        sentences.append(
            f"With {held_out} held-out rows (fewer than {FEWEST_HELD_OUT}) it cannot be checked "
            "whether the model learnt its labels by heart; the noise rate may be too low."
        )
    elif (
        rate.trained is not None
        and rate.held_out is not None
        and rate.held_out > max(2 * rate.trained, rate.trained + _NOTABLE_GAP)
    ):
        sentences.append(
            f"Of the held-out rows {_percent(rate.held_out)} look wrong, of the trained rows "
            f"{_percent(rate.trained)}. Some of the difference are the model's own mistakes; some "
            "may be wrong labels that were learnt by heart and are missing here."
        )
    if rate.estimate is not None and rate.estimate > 0.5:
        sentences.append(
            f"{_percent(rate.estimate)} of the labels look wrong. A model that has learnt little "
            "says so of right labels, too: look at its accuracy before you believe it, and train "
            "longer or with features that tell the classes apart."
        )
    unjudged = without_verdict(record, verdicts)
    if unjudged:
        sentences.append(
            f"{_rows(unjudged)} got no verdict: seen fewer than {FEWEST_VISITS} times, or without "
            "a usable prediction."
        )
    names = np.array(record.classes, dtype=object)
    if counts.never_predicted.any():
        sentences.append(
            f"Never the most probable class of any row: {_listing(names[counts.never_predicted])}. "
            "The model has not learnt it, so no label there is called wrong."
        )
    if counts.rare.any():
        sentences.append(
            f"Too few rows for a noise rate of its own: {_listing(names[counts.rare])}. "
            "The overall rate stands in."
        )
    return sentences


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{100 * share:.1f} %"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _listing(names: np.ndarray[Any, Any]) -> str:
    shown = ", ".join(str(name) for name in names[:_NAMES_IN_A_SENTENCE])
    more = len(names) - _NAMES_IN_A_SENTENCE
    return f"{shown} and {more:,} more" if more > 0 else shown


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
