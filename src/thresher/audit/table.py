"""The audit table: one row per sample in input order, as Arrow and as Parquet.

    sample_id          string           split             train | held-out | unlabelled
    given_label        string           predicted_label   most probable class, given one included
    suggested_label    string           most probable class other than the given one
    label_score        float32          0-1, low = suspect, 0.5 = tie with the rival
    is_label_issue     bool             rank              int32, 1 = most suspect
    p_given            float32          p_suggested       float32
    in_training        bool             reason            code of `thresher.audit.reasons`
    path               string           only where samples are files
    text               string           only where samples hold free text
    aum, confidence, variability, correctness   float32   diagnostics of the whole run
    forgetting, visits                          int32
    outlier_score      float32          mean cosine to the nearest samples, low = like no other
    is_outlier_issue   bool
    verdict            clean | mislabelled | out-of-distribution; these three only with features
    near_duplicate_set int32            number of the set of near-duplicates the sample is in
    is_near_duplicate_issue   bool      both only where features and inputs were compared

Null means "not known". Labels are names, never numbers; ``is_label_issue``, ``label_score``,
``given_label`` and ``predicted_label`` mean what they mean in cleanlab's Datalab. The schema's
metadata hold, under the key ``thresher``, a JSON object with the schema version, the classes, the
noise rate, the score that ranks, and the summary. Strings are plain: Parquet packs repeated ones by
itself, and comparing two columns of a categorical type fails in pandas as soon as their categories
differ.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.audit.reasons import REASONS
from thresher.audit.record import Record
from thresher.audit.scores import (
    area_under_margin,
    confidence,
    correctness,
    forgetting_events,
    variability,
)
from thresher.audit.summary import summarise
from thresher.audit.verdicts import Verdicts
from thresher.errors import ParameterError, RunError
from thresher.openset.partition import VERDICTS
from thresher.whole_file import whole_file

__all__ = [
    "METADATA_KEY",
    "SCHEMA_VERSION",
    "SPLITS",
    "build_table",
    "class_numbers",
    "read_table",
    "table_facts",
    "write_table",
]

SCHEMA_VERSION = 1
METADATA_KEY = b"thresher"
ROWS_PER_GROUP = 2**16  # so that a review reads the texts of some rows, not of all
SPLITS = ("train", "held-out", "unlabelled")


def build_table(
    record: Record,
    verdicts: Verdicts,
    *,
    sample_ids: Sequence[Any] | NDArray[Any] | pa.Array,
    paths: Sequence[str | None] | NDArray[Any] | pa.Array | None = None,
    texts: Sequence[str | None] | NDArray[Any] | pa.Array | None = None,
) -> pa.Table:
    """Lay out record and verdicts as the audit table.

    Args:
        record: What the run remembers, N rows.
        verdicts: What `thresher.audit.verdicts.judge` made of it.
        sample_ids: N identifiers; anything that is no string is written as one.
        paths: N file paths, None where a sample has none.
        texts: N texts, None where a sample has none.

    Returns:
        A table of N rows with the columns named at the top of this file.

    Raises:
        ParameterError: the identifiers or paths are not N.
    """
    n = len(record)
    split = np.where(record.labels < 0, 2, np.where(record.in_training, 0, 1))
    columns: dict[str, pa.Array] = {
        "sample_id": _strings("sample_ids", sample_ids, n),
        "split": _names(split, SPLITS),
        "given_label": _names(record.labels, record.classes),
        "predicted_label": _names(verdicts.predicted, record.classes),
        "suggested_label": _names(verdicts.suggested, record.classes),
        "label_score": _floats(verdicts.label_score),
        "is_label_issue": pa.array(verdicts.is_label_issue),
        "rank": pa.array(verdicts.rank, mask=verdicts.rank == 0),
        "p_given": _floats(verdicts.p_given),
        "p_suggested": _floats(verdicts.p_suggested),
        "in_training": pa.array(np.asarray(record.in_training, dtype=bool)),
        "reason": _names(verdicts.reason, tuple(REASONS)),
    }
    if paths is not None:
        columns["path"] = _strings("paths", paths, n)
    if texts is not None:
        columns["text"] = _strings("texts", texts, n)
    columns.update(_diagnostics(record))
    columns.update(_feature_issues(verdicts))
    facts = {
        "schema": SCHEMA_VERSION,
        "classes": list(record.classes),
        "n": n,
        "n_label_issues": int(np.count_nonzero(verdicts.is_label_issue)),
        "level": verdicts.level,
        "score": verdicts.score,
        "noise_rate": asdict(verdicts.noise_rate),
        "memorised": verdicts.memorised,
        "summary": summarise(record, verdicts).to_json(),
    }
    metadata = {METADATA_KEY: json.dumps(facts, ensure_ascii=False).encode()}
    return pa.table(columns).replace_schema_metadata(metadata)


def table_facts(table: pa.Table) -> dict[str, Any]:
    """Read back the JSON object in an audit table's metadata.

    Raises:
        ParameterError: the table is not an audit table, or is of a newer version.
    """
    stored = (table.schema.metadata or {}).get(METADATA_KEY)
    if stored is None:
        raise ParameterError(
            "The table is not an audit table: its metadata have no key thresher.",
            "Pass a table made by build_table or read from an audit.parquet.",
        )
    facts: dict[str, Any] = json.loads(stored)
    if facts["schema"] > SCHEMA_VERSION:
        raise ParameterError(
            f"The audit table has schema {facts['schema']}, this version reads {SCHEMA_VERSION}.",
            "Install a newer thresher.",
        )
    return facts


def read_table(path: str | os.PathLike[str]) -> pa.Table:
    """Read the audit.parquet of a run.

    Raises:
        RunError: there is none, or it is damaged.
    """
    try:
        return pq.read_table(path)
    except FileNotFoundError as error:
        folder, name = os.path.split(path)
        raise RunError(
            f"The run in {folder} holds no {name}.", "Train again with an audit."
        ) from error
    except (OSError, pa.ArrowException) as error:
        raise RunError(
            f"{path} cannot be read: it is damaged.", "Copy it again, or train again."
        ) from error


def class_numbers(names: pa.ChunkedArray, classes: Sequence[str]) -> NDArray[np.int64]:
    """Number a column of class names.

    Args:
        names: N strings, such as the column given_label.
        classes: The k class names.

    Returns:
        (N,) int64 in 0..k-1; -1 where there is none.
    """
    places = pc.index_in(names, value_set=pa.array(list(classes), pa.string()))
    numbers: NDArray[np.int64] = places.fill_null(-1).to_numpy().astype(np.int64)
    return numbers


def write_table(table: pa.Table, path: str | os.PathLike[str]) -> None:
    """Write an audit table as Parquet; the file appears whole or not at all.

    Raises:
        RunError: the file cannot be written.
    """
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROWS_PER_GROUP)


def _diagnostics(record: Record) -> dict[str, pa.Array]:
    labelled = record.labels >= 0
    visits = np.where(labelled, record.visits, 0)
    seen = visits > 0
    forgetting = forgetting_events(record.forgetting, record.correct, visits)
    return {
        "aum": _floats(area_under_margin(record.margin_sum, visits)),
        "confidence": _floats(confidence(record.given_sum, visits)),
        "variability": _floats(variability(record.given_sum, record.given_square_sum, visits)),
        "correctness": _floats(correctness(record.correct, visits)),
        "forgetting": pa.array(forgetting, mask=~seen),
        "visits": pa.array(record.visits.astype(np.int32)),
    }


def _feature_issues(verdicts: Verdicts) -> dict[str, pa.Array]:
    """The columns that only features give, as far as they were looked for."""
    issues, partition = verdicts.issues, verdicts.partition()
    if issues is None or partition is None:
        return {}
    columns = {
        "outlier_score": _floats(issues.outlier_score),
        "is_outlier_issue": pa.array(issues.is_outlier_issue),
        "verdict": _names(partition, VERDICTS),
    }
    sets = issues.near_duplicate_set
    if sets is not None:
        columns["near_duplicate_set"] = pa.array(sets, mask=sets < 0)
        columns["is_near_duplicate_issue"] = pa.array(sets >= 0)
    return columns


def _floats(values: NDArray[np.float32]) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))


def _names(codes: NDArray[Any], names: Sequence[str]) -> pa.Array:
    """Replace each code by its name; negative codes become null."""
    indices = pa.array(codes.astype(np.int32), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.string())).cast(
        pa.string()
    )


def _strings(name: str, values: Any, n: int) -> pa.Array:
    if len(values) != n:
        raise ParameterError(
            f"{name} must have {n} entries, got {len(values)}.", "Pass one for every sample."
        )
    if not isinstance(values, pa.Array | pa.ChunkedArray):
        try:
            values = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):
            # Numbers among strings, or file names that are no valid UTF-8.
            values = pa.array([None if each is None else _text(each) for each in values])
    return values.cast(pa.string())


def _text(value: Any) -> str:
    return str(value).encode("utf-8", errors="backslashreplace").decode()
