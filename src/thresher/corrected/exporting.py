"""Exporting: from a reviewed run to corrected data, and what was changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from thresher.audit.suggestions import suggestion_precision
from thresher.audit.table import read_table, table_facts
from thresher.corrected.changes import check_changes_name, write_changes
from thresher.corrected.corrections import SUGGESTION, correct
from thresher.corrected.place import refuse_place
from thresher.corrected.plan import Plan, Reviewed, plan_changes, plan_rows
from thresher.corrected.rows import stored_encoding
from thresher.corrected.source import Source, find_source, names_a_test, read_rows
from thresher.corrected.writing import form_of, is_folder, write_rows
from thresher.data.encoding import CategoryColumn, Encoding
from thresher.data.samples import SKIPPED
from thresher.data.wording import counted
from thresher.decided import kept_decided
from thresher.decisions import DecisionLog
from thresher.errors import ParameterError
from thresher.run_folder import RunFolder
from thresher.settings import FitSettings
from thresher.whole_file import whole_file

__all__ = ["Exported", "export"]

SCHEMA = 1
SHOWN = 5  # excluded samples that a sentence names


@dataclass(frozen=True)
class Exported:
    """What was written.

    Every row of the data is counted once: changed + dropped + kept + unsure + undecided + test.

    Attributes:
        run: The run folder.
        out: What was written.
        form: "class folders", "image table", "delimited", "json lines", "parquet", the suffix of
            another form, or "changes".
        rows: Rows written; of a list of changes, its length.
        changed: Rows with another label.
        suggested: Those of them that a suggestion changed, and nobody looked at.
        suggestions_right: A guess at the share of these suggestions that are right, in [0, 1]; None
            without any.
        held_out: Changed rows that the run held out of training.
        dropped: Rows left out.
        kept: Rows whose given label was confirmed.
        unsure: Rows that somebody looked at and could not tell.
        undecided: Rows that nobody decided.
        test: Rows of a test split, which would have changed.
        missing: Decisions about samples that are not in the data.
        excluded: The sample_id of each row left out.
        notes: What must be said aloud.
    """

    run: str
    out: str
    form: str
    rows: int
    changed: int
    suggested: int
    held_out: int
    dropped: int
    kept: int
    unsure: int
    undecided: int
    test: int
    missing: int
    suggestions_right: float | None
    excluded: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The object that `thresher export --json` prints."""
        return {"schema": SCHEMA, **asdict(self)}

    def sentence(self) -> str:
        """The same for people."""
        total = self.changed + self.dropped + self.kept + self.unsure + self.undecided + self.test
        counts = (
            (self.dropped, "dropped"), (self.kept, "confirmed"), (self.unsure, "unsure"),
            (self.test, "left in the test split"),
        )  # fmt: skip
        words = [f"{self.changed:,} of {counted(total, 'label')} changed"]
        words += [f"{count:,} {word}" for count, word in counts if count]
        parts = [f"{', '.join(words)}; {self.undecided:,} undecided and as they were."]
        if self.held_out:
            parts.append(f"Of the changed ones {self.held_out:,} were held out of training.")
        if self.suggested:
            guess = self.suggestions_right
            share = "" if guess is None else f"; about {100 * guess:.0f} % of them may be right"
            parts.append(
                f"{counted(self.suggested, 'change')} by suggestion, which nobody looked at: "
                f"estimates of the model{share}."
            )
        if self.missing:
            parts.append(f"{counted(self.missing, 'decided sample')} not in the data.")
        if self.excluded:
            more = f" and {self.dropped - SHOWN:,} more" if self.dropped > SHOWN else ""
            parts.append(f"Dropped: {', '.join(self.excluded[:SHOWN])}{more}.")
        parts.append(f"Written: {self.out}")
        return " ".join(parts)


