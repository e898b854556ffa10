"""How the groups of a column compare in a run: who is trusted, and how well each is predicted.

the column kept aside → group_report.py (the figures) → the report, summary.json
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from thresher.audit import Verdicts
from thresher.data import Samples
from thresher.group_report import Fairness, fairness, numbered, selection_by_group
from thresher.job import Job

__all__ = ["compared_groups"]


def compared_groups(job: Job, verdicts: Verdicts) -> dict[str, Any] | None:
    """How groups compare: who is trusted, and how well each is predicted.

    Trusted is what the audit does not call wrong. Predictions are judged on test data that have
    the column, else on the rows held out of training and their given labels.

    Returns:
        An object of JSON; None if no column was named.
    """
    column, samples = job.settings.group_report, job.samples
    if column is None or samples.aside is None:
        return None
    codes, names = numbered(samples.aside[column].to_pylist())
    cells = selection_by_group(
        ~verdicts.is_label_issue, samples.labels, codes, names, samples.classes
    )
    found: dict[str, Any] = {"column": column, "judged_on": None}
    judged = judged_by_group(job, column)
    if judged is None:
        empty = Fairness((), None, None, None, None)
        return found | empty.to_json() | {"selection": [asdict(each) for each in cells]}
    on, rows = judged
    assert rows.aside is not None
    codes, names = numbered(rows.aside[column].to_pylist())
    predicted = job.model.probabilities(rows, job.training.device).argmax(1)
    fair = fairness(predicted, rows.labels, codes, names, len(samples.classes))
    found["judged_on"] = on
    return found | fair.to_json() | {"selection": [asdict(each) for each in cells]}


def judged_by_group(job: Job, column: str) -> tuple[str, Samples] | None:
    """The labelled samples on which groups are compared, and what they are."""
    tested = job.tested
    if tested is not None and tested.aside is not None and column in tested.aside.column_names:
        return "test", tested.take(tested.labels >= 0)
    held_out = ~job.training.criterion.history["eligible"].cpu().numpy()
    held_out &= job.samples.labels >= 0
    return ("held-out", job.samples.take(held_out)) if held_out.any() else None
