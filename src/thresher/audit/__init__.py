"""The label audit: from the record of one training run to a table, a summary and a report.

    Record -> judge -> Verdicts -> build_table -> audit.parquet
                                -> summarise   -> Summary
                                                  render_report, write_report -> report.html

    from_probabilities, from_embeddings   the same for predictions made elsewhere, in one call
    probabilities, judge_again            the same for a finished run, read back from its folder

Pure NumPy up to the summary; the table needs pyarrow and the report Jinja2, which are loaded when
they are used. Nothing here knows how the model was trained.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from thresher.audit.predictions import Audit, from_embeddings, from_probabilities
from thresher.audit.reasons import REASONS
from thresher.audit.record import Record, pred_probs
from thresher.audit.summary import Summary, summarise
from thresher.audit.verdicts import LEVELS, SCORES, Level, Score, Verdicts, judge

if TYPE_CHECKING:
    from thresher.audit.report import render_report, write_report
    from thresher.audit.run_record import judge_again, probabilities, record_of_run
    from thresher.audit.table import build_table, write_table

__all__ = [
    "LEVELS",
    "REASONS",
    "SCORES",
    "Audit",
    "Level",
    "Record",
    "Score",
    "Summary",
    "Verdicts",
    "build_table",
    "from_embeddings",
    "from_probabilities",
    "judge",
    "judge_again",
    "pred_probs",
    "probabilities",
    "record_of_run",
    "render_report",
    "summarise",
    "write_report",
    "write_table",
]

_LATE = {
    "judge_again": "thresher.audit.run_record",
    "probabilities": "thresher.audit.run_record",
    "record_of_run": "thresher.audit.run_record",
    "build_table": "thresher.audit.table",
    "write_table": "thresher.audit.table",
    "render_report": "thresher.audit.report",
    "write_report": "thresher.audit.report",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
