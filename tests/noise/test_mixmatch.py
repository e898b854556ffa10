"""MixMatch: sharpening, the two losses and their parts, the mean prediction, one whole step."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thresher.history import Column, SampleHistory
from thresher.noise.mixmatch import (
    given_shares,
    labelled_and_unlabelled,
    linear_ramp,
    prior_gap,
    row_losses,
    sharpen,
)

K = 3
LOGITS = torch.tensor(
    [[[1.0, -0.5, 0.2], [0.3, 2.0, -1.0]], [[0.0, 0.4, 0.1], [-2.0, 0.5, 1.5]]],
    dtype=torch.float64,
)  # (2, 2, 3)
TARGETS = torch.tensor(
    [[[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]], [[0.1, 0.1, 0.8], [0.3, 0.3, 0.4]]], dtype=torch.float64
)


# ---------------------------------------------------------------- targets
def test_sharpening_by_hand():
    """T = ½ squares: .6, .3, .1 → .36, .09, .01 over .46."""
    found = sharpen(torch.tensor([0.6, 0.3, 0.1]), 0.5)
    torch.testing.assert_close(found, torch.tensor([0.36, 0.09, 0.01]) / 0.46)


probabilities = st.lists(st.floats(0, 1), min_size=2, max_size=6).filter(lambda p: sum(p) > 0.1)


@given(values=probabilities, temperature=st.floats(0.05, 1))
def test_sharpening_keeps_the_order_and_raises_the_largest(values, temperature):
    """Rows sum to 1; ties stay ties."""
    p = torch.tensor(values, dtype=torch.float64)
    p = p / p.sum()
    found = sharpen(p, temperature)
    assert float(found.sum()) == pytest.approx(1)
    assert float(found.max()) >= float(p.max()) - 1e-12
    order = p.argsort()
    assert (found[order].diff() >= -1e-12).all()


def test_sharpening_leaves_certainty_and_many_small_shares_alone():
    """A label in full stays one; of a thousand equal classes none is lost to rounding."""
    assert torch.equal(torch.eye(4), sharpen(torch.eye(4), 0.1))
    even = torch.full((1000,), 1e-3)
    torch.testing.assert_close(even, sharpen(even, 0.05))


def test_the_ramp_is_linear_and_stays_within_its_ends():
    assert [0.0, 0.0, 0.5, 1.0, 1.0] == [linear_ramp(each, 8) for each in (-1, 0, 4, 8, 20)]


# ---------------------------------------------------------------- losses
def test_row_losses_by_their_definitions():
    """-Σ t ln p, and the mean over the classes of (p - t)²."""
    cross_entropy, distance = row_losses(LOGITS, TARGETS)
    p = LOGITS.softmax(-1)
    torch.testing.assert_close(cross_entropy, -(TARGETS * p.log()).sum(-1))
    torch.testing.assert_close(distance, ((p - TARGETS) ** 2).sum(-1) / K)


def test_the_gradients_of_row_losses_equal_finite_differences():
    assert torch.autograd.gradcheck(
        lambda z: row_losses(z, TARGETS), LOGITS.clone().requires_grad_()
    )


@given(
    marks=st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=9)
)
def test_weighted_rows_average_to_the_means_of_the_parts(marks):
    """Of trained rows; an empty part adds nothing."""
    first, second, trained = torch.tensor(marks).T
    labelled = torch.stack([first, second])
    values = torch.linspace(1, 2, len(marks)).expand(2, -1)
    known, guessed = labelled_and_unlabelled(labelled, trained)
    if not trained.any():
        assert not known.any()
        assert not guessed.any()
        return
    for network in (0, 1):
        for part, factor in ((labelled[network], known), (~labelled[network], guessed)):
            rows = part & trained
            found = (factor[network] * values[network] * rows)[trained].mean()
            expected = values[network][rows].mean() if rows.any() else torch.tensor(0.0)
            torch.testing.assert_close(found, expected)


# ---------------------------------------------------------------- the mean prediction
PRIOR = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


def direct(logits):
    """Σ π ln(π / mean p), each network's."""
    mean = logits.softmax(-1).mean(1)
    return (PRIOR * (PRIOR / mean).log()).sum(-1)


def by_rows(logits):
    p = logits.softmax(-1)
    return prior_gap(p, p.detach().mean(1), PRIOR)


def test_the_parts_of_rows_average_to_the_term():
    torch.testing.assert_close(by_rows(LOGITS).mean(1), direct(LOGITS))


def test_the_gradient_of_the_parts_is_that_of_the_term():
    """Although each part knows the mean as a constant only."""
    one, other = (LOGITS.clone().requires_grad_() for _ in range(2))
    direct(one).sum().backward()
    by_rows(other).mean(1).sum().backward()
    torch.testing.assert_close(other.grad, one.grad)


def test_a_mean_equal_to_the_prior_costs_nothing():
    """And a class that is never given does not count."""
    prior = torch.tensor([0.25, 0.75, 0.0])
    gap = prior_gap(prior.expand(1, 4, 3), prior[None], prior)
    torch.testing.assert_close(gap.mean(), torch.tensor(0.0))
    assert torch.isfinite(gap).all()


def test_a_class_that_is_never_predicted_costs_a_finite_amount():
    """ln 0 is none."""
    never = torch.tensor([[1.0, 0.0]])
    gap = prior_gap(never[None], never, torch.tensor([0.5, 0.5]))
    assert math.log(0.5) - 10 < float(gap) < 20


def test_the_prior_is_counted_among_trained_samples_that_were_seen():
    history = SampleHistory(6, 3)
    history.declare(Column("visits", torch.int32))
    history.hold_out(torch.tensor([False, False, False, False, True, False]))
    history.observe(torch.arange(5), torch.zeros(5, 3), torch.tensor([0, 0, 2, 0, 1]))
    assert [0.75, 0.0, 0.25] == given_shares(history)
