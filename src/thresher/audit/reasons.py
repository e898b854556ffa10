"""Why a row is marked: the fixed vocabulary of the column ``reason``, with a sentence for each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thresher.audit.features import FeatureIssues
from thresher.audit.record import Reading, Record
from thresher.audit.scores import variability
from thresher.noise_rate import Integers

__all__ = ["REASONS", "clashing_labels", "reason_codes"]

#: Code -> sentence. The order is that of the numbers which `reason_codes` returns.
REASONS: dict[str, str] = {
    "hard_sample": "The model wavered: the sample may be hard rather than wrong.",
    "confident_rival": "The model is surer of another class than of all the rest.",
    "never_learned": "Never predicted as given, yet no other class stands out.",
    "narrow_rival": "Another class is only somewhat more probable than the given one.",
    "memorised": "Learnt by heart with the others, but among the last to be accepted.",
    "few_visits": "Seen too rarely during the run for a verdict.",
    "no_prediction": "The run left no usable prediction for this sample.",
    "unlabelled": "No label was given; the suggestion is the model's prediction.",
    "outlier": "Like no other sample: perhaps none of the classes is right.",
    "decided": "People have decided this label.",
    "near_duplicate": "Almost the same as a sample with another label.",
}

# Swinging between 0.2 and 0.8 for the same time each gives 0.3; the largest possible value is 0.5.
_HARD_VARIABILITY = 0.3


def reason_codes(
    record: Record,
    reading: Reading,
    is_label_issue: NDArray[np.bool_],
    judged: NDArray[np.bool_],
    issues: FeatureIssues | None = None,
) -> NDArray[np.int8]:
    """Choose the reason of every row: the position of its code in `REASONS`, -1 = nothing to say.

    Args:
        record: The run's record.
        reading: Its mean probabilities.
        is_label_issue: (N,) flagged rows.
        judged: (N,) labelled rows that got a verdict.
        issues: What the features say; None where there are none.

    Returns:
        (N,) int8.
    """
    position = {code: number for number, code in enumerate(REASONS)}
    labelled = record.labels >= 0
    wavering = (
        variability(record.given_sum, record.given_square_sum, record.visits) >= _HARD_VARIABILITY
    )
    outlier = clashing = np.zeros(len(record), dtype=bool)
    if issues is not None:
        outlier = issues.is_outlier_issue
        if issues.near_duplicate_set is not None:
            clashing = clashing_labels(issues.near_duplicate_set, record.labels)
    trusted = np.zeros(len(record), dtype=bool) if record.trusted is None else record.trusted
    chosen = np.select(
        [
            trusted,
            outlier,
            clashing,
            ~labelled,
            labelled & (record.out_of_sample | (record.visits > 0)) & ~reading.known,
            labelled & ~judged,
            is_label_issue & (reading.p_given >= reading.p_rival),
            is_label_issue & wavering,
            is_label_issue & (reading.p_rival > 0.5),
            is_label_issue & (record.correct == 0) & (record.visits > 0),
            is_label_issue,
        ],
        [
            position["decided"],
            position["outlier"],
            position["near_duplicate"],
            position["unlabelled"],
            position["no_prediction"],
            position["few_visits"],
            position["memorised"],
            position["hard_sample"],
            position["confident_rival"],
            position["never_learned"],
            position["narrow_rival"],
        ],
        default=-1,
    )
    return chosen.astype(np.int8)


def clashing_labels(near_duplicate_set: Integers, labels: Integers) -> NDArray[np.bool_]:
    """Find the labelled rows that have a near-duplicate with another label.

    Args:
        near_duplicate_set: (N,) number of the row's set, -1 = none.
        labels: (N,) given labels, -1 = none.

    Returns:
        (N,) bool.
    """
    asked = np.flatnonzero((near_duplicate_set >= 0) & (labels >= 0))
    found = np.zeros(len(labels), dtype=bool)
    if not len(asked):
        return found
    sets, given = near_duplicate_set[asked], labels[asked]
    lowest = np.full(sets.max() + 1, np.iinfo(np.int64).max)
    highest = np.full(sets.max() + 1, -1)
    np.minimum.at(lowest, sets, given)
    np.maximum.at(highest, sets, given)
    found[asked] = (lowest < highest)[sets]
    return found
