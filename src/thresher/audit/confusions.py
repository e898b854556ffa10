"""transition.parquet: how labels are confused, as a method was told, estimated or learned it.

    true_label    string
    given_label   string
    probability   double   P(given | true); those of a true label add up to 1

T of the method → `write_transition` → the file → `read_transition` → `Confusions` → report
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from thresher.audit.table import class_numbers, read_table, write_table
from thresher.errors import ParameterError, RunError
from thresher.transition import check_transition

__all__ = ["Confusion", "Confusions", "read_transition", "write_transition"]

LEAST = 0.005  # a smaller probability is not shown


@dataclass(frozen=True)
class Confusion:
    """How often a sample of one class is given the label of another, P(given | true)."""

    true: str
    given: str
    probability: float


@dataclass(frozen=True)
class Confusions:
    """What a report shows of a transition matrix.

    Attributes:
        cells: Rows of (true, [(given, in words, shade 0 … 1)]), per cent; None where the map would
            be too large.
        pairs: Of different classes, the most frequent first.
    """

    cells: list[tuple[str, list[tuple[str, str, float]]]] | None
    pairs: list[Confusion]

    @classmethod
    def of(
        cls, transition: ArrayLike, classes: Sequence[str], *, largest_map: int, listed: int
    ) -> Confusions:
        """Arrange a matrix for the eye.

        Args:
            transition: T (k, k), rows add up to 1.
            classes: k names.
            largest_map: Most classes of which cells are shown.
            listed: Most pairs.
        """
        matrix = np.asarray(transition, np.float64)
        apart = np.where(np.eye(len(matrix), dtype=bool), 0.0, matrix)
        most = max(float(apart.max()), 1e-12)
        order = np.argsort(-apart, axis=None, kind="stable")[:listed]
        frequent = [divmod(int(place), len(matrix)) for place in order]
        cells = None
        if len(matrix) <= largest_map:
            cells = [
                (
                    true,
                    [
                        (
                            given,
                            f"{100 * share:.0f}" if share >= LEAST else "",
                            min(1, share / most),
                        )
                        for given, share in zip(classes, row.tolist(), strict=True)
                    ],
                )
                for true, row in zip(classes, matrix, strict=True)
            ]
        return cls(
            cells,
            [
                Confusion(classes[true], classes[given], float(apart[true, given]))
                for true, given in frequent
                if apart[true, given] >= LEAST
            ],
        )


def write_transition(
    path: str | os.PathLike[str], transition: ArrayLike, classes: Sequence[str]
) -> None:
    """Write T (k, k) with the names of the classes; the file appears whole or not at all.

    Raises:
        RunError: the file cannot be written.
    """
    matrix = np.asarray(transition, np.float64)
    names = np.array([*classes, None], dtype=object)[:-1]
    true, given = np.indices(matrix.shape)
    columns = {
        "true_label": pa.array(names[true.ravel()], pa.string()),
        "given_label": pa.array(names[given.ravel()], pa.string()),
        "probability": pa.array(matrix.ravel()),
    }
    write_table(pa.table(columns), path)


def read_transition(path: Path, classes: Sequence[str]) -> NDArray[np.float64] | None:
    """Read T (k, k) in the order of the classes; None where there is no file.

    Raises:
        RunError: the file is damaged, or of other classes.
    """
    if not path.is_file():
        return None
    try:
        table = read_table(path)
    except RunError as error:
        raise RunError(error.cause, "Delete it: the report goes on without it.") from error
    try:
        true, given = (
            class_numbers(table[name], classes) for name in ("true_label", "given_label")
        )
        matrix = np.full((len(classes), len(classes)), np.nan)
        if len(table) == matrix.size and (true >= 0).all() and (given >= 0).all():
            matrix[true, given] = table["probability"].cast(pa.float64()).to_numpy()
        return check_transition(matrix)
    except (KeyError, ParameterError, pa.ArrowException) as error:
        raise _of_another_run(path) from error


def _of_another_run(path: Path) -> RunError:
    return RunError(
        f"{path} does not hold how the classes of this run are confused.",
        "Delete it: the report goes on without it.",
    )
