"""Forward and backward correction: closed forms, the estimate, and what outlives a step."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from thresher.data.corruption import pair_transition, symmetric_transition
from thresher.errors import ParameterError
from thresher.noise import Backward, Forward, Standard
from thresher.noise.backward import backward_cross_entropy
from thresher.noise.forward import forward_cross_entropy
from thresher.training.checkpoint import load_tensors, save_tensors
from thresher.training.snapshots import Snapshots
from toy import ToyNet, accuracy, make_toy

K = 4
LOGITS = torch.randn(1, 6, K, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([[0, 1, 2, 3, 0, 2]])
P = LOGITS.softmax(-1)
TRANSITION = torch.tensor(
    [[0.7, 0.1, 0.2, 0.0], [0.1, 0.8, 0.0, 0.1], [0.0, 0.4, 0.6, 0.0], [0.05, 0.05, 0.1, 0.8]],
    dtype=torch.float64,
)
BOTH = pytest.mark.parametrize("kind", [Forward, Backward])


def losses_of_every_label(method):
    """Sample by sample the loss against each label, (6, k)."""
    labels = torch.arange(K)[:, None].expand(K, 6)
    return method.sample_loss(LOGITS.expand(K, 6, K), labels).T


@BOTH
def test_labels_that_are_never_wrong_leave_the_cross_entropy(kind):
    """T = I; the gradient as well."""
    found, expected = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    loss, plain = (
        kind(np.eye(K)).sample_loss(found, LABELS),
        Standard().sample_loss(expected, LABELS),
    )
    torch.testing.assert_close(loss, plain)
    loss.sum().backward()
    plain.sum().backward()
    torch.testing.assert_close(found.grad, expected.grad)


@BOTH
def test_the_gradient_equals_finite_differences(kind):
    """torch's own check, in double precision."""
    method = kind(TRANSITION.numpy())
    z = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda each: method.sample_loss(each, LABELS), z)


@BOTH
def test_a_one_hot_target_equals_the_label(kind):
    """Class indices and shares are two ways to write one target; shares mix the losses."""
    method = kind(TRANSITION.numpy())
    one_hot = nn.functional.one_hot(LABELS, K).double()
    torch.testing.assert_close(
        method.sample_loss(LOGITS, LABELS), method.sample_loss(LOGITS, one_hot)
    )
    shares = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    torch.testing.assert_close(
        method.sample_loss(LOGITS, shares.expand(1, 6, K))[0],
        losses_of_every_label(method) @ shares,
    )


def test_the_forward_loss_is_that_of_the_predicted_given_label():
    """-ln (Tᵀ p)_y, by hand."""
    given_label = P[0] @ TRANSITION
    expected = -given_label.gather(1, LABELS[0, :, None]).log().squeeze(1)
    torch.testing.assert_close(forward_cross_entropy(LOGITS, LABELS, TRANSITION)[0], expected)


def test_forward_probabilities_of_all_labels_add_up_to_one():
    """Σ_y exp(-loss_y) = 1, since the rows of T do."""
    total = (-losses_of_every_label(Forward(TRANSITION.numpy()))).exp().sum(1)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_the_backward_loss_is_on_average_the_cross_entropy_of_the_true_class():
    """Σ_y T[a, y] loss_y = -ln p_a, for every class a and prediction."""
    losses = losses_of_every_label(Backward(TRANSITION.numpy()))  # (6, k)
    torch.testing.assert_close(losses @ TRANSITION.T, -P[0].log(), rtol=1e-9, atol=1e-9)


def test_as_published_the_backward_loss_is_unbounded_below_and_the_forward_loss_is_not():
    """T⁻¹ has 2 on its diagonal and -1/2 elsewhere: s too sure of the label is worth -s."""
    transition = symmetric_transition(3, 0.4)
    sure = torch.tensor([[[0.0, s, 0.0]] for s in (10.0, 100.0, 1000.0)])  # (3, 1, k)
    labels = torch.full((3, 1), 1)
    backward = Backward(transition).sample_loss(sure, labels).flatten()
    torch.testing.assert_close(backward, torch.tensor([-10.0, -100.0, -1000.0]), rtol=1e-3, atol=0)
    assert (Forward(transition).sample_loss(sure, labels) >= 0).all()


def test_with_a_least_probability_the_backward_loss_has_a_floor_and_no_pull_below_it():
    """Two classes with the weight -1/2, each at a probability of 1e-4: -ln 1e4."""
    transition = symmetric_transition(3, 0.4)
    sure = torch.tensor([[[0.0, s, 0.0]] for s in (9.0, 100.0)], requires_grad=True)
    labels = torch.full((2, 1), 1)
    mild, certain = Backward(transition, least=1e-4).sample_loss(sure, labels)
    assert mild.item() == pytest.approx(-9, abs=0.01)
    assert certain.item() == pytest.approx(-math.log(1e4))
    certain.backward()
    assert sure.grad[1].abs().max() < 1e-20
    assert Backward().least == 1e-4  # where the matrix is estimated


