"""Suggestions: how often they are right, guessed before anybody looked and counted afterwards.

Without the truth, the share of right suggestions can only be guessed. Let c be the probability of a
row's most probable class, and a(c) the share of the rows with this c whose given label is that
class. If labels are wrong at a rate τ whatever the model says, and a wrong label hardly ever agrees
with a wrong prediction, then a prediction is right in a / (1 - τ) of the cases, and

    P(suggestion right | label differs) = a τ / ((1 - τ)(1 - a)), at most 1.

So even a sure suggestion is worth little where few labels are wrong: then most rows that differ are
hard samples.

Measured by `benchmarks/suggestions.py` on 15 data sets with known truth, seed 0, most of which took
part in choosing this rule: the guess is .20 off on average, the mean probability of the suggestions
.23, and .9 on clean labels. The guess is too high where people's mistakes fall on hard samples
(CIFAR-10N aggre .46 for .23, worse .67 for .44) and on clean labels (Fashion .42 for 0), too low
where random noise keeps the model unsure (letter, symmetric 20 %: .79 for .98). Whether it is below
one half said on all 15 whether applying every suggestion makes the labels worse.

Once people have decided, `Review` counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from thresher.decisions import Decided
from thresher.errors import ParameterError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FEWEST_DECISIONS",
    "Review",
    "precision_at_k",
    "precision_of_suggestions",
    "review",
    "suggestion_precision",
]

Floats = NDArray[np.floating[Any]]

#: Fewer decisions than this draw no curve: each of them would move it by more than two points.
FEWEST_DECISIONS = 50


def suggestion_precision(
    p_given: Floats, p_suggested: Floats, flagged: NDArray[np.bool_], noise_rate: float
) -> NDArray[np.float64]:
    """Guess for each flagged row the probability that its suggestion is the true label.

    The share a(c) is an isotonic regression over all rows.

    Args:
        p_given: (N,) probability of the given label, in [0, 1], none missing.
        p_suggested: (N,) probability of the most probable other class.
        flagged: (N,) rows that are label issues.
        noise_rate: Share of wrong labels τ, in [0, 1].

    Returns:
        (F,) in [0, 1], in the order of the flagged rows.

    Raises:
        ParameterError: noise_rate outside [0, 1].
    """
    if not 0 <= noise_rate <= 1:
        raise ParameterError(
            f"noise_rate must be in [0, 1], got {noise_rate!r}.",
            "Pass the estimate of the audit's summary.",
        )
    if not flagged.any():
        return np.zeros(0)
    from sklearn.isotonic import IsotonicRegression

    agreement = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(
        np.maximum(p_given, p_suggested).astype(np.float64), (p_given >= p_suggested).astype(float)
    )
    agreeing = agreement.predict(p_suggested[flagged].astype(np.float64))
    differing = np.maximum((1.0 - noise_rate) * (1.0 - agreeing), 1e-12)
    guess: NDArray[np.float64] = np.minimum(1.0, agreeing * noise_rate / differing)
    return guess


def precision_of_suggestions(table: pa.Table, noise_rate: float) -> float | None:
    """Guess the share of right suggestions among the flagged rows of an audit table.

    Args:
        table: The audit table.
        noise_rate: Share of wrong labels, in [0, 1].

    Returns:
        A share in [0, 1]; None where no flagged row has a suggestion.

    Raises:
        ParameterError: noise_rate outside [0, 1].
    """
    table = table.select(["p_given", "p_suggested", "is_label_issue"]).drop_null()
    p_given, p_suggested, flagged = (column.to_numpy() for column in table.columns)
    guess = suggestion_precision(p_given, p_suggested, flagged, noise_rate)
    return float(guess.mean()) if len(guess) else None


def precision_at_k(wrong: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of wrong labels among the first 1, 2, …, K rows of a ranking.

    >>> precision_at_k(np.array([True, True, False, True]))
    array([1.        , 1.        , 0.66666667, 0.75      ])

    Args:
        wrong: (K,) whether each label was wrong, most suspect first.
    """
    shares: NDArray[np.float64] = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
    return shares


@dataclass(frozen=True)
class Review:
    """What people decided of the rows of a run.

    Attributes:
        accepted: The suggestion was right.
        kept: The given label was right.
        other: Another class was right.
        excluded: The sample is of no use.
        unsure: Somebody looked and could not tell.
        wrong: (K,) whether the given label was wrong, of the rows decided without doubt, most
            suspect first.
        suggestions: Flagged rows decided without doubt.
        suggestions_right: How many of these got the suggested label.
    """

    accepted: int
    kept: int
    other: int
    excluded: int
    unsure: int
    wrong: NDArray[np.bool_]
    suggestions: int
    suggestions_right: int

    @property
    def decided(self) -> int:
        """All decisions, the unsure ones included."""
        return self.accepted + self.kept + self.other + self.excluded + self.unsure


def review(table: pa.Table, decisions: Mapping[str, Decided]) -> Review:
    """Count what people decided.

    A label was wrong where a suggestion or another class was accepted or the sample was excluded,
    and right where it was kept. Decisions on samples that the table does not hold, or that have no
    rank in it, are left out.

    Args:
        table: The audit table.
        decisions: What stands, by sample_id.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = table.select(["sample_id", "rank", "given_label", "suggested_label", "is_label_issue"])
    rows = rows.filter(
        pc.is_in(rows["sample_id"], value_set=pa.array(list(decisions), pa.string()))
    )
    rows = rows.filter(rows["rank"].is_valid()).sort_by("rank").to_pylist()
    counts = dict.fromkeys(("accept", "keep", "other", "exclude", "unsure"), 0)
    wrong, suggestions, right = [], 0, 0
    for row in rows:
        decided = decisions[row["sample_id"]]
        word = decided.decision.partition(":")[0]
        counts[word] += 1
        if word == "unsure":
            continue
        wrong.append(decided.label != row["given_label"])
        suggestions += row["is_label_issue"]
        right += row["is_label_issue"] and decided.label == row["suggested_label"]
    return Review(
        accepted=counts["accept"],
        kept=counts["keep"],
        other=counts["other"],
        excluded=counts["exclude"],
        unsure=counts["unsure"],
        wrong=np.array(wrong, dtype=bool),
        suggestions=suggestions,
        suggestions_right=right,
    )
