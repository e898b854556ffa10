"""JoCoR: the joint loss of two networks, and the samples that both learn from."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from thresher.errors import ParameterError
from thresher.noise import JoCoR, Standard
from thresher.noise.jocor import divergence_from_peer

LOGITS = torch.randn(2, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
BOTH = LABELS.expand(2, 6)


def test_the_parts_of_both_networks_add_up_to_the_joint_loss():
    """(1 - λ)(CE₁ + CE₂) + λ (KL(p₁‖p₂) + KL(p₂‖p₁)), by torch's own functions."""
    first, second = LOGITS
    cross_entropy = sum(F.cross_entropy(each, LABELS, reduction="none") for each in LOGITS)
    logs = first.log_softmax(1), second.log_softmax(1)
    apart = F.kl_div(logs[1], logs[0], reduction="none", log_target=True).sum(1)
    apart = apart + F.kl_div(logs[0], logs[1], reduction="none", log_target=True).sum(1)
    found = JoCoR(0.4, agreement=0.7).sample_loss(LOGITS, BOTH).sum(0)
    torch.testing.assert_close(found, 0.3 * cross_entropy + 0.7 * apart)


def test_its_gradient_equals_finite_differences():
    """Through both predictions."""
    assert torch.autograd.gradcheck(
        lambda z: JoCoR(0.4).sample_loss(z, BOTH), LOGITS.clone().requires_grad_()
    )


def test_networks_that_agree_are_not_apart():
    """KL(p‖p) = 0, whatever p."""
    twice = LOGITS[:1].expand(2, -1, -1)
    assert not divergence_from_peer(twice).any()
    assert (divergence_from_peer(LOGITS) > 0).all()


def test_a_class_that_both_think_impossible_sets_nothing_apart():
    """Logits of -inf, such as of a masked class: finite loss and gradient, as without the class."""
    masked = LOGITS.clone()
    masked[:, :, 2] = -torch.inf
    masked.requires_grad_()
    apart = divergence_from_peer(masked)
    torch.testing.assert_close(apart, divergence_from_peer(LOGITS[:, :, :2]))
    apart.sum().backward()
    assert masked.grad.isfinite().all()


def test_without_weight_on_agreement_it_is_two_cross_entropies():
    """λ → 0."""
    torch.testing.assert_close(
        JoCoR(0.4, agreement=1e-9).sample_loss(LOGITS, BOTH), Standard().sample_loss(LOGITS, BOTH)
    )


def test_both_networks_learn_from_the_samples_with_the_smallest_joint_loss():
    """ceil(6 · 0.5) = 3 of them, once the share is ramped in; found by sorting."""
    criterion = JoCoR(0.5, ramp=1).start(6, 3)
    z = LOGITS.float().requires_grad_()
    criterion(torch.arange(6), z, LABELS).backward()
    joint = criterion.method.sample_loss(z.detach(), BOTH).sum(0)
    learned = z.grad.abs().sum(2) > 0
    expected = torch.zeros(6, dtype=torch.bool)
    expected[joint.argsort()[:3]] = True
    assert learned.tolist() == [expected.tolist()] * 2


def predict(criterion, logits, labels):
    """An epoch in which both networks answer with these logits; what is dropped in it."""
    outputs = logits.expand(2, -1, -1).clone().requires_grad_()
    parts = criterion.parts(torch.arange(len(labels)), outputs, labels)
    criterion.end_epoch()
    return len(labels) - int(parts.totals[0])


def test_the_estimated_rate_counts_confident_contradictions_alone():
    """Of 100 labels a fifth is contradicted as surely as others are confirmed, a tenth hardly."""
    labels = torch.arange(100) % 2
    believed = torch.where(torch.arange(100) < 20, 1 - labels, labels)
    logits = 4.0 * nn.functional.one_hot(believed, 2)
    logits[20:30] = 0.1 * nn.functional.one_hot(1 - labels[20:30], 2)
    criterion = JoCoR(ramp=2).start(100, 2, epochs=40)
    dropped = [predict(criterion, logits, labels) for _ in range(8)]
    # of the 90 that are believed to be anything 20 are contradicted; the ramp begins when five
    # equal predictions have settled them
    assert criterion.method.rate == pytest.approx(2 / 9)
    assert dropped == [0, 0, 0, 0, 0, 11, 22, 22]


def test_no_rate_is_estimated_before_half_of_the_samples_have_settled():
    """The others are predicted now this way and now that."""
    labels = torch.zeros(100, dtype=torch.int64)
    criterion = JoCoR().start(100, 2, epochs=40)
    for epoch in range(10):
        classes = torch.where(torch.arange(100) < 51, epoch % 2, 1)
        predict(criterion, 4.0 * nn.functional.one_hot(classes, 2), labels)
        assert criterion.method.rate == 0


def test_the_estimate_may_fall_again():
    """A label that the networks come round to is no longer counted as wrong."""
    labels = torch.arange(100) % 2
    wrong = torch.where(torch.arange(100) < 30, 1 - labels, labels)
    criterion = JoCoR().start(100, 2, epochs=40)
    rates = []
    for believed in [wrong] * 5 + [labels] * 8:
        predict(criterion, 4.0 * nn.functional.one_hot(believed, 2), labels)
        rates.append(criterion.method.rate)
    assert rates[4] == pytest.approx(0.3)
    assert rates[-1] == 0


def test_a_weight_out_of_range_is_refused():
    """With the argument, its value and the range."""
    with pytest.raises(ParameterError, match=r"agreement must be in \(0, 1\], got 1.5"):
        JoCoR(agreement=1.5)