def test_a_label_that_the_matrix_thinks_impossible_has_a_large_loss_and_a_finite_one():
    """A column of zeros; also where nothing else is predicted."""
    transition = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    z = torch.tensor([[[5.0, 0.0], [0.0, 200.0]]], requires_grad=True)
    loss = forward_cross_entropy(z, torch.tensor([[1, 1]]), transition)
    loss.sum().backward()
    assert (loss > 80).all()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(z.grad).all()


def test_small_probabilities_are_kept_in_logarithms():
    """p_y = e^-200 is 0 in float32; its logarithm is not."""
    z = torch.tensor([[[0.0, 200.0]]])
    transition = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    loss = forward_cross_entropy(z, torch.tensor([[0]]), transition)
    assert loss.item() == pytest.approx(math.log(2))
    inverse = torch.linalg.inv(transition)  # [[1, 0], [-1, 2]]
    assert backward_cross_entropy(z, torch.tensor([[0]]), inverse).item() == pytest.approx(200)


# ---------------------------------------------------------------------- the estimate
def predict(criterion, transition, true, given, apply=True):
    """An epoch in which every sample is predicted as its row of the matrix says."""
    outputs = torch.from_numpy(transition).clamp(min=1e-9).log()[true].float().requires_grad_()
    criterion.parts(torch.arange(len(true)), outputs, given)
    change = criterion.end_epoch()
    if apply:
        criterion.applied(change)
    return change


def started(method, transition, epochs=8, **options):
    """Balanced classes; given labels as the matrix has it."""
    true = torch.arange(200) % K
    given = torch.multinomial(
        torch.from_numpy(transition)[true], 1, generator=torch.Generator().manual_seed(0)
    ).squeeze(1)
    return method.start(200, K, epochs=epochs, **options), true, given


@BOTH
@pytest.mark.parametrize("audit", [True, False])
def test_the_matrix_is_estimated_from_the_predictions_when_the_warm_up_ends(kind, audit):
    """After two of eight epochs, a quarter; a fresh network follows."""
    transition = pair_transition(K, 0.3)
    criterion, true, given = started(kind(), transition, audit=audit)
    assert predict(criterion, transition, true, given) is None
    assert criterion.method.transition is None
    assert predict(criterion, transition, true, given).reset == ("",)
    np.testing.assert_allclose(criterion.method.transition, transition, atol=1e-6)
    assert predict(criterion, transition, true, given) is None


def test_the_mean_over_the_warm_up_is_what_counts():
    """Half of the visits predict one matrix, half another."""
    first, second = pair_transition(K, 0.2), pair_transition(K, 0.4)
    criterion, true, given = started(Forward(), first)
    predict(criterion, first, true, given)
    predict(criterion, second, true, given)
    np.testing.assert_allclose(criterion.method.transition, pair_transition(K, 0.3), atol=1e-6)


def test_nothing_is_begun_anew_when_asked_not_to():
    """And the loss is corrected all the same."""
    transition = pair_transition(K, 0.3)
    criterion, true, given = started(Forward(warmup=1, anew=False), transition)
    assert predict(criterion, transition, true, given, apply=False) is None
    assert criterion.method.rounds() == 1
    found = criterion.method.sample_loss(LOGITS, LABELS)
    expected = forward_cross_entropy(LOGITS, LABELS, torch.from_numpy(transition))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_evaluation_adds_nothing_to_the_predictions():
    """Under no_grad."""
    criterion, _, given = started(Forward(), np.eye(K))
    with torch.no_grad():
        criterion.parts(torch.arange(200), torch.randn(200, K), given)
    assert not criterion.history["predicted"].any()


def test_a_class_that_no_sample_is_given_stays_itself():
    """Its most probable sample is one of another class."""
    criterion, true, _ = started(Forward(warmup=1), np.eye(K))
    outputs = torch.randn(200, K, requires_grad=True)
    criterion.parts(torch.arange(200), outputs, true.clamp(max=2))
    criterion.end_epoch()
    assert [0, 0, 0, 1] == criterion.method.transition[3]


def test_classes_that_cannot_be_told_apart_do_not_stop_the_backward_correction():
    """Equal rows have no inverse; as little of the identity as it takes gives them one."""
    criterion, _, given = started(Backward(warmup=1), np.eye(K))
    criterion.parts(torch.arange(200), torch.zeros(200, K, requires_grad=True), given)
    criterion.end_epoch()
    found = np.array(criterion.method.transition)
    np.testing.assert_allclose(found, 1 / K, atol=0.001)
    assert torch.isfinite(criterion.method.sample_loss(LOGITS, LABELS)).all()


@BOTH
def test_the_matrix_outlives_a_checkpoint(kind, tmp_path):
    """To the last bit; the loss of the next step is the same."""
    transition = random_like(pair_transition(K, 0.3))
    criterion, true, given = started(kind(warmup=1, anew=False), transition)
    predict(criterion, transition, true, given)
    save_tensors(tmp_path / "state", criterion.state_dict())
    resumed, _, _ = started(kind(warmup=1, anew=False), transition)
    resumed.load_state_dict(load_tensors(tmp_path / "state"))
    assert torch.equal(
        resumed.method.sample_loss(LOGITS.float(), LABELS),
        criterion.method.sample_loss(LOGITS.float(), LABELS),
    )


