"""Selective backprop: what is drawn, what is learned from, and when everything counts."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from thresher.errors import ParameterError
from thresher.noise import Batch, SelectiveBackprop, Standard
from thresher.noise.selective_backprop import draw_by_rank, keep_probability, rank_weights
from thresher.noise.streams import no_stream

N, D, K = 24, 4, 3
ALWAYS = {"start": 0.0, "end": 1.0, "interrupt": 0}


@pytest.mark.parametrize("keep", [0.5, 0.33, 0.25])
def test_the_mean_weight_of_the_ranks_is_the_share_that_is_kept(keep):
    """∫ π^(1/keep - 1) dπ = keep."""
    assert float(rank_weights(1000, keep).mean()) == pytest.approx(keep, abs=1e-3)


@given(
    st.lists(st.floats(0, 9), min_size=1, max_size=40),
    st.floats(0.05, 1),
    st.integers(0, 99),
)
def test_so_many_are_drawn(losses, keep, seed):
    """int(keep · n), and one at least."""
    uniform = torch.rand(len(losses), generator=torch.Generator().manual_seed(seed))
    chosen = draw_by_rank(torch.tensor(losses), uniform, keep)
    assert int(chosen.sum()) == max(1, int(keep * len(losses) + 1e-9))


def test_rows_are_drawn_one_after_the_other_in_proportion_to_their_ranks():
    """The share in which each of five is among two equals that of the sum over ordered pairs."""
    losses = torch.tensor([0.3, 2.0, 0.1, 0.9, 5.0])
    generator, draws = torch.Generator().manual_seed(0), 5000
    found = torch.zeros(5)
    for _ in range(draws):
        found += draw_by_rank(losses, torch.rand(5, generator=generator), 0.4)
    rank = np.argsort(np.argsort(losses.numpy()))
    weight = ((rank + 0.5) / 5) ** 1.5
    weight /= weight.sum()
    expected = np.zeros(5)
    for first in range(5):
        for second in set(range(5)) - {first}:
            both = weight[first] * weight[second] / (1 - weight[first])
            expected[[first, second]] += both
    error = np.sqrt(expected * (1 - expected) / draws)
    assert (np.abs(found.numpy() / draws - expected) < 4 * error).all()


def test_probabilities_against_recent_losses_by_hand():
    """π is the share strictly below: 0, ½, ¾ of four; β = 1 for half, 3 for a quarter."""
    recent = torch.tensor([1.0, 2.0, 2.0, 3.0])
    losses = torch.tensor([1.0, 2.5, 3.0])
    assert keep_probability(losses, recent, 0.5).tolist() == pytest.approx([0.05, 0.75, 0.75])
    cubes = keep_probability(losses, recent, 0.25).tolist()
    assert cubes == pytest.approx([0.05, 0.75**3, 0.75**3])


@pytest.mark.parametrize("beta", [1, 2, 3])
def test_against_recent_losses_the_share_is_one_over_one_and_beta(beta):
    """A little more, for the floor under small ones."""
    losses = torch.rand(1024, generator=torch.Generator().manual_seed(beta))
    share = float(keep_probability(losses, losses, 1 / (1 + beta)).mean())
    floor = 0.05 ** (1 / beta)  # below this rank the floor holds
    expected = 0.05 * floor + (1 - floor ** (beta + 1)) / (beta + 1)
    assert share == pytest.approx(expected, abs=2e-3)


# ---------------------------------------------------------------------- a step
def data():
    generator = torch.Generator().manual_seed(0)
    return Batch(torch.arange(N), torch.randn(N, D, generator=generator), torch.arange(N) % K)


class Watched(nn.Module):
    """A linear network that keeps what it was given, and whether a gradient was wanted."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Linear(D, K)
        self.seen = []

    def forward(self, inputs):
        self.seen.append((inputs, torch.is_grad_enabled()))
        return self.layer(inputs)


def step(method, **options):
    model, criterion = Watched(), method.start(N, K, epochs=10, **options)
    return model, criterion.step(model, data(), no_stream), criterion


def passed_rows(model):
    """Sample indices of the rows of the last forward pass."""
    inputs = data().inputs
    return [int((inputs == row).all(1).nonzero()) for row in model.seen[-1][0]]


@pytest.mark.parametrize("against", ["batch", "recent"])
def test_only_chosen_rows_are_passed_with_a_gradient(against):
    """The loss is their mean, all rows are remembered, and the rest leaves no gradient."""
    method = SelectiveBackprop(keep=0.25, against=against, **ALWAYS)
    model, parts, criterion = step(method)
    rows, batch = passed_rows(model), data()
    assert [False, True] == [graph for _, graph in model.seen]
    assert len(rows) < N
    expected = F.cross_entropy(model.layer(batch.inputs[rows]), batch.labels[rows])
    torch.testing.assert_close(parts.mean(), expected)
    assert int(parts.totals) == len(rows)
    assert criterion.history["visits"].tolist() == [1] * N
    if against == "batch":
        assert len(rows) == N // 4


