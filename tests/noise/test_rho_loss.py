"""RHO-loss: what is reducible, where irreducible losses come from, and what they are checked by."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from thresher.data.corruption import corrupt, symmetric_transition
from thresher.errors import ParameterError, RecordError
from thresher.noise import Batch, Irreducible, RhoLoss, Standard
from thresher.noise.rho_loss import kept_of, largest_reducible, one_half
from thresher.noise.streams import no_stream
from thresher.training.snapshots import Snapshots

N, D, K = 40, 4, 3


def data(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Batch(torch.arange(N), torch.randn(N, D, generator=generator), torch.arange(N) % K)


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(D, K)


def test_what_others_cannot_learn_either_is_not_chosen():
    """A loss of 5 of which 4.9 remain is worth less than one of 1 of which nothing does."""
    losses, irreducible = torch.tensor([5.0, 1.0, 0.2, 2.0]), torch.tensor([4.9, 0.0, 0.3, 0.5])
    assert largest_reducible(losses, irreducible, 2).tolist() == [False, True, False, True]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(-50, 50), st.data())
def test_a_shift_of_all_losses_changes_nothing(losses, shift, choice):
    """Only differences count; so many are chosen."""
    values, zero = torch.tensor(losses).double(), torch.zeros(len(losses)).double()
    count = choice.draw(st.integers(1, len(losses)))
    first = largest_reducible(values, zero, count)
    assert torch.equal(first, largest_reducible(values, zero + shift, count))
    assert int(first.sum()) == count


@given(st.integers(1, 2000), st.none() | st.floats(0.01, 1))
def test_how_many_are_kept(samples, keep):
    """The share that is written; else the 32 of the paper, a tenth to a half of the batch."""
    kept = kept_of(samples, keep)
    assert 1 <= kept <= samples
    if keep is None:
        assert kept == 32 or 1 <= kept <= samples // 2 + (samples == 1)
        assert kept >= min(32, samples // 2)
    else:
        assert abs(kept - keep * samples) <= 1


def test_a_low_temperature_takes_the_largest_and_a_high_one_draws_alike():
    """Boltzmann weights exp(RHO / T): in between, each in proportion."""
    losses, zero = torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3)
    generator = torch.Generator().manual_seed(0)

    def shares(temperature, draws=6000):
        found = torch.zeros(3)
        for _ in range(draws):
            uniform = torch.rand(3, generator=generator)
            found += largest_reducible(losses, zero, 1, temperature=temperature, uniform=uniform)
        return found / draws

    assert shares(1e-3, draws=100).tolist() == [0, 0, 1]
    torch.testing.assert_close(shares(1e6), torch.full((3,), 1 / 3), atol=0.025, rtol=0)
    torch.testing.assert_close(shares(1.0), losses.softmax(0), atol=0.025, rtol=0)


# ---------------------------------------------------------------------- given losses
def test_a_step_learns_from_the_largest_reducible_losses():
    """The mean loss of a tenth, at least one; every sample is observed."""
    batch, model = data(), network()
    irreducible = torch.rand(N, generator=torch.Generator().manual_seed(3))
    method = RhoLoss(Irreducible(irreducible, batch.labels), keep=0.1)
    criterion = method.start(N, K, epochs=2)
    parts = criterion.step(model, batch, no_stream)
    losses = F.cross_entropy(model(batch.inputs), batch.labels, reduction="none")
    rows = (losses.detach() - irreducible).argsort(descending=True)[: N // 10]
    torch.testing.assert_close(parts.mean(), losses[rows].mean())
    assert criterion.history["visits"].tolist() == [1] * N
    assert criterion.method.rounds() == 1


def test_losses_of_other_data_are_refused():
    """By their number before the start, by the labels in the first batch."""
    batch, losses = data(), torch.zeros(N)
    with pytest.raises(ParameterError, match="40 irreducible losses for 41 samples"):
        RhoLoss(Irreducible(losses, batch.labels)).start(N + 1, K, epochs=2)
    sorted_since = batch.labels.sort().values
    criterion = RhoLoss(Irreducible(losses, sorted_since)).start(N, K, epochs=2)
    with pytest.raises(RecordError, match="Sample 1 has the label 1; its irreducible loss was"):
        criterion.step(network(), batch, no_stream)


@pytest.mark.parametrize(
    ("losses", "labels", "match"),
    [
        (torch.zeros(3, dtype=torch.float64), torch.zeros(3), "float32"),
        (torch.zeros(3), torch.zeros(4), "one loss and one label"),
        (torch.zeros(3, 1), torch.zeros(3, 1), "one loss and one label"),
        (torch.tensor([0.0, float("nan")]), torch.zeros(2), "sample 1 is nan"),
    ],
)
def test_what_are_no_losses_is_refused(losses, labels, match):
    """Type, shape, and the first that is not finite."""
    with pytest.raises(ParameterError, match=match):
        Irreducible(losses, labels.long())


def test_settings_out_of_range_are_refused():
    """And a run that cannot hold two half models before the one that counts."""
    for options in ({"keep": 0.0}, {"keep": 1.5}, {"temperature": 0.0}):
        with pytest.raises(ParameterError):
            RhoLoss(**options)
    for epochs, count in ((2, "2"), (None, "an unknown number of")):
        with pytest.raises(ParameterError, match=f"{count} epochs cannot hold 3"):
            RhoLoss().start(N, K, epochs=epochs)


# ---------------------------------------------------------------------- losses made in the run
def test_halves_are_even_and_belong_to_the_seed():
    """Drawn again the same; another seed, others."""
    half = one_half(N, 0)
    assert int(half.sum()) == N // 2
    assert torch.equal(half, one_half(N, 0))
    assert not torch.equal(half, one_half(N, 1))


def test_a_half_model_learns_from_its_half_alone():
    """The gradient is that of the mean loss of the half, bit for bit up to rounding."""
    batch, model = data(), network()
    criterion = RhoLoss().start(N, K, epochs=6)
    criterion.step(model, batch, no_stream).mean().backward()
    half, reference = one_half(N, 0), network()
    F.cross_entropy(reference(batch.inputs[half]), batch.labels[half]).backward()
    torch.testing.assert_close(model.weight.grad, reference.weight.grad)


def trained(epochs=9, rate=0.3):
    """A run on the whole data a step; what each epoch's losses were, and what was asked for."""
    batch, model = data(), network()
    criterion = RhoLoss().start(N, K, epochs=epochs)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    snapshots = Snapshots(model, optimizer, criterion)
    losses, changes = [], []
    for _ in range(epochs):
        with torch.no_grad():
            losses.append(F.cross_entropy(model(batch.inputs), batch.labels, reduction="none"))
        optimizer.zero_grad()
        criterion.step(model, batch, no_stream).mean().backward()
        optimizer.step()
        changes.append(criterion.end_epoch())
        snapshots.apply(changes[-1])
    return criterion, losses, changes


