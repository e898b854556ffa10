"""MORPH: when it switches, what it learns from then, and the consistency of two views."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from thresher.errors import ParameterError
from thresher.history import Column, SampleHistory
from thresher.noise import MORPH, Standard
from thresher.noise.memorised import patient_set
from thresher.noise.morph import ramp_up, squared_distance


def tell(criterion, predictions, labels, rest=None):
    """One batch of all samples, predicted as told; returns the loss and the outputs."""
    classes = criterion.plan.classes
    outputs = 3.0 * nn.functional.one_hot(torch.tensor(predictions), classes)
    if rest is not None:
        outputs = torch.cat([outputs, rest])
    outputs = outputs.float().requires_grad_()
    return criterion(torch.arange(len(labels)), outputs, torch.tensor(labels)), outputs


def after_the_switch(labels, predictions, **options):
    """Two epochs in which everything is memorised, so that it switches, then one of predictions."""
    criterion = MORPH(0.05, **options).start(len(labels), 3, epochs=40, repeats=True)
    rest = torch.zeros(len(labels), 3) if options.get("consistency") else None
    for _ in range(2):
        tell(criterion, labels, labels, rest)
        criterion.end_epoch()
    assert criterion.method.switched_at == 2
    for _ in range(3):  # two votes against the label's two, and a third
        loss, outputs = tell(criterion, predictions, labels, rest)
    return criterion, loss, outputs


def seed_until_switched(method, shares, samples=100):
    """Epochs in which these shares of the samples are memorised; the epoch it switched at."""
    criterion = method.start(samples, 3, epochs=40)
    for share in shares:
        hits = round(share * samples)
        tell(criterion, [0] * hits + [1] * (samples - hits), [0] * samples)
        criterion.end_epoch()
    return criterion.method.switched_at


def test_it_switches_when_as_many_samples_are_memorised_as_are_clean():
    """|M| ≥ (1 - τ - δ) N, looked at after each epoch."""
    shares = [0.2, 0.3, 0.5, 0.62, 0.8]
    assert seed_until_switched(MORPH(0.4, margin=0, window=1), shares) == 4
    assert seed_until_switched(MORPH(0.4, margin=0.1, window=1), shares) == 3
    assert seed_until_switched(MORPH(0.1, margin=0, window=1), shares) == -1
    assert seed_until_switched(MORPH(0.4, margin=0.45, window=1), shares) == 2


def test_it_never_switches_after_the_first_epoch():
    """Whose losses say little."""
    assert seed_until_switched(MORPH(0.4), [0.9, 0.9]) == 2


def test_half_of_the_run_forces_the_switch():
    """Where some labels are known to be wrong; without any, training stays as it is."""
    assert seed_until_switched(MORPH(0.2), [0.5] * 25) == 20
    assert seed_until_switched(MORPH(0.0), [0.5] * 25) == -1


def test_a_rate_of_nothing_never_switches():
    """Given or estimated, whatever is memorised: the rest would be left out for nothing."""
    assert seed_until_switched(MORPH(0.0), [0.95] * 25) == -1
    assert seed_until_switched(MORPH(), [1.0] * 25) == -1


def test_the_noise_rate_is_read_from_the_mixture_of_the_mean_losses():
    """A quarter of the samples has a large loss: 100 draws around 0.1 and 4."""
    criterion = MORPH(estimate="gaussian-mean").start(100, 3, epochs=40)
    labels = torch.zeros(100, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        outputs = torch.randn(100, 3, generator=generator) / 4
        outputs[:75, 0] += 4
        outputs[75:, 1] += 4
        criterion(torch.arange(100), outputs.requires_grad_(), labels)
        criterion.end_epoch()
    assert criterion.method.rate == pytest.approx(0.25, abs=0.01)
    assert criterion.method.switched_at == 2


def test_the_noise_rate_is_read_from_what_has_settled():
    """A quarter of the samples is predicted otherwise five times in a row."""
    criterion = MORPH().start(100, 3, epochs=40)
    for epoch in range(1, 6):
        tell(criterion, [0] * 75 + [1] * 25, [0] * 100)
        criterion.end_epoch()
        assert criterion.method.rate == (0.25 if epoch == 5 else 0)
    assert criterion.method.switched_at == 5


def test_while_seeding_it_is_plain_training():
    """Bit for bit."""
    ours, theirs = (method.start(3, 3, epochs=40) for method in (MORPH(0.4), Standard()))
    first, second = (tell(each, [0, 1, 1], [0, 1, 2])[0] for each in (ours, theirs))
    assert torch.equal(first, second)


def test_evolution_learns_from_the_safe_set_alone():
    """The mean over the samples whose label is the most frequent prediction."""
    labels = [0, 1, 2, 0]
    _, loss, outputs = after_the_switch(labels, [0, 1, 1, 1])  # the last two are not, any more
    loss.backward()
    z = outputs.detach().clone().requires_grad_()
    nn.functional.cross_entropy(z[:2], torch.tensor([0, 1])).backward()
    torch.testing.assert_close(outputs.grad, z.grad)


def test_with_everything_memorised_evolution_is_plain_training():
    """As where all labels are right."""
    _, loss, outputs = after_the_switch([0, 1, 2], [0, 1, 2])
    torch.testing.assert_close(
        loss, nn.functional.cross_entropy(outputs, torch.tensor([0, 1, 2])), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("consistency", [0.0, 5.0])
def test_an_empty_safe_set_skips_the_step(consistency):
    """Total 0, and no gradient."""
    labels = [0, 1, 2]
    criterion, _, _ = after_the_switch(labels, [1, 2, 0], consistency=consistency)
    outputs = torch.eye(3)[[1, 2, 0, 1, 1, 1] if consistency else [1, 2, 0]].requires_grad_()
    parts = criterion.parts(torch.arange(3), outputs, torch.tensor(labels))
    parts.mean().backward()
    assert parts.totals.tolist() == [0]
    assert not outputs.grad.any()


def test_the_cap_keeps_no_more_than_the_share_of_right_labels():
    """floor(10 · 0.55) = 5 of 10 memorised samples."""
    criterion = MORPH(0.45, cap=True).start(10, 3, epochs=40)
    for _ in range(3):
        _, outputs = tell(criterion, [0] * 10, [0] * 10)
        criterion.end_epoch()
    parts = criterion.parts(torch.arange(10), outputs, torch.zeros(10, dtype=torch.int64))
    assert parts.totals.tolist() == [5]


@pytest.mark.parametrize(
    ("misses", "safe"),
    [
        (1, [True, False, False, False, True, False]),
        (2, [True, True, False, False, True, True]),
        (3, [True, True, True, False, True, True]),
    ],
)
def test_a_sample_leaves_the_safe_set_after_so_many_misses_in_a_row(misses, safe):
    """With a window of one the last prediction is all that counts: 0 1 1 1 0 1."""
    criterion = MORPH(0.2, window=1, misses=misses).start(1, 3, epochs=40, repeats=True)
    criterion.method.switched_at = 0
    learned = []
    for prediction in (0, 1, 1, 1, 0, 1):
        outputs = 3.0 * nn.functional.one_hot(torch.tensor([prediction]), 3).float()
        parts = criterion.parts(torch.tensor([0]), outputs.requires_grad_(), torch.tensor([0]))
        learned.append(bool(parts.totals[0]))
    assert safe == learned


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), max_size=12), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_the_patient_set_is_what_was_memorised_in_the_last_visits(visits, misses):
    """In one of the last r; with r = 1 in this one. Against all visits kept."""
    history = SampleHistory(5, 3)
    history.declare(Column("misses", torch.uint8, fill=misses))
    for number, known in enumerate(visits, 1):
        found = patient_set(history, torch.arange(5), torch.tensor(known), misses)
        assert [
            any(each) for each in zip(*visits[:number][-misses:], strict=True)
        ] == found.tolist()


def test_what_is_memorised_at_the_switch_is_the_first_safe_set():
    """A sample that is missed right after it still learns; one that never was in it does not."""
    criterion = MORPH(0.4, window=1, misses=2).start(5, 3, epochs=40)
    for predictions in ([0, 0, 0, 1, 1], [0, 0, 0, 1, 1]):
        tell(criterion, predictions, [0] * 5)
        criterion.end_epoch()
    assert criterion.method.switched_at == 2
    outputs = 3.0 * nn.functional.one_hot(torch.tensor([0, 0, 1, 1, 0]), 3).float()
    loss = criterion(torch.arange(5), outputs.requires_grad_(), torch.zeros(5).long())
    loss.backward()
    assert [True, True, True, False, True] == outputs.grad.abs().sum(1).gt(0).tolist()


@pytest.mark.parametrize(
    ("progress", "weight"), [(0, math.exp(-5)), (0.5, math.exp(-1.25)), (1, 1)]
)
def test_the_ramp_starts_at_next_to_nothing_and_ends_at_one(progress, weight):
    """exp(-5 (1 - u)²): 0.0067 at the switch."""
    assert ramp_up(progress) == pytest.approx(weight)


def test_the_ramp_only_rises_and_stays_at_one():
    """Monotone."""
    values = [ramp_up(step / 10) for step in range(15)]
    assert values == sorted(values)
    assert values[10:] == [1.0] * 5


def test_the_distance_of_two_views_and_its_gradient():
    """‖p - p'‖², differentiated through both, by finite differences."""
    generator = torch.Generator().manual_seed(0)
    first, other = torch.randn(2, 1, 4, 3, dtype=torch.float64, generator=generator)
    expected = ((first.softmax(2) - other.softmax(2)) ** 2).sum(2)
    torch.testing.assert_close(squared_distance(first, other), expected)
    assert torch.autograd.gradcheck(
        squared_distance, (first.requires_grad_(), other.requires_grad_())
    )


