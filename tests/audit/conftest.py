"""Records of simulated training runs: probabilities with a little jitter in every epoch."""

import dataclasses

import numpy as np
import pytest

from thresher.audit import Record


def simulate(
    rows=1500,
    classes=5,
    noise=0.2,
    held_out=0.1,
    unlabelled=0,
    epochs=12,
    sharpness=3.5,
    memorised=0.0,
    compact=None,
    seed=0,
    base=None,
    labels=None,
):
    """Build a record and the true labels.

    memorised: share of the final logit that pulls trained rows to their given label.
    compact: number of classes to keep for each row, or None for the full matrix.
    base, labels: logits and given labels to use instead of made-up ones.
    """
    random = np.random.default_rng(seed)
    true = random.integers(0, classes, rows)
    if base is None:
        base = sharpness * np.eye(classes)[true] + random.normal(size=(rows, classes))
    given = labels
    if given is None:
        shift = random.integers(1, classes, rows)
        given = np.where(random.random(rows) < noise, (true + shift) % classes, true)
    given = np.array(given, dtype=np.int64)
    given[rows - unlabelled :] = -1
    outside = np.zeros(rows, dtype=bool)
    outside[: round(held_out * rows)] = True
    sums = {
        name: np.zeros(rows)
        for name in ("correct", "forgetting", "margin_sum", "given_sum", "given_square_sum")
    }
    loss_sum, last = np.zeros(rows), np.zeros(rows, dtype=bool)
    probability_sum, window = np.zeros((rows, classes)), 0
    row, column = np.arange(rows), given.clip(min=0)
    for epoch in range(epochs):
        pull = memorised * 12 * (epoch + 1) / epochs * (~outside & (given >= 0))
        logits = base + 0.3 * random.normal(size=base.shape)
        logits[row, column] += pull
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        right = p.argmax(axis=1) == given
        sums["correct"] += right
        sums["forgetting"] += last & ~right
        last = right
        others = logits.copy()
        others[row, column] = -np.inf
        sums["margin_sum"] += logits[row, column] - others.max(axis=1)
        sums["given_sum"] += p[row, column]
        sums["given_square_sum"] += p[row, column] ** 2
        loss_sum -= np.log(p[row, column])
        if epoch >= 0.2 * epochs:
            probability_sum += p
            window += 1
    whole = {
        "labels": given,
        "classes": tuple(f"class {c}" for c in range(classes)),
        "window_visits": np.full(rows, window, dtype=np.int32),
        "visits": np.full(rows, epochs, dtype=np.int32),
        "loss_sum": loss_sum.astype(np.float32),
        "in_training": ~outside & (given >= 0),
        **{
            name: value.astype(np.int32 if name in ("correct", "forgetting") else np.float32)
            for name, value in sums.items()
        },
    }
    if unlabelled:
        final = probability_sum[rows - unlabelled :] / window
        whole["final_probability"] = final.astype(np.float32)
    if compact is None:
        whole["probability_sum"] = probability_sum.astype(np.float32)
    else:
        top = np.argsort(-probability_sum, axis=1)[:, :compact]
        whole["top_classes"] = top.astype(np.int16)
        whole["top_sums"] = np.take_along_axis(probability_sum, top, axis=1).astype(np.float32)
        whole["given_window_sum"] = probability_sum[row, column].astype(np.float32)
    return Record(**whole), true


@pytest.fixture(name="simulate")
def simulate_fixture():
    return simulate


@pytest.fixture
def by_hand():
    """A record of given mean probabilities; every row is visited ten times, all in the window."""

    def build(probabilities, labels, **changes):
        probabilities = np.asarray(probabilities, dtype=np.float32)
        rows, classes = probabilities.shape
        labels = np.asarray(labels, dtype=np.int64)
        own = probabilities[np.arange(rows), labels.clip(min=0)]
        record = Record(
            labels=labels,
            classes=tuple("abcdefghijklmnopqrstuvwxyz"[:classes]),
            probability_sum=10 * probabilities,
            window_visits=np.full(rows, 10, dtype=np.int32),
            visits=np.full(rows, 10, dtype=np.int32),
            correct=np.full(rows, 5, dtype=np.int32),
            forgetting=np.zeros(rows, dtype=np.int32),
            margin_sum=np.zeros(rows, dtype=np.float32),
            given_sum=10 * own,
            given_square_sum=10 * own**2,
            loss_sum=np.ones(rows, dtype=np.float32),
            in_training=labels >= 0,
        )
        return dataclasses.replace(record, **changes)

    return build
