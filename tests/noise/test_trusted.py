"""Trusted samples: whatever a method makes of the others, their label counts in full."""

import pytest
import torch

from thresher.errors import ParameterError
from thresher.noise import (
    METHODS,
    Backward,
    Decision,
    Forward,
    SModel,
    Standard,
    VolMinNet,
    make_method,
)
from thresher.noise.auto import Auto
from thresher.noise.held_out import draw_held_out
from thresher.noise.method import Plan, Step
from thresher.noise.weighing import trusting

N, K = 24, 3
MATRIX = [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.0, 0.1, 0.9]]
#: They start from inputs, not from outputs.
OWN_PASSES = {
    "dividemix", "mixup", "selective-backprop", "rho-loss", "taufe", "oat", "odnl",
}  # fmt: skip


def batches(method, trusted, epochs=6):
    """Criteria after each batch of a training, with the batch and its parts."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(K, (N,), generator=generator)
    criterion = method.start(N, K, epochs=epochs, labels=labels, trusted=trusted)
    for _ in range(epochs):
        for index in torch.randperm(N, generator=generator).split(8):
            shape = (method.networks, len(index), K)
            logits = (4 * torch.randn(shape, generator=generator)).requires_grad_()
            shown = logits[0] if method.networks == 1 else logits
            yield (
                criterion,
                index,
                labels[index],
                logits,
                criterion.parts(index, shown, labels[index]),
            )
        criterion.applied(criterion.end_epoch())


@pytest.mark.parametrize("name", sorted(set(METHODS) - OWN_PASSES))
def test_where_all_are_trusted_a_method_is_its_plain_loss(name):
    """No sample is dropped, weighed down, relabelled or held back."""
    for criterion, _, labels, logits, parts in batches(
        make_method(name), torch.ones(N, dtype=torch.bool)
    ):
        loss = Standard if criterion.method.corrects_labels else type(criterion.method)
        losses = loss.sample_loss(criterion.method, logits, labels.expand(len(logits), -1))
        assert torch.allclose(parts.sums, losses.sum(1))
        assert torch.equal(parts.totals, torch.full_like(parts.totals, len(labels)))


@pytest.mark.parametrize("name", sorted(set(METHODS) - OWN_PASSES))
def test_where_none_is_trusted_nothing_changes(name):
    """The same numbers as without the argument."""
    for with_none, without in zip(
        batches(make_method(name), torch.zeros(N, dtype=torch.bool)),
        batches(make_method(name), None),
        strict=True,
    ):
        assert torch.equal(with_none[-1].sums, without[-1].sums)
        assert "trusted" not in with_none[0].history


@pytest.mark.parametrize(
    "method",
    [Forward(MATRIX), Backward(MATRIX), VolMinNet(), SModel(warmup=1)],
    ids=["forward", "backward", "volminnet", "s-model"],
)
def test_a_loss_for_labels_that_may_be_wrong_is_not_that_of_trusted_ones(method):
    """Those count with the cross-entropy, the others as they would without them."""
    trusted = torch.arange(N) % 3 == 0
    for criterion, index, labels, logits, parts in batches(method, trusted):
        sure = trusted[index]
        plain = Standard().sample_loss(logits[:, sure], labels[sure][None])
        rest = criterion.method.sample_loss(logits[:, ~sure], labels[~sure][None])
        if not isinstance(method, VolMinNet | SModel):  # their matrix has moved on since
            assert torch.allclose(parts.sums, plain.sum(1) + rest.sum(1))
        (gradient,) = torch.autograd.grad(parts.sums.sum(), logits)
        one_hot = torch.nn.functional.one_hot(labels[sure], K)
        assert torch.allclose(gradient[0, sure], logits[0, sure].softmax(1) - one_hot, atol=1e-6)


def test_trusted_labels_say_nothing_of_how_the_others_are_confused():
    """The layer learns from the others alone."""
    trusted = torch.arange(N) < 8
    criteria = [
        VolMinNet().start(N, K, epochs=4, trusted=trusted),
        VolMinNet().start(N, K, epochs=4),
    ]
    logits, labels = torch.randn(N, K, requires_grad=True), torch.arange(N) % K
    criteria[0](torch.arange(N), logits, labels)
    criteria[1](torch.arange(8, N), logits[8:], labels[8:])
    assert torch.equal(criteria[0].method.layer, criteria[1].method.layer)


def test_only_trusted_samples_are_spared():
    """Weights, targets of either form and penalties."""
    trusted = torch.tensor([True, False, True])
    step = Step(
        index=torch.arange(3),
        labels=torch.tensor([2, 1, 0]),
        losses=torch.zeros(1, 3),
        scores=torch.zeros(1, 3, K),
        eligible=None,
        here=slice(0, 3),
        logits=torch.zeros(1, 3, K),
        rest=None,
        features=None,
        epoch=0,
    )
    shares = torch.full((1, 3, K), 1 / 3)
    decided = trusting(
        step, Decision(torch.zeros(2, 3), shares, torch.tensor([-1.0, -2.0, -3.0])), trusted
    )
    assert [[1, 0, 1], [1, 0, 1]] == decided.weights.tolist()
    assert [0, -2, 0] == decided.penalty.tolist()
    assert torch.equal(decided.targets[0, 0], torch.tensor([0.0, 0, 1]))
    assert torch.equal(decided.targets[0, 1], shares[0, 1])
    classes = trusting(step, Decision(targets=torch.tensor([0, 0, 1])), trusted)
    assert [2, 0, 0] == classes.targets.tolist()


def test_trusted_rows_are_not_held_out_nor_their_groups():
    """They are to teach."""
    labels = torch.arange(400) % 4
    trusted = torch.arange(400) < 100
    plan = Plan(400, 4, 10, 0)
    held_out = draw_held_out(plan, labels, spared=trusted)
    assert held_out.sum() == 30  # a tenth of the others
    assert not (held_out & trusted).any()
    groups = torch.arange(400).numpy() // 8
    held_out = draw_held_out(plan, labels, groups=groups, spared=trusted)
    assert held_out.any()
    assert not held_out[:104].any()  # rows 100 to 103 are of a group with a trusted one


def test_auto_looks_for_memorisation_among_the_others():
    """Corrected labels are learned well, and that is no sign of anything."""
    trusted = torch.arange(1000) < 300
    labels = torch.arange(1000) % 2
    criterion = Auto().start(1000, 2, epochs=20, labels=labels, trusted=trusted)
    right = torch.where(trusted, labels, 1 - labels)  # predicts trusted rows as given, no other
    for _ in range(4):
        for index in torch.arange(1000).split(100):
            logits = 9.0 * torch.nn.functional.one_hot(right[index], 2)
            criterion.parts(index, logits, labels[index])
        criterion.applied(criterion.end_epoch())
    assert -1 == criterion.method.fired_at


def test_marks_of_another_shape_are_refused():
    """As for held-out rows."""
    with pytest.raises(ParameterError, match=r"trusted must be \(24,\) bool"):
        make_method("standard").start(N, K, trusted=torch.ones(3, dtype=torch.bool))
