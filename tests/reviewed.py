"""Runs to review, made by hand, so that every sample is known."""

import json

import numpy as np
import pyarrow as pa

from thresher.audit.table import write_table
from thresher.run_folder import RunFolder

CLASSES = ("<b>cat</b>", "accept", "dog", "keep")


def audit_table(rows=40, flagged=12, classes=CLASSES, unlabelled=2, seed=0):
    """Row r is given class r mod k and suggested the next one; ranks are in random order."""
    random = np.random.default_rng(seed)
    k = len(classes)
    given = np.arange(rows) % k
    labelled = np.arange(rows) < rows - unlabelled
    rank = np.zeros(rows, dtype=np.int32)
    rank[labelled] = random.permutation(labelled.sum()) + 1
    issue = labelled & (rank <= flagged)
    names = np.array(classes, dtype=object)
    table = pa.table(
        {
            "sample_id": [f"sample/{row}" for row in range(rows)],
            "split": np.where(
                labelled, np.where(np.arange(rows) % 5 == 0, "held-out", "train"), "unlabelled"
            ),
            "given_label": pa.array(names[given], mask=~labelled),
            "suggested_label": pa.array(names[(given + 1) % k]),
            "label_score": pa.array((rank / rows).astype(np.float32), mask=~labelled),
            "is_label_issue": issue,
            "rank": pa.array(rank, mask=rank == 0),
            "p_given": pa.array(np.full(rows, 0.25, np.float32), mask=~labelled),
            "p_suggested": np.full(rows, 0.75, np.float32),
            "reason": pa.array(np.where(issue, "confident_rival", None), pa.string()),
            "text": [f"text of {row} <script>alert(1)</script>" for row in range(rows)],
        }
    )
    facts = {"schema": 1, "classes": list(classes), "n": rows}
    return table.replace_schema_metadata({b"thresher": json.dumps(facts).encode()})


def run_of(path, table):
    """A finished run with this audit."""
    run = RunFolder.create(path)
    run.write_settings({"fit": {"epochs": 3}, "run": {"thresher": "0", "classes": []}})
    run.model.mkdir()
    (run.model / "model.safetensors").write_bytes(b"weights")
    run.write_summary({"schema": 1, "run": str(path), "n": len(table)})
    write_table(table, run.audit)
    run.finish()
    return run
