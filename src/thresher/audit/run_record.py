"""The record of a finished run, read back from its folder without torch.

history.safetensors, audit.parquet -> Record -> pred_probs, judge
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from thresher.audit.features import FeatureIssues
from thresher.audit.record import Record, pred_probs
from thresher.audit.stored_matrix import stored_array
from thresher.audit.table import build_table, class_numbers, read_table
from thresher.audit.verdicts import Level, Score, Verdicts, judge
from thresher.errors import DataError, RunError
from thresher.run_folder import RunFolder

__all__ = ["judge_again", "probabilities", "record_of_run"]

_COLUMNS = {
    *("visits", "correct", "forgetting", "loss_sum", "margin_sum", "given_sum", "given_square_sum"),
    *("window_visits", "probability_sum", "top_classes", "top_sums", "given_window_sum"),
    *("eligible", "trusted", "held_out_rows", "held_out_average", "held_out_visits"),
}


def probabilities(run: RunFolder | str | os.PathLike[str]) -> NDArray[np.float32]:
    """The matrix of mean probabilities of a finished run, as cleanlab's functions want it.

    Columns are in the order of the run's classes. Unlabelled rows hold the probability of their
    predicted class, the rest spread evenly: the run keeps no more of them.

    Args:
        run: The run, or its folder.

    Returns:
        (N, k) float32 in the order of audit.parquet; every row sums to 1.

    Raises:
        RunError: no finished run with an audit, or one of its files is damaged.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)  # type: ignore[arg-type]
    return pred_probs(record_of_run(folder))


def record_of_run(folder: RunFolder) -> Record:
    """What a finished run remembers of its samples.

    Raises:
        RunError: it is not finished or has no audit, or one of its files is damaged.
    """
    return _record(folder.require_complete(), read_table(folder.audit))


def judge_again(
    folder: RunFolder, level: Level = "balanced", score: Score = "log_margin"
) -> pa.Table:
    """The audit table of a finished run, judged at another level or by another score.

    What features said of outliers and near-duplicates is taken from the run's own table.

    Args:
        folder: The run, which stays as it is.
        level: "balanced", "high_precision" or "high_recall".
        score: "log_margin"; "ensemble" needs the run's features.

    Raises:
        ParameterError: an unknown level or score.
        RunError: the run is not finished, has no audit or not the features that the score needs, or
            one of its files is damaged.
    """
    own = read_table(folder.require_complete().audit)
    record = _record(folder, own)
    features = _features(folder) if score == "ensemble" else None
    verdicts = judge(record, level, score=score, features=features, issues=_issues(own))
    return _with_own_names(record, verdicts, own)


def _record(folder: RunFolder, table: pa.Table) -> Record:
    try:
        with safe_open(folder.history, "numpy") as stored:
            classes = json.loads(stored.metadata()["thresher"])["classes"]
            held = _COLUMNS & set(stored.keys())
            columns = {name: stored.get_tensor(name) for name in held}
    except FileNotFoundError as error:
        raise RunError(
            f"The run in {folder.path} holds no history.safetensors.", "Train again with an audit."
        ) from error
    except (OSError, SafetensorError, TypeError, KeyError, ValueError) as error:
        raise RunError(
            f"{folder.history} cannot be read: it is damaged.", "Copy it again, or train again."
        ) from error
    labels = class_numbers(table["given_label"], classes)
    if len(labels) != len(columns.get("visits", labels)):
        raise RunError(
            f"{folder.history} and {folder.audit} are of different runs.", "Copy the whole run."
        )
    record = Record.from_history(columns, labels, classes)
    unlabelled = np.flatnonzero(labels < 0)
    predicted = class_numbers(table["predicted_label"], classes)[unlabelled]
    if not (predicted >= 0).any():
        return record
    strength = table["p_suggested"].to_numpy()[unlabelled]
    return replace(record, final_probability=_spread(predicted, strength, len(classes)))


def _spread(
    predicted: NDArray[np.int64], strength: NDArray[np.float32], classes: int
) -> NDArray[np.float32]:
    """(M, k) rows of one known probability; the rest is spread evenly, all of it where unknown."""
    known = np.isfinite(strength) & (predicted >= 0)
    rest = np.where(known, (1.0 - strength) / (classes - 1), 1.0 / classes)
    rows = np.repeat(rest.astype(np.float32)[:, None], classes, axis=1)
    rows[known, predicted[known]] = strength[known]
    return rows


def _features(folder: RunFolder) -> NDArray[Any]:
    if not folder.features.is_file():
        raise RunError(
            f'The run in {folder.path} keeps no features, which the score "ensemble" needs.',
            "Choose another score, or train again and keep the features.",
        )
    try:
        return stored_array(folder.features)
    except DataError as error:
        raise RunError(
            f"{folder.features} cannot be read: it is damaged.", "Copy it again, or train again."
        ) from error


def _issues(table: pa.Table) -> FeatureIssues | None:
    """What an audit table holds of outliers and near-duplicates."""
    if "is_outlier_issue" not in table.column_names:
        return None
    sets = None
    if "near_duplicate_set" in table.column_names:
        sets = table["near_duplicate_set"].fill_null(-1).to_numpy().astype(np.int32)
    return FeatureIssues(
        table["outlier_score"].fill_null(np.nan).to_numpy().astype(np.float32),
        table["is_outlier_issue"].to_numpy(),
        sets,
    )


def _with_own_names(record: Record, verdicts: Verdicts, own: pa.Table) -> pa.Table:
    """The new table with what identifies the samples in the run's own one."""
    texts = {
        name: own[column]
        for name, column in (("paths", "path"), ("texts", "text"))
        if column in own.column_names
    }
    return build_table(record, verdicts, sample_ids=own["sample_id"], **texts)
