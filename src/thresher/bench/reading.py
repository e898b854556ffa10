"""Reading: the data of a benchmark, and the problem that a kind of noise makes of them.

    open_source      data → samples with true labels, test samples, given labels where they differ,
                     auxiliary samples
    refuse_problems  whether every noise can be posed on them, before anything is trained
    make_problem     a seed's split and noise → what is trained on, by which an epoch is chosen,
                     truth

The true labels leave this module within a `Truth` alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from thresher.auxiliary_data import read_auxiliary
from thresher.bench.noise_spec import NoiseSpec, given_labels
from thresher.bench.problem import Problem, Truth
from thresher.bench.settings import DIGITS, BenchSettings
from thresher.data import Samples, open_data
from thresher.data.labels import read_labels
from thresher.data.splits import training_and_test
from thresher.errors import DataError, LabelError, ParameterError
from thresher.keyed_random import keyed_seed
from thresher.stratified import stratified_rows

__all__ = ["Posed", "Source", "make_problem", "open_source", "refuse_problems"]

TEST_SHARE = 0.25
FEWEST = 2  # rows of a class in every part


@dataclass(frozen=True)
class Source:
    """Data as read.

    Attributes:
        samples: With the true labels; only rows that have one, and a given one as well.
        given: (N,) int64 the labels that the data came with; None where they are the true ones.
        tested: Test samples with true labels; None = each seed draws them from the others.
        notes: What must be said aloud.
        auxiliary: Samples of none of the classes, for methods that learn from them; None = none.
        group: Column beside the samples whose groups are compared; None = they are not.
    """

    samples: Samples
    given: NDArray[np.int64] | None
    tested: Samples | None
    notes: tuple[str, ...]
    auxiliary: Samples | None = None
    group: str | None = None

    @property
    def fingerprint(self) -> str:
        """Of all that is measured on."""
        parts = [self.samples.fingerprint]
        if self.given is not None:
            parts.append(replace(self.samples, labels=self.given).fingerprint)
        if self.tested is not None:
            parts.append(self.tested.fingerprint)
        if self.auxiliary is not None:
            parts.append(self.auxiliary.fingerprint)
        if self.group is not None:
            sides = (self.samples, self.tested)
            groups = [None if each is None else groups_of(each, self.group) for each in sides]
            parts.append(hashlib.blake2b(json.dumps(groups).encode(), digest_size=16).hexdigest())
        return "-".join(parts)


@dataclass(frozen=True)
class Split:
    """A seed's parts.

    Attributes:
        held: Rows of the source that are tested; None = the test data are of their own.
        kept: Rows of the source that are left.
        trained: Of those left, by place.
        chosen_by: Of those left, by place: they choose an epoch.
    """

    held: NDArray[np.int64] | None
    kept: NDArray[np.int64]
    trained: NDArray[np.int64]
    chosen_by: NDArray[np.int64]


@dataclass(frozen=True)
class Posed:
    """A problem, and the rows by which an epoch is chosen.

    Attributes:
        problem: What is trained on, and the truth about it.
        validation: Samples with given labels that nothing is trained on; None = there are none.
    """

    problem: Problem
    validation: Samples | None


def open_source(settings: BenchSettings, scratch: Path | None = None) -> Source:
    """Read the data.

    Args:
        settings: Which, and which columns hold what.
        scratch: Where copies of large inputs are made and found.

    Raises:
        ThresherError: they cannot be read, or there are no labels to compare with.
    """
    source = digits() if settings.data == DIGITS else read_source(settings, scratch)
    if settings.auxiliary is not None:
        auxiliary = read_auxiliary(settings.auxiliary, source.samples, scratch=scratch)
        notes = source.notes + tuple(f"auxiliary data: {each}" for each in auxiliary.notes)
        source = replace(source, auxiliary=auxiliary, notes=notes)
    return sampled(source, settings.limit)


def read_source(settings: BenchSettings, scratch: Path | None) -> Source:
    """Read data of the user's own: all of them, and the test data that lie beside."""
    data, test, notes = training_and_test(settings.data, settings.test)
    aside = tuple(each for each in (settings.true, settings.group_report) if each is not None)
    samples = open_data(
        data,
        label=settings.label,
        image=settings.image,
        text=settings.text,
        encoder=settings.encoder,
        labels=settings.labels,
        longest_side=settings.longest_side,
        scratch=scratch,
        aside=aside,
    )
    notes += samples.notes
    given = None
    if settings.true is not None:
        true = true_labels(samples, settings.true)
        known = (true >= 0) & (samples.labels >= 0)
        given = samples.labels[known]
        samples = replace(samples, labels=true).take(known)
    else:
        known = samples.labels >= 0
        samples = samples.take(known)
    if not known.all():
        notes += (f"{int((~known).sum()):,} rows without a label that can be compared left out.",)
    tested = None
    if test is not None:
        tested = open_test(test, settings, samples, scratch)
        tested = tested.take(tested.labels >= 0)
        if not len(tested):
            raise LabelError("The test data hold no label.", "Name others with --test.")
        if settings.group_report is not None and groups_of(tested, settings.group_report) is None:
            notes += (
                f'The test data have no column "{settings.group_report}": their groups are not '
                "compared, only those of the training rows.",
            )
    return Source(samples, given, tested, notes, group=settings.group_report)


