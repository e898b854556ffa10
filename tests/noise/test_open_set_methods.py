"""TAUFE, OAT and ODNL: their losses written out, and what the stream must not touch."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import small_training as small
from thresher.errors import ModelError, ParameterError
from thresher.noise import OAT, ODNL, TAUFE, Batch, Drawn, Standard
from thresher.noise.oat import uniform_cross_entropy
from thresher.noise.odnl import random_labels
from thresher.noise.streams import no_stream
from thresher.noise.taufe import feature_energy
from thresher.training.loop import Rows, Settings, Training
from thresher.training.stream import Stream

N, D, H, K, S = 12, 4, 6, 3, 7


class Net(nn.Module):
    """One hidden layer; the head may have no bias."""

    def __init__(self, bias=True):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.hidden, self.head = nn.Linear(D, H), nn.Linear(H, K, bias=bias)

    def features(self, inputs):
        return self.hidden(inputs).relu()

    def forward(self, inputs):
        return self.head(self.features(inputs))


def batch():
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(N, D, generator=generator), torch.arange(N) % K
    return Batch(torch.arange(N), x, y), Drawn(
        torch.arange(S) * 11, torch.randn(S, D, generator=generator)
    )


def step(method, net, *, held_out=None):
    """One step; its parts and the criterion."""
    own, drawn = batch()
    criterion = method.start(N, K, held_out=held_out, seed=3)
    return criterion.step(net, own, lambda _: drawn), criterion


# ---------------------------------------------------------------------- the losses
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_taufe_adds_the_squared_features_of_the_foreign_samples(reduction):
    """CE + λ mean ‖φ‖², or the mean over features as well."""
    net, (own, drawn) = Net(), batch()
    squared = net.features(drawn.inputs).square()
    energy = squared.sum(1) if reduction == "sum" else squared.mean(1)
    expected = F.cross_entropy(net(own.inputs), own.labels) + 0.3 * energy.mean()
    parts, _ = step(TAUFE(strength=0.3, reduction=reduction), net)
    torch.testing.assert_close(parts.mean(), expected)


def test_oat_adds_the_cross_entropy_to_all_classes_alike():
    """CE + λ mean over foreign samples of -(1/k) Σ ln p."""
    net, (own, drawn) = Net(), batch()
    uniform = torch.full((S, K), 1 / K)
    expected = F.cross_entropy(net(own.inputs), own.labels) + 0.7 * F.cross_entropy(
        net(drawn.inputs), uniform
    )
    torch.testing.assert_close(step(OAT(strength=0.7), net)[0].mean(), expected)


def test_odnl_adds_the_cross_entropy_to_the_labels_of_the_epoch():
    """Of the stream's rows by their numbers."""
    net, (own, drawn) = Net(), batch()
    labels = random_labels(drawn.index, K, seed=3, epoch=0)
    expected = F.cross_entropy(net(own.inputs), own.labels) + 2.5 * F.cross_entropy(
        net(drawn.inputs), labels
    )
    torch.testing.assert_close(step(ODNL(), net)[0].mean(), expected)


@pytest.mark.parametrize("method", [TAUFE(), OAT(), ODNL()])
def test_gradients_are_those_of_finite_differences(method):
    """Of the loss by every weight of the head and of the hidden layer, in float64."""
    net = Net().double()
    own, drawn = batch()
    own = Batch(own.index, own.inputs.double(), own.labels)
    drawn = Drawn(drawn.index, drawn.inputs.double())

    def loss():
        return method.start(N, K, seed=3).step(net, own, lambda _: drawn).mean()

    loss().backward()
    for parameter in net.parameters():
        place = tuple(0 for _ in parameter.shape)
        values = []
        for change in (1e-6, -1e-6):
            with torch.no_grad():
                parameter[place] += change
                values.append(float(loss().detach()))
                parameter[place] -= change
        difference = (values[0] - values[1]) / 2e-6
        assert float(parameter.grad[place]) == pytest.approx(difference, abs=1e-8)


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=9))
def test_the_cross_entropy_to_all_classes_is_least_where_they_are_alike(numbers):
    """ln k there, and with no gradient."""
    logits = torch.tensor([numbers], dtype=torch.float64)
    alike = torch.zeros_like(logits, requires_grad=True)
    assert float(uniform_cross_entropy(logits)) >= math.log(len(numbers)) - 1e-9
    uniform_cross_entropy(alike).sum().backward()
    least = uniform_cross_entropy(alike).detach()
    assert float(least) == pytest.approx(math.log(len(numbers)))
    torch.testing.assert_close(alike.grad, torch.zeros_like(logits), atol=1e-12, rtol=0)


def test_the_two_reductions_differ_by_the_number_of_features():
    """So λ of the one is λ · d of the other."""
    features = torch.arange(12.0).view(2, 6)
    torch.testing.assert_close(
        feature_energy(features, "sum"), 6 * feature_energy(features, "mean")
    )


# ---------------------------------------------------------------------- what TAUFE rests on
def test_without_a_bias_in_the_head_no_feature_means_no_opinion():
    """φ = 0 gives 1/k for every class, to the last bit."""
    net = Net(bias=False)
    with torch.no_grad():
        net.hidden.weight.zero_()
        net.hidden.bias.fill_(-1.0)
    inputs = batch()[1].inputs
    assert not net.features(inputs).any()
    assert torch.equal(torch.full((S, K), 1 / K), net(inputs).softmax(1))


