"""Auditing: what a training knows of the labels, judged, and written into the run folder.

audited:     history → Record → judge → table, summary
write_audit: history.safetensors, features.npy → audited → audit.parquet, evidence, report.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors.torch import save_file

from thresher.audit import Summary, Verdicts, judge, summarise
from thresher.audit.evidence_file import read_evidence
from thresher.audit.report import render_report, rows_shown, write_report
from thresher.audit.table import build_table, write_table
from thresher.compared_groups import compared_groups
from thresher.evidence import keep_evidence
from thresher.history import TRACE
from thresher.job import Job
from thresher.run_folder import RunFolder
from thresher.training.features import last_layer_inputs
from thresher.training.predict import as_tensor
from thresher.whole_file import whole_file

__all__ = ["Audited", "audited", "write_audit"]

SCHEMA = 1  # of history.safetensors
COMPARED_MOST = 5e12  # multiplications for outliers and near-duplicates: some ten minutes
SUSPECTS = 60  # that the report shows


@dataclass(frozen=True)
class Audited:
    """What the audit found.

    Attributes:
        verdicts: On every sample.
        table: The columns of audit.parquet.
        summary: The same in a few numbers.
    """

    verdicts: Verdicts
    table: pa.Table
    summary: Summary


def audited(job: Job, features: NDArray[np.float16] | None = None) -> Audited:
    """Judge every sample by what was seen of it; nothing is written.

    Args:
        job: Whose training has ended, or goes on.
        features: (N, d), what the last layer saw of every sample.
    """
    record = job.record()
    if features is not None and len(features) ** 2 * features.shape[1] > COMPARED_MOST:
        job.listener.note(
            f"{len(features):,} samples are too many to compare each with all others: outliers "
            "and near-duplicates are not looked for."
        )
        features = None
    inputs = None if features is None else job.samples.inputs
    if inputs is None:
        job.samples.unload()  # the audit needs the memory, and hardly any input
    verdicts = judge(record, features=features, inputs=inputs)
    table = build_table(
        record,
        verdicts,
        sample_ids=job.samples.sample_id,
        paths=job.samples.paths,
        texts=job.samples.joined_texts(),
    )
    return Audited(verdicts, table, summarise(record, verdicts))


def write_audit(
    job: Job,
    folder: RunFolder,
    epochs: list[dict[str, Any]],
    transition: NDArray[np.float64] | None = None,
) -> tuple[Summary, dict[str, Any] | None]:
    """Write the audit and its report; returns its summary, and how groups compare."""
    history = job.training.criterion.history
    columns = {name: value.cpu() for name, value in history.state_dict().items()}
    columns.pop("targets", None)  # of use to a training only, and large
    facts = json.dumps({"schema": SCHEMA, "classes": list(job.samples.classes)})
    with whole_file(folder.history) as aside:
        save_file(columns, aside, {"thresher": facts})
    features = write_features(job, folder) if job.settings.features else None
    found = audited(job, features)
    write_table(found.table, folder.audit)
    trace = columns[TRACE].numpy() if TRACE in columns else None
    keep_evidence(folder.evidence, job.samples, found.table, found.verdicts, trace, features)
    names = found.table["sample_id"]
    shown = names.take(rows_shown(found.table, SUSPECTS)).to_pylist()
    kept = read_evidence(folder.evidence, shown)
    groups = compared_groups(job, found.verdicts)
    page = render_report(
        summary=found.summary,
        table=found.table,
        metrics=epochs,
        settings=job.settings.to_table(folder.path),
        method={
            "name": job.method.name,
            "summary": first_sentence(type(job.method).__doc__ or ""),
            "source": job.method.source,
        },
        evidence=lambda row: kept.get(names[row].as_py()),
        groups=groups,
        transition=transition,
        top=SUSPECTS,
    )
    write_report(folder.report, page)
    for sentence in found.summary.warnings:
        job.listener.note(sentence)
    return found.summary, groups


def write_features(job: Job, folder: RunFolder) -> NDArray[np.float16]:
    """Keep what the last layer sees of every sample: (N, d) float16."""
    features = last_layer_inputs(
        job.model.network,
        as_tensor(job.samples.inputs),
        job.model.preparation,
        classes=len(job.samples.classes),
        device=job.training.device,
        precision=job.settings.precision,
    )
    with whole_file(folder.features) as aside, aside.open("wb") as file:
        np.save(file, features)
    return features


def first_sentence(text: str) -> str:
    """The first line of a docstring."""
    return text.strip().splitlines()[0] if text.strip() else ""
