"""Planning: the settings that were left open, resolved by the data, and what cannot be is refused.

batch size, model, rates, views → refuse_small_parts → rows_held_out

Nothing is built here: `Job.plan` does so with what this gives.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from thresher.data import Samples
from thresher.distributed import processes
from thresher.errors import ParameterError
from thresher.models import default_model
from thresher.noise.held_out import draw_held_out
from thresher.noise.method import Method, Plan
from thresher.settings import FitSettings
from thresher.training.augment import default_augmentation

__all__ = ["refuse_small_parts", "resolved", "rows_held_out"]

EPOCHS = 30


def resolved(settings: FitSettings, samples: Samples, labelled: int) -> FitSettings:
    """Give every setting that was left open the value it has for these data.

    Args:
        settings: As the user chose them.
        samples: The training data.
        labelled: How many of them have a label.

    Raises:
        ParameterError: views of images are asked for, and the data are none.
    """
    images = samples.kind == "images"
    return replace(
        settings,
        model=default_model(samples.kind) if settings.model == "auto" else settings.model,
        epochs=settings.epochs or EPOCHS,
        batch_size=settings.batch_size or batch_size_for(labelled),
        learning_rate=settings.learning_rate or (0.1 if images else 0.05),
        weight_decay=(5e-4 if images else 1e-4)
        if settings.weight_decay is None
        else settings.weight_decay,
        augment=chosen_augmentation(settings.augment, samples),
        label=samples.encoding.label or settings.label,
        image=samples.encoding.image or settings.image,
    )


def batch_size_for(rows: int) -> int:
    """Twenty steps an epoch at least, 128 rows usually, more where there are many.

    >>> [batch_size_for(n) for n in (150, 1300, 10_000, 50_000, 1_000_000)]
    [16, 64, 128, 128, 1024]
    """
    wanted = max(min(rows / 20, 128), min(rows / 400, 1024))
    return int(2 ** np.floor(np.log2(np.clip(wanted, 16, 1024))))


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
