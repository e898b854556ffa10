"""Settings of a benchmark: what all its cells share, and the grid that they make.

Refused in the words of the command line before any data are read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from thresher.bench.noise_spec import NoiseSpec, parse_noise
from thresher.errors import ParameterError, nearest
from thresher.noise import ESTIMATORS, METHODS, check_noise_rate, make_method, method_class
from thresher.settings import MARKED, FitSettings

__all__ = [
    "BASELINE",
    "DIGITS",
    "PEER",
    "BenchSettings",
    "Cell",
    "chosen_methods",
    "chosen_noises",
    "grid",
    "learns_from_more",
]

DIGITS = "digits"  # scikit-learn's, which are there wherever thresher is
BASELINE = "standard"
PEER = "cleanlab"
LEFT_OUT = ("batch selection", "open set")  # families that are no answer to wrong labels alone
MOST_SEEDS = 10_000  # more is a slip, and a list too long to make
PATHS = ("data", "labels", "test", "auxiliary")


@dataclass(frozen=True)
class BenchSettings:
    """What all cells share. Those that are not described here are settings of `FitSettings`.

    Args:
        data: A path as `thresher fit` takes it, or "digits".
        true: Column (or array of an .npz) with the true labels, which the evaluator alone sees;
            None = the labels of the data are the true ones.
        test: Test data, whose labels are true; None = a split that lies beside the data, else a
            quarter of the rows, drawn anew by every seed.
        auxiliary: Further data of none of the classes, as `thresher fit` takes a file of them, for
            the methods that learn from them; no other method sees them.
        told: The noise rate for methods that take one, and for no others: None has them estimate
            it, "true" tells them that of the training rows, a number in [0, 1) is that number, a
            key of `thresher.noise.ESTIMATORS` is what they estimate it by.
        validation: Share of the rows that no method trains on, with labels as wrong as the others,
            by which an epoch is chosen; in [0, 0.5].
        group_report: Column whose groups are compared; it is never learned from.
    """

    data: str = DIGITS
    label: str | None = None
    true: str | None = None
    image: str | None = None
    longest_side: int = 224
    text: tuple[str, ...] = ()
    encoder: str | None = None
    labels: str | None = None
    test: str | None = None
    limit: int | None = None
    auxiliary: str | None = None
    told: float | str | None = None
    validation: float = 0.1
    group_report: str | None = None
    model: str = "auto"
    epochs: int | None = None
    device: str = "auto"
    augment: str = "auto"
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        self.fit(BASELINE, 0, None)
        self._check_rate()
        self._check_columns()
        if self.auxiliary == MARKED:
            raise ParameterError(
                f'auxiliary "{MARKED}" takes the samples that are marked so, and a benchmark has '
                "no marks.",
                "Name a file or a folder with the further data.",
            )
        if not 0 <= self.validation <= 0.5:
            raise ParameterError(
                f"validation must be in [0, 0.5], got {self.validation:g}.",
                "It is the share of the rows by which an epoch is chosen, such as 0.1.",
            )
        if self.data == DIGITS and (self.true or self.group_report or self.test or self.labels):
            raise ParameterError(
                "The digits of scikit-learn come with true labels, and with no further column.",
                "Name data of your own with --data.",
            )

    def _check_rate(self) -> None:
        if not isinstance(self.told, str):
            check_noise_rate(self.told)
        elif self.told not in ("true", *ESTIMATORS):
            raise ParameterError(
                "noise_rate must be a number in [0, 1), auto, true, or one of "
                f'{", ".join(ESTIMATORS)}, got "{self.told}".',
                nearest(self.told, ("auto", "true", *ESTIMATORS)),
            )

    def _check_columns(self) -> None:
        named = [
            ("label", self.label),
            ("true", self.true),
            ("group_report", self.group_report),
            ("image", self.image),
            *(("text", each) for each in self.text),
        ]
        roles: dict[str, str] = {}
        for role, column in named:
            if column is None:
                continue
            if column in roles:
                raise ParameterError(
                    f'The column "{column}" is named twice, as {roles[column]} and as {role}.',
                    "Name a column of its own for each, or leave one of them out.",
                )
            roles[column] = role

    def fit(self, method: str, seed: int, noise_rate: float | str | None) -> FitSettings:
        """Settings of the training of a cell; rows by which an epoch is chosen are taken before.

        Args:
            method: Of the cell.
            seed: Of the cell.
            noise_rate: What this method is told, for methods that take one.
        """
        return FitSettings(
            label=self.label,
            image=self.image,
            longest_side=self.longest_side,
            text=self.text,
            encoder=self.encoder,
            limit=self.limit,
            method=method,
            noise_rate=noise_rate,
            model=self.model,
            epochs=self.epochs,
            seed=seed,
            device=self.device,
            augment=self.augment,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )

    def to_table(self, folder: Path) -> dict[str, Any]:
        """The table [bench] of a bench.toml in this folder: paths are written relative to it."""
        table = asdict(self)
        for name in PATHS:
            if table[name] is not None and not (name == "data" and self.data == DIGITS):
                table[name] = os.path.relpath(table[name], folder)
        table["text"] = list(self.text) or None
        return {name: value for name, value in table.items() if value is not None}

    @classmethod
    def from_table(cls, table: Mapping[str, Any], folder: Path) -> BenchSettings:
        """Settings from a table [bench]; its paths are relative to the folder it lies in.

        Raises:
            ParameterError: an unknown key, or a value out of its range.
        """
        known = {each.name for each in fields(cls)}
        for name in table:
            if name not in known:
                raise ParameterError(f'There is no setting "{name}".', nearest(name, known))
        values = dict(table)
        for name in PATHS:
            if name in values and not (name == "data" and values[name] == DIGITS):
                values[name] = os.path.normpath(folder / values[name])
        values["text"] = tuple(values.get("text", ()))
        return cls(**values)


@dataclass(frozen=True)
class Cell:
    """One measurement: a method, a kind of noise, a seed."""

    method: str
    noise: NoiseSpec
    seed: int

    def __str__(self) -> str:
        return f"{self.method}, {self.noise}, seed {self.seed}"


def own_prints_aside() -> AbstractContextManager[object]:
    """What a user's own method prints goes to standard error: --json has the output to itself."""
    return redirect_stdout(sys.stderr)