def test_irreducible_losses_are_those_of_the_best_epoch_of_the_other_half():
    """Of three epochs each, the one in which their mean is smallest."""
    criterion, losses, changes = trained(rate=3.0)  # so fast that later epochs need not be better
    half = one_half(N, 0)
    for first, other in ((0, ~half), (3, half)):
        rounds = [each[other] for each in losses[first : first + 3]]
        best = min(rounds, key=lambda each: float(each.double().mean()))
        torch.testing.assert_close(criterion.history["irreducible"][other], best)
    assert [None, None, ("",), None, None, ("",), None, None, None] == [
        None if change is None else change.reset for change in changes
    ]


def test_what_is_learned_later_does_not_change_them():
    """They are those of the half models."""
    first, second = (trained(epochs)[0].history["irreducible"] for epochs in (9, 11))
    assert torch.equal(first, second)


def gaussians(rate, seed):
    """Ten classes in 20 dimensions with symmetric wrong labels, and which are wrong."""
    random = np.random.default_rng(seed)
    centres, true = random.standard_normal((10, 20)), random.integers(10, size=2000)
    inputs = centres[true] + random.standard_normal((2000, 20))
    given_labels = corrupt(true, symmetric_transition(10, rate), random)
    return (
        torch.from_numpy(inputs).float(),
        torch.from_numpy(given_labels).long(),
        torch.from_numpy(given_labels != true),
    )


def test_wrong_labels_are_irreducible_and_are_not_what_is_learned_first():
    """Their irreducible loss is far larger; a fresh network chooses next to none of them.

    Later, when the right ones are learned, they are chosen about as often as they occur, 30 %, and
    less than half as often as by the largest losses.
    """
    inputs, labels, wrong = gaussians(0.3, 0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))
    criterion = RhoLoss(keep=0.1).start(2000, 10, epochs=18)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    snapshots = Snapshots(model, optimizer, criterion)
    chosen, largest = [], []
    for epoch in range(18):
        order = torch.randperm(2000, generator=torch.Generator().manual_seed(epoch))
        for index in order.split(200):
            if epoch >= 12:
                with torch.no_grad():
                    losses = F.cross_entropy(model(inputs[index]), labels[index], reduction="none")
                known = criterion.history["irreducible"][index]
                chosen.append(wrong[index][largest_reducible(losses, known, 20)])
                largest.append(wrong[index][losses.argsort(descending=True)[:20]])
            optimizer.zero_grad()
            batch = Batch(index, inputs[index], labels[index])
            criterion.step(model, batch, no_stream).mean().backward()
            optimizer.step()
        snapshots.apply(criterion.end_epoch())
    irreducible = criterion.history["irreducible"]
    assert irreducible[wrong].mean() > 3 * irreducible[~wrong].mean()
    shares, rivals = (torch.cat(each).float().view(6, -1).mean(1) for each in (chosen, largest))
    assert shares[0] < 0.05
    assert shares.mean() < rivals.mean() / 2


def test_trusted_samples_are_always_learned_from():
    """Beside the largest; keep of all = 1 is standard training."""
    batch, trusted = data(), torch.arange(N) % 7 == 0
    method = RhoLoss(Irreducible(torch.zeros(N), batch.labels), keep=0.1)
    parts = method.start(N, K, epochs=2, trusted=trusted).step(network(), batch, no_stream)
    assert int(trusted.sum()) <= int(parts.totals) <= int(trusted.sum()) + N // 10
    whole = RhoLoss(Irreducible(torch.zeros(N), batch.labels), keep=1).start(N, K, epochs=2)
    standard = Standard().start(N, K, epochs=2)
    torch.testing.assert_close(
        whole.step(network(), batch, no_stream).mean(),
        standard.step(network(), batch, no_stream).mean(),
    )