@pytest.mark.parametrize("against", ["batch", "recent"])
def test_keeping_everything_is_standard_training(against):
    """keep = 1: the same loss and the same gradient."""
    model, parts, _ = step(SelectiveBackprop(keep=1, against=against, **ALWAYS))
    parts.mean().backward()
    plain, reference, _ = step(Standard())
    reference.mean().backward()
    torch.testing.assert_close(parts.mean(), reference.mean())
    torch.testing.assert_close(model.layer.weight.grad, plain.layer.weight.grad)


def test_large_losses_are_learned_from_more_often():
    """Over many epochs, the upper half of the losses is drawn more than twice as often."""
    model, criterion = Watched(), SelectiveBackprop(keep=0.25, **ALWAYS).start(N, K, epochs=400)
    batch = data()
    losses = F.cross_entropy(model.layer(batch.inputs), batch.labels, reduction="none")
    counts = torch.zeros(N)
    for _ in range(400):
        criterion.step(model, batch, no_stream)
        counts[passed_rows(model)] += 1
        criterion.end_epoch()
    order = losses.argsort()
    assert counts[order[N // 2 :]].sum() > 2 * counts[order[: N // 2]].sum()
    assert stats.spearmanr(counts, losses.detach()).statistic > 0.9


def test_a_draw_belongs_to_seed_epoch_and_sample():
    """Not to the global generator, nor to the order of the batch."""

    def drawn(*, seed=0, order=None):
        torch.manual_seed(seed + 5)
        model = Watched()
        criterion = SelectiveBackprop(**ALWAYS).start(N, K, epochs=10, seed=seed)
        whole = data()
        order = torch.arange(N) if order is None else order
        criterion.step(model, Batch(order, whole.inputs[order], whole.labels[order]), no_stream)
        return sorted(passed_rows(model))

    assert drawn() == drawn(order=torch.arange(N).flip(0))
    assert drawn() != drawn(seed=1)


def test_when_samples_are_chosen():
    """From the half of the run to nine tenths, every second batch; two batches an epoch."""
    model, criterion = Watched(), SelectiveBackprop().start(N, K, epochs=10)
    passes = []
    for _ in range(10):
        for half in torch.arange(N).split(N // 2):
            model.seen.clear()
            whole = data()
            criterion.step(model, Batch(half, whole.inputs[half], whole.labels[half]), no_stream)
            passes.append(len(model.seen))
        criterion.end_epoch()
    assert [1] * 10 + [2, 1] * 4 + [1, 1] == passes


def test_the_losses_it_ranks_against_are_the_last_1024():
    """Whole batches are remembered too; an evaluation is not."""
    model, criterion = Watched(), SelectiveBackprop(against="recent").start(N, K, epochs=10)
    for _ in range(50):
        criterion.step(model, data(), no_stream)
        criterion.end_epoch()
    batch = data()
    losses = F.cross_entropy(model.layer(batch.inputs), batch.labels, reduction="none")
    assert criterion.method.recent == pytest.approx((losses.tolist() * 50)[-1024:])
    with torch.no_grad():
        criterion.step(model, Batch(batch.index, batch.inputs * 9, batch.labels), no_stream)
    assert criterion.method.recent == pytest.approx((losses.tolist() * 50)[-1024:])


def test_trusted_samples_are_learned_from_and_held_out_ones_never():
    """Whatever their loss."""
    trusted, held_out = torch.arange(N) % 5 == 0, torch.arange(N) % 5 == 1
    for against in ("batch", "recent"):
        method = SelectiveBackprop(keep=0.1, against=against, **ALWAYS)
        model, parts, _ = step(method, trusted=trusted, held_out=held_out)
        rows = passed_rows(model)
        assert set(torch.nonzero(trusted).flatten().tolist()) <= set(rows)
        assert not held_out[rows].any()
        assert int(parts.totals) == len(rows)


@pytest.mark.parametrize("rows", [2, 3])
def test_batch_normalisation_never_meets_a_single_row(rows):
    """One is chosen; another fills up, with weight 0."""
    model = nn.Sequential(nn.Linear(D, 5), nn.BatchNorm1d(5), nn.Linear(5, K))
    criterion = SelectiveBackprop(keep=0.01, **ALWAYS).start(N, K, epochs=10)
    whole = data()
    batch = Batch(whole.index[:rows], whole.inputs[:rows], whole.labels[:rows])
    parts = criterion.step(model, batch, no_stream)
    assert int(parts.totals) == 1
    assert torch.isfinite(parts.mean())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"keep": 0.0}, r"keep must be in \(0, 1\]"),
        ({"against": "epoch"}, "against must be batch or recent"),
        ({"start": 0.9, "end": 0.5}, "start first"),
        ({"interrupt": -1}, "interrupt must be 0 or more"),
    ],
)
def test_settings_out_of_range_are_refused(options, match):
    """Before anything starts."""
    with pytest.raises(ParameterError, match=match):
        SelectiveBackprop(**options)


def test_shares_of_a_run_of_unknown_length_are_refused():
    """Unless they ask for all of it."""
    with pytest.raises(ParameterError, match="number of epochs is not known"):
        SelectiveBackprop().start(N, K)
    SelectiveBackprop(**ALWAYS).start(N, K)
