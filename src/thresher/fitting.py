"""fit: one training run, two results: a classifier, and the audit of its labels.

fit     RunFolder.create → open_data → Job.plan → run_job
resume  RunFolder.open → open_data → Job.plan → load_last_checkpoint → run_job

The folder comes first, because copies of large inputs are mapped from its state/. Of several
processes the first makes and writes it; all read the same data and train.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch

import thresher
from thresher.auxiliary_data import check_auxiliary, read_auxiliary, taken_apart
from thresher.data import open_data
from thresher.data.cifar import find_cifar
from thresher.data.files import as_path, existing
from thresher.data.splits import training_and_test
from thresher.decided import Applied, apply_decided, keep_decided, kept_decided, read_decided
from thresher.decisions import Decided
from thresher.errors import LabelError, ModelError, ParameterError, RunError
from thresher.estimate import estimate_job
from thresher.finishing import FitResult
from thresher.foreign_marks import (
    Marks,
    keep_marks,
    kept_marks,
    marked,
    marks_of_column,
    read_marks,
)
from thresher.job import Job, Listener
from thresher.keyed_random import keyed_seed
from thresher.noise import make_method
from thresher.noise.method import Method
from thresher.process_group import Together, joined
from thresher.run_folder import RunFolder
from thresher.running import run_job
from thresher.settings import MARKED, FitSettings, no_word
from thresher.shared_reading import Read, Scratch, read_in_turns, scratch_folder
from thresher.stratified import stratified_rows
from thresher.trained_model import TrainedModel
from thresher.training.checkpoint import load_last_checkpoint
from thresher.training.tracking import require_trackers

__all__ = ["FitResult", "Listener", "estimate", "fit", "resume"]


class Silence:
    """A listener that says nothing."""

    def note(self, sentence: str) -> None:
        """Nothing."""

    def reading(self, done: int, total: int) -> None:
        """Nothing."""

    def epoch(self, number: int, epochs: int, metrics: Mapping[str, Any]) -> None:
        """Nothing."""


def fit(
    data: Any = None,
    *,
    label: str | None = None,
    image: str | None = None,
    longest_side: int = 224,
    text: Sequence[str] | str = (),
    encoder: str | None = None,
    labels: str | Path | None = None,
    decisions: str | Path | None = None,
    out_of_distribution: Any = None,
    out_of_distribution_column: str | None = None,
    group: str | None = None,
    group_report: str | None = None,
    test: Any = None,
    auxiliary: Any = None,
    validation: float | None = None,
    method: str = "auto",
    noise_rate: float | str | None = None,
    model: str = "auto",
    epochs: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
    augment: str = "auto",
    batch_size: int | None = None,
    accumulate: int = 1,
    sampler: str = "shuffled",
    sampler_options: Sequence[str] = (),
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    features: bool = False,
    track: str | None = None,
    save_every: float | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    audit: bool = True,
    listener: Listener | None = None,
) -> FitResult:
    """Train a classifier that wrong labels do not fool, and say which labels are wrong.

    Args:
        data: A path (table, arrays, a folder of images, …), a pair (X, y) of arrays, a data frame
            or a data set; all that `thresher.data.open_data` reads.
        out_of_distribution: Samples known to be of none of the classes, which are never
            relabelled: what `thresher.foreign_marks.read_marks` takes, such as (N,) bool, a list of
            sample_ids, or the folder of a run whose audit has verdicts.
        test: Test data, read as `data`; its labels are used to report an accuracy, and only there.
        auxiliary: Further data of none of the classes, read as `data` and without labels, for
            methods that learn from them; "out-of-distribution" takes the marked samples.
        out: The run folder. Default: runs/<date>-<name of the data>.
        overwrite: Replace a run that is there.
        audit: Record what the audit needs and write it.
        listener: Hears notes and epochs.

    The other arguments are those of `thresher.settings.FitSettings`.

    Under torchrun or `accelerate launch` the processes train together. Only the first writes,
    speaks to the listener and audits; on the others the summary holds what a training tells.

    Raises:
        ThresherError: the data, a setting or the folder cannot be used. Nothing is left behind.
    """
    named = data if isinstance(data, str | Path) else None
    settings = FitSettings(
        data=None if named is None else str(named),
        label=label,
        image=image,
        longest_side=longest_side,
        text=(text,) if isinstance(text, str) else tuple(text),
        encoder=encoder,
        labels=None if labels is None else str(labels),
        decisions=None if decisions is None else str(decisions),
        out_of_distribution=path_or_none(out_of_distribution),
        out_of_distribution_column=out_of_distribution_column,
        group=group,
        group_report=group_report,
        validation=validation,
        test=str(test) if isinstance(test, str | Path) else None,
        auxiliary=auxiliary_or_none(auxiliary),
        method=method,
        noise_rate=noise_rate,
        model=model,
        epochs=epochs,
        limit=limit,
        seed=seed,
        device=device,
        augment=augment,
        batch_size=batch_size,
        accumulate=accumulate,
        sampler=sampler,
        sampler_options=tuple(sampler_options),
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        precision=precision,
        features=features,
        track=track,
        save_every=save_every,
    )
    if data is None:
        raise ParameterError("There are no data to fit.", "Pass a path or a pair (X, y).")
    require_trackers(track)
    check_auxiliary(chosen_method(settings), given=auxiliary is not None)
    started = time.perf_counter()
    # before the folder is made: it may replace the run that has the marks
    marks = None if out_of_distribution is None else read_marks(out_of_distribution)
    with joined(device) as together:
        listener = listener if listener is not None and together.first else Silence()
        folder = together.from_first(lambda: new_folder(settings, out, overwrite=overwrite))
        owner = Owner(folder, listener, how_to_go_on(folder, settings), together.first)
        with owner.occupied(), scratch_folder(folder, together) as scratch:
            with owner.removed():
                if together.first:
                    folder.write_settings(begun(settings, folder, audit=audit))
                decided = None if decisions is None else read_decided(decisions)
                if marks is not None and together.first:
                    keep_marks(marks, folder.out_of_distribution)
                sources = Sources(data, test, auxiliary)
                reading = partial(read, settings, sources, listener, scratch, decided, marks)
                found = read_in_turns(reading, scratch, together)
                job = planned(settings, found, listener, audit=audit)
                if decided is not None and together.first:
                    keep_decided(decided, folder.decided)
            with owner.kept_or_removed():
                if together.first:
                    folder.write_settings(job.described(folder))
                return run_job(job, folder, started, together=together)


def estimate(
    data: Any,
    *,
    test: Any = None,
    auxiliary: Any = None,
    out_of_distribution: Any = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    listener: Listener | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Say what `fit` with the same arguments would take: sizes, seconds, memory, disk.

    The data are read and a few steps are trained; the folder is gone when this returns.

    Raises:
        ThresherError: where `fit` would.
    """
    if isinstance(data, str | Path):
        settings["data"] = str(data)
    if isinstance(test, str | Path):
        settings["test"] = str(test)
    settings["auxiliary"] = auxiliary_or_none(auxiliary)
    settings["out_of_distribution"] = path_or_none(out_of_distribution)
    chosen = FitSettings(**settings)
    check_auxiliary(chosen_method(chosen), given=auxiliary is not None)
    listener = listener or Silence()
    marks = None if out_of_distribution is None else read_marks(out_of_distribution)
    folder = new_folder(chosen, out, overwrite=overwrite)
    try:
        decided = None if chosen.decisions is None else read_decided(chosen.decisions)
        scratch = Scratch(folder.state)
        found = read(chosen, Sources(data, test, auxiliary), listener, scratch, decided, marks)
        return estimate_job(planned(chosen, found, listener, audit=True))
    finally:
        folder.remove()