def export(
    run: str | Path,
    out: str | Path,
    *,
    apply: Literal["decisions", "suggestions"] = "decisions",
    min_confidence: float | None = None,
    data: str | Path | None = None,
    changes: bool = False,
    link: bool = False,
    include_test: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Write the data of a run with the labels that people decided.

    Args:
        run: A finished run.
        out: A folder for class folders and for Parquet in parts, else a file; the suffix names the
            form of a table. Of arrays, and of labels from a file of their own, a list of changes.
        apply: "decisions" of the review, or "suggestions" too, where a sample is flagged and nobody
            decided.
        min_confidence: Suggestions only where p_suggested is at least this, in [0, 1].
        data: Where the data are now; None = where they were.
        changes: Write a list of the changes, whatever the form of the data.
        link: Hard links to images instead of copies, where the file system has them.
        include_test: Correct rows of a test split as well.
        overwrite: Replace an earlier export.

    Raises:
        ParameterError: an option cannot be used, or the place is that of the data.
        RunError: there is no finished run with an audit, its data changed or are not there, or
            something stands at ``out``.
        DataError: the data cannot be read, or the form has no words for them.
    """
    if apply not in ("decisions", "suggestions"):
        raise ParameterError(
            f'apply must be decisions or suggestions, got "{apply}".', "Leave it at decisions."
        )
    folder = RunFolder.open(run).require_complete()
    target = Path(out)
    reviewed = _reviewed(folder, suggestions=apply == "suggestions", min_confidence=min_confidence)
    decision = reviewed.corrections.decision
    source = find_source(reviewed.settings, data)
    form = "changes" if changes else form_of(source, target)
    if form == "changes":
        check_changes_name(target)
    refuse_place(target, source.places, folder=is_folder(source, form), overwrite=overwrite)
    if source.testing and not include_test and (decision != "").any():
        raise ParameterError(
            f"{source.path} is named as a test split, whose labels are not corrected.",
            "Add --include-test if you mean it.",
        )
    if source.path is None and not include_test and (decision != "").any():
        _refuse_unknown_test(stored_encoding(folder))
    notes = source.notes
    if form == "changes" and not changes:
        notes += (f"{_named(source)} are not written anew; this is the list of changes.",)
    if source.form == "other":
        plan, rows = plan_changes(reviewed, source, include_test=include_test), None
    else:
        rows = read_rows(source, reviewed.settings.text)
        encoding = stored_encoding(folder)
        plan = plan_rows(reviewed, source, rows, encoding, include_test=include_test)
    listed = plan.listed(reviewed.table, reviewed.classes)
    written = len(listed) if form == "changes" else int(plan.stays.sum())
    if form == "changes":
        with whole_file(target) as aside:
            write_changes(listed, aside, target.suffix)
    else:
        assert rows is not None
        assert source.path is not None
        like = plan.like(rows.labels, reviewed.classes, source.path)
        write_rows(source, rows, like, plan.stays, listed, target, form, link=link)
    return Exported(
        run=str(run),
        out=str(out),
        form=form,
        rows=written,
        **plan.counts(reviewed.table),
        suggestions_right=_right(reviewed.table, plan),
        excluded=tuple(each["sample_id"] for each in listed if each["label"] is None),
        notes=notes,
    )


def _reviewed(folder: RunFolder, *, suggestions: bool, min_confidence: float | None) -> Reviewed:
    """Read the audit of a run and what was decided."""
    table = read_table(folder.audit)
    classes = tuple(table_facts(table)["classes"])
    earlier = kept_decided(folder.decided) if folder.decided.is_file() else {}
    with DecisionLog(folder.decisions, read_only=True) as log:
        decided = {**earlier, **log.current()}
    return Reviewed(
        settings=FitSettings.from_table(folder.read_settings()["fit"], folder.path),
        table=table,
        classes=classes,
        skipped=read_table(folder.skipped) if folder.skipped.is_file() else SKIPPED.empty_table(),
        earlier=earlier,
        corrections=correct(
            table, classes, decided, suggestions=suggestions, min_confidence=min_confidence
        ),
    )


def _refuse_unknown_test(encoding: Encoding) -> None:
    """Refuse a table in memory that had a test split: nobody knows any more which rows those were.

    Raises:
        ParameterError: the run learned from a column "split" that named one.
    """
    for column in encoding.columns:
        if isinstance(column, CategoryColumn) and names_a_test(column.name, column.values):
            raise ParameterError(
                f"The column {column.name!r} of the data in memory named a test split, whose "
                "labels are not corrected, and nobody knows its rows any more.",
                "Name a file that holds the data with --data, or add --include-test.",
            )


def _right(table: pa.Table, plan: Plan) -> float | None:
    """Guess the share of the suggestions that were applied that are right; None without any."""
    applied = np.zeros(len(table), dtype=bool)
    applied[plan.audited[plan.changed & (plan.decision == SUGGESTION)]] = True
    rate = table_facts(table)["noise_rate"]["estimate"]
    given, suggested = (
        table[name].fill_null(np.nan).to_numpy().copy() for name in ("p_given", "p_suggested")
    )
    known = ~np.isnan(given) & ~np.isnan(suggested)
    if rate is None or not applied[known].any():
        return None
    return float(suggestion_precision(given[known], suggested[known], applied[known], rate).mean())


def _named(source: Source) -> str:
    return "Arrays in memory" if source.path is None else f"The data in {source.path}"
