"""SELFIE: the unanimity lemma, selection, refurbishing and restarts."""

import pytest
import torch
from torch import nn

from thresher.errors import ParameterError
from thresher.noise import SELFIE
from thresher.noise.selfie import one_dissent
from thresher.training.snapshots import Snapshots


def told(criterion, predictions, labels, logits=8.0):
    """One batch over all samples in which each is predicted as told; returns the loss."""
    outputs = logits * torch.nn.functional.one_hot(
        torch.tensor(predictions), criterion.plan.classes
    )
    outputs = outputs.float().requires_grad_()
    loss = criterion(torch.arange(len(predictions)), outputs, torch.tensor(labels))
    return loss, outputs


@pytest.mark.parametrize(
    ("window", "classes", "expected"),
    [(10, 10, 0.1412), (15, 10, 0.1064), (15, 100, 0.0532), (20, 200, 0.0375)],
)
def test_one_dissent_has_the_uncertainty_of_the_lemma(window, classes, expected):
    """H₂(1/q) / ln k."""
    assert one_dissent(window, classes) == pytest.approx(expected, abs=5e-5)


def test_the_two_forms_of_memory_take_the_same_decisions():
    """Ring and run length, on random predictions (ε below one dissent)."""
    run = SELFIE(0.4, window=4, warmup=4, threshold=0.05).start(50, 10, epochs=40)
    ring = SELFIE(0.4, window=4, warmup=4, threshold=0.05)
    ring = ring.start(50, 10, epochs=40)
    # the same method, made to remember by the ring
    ring.method.unanimous = False
    from thresher.history import Column

    ring.history._started = False
    ring.history.declare(Column("predictions", "class", width=4), Column("pushes", torch.int32))
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (50,), generator=generator).tolist()
    usual = torch.randint(10, (50,), generator=generator)
    for _ in range(40):
        change = torch.rand(50, generator=generator) < 0.2
        shown = torch.where(change, torch.randint(10, (50,), generator=generator), usual).tolist()
        first, _ = told(run, shown, labels)
        second, _ = told(ring, shown, labels)
        assert first.item() == second.item()
        assert torch.equal(run.history["refurbished"], ring.history["refurbished"])
        run.end_epoch()
        ring.end_epoch()
    assert (run.history["refurbished"] >= 0).any()


def test_a_history_that_is_not_full_is_not_refurbished():
    """An unfilled ring must not look unanimous for class 0."""
    criterion = SELFIE(0.4, window=3, warmup=3).start(2, 10, epochs=12)
    for _ in range(3):
        told(criterion, [0, 1], [5, 5])
        criterion.end_epoch()
    assert criterion.history["refurbished"].tolist() == [-1, -1]
    told(criterion, [0, 1], [5, 5])
    assert criterion.history["refurbished"].tolist() == [0, 1]


def test_refurbished_samples_learn_the_new_label_and_the_rest_is_selected_by_loss():
    """The gradient equals that of a weighted cross-entropy written by hand."""
    criterion = SELFIE(0.5, window=2, warmup=2).start(4, 3, epochs=12)
    shown = [1, 0, 0, 2]
    given = [0, 0, 1, 0]
    for epoch in range(2):  # sample 0 settles on 1, sample 3 stays undecided
        told(criterion, [1, 0, 0, epoch], given)
        criterion.end_epoch()
    loss, outputs = told(criterion, shown, given)
    loss.backward()
    # settled: 0 → 1, 1 → 0, 2 → 0; small loss (2 of 4): sample 1 and one of the far-off ones
    z = outputs.detach().clone().requires_grad_()
    losses = nn.functional.cross_entropy(z, torch.tensor(given), reduction="none")
    clean = losses.sort(stable=True).indices[:2].tolist()
    targets = {0: 1, 1: 0, 2: 0}
    chosen = sorted(set(targets) | set(clean))
    target = torch.tensor([targets.get(i, given[i]) for i in chosen])
    nn.functional.cross_entropy(z[chosen], target).backward()
    torch.testing.assert_close(outputs.grad, z.grad)


def test_without_noise_and_settled_samples_a_step_is_plain_training():
    """τ = 0 and no F ≤ ε: bit-equal to cross-entropy."""
    criterion = SELFIE(0.0, window=2, warmup=2).start(3, 3, epochs=12)
    for epoch in range(2):
        told(criterion, [epoch, epoch, epoch], [0, 1, 2])
        criterion.end_epoch()
    loss, outputs = told(criterion, [2, 1, 0], [0, 1, 2])
    loss.backward()
    z = outputs.detach().clone().requires_grad_()
    nn.functional.cross_entropy(z, torch.tensor([0, 1, 2])).backward()
    assert torch.equal(outputs.grad, z.grad)


def test_lengths_left_open_shrink_with_the_run():
    """Warm-up a quarter of the run, window within it; the paper's when there is room."""
    short = SELFIE(0.2).start(5, 10, epochs=16).method
    assert (short.warmup_epochs, short.window_epochs) == (4, 4)
    long = SELFIE(0.2).start(5, 10, epochs=200).method
    assert (long.warmup_epochs, long.window_epochs) == (25, 15)


def test_a_window_beyond_the_warmup_is_refused():
    """A written contradiction is the user's to solve."""
    with pytest.raises(ParameterError, match=r"window \(9\) must not exceed warmup \(5\)"):
        SELFIE(0.2, window=9, warmup=5)


def test_a_restart_resets_the_network_and_must_be_applied():
    """The change is asked for at the end of a round, and a loop cannot miss it."""
    criterion = SELFIE(0.2, restarts=1).start(4, 3, epochs=4)
    model = nn.Linear(2, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y, index = torch.randn(4, 2), torch.tensor([0, 1, 2, 0]), torch.arange(4)
    change = None
    for _ in range(2):
        criterion(index, model(x), y).backward()
        optimizer.step()
        change = criterion.end_epoch()
    assert change is not None
    assert change.reset == ("",)
    with pytest.raises(Exception, match="asked for a change"):
        criterion(index, model(x), y)
    before = model.weight.detach().clone()
    Snapshots(model, optimizer, criterion).apply(change)
    assert not torch.equal(before, model.weight)
    assert not optimizer.state
    assert criterion.history["run_length"].tolist() == [0] * 4
    criterion(index, model(x), y)


def test_more_rounds_than_epochs_are_refused():
    """Three rounds do not fit into two epochs."""
    with pytest.raises(ParameterError, match="2 epochs cannot hold 3 rounds"):
        SELFIE(0.2, restarts=2).start(4, 3, epochs=2)