def open_test(
    test: Any, settings: BenchSettings, samples: Samples, scratch: Path | None
) -> Samples:
    """Read test data: with their true labels, from the column of those if they have it.

    Raises:
        DataError: they cannot be read, or a label is of no class of the training data.
    """
    groups = () if settings.group_report is None else (settings.group_report,)

    def opened(label: str | None, aside: tuple[str, ...]) -> Samples:
        return open_data(
            test,
            label=label,
            encoding=samples.encoding,
            classes=samples.classes,
            scratch=scratch,
            aside=aside,
        )

    if settings.true is None:
        return opened(None, groups)
    try:
        return opened(settings.true, groups)
    except LabelError:  # the column is there
        raise
    except DataError as error:
        tested = opened(None, (settings.true, *groups))  # without that column its labels are true
        if has_column(tested, settings.true):
            raise error from None
        return tested


def sampled(source: Source, limit: int | None) -> Source:
    """Take so many rows, every class by its share; the same under every seed."""
    if limit is None or limit >= len(source.samples):
        return source
    labels = torch.from_numpy(source.samples.labels)
    rows = stratified_rows(labels, limit, keyed_seed(0, "limit")).numpy()
    given = None if source.given is None else source.given[rows]
    return replace(source, samples=source.samples.take(rows), given=given)


def digits() -> Source:
    """Scikit-learn's handwritten digits, 1,797 images of 8×8 as 64 numbers."""
    from sklearn.datasets import load_digits

    inputs, labels = load_digits(return_X_y=True)
    samples = replace(open_data((inputs.astype(np.float32), labels)), source=DIGITS)
    return Source(samples, None, None, ())


def true_labels(samples: Samples, column: str) -> NDArray[np.int64]:
    """The true labels that lie beside the given ones, (N,) int64, -1 = not known.

    Raises:
        LabelError: they hold a class that is never given.
    """
    assert samples.aside is not None
    codes = samples.encoding.class_codes
    found = read_labels(
        samples.aside[column], name=f'Column "{column}"', classes=samples.classes, codes=codes
    )
    return found.values


def refuse_problems(source: Source, noises: Sequence[NoiseSpec], validation: float) -> None:
    """Refuse what `make_problem` would refuse, under any seed: parts are as large under each.

    Raises:
        ParameterError: the rows are too few, or a noise does not fit the classes.
    """
    split = split_rows(source, 0, validation)
    true = source.samples.labels[split.kept]
    nothing = np.empty((len(true), 0), np.float32)  # what a noise refuses is not in the inputs
    for noise in noises:
        if noise.kind != "given":
            classes = source.samples.classes
            given_labels(noise, nothing, true, len(classes), 0, names=classes)


def split_rows(source: Source, seed: int, validation: float) -> Split:
    """Draw the rows that are tested, trained, and by which an epoch is chosen.

    Raises:
        ParameterError: too few are left to train on.
    """
    labels, classes = source.samples.labels, source.samples.classes
    held, kept = None, np.arange(len(labels))
    if source.tested is None:
        held = drawn(labels, TEST_SHARE, keyed_seed(seed, "bench test"))
        kept = np.setdiff1d(kept, held)
    chosen_by = drawn(labels[kept], validation, keyed_seed(seed, "bench validation"))
    trained = np.setdiff1d(np.arange(len(kept)), chosen_by)
    counts = np.bincount(labels[kept][trained], minlength=len(classes))
    if counts.min() < FEWEST:
        raise ParameterError(
            f'The class "{classes[int(counts.argmin())]}" has {counts.min()} rows to train '
            "on when those to test with are taken away.",
            "Add samples of it, raise --limit if it is given, or name test data with --test.",
        )
    return Split(held, kept, trained, chosen_by)


def make_problem(
    source: Source, noise: NoiseSpec, seed: int, *, validation: float, group: str | None = None
) -> Posed:
    """Split and corrupt, as the seed says; the same rows under every kind of noise.

    Args:
        source: The data.
        noise: What becomes of their labels.
        seed: Of split and noise.
        validation: Share of the training rows by which an epoch is chosen, in [0, 0.5].
        group: Column whose groups the evaluator compares.

    Raises:
        ParameterError: the rows are too few, or the noise does not fit the classes.
    """
    split = split_rows(source, seed, validation)
    trained, chosen_by = split.trained, split.chosen_by
    rows, tested = source.samples.take(split.kept), source.tested
    if split.held is not None:
        tested = source.samples.take(split.held)
    assert tested is not None
    if noise.kind == "given":
        assert source.given is not None
        given = source.given[split.kept]
    else:
        given = given_labels(
            noise,
            rows.inputs,
            rows.labels,
            len(rows.classes),
            keyed_seed(seed, "bench noise"),
            names=rows.classes,
            parts=[trained, chosen_by],
        )
    seen: Any = replace(rows, labels=given, aside=None)  # the truth may lie aside
    truth = Truth(
        rows.labels[trained],
        tested,
        groups_of(rows.take(trained), group),
        groups_of(tested, group),
    )
    problem = Problem(seen.take(trained), truth)
    return Posed(problem, seen.take(chosen_by) if len(chosen_by) else None)


def groups_of(samples: Samples, column: str | None) -> tuple[str | None, ...] | None:
    """The names in a column that lies beside the samples; None where there is none."""
    if column is None or not has_column(samples, column):
        return None
    assert samples.aside is not None
    return tuple(None if each is None else str(each) for each in samples.aside[column].to_pylist())


def has_column(samples: Samples, column: str) -> bool:
    """Whether a column lies beside the samples."""
    return samples.aside is not None and column in samples.aside.column_names


def drawn(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """Rows of every class by its share."""
    count = round(share * len(labels))
    return stratified_rows(torch.from_numpy(labels), count, seed).numpy()
