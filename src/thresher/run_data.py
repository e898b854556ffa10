"""What a run reads: training, test and further data, decided labels and marks laid on them.

Sources → open_data → marks, decisions, limit → Read
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from thresher.auxiliary_data import read_auxiliary, taken_apart
from thresher.data import open_data
from thresher.data.splits import training_and_test
from thresher.decided import Applied, apply_decided
from thresher.decisions import Decided
from thresher.errors import LabelError, ParameterError, RunError
from thresher.foreign_marks import Marks, marked, marks_of_column
from thresher.job import Listener
from thresher.keyed_random import keyed_seed
from thresher.settings import MARKED, FitSettings
from thresher.shared_reading import Read, Scratch
from thresher.stratified import stratified_rows

__all__ = ["Sources", "read", "refuse_other_data"]


@dataclass(frozen=True)
class Sources:
    """Where the data of a run come from: paths, arrays, or whatever `open_data` reads."""

    data: Any = None
    test: Any = None
    auxiliary: Any = None

    def or_else(self, settings: FitSettings) -> Sources:
        """The settings' paths where nothing else is given."""
        return Sources(
            settings.data if self.data is None else self.data,
            settings.test if self.test is None else self.test,
            settings.auxiliary if self.auxiliary is None else self.auxiliary,
        )


def read(
    settings: FitSettings,
    sources: Sources,
    listener: Listener,
    scratch: Scratch,
    decided: Mapping[str, Decided] | None = None,
    marks: Marks | None = None,
) -> Read:
    """Read all data of a run; decisions are applied here, and `limit`'s sample is drawn.

    Args:
        settings: Which columns hold what.
        sources: As `fit` takes them.
        listener: Hears what must be said aloud.
        scratch: Where copies of large inputs are made and found.
        decided: What people said of the training data.
        marks: Which of the training data are out of distribution.

    Returns:
        Training, test and further data, as far as there are any, and what the decisions came to.
    """
    data, test, said = training_and_test(sources.data, sources.test)
    for sentence in said:
        listener.note(sentence)
    aside = settings.aside()
    samples = open_data(
        data,
        **settings.reading(),
        group=settings.group,
        scratch=scratch.folder,
        in_memory=scratch.in_memory,
        progress=listener.reading,
        aside=aside,
    )
    column = settings.out_of_distribution_column
    if column is not None:
        assert samples.aside is not None
        chosen = marks_of_column(samples.aside[column], column)
        marks = Marks(column, names=samples.sample_id.filter(pa.array(chosen)))
    if marks is not None:
        samples, sentence = marked(samples, marks)
        listener.note(sentence)
    auxiliary = None
    if isinstance(sources.auxiliary, str) and sources.auxiliary == MARKED:
        samples, auxiliary, sentence = taken_apart(samples)
        listener.note(sentence)
    applied: Applied | None = None
    if decided is not None:
        samples, applied = apply_decided(samples, decided)
        listener.note(applied.sentence())
    if settings.limit is not None and settings.limit < len(samples):
        labels = torch.from_numpy(samples.labels)
        rows = stratified_rows(labels, settings.limit, keyed_seed(settings.seed, "limit"))
        samples = samples.take(rows.numpy())
        if len(np.unique(samples.labels[samples.labels >= 0])) < len(samples.classes):
            raise ParameterError(
                f"A sample of {settings.limit} rows does not hold every class.",
                f"Raise --limit; there are {len(samples.classes)} classes.",
            )
        listener.note(f"Taking {settings.limit:,} rows, every class by its share.")
    for sentence in samples.notes:
        listener.note(sentence)
    options: dict[str, Any] = {
        "scratch": scratch.folder,
        "in_memory": scratch.in_memory,
        "progress": listener.reading,
        "aside": aside,
    }
    if auxiliary is None and sources.auxiliary is not None:
        auxiliary = read_auxiliary(sources.auxiliary, samples, **options)
        for sentence in auxiliary.notes:
            listener.note(f"auxiliary data: {sentence}")
    if test is None:
        return Read(samples, None, auxiliary, applied)
    tested = open_data(test, encoding=samples.encoding, classes=samples.classes, **options)
    for sentence in tested.notes:
        listener.note(f"test data: {sentence}")
    if not (tested.labels >= 0).any():
        raise LabelError(
            f"The test data in {tested.source} hold no label.",
            "Label them, or leave out --test.",
        )
    return Read(samples, tested, auxiliary, applied)


def refuse_other_data(found: Read, run: Mapping[str, Any]) -> None:
    """Compare what was read with what the run was started with.

    Raises:
        RunError: they differ.
    """
    own, tested, auxiliary = found.fingerprints()
    if own != run["fingerprint"]:
        raise RunError(
            f"The data in {found.samples.source} are not those that the run was started with.",
            "Put the original data back, or start a new run.",
        )
    for words, here, name in (
        ("test", tested, "test_fingerprint"),
        ("auxiliary", auxiliary, "auxiliary_fingerprint"),
    ):
        if here != run.get(name):
            raise RunError(
                f"The {words} data are not those that the run was started with.",
                f"Put the original {words} data back, or start a new run.",
            )
