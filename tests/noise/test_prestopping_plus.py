"""Prestopping+: what is frozen, what the fresh network learns from, and when it begins."""

import pytest
import torch
from torch import nn

from thresher.errors import ParameterError
from thresher.noise import Prestopping, PrestoppingPlus
from thresher.noise.method import Change
from thresher.training.snapshots import Snapshots

FRESH = Change(reset=("",))


def tell(criterion, predictions, labels):
    """One epoch of one batch, predicted as told; returns outputs with gradients and the change."""
    outputs = 3.0 * nn.functional.one_hot(torch.tensor(predictions), criterion.plan.classes)
    outputs = outputs.float().requires_grad_()
    criterion(torch.arange(len(labels)), outputs, torch.tensor(labels)).backward()
    change = criterion.end_epoch()
    criterion.applied(change)
    return outputs, change


def started(samples=6, epochs=8, **options):
    """Nothing is held out; two epochs of warm-up for the fresh network."""
    options = {"window": 2, "warmup": 2, "stop": "memorised"} | options
    held_out = torch.zeros(samples, dtype=torch.bool)
    return PrestoppingPlus(0.5, **options).start(samples, 3, epochs=epochs, held_out=held_out)


LABELS = [0, 0, 0, 0, 1, 1]
FIRST = [0, 0, 0, 0, 2, 2]  # the first four are memorised
LATER = [0, 0, 1, 1, 1, 2]  # then two of them waver, the last two settle


def in_phase_three(**options):
    """Through the first round and the warm-up of the fresh network."""
    criterion = started(**options)
    for _ in range(4):
        _, change = tell(criterion, FIRST, LABELS)
    assert change == FRESH
    for _ in range(2):
        tell(criterion, LATER, LABELS)
    return criterion


def test_half_of_the_epochs_are_prestopping_to_the_bit():
    """Of a run of half the length; then a fresh network is asked for, once."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (200,), generator=generator)
    plus = PrestoppingPlus(0.3, patience=2).start(200, 3, epochs=16, labels=labels)
    plain = Prestopping(0.3, patience=2).start(200, 3, epochs=8, labels=labels)
    for epoch in range(16):
        logits = torch.randn(200, 3, generator=generator)
        logits[torch.arange(200), labels] += epoch / 2
        losses = [each(torch.arange(200), logits, labels) for each in (plus, plain)]
        changes = []
        for each in (plus, plain):
            change = each.end_epoch()
            each.applied(change)
            changes.append(change)
        if epoch < 8:
            assert torch.equal(*losses)
        if epoch < 7:
            assert changes[0] == changes[1]
        assert (changes[0] == FRESH) == (epoch == 7)
    assert plus.method.frozen_at == 8


def test_without_a_cap_everything_memorised_is_frozen():
    """Held-out rows are no part of it, memorised or not."""
    criterion = in_phase_three(cap=False)
    assert criterion.history["safe"].tolist() == [True] * 4 + [False] * 2


def test_with_a_cap_no_more_are_frozen_than_are_clean():
    """floor(6 · 0.5) = 3, the first of equally firm and easy ones."""
    criterion = in_phase_three()
    assert criterion.history["safe"].tolist() == [True] * 3 + [False] * 3


def test_the_fresh_network_warms_up_on_everything():
    """With the given labels, and a history of its own."""
    criterion = started()
    for _ in range(4):
        tell(criterion, FIRST, LABELS)
    assert criterion.history["run_length"].tolist() == [0] * 6
    outputs, _ = tell(criterion, LATER, LABELS)
    z = outputs.detach().clone().requires_grad_()
    nn.functional.cross_entropy(z, torch.tensor(LABELS)).backward()
    torch.testing.assert_close(outputs.grad, z.grad)


def test_safe_samples_keep_their_label_and_others_learn_what_has_settled():
    """Safe: 0, 1, 2, the last with another prediction; 3, 5 refurbished to 1, 2; 4 settled on 1."""
    criterion = in_phase_three()
    outputs, change = tell(criterion, LATER, LABELS)
    assert change is None
    z = outputs.detach().clone().requires_grad_()
    nn.functional.cross_entropy(z, torch.tensor([0, 0, 0, 1, 1, 2])).backward()
    torch.testing.assert_close(outputs.grad, z.grad)
    assert criterion.history["refurbished"].tolist() == [-1, -1, -1, 1, 1, 2]


def test_what_is_neither_safe_nor_settled_is_left_out():
    """Sample 3 has just changed its mind; the safe set does not change any more."""
    criterion = in_phase_three()
    tell(criterion, [0, 0, 1, 0, 1, 2], LABELS)
    outputs, _ = tell(criterion, [2, 2, 2, 2, 1, 2], LABELS)
    learned = outputs.grad.abs().sum(1).gt(0)
    assert learned.tolist() == [True, True, True, False, True, True]
    assert criterion.history["safe"].tolist() == [True] * 3 + [False] * 3


def test_the_general_form_of_the_history_is_read_alike():
    """ε above one dissent: of three predictions 2 2 1 the label is 2."""
    criterion = started(epochs=10, threshold=0.7, warmup=3)
    for _ in range(5):
        tell(criterion, FIRST, LABELS)
    assert "run_length" not in criterion.history
    assert criterion.history["pushes"].tolist() == [0] * 6
    for last in (0, 2, 2, 1):  # the prediction of the step counts
        assert criterion.history["refurbished"].tolist()[5] == -1
        tell(criterion, [0, 0, 0, 0, 1, last], LABELS)
    assert criterion.history["refurbished"].tolist()[5] == 2


def test_a_fresh_network_is_given_by_whoever_owns_it():
    """Snapshots reset the weights and the optimiser."""
    criterion = started(epochs=2)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, index = torch.randn(6, 4), torch.arange(6)
    criterion(index, model(x), torch.tensor(LABELS)).backward()
    optimizer.step()
    before = model.weight.detach().clone()
    Snapshots(model, optimizer, criterion).apply(criterion.end_epoch())
    assert not torch.equal(before, model.weight)
    assert not optimizer.state


def test_lengths_left_open_shrink_with_a_round():
    """Half of the epochs: a quarter of that for patience and warm-up, the window within it."""
    short = PrestoppingPlus().start(50, 3, epochs=48).method
    assert (short.patience_epochs, short.warmup_epochs, short.refurbish_epochs) == (6, 6, 6)
    tiny = PrestoppingPlus().start(50, 3, epochs=8).method
    assert (tiny.patience_epochs, tiny.warmup_epochs, tiny.refurbish_epochs) == (1, 5, 5)
    long = PrestoppingPlus().start(50, 3, epochs=400).method
    assert (long.patience_epochs, long.warmup_epochs, long.refurbish_epochs) == (10, 25, 15)


@pytest.mark.parametrize("epochs", [None, 1])
def test_a_run_that_cannot_hold_two_rounds_is_refused(epochs):
    """Without its length there is no half of it."""
    with pytest.raises(ParameterError, match="prestopping-plus must know its epochs, 2 at least"):
        PrestoppingPlus(0.2).start(10, 3, epochs=epochs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0}, r"threshold must be in \(0, 1\]"),
        ({"warmup": 0}, "warmup must be positive"),
        ({"refurbish_window": 0}, "refurbish_window must be positive"),
        ({"refurbish_window": 4, "warmup": 3}, r"refurbish_window \(4\) must not exceed warmup"),
        ({"stop": "late"}, "stop must be one of"),
    ],
)
def test_hyper_parameters_out_of_range_are_refused(options, message):
    """With the argument, its value and the range."""
    with pytest.raises(ParameterError, match=message):
        PrestoppingPlus(0.2, **options)