def test_consistency_counts_the_whole_batch_whatever_is_safe():
    """CE over the safe ones + w(t) / b Σ ‖p - p'‖²; at the switch w = 0.0067 w_max."""
    labels = torch.tensor([0, 1, 2, 0])
    criterion, _, _ = after_the_switch(labels.tolist(), [0, 1, 1, 1], consistency=5.0)
    outputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    outputs[:4] = 6 * nn.functional.one_hot(torch.tensor([0, 1, 1, 1]), 3)
    loss = criterion(torch.arange(4), outputs.requires_grad_(), labels)
    supervised = nn.functional.cross_entropy(outputs[:2], labels[:2])
    apart = (outputs[:4].softmax(1) - outputs[4:].softmax(1)).square().sum(1).mean()
    torch.testing.assert_close(loss, supervised + 5 * math.exp(-5) * apart)
    criterion.epoch += 10
    loss = criterion(torch.arange(4), outputs, labels)
    torch.testing.assert_close(loss, supervised + 5 * apart)


def test_trusted_rows_leave_consistency_its_weight():
    """The loss is divided by all that is learned from, safe or trusted."""
    gradients = []
    for trusted in (torch.zeros(4, dtype=torch.bool), torch.tensor([False, False, True, True])):
        criterion = MORPH(0.2, consistency=5.0).start(4, 3, epochs=40, trusted=trusted)
        criterion.method.switched_at = 0
        outputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
        outputs[:4] = 6 * nn.functional.one_hot(torch.tensor([0, 1, 1, 1]), 3)
        outputs.requires_grad_()
        criterion(torch.arange(4), outputs, torch.tensor([0, 1, 2, 2])).backward()
        gradients.append(outputs.grad[4:6])  # second views of those that nobody saw to
    torch.testing.assert_close(*gradients)


