"""Plan: what becomes of every row of the data, and whether they are still those of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from thresher.corrected.corrections import SUGGESTION, Corrections
from thresher.corrected.rows import (
    changed_data,
    name_all,
    refuse_other_rows,
    row_names,
    rows_by_name,
    rows_in_order,
)
from thresher.corrected.source import Rows, Source, read_tested
from thresher.data import Encoding
from thresher.data.columns import dense
from thresher.data.labels import read_labels
from thresher.data.roles import class_codes
from thresher.decisions import Decided
from thresher.errors import LabelError
from thresher.settings import MARKED, FitSettings

__all__ = ["Plan", "Reviewed", "plan_changes", "plan_rows"]


@dataclass(frozen=True)
class Reviewed:
    """A run and what was decided of it.

    Attributes:
        settings: Of the run.
        table: Its audit, M rows.
        classes: Its class names.
        skipped: Rows that it could not read, as `thresher.data.samples.SKIPPED`.
        earlier: Decisions that it was started with, by sample_id.
        corrections: What becomes of its samples.
    """

    settings: FitSettings
    table: pa.Table
    classes: tuple[str, ...]
    skipped: pa.Table
    earlier: Mapping[str, Decided]
    corrections: Corrections

    @property
    def whole(self) -> bool:
        """Whether every row that could be read is a sample of the run."""
        settings = self.settings
        whole = settings.limit is None and settings.decisions is None
        return whole and settings.auxiliary != MARKED


@dataclass(frozen=True)
class Plan:
    """What becomes of the N rows of a source.

    Attributes:
        original: (N,) int64 class as the data have it, -1 = no label.
        label: (N,) int64 class to write.
        stays: (N,) bool, False = left out.
        decision: (N,) texts, as in `Corrections`.
        left: (N,) bool, rows of a test split that would have changed.
        audited: (N,) int64 row of the audit, -1 = none.
        row: (N,) int64 row of the data, -1 = not known.
        named: sample_id of rows that are in no audit row but left out, by row.
        missing: How many decided samples are not in the data.
    """

    original: NDArray[np.int64]
    label: NDArray[np.int64]
    stays: NDArray[np.bool_]
    decision: NDArray[np.object_]
    left: NDArray[np.bool_]
    audited: NDArray[np.int64]
    row: NDArray[np.int64]
    named: Mapping[int, str]
    missing: int

    @property
    def changed(self) -> NDArray[np.bool_]:
        """(N,) rows that are written with another label."""
        changed: NDArray[np.bool_] = self.stays & (self.label != self.original)
        return changed

    def counts(self, table: pa.Table) -> dict[str, int]:
        """The counts of `Exported`."""
        changed = self.changed
        resting = self.stays & ~changed & ~self.left
        unsure = resting & (self.decision == "unsure")
        undecided = resting & np.isin(self.decision, ["", SUGGESTION])
        held_out = pc.equal(table["split"], "held-out").to_numpy()
        return {
            "changed": int(changed.sum()),
            "suggested": int((changed & (self.decision == SUGGESTION)).sum()),
            "held_out": int(held_out[self.audited[changed & (self.audited >= 0)]].sum()),
            "dropped": int((~self.stays).sum()),
            "kept": int((resting & ~unsure & ~undecided).sum()),
            "unsure": int(unsure.sum()),
            "undecided": int(undecided.sum()),
            "test": int(self.left.sum()),
            "missing": self.missing,
        }

    def listed(self, table: pa.Table, classes: Sequence[str]) -> list[dict[str, Any]]:
        """The list of changes, in the order of the rows."""
        return list(self._listed(table, classes))

    def _listed(self, table: pa.Table, classes: Sequence[str]) -> Iterator[dict[str, Any]]:
        rows = np.flatnonzero(self.changed | ~self.stays)
        audited = self.audited[rows]
        columns = [name for name in ("sample_id", "path", "split") if name in table.column_names]
        taken = pa.array(np.where(audited < 0, 0, audited))
        found = table.select(columns).take(taken).to_pylist() if len(rows) else []
        for row, inside, names in zip(rows.tolist(), audited >= 0, found, strict=True):
            original, place = int(self.original[row]), int(self.row[row])
            yield {
                "sample_id": names["sample_id"] if inside else self.named[row],
                "path": names.get("path") if inside else None,
                "row": None if place < 0 else place,
                "label_original": None if original < 0 else classes[original],
                "label": classes[int(self.label[row])] if self.stays[row] else None,
                "decision": self.decision[row],
                "split": names["split"] if inside else None,
            }

    def like(self, column: pa.ChunkedArray, classes: Sequence[str], source: Path) -> Any:
        """The row whose label cell each row gets, (N,) int64: its own, or one of its new class.

        A label is written as the data themselves write it, as text, number or code.

        Raises:
            RunError: no row of the data has a class that is to be written.
        """
        examples = np.full(len(classes), -1)
        found, first = np.unique(self.original, return_index=True)
        examples[found[found >= 0]] = first[found >= 0]
        texts = dense(column)
        if pa.types.is_large_string(texts.type):  # of " cat" and "cat", the name itself
            exact = pc.index_in(pa.array(list(classes), texts.type), value_set=texts)
            exact = exact.fill_null(-1).to_numpy(zero_copy_only=False)
            examples = np.where(exact >= 0, exact, examples)
        changed = self.changed
        like = np.arange(len(self.label))
        like[changed] = examples[self.label[changed]]
        if (like < 0).any():
            lacking = classes[int(self.label[np.flatnonzero(like < 0)[0]])]
            raise changed_data(source, f'no row has the class "{lacking}"')
        return like


def plan_rows(
    reviewed: Reviewed,
    source: Source,
    rows: Rows,
    encoding: Encoding,
    *,
    include_test: bool,
) -> Plan:
    """Plan what becomes of rows that were read.

    Args:
        reviewed: The run and its decisions.
        source: Where the rows came from.
        rows: The N rows.
        encoding: How the run made its inputs.
        include_test: Whether rows of a test split are corrected as well.

    Raises:
        RunError: the rows are not those of the run.
    """
    assert source.path is not None
    table, corrections, ids = reviewed.table, reviewed.corrections, reviewed.table["sample_id"]
    skipped = reviewed.skipped["row"].to_pylist()
    names = row_names(rows, encoding)
    in_order = names is None and reviewed.whole
    read = np.arange(len(rows))  # the row of each name
    if in_order:
        if len(table) + len(skipped) != len(rows):
            now = f"it has {len(rows):,} rows, the run read {len(table) + len(skipped):,}"
            raise changed_data(source.path, now)
        place = rows_in_order(len(table), skipped)
    elif names is None:
        samples = name_all(reviewed.settings, source, reviewed.classes)
        read = rows_in_order(len(samples), samples.skipped["row"].to_pylist())
        names = samples.sample_id
        place = read[rows_by_name(ids, names, source.path)]
    else:
        place = rows_by_name(ids, names, source.path)
        # by name, as other files may have come since
        skipped = pc.index_in(reviewed.skipped["sample_id"], value_set=names).drop_null()
        skipped = skipped.to_pylist()
    original = _original(rows, reviewed.classes, source, skipped)
    _refuse_other_labels(original[place], reviewed, source.path)
    label, stays = original.copy(), np.ones(len(rows), dtype=bool)
    decision = np.full(len(rows), "", dtype=object)
    label[place], stays[place] = corrections.label, ~corrections.excluded
    decision[place] = corrections.decision
    named = {} if names is None else _left_out(corrections.missing, names, read)
    for row in named:
        stays[row], decision[row] = False, "exclude"
    left = rows.tested & ((label != original) | ~stays) & (not include_test)
    label[left], stays[left] = original[left], True
    audited = np.full(len(rows), -1)
    audited[place] = np.arange(len(table))
    plan = Plan(
        original=original,
        label=label,
        stays=stays,
        decision=decision,
        left=left,
        audited=audited,
        row=np.arange(len(rows)),
        named=named,
        missing=len(corrections.missing) - len(named),
    )
    if in_order:
        touched = np.flatnonzero(plan.changed | ~stays)
        refuse_other_rows(
            rows.table.take(pa.array(touched)),
            ids.take(pa.array(audited[touched])),
            encoding,
            source.path,
        )
    return plan


def plan_changes(reviewed: Reviewed, source: Source, *, include_test: bool) -> Plan:
    """Plan a list of changes of data that are not written anew.

    The rows are the samples of the run, and those that an earlier review excluded. The data are
    read only for a column that names a test split, and where the run does not tell which of their
    rows it took; of arrays in memory nobody knows it then.

    Args:
        reviewed: The run and its decisions.
        source: Where the rows came from, of the form "other".
        include_test: Whether rows of a test split are corrected as well.

    Raises:
        RunError: the data are not those of the run.
    """
    corrections, count = reviewed.corrections, len(reviewed.table)
    row, original = np.full(count, -1), corrections.given
    label, stays, decision = corrections.label, ~corrections.excluded, corrections.decision
    audited, before = np.arange(count), {}
    if reviewed.whole:
        row = rows_in_order(count, reviewed.skipped["row"].to_pylist())
    elif source.path is not None:
        samples = name_all(reviewed.settings, source, reviewed.classes)
        read = rows_in_order(len(samples), samples.skipped["row"].to_pylist())
        place = rows_by_name(reviewed.table["sample_id"], samples.sample_id, source.path)
        _refuse_other_labels(samples.labels[place], reviewed, source.path)
        before = _left_out(corrections.missing, samples.sample_id, np.arange(len(samples)))
        place = np.concatenate([place, np.array(list(before), np.int64)])
        row, original = read[place], samples.labels[place]
        label = np.concatenate([label, original[count:]])
        stays = np.concatenate([stays, np.zeros(len(before), dtype=bool)])
        decision = np.concatenate([decision, np.full(len(before), "exclude", dtype=object)])
        audited = np.concatenate([audited, np.full(len(before), -1)])
    touched = (label != original) | ~stays
    left = np.zeros(len(row), dtype=bool)
    tested = read_tested(source) if touched.any() and not include_test else None
    if tested is not None:
        assert source.path is not None
        if reviewed.whole and len(tested) != count + len(reviewed.skipped):
            now = f"it has {len(tested):,} rows, the run read {count + len(reviewed.skipped):,}"
            raise changed_data(source.path, now)
        left = tested[row] & touched
    order = np.argsort(row, kind="stable")
    named = dict(zip(range(count, len(row)), before.values(), strict=True))
    return Plan(
        original=original[order],
        label=np.where(left, original, label)[order],
        stays=(stays | left)[order],
        decision=decision[order],
        left=left[order],
        audited=audited[order],
        row=row[order],
        named={place: named[each] for place, each in enumerate(order.tolist()) if each in named},
        missing=len(corrections.missing) - len(before),
    )


def _left_out(
    missing: Mapping[str, Decided], names: pa.StringArray, read: NDArray[np.int64]
) -> dict[int, str]:
    """Rows that an earlier review excluded, so that the run never saw them: row → sample_id."""
    excluded = [name for name, each in missing.items() if each.decision == "exclude"]
    found = pc.index_in(pa.array(excluded, pa.string()), value_set=names).to_pylist()
    return {
        int(read[place]): name
        for name, place in zip(excluded, found, strict=True)
        if place is not None
    }


def _original(
    rows: Rows, classes: Sequence[str], source: Source, skipped: Sequence[int]
) -> NDArray[np.int64]:
    """The class of each row as the data have it, (N,) int64; -1 too for what cannot be read."""
    read = np.delete(np.arange(len(rows)), np.array(skipped, np.int64))
    original = np.full(len(rows), -1)
    assert source.path is not None
    try:
        found = read_labels(
            rows.labels.take(pa.array(read)),
            name="the column of labels",
            classes=classes,
            codes=class_codes(rows.table, source.label),
        )
    except LabelError as error:
        raise changed_data(source.path, error.cause.rstrip(".")) from error
    original[read] = found.values
    return original


def _refuse_other_labels(original: NDArray[np.int64], reviewed: Reviewed, source: Path) -> None:
    """Refuse data whose labels are not those of the run, but for what was decided before it.

    Args:
        original: (M,) class of each sample as the data have it.
        reviewed: The run.
        source: What errors call the data.

    Raises:
        RunError: names the first sample.
    """
    ids = reviewed.table["sample_id"]
    differs = original != reviewed.corrections.given
    if reviewed.earlier:
        earlier = pa.array(list(reviewed.earlier), pa.string())
        differs &= ~pc.is_in(ids, value_set=earlier).to_numpy()
    if differs.any():
        first = ids[int(np.flatnonzero(differs)[0])].as_py()
        raise changed_data(source, f'the sample "{first}" has another label')
