"""DivideMix: who divides for whom, what is learned towards what, and a step written out."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from thresher.errors import ParameterError
from thresher.mixture import fit_gaussian_mixture
from thresher.models import Networks
from thresher.noise import Batch, DivideMix
from thresher.noise.dividemix import clean_probability, mean_normalised, negative_entropy
from thresher.noise.mixmatch import sharpen
from thresher.noise.mixup import draw_partners
from thresher.noise.streams import no_stream
from thresher.noise.weighing import learned_labels
from thresher.training.augment import Augmentation
from thresher.training.loop import Rows, Settings, Training

N, D, K = 12, 4, 3
ASIDE = ("held_out", "trusted", "out_of_distribution")
CLEAN = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.95, 0.7], [0.1, 0.3]]).repeat(3, 1)  # (N, 2)


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Networks([nn.Linear(D, K), nn.Linear(D, K)])


def data(views=1):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(views * N, D, generator=generator)
    return Batch(torch.arange(N), x, torch.arange(N) % K)


def divided(epoch=2, clean=CLEAN, **options):
    """A criterion after its warm-up, of one epoch, with these clean probabilities."""
    start = {name: options.pop(name) for name in ASIDE if name in options}
    method = DivideMix(warmup=1, ramp=4, **options)
    criterion = method.start(N, K, epochs=10, audit=False, **start)
    criterion.method.prior = [0.5, 0.25, 0.25]
    criterion.epoch = criterion.history.epoch = epoch
    criterion.history["clean_probability"].copy_(clean)
    return criterion


# ---------------------------------------------------------------- dividing
def test_two_heaps_of_losses_are_told_apart():
    """A small loss is clean, a large one is not."""
    random = np.random.default_rng(0)
    losses = np.concatenate([random.normal(0.1, 0.02, 300), random.normal(0.8, 0.1, 200)])
    clean = clean_probability(losses)
    assert (clean[:300] > 0.99).all()
    assert (clean[300:] < 0.01).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_the_smallest_loss_is_the_cleanest_below_the_lower_mean(losses):
    """A wide upper heap does not win again far below the lower one."""
    losses = np.sort(np.array([0.2, 0.21, 0.22, 0.8, 0.85, 0.99, *losses]))
    mixture, clean = fit_gaussian_mixture(losses), clean_probability(losses)
    assert ((clean >= 0) & (clean <= 1)).all()
    low = losses <= mixture.means[0]
    assert (clean[low] == clean[0]).all()


def test_a_low_heap_that_is_narrow_keeps_what_lies_below_it():
    """Losses near 0 under a tight heap at 0.2 are clean, though the wide one reaches there."""
    random = np.random.default_rng(0)
    heaps = [random.normal(0.2, 0.005, 300), random.normal(0.6, 0.2, 300), [0.0, 0.05]]
    losses = np.concatenate(heaps)
    assert fit_gaussian_mixture(losses).posterior_high([0.0])[0] > 0.9
    assert (clean_probability(losses)[-2:] > 0.9).all()


@pytest.mark.parametrize("losses", [np.zeros(50), np.arange(3.0), np.zeros(0)])
def test_losses_that_are_one_heap_trust_every_label(losses):
    """All equal, too few, none at all."""
    assert [1.0] * len(losses) == clean_probability(losses).tolist()


def test_losses_of_several_epochs_are_scaled_before_they_are_averaged():
    """An epoch of large losses weighs no more than another; missing ones are left out."""
    losses = np.array([[0, 10, np.nan], [1, 30, 5], [2, np.nan, 5], [np.nan] * 3], dtype=np.float32)
    np.testing.assert_allclose(mean_normalised(losses)[:3], [0, (0.5 + 1 + 0) / 3, 0.5])
    assert np.isnan(mean_normalised(losses)[3])


def test_each_network_learns_by_what_the_other_finds_clean():
    """Network 0 trusts labels by column 1."""
    method = divided().method
    torch.testing.assert_close(method.trust(torch.arange(4)), CLEAN[:4].flip(1).T)


def test_after_an_epoch_the_columns_hold_what_the_mixtures_say():
    """The losses of either network, divided apart; held-out rows are left out."""
    held_out = torch.zeros(N, dtype=torch.bool)
    held_out[0] = True
    criterion = divided(held_out=held_out, clean=torch.ones(N, 2))
    losses = torch.stack([torch.arange(N) / N, (torch.arange(N) % 2).float()], 1)
    losses[0] = 1e9  # would be a heap of its own
    criterion.history["network_losses"].copy_(losses)
    criterion.method.end_epoch({})
    clean = criterion.history["clean_probability"].numpy()
    for network in (0, 1):
        expected = clean_probability(mean_normalised(losses[1:, network, None].numpy()))
        np.testing.assert_allclose(clean[1:, network], expected, rtol=1e-6)
    assert [1, 1] == clean[0].tolist()


def test_the_losses_remembered_are_those_of_the_samples_as_they_are():
    """Of both networks, in the slot of the epoch; an evaluation leaves no trace."""
    criterion, model, batch = divided(epoch=5, window=3), network(), data()
    expected = torch.stack(
        [
            F.cross_entropy(member(batch.inputs), batch.labels, reduction="none")
            for member in model.members
        ]
    )
    with torch.no_grad():
        criterion.step(model, batch, no_stream)
    losses = criterion.history["network_losses"].view(N, 2, 3)
    assert torch.isnan(losses).all()
    criterion.step(model, batch, no_stream)
    torch.testing.assert_close(losses[:, :, 2], expected.T)
    assert torch.isnan(losses[:, :, :2]).all()


# ---------------------------------------------------------------- a step
def written_out(model, batch, views=1, *, epoch=2):
    """The published loss of both networks, one after the other, in the plainest way."""
    looks = [batch.inputs[v * N : (v + 1) * N] for v in range(views)]
    with torch.no_grad():
        p = [
            sum(member(look).softmax(1) for look in looks) / views for member in model.members
        ]  # of each network
    everything = torch.cat(looks)
    partner, share = draw_partners(batch.index.repeat(views), None, 4.0, seed=0, epoch=epoch)
    share = max(share, 1 - share)
    mixed = share * everything + (1 - share) * everything[partner]
    total = 0
    for own, member in enumerate(model.members):
        w = CLEAN[:, 1 - own]
        known = w > 0.5
        one_hot = F.one_hot(batch.labels, K).float()
        refined = sharpen(w[:, None] * one_hot + (1 - w[:, None]) * p[own], 0.5)
        targets = torch.where(known[:, None], refined, sharpen((p[0] + p[1]) / 2, 0.5))
        targets, known = targets.repeat(views, 1), known.repeat(views)
        goals = share * targets + (1 - share) * targets[partner]
        logits = member(mixed)
        labelled = -(goals * logits.log_softmax(1)).sum(1)[known].mean()
        unlabelled = ((logits.softmax(1) - goals) ** 2)[~known].mean()
        prior = torch.tensor([0.5, 0.25, 0.25])
        gap = (prior * (prior / logits.softmax(1).mean(0)).log()).sum()
        total = total + labelled + 25 * (epoch - 1) / 4 * unlabelled + gap
    return total


@pytest.mark.parametrize("views", [1, 2])
def test_a_step_is_the_published_loss_of_both_networks(views):
    """Value and gradients, with one view and with two."""
    model, twin, batch = network(), network(), data(views)
    loss = divided(views=views).step(model, batch, no_stream).mean()
    expected = written_out(twin, batch, views)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("clean", [0.0, 1.0])
def test_batches_without_a_labelled_or_without_an_unlabelled_sample(clean):
    """The part that is missing adds nothing; the rest is learned."""
    model, criterion = network(), divided(clean=torch.full((N, 2), clean))
    loss = criterion.step(model, data(), no_stream).mean()
    assert torch.isfinite(loss)
    loss.backward()
    assert all(each.grad.abs().sum() > 0 for each in model.parameters())


def test_held_out_rows_are_in_no_mixture_and_no_mean():
    """What they are changes nothing of the loss."""
    held_out = torch.arange(N) % 3 == 1
    losses = []
    for value in (0.0, 1e4):
        batch = data()
        batch.inputs[held_out] = value
        losses.append(divided(held_out=held_out).step(network(), batch, no_stream).mean())
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize(
    ("trust", "as_if"),
    [
        ((0.1, 0.1), "held_out"),
        ((0.9, 0.1), "held_out"),
        ((0.1, 0.9), "held_out"),
        ((0.9, 0.9), "trusted"),
    ],
)
def test_samples_of_no_class_get_no_guessed_label(trust, as_if):
    """They are left out of all mixtures, or their label, trusted by both, counts unrefined."""
    foreign = torch.arange(N) % 4 == 1
    clean = torch.where(foreign[:, None], torch.tensor(trust), CLEAN)
    model, twin = network(), network()
    found = divided(clean=clean, out_of_distribution=foreign).step(model, data(), no_stream)
    expected = divided(clean=clean, **{as_if: foreign}).step(twin, data(), no_stream)
    torch.testing.assert_close(found.sums, expected.sums)
    assert torch.equal(found.totals, expected.totals)
    found.mean().backward()
    expected.mean().backward()
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_a_trusted_label_is_learned_in_full():
    """Whatever both networks think of it."""
    trusted = torch.zeros(N, dtype=torch.bool)
    trusted[3] = True
    criterion = divided(trusted=trusted)
    assert [1.0, 1.0] == criterion.method.trust(torch.tensor([3])).flatten().tolist()
    heard = []
    criterion.listener = lambda *told: heard.append(learned_labels(*told))
    criterion.step(network(), data(), no_stream)
    assert heard[0][3] == data().labels[3]


def test_a_sampler_hears_the_labels_that_were_guessed():
    """Where no label is trusted, they are what both networks predict."""
    criterion, model, batch = divided(clean=torch.zeros(N, 2)), network(), data()
    heard = []
    criterion.listener = lambda *told: heard.append(learned_labels(*told))
    expected = model(batch.inputs).softmax(-1).mean(0).argmax(1)
    criterion.step(model, batch, no_stream)
    assert torch.equal(expected, heard[0])
    assert not torch.equal(expected, batch.labels)


# ---------------------------------------------------------------- the warm-up
@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("views", [1, 2])
def test_the_warm_up_is_standard_training_of_both_networks(views, asymmetric):
    """Of all views; for asymmetric noise with Σ p ln p."""
    model, batch = network(), data(views)
    criterion = DivideMix(views=views, asymmetric=asymmetric).start(N, K, epochs=8)
    expected = 0
    for member in model.members:
        logits = member(batch.inputs)
        expected = expected + F.cross_entropy(logits, batch.labels.repeat(views))
        if asymmetric:
            p = logits[:N].softmax(1)
            expected = expected + (p * p.log()).sum(1).mean()
    torch.testing.assert_close(criterion.step(model, batch, no_stream).mean(), expected)


def test_negative_entropy_is_least_where_all_classes_are_alike():
    """-ln k; 0 for certainty; its gradient by finite differences."""
    torch.testing.assert_close(negative_entropy(torch.zeros(1, 1, 4)).exp(), torch.tensor([[0.25]]))
    assert negative_entropy(torch.tensor([[[200.0, 0.0]]])).tolist() == [[0.0]]
    logits = torch.tensor([[[0.3, -1.0, 2.0]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(negative_entropy, logits)


def test_the_prior_is_counted_without_an_audit_too():
    """The labels are remembered by what the method itself declares."""
    criterion = DivideMix(warmup=1).start(N, K, epochs=4, audit=False)
    criterion.step(network(), data(), no_stream)
    criterion.end_epoch()
    assert [1 / 3] * K == pytest.approx(criterion.method.prior)


# ---------------------------------------------------------------- views, lengths, refusals
def test_views_are_two_where_there_are_two():
    """Unless they are asked for."""
    for method, augmented, views in (
        (DivideMix(), True, 2),
        (DivideMix(), False, 1),
        (DivideMix(views=1), True, 1),
        (DivideMix(views=2), False, 2),
    ):
        assert views == method.start(N, K, augmented=augmented).method.views


def test_it_trains_on_augmented_images():
    """Two views, through both phases, to the same weights again."""
    images = torch.randint(1, 256, (24, 8, 8, 1), generator=torch.Generator().manual_seed(0))
    rows = Rows(
        images.to(torch.uint8),
        torch.arange(24) % K,
        torch.arange(24),
        lambda raw: raw.float().flatten(1) / 255,
        Augmentation(("crop",), 0),
    )
    states = []
    for _ in range(2):
        criterion = DivideMix(warmup=2).start(24, K, epochs=6, labels=rows.labels, augmented=True)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = Networks(
                [nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, K)) for _ in "12"]
            )
        trainer = Training(model, criterion, rows, Settings(epochs=6, batch_size=8))
        assert all(np.isfinite(epoch.loss) for epoch in trainer.run())
        assert criterion.history["visits"].tolist() == [6] * 24
        states.append(model.state_dict())
    assert all(torch.equal(values, states[1][name]) for name, values in states[0].items())


def test_phases_shrink_with_the_run():
    """A quarter each; what is written is kept."""
    assert (10, 16) == lengths(DivideMix(), 300)
    assert (5, 5) == lengths(DivideMix(), 20)
    assert (9, 3) == lengths(DivideMix(warmup=9, ramp=3), 20)


def lengths(method, epochs):
    started = method.start(N, K, epochs=epochs).method
    return started.warmup_epochs, started.ramp_epochs


def test_inputs_that_are_no_numbers_to_mix_are_refused():
    words = Batch(torch.arange(N), torch.zeros(N, D, dtype=torch.int64), torch.zeros(N).long())
    with pytest.raises(ParameterError, match="dividemix mixes floating-point inputs"):
        DivideMix().start(N, K).step(network(), words, no_stream)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup": 0}, "warmup must be positive, got 0"),
        ({"threshold": 1.5}, r"threshold must be in \(0, 1\], got 1.5"),
        ({"temperature": 0}, r"temperature must be in \(0, 1\], got 0"),
        ({"unlabelled_weight": -1}, "unlabelled_weight must be 0 or more, got -1"),
        ({"views": 3}, "views must be 1 or 2, got 3"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        DivideMix(**options)


def test_a_threshold_of_one_trusts_what_is_certain():
    """A label that a person has seen to, and every label where the losses are one heap."""
    criterion = divided(clean=torch.ones(N, 2), threshold=1.0)
    step, _ = criterion.gather(torch.arange(N), torch.zeros(2, N, K), torch.arange(N) % K)
    assert criterion.method.decide(step).weights.all()