def random_like(transition):
    """Rows with digits that no short decimal has."""
    noisy = transition + np.random.default_rng(0).random(transition.shape) / 7
    return noisy / noisy.sum(axis=1, keepdims=True)


def test_training_goes_on_with_a_fresh_network():
    """What the warm-up taught is gone after it."""
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    y = torch.arange(60) % 3
    model = nn.Linear(5, 3)
    criterion = Forward(warmup=1).start(60, 3, epochs=4)
    snapshots = Snapshots(model, torch.optim.SGD(model.parameters(), lr=0.1), criterion)
    criterion(torch.arange(60), model(x), y).backward()
    before = model.weight.detach().clone()
    snapshots.apply(criterion.end_epoch())
    assert not torch.equal(before, model.weight)
    assert criterion.method.transition is not None


@BOTH
def test_trusted_rows_are_taken_out_of_the_estimate(kind):
    """Half of each class is seen to; of the others two of five are wrong, of all one of five."""
    true = torch.arange(200) % K
    place = torch.arange(200) // K  # within the class, 0 … 49
    given = torch.where((place >= 25) & (place < 35), (true + 1) % K, true)
    criterion = kind(warmup=1).start(200, K, epochs=8, trusted=place < 25)
    predict(criterion, pair_transition(K, 0.2), true, given)
    np.testing.assert_allclose(criterion.method.transition, pair_transition(K, 0.4), atol=1e-6)


# ---------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Forward(np.ones((2, 2))), "Row 0 of transition adds up to 2, not to 1"),
        (lambda: Forward(np.eye(3)).start(5, 4), r"transition must be \(4, 4\), got \(3, 3\)"),
        (lambda: Backward(pair_transition(4, 0.5)), "transition has no usable inverse"),
        (lambda: Forward(warmup=0), "warmup must be positive"),
        (lambda: Backward(least=1), r"least must be in \[0, 1\), got 1"),
        (lambda: Backward(np.eye(3), warmup=3), r"warmup \(3\) has nothing to estimate"),
    ],
)
def test_what_cannot_be_corrected_with_is_refused(make, message):
    """Before any work."""
    with pytest.raises(ParameterError, match=message):
        make()


def test_a_given_matrix_costs_no_memory():
    """And no warm-up: the first step is corrected, and nothing begins anew."""
    criterion = Forward(TRANSITION.numpy()).start(6, K, audit=False)
    assert set(criterion.history.state_dict()) == {"given", "eligible"}
    assert criterion.method.rounds() == 1
    loss = criterion(torch.arange(6), LOGITS[0].float().requires_grad_(), LABELS[0])
    expected = forward_cross_entropy(LOGITS, LABELS, TRANSITION).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert criterion.end_epoch() is None


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["symmetric", "pair"])
def test_a_floor_under_every_probability_costs_what_the_page_says(noise):
    """The toy told T: with -ln max(p, 1e-7) in place of the exact logarithm it memorises more."""
    matrix = {"symmetric": symmetric_transition, "pair": pair_transition}[noise]
    inverse = torch.from_numpy(np.linalg.inv(matrix(10, 0.4))).float()
    last = {}
    for floor in (0.0, 1e-7):
        data, net = make_toy(noise, 0.4, 0), ToyNet(0)
        inputs, labels = torch.from_numpy(data.x_train), torch.from_numpy(data.given)
        generator = torch.Generator().manual_seed(0)
        optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [30, 45], gamma=0.2)
        for _ in range(60):
            for index in torch.randperm(len(labels), generator=generator).split(128):
                logits = net(inputs[index])
                logs = logits.log_softmax(1)
                if floor:
                    logs = logits.softmax(1).clamp(min=floor).log()
                optimizer.zero_grad()
                (inverse[labels[index]] * -logs).sum(1).mean().backward()
                optimizer.step()
            schedule.step()
        test = torch.from_numpy(data.x_test), torch.from_numpy(data.y_test)
        last[floor] = accuracy(net, *test)
    # measured: 89.9 and 77.0 under symmetric noise, 83.1 and 73.0 under pair noise
    assert last[0.0] > last[1e-7] + 0.05


@BOTH
def test_a_run_of_one_epoch_is_standard_training(kind):
    """The warm-up is all of it: a network that began anew would never learn."""
    transition = pair_transition(K, 0.3)
    criterion, true, given = started(kind(), transition, epochs=1)
    assert criterion.method.rounds() == 1
    assert predict(criterion, transition, true, given) is None


@BOTH
@pytest.mark.parametrize(("warmup", "anew"), [(8, True), (9, True), (9, False)])
def test_a_warm_up_that_leaves_nothing_to_correct_is_refused(kind, warmup, anew):
    """Of eight epochs; without beginning anew it may take them all."""
    with pytest.raises(ParameterError, match=f"takes {warmup} epochs of 8"):
        kind(warmup=warmup, anew=anew).start(200, K, epochs=8)
    kind(warmup=8, anew=False).start(200, K, epochs=8)
