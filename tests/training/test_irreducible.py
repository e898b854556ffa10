"""Irreducible losses by two half models: nobody's loss is under a network that saw its label."""

import torch
from torch import nn

from thresher.noise import RhoLoss
from thresher.noise.rho_loss import one_half
from thresher.training.irreducible import irreducible_losses
from thresher.training.loop import Rows, Settings, Training

N, D, K = 90, 5, 3


def rows(labels=None):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(N, D, generator=generator)
    given = inputs[:, :K].argmax(1) if labels is None else labels
    return Rows(inputs, given, torch.nonzero(given >= 0).flatten(), prepare=lambda batch: batch)


def build():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(D, 16), nn.ReLU(), nn.Linear(16, K))


def losses_of(data, epochs=1):
    return irreducible_losses(data, build, Settings(epochs=epochs, batch_size=16), classes=K)


def test_a_label_changes_its_own_loss_and_those_of_the_other_half():
    """The rest of its own half is judged by a network that never saw it: bit for bit the same."""
    data = rows()
    before, half = losses_of(data), one_half(N, 0)
    row = int(torch.nonzero(half)[0])
    changed = data.labels.clone()
    changed[row] = (changed[row] + 1) % K
    after = losses_of(rows(changed))
    same = before.losses == after.losses
    own = half.clone()
    own[row] = False
    assert same[own].all()
    assert not same[row]
    assert not same[~half].all()


def test_longer_trainings_keep_the_best_epoch():
    """Each half's mean is no larger than after one epoch of the same training's length."""
    data, half = rows(), one_half(N, 0)
    found = losses_of(data, epochs=12)
    assert found.losses.isfinite().all()
    for rows_of_half in (half, ~half):
        assert float(found.losses[rows_of_half].mean()) < 1.0  # of ln 3 = 1.1 for a guess


def test_rows_without_a_label_take_no_part():
    """Their loss is 0, and they are in neither half's training."""
    labels = rows().labels.clone()
    labels[::9] = -1
    data = rows(labels)
    found = losses_of(data)
    assert found.losses[::9].tolist() == [0.0] * 10
    assert (found.losses[labels >= 0] > 0).all()


def test_a_training_takes_them():
    """Labels and lengths agree; the whole run is one round."""
    data, settings = rows(), Settings(epochs=3, batch_size=30)
    method = RhoLoss(losses_of(data), keep=0.2)
    criterion = method.start(N, K, epochs=3, labels=data.labels)
    training = Training(build(), criterion, data, settings)
    assert [0, 1, 2] == [epoch.epoch for epoch in training.run()]
    assert criterion.history["visits"].tolist() == [3] * N
