"""Memorised samples: the crossing identity, partial histories, and the choice of the safest."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from thresher.history import Column, SampleHistory
from thresher.noise import MORPH, SELFIE, Prestopping
from thresher.noise.memorised import label_history, memorised, memorised_share, safest


def history_of(predictions, labels, *, window=4, classes=3):
    """A history of samples that were predicted as told, one row of predictions a visit."""
    history = SampleHistory(len(labels), classes)
    history.declare(*label_history(window))
    index, given_labels = torch.arange(len(labels)), torch.tensor(labels)
    for visit in predictions:
        logits = torch.nn.functional.one_hot(torch.tensor(visit), classes).float()
        history.observe(index, logits, given_labels)
    return history


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_precision_equals_recall_exactly_where_as_many_are_memorised_as_are_clean(
    clean, chosen, first
):
    """MP = MR ⟺ |M| = |clean|, if any of M is clean: two sets of these sizes among 120 rows."""
    rows = torch.arange(120)
    is_clean, is_chosen = rows < clean, (rows >= first) & (rows < first + chosen)
    both = int((is_clean & is_chosen).sum())
    assume(both)
    precision, recall = both / int(is_chosen.sum()), both / int(is_clean.sum())
    assert (precision == recall) == (chosen == clean)


def test_a_sample_is_memorised_when_its_label_is_the_most_frequent_prediction():
    """Three samples given as 0: predicted 0 0 1, 0 1 1, and 1 0 (the later of equals wins)."""
    history = history_of([[0, 0, 1], [0, 1, 0]], [0, 0, 0])
    history.observe(
        torch.tensor([0, 1]), torch.tensor([[0.0, 9, 0], [0, 9, 0]]), torch.zeros(2).long()
    )
    known, confidence = memorised(history, torch.arange(3), torch.zeros(3, dtype=torch.int64))
    assert known.tolist() == [True, False, True]
    torch.testing.assert_close(confidence, torch.tensor([2 / 3, 1 / 3, 1 / 2]))


def test_nothing_is_memorised_before_the_first_prediction():
    """An empty history must not look like class 0."""
    history = history_of([], [0, 0])
    known, confidence = memorised(history, torch.arange(2), torch.zeros(2, dtype=torch.int64))
    assert known.tolist() == [False, False]
    assert confidence.tolist() == [0, 0]


def test_only_the_last_predictions_count():
    """A window of two forgets the third last."""
    history = history_of([[0], [0], [1], [1]], [0], window=2)
    assert memorised(history, torch.tensor([0]), torch.tensor([0]))[1].tolist() == [0]


def test_the_share_counts_seen_and_trained_samples_only(monkeypatch):
    """In whatever blocks: 2 of 3 memorised, one held out, one never seen."""
    history = history_of([[0, 1, 0, 0]], [0, 0, 0, 0])
    unseen = SampleHistory(5, 3)
    unseen.declare(*label_history(4))
    index = torch.arange(4)
    unseen.observe(index, torch.eye(3)[[0, 1, 0, 0]], torch.zeros(4, dtype=torch.int64))
    unseen["eligible"][3] = False
    assert memorised_share(history) == pytest.approx(3 / 4)
    assert memorised_share(unseen) == pytest.approx(2 / 3)
    monkeypatch.setattr("thresher.noise.memorised.BLOCK_COUNTS", 1)
    assert memorised_share(unseen) == pytest.approx(2 / 3)


@given(st.integers(1, 30), st.integers(0, 30), st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_no_more_than_so_many_are_kept_and_all_are_memorised(rows, most, seed):
    """And none that is left out is firmer than one that is kept."""
    generator = torch.Generator().manual_seed(seed)
    known = torch.rand(rows, generator=generator) < 0.6
    confidence = torch.randint(4, (rows,), generator=generator) / 3
    kept = safest(known, confidence, torch.rand(rows, generator=generator), most)
    assert int(kept.sum()) == min(most, int(known.sum()))
    assert not (kept & ~known).any()
    left = known & ~kept
    assert not left.any() or not kept.any() or confidence[kept].min() >= confidence[left].max()


def test_of_equally_firm_samples_the_easier_ones_are_kept():
    """And of equally easy ones the earlier."""
    known, firm = torch.ones(4, dtype=torch.bool), torch.ones(4)
    losses = torch.tensor([0.3, 0.1, 0.2, 0.1])
    assert safest(known, firm, losses, 2).tolist() == [False, True, False, True]
    assert safest(known, firm, torch.ones(4), 2).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    "method",
    [MORPH(0.2, window=4), Prestopping(0.2, window=4), SELFIE(0.2, threshold=0.6, warmup=4)],
    ids=lambda each: each.name,
)
def test_a_ring_that_is_longer_for_another_reader_changes_no_decision(method):
    """A selector may want more predictions of the same ring: sums and history are the same."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(30) % 3
    runs = [method.start(30, 3, epochs=16, labels=labels) for _ in range(2)]
    runs[1].history.declare(Column("predictions", "class", width=9))
    assert runs[0].history["predictions"].shape[1] == 4
    for epoch in range(16):
        for index in torch.randperm(30, generator=generator).split(10):
            logits = torch.randn(10, 3, generator=generator)
            logits[torch.arange(10), labels[index]] += epoch / 8
            first, second = (run.parts(index, logits, labels[index]) for run in runs)
            assert torch.equal(first.sums, second.sums)
            assert torch.equal(first.totals, second.totals)
        for run in runs:
            run.applied(run.end_epoch())
    assert [getattr(runs[0].method, each) for each in method.state] == [
        getattr(runs[1].method, each) for each in method.state
    ]