def path_or_none(given: Any) -> str | None:
    """What settings hold of what may be a path, or an object in memory."""
    return str(given) if isinstance(given, str | Path) else None


def auxiliary_or_none(given: Any) -> str | None:
    """The same of auxiliary data, which may be a word instead; a `Path` is never taken for it."""
    return no_word(str(given)) if isinstance(given, Path) else path_or_none(given)


def begun(settings: FitSettings, folder: RunFolder, *, audit: bool) -> dict[str, Any]:
    """What run.toml holds while the data are read: a run killed then can be started over."""
    return {
        "fit": settings.to_table(folder.path),
        "run": {"thresher": thresher.__version__, "audit": audit},
    }


def resume(
    run: str | Path,
    *,
    data: Any = None,
    test: Any = None,
    auxiliary: Any = None,
    listener: Listener | None = None,
) -> FitResult:
    """Finish a run that was interrupted, with the numbers it would have had.

    Args:
        run: Its folder.
        data: The data, when they moved or were arrays in memory.
        test: The test data, the same.
        auxiliary: The further data, the same.
        listener: Hears notes and epochs.

    Raises:
        RunError: there is no run, or the data are not those it was started with.
    """
    folder = RunFolder.open(run)
    with joined(folder.read_settings()["fit"].get("device", "auto")) as together:
        listener = listener if listener is not None and together.first else Silence()
        owner = Owner(folder, listener, folder.command, together.first)
        with owner.occupied():
            return resumed(folder, Sources(data, test, auxiliary), listener, together)