@pytest.mark.parametrize("method", [TAUFE(strength=0), OAT(strength=0), ODNL(strength=0)])
def test_a_strength_of_nothing_is_standard_training(method):
    """Bit for bit, weights and history, dropout and batch normalisation included; no stream."""
    x, y = small.data()
    trained = []
    for each in (method, Standard()):
        model, settings = small.network(), Settings(epochs=3, batch_size=16)
        criterion = each.start(small.N, small.K, epochs=3, labels=y)
        rows = Rows(x, y, torch.arange(small.N), prepare=lambda inputs: inputs)
        list(Training(model, criterion, rows, settings).run())
        trained.append((small.weights(model), criterion.state_dict()["history"]))
    small.assert_equal(trained[0][0], trained[1][0])
    small.assert_equal(trained[0][1], trained[1][1])


# ---------------------------------------------------------------------- what a stream must not do
@pytest.mark.parametrize("method", [TAUFE(), OAT(), ODNL()])
def test_foreign_samples_leave_no_trace_in_the_history(method):
    """It equals that of standard training in the first step, bit for bit."""
    net = Net()
    _, criterion = step(method, net)
    plain = Standard().start(N, K)
    own, drawn = batch()
    outputs = net(torch.cat([own.inputs, drawn.inputs]))[:N]  # products round by their size
    plain(own.index, outputs, own.labels)
    small.assert_equal(criterion.state_dict()["history"], plain.state_dict()["history"])


@pytest.mark.parametrize("method", [TAUFE(), OAT(), ODNL()])
def test_the_stream_counts_by_its_rows_and_not_by_those_that_are_trained(method):
    """With half of the samples held out the mean over foreign samples is the same."""
    net, held_out = Net(), torch.arange(N) % 2 == 0
    own, _ = batch()
    losses = F.cross_entropy(net(own.inputs), own.labels, reduction="none")
    added = [
        float((parts.mean() - expected).detach())
        for parts, expected in (
            (step(method, net)[0], losses.mean()),
            (step(method, net, held_out=held_out)[0], losses[~held_out].mean()),
        )
    ]
    assert added[0] == pytest.approx(added[1], rel=1e-5)


@pytest.mark.parametrize("method", [TAUFE(), OAT(), ODNL()])
def test_a_step_over_two_halves_of_a_batch_is_that_of_the_whole(method):
    """Sums and totals add up."""
    net, (own, drawn) = Net(), batch()
    even = Drawn(drawn.index[:6], drawn.inputs[:6])
    criterion = method.start(N, K, seed=3)
    whole = criterion.step(net, own, lambda _: even)
    sums = totals = 0
    for here, part in ((slice(0, 6), slice(0, 3)), (slice(6, 12), slice(3, 6))):
        half = Batch(own.index[here], own.inputs[here], own.labels[here])
        criterion = method.start(N, K, seed=3)
        parts = criterion.step(net, half, lambda _, p=part: Drawn(even.index[p], even.inputs[p]))
        sums, totals = sums + parts.sums, totals + parts.totals
    torch.testing.assert_close(whole.mean(), (sums / totals).sum())


def test_an_empty_share_of_a_stream_adds_nothing():
    """As of a process that has no row of a small batch."""
    net, (own, drawn) = Net(), batch()
    for method in (TAUFE(), OAT(), ODNL()):
        parts = method.start(N, K).step(
            net, own, lambda _: Drawn(drawn.index[:0], drawn.inputs[:0])
        )
        torch.testing.assert_close(parts.mean(), F.cross_entropy(net(own.inputs), own.labels))


# ---------------------------------------------------------------------- random labels
def test_random_labels_belong_to_seed_epoch_and_row():
    """In any order and company."""
    rows = torch.tensor([5, 900, 3])
    first = random_labels(rows, 10, seed=1, epoch=2)
    assert torch.equal(first.flip(0), random_labels(rows.flip(0), 10, seed=1, epoch=2))
    many = torch.arange(1000)
    labels = [random_labels(many, 10, seed=s, epoch=e) for s, e in ((1, 2), (1, 3), (2, 2))]
    assert torch.equal(labels[0][rows[:1]], first[:1])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        share = float((labels[one] == labels[other]).float().mean())
        assert share == pytest.approx(0.1, abs=5 * (0.09 / 1000) ** 0.5)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_random_labels_are_uniform(classes):
    """Five standard errors of 9,000 draws."""
    labels = random_labels(torch.arange(9000), classes, seed=0, epoch=0)
    share = 1 / classes
    error = (share * (1 - share) / 9000) ** 0.5
    assert labels.bincount(minlength=classes).tolist() == pytest.approx(
        [9000 * share] * classes, abs=5 * 9000 * error
    )


# ---------------------------------------------------------------------- bad input
def test_what_cannot_be_is_refused():
    """Values, networks without a last layer, and a training without the stream."""
    with pytest.raises(ParameterError, match="strength must be 0 or more, got -1"):
        OAT(strength=-1)
    with pytest.raises(ParameterError, match="strength must be 0 or more, got nan"):
        ODNL(strength=math.nan)
    with pytest.raises(ParameterError, match='reduction must be "sum" or "mean", got "max"'):
        TAUFE(reduction="max")
    with pytest.raises(ModelError, match="does not end in a linear layer of 3 outputs"):
        step(TAUFE(), nn.Sequential(nn.Linear(D, K), nn.Linear(K, 2)))
    x, y = small.data()
    criterion = OAT().start(small.N, small.K, labels=y)
    rows = Rows(x, y, torch.arange(small.N), prepare=lambda inputs: inputs)
    with pytest.raises(ParameterError, match="Stream") as refused:
        Training(small.network(), criterion, rows, Settings(epochs=1))
    assert "oat learns from the data stream" in refused.value.cause
    Training(
        small.network(), copy.copy(criterion), rows, Settings(epochs=1),
        streams={"auxiliary": Stream(x, rows.prepare)},
    )  # fmt: skip
    bare = OAT().start(N, K)
    with pytest.raises(ParameterError, match="there is none"):
        bare.step(Net(), batch()[0], no_stream)
