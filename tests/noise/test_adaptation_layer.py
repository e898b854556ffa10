"""A transition matrix learned along with the network: its gradient, its steps, what it finds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from thresher.errors import ParameterError
from thresher.noise import SModel, VolMinNet
from thresher.noise.adaptation_layer import adam_step, soft_confusion
from thresher.noise.forward import forward_cross_entropy
from thresher.noise.s_model import log_confusion
from thresher.noise.volminnet import prevailing_transition
from thresher.training.checkpoint import load_tensors, save_tensors

K = 4
BOTH = pytest.mark.parametrize("kind", [VolMinNet, SModel])


def batch(seed=0, rows=50):
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(rows, K, generator=generator)
    return scores, torch.randint(K, (rows,), generator=generator)


def learning(kind, **options):
    """A criterion whose layer learns from the first step on."""
    criterion = kind(**options).start(200, K, epochs=8)
    if kind is SModel:
        criterion.epoch = criterion.history.epoch = criterion.method.warmup_epochs
    return criterion


# ---------------------------------------------------------------------- one step
@BOTH
@pytest.mark.parametrize("volume", [0.0, 0.3])
def test_the_gradient_is_that_of_the_loss(kind, volume):
    """As automatic differentiation finds it, at weights of no special kind."""
    method = learning(kind).method
    if kind is VolMinNet:
        method.volume_weight = volume
    weights = torch.randn(K, K, generator=torch.Generator().manual_seed(1)).clamp(max=1)
    method._layer[0], method._matrix = weights, method.matrix_of(weights)
    scores, labels = batch()
    found = method.gradient(soft_confusion(scores, labels, method._matrix))

    free = weights.clone().requires_grad_()
    if kind is VolMinNet:
        off = free.sigmoid() * (1 - torch.eye(K)) + torch.eye(K)
        matrix = off / off.sum(1, keepdim=True)
    else:
        matrix, volume = free.softmax(1), 0.0
    loss = forward_cross_entropy(scores[None], labels[None], matrix).mean()
    (loss + volume * torch.linalg.slogdet(matrix).logabsdet).backward()
    torch.testing.assert_close(found, free.grad, rtol=1e-4, atol=1e-6)


def test_a_step_is_one_of_adam():
    """That of torch, twenty times."""
    generator = torch.Generator().manual_seed(0)
    layer = torch.zeros(3, K, K)
    layer[0] = torch.randn(K, K, generator=generator)
    theirs = layer[0].clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=0.01)
    for steps in range(1, 21):
        theirs.grad = torch.randn(K, K, generator=generator)
        adam_step(layer, theirs.grad, steps, 0.01)
        optimizer.step()
    torch.testing.assert_close(layer[0], theirs.detach())


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_confusion_adds_up_to_one_and_its_columns_to_the_labels(seed):
    """Every sample is of some class, and stands in the column of its label."""
    scores, labels = batch(seed)
    found = soft_confusion(scores, labels, prevailing_transition(torch.randn(K, K)))
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)
    shares = torch.bincount(labels, minlength=K) / len(labels)
    torch.testing.assert_close(found.sum(0), shares, atol=1e-5, rtol=0)


def test_a_label_that_the_matrix_thinks_impossible_is_taken_as_it_is_predicted():
    """Zeros count as the smallest number there is."""
    scores = torch.tensor([[0.0, 0.0, -50.0, -50.0]])
    matrix = torch.zeros(K, K)
    matrix[:, 0] = 1
    found = soft_confusion(scores, torch.tensor([3]), matrix)
    torch.testing.assert_close(found[:, 3], torch.tensor([0.5, 0.5, 0.0, 0.0]))


@BOTH
def test_rows_held_out_move_nothing(kind):
    """A batch of them leaves the layer as it was; others beside them do not notice."""
    held_out = torch.arange(200) < 25
    method = kind()
    criterion = method.start(200, K, epochs=8, held_out=held_out)
    alone = kind().start(200, K, epochs=8)
    for each in (criterion, alone):
        each.epoch = each.history.epoch = 4
    before = criterion.method.layer.clone()
    scores, labels = batch()
    criterion(torch.arange(25), scores[:25].requires_grad_(), labels[:25])
    assert torch.equal(criterion.method.layer, before)
    criterion(torch.arange(50), scores.requires_grad_(), labels)
    alone(torch.arange(25, 50), scores[25:].requires_grad_(), labels[25:])
    assert torch.equal(criterion.method.layer, alone.method.layer)
    assert not torch.equal(criterion.method.layer, before)


@BOTH
def test_the_layer_outlives_a_checkpoint(kind, tmp_path):
    """Of many classes too: tensors have no limit of length. It learns on the same, to the bit."""
    scores, labels = batch()
    first, second = learning(kind), learning(kind)
    first(torch.arange(50), scores.requires_grad_(), labels)
    save_tensors(tmp_path / "state", first.state_dict())
    assert len(safe_open(tmp_path / "state", "pt").metadata()["thresher"]) < 10_000
    second.load_state_dict(load_tensors(tmp_path / "state"))
    for each in (first, second):
        each(torch.arange(50, 100), scores.requires_grad_(), labels)
    assert torch.equal(first.method.layer, second.method.layer)
    assert first.method.steps == second.method.steps == 2
    assert first.method.transition == second.method.transition


@BOTH
def test_a_step_that_is_not_finite_teaches_nothing(kind):
    """A loop in half precision leaves it out; the layer must be whole after it."""
    criterion = kind().start(200, K, epochs=4)
    scores, labels = batch()
    for epoch in range(3):
        broken = scores.clone()
        broken[0, 1] = torch.inf
        criterion(torch.arange(50), broken.requires_grad_(), labels)
        criterion(torch.arange(50, 100), scores.clone().requires_grad_(), labels)
        criterion.end_epoch()
        assert criterion.method.layer.isfinite().all(), epoch
    assert criterion.method.steps >= 4


# ---------------------------------------------------------------------- VolMinNet
@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_it_begins_with_symmetric_noise(classes):
    """About half of the labels right, as published for 10 and 100 classes, and right ones ahead."""
    found = np.array(VolMinNet().start(50, classes).method.transition)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    assert len(np.unique(found.round(6))) == 2
    assert found[0, 0] == pytest.approx(max(0.48, 1 / (1 + 0.5 * (classes - 1))), abs=1e-6)
    published = {10: 2.0, 100: 4.5}
    if classes in published:
        weights = torch.full((classes, classes), -published[classes])
        assert found[0, 0] == pytest.approx(float(prevailing_transition(weights)[0, 0]), abs=0.01)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), large=st.floats(0, 60))
def test_right_labels_prevail_whatever_the_weights(seed, large):
    """In each row the diagonal is the largest; rows add up to 1."""
    weights = large * torch.randn(K, K, generator=torch.Generator().manual_seed(seed))
    matrix = prevailing_transition(weights)
    assert (matrix.diagonal()[:, None] >= matrix).all()
    torch.testing.assert_close(matrix.sum(1), torch.ones(K))


def test_the_volume_shrinks_where_nothing_speaks_against_it():
    """Predictions that say nothing: of two matrices, the loss takes the smaller volume."""
    criterion = learning(VolMinNet, volume_weight=0.5)
    before = float(torch.det(torch.tensor(criterion.method.transition)))
    labels = torch.arange(200) % K
    for _ in range(50):
        criterion(torch.arange(200), torch.zeros(200, K, requires_grad=True), labels)
        criterion.end_epoch()
    after = float(torch.det(torch.tensor(criterion.method.transition)))
    assert 0 < after < before


def test_classes_that_cannot_be_told_apart_do_not_stop_the_training():
    """Labels of two classes at random: the matrix stays one with an inverse, and finite."""
    criterion = VolMinNet(volume_weight=1.0, learning_rate=1.0).start(200, K, epochs=60)
    labels = torch.randint(2, (200,), generator=torch.Generator().manual_seed(0))
    for _ in range(60):
        loss = criterion(torch.arange(200), torch.zeros(200, K, requires_grad=True), labels)
        assert torch.isfinite(loss)
        criterion.end_epoch()
    found = np.array(criterion.method.transition)
    assert np.isfinite(found).all()
    assert np.linalg.cond(found) < 1e3


# ---------------------------------------------------------------------- S-model
def test_the_layer_begins_with_how_the_warm_up_is_labelled():
    """By hand: two classes, predicted alike in the last epoch of two."""
    criterion = SModel(warmup=2).start(8, 2, epochs=6)
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
    sure = torch.tensor([[9.0, -9.0]] * 4 + [[-9.0, 9.0]] * 4)
    for outputs in (torch.randn(8, 2), sure):
        assert criterion.method.known_transition() is None  # before it ends
        criterion(torch.arange(8), outputs.requires_grad_(), labels)
        criterion.end_epoch()
    np.testing.assert_allclose(criterion.method.transition, [[3 / 4, 1 / 4], [0, 1]], atol=1e-4)


def test_in_the_warm_up_the_loss_is_the_cross_entropy():
    """And that of the given label after it."""
    criterion = SModel(warmup=1).start(50, K, epochs=4)
    scores, labels = batch()
    plain = torch.nn.functional.cross_entropy(scores, labels)
    assert criterion(torch.arange(50), scores.requires_grad_(), labels).item() == plain.item()
    criterion.end_epoch()
    matrix = torch.tensor(criterion.method.transition)
    expected = forward_cross_entropy(scores[None], labels[None], matrix).mean()
    torch.testing.assert_close(criterion(torch.arange(50), scores, labels), expected)


def test_a_class_that_is_never_predicted_stays_itself():
    """Its row has no sums."""
    found = log_confusion(torch.tensor([[3.0, 1.0], [0.0, 0.0]])).exp()
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.25], [1e-6, 1.0]]))


# ---------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VolMinNet(volume_weight=-1), "volume_weight must be 0 or more"),
        (lambda: VolMinNet(learning_rate=0), "learning_rate must be positive"),
        (lambda: VolMinNet(right=1), r"right must be in \(0, 1\), got 1"),
        (lambda: SModel(warmup=0), "warmup must be positive"),
        (lambda: SModel(warmup=4).start(9, 3, epochs=4), "takes 4 epochs of 4, and none is left"),
    ],
)
def test_a_value_out_of_range_is_refused(make, message):
    """When the method is made."""
    with pytest.raises(ParameterError, match=message):
        make()
