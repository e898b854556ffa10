"""Job: everything chosen for a run, nothing written yet.

settings → planning.py (what was left open) → preparation, network, criterion, loop

What becomes of it: epochs.py trains, auditing.py judges, running.py does both and writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import thresher
from thresher.audit import Record
from thresher.data import Samples
from thresher.decided import Applied
from thresher.errors import ParameterError
from thresher.keyed_random import keyed_seed
from thresher.models import Preparation, build_model
from thresher.models.last_layer import last_layer
from thresher.noise import make_method
from thresher.noise.criterion import Criterion
from thresher.noise.method import Method
from thresher.planning import refuse_small_parts, resolved, rows_held_out
from thresher.run_folder import RunFolder
from thresher.settings import FitSettings
from thresher.trained_model import TrainedModel, choose_device
from thresher.training.augment import Augmentation
from thresher.training.drawn_batches import DrawnBatches, draw_batches
from thresher.training.loop import Rows, Settings, Training
from thresher.training.predict import as_tensor
from thresher.training.stream import Stream
from thresher.transition import check_transition

__all__ = ["Job", "Listener"]


class Listener(Protocol):
    """Whoever wants to hear how a run goes: the command line, a notebook, or nobody."""

    def note(self, sentence: str) -> None:
        """Something that must be said aloud."""

    def reading(self, done: int, total: int) -> None:
        """So many of all images are decoded."""

    def epoch(self, number: int, epochs: int, metrics: Mapping[str, Any]) -> None:
        """An epoch (from 1) has ended."""


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
        labels = torch.from_numpy(samples.labels)
        labelled = torch.nonzero(labels >= 0).flatten()
        settings = resolved(settings, samples, len(labelled))
        assert settings.batch_size is not None
        refuse_small_parts(settings.model, len(labelled), settings.batch_size)
        method = make_method(
            settings.method, noise_rate=settings.noise_rate, options=settings.options_of_method()
        )
        held_out = rows_held_out(settings, method, samples, tested)
        preparation = Preparation.fit(samples.inputs, labelled.numpy())
        device = choose_device(settings.device)
        model = untrained(settings, samples, method, preparation)
        model.network.to(device)
        words = () if settings.augment == "none" else tuple(settings.augment.split(","))
        criterion = method.start(
            len(samples),
            len(samples.classes),
            epochs=settings.epochs,
            labels=labels,
            held_out=held_out,
            releases=settings.validation is None,
            trusted=tensor_of(samples.trusted),
            out_of_distribution=tensor_of(samples.out_of_distribution),
            audit=audit,
            repeats=settings.sampler != "shuffled",
            augmented=bool(words),
            seed=settings.seed,
            device=device,
        )
        views = Augmentation(words, settings.seed) if words else None
        training = Training(
            model.network,
            criterion,
            Rows(as_tensor(samples.inputs), labels, labelled, preparation, views),
            settings_of_loop(settings),
            batches=drawn_batches(settings, criterion, labelled),
            streams=streams_of(settings, auxiliary, preparation, words),
            device=device,
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

    def known_transition(self) -> NDArray[np.float64] | None:
        """How labels are confused, (k, k), as the method knows it after the training.

        What a method of a user's own answers that is no such matrix is noted, and costs no more.
        """
        method = self.training.criterion.method
        try:
            found = method.known_transition()
            return None if found is None else check_transition(found, len(self.samples.classes))
        except (ParameterError, TypeError, ValueError) as error:
            self.listener.note(
                f"How labels are confused is not shown: what {method.name} knows of it is no "
                f"transition matrix. {error}"
            )
            return None

    def record(self) -> Record:
        """What the audit reads of the training so far."""
        samples = self.samples
        unlabelled = np.flatnonzero(samples.labels < 0)
        final = None
        if len(unlabelled):
            final = self.model.probabilities(samples.take(unlabelled), self.training.device)
        history = self.training.criterion.history.state_dict()
        return Record.from_history(history, samples.labels, samples.classes, final)


# ---------------------------------------------------------------------- the parts of a job
def untrained(
    settings: FitSettings, samples: Samples, method: Method, preparation: Preparation
) -> TrainedModel:
    """The network before its first step, with what a prediction needs beside it.

    Args:
        settings: Resolved.
        samples: The training data.
        method: Says how many networks there are.
        preparation: Of the inputs.

    Raises:
        ModelError: the network has no last layer to take features from, and they are asked for.
    """
    shape = preparation.shape(samples.inputs.shape)
    classes = len(samples.classes)
    network = build_model(
        settings.model, shape=shape, classes=classes, seed=settings.seed, networks=method.networks
    )
    if settings.features or method.wants_features:
        last_layer(network, classes)  # refused now rather than after the training
    return TrainedModel(
        network,
        settings.model,
        method.networks,
        samples.classes,
        samples.encoding,
        preparation,
        shape,
        settings.precision,
    )


def tensor_of(marks: NDArray[np.bool_] | None) -> Tensor | None:
    """The same marks, in the same memory."""
    return None if marks is None else torch.from_numpy(marks)


def settings_of_loop(settings: FitSettings) -> Settings:
    """What the loop is told of resolved settings."""
    assert settings.epochs is not None
    assert settings.batch_size is not None
    assert settings.learning_rate is not None
    assert settings.weight_decay is not None
    return Settings(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        peak_rate=settings.learning_rate,
        accumulate=settings.accumulate,
        weight_decay=settings.weight_decay,
        seed=settings.seed,
        precision=settings.precision,
    )


def drawn_batches(
    settings: FitSettings, criterion: Criterion, labelled: Tensor
) -> DrawnBatches | None:
    """The batches of a sampler; None = every row once an epoch, shuffled."""
    if settings.sampler == "shuffled":
        return None
    assert settings.epochs is not None
    assert settings.batch_size is not None
    return draw_batches(
        settings.sampler,
        settings.options_of_sampler(),
        criterion,
        labelled,
        settings.batch_size,
        settings.epochs,
        settings.seed,
        settings.accumulate,
    )


def streams_of(
    settings: FitSettings,
    auxiliary: Samples | None,
    preparation: Preparation,
    words: tuple[str, ...],
) -> dict[str, Stream]:
    """Further data by name, augmented by a key of their own."""
    if auxiliary is None:
        return {}
    views = Augmentation(words, keyed_seed(settings.seed, "auxiliary")) if words else None
    stream = Stream(as_tensor(auxiliary.inputs), preparation, views, settings.seed)
    return {"auxiliary": stream}
