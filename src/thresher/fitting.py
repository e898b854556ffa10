"""fit: one training run, two results: a classifier, and the audit of its labels.

fit     RunFolder.create → open_data → Job.plan → run_job
resume  RunFolder.open → open_data → Job.plan → load_last_checkpoint → run_job

The folder comes first, because copies of large inputs are mapped from its state/. Of several
processes the first makes and writes it; all read the same data and train.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import thresher
from thresher.auxiliary_data import check_auxiliary
from thresher.decided import keep_decided, kept_decided, read_decided
from thresher.decisions import Decided
from thresher.errors import ParameterError, RunError
from thresher.estimate import estimate_job
from thresher.finishing import FitResult
from thresher.foreign_marks import Marks, keep_marks, kept_marks, read_marks
from thresher.job import Job, Listener
from thresher.noise import make_method
from thresher.noise.method import Method
from thresher.process_group import Together, joined
from thresher.run_data import Sources, read, refuse_other_data
from thresher.run_folder import RunFolder
from thresher.run_owner import Owner, how_to_go_on, new_folder
from thresher.running import run_job
from thresher.settings import FitSettings, in_words, no_word
from thresher.shared_reading import Read, Scratch, read_in_turns, scratch_folder
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
    method_options: Mapping[str, Any] | Sequence[str] = (),
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
        method_options=in_words(method_options),
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
    settings["method_options"] = in_words(settings.get("method_options", ()))
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


def chosen_method(settings: FitSettings) -> Method:
    """The method that the settings name."""
    return make_method(
        settings.method, noise_rate=settings.noise_rate, options=settings.options_of_method()
    )


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
