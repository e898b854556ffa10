"""Irreducible losses: what remains of a sample's loss under a network that never saw its label.

two halves of the samples → a network trained on each → the losses of the other half, kept from the
epoch in which their mean is smallest → `thresher.noise.RhoLoss`
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from thresher.noise.rho_loss import Irreducible, one_half
from thresher.noise.standard import Standard
from thresher.training.loop import Rows, Settings, Training
from thresher.training.predict import predict_probabilities

__all__ = ["irreducible_losses"]

SMALLEST = 1e-30  # probability: losses must be finite


def irreducible_losses(
    rows: Rows,
    build: Callable[[], nn.Module],
    settings: Settings,
    *,
    classes: int,
    device: torch.device | str = "cpu",
) -> Irreducible:
    """Train two half models, and give every sample its loss under the one that did not see it.

    Args:
        rows: The data; halves are drawn of the rows in `order`.
        build: Makes a fresh network with outputs (B, k), on the CPU; called twice. A small one will
            do (Mindermann et al. 2022).
        settings: Of both trainings; the seed draws the halves.
        classes: Number of classes k, >= 2.
        device: Where networks are trained.

    Returns:
        Losses of the samples as they are, without augmentation, in evaluation mode; 0 for rows that
        are not in `order`.
    """
    samples = len(rows.labels)
    first = one_half(samples, settings.seed)[rows.order]
    losses = torch.zeros(samples)
    for taught in (first, ~first):
        own, other = rows.order[taught], rows.order[~taught]
        model = build().to(device)
        criterion = Standard().start(
            samples, classes, epochs=settings.epochs, audit=False, device=device
        )
        training = Training(model, criterion, replace(rows, order=own), settings, device=device)
        inputs, labels = rows.inputs.index_select(0, other), rows.labels[other].numpy()
        lowest = math.inf
        for _ in training.run():
            probability = predict_probabilities(
                model, inputs, rows.prepare, device=device, precision=settings.precision
            )
            given = probability[np.arange(len(labels)), labels]
            found = torch.from_numpy(-np.log(np.maximum(given, SMALLEST)))
            if float(found.double().mean()) < lowest:
                lowest = float(found.double().mean())
                losses[other] = found
    return Irreducible(losses, rows.labels.clone())
