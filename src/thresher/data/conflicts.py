"""Conflicts: samples of identical content whose labels differ, and how often content repeats."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from thresher.data.keys import Words, conflicting, repeated
from thresher.data.samples import CONFLICTS, Samples
from thresher.data.wording import counted, quoted

__all__ = ["with_conflicts"]

REPEATED_SHARE = 0.01  # of samples that repeat earlier ones: from here on it is said aloud


def with_conflicts(samples: Samples, keys: Words) -> Samples:
    """List the samples whose content occurs again under another label, and say so.

    Args:
        samples: N of them.
        keys: (N,) uint64, equal for equal content.
    """
    rows, others = conflicting(keys, samples.labels)
    here, there = pa.array(rows), pa.array(others)
    names = pa.array(samples.classes, pa.string())
    nowhere = pa.nulls(len(rows), pa.string())
    columns = [
        samples.sample_id.take(here),
        nowhere if samples.paths is None else samples.paths.take(here),
        names.take(pa.array(samples.labels[rows])),
        samples.sample_id.take(there),
        names.take(pa.array(samples.labels[others])),
    ]
    conflicts = pa.table(columns, schema=CONFLICTS)
    notes = samples.notes
    if len(rows):
        first = conflicts.slice(0, 1).to_pylist()[0]
        notes += (
            f"{counted(len(rows), 'sample')} of {len(samples):,} equal another one of a different "
            f"label, such as {quoted(first['sample_id'])} ({quoted(first['given_label'])}) and "
            f"{quoted(first['duplicate_of'])} ({quoted(first['other_label'])}).",
        )
    again = repeated(keys)
    if again > REPEATED_SHARE * len(samples):
        notes += (f"{counted(again, 'sample')} of {len(samples):,} repeat an earlier one.",)
    return replace(samples, conflicts=conflicts, notes=notes)
