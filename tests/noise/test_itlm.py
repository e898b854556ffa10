"""ITLM: rounds, who is kept after each, and runs too short for it."""

import pytest
import torch

from thresher.errors import ParameterError
from thresher.noise import ITLM

N, K = 20, 2


def epoch(criterion, losses):
    """An epoch in which every sample has this loss; two classes, all labelled 0."""
    right = torch.exp(-losses)  # probability of the label
    outputs = torch.stack([right.log(), (1 - right).log()], 1).requires_grad_()
    criterion(torch.arange(len(losses)), outputs, torch.zeros(len(losses), dtype=torch.int64))
    change = criterion.end_epoch()
    criterion.applied(change)
    return change


def test_after_each_round_the_smallest_losses_of_all_samples_are_kept():
    """Also those that were left out before; the network begins anew, the last round ends it."""
    criterion = ITLM(0.4, restarts=2).start(N, K, epochs=6)
    rising = 0.05 * torch.arange(1, N + 1)
    kept = criterion.history["kept"]
    assert epoch(criterion, rising.flip(0)) is None
    assert kept.all()
    assert epoch(criterion, rising).reset == ("",)
    assert kept.tolist() == [True] * 12 + [False] * 8
    assert epoch(criterion, rising) is None
    assert epoch(criterion, rising.flip(0)).reset == ("",)
    assert kept.tolist() == [False] * 8 + [True] * 12
    assert epoch(criterion, rising) is None
    assert epoch(criterion, rising) is None
    assert kept.tolist() == [False] * 8 + [True] * 12


def test_only_what_was_kept_teaches():
    """The others are observed."""
    criterion = ITLM(0.5, restarts=1).start(4, K, epochs=2)
    epoch(criterion, torch.tensor([0.9, 0.1, 0.2, 0.8]))
    outputs = torch.zeros(4, K, requires_grad=True)
    criterion(torch.arange(4), outputs, torch.zeros(4, dtype=torch.int64)).backward()
    assert [False, True, True, False] == outputs.grad.any(1).tolist()
    assert criterion.history["visits"].tolist() == [2] * 4


def test_held_out_samples_are_neither_kept_nor_counted():
    """Of eight that are trained, half."""
    held_out = torch.arange(10) < 2
    criterion = ITLM(0.5, restarts=1).start(10, K, epochs=2, held_out=held_out)
    epoch(criterion, 0.05 * torch.arange(1, 11))
    assert criterion.history["kept"].tolist() == [False] * 2 + [True] * 4 + [False] * 4


@pytest.mark.parametrize(
    ("epochs", "rounds"), [(1, 1), (2, 2), (16, 2), (30, 3), (50, 5), (300, 5)]
)
def test_a_short_run_has_fewer_rounds(epochs, rounds):
    """Ten epochs each, at most five of them; two if there is more than one epoch."""
    method = ITLM().start(N, K, epochs=epochs).method
    assert method.rounds() == rounds
    assert method.round_epochs == epochs // rounds


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ITLM(restarts=0), "restarts must be positive"),
        (lambda: ITLM(restarts=5).start(N, K, epochs=5), "5 epochs cannot hold 6 trainings"),
        (lambda: ITLM().start(N, K), "their number is not known"),
        (lambda: ITLM(1.0), r"noise_rate must be in \[0, 1\)"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    """Before any work."""
    with pytest.raises(ParameterError, match=message):
        make()
