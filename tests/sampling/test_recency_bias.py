"""Recency Bias: the entropy of windows by hand and against a slow count, and what it forgets."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sampling.drawing import SlowSampler
from thresher.errors import ParameterError
from thresher.history import Column
from thresher.label_history import prediction_counts, uncertainty
from thresher.prediction_deviation import prediction_deviation
from thresher.sampling import ActiveBias, RecencyBias
from thresher.sampling.recency_bias import window_entropy


def ring_of(counts, slots=10):
    """One full ring in which labels 0, 1, … stand so often."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return torch.tensor([labels.tolist() + [0] * (slots - len(labels))]), torch.tensor(
        [sum(counts)]
    )


def relative_entropy(counts, classes=10):
    return float(window_entropy(*ring_of(counts), 10)) / math.log(classes)


@pytest.mark.parametrize(
    ("counts", "index", "weight"),
    [
        ([10], 50_000, 1.0),
        ([9, 1], 42_941, 1.9159),
        ([5, 5], 34_949, 4.0),
        ([4, 3, 3], 26_355, 8.827),
        ([1] * 10, 0, 100.0),
    ],
)
def test_golden_windows(counts, index, weight):
    """Q = ceil((1 - F) N) at N = 50,000, and 100^F: how much likelier than a unanimous window."""
    share = relative_entropy(counts)
    found = math.ceil((1 - share) * 50_000)
    assert found in ((0, 1) if index == 0 else (index,))  # 1 - F = 0 rounds to either
    assert 100**share == pytest.approx(weight, rel=1e-4)


@given(
    rows=st.lists(st.lists(st.integers(0, 6), min_size=8, max_size=8), min_size=1, max_size=5),
    pushes=st.integers(0, 30),
    window=st.integers(1, 8),
)
def test_the_entropy_equals_the_one_counted_class_by_class(rows, pushes, window):
    """Whole or partial windows, of rings as long or longer, however far they have turned."""
    ring = torch.tensor(rows)
    pushed = torch.full((len(rows),), pushes)
    found = window_entropy(ring, pushed, window) / math.log(7)
    counts, _ = prediction_counts(ring, pushed, 7, window)
    if pushes == 0:
        assert found.isnan().all()
    else:
        torch.testing.assert_close(found, uncertainty(counts), rtol=1e-5, atol=1e-6)


@given(
    window=st.lists(st.integers(0, 9), min_size=10, max_size=10),
    names=st.permutations(range(10)),
    order=st.permutations(range(10)),
)
def test_names_of_labels_and_their_order_do_not_matter(window, names, order):
    """Bit for bit."""
    pushed = torch.tensor([10])
    first = window_entropy(torch.tensor([window]), pushed, 10)
    renamed = window_entropy(torch.tensor([[names[label] for label in window]]), pushed, 10)
    reordered = window_entropy(torch.tensor([[window[place] for place in order]]), pushed, 10)
    assert torch.equal(first, renamed)
    assert torch.equal(first, reordered)


def partitions(total, largest):
    """The ways to write a number as a sum of falling parts."""
    if total == 0:
        yield []
    for part in range(min(total, largest), 0, -1):
        for rest in partitions(total - part, part):
            yield [part, *rest]


def test_a_window_of_ten_knows_thirty_nine_levels():
    """42 partitions of ten, some of which share an entropy."""
    every = list(partitions(10, 10))
    values = sorted(relative_entropy(counts) for counts in every)
    levels = 1 + sum(after - before > 1e-6 for before, after in itertools.pairwise(values))
    assert (42, 39) == (len(every), levels)


def watched(selector, predictions, classes=3, epochs=40):
    """Scores of one sample after it was predicted so, one prediction an epoch."""
    sampler = SlowSampler(selector, 1, classes, epochs)
    for label in predictions:
        logits = torch.nn.functional.one_hot(torch.tensor([label]), classes).float() * 5
        sampler.epoch = 0
        sampler.observe(torch.tensor([0]), logits, torch.tensor([0]))
    sampler.begin_epoch(39)
    return sampler


def test_what_is_long_ago_is_forgotten():
    """q equal predictions give F = 0 whatever came before; Active Bias remembers all of it."""
    turbulent = [0, 1, 2, 1, 0, 2, 1]
    settled = watched(RecencyBias(window=4, warmup=4), [*turbulent, *[2] * 4])
    assert settled.scores.tolist() == [1.0]
    hesitant = watched(RecencyBias(window=4, warmup=4), [*turbulent, *[2] * 3])
    assert float(hesitant.scores) < 1
    history = watched(ActiveBias(warmup=4), [*turbulent, *[2] * 4]).history
    sums = (history[name] for name in ("given_sum", "given_square_sum", "visits"))
    assert float(prediction_deviation(*sums)) > 0.1


