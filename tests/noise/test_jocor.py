"""JoCoR: the joint loss of two networks, and the samples that both learn from."""

import pytest
import torch
import torch.nn.functional as F

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


def test_a_weight_out_of_range_is_refused():
    """With the argument, its value and the range."""
    with pytest.raises(ParameterError, match=r"agreement must be in \(0, 1\], got 1.5"):
        JoCoR(agreement=1.5)