def learns_from_more(method: str) -> bool:
    """Whether a method learns from further data as well, which lie beside the training data."""
    if method == PEER:
        return False
    with own_prints_aside():
        return bool(make_method(method).streams())


def chosen_methods(text: str | None, *, auxiliary: bool = False) -> tuple[str, ...]:
    """The methods to compare: those named, the baseline first and cleanlab's workflow last.

    Args:
        text: Names joined by commas; None = all of the families that are against wrong labels, and
            with auxiliary data those that learn from them.
        auxiliary: Whether there are auxiliary data.

    Raises:
        ParameterError: an unknown name.
    """
    if text is None:
        from thresher import noise

        names = [
            name
            for name, kind in METHODS.items()
            if getattr(noise, kind).family not in LEFT_OUT or (auxiliary and learns_from_more(name))
        ]
    else:
        names = [each.strip() for each in text.split(",") if each.strip()]
    for name in names:
        if name not in METHODS and name != PEER and ":" not in name:
            raise ParameterError(f'There is no method "{name}".', nearest(name, (*METHODS, PEER)))
        if ":" in name:
            with own_prints_aside():
                method_class(name)
    others = dict.fromkeys(name for name in names if name not in (BASELINE, PEER))
    return (BASELINE, *others, PEER)


def chosen_noises(text: str | None, true: str | None) -> tuple[NoiseSpec, ...]:
    """The kinds of noise to compare under.

    Args:
        text: Specifications joined by commas; None = "given" where the true labels are known
            beside, else none and symmetric noise of 40 %.
        true: Where the true labels are.

    Raises:
        ParameterError: a slip, or "given" without true labels.
    """
    if text is None:
        text = "none,symmetric:0.4" if true is None else "given"
    found = tuple(dict.fromkeys(parse_noise(each) for each in text.split(",") if each.strip()))
    if not found:
        raise ParameterError("There is no noise to compare under.", "Example: symmetric:0.4.")
    if true is None and any(each.kind == "given" for each in found):
        raise ParameterError(
            'The noise "given" needs the true labels beside the given ones.',
            "Name their column with --true; the evaluator alone sees it.",
        )
    return found


def grid(methods: Iterable[str], noises: Iterable[NoiseSpec], seeds: int) -> tuple[Cell, ...]:
    """All cells, seed by seed, so that what is done first is a whole comparison.

    Raises:
        ParameterError: fewer than one seed, or more than `MOST_SEEDS`.
    """
    if seeds < 1:
        raise ParameterError(f"seeds must be at least 1, got {seeds}.", "Three give a range.")
    if seeds > MOST_SEEDS:
        raise ParameterError(
            f"seeds must be at most {MOST_SEEDS:,}, got {seeds:,}.", "Three give a range."
        )
    methods, noises = tuple(methods), tuple(noises)
    return tuple(
        Cell(method, noise, seed) for seed in range(seeds) for noise in noises for method in methods
    )
