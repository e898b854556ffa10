"""Decoupling and Co-teaching+: what two networks disagree about."""

import math

import pytest
import torch
import torch.nn.functional as F

from thresher.errors import ParameterError
from thresher.noise import CoTeaching, CoTeachingPlus, Decoupling
from thresher.noise.decoupling import disagreement

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(2, 12, 3, generator=GENERATOR)
LABELS = torch.randint(3, (12,), generator=GENERATOR)
DISPUTED = LOGITS[0].argmax(1) != LOGITS[1].argmax(1)
KINDS = pytest.mark.parametrize(
    "make", [lambda: Decoupling(warmup=0), lambda: CoTeachingPlus(0.5, ramp=1, warmup=0)]
)


def gradients(method, logits, labels=LABELS, **options):
    """Of one step from the logits, (2, B, k); and the totals it is divided by."""
    criterion = method.start(len(labels), 3, epochs=40, **options)
    z = logits.clone().requires_grad_()
    parts = criterion.parts(torch.arange(len(labels)), z, labels)
    parts.mean().backward()
    return z.grad, parts.totals


def test_disagreement_is_between_the_most_probable_classes():
    """Row by row, by hand."""
    scores = torch.tensor([[[2.0, 1.0], [0.0, 1.0]], [[3.0, 0.0], [1.0, 0.0]]])
    assert [False, True] == disagreement(scores).tolist()
    assert 0 < int(DISPUTED.sum()) < 12  # what the tests below start from


def test_decoupled_networks_learn_with_their_own_loss_where_they_disagree():
    """The gradient of two cross-entropies over the disputed samples."""
    found, totals = gradients(Decoupling(warmup=0), LOGITS)
    z = LOGITS.clone().requires_grad_()
    sum(F.cross_entropy(each[DISPUTED], LABELS[DISPUTED]) for each in z).backward()
    torch.testing.assert_close(found, z.grad)
    assert [int(DISPUTED.sum())] * 2 == totals.tolist()


def test_co_teaching_plus_exchanges_the_small_losses_of_disputed_samples():
    """ceil(|D| / 2) of each network, for its peer; by sorting."""
    found, totals = gradients(CoTeachingPlus(0.5, ramp=1, warmup=0), LOGITS)
    rows = torch.nonzero(DISPUTED).flatten()
    kept = math.ceil(len(rows) / 2)
    z = LOGITS.clone().requires_grad_()
    loss = 0
    for network in (0, 1):
        peer = F.cross_entropy(LOGITS[1 - network], LABELS, reduction="none")
        chosen = rows[peer[rows].argsort()[:kept]]
        loss = loss + F.cross_entropy(z[network][chosen], LABELS[chosen])
    loss.backward()
    torch.testing.assert_close(found, z.grad)
    assert [kept, kept] == totals.tolist()


@KINDS
def test_networks_that_agree_learn_nothing(make):
    """No gradient, and nothing to divide by: such a step is skipped."""
    found, totals = gradients(make(), LOGITS[:1].expand(2, -1, -1))
    assert not found.any()
    assert [0, 0] == totals.tolist()


@KINDS
def test_held_out_samples_are_not_disputed(make):
    """They neither count nor fill the quota."""
    held_out = DISPUTED & (torch.arange(12) < 8)
    found, totals = gradients(make(), LOGITS, held_out=held_out)
    assert not found[:, held_out].any()
    left = int((DISPUTED & ~held_out).sum())
    share = 1 if isinstance(make(), Decoupling) else 0.5
    assert [math.ceil(share * left)] * 2 == totals.tolist()


def test_a_trusted_sample_counts_whether_it_is_disputed_or_not():
    """A person has seen to its label."""
    trusted = ~DISPUTED
    _, totals = gradients(Decoupling(warmup=0), LOGITS, trusted=trusted)
    assert [12, 12] == totals.tolist()


def test_the_warm_up_is_plain_training_and_plain_co_teaching():
    """The gradients of those, bit for bit."""
    found, totals = gradients(Decoupling(warmup=1), LOGITS)
    z = LOGITS.clone().requires_grad_()
    sum(F.cross_entropy(each, LABELS) for each in z).backward()
    torch.testing.assert_close(found, z.grad)
    assert [12, 12] == totals.tolist()
    plus, plain = CoTeachingPlus(0.5, ramp=1, warmup=1), CoTeaching(0.5, ramp=1)
    assert torch.equal(gradients(plus, LOGITS)[0], gradients(plain, LOGITS)[0])


@pytest.mark.parametrize(("epochs", "expected"), [(8, 2), (60, 15), (200, 20), (None, 20)])
def test_the_warm_up_of_co_teaching_plus_shrinks_with_the_run(epochs, expected):
    """A quarter of it at most; what is written stays."""
    assert CoTeachingPlus(0.2).start(9, 3, epochs=epochs).method.warmup_epochs == expected
    assert CoTeachingPlus(0.2, warmup=9).start(9, 3, epochs=epochs).method.warmup_epochs == 9


@pytest.mark.parametrize("kind", [Decoupling, CoTeachingPlus])
def test_a_negative_warm_up_is_refused(kind):
    """None is 0."""
    with pytest.raises(ParameterError, match="warmup must be 0 or more, got -1"):
        kind(warmup=-1)
