"""Rows of a benchmark as a table: one a cell, finished or not. Null = not known or no such thing.

method, noise, seed         the cell          status, reason   done, failed or skipped, and why
n, n_validation, n_test     samples           noise_rate       realised, of the trained samples
last, mean_of_last_ten, validation_selected   accuracy on true test labels
best_on_test                chosen on the test set itself: no figure of a method
label_precision, label_recall, coverage, replaced, correction_error   evaluation.trust
rate_estimate, rate_error   a method's own noise rate, and how far it is off
transition_error            how far a method's own transition matrix is off: evaluation.rows_apart
audit_average_precision, audit_auroc, audit_rate_error, suggestion_accuracy   of its audit
worst_group, worst_group_accuracy, demographic_parity_gap, equalised_odds_gap   of the test set
groups                      what was trusted of every given class in every group
cpu_seconds, wall_seconds   of the training
held_mib, peak_mib          memory of the process before the training, and the most during it
test_accuracies, validation_accuracies        after every epoch
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from thresher.whole_file import whole_file

__all__ = ["COLUMNS", "SCHEMA_VERSION", "rows_table", "write_rows"]

SCHEMA_VERSION = 1

SHARES = (
    "noise_rate",
    "last",
    "mean_of_last_ten",
    "validation_selected",
    "best_on_test",
    "label_precision",
    "label_recall",
    "coverage",
    "replaced",
    "correction_error",
    "rate_estimate",
    "rate_error",
    "transition_error",
    "audit_average_precision",
    "audit_auroc",
    "audit_rate_error",
    "suggestion_accuracy",
    "worst_group_accuracy",
    "demographic_parity_gap",
    "equalised_odds_gap",
    "cpu_seconds",
    "wall_seconds",
    "held_mib",
    "peak_mib",
)

GROUP = pa.struct(
    [
        ("label", pa.string()),
        ("group", pa.string()),
        ("n", pa.int64()),
        ("selection_rate", pa.float64()),
        ("label_precision", pa.float64()),
        ("label_recall", pa.float64()),
        ("small", pa.bool_()),
    ]
)

#: Name → type of every column.
COLUMNS = pa.schema(
    [
        ("method", pa.string()),
        ("noise", pa.string()),
        ("seed", pa.int64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("thresher", pa.string()),
        ("n", pa.int64()),
        ("n_validation", pa.int64()),
        ("n_test", pa.int64()),
        ("classes", pa.int64()),
        ("epochs", pa.int64()),
        ("validation_epoch", pa.int64()),
        ("best_on_test_epoch", pa.int64()),
        ("worst_group", pa.string()),
        *((name, pa.float64()) for name in SHARES),
        ("test_accuracies", pa.list_(pa.float64())),
        ("validation_accuracies", pa.list_(pa.float64())),
        ("groups", pa.list_(GROUP)),
    ]
)


def rows_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The rows of cells as a table of fixed columns."""
    facts = json.dumps({"schema": SCHEMA_VERSION})
    found = [{name: row.get(name) for name in COLUMNS.names} for row in rows]
    return pa.Table.from_pylist(found, schema=COLUMNS.with_metadata({"thresher": facts}))


def write_rows(table: pa.Table, path: str | os.PathLike[str]) -> None:
    """Write them as Parquet; the file appears whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    with whole_file(path) as aside:
        pq.write_table(table, aside, compression="zstd")