def test_scores_are_frozen_within_an_epoch():
    """A step changes the ring, and no score before the next refresh."""
    sampler = SlowSampler(RecencyBias(window=2, warmup=2), 4, 3, 10)
    index, labels = torch.arange(4), torch.zeros(4, dtype=torch.int64)
    for epoch in range(3):
        sampler.begin_epoch(epoch)
        before = sampler.scores.clone()
        sampler.observe(index, torch.eye(3)[[epoch, 0, epoch, 1]] * 5, labels)
        assert torch.equal(before.nan_to_num(9), sampler.scores.nan_to_num(9))
    sampler.begin_epoch(3)
    assert sampler.scores.tolist() == pytest.approx([1 - math.log(2) / math.log(2), 1, 0, 1])


def test_labels_are_not_used():
    """Other labels, same scores."""
    found = []
    for label in (0, 1):
        sampler = SlowSampler(RecencyBias(window=3, warmup=3), 2, 3, 12)
        sampler.begin_epoch(0)
        for visit in range(3):
            logits = torch.eye(3)[[visit, 0]]
            sampler.observe(torch.arange(2), logits, torch.full((2,), label))
        sampler.begin_epoch(3)
        found.append(sampler.scores)
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("classes", "norm", "reached"),
    [(10, "classes", 100.0), (100, "classes", 10.0), (1000, "classes", 4.6416)]
    + [(classes, "reachable", 100.0) for classes in (10, 100, 1000)],
)
def test_the_pressure_that_ten_predictions_reach(classes, norm, reached):
    """By ln k, s_0 = 100 means 10 with a hundred classes; by what is reachable it means 100."""
    selector = RecencyBias(entropy_norm=norm, warmup=10)
    history = SlowSampler(selector, 2, classes, 100)
    for visit in range(10):
        logits = torch.eye(classes)[[visit, 0]]
        history.epoch = 0
        history.observe(torch.arange(2), logits, torch.zeros(2, dtype=torch.int64))
    history.begin_epoch(20)
    spread, settled = 100 ** -history.scores.double()
    assert float(spread / settled) == pytest.approx(reached, rel=1e-4)


def test_lengths_shrink_with_the_run_and_follow_what_is_written():
    """Warm-up a quarter, window within it; the papers' where there is room."""
    selector = RecencyBias()
    for epochs, expected in ((100, (15, 10)), (20, (5, 5)), (4, (1, 2))):
        selector.begin(10, 5, epochs)
        assert expected == (selector.warmup, selector.window)
    wide = RecencyBias(window=12)
    wide.begin(10, 5, 20)
    assert (12, 12) == (wide.warmup, wide.window)
    with pytest.raises(ParameterError, match="window of 12 is filled by as many epochs"):
        wide.begin(10, 5, 12)


def test_the_official_preset_takes_over_what_it_says():
    """Ten epochs, ten predictions, entropies over ln k, 100 → 1 by epoch 100."""
    selector = RecencyBias(preset="official")
    selector.begin(100, 1000, 100)
    assert (10, 10, "classes") == (selector.warmup, selector.window, selector.entropy_norm)
    assert selector.pressure(10) == pytest.approx(95.012, abs=1e-3)
    assert selector.pressure(99) == pytest.approx(1)
    assert RecencyBias(preset="official", entropy_norm="reachable").entropy_norm == "reachable"


def test_the_ring_of_a_noise_method_serves_as_well():
    """A ring of fifteen, declared by another, tells the last ten."""
    alone, shared = (SlowSampler(RecencyBias(warmup=10), 3, 4, 40) for _ in range(2))
    shared.history.declare(Column("predictions", "class", width=15))
    generator = torch.Generator().manual_seed(0)
    for epoch in range(23):
        logits = torch.randn(3, 4, generator=generator)
        for sampler in (alone, shared):
            sampler.epoch = epoch
            sampler.observe(torch.arange(3), logits, torch.zeros(3, dtype=torch.int64))
    for sampler in (alone, shared):
        sampler.begin_epoch(23)
    assert torch.equal(alone.scores, shared.scores)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"window": 1}, "window must be 2 or more"),
        ({"window": 11, "warmup": 10}, "must not exceed warmup"),
        ({"window": 11, "preset": "official"}, "must not exceed warmup"),
        ({"entropy_norm": "bits"}, "entropy_norm must be"),
        ({"preset": "paper"}, "preset must be"),
        ({"decay": "never"}, "decay must be one of"),
    ],
)
def test_what_contradicts_itself_is_refused(options, match):
    """Before anything starts."""
    with pytest.raises(ParameterError, match=match):
        RecencyBias(**options)