def resumed(folder: RunFolder, moved: Sources, listener: Listener, together: Together) -> FitResult:
    """Finish the run in a folder that no other run writes to."""
    started = time.perf_counter()
    written = together.from_first(folder.read_settings)
    settings = FitSettings.from_table(written["fit"], folder.path)
    if together.from_first(lambda: folder.complete):
        listener.note(f"The run in {folder.path} is complete; there is nothing to resume.")
        summary = together.from_first(folder.read_summary)
        return FitResult(folder, summary, TrainedModel.load(folder.model))
    sources = moved.or_else(settings)
    if sources.data is None:
        raise RunError(
            "The run was started with arrays in memory, which are not kept.",
            "Call thresher.resume(run, data=(X, y)) with the same arrays.",
        )
    check_auxiliary(chosen_method(settings), given=sources.auxiliary is not None)
    with scratch_folder(folder, together) as scratch:
        decisions = settings.decisions
        decided = None
        if decisions is not None:
            decided = together.from_first(lambda: decided_before(folder, decisions))
        marks = together.from_first(lambda: marks_before(folder, settings))
        reading = partial(read, settings, sources, listener, scratch, decided, marks)
        found = read_in_turns(reading, scratch, together)
        if "fingerprint" in written["run"]:  # else it was stopped while the data were read
            refuse_other_data(found, written["run"])
        audit = written["run"].get("audit", True)
        job = planned(settings, found, listener, audit=audit)
        if together.first:
            folder.write_settings(job.described(folder))
        epochs: list[dict[str, Any]] = []
        saved = None
        if checkpoint_is_there(folder, together):
            saved = load_last_checkpoint(
                folder.checkpoint, folder.checkpoint_before, job.training, listener.note
            )
        if saved is not None:
            epochs = saved["epochs"]
            listener.note(f"Going on after {job.training.place()}.")
        else:
            listener.note("The run was stopped before its first checkpoint; it starts over.")
        owner = Owner(folder, listener, how_to_go_on(folder, settings), together.first)
        with owner.kept():
            return run_job(job, folder, started, epochs, together)


def checkpoint_is_there(folder: RunFolder, together: Together) -> bool:
    """Whether the run has a checkpoint to go on from.

    Raises:
        RunError: some of the processes do not see the one that the first sees.
    """
    seen = together.exchange(folder.resumable)
    if seen[0] and not all(seen):
        raise RunError(
            f"Process {seen.index(False)} does not see the checkpoint in {folder.path}.",
            "Put the run on a file system that all machines share, to resume it on all of them.",
        )
    return seen[0]


def decided_before(folder: RunFolder, run: str) -> dict[str, Decided]:
    """The decisions that a run was started with; those of the review, if it had not begun yet."""
    if not folder.decided.is_file():
        keep_decided(read_decided(run), folder.decided)
    return kept_decided(folder.decided)


def marks_before(folder: RunFolder, settings: FitSettings) -> Marks | None:
    """The marks that a run was started with; those of the file, if it had not begun yet."""
    if folder.out_of_distribution.is_file():
        return kept_marks(folder.out_of_distribution)
    if settings.out_of_distribution is None:
        return None
    marks = read_marks(settings.out_of_distribution)
    keep_marks(marks, folder.out_of_distribution)
    return marks


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


# ---------------------------------------------------------------------- reading
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


