"""Why a row is marked: the fixed vocabulary of the column ``reason``, with a sentence for each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thresher.audit.record import Reading, Record
from thresher.audit.scores import variability

__all__ = ["REASONS", "reason_codes"]

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
}

# Swinging between 0.2 and 0.8 for the same time each gives 0.3; the largest possible value is 0.5.
_HARD_VARIABILITY = 0.3


def reason_codes(
    record: Record, reading: Reading, is_label_issue: NDArray[np.bool_], judged: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """Choose the reason of every row: the position of its code in `REASONS`, -1 = nothing to say.

    Args:
        record: The run's record.
        reading: Its mean probabilities.
        is_label_issue: (N,) flagged rows.
        judged: (N,) labelled rows that got a verdict.

    Returns:
        (N,) int8.
    """
    position = {code: number for number, code in enumerate(REASONS)}
    labelled = record.labels >= 0
    wavering = (
        variability(record.given_sum, record.given_square_sum, record.visits) >= _HARD_VARIABILITY
    )
    chosen = np.select(
        [
            ~labelled,
            labelled & (record.visits > 0) & ~reading.known,
            labelled & ~judged,
            is_label_issue & (reading.p_given >= reading.p_rival),
            is_label_issue & wavering,
            is_label_issue & (reading.p_rival > 0.5),
            is_label_issue & (record.correct == 0),
            is_label_issue,
        ],
        [
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
