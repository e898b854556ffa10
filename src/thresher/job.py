"""Job: everything chosen for a run, nothing written yet; then the run itself.

plan:    preparation, network, criterion, loop, every open setting resolved
train:   an epoch at a time
audited: history → Record → judge → table, summary
run:     train → model, history.safetensors → audited → audit.parquet, report.html, summary.json
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

import thresher
from thresher.audit import Record, Summary, Verdicts, judge, summarise
from thresher.audit.evidence_file import read_evidence
from thresher.audit.report import render_report, rows_shown, write_report
from thresher.audit.table import build_table, write_table
from thresher.data import Samples
from thresher.decided import Applied
from thresher.distributed import process_number, processes, shares, summed
from thresher.errors import ParameterError
from thresher.evidence import keep_evidence
from thresher.group_report import Fairness, fairness, numbered, selection_by_group
from thresher.history import TRACE
from thresher.keyed_random import keyed_seed
from thresher.memory import peak_mib
from thresher.model_card import Excluded, model_card
from thresher.models import Preparation, build_model, default_model
from thresher.models.last_layer import last_layer
from thresher.noise import make_method
from thresher.noise.held_out import draw_held_out
from thresher.noise.method import Method, Plan
from thresher.process_group import ALONE, Together
from thresher.run_folder import RunFolder
from thresher.settings import FitSettings
from thresher.stop_signals import stopping_between_steps
from thresher.trained_model import TrainedModel, choose_device
from thresher.training.augment import Augmentation, default_augmentation
from thresher.training.checkpoint import Saver
from thresher.training.drawn_batches import DrawnBatches, draw_batches
from thresher.training.features import last_layer_inputs
from thresher.training.loop import Rows, Settings, Training
from thresher.training.predict import as_tensor, predict_probabilities
from thresher.training.stream import Stream
from thresher.training.tracking import Tracking
from thresher.whole_file import whole_file

__all__ = ["Audited", "FitResult", "Job", "Listener"]

SCHEMA = 1
EPOCHS = 30
COMPARED_MOST = 5e12  # multiplications for outliers and near-duplicates: some ten minutes
SUSPECTS = 60  # that the report shows
COMPARED = ("n", "n_label_issues", "noise_rate_estimate", "test_accuracy", "validation_accuracy")


class Listener(Protocol):
    """Whoever wants to hear how a run goes: the command line, a notebook, or nobody."""

    def note(self, sentence: str) -> None:
        """Something that must be said aloud."""

    def reading(self, done: int, total: int) -> None:
        """So many of all images are decoded."""

    def epoch(self, number: int, epochs: int, metrics: Mapping[str, Any]) -> None:
        """An epoch (from 1) has ended."""


@dataclass(frozen=True)
class FitResult:
    """A finished run.

    Attributes:
        run: Its folder.
        summary: The object that `thresher fit --json` prints.
        model: The trained classifier.
    """

    run: RunFolder
    summary: dict[str, Any]
    model: TrainedModel


@dataclass(frozen=True)
class Audited:
    """What the audit found.

    Attributes:
        verdicts: On every sample.
        table: The columns of audit.parquet.
        summary: The same in a few numbers.
    """

    verdicts: Verdicts
    table: pa.Table
    summary: Summary


def batch_size_for(rows: int) -> int:
    """Twenty steps an epoch at least, 128 rows usually, more where there are many.

    >>> [batch_size_for(n) for n in (150, 1300, 10_000, 50_000, 1_000_000)]
    [16, 64, 128, 128, 1024]
    """
    wanted = max(min(rows / 20, 128), min(rows / 400, 1024))
    return int(2 ** np.floor(np.log2(np.clip(wanted, 16, 1024))))


@dataclass
class Job:
    """Everything chosen, nothing written: a training that is ready to run."""

    settings: FitSettings  # as resolved
    samples: Samples
    tested: Samples | None
    method: Method
    model: TrainedModel
    training: Training
    listener: Listener
    audit: bool
    applied: Applied | None = None  # decisions of an earlier run's review
    auxiliary: Samples | None = None  # further data, for methods that learn from them

    @classmethod
    def plan(
        cls,
        settings: FitSettings,
        samples: Samples,
        tested: Samples | None,
        listener: Listener,
        *,
        audit: bool,
        applied: Applied | None = None,
        auxiliary: Samples | None = None,
    ) -> Job:
        """Resolve every setting that was left open, and build model, criterion and loop."""
        images = samples.kind == "images"
        labels = torch.from_numpy(samples.labels)
        labelled = torch.nonzero(labels >= 0).flatten()
        settings = replace(
            settings,
            model=default_model(samples.kind) if settings.model == "auto" else settings.model,
            epochs=settings.epochs or EPOCHS,
            batch_size=settings.batch_size or batch_size_for(len(labelled)),
            learning_rate=settings.learning_rate or (0.1 if images else 0.05),
            weight_decay=(5e-4 if images else 1e-4)
            if settings.weight_decay is None
            else settings.weight_decay,
            augment=chosen_augmentation(settings.augment, samples),
            label=samples.encoding.label or settings.label,
            image=samples.encoding.image or settings.image,
        )
        assert settings.epochs is not None
        assert settings.batch_size is not None
        assert settings.learning_rate is not None
        assert settings.weight_decay is not None
        refuse_small_parts(settings.model, len(labelled), settings.batch_size)
        method = make_method(settings.method, noise_rate=settings.noise_rate)
        held_out = rows_held_out(settings, method, samples, tested)
        trusted = None if samples.trusted is None else torch.from_numpy(samples.trusted)
        foreign = samples.out_of_distribution
        preparation = Preparation.fit(samples.inputs, labelled.numpy())
        shape = preparation.shape(samples.inputs.shape)
        classes = len(samples.classes)
        network = build_model(
            settings.model,
            shape=shape,
            classes=classes,
            seed=settings.seed,
            networks=method.networks,
        )
        if settings.features or method.wants_features:
            last_layer(network, classes)  # refused now rather than after the training
        device = choose_device(settings.device)
        network.to(device)
        words = () if settings.augment == "none" else tuple(settings.augment.split(","))
        criterion = method.start(
            len(samples),
            classes,
            epochs=settings.epochs,
            labels=labels,
            held_out=held_out,
            releases=settings.validation is None,
            trusted=trusted,
            out_of_distribution=None if foreign is None else torch.from_numpy(foreign),
            audit=audit,
            repeats=settings.sampler != "shuffled",
            augmented=bool(words),
            seed=settings.seed,
            device=device,
        )
        rows = Rows(
            as_tensor(samples.inputs),
            labels,
            labelled,
            preparation,
            Augmentation(words, settings.seed) if words else None,
        )
        streams = {}
        if auxiliary is not None:
            views = Augmentation(words, keyed_seed(settings.seed, "auxiliary")) if words else None
            streams["auxiliary"] = Stream(
                as_tensor(auxiliary.inputs), preparation, views, settings.seed
            )
        batches = None
        if settings.sampler != "shuffled":
            batches = draw_batches(
                settings.sampler,
                settings.options_of_sampler(),
                criterion,
                labelled,
                settings.batch_size,
                settings.epochs,
                settings.seed,
                settings.accumulate,
            )
        training = Training(
            network,
            criterion,
            rows,
            Settings(
                epochs=settings.epochs,
                batch_size=settings.batch_size,
                peak_rate=settings.learning_rate,
                accumulate=settings.accumulate,
                weight_decay=settings.weight_decay,
                seed=settings.seed,
                precision=settings.precision,
            ),
            batches=batches,
            streams=streams,
            device=device,
        )
        model = TrainedModel(
            network,
            settings.model,
            method.networks,
            samples.classes,
            samples.encoding,
            preparation,
            shape,
            settings.precision,
        )
        return cls(
            settings,
            samples,
            tested,
            method,
            model,
            training,
            listener,
            audit,
            applied,
            auxiliary,
        )

    def described(self, folder: RunFolder) -> dict[str, Any]:
        """What run.toml holds: the resolved settings, and what they were resolved for."""
        return {
            "fit": self.settings.to_table(folder.path),
            "run": {
                "thresher": thresher.__version__,
                "fingerprint": self.samples.fingerprint,
                "test_fingerprint": None if self.tested is None else self.tested.fingerprint,
                "auxiliary_fingerprint": None
                if self.auxiliary is None
                else self.auxiliary.fingerprint,
                "n": len(self.samples),
                "classes": list(self.samples.classes),
                "audit": self.audit,
            },
        }

    def run(
        self,
        folder: RunFolder,
        started: float,
        epochs: list[dict[str, Any]] | None = None,
        together: Together = ALONE,
    ) -> FitResult:
        """Train, write the model and the history, and audit.

        Of several processes only the first writes; the others end with the training.

        Args:
            folder: Where everything is written.
            started: By `time.perf_counter`, when the work began.
            epochs: Metrics of the epochs before, of a run that is resumed.
            together: The processes that train.
        """
        if not together.first:
            with stopping_between_steps(self.training.interrupt):
                self.train(epochs)
            together.leave()
            return FitResult(folder, self._trained(folder), self.model)
        tracking = Tracking(
            self.settings.track, folder.tracking, folder.path.name, self.listener.note
        )
        tracking.start(self.settings.to_table(folder.path))
        epochs = [] if epochs is None else epochs
        saver = Saver(
            folder.checkpoint,
            folder.checkpoint_before,
            self.training,
            epochs,
            every=self.settings.save_every,
            note=self.listener.note,
        )
        try:
            with stopping_between_steps(self.training.interrupt):
                self.train(
                    epochs,
                    after_epoch=lambda: tracking.log(epochs[-1], step=len(epochs)),
                    after_step=saver,
                )
            together.leave()
            return self._finish(folder, started, epochs, tracking)
        except KeyboardInterrupt:
            if folder.state.is_dir():
                saver.save()
            raise

    def _finish(
        self, folder: RunFolder, started: float, epochs: list[dict[str, Any]], tracking: Tracking
    ) -> FitResult:
        """Write what the training came to, and the audit."""
        folder.write_metrics(epochs)
        if len(self.samples.skipped):
            write_table(self.samples.skipped, folder.skipped)
        if self.samples.conflicts is not None and len(self.samples.conflicts):
            write_table(self.samples.conflicts, folder.conflicts)
        summary = self._trained(folder)
        if self.applied is not None:
            summary["decisions"] = self._decisions()
        found, groups = self._write_audit(folder, epochs) if self.audit else (None, None)
        if groups is not None:
            summary["groups"] = groups
        if found is not None:
            summary["noise_rate_estimate"] = found.noise_rate.estimate
            summary["n_label_issues"] = found.n_label_issues
        if self.tested is not None:
            summary["test_accuracy"] = epochs[-1]["test_accuracy"]
        summary |= self._validation()
        self.model.save(folder.model, self._card(folder, summary, found))
        summary["seconds"] = round(time.perf_counter() - started, 3)
        summary["peak_mib"] = peak_mib()
        tracking.log(summary, step=len(epochs))
        tracking.finish()
        folder.write_summary(summary)
        folder.finish()
        return FitResult(folder, summary, self.model)

    def _trained(self, folder: RunFolder) -> dict[str, Any]:
        """What a training comes to before it is audited."""
        return {
            "schema": SCHEMA,
            "run": str(folder.path),
            "n": len(self.samples),
            "classes": list(self.samples.classes),
            "method": self.settings.method,
            "sampler": self.settings.sampler,
            "epochs": self.settings.epochs,
        }

    def _decisions(self) -> dict[str, Any]:
        """What people decided, and the figures of the run that they looked at."""
        assert self.applied is not None
        assert self.settings.decisions is not None
        before = RunFolder.open(self.settings.decisions).read_summary()
        return {
            **self.applied.to_json(),
            "round": before.get("decisions", {}).get("round", 0) + 1,
            "before": {name: before[name] for name in COMPARED if name in before},
        }

    # ------------------------------------------------------------------ training
    def train(
        self,
        epochs: list[dict[str, Any]] | None = None,
        after_epoch: Callable[[], None] | None = None,
        after_step: Callable[[], None] | None = None,
    ) -> list[dict[str, Any]]:
        """Train to the last epoch and give the metrics of every epoch; nothing is written.

        Args:
            epochs: Metrics of the epochs before, of a run that is resumed; those that follow are
                added to them.
            after_epoch: Called when an epoch has ended and its metrics are added.
            after_step: Called between steps, where the training may be saved.
        """
        epochs = [] if epochs is None else epochs
        total = self.training.settings.epochs
        measure = self._measure if self.tested is not None else None
        for epoch in self.training.run(measure, after_step):
            metrics = {
                "epoch": epoch.epoch + 1,
                "loss": epoch.loss,
                "learning_rate": epoch.learning_rate,
                **self._accuracies(),
                **epoch.measured,
                **self._drawn(),
                **self._numbers_of_method(),
                "seconds": round(epoch.seconds, 4),
            }
            epochs.append(metrics)
            if after_epoch is not None:
                after_epoch()
            self.training.rest()
            self.listener.epoch(epoch.epoch + 1, total, metrics)
        return epochs

    def _numbers_of_method(self) -> dict[str, Any]:
        """What the method goes by: phases, rates."""
        method = self.training.criterion.method
        found = {name: getattr(method, name) for name in method.state}
        return {name: value for name, value in found.items() if not isinstance(value, list)}

    def _drawn(self) -> dict[str, float]:
        """How a sampler has chosen in the last epoch."""
        batches = self.training.batches
        return batches.figures() if isinstance(batches, DrawnBatches) else {}

    def _validation(self) -> dict[str, Any]:
        """Accuracy on the held-out rows, whose labels are as given: that of the finished model.

        Of rows that were trained in the end, that of what was predicted of them until then.
        """
        history = self.training.criterion.history
        held_out = ~history["eligible"].cpu().numpy()
        if held_out.any():
            found = self.model.accuracy(self.samples.take(held_out), self.training.device)
            return {"validation_accuracy": found, "validation_rows": int(held_out.sum())}
        state = history.state_dict()
        if "held_out_rows" not in state:
            return {}
        right = state["held_out_average"].argmax(1) == history["given"][state["held_out_rows"]]
        return {
            "validation_accuracy": float(right.float().mean()),
            "validation_rows": len(right),
            "validation_epoch": int(state["held_out_visits"].max()),
        }

    def _measure(self, network: nn.Module) -> dict[str, float]:
        assert self.tested is not None
        if processes() == 1:
            return {"test_accuracy": self.model.accuracy(self.tested, self.training.device)}
        mine = shares(len(self.tested), processes())[process_number()]
        counts = [0, 0]  # right, known
        if mine.start < mine.stop:
            predicted = predict_probabilities(
                network,
                as_tensor(self.tested.inputs[mine]),
                self.model.preparation,
                device=self.training.device,
                precision=self.model.precision,
            ).argmax(1)
            labels = self.tested.labels[mine]
            counts = [int((predicted == labels).sum()), int((labels >= 0).sum())]
        right, known = summed(torch.tensor(counts, device=self.training.device)).tolist()
        return {"test_accuracy": right / known}

    def _accuracies(self) -> dict[str, float]:
        """Accuracy on the given labels, of the training-mode passes of the last epoch."""
        history = self.training.criterion.history
        if "last_prediction" not in history:
            return {}
        eligible = history["eligible"]
        found = {"trained_accuracy": history.accuracy(eligible)}
        if not bool(eligible.all()):
            found["held_out_accuracy"] = history.accuracy(~eligible)
        return found

    # ------------------------------------------------------------------ audit
    def audited(self, features: NDArray[np.float16] | None = None) -> Audited:
        """Judge every sample by what was seen of it; nothing is written.

        Args:
            features: (N, d), what the last layer saw of every sample.
        """
        record = self.record()
        if features is not None and len(features) ** 2 * features.shape[1] > COMPARED_MOST:
            self.listener.note(
                f"{len(features):,} samples are too many to compare each with all others: outliers "
                "and near-duplicates are not looked for."
            )
            features = None
        inputs = None if features is None else self.samples.inputs
        if inputs is None:
            self.samples.unload()  # the audit needs the memory, and hardly any input
        verdicts = judge(record, features=features, inputs=inputs)
        table = build_table(
            record,
            verdicts,
            sample_ids=self.samples.sample_id,
            paths=self.samples.paths,
            texts=self.samples.joined_texts(),
        )
        return Audited(verdicts, table, summarise(record, verdicts))

    def _card(self, folder: RunFolder, results: dict[str, Any], found: Summary | None) -> str:
        described = self.described(folder)
        eligible = self.training.criterion.history["eligible"]
        return model_card(
            kind=self.samples.kind,
            settings=described["fit"],
            facts=described["run"],
            excluded=Excluded(
                held_out=int((~eligible).sum()),
                unlabelled=int((self.samples.labels < 0).sum()),
                unreadable=len(self.samples.skipped),
            ),
            results=results,
            audit=found,
        )

    def _write_audit(
        self, folder: RunFolder, epochs: list[dict[str, Any]]
    ) -> tuple[Summary, dict[str, Any] | None]:
        """Write the audit and its report; returns its summary, and how groups compare."""
        history = self.training.criterion.history
        columns = {name: value.cpu() for name, value in history.state_dict().items()}
        columns.pop("targets", None)  # of use to a training only, and large
        facts = json.dumps({"schema": SCHEMA, "classes": list(self.samples.classes)})
        with whole_file(folder.history) as aside:
            save_file(columns, aside, {"thresher": facts})
        features = self._write_features(folder) if self.settings.features else None
        found = self.audited(features)
        write_table(found.table, folder.audit)
        trace = columns[TRACE].numpy() if TRACE in columns else None
        keep_evidence(folder.evidence, self.samples, found.table, found.verdicts, trace, features)
        names = found.table["sample_id"]
        shown = names.take(rows_shown(found.table, SUSPECTS)).to_pylist()
        kept = read_evidence(folder.evidence, shown)
        groups = self.compared_groups(found.verdicts)
        page = render_report(
            summary=found.summary,
            table=found.table,
            metrics=epochs,
            settings=self.settings.to_table(folder.path),
            method={
                "name": self.method.name,
                "summary": first_sentence(type(self.method).__doc__ or ""),
                "source": self.method.source,
            },
            evidence=lambda row: kept.get(names[row].as_py()),
            groups=groups,
            top=SUSPECTS,
        )
        write_report(folder.report, page)
        for sentence in found.summary.warnings:
            self.listener.note(sentence)
        return found.summary, groups

    def compared_groups(self, verdicts: Verdicts) -> dict[str, Any] | None:
        """How groups compare: who is trusted, and how well each is predicted.

        Trusted is what the audit does not call wrong. Predictions are judged on test data that have
        the column, else on the rows held out of training and their given labels.

        Returns:
            An object of JSON; None if no column was named.
        """
        column, samples = self.settings.group_report, self.samples
        if column is None or samples.aside is None:
            return None
        codes, names = numbered(samples.aside[column].to_pylist())
        cells = selection_by_group(
            ~verdicts.is_label_issue, samples.labels, codes, names, samples.classes
        )
        found: dict[str, Any] = {"column": column, "judged_on": None}
        judged = self._judged_by_group(column)
        if judged is None:
            empty = Fairness((), None, None, None, None)
            return found | empty.to_json() | {"selection": [asdict(each) for each in cells]}
        on, rows = judged
        assert rows.aside is not None
        codes, names = numbered(rows.aside[column].to_pylist())
        predicted = self.model.probabilities(rows, self.training.device).argmax(1)
        fair = fairness(predicted, rows.labels, codes, names, len(samples.classes))
        found["judged_on"] = on
        return found | fair.to_json() | {"selection": [asdict(each) for each in cells]}

    def _judged_by_group(self, column: str) -> tuple[str, Samples] | None:
        """The labelled samples on which groups are compared, and what they are."""
        tested = self.tested
        if tested is not None and tested.aside is not None and column in tested.aside.column_names:
            return "test", tested.take(tested.labels >= 0)
        held_out = ~self.training.criterion.history["eligible"].cpu().numpy()
        held_out &= self.samples.labels >= 0
        return ("held-out", self.samples.take(held_out)) if held_out.any() else None

    def _write_features(self, folder: RunFolder) -> NDArray[np.float16]:
        features = last_layer_inputs(
            self.model.network,
            as_tensor(self.samples.inputs),
            self.model.preparation,
            classes=len(self.samples.classes),
            device=self.training.device,
            precision=self.settings.precision,
        )
        with whole_file(folder.features) as aside, aside.open("wb") as file:
            np.save(file, features)
        return features

    def record(self) -> Record:
        """What the audit reads of the training so far."""
        samples = self.samples
        unlabelled = np.flatnonzero(samples.labels < 0)
        final = None
        if len(unlabelled):
            final = self.model.probabilities(samples.take(unlabelled), self.training.device)
        history = self.training.criterion.history.state_dict()
        return Record.from_history(history, samples.labels, samples.classes, final)


def refuse_small_parts(model: str, rows: int, batch_size: int) -> None:
    """Refuse batches that several processes cannot share.

    Args:
        model: As `build_model` takes it. Layers of a user's own network may need two rows or more.
        rows: That are trained.
        batch_size: Samples a batch.

    Raises:
        ParameterError: a process would have nothing to do.
    """
    if processes() == 1:
        return
    if batch_size < processes():
        raise ParameterError(
            f"A batch of {batch_size} samples cannot be shared by {processes()} processes.",
            "Raise --batch-size, or start fewer.",
        )
    last = rows % batch_size
    if ":" in model and 1 < last < 2 * processes():
        raise ParameterError(
            f"The last batch of an epoch has {last} samples, too few for {processes()} parts that "
            "any network can learn from.",
            "Choose another --batch-size.",
        )


def rows_held_out(
    settings: FitSettings, method: Method, samples: Samples, tested: Samples | None
) -> torch.Tensor | None:
    """Choose the rows that are held out of training; None for none.

    Raises:
        ParameterError: the method needs them and the settings forbid them.
    """
    share, needed = settings.validation, "held_out" in method.needs
    if share == 0 and needed:
        raise ParameterError(
            f'The method "{settings.method}" needs rows held out of training.',
            "Leave --validation out, or choose another method.",
        )
    if share == 0 or (share is None and not needed and tested is not None):
        return None
    plan = Plan(len(samples), len(samples.classes), settings.epochs, settings.seed)
    labels = torch.from_numpy(samples.labels)
    spared = None if samples.trusted is None else torch.from_numpy(samples.trusted)
    return draw_held_out(plan, labels, share=share, groups=samples.groups, spared=spared)


def chosen_augmentation(words: str, samples: Samples) -> str:
    """Resolve "auto", and refuse views of what are no images."""
    if samples.kind == "features":
        if words not in ("auto", "none"):
            raise ParameterError(
                f'augment "{words}" needs images, the data are features.', "Leave it at auto."
            )
        return "none"
    if words != "auto":
        return words
    return ",".join(default_augmentation(samples.inputs.shape[1:])) or "none"


def first_sentence(text: str) -> str:
    """The first line of a docstring."""
    return text.strip().splitlines()[0] if text.strip() else ""