def test_held_out_rows_do_not_teach_by_consistency_either():
    """Neither of their views gets a gradient; both views of the others do."""
    held_out = torch.tensor([False, False, True, True])
    criterion = MORPH(0.2, consistency=5.0).start(4, 3, epochs=40, held_out=held_out)
    criterion.method.switched_at = 0
    outputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    criterion(torch.arange(4), outputs, outputs[:4].argmax(1)).backward()
    learned = outputs.grad.view(2, 4, 3).abs().sum(2) > 0
    assert learned.tolist() == [[True, True, False, False]] * 2


def test_one_view_where_two_are_compared_is_refused():
    """With what to pass."""
    criterion = MORPH(0.2, consistency=5.0).start(4, 3)
    with pytest.raises(ParameterError, match="morph compares 2 random views") as refused:
        criterion(torch.arange(4), torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))
    assert "torch.cat" in refused.value.fix


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MORPH(1.0), "noise_rate must be in"),
        (lambda: MORPH(margin=1), r"margin must be in \[0, 1\), got 1"),
        (lambda: MORPH(estimate="guess"), 'estimate must be one of settled, .*, got "guess"'),
        (lambda: MORPH(misses=0), r"misses must be in \(0, 100\], got 0"),
        (lambda: MORPH(consistency=-1), "consistency must be 0 or more, got -1"),
        (lambda: MORPH(window=0), "window must be positive"),
        (lambda: MORPH(ramp=0), "ramp must be positive"),
    ],
)
def test_hyper_parameters_out_of_range_are_refused(make, message):
    """With the argument, its value and the range."""
    with pytest.raises(ParameterError, match=message):
        make()
