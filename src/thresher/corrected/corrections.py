"""Corrections: what becomes of each audited sample, by decisions and, if asked, by suggestions.

accept, other:<class>   the label of the decision
keep                    the given label
exclude                 the sample is left out
unsure                  the given label; a suggestion does not touch it either
undecided               the given label, or with suggestions, if the sample is flagged and
                        p_suggested >= min_confidence, the suggested one
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from thresher.audit.table import class_numbers
from thresher.decisions import Decided
from thresher.errors import ParameterError, RunError

__all__ = ["SUGGESTION", "Corrections", "correct"]

#: What stands in the place of a decision where a suggestion changed the label.
SUGGESTION = "suggestion"


@dataclass(frozen=True)
class Corrections:
    """What becomes of M audited samples.

    Attributes:
        given: (M,) int64 class as the run had it, -1 = no label.
        label: (M,) int64 class afterwards, -1 = no label.
        excluded: (M,) bool.
        decision: (M,) texts: the decision, "suggestion", or "" where there is neither.
        missing: Decisions about samples that the audit does not hold, by sample_id.
    """

    given: NDArray[np.int64]
    label: NDArray[np.int64]
    excluded: NDArray[np.bool_]
    decision: NDArray[np.object_]
    missing: Mapping[str, Decided]


def correct(
    table: pa.Table,
    classes: Sequence[str],
    decided: Mapping[str, Decided],
    *,
    suggestions: bool = False,
    min_confidence: float | None = None,
) -> Corrections:
    """Say what becomes of every sample of an audit table.

    Args:
        table: The audit table, M rows.
        classes: Class names of the run.
        decided: What stands, by sample_id.
        suggestions: Whether flagged samples that nobody decided get the suggested label.
        min_confidence: Only where p_suggested is at least this, in [0, 1]; None = 0.

    Raises:
        ParameterError: min_confidence outside [0, 1], or without suggestions.
        RunError: a decision names a class that the run does not have.
    """
    _check_confidence(min_confidence, suggestions)
    given = class_numbers(table["given_label"], classes)
    label = given.copy()
    excluded = np.zeros(len(given), dtype=bool)
    decision = np.full(len(given), "", dtype=object)
    missing: dict[str, Decided] = {}
    place = {name: number for number, name in enumerate(classes)}
    rows = pc.index_in(pa.array(list(decided), pa.string()), value_set=table["sample_id"])
    for row, each in zip(rows.to_pylist(), decided.values(), strict=True):
        if row is None:
            missing[each.sample_id] = each
            continue
        decision[row] = each.decision
        if each.decision == "exclude":
            excluded[row] = True
        elif each.decision != "unsure" and each.label is not None:
            if each.label not in place:
                raise RunError(
                    f'Sample "{each.sample_id}" was decided to be "{each.label}", which is no '
                    "class of the run.",
                    "Decide it again in the review.",
                )
            label[row] = place[each.label]
    if suggestions:
        suggested = class_numbers(table["suggested_label"], classes)
        sure = table["p_suggested"].fill_null(-1).to_numpy() >= (min_confidence or 0)
        flagged = table["is_label_issue"].to_numpy() & sure & (suggested >= 0) & (decision == "")
        label[flagged] = suggested[flagged]
        decision[flagged] = SUGGESTION
    return Corrections(given, label, excluded, decision, missing)


def _check_confidence(min_confidence: float | None, suggestions: bool) -> None:
    if min_confidence is None:
        return
    if not suggestions:
        raise ParameterError(
            "--min-confidence is of suggestions, and none are applied.",
            "Leave it out, or add --apply suggestions.",
        )
    if not 0 <= min_confidence <= 1:
        raise ParameterError(
            f"min_confidence must be in [0, 1], got {min_confidence:g}.",
            "It is the least p_suggested of a suggestion that is applied.",
        )
