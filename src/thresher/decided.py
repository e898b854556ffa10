"""Decided labels: what people said of a run's samples goes into the data of the next run.

    decisions.sqlite of a run → read_decided → Decisions → apply_decided → samples
                                             → decided.parquet of the new run, for resuming

A relabelled sample carries the label that people gave it, an excluded one is left out, and both the
relabelled and the kept ones are trusted: no method doubts them, and no audit flags them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from thresher.data import Samples
from thresher.decisions import Decided, DecisionLog
from thresher.errors import DataError, LabelError, RunError
from thresher.run_folder import RunFolder
from thresher.whole_file import whole_file

__all__ = ["Applied", "apply_decided", "keep_decided", "kept_decided", "read_decided"]

SCHEMA = pa.schema([("sample_id", pa.string()), ("decision", pa.string()), ("label", pa.string())])


@dataclass(frozen=True)
class Applied:
    """How many samples of the data were decided, and how.

    Attributes:
        relabelled: They carry another label now.
        kept: Their given label was confirmed.
        excluded: They are left out.
        unsure: Somebody looked and could not tell; they stay as they are.
        missing: Decided, but not among these data.
    """

    relabelled: int
    kept: int
    excluded: int
    unsure: int
    missing: int

    def to_json(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)

    def sentence(self) -> str:
        """The same for people."""
        counts = ", ".join(
            f"{count:,} {name}"
            for name, count in self.to_json().items()
            if count and name != "missing"
        )
        lost = f" {self.missing:,} decided samples are not in these data." if self.missing else ""
        return f"Decisions of people: {counts or 'none'}.{lost}"


def read_decided(run: str | Path) -> dict[str, Decided]:
    """What was decided in the review of a run.

    Raises:
        RunError: there is no such run, or nothing was decided in it.
    """
    folder = RunFolder.open(run)
    with DecisionLog(folder.decisions, read_only=True) as log:
        decided = log.current()
    if not decided:
        raise RunError(
            f"Nothing is decided in the run {folder.path}.",
            f"Decide first: thresher review {folder.path}",
        )
    return decided


def keep_decided(decided: Mapping[str, Decided], path: Path) -> None:
    """Write what a run was started with, since its review may go on.

    Raises:
        RunError: the file cannot be written.
    """
    rows = [asdict(each) for each in decided.values()]
    with whole_file(path) as aside:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), aside)


def kept_decided(path: Path) -> dict[str, Decided]:
    """Read what `keep_decided` wrote.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        rows = pq.read_table(path, schema=SCHEMA).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{path} cannot be read: {error}.", "Start the run again.") from error
    return {row["sample_id"]: Decided(**row) for row in rows}


def apply_decided(samples: Samples, decided: Mapping[str, Decided]) -> tuple[Samples, Applied]:
    """Put decisions into samples.

    Args:
        samples: As read.
        decided: By sample_id.

    Returns:
        The samples without the excluded ones, with the labels that people gave and marks on those
        that are trusted; and how many there are of each.

    Raises:
        DataError: none of the decided samples is among these.
        LabelError: a decision names a class that these data do not have.
    """
    names = {name: number for number, name in enumerate(samples.classes)}
    found = pc.index_in(pa.array(list(decided), pa.string()), value_set=samples.sample_id)
    labels = samples.labels.copy()
    trusted = np.zeros(len(samples), dtype=bool)
    stays = np.ones(len(samples), dtype=bool)
    counts = dict.fromkeys(("relabelled", "kept", "excluded", "unsure", "missing"), 0)
    for row, each in zip(found.to_pylist(), decided.values(), strict=True):
        if row is None:
            counts["missing"] += 1
        elif each.decision == "unsure":
            counts["unsure"] += 1
        elif each.decision == "exclude":
            counts["excluded"] += 1
            stays[row] = False
        elif each.label is not None:
            if each.label not in names:
                raise LabelError(
                    f'Sample "{each.sample_id}" was decided to be "{each.label}", which is no '
                    "class of these data.",
                    "Pass the data that the run was made from.",
                )
            trusted[row] = True
            counts["kept" if labels[row] == names[each.label] else "relabelled"] += 1
            labels[row] = names[each.label]
    if counts["missing"] == len(decided):
        raise DataError(
            f"None of the {len(decided):,} decided samples is in {samples.source}.",
            "Pass the data that the run was made from.",
        )
    samples = replace(samples, labels=labels, trusted=trusted)
    return samples if stays.all() else samples.take(stays), Applied(**counts)