def chosen_method(settings: FitSettings) -> Method:
    """The method that the settings name."""
    return make_method(settings.method, noise_rate=settings.noise_rate)


def planned(settings: FitSettings, found: Read, listener: Listener, *, audit: bool) -> Job:
    """A job on what was read."""
    return Job.plan(
        settings,
        found.samples,
        found.tested,
        listener,
        audit=audit,
        applied=found.applied,
        auxiliary=found.auxiliary,
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


# ---------------------------------------------------------------------- the folder
def new_folder(settings: FitSettings, out: str | Path | None, *, overwrite: bool) -> RunFolder:
    """Make the run folder, unless there is nothing to read."""
    named = (settings.data, settings.test, settings.auxiliary, settings.out_of_distribution)
    for path in named:
        if path is None or path == MARKED:
            continue
        if find_cifar(as_path(path)) is None:  # a file in an archive is none
            existing(Path(path))
    return (
        dated_folder(settings.data) if out is None else RunFolder.create(out, overwrite=overwrite)
    )


def dated_folder(named: str | Path | None) -> RunFolder:
    """Make runs/<date>-<name of the data>, with a number if that is taken."""
    name = Path(named).resolve().stem if named is not None else "arrays"
    base = Path("runs") / f"{time.strftime('%Y%m%d')}-{name}"
    number, path = 1, base
    while True:
        try:
            return RunFolder.create(path)
        except RunError:
            if not path.exists():
                raise  # for another reason than that the name is taken
        number += 1
        path = base.with_name(f"{base.name}-{number}")


def how_to_go_on(folder: RunFolder, settings: FitSettings) -> str:
    """The command that finishes a run, or the call where the data are arrays in memory."""
    if settings.data is None:
        return f"thresher.resume({str(folder.path)!r}, data=…) and the same arrays"
    return folder.command


@dataclass(frozen=True)
class Owner:
    """Who looks after a run folder: the first process; on the others all of this does nothing.

    Args:
        folder: The run.
        listener: Hears how to go on.
        command: How to go on.
        owns: Whether this process is the first.
    """

    folder: RunFolder
    listener: Listener
    command: str
    owns: bool

    def occupied(self) -> AbstractContextManager[None]:
        """`RunFolder.occupied`."""
        return self.folder.occupied() if self.owns else nullcontext()

    def removed(self) -> AbstractContextManager[None]:
        """`removed`."""
        return self._guarded(removed)

    def kept(self) -> AbstractContextManager[None]:
        """`kept`."""
        return self._guarded(kept)

    def kept_or_removed(self) -> AbstractContextManager[None]:
        """`kept_or_removed`."""
        return self._guarded(kept_or_removed)

    def _guarded(
        self, guard: Callable[[RunFolder, Listener, str], AbstractContextManager[None]]
    ) -> AbstractContextManager[None]:
        return guard(self.folder, self.listener, self.command) if self.owns else nullcontext()


@contextmanager
def removed(folder: RunFolder, listener: Listener, command: str) -> Iterator[None]:
    """Leave nothing of a run that did not come to train, except copies of large inputs."""
    try:
        yield
    except KeyboardInterrupt:
        if any(folder.state.iterdir()):
            listener.note(f"Interrupted. What was read is kept. Go on with: {command}")
        else:
            folder.remove()
        raise
    except BaseException:
        folder.remove()
        raise


@contextmanager
def kept(folder: RunFolder, listener: Listener, command: str) -> Iterator[None]:
    """Say how to go on when a run is stopped that can be finished."""
    try:
        yield
    except KeyboardInterrupt:
        listener.note(f"Interrupted. Go on with: {command}")
        raise
    except Exception as error:
        if folder.resumable and not isinstance(error, ModelError):
            listener.note(f"What was trained is kept. Go on with: {command}")
        raise


@contextmanager
def kept_or_removed(folder: RunFolder, listener: Listener, command: str) -> Iterator[None]:
    """After a new run's failure keep what can be finished, and nothing else."""
    try:
        with kept(folder, listener, command):
            yield
    except Exception as error:
        # of a loss that is no number, the same would come again
        if isinstance(error, ModelError) or not folder.resumable:
            folder.remove()
        raise
