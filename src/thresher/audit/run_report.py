"""The report of a run folder, made again from what the folder holds, as after a review.

audit.parquet, metrics.jsonl, run.toml, evidence.parquet, decisions.sqlite → report.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from thresher.audit.confusions import read_transition
from thresher.audit.evidence_file import read_evidence
from thresher.audit.report import render_report, rows_shown
from thresher.audit.suggestions import Review, precision_of_suggestions, review
from thresher.audit.summary import Summary
from thresher.audit.table import read_table, table_facts
from thresher.decisions import DecisionLog
from thresher.errors import RunError
from thresher.run_folder import RunFolder

__all__ = ["RunReport", "report_of_run"]


@dataclass(frozen=True)
class RunReport:
    """A report and what it tells.

    Attributes:
        page: The HTML page.
        summary: The audit's summary.
        review: What people decided.
        suggestion_precision: Estimated share of right suggestions among the flagged rows; None
            where nothing is flagged.
    """

    page: str
    summary: Summary
    review: Review
    suggestion_precision: float | None


def report_of_run(
    folder: RunFolder, *, method: Mapping[str, Any] | None = None, top: int = 60
) -> RunReport:
    """Make the report of a run from its folder; neither the data nor the model is needed.

    Args:
        folder: A run with an audit.
        method: ``name``, ``summary`` and ``source`` of the training method.
        top: Number of suspects to show, 1 to `thresher.audit.report.LARGEST_TOP`.

    Raises:
        ParameterError: top outside its range.
        RunError: the run has no audit, or one of its files is damaged.
    """
    table = read_audit(folder)
    summary = Summary.from_json(table_facts(table)["summary"])
    with DecisionLog(folder.decisions, read_only=True) as log:
        decisions = log.current()
    names = table["sample_id"]
    kept = read_evidence(folder.evidence, names.take(rows_shown(table, max(top, 0))).to_pylist())
    page = render_report(
        summary=summary,
        table=table,
        metrics=read_metrics(folder),
        settings=folder.read_settings()["fit"],
        method=method,
        evidence=lambda row: kept.get(names[row].as_py()),
        decisions=decisions,
        groups=folder.read_summary().get("groups") if folder.summary.is_file() else None,
        transition=read_transition(folder.transition, summary.classes),
        top=top,
    )
    return RunReport(
        page,
        summary,
        review(table, decisions),
        precision_of_suggestions(table, summary.noise_rate.estimate),
    )


def read_audit(folder: RunFolder) -> pa.Table:
    """The audit table of a run, with its summary.

    Raises:
        RunError: there is none, it is damaged, or it was written before it held the summary.
    """
    table = read_table(folder.audit)
    if "summary" not in table_facts(table):
        raise RunError(f"{folder.audit} holds no summary of the audit.", "Train again.")
    return table


def read_metrics(folder: RunFolder) -> list[dict[str, Any]]:
    """The metrics of every epoch; none where the file is gone.

    Raises:
        RunError: the file is damaged.
    """
    if not folder.metrics.is_file():
        return []
    try:
        return folder.read_metrics()
    except (OSError, ValueError) as error:
        raise RunError(
            f"{folder.metrics} cannot be read: {error}.",
            "Delete it: the report goes on without the curves of the training.",
        ) from error
