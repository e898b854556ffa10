"""Mixup: what is mixed with what, what is remembered, and what is not touched."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from thresher.errors import ParameterError
from thresher.noise import Batch, Mixup, Standard
from thresher.noise.mixup import draw_partners
from thresher.noise.streams import no_stream

N, D, K = 12, 4, 3


def data():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(N, D, generator=generator), torch.arange(N) % K
    return Batch(torch.arange(N), x, y)


class Watched(nn.Module):
    """A linear network that keeps what it was given."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Linear(D, K)
        self.seen = []

    def forward(self, inputs):
        self.seen.append(inputs)
        return self.layer(inputs)


def mixed_step(alpha=1.0, held_out=None):
    """One step; the network, what came of it, and the criterion."""
    model, criterion = Watched(), Mixup(alpha=alpha).start(N, K, held_out=held_out)
    return model, criterion.step(model, data(), no_stream), criterion


def test_the_loss_is_that_of_the_mixed_inputs_on_both_labels():
    """λ CE(y_i) + (1 - λ) CE(y_j), written out with the partners that were drawn."""
    model, parts, _ = mixed_step()
    batch = data()
    partner, share = draw_partners(batch.index, None, 1.0, seed=0, epoch=0)
    mixed = share * batch.inputs + (1 - share) * batch.inputs[partner]
    torch.testing.assert_close(model.seen[1], mixed)
    logits = model.layer(mixed)
    expected = share * F.cross_entropy(logits, batch.labels)
    expected = expected + (1 - share) * F.cross_entropy(logits, batch.labels[partner])
    torch.testing.assert_close(parts.mean(), expected)


def test_towards_zero_nothing_is_mixed():
    """α → 0: λ is 0 or 1, so the batch is itself in another order, and so is its loss."""
    model, parts, _ = mixed_step(alpha=1e-6)
    batch = data()
    standard = F.cross_entropy(model.layer(batch.inputs), batch.labels)
    torch.testing.assert_close(parts.mean(), standard)


def test_what_is_remembered_was_predicted_from_the_samples_as_they_are():
    """The history equals that of standard training in the first step, bit for bit."""
    model, _, mixed = mixed_step()
    standard = Standard().start(N, K)
    batch = data()
    standard(batch.index, model.layer(batch.inputs), batch.labels)
    theirs = standard.state_dict()["history"]
    for name, values in mixed.state_dict()["history"].items():
        assert torch.equal(values, theirs[name]), name


def test_held_out_rows_are_mixed_with_nothing_and_into_nothing():
    """They pass as they are, and no trained row holds a part of one."""
    held_out = torch.arange(N) % 3 == 1
    batch = data()
    batch.inputs[held_out] = 1e6
    model, criterion = Watched(), Mixup().start(N, K, held_out=held_out)
    criterion.step(model, batch, no_stream)
    mixed = model.seen[1]
    assert torch.equal(mixed[held_out], batch.inputs[held_out])
    assert mixed[~held_out].abs().max() < 10
    assert not torch.equal(mixed[~held_out], batch.inputs[~held_out])


def test_partners_and_share_belong_to_seed_epoch_and_samples():
    """Drawn again, or after others, or from a disturbed global generator."""
    index = torch.tensor([5, 3, 9, 1])

    def drawn(*, seed=0, epoch=0, samples=index):
        torch.manual_seed(epoch)
        partner, share = draw_partners(samples, None, 1.0, seed=seed, epoch=epoch)
        return (*partner.tolist(), share)

    assert drawn() == drawn()
    others = [drawn(seed=1), drawn(epoch=1), drawn(samples=index + 1)]
    assert len({drawn(), *others}) == 4


def test_every_trained_row_is_a_partner_exactly_once():
    """A permutation of the trained rows; the others stay by themselves."""
    trained = torch.tensor([True, False, True, True, False])
    partner, _ = draw_partners(torch.arange(5), trained, 1.0, seed=3, epoch=2)
    assert sorted(partner.tolist()) == list(range(5))
    assert partner[~trained].tolist() == [1, 4]


@pytest.mark.parametrize("alpha", [0.3, 1.0, 8.0])
def test_the_share_follows_its_beta_distribution(alpha):
    """Mean ½, variance 1 / (4 (2α + 1)); 4000 draws, five standard errors."""
    index = torch.arange(2)
    shares = [draw_partners(index, None, alpha, seed=0, epoch=e)[1] for e in range(4000)]
    variance = 1 / (4 * (2 * alpha + 1))
    assert np.mean(shares) == pytest.approx(0.5, abs=5 * (variance / 4000) ** 0.5)
    assert np.var(shares) == pytest.approx(variance, rel=0.15)


def test_inputs_that_are_no_numbers_to_mix_are_refused():
    """Half of one word and half of another are no word."""
    criterion = Mixup().start(N, K)
    words = Batch(torch.arange(N), torch.zeros(N, D, dtype=torch.int64), torch.zeros(N).long())
    with pytest.raises(ParameterError, match="mixup mixes floating-point inputs"):
        criterion.step(Watched(), words, no_stream)


def test_alpha_out_of_range_is_refused():
    """With the argument, its value and the range."""
    with pytest.raises(ParameterError, match="alpha must be positive, got 0"):
        Mixup(alpha=0)
