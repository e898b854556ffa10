"""Closed forms of the losses, and their gradients by finite differences."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thresher.errors import ParameterError
from thresher.history import SampleHistory
from thresher.noise import ELR, GCE, MAE, SCE, ActivePassive, Bootstrap, LabelSmoothing, Standard
from thresher.noise.active_passive import normalised_cross_entropy
from thresher.noise.bootstrap import own_class_loss, own_entropy
from thresher.noise.elr import early_learning_penalty
from thresher.noise.gce import generalised_cross_entropy
from thresher.noise.label_smoothing import smoothed_cross_entropy
from thresher.noise.mae import mean_absolute_error
from thresher.noise.sce import reverse_cross_entropy
from thresher.noise.small_loss import small_loss, small_loss_per_class

LOGITS = torch.tensor([[[1.0, -0.5, 0.2], [0.3, 2.0, -1.0]]], dtype=torch.float64)  # (1, 2, 3)
LABELS = torch.tensor([[0, 2]])
P = LOGITS.softmax(-1)
P_GIVEN = P.gather(-1, LABELS[..., None]).squeeze(-1)
ONE_HOT = torch.nn.functional.one_hot(LABELS, 3).double()
SOFT = Bootstrap(prediction="soft")
LOSSES = pytest.mark.parametrize(
    "method",
    [
        Standard(),
        MAE(),
        GCE(),
        SCE(),
        ActivePassive(),
        ActivePassive(passive="mae"),
        LabelSmoothing(),
        Bootstrap(),
        SOFT,
    ],
    ids=[
        "standard",
        "mae",
        "gce",
        "sce",
        "active-passive-rce",
        "active-passive-mae",
        "label-smoothing",
        "bootstrap-hard",
        "bootstrap-soft",
    ],
)


@LOSSES
def test_gradient_equals_finite_differences(method):
    """torch's own check, in double precision."""
    assert torch.autograd.gradcheck(
        lambda z: method.sample_loss(z, LABELS), LOGITS.clone().requires_grad_()
    )


@LOSSES
def test_a_one_hot_target_equals_the_label(method):
    """Class indices and shares are two ways to write one target."""
    torch.testing.assert_close(
        method.sample_loss(LOGITS, LABELS), method.sample_loss(LOGITS, ONE_HOT)
    )


def over_all_labels(loss):
    """The losses against every label, (1, 2, 3)."""
    return torch.stack([loss(torch.full_like(LABELS, label)) for label in range(3)], -1)


def test_mean_absolute_error_by_its_definition():
    """Σ |p_c - onehot_c|."""
    torch.testing.assert_close(mean_absolute_error(LOGITS, LABELS), (P - ONE_HOT).abs().sum(-1))


def test_mean_absolute_error_summed_over_all_labels_is_the_same_for_every_prediction():
    """2 (k - 1), what makes it robust."""
    total = over_all_labels(lambda y: mean_absolute_error(LOGITS, y)).sum(-1)
    torch.testing.assert_close(total, torch.full_like(total, 4.0))


def test_mean_absolute_error_pulls_as_the_cross_entropy_times_twice_the_probability():
    """∂/∂z = 2 p_y (p - e_y)."""
    z = LOGITS.clone().requires_grad_()
    mean_absolute_error(z, LABELS).sum().backward()
    torch.testing.assert_close(z.grad, 2 * P_GIVEN[..., None] * (P - ONE_HOT))


def test_normalised_cross_entropies_of_all_labels_are_shares_of_the_cross_entropies():
    """They add up to 1, in proportion to -ln p_c."""
    losses = over_all_labels(lambda y: normalised_cross_entropy(LOGITS, y))
    torch.testing.assert_close(losses, -P.log() / -P.log().sum(-1, keepdim=True))


@pytest.mark.parametrize(
    ("passive", "total"), [("rce", (2 + 3 * 4.0 * 2) / (3 * 2)), ("mae", (2 + 3 * 2) / 1.5)]
)
def test_active_passive_summed_over_all_labels_is_the_same_for_every_prediction(passive, total):
    """(α - A β (k - 1)) / (-A β / 2), or (α + β (k - 1)) / (β / 2)."""
    method = ActivePassive(passive=passive, alpha=2, beta=3, log_zero=-4.0)
    found = over_all_labels(lambda y: method.sample_loss(LOGITS, y)).sum(-1)
    torch.testing.assert_close(found, torch.full_like(found, total))


def test_active_passive_is_by_default_a_little_active_loss_and_the_mean_absolute_error():
    """(NCE + RCE) / (-A / 2), as RCE = -A / 2 · MAE."""
    normalised = -P_GIVEN.log() / -P.log().sum(-1)
    expected = normalised / math.log(100) + 2 * (1 - P_GIVEN)
    torch.testing.assert_close(ActivePassive().sample_loss(LOGITS, LABELS), expected)


@pytest.mark.parametrize(
    ("passive", "reverse"), [("rce", math.log(1e4) * (1 - P_GIVEN)), ("mae", 1 - P_GIVEN)]
)
def test_active_passive_with_the_weights_for_many_classes_is_the_loss_of_the_paper(
    passive, reverse
):
    """10 NCE + 0.1 RCE pull no harder than a cross-entropy, and are not divided."""
    normalised = -P_GIVEN.log() / -P.log().sum(-1)
    found = ActivePassive(passive=passive, alpha=10, beta=0.1).sample_loss(LOGITS, LABELS)
    torch.testing.assert_close(found, 10 * normalised + 0.1 * reverse)


@pytest.mark.parametrize("passive", ["rce", "mae"])
@given(values=st.lists(st.floats(-20, 20), min_size=2, max_size=12), beta=st.floats(0.01, 100))
@settings(max_examples=100, deadline=None)
def test_active_passive_pulls_less_than_three_cross_entropies(passive, values, beta):
    """The passive loss as two at most, NCE less than one even between two classes."""
    method = ActivePassive(passive=passive, beta=beta)
    z = torch.tensor([[values]], dtype=torch.float64).requires_grad_()
    label = torch.tensor([[0]])
    pulls = [
        torch.autograd.grad(each.sample_loss(z, label).sum(), z)[0].norm()
        for each in (method, Standard())
    ]
    assert pulls[0] <= 3 * pulls[1] + 1e-9


def test_the_loss_of_the_paper_is_learned_by_another_rate_and_decay():
    """SGD on the undivided loss is SGD with the rate times the scale and the decay over it."""
    method = ActivePassive()
    learned = []
    for undivided, factor in ((method.scale, 1.0), (1.0, method.scale)):
        z = LOGITS.clone().requires_grad_()
        optimizer = torch.optim.SGD([z], 0.01 * factor, momentum=0.9, weight_decay=0.1 / factor)
        for _ in range(5):
            optimizer.zero_grad()
            (undivided * method.sample_loss(z, LABELS)).sum().backward()
            optimizer.step()
        learned.append(z.detach())
    torch.testing.assert_close(*learned)


def test_gce_at_one_is_one_minus_p():
    """r = 1 is half the mean absolute error."""
    torch.testing.assert_close(generalised_cross_entropy(LOGITS, LABELS, 1.0), 1 - P_GIVEN)


def test_gce_near_zero_is_cross_entropy():
    """r → 0."""
    torch.testing.assert_close(
        generalised_cross_entropy(LOGITS, LABELS, 1e-6), -P_GIVEN.log(), rtol=1e-5, atol=1e-5
    )


def test_gce_gradient_is_p_to_the_r_times_that_of_cross_entropy():
    """∂/∂z = p_y^r (p - e_y)."""
    z = LOGITS.clone().requires_grad_()
    generalised_cross_entropy(z, LABELS, 0.7).sum().backward()
    torch.testing.assert_close(z.grad, P_GIVEN[..., None] ** 0.7 * (P - ONE_HOT))


def test_reverse_cross_entropy_by_its_definition():
    """-Σ p_c ln onehot_c with ln 0 := A."""
    log_one_hot = torch.where(ONE_HOT > 0, 0.0, -4.0)
    expected = -(P * log_one_hot).sum(-1)
    torch.testing.assert_close(reverse_cross_entropy(LOGITS, LABELS, -4.0), expected)


def test_reverse_cross_entropy_is_symmetric_in_the_sense_of_robust_losses():
    """Summed over all labels it is the same for every prediction: -A (k - 1)."""
    total = sum(
        reverse_cross_entropy(LOGITS, torch.full_like(LABELS, label), -4.0) for label in range(3)
    )
    torch.testing.assert_close(total, torch.full_like(total, 8.0))


def test_smoothed_cross_entropy_is_that_of_the_smoothed_target():
    """-Σ t ln p with t = (1 - s) onehot + s / k, and as torch computes it."""
    target = 0.7 * ONE_HOT + 0.3 / 3
    found = LabelSmoothing(smoothing=0.3).sample_loss(LOGITS, LABELS)
    torch.testing.assert_close(found, -(target * P.log()).sum(-1))
    theirs = torch.nn.functional.cross_entropy(
        LOGITS[0], LABELS[0], label_smoothing=0.3, reduction="none"
    )
    torch.testing.assert_close(found[0], theirs)


def test_no_smoothing_is_cross_entropy_bit_for_bit():
    """s = 0."""
    cross_entropy = Standard().sample_loss(LOGITS, LABELS)
    assert torch.equal(smoothed_cross_entropy(cross_entropy, LOGITS, 0), cross_entropy)


@pytest.mark.parametrize("prediction", ["hard", "soft"])
def test_bootstrap_that_believes_the_label_alone_is_cross_entropy_bit_for_bit(prediction):
    """β = 1; the gradient as well."""
    losses, gradients = [], []
    for method in (Bootstrap(prediction=prediction, beta=1), Standard()):
        z = LOGITS.float().requires_grad_()
        losses.append(method.sample_loss(z, LABELS))
        losses[-1].sum().backward()
        gradients.append(z.grad)
    assert torch.equal(*losses)
    assert torch.equal(*gradients)


@pytest.mark.parametrize(("prediction", "own"), [("hard", P.round()), ("soft", P)])
def test_bootstrap_is_the_cross_entropy_of_its_mixed_target(prediction, own):
    """t = β onehot + (1 - β) v, with v = onehot(argmax p) or p."""
    found = Bootstrap(prediction=prediction, beta=0.6).sample_loss(LOGITS, LABELS)
    target = 0.6 * ONE_HOT + 0.4 * own
    torch.testing.assert_close(found, -(target * P.log()).sum(-1))


def test_the_gradients_of_the_own_predictions_in_closed_form():
    """Hard: p - onehot(argmax p). Soft: -p (ln p + entropy)."""
    hard, soft = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    own_class_loss(hard).sum().backward()
    torch.testing.assert_close(hard.grad, P - P.round())
    entropy = own_entropy(soft)
    entropy.sum().backward()
    torch.testing.assert_close(soft.grad, -P * (P.log() + entropy[..., None]).detach())


def test_elr_penalty_and_its_gradient_push_towards_the_average():
    """ln(1 - ⟨p, t⟩), checked by hand and by finite differences."""
    targets = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
    z = LOGITS[0, :1].clone().requires_grad_()
    expected = math.log(1 - float((P[0, 0] * targets[0]).sum()))
    assert early_learning_penalty(z, targets).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda each: early_learning_penalty(each, targets), z)


def test_elr_penalty_stays_finite_at_full_agreement():
    """The clamp holds where p = t = one-hot."""
    sure = torch.tensor([[100.0, 0.0]])
    assert torch.isfinite(early_learning_penalty(sure, torch.tensor([[1.0, 0.0]]))).all()


def test_elr_moves_its_average_by_one_minus_beta():
    """t ← β t + (1 - β) p, from zero."""
    criterion = ELR(beta=0.7).start(4, 3)
    logits = torch.tensor([[1.0, 0.0, 0.0]])
    for _ in range(2):
        criterion(torch.tensor([2]), logits.clone().requires_grad_(), torch.tensor([1]))
    p = logits.softmax(1)[0]
    torch.testing.assert_close(criterion.history["targets"][2], (0.3 + 0.7 * 0.3) * p)
    assert not criterion.history["targets"][[0, 1, 3]].any()


@pytest.mark.parametrize("keep", [0.01, 0.4, 0.8, 1.0])
def test_small_loss_keeps_the_ceiling_of_the_share(keep):
    """|C| = ceil(b · keep), and they are the smallest."""
    losses = torch.rand(2, 10, generator=torch.Generator().manual_seed(0))
    chosen = small_loss(losses, keep)
    assert chosen.sum(1).tolist() == [math.ceil(10 * keep)] * 2
    for row in range(2):
        assert (
            losses[row][chosen[row]].max() <= losses[row][~chosen[row]].min() if keep < 1 else True
        )


def test_small_loss_counts_and_keeps_eligible_samples_only():
    """Held-out rows neither fill the quota nor are chosen."""
    losses = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    eligible = torch.tensor([False, True, True, True])
    assert small_loss(losses, 0.5, eligible).tolist() == [[False, True, True, False]]


def test_small_loss_prefers_an_infinite_loss_to_a_row_that_does_not_count():
    """An impossible label is a label all the same."""
    losses = torch.tensor([[0.1, math.inf, math.inf]])
    counted = torch.tensor([False, True, True])
    assert small_loss(losses, 1.0, counted).tolist() == [[False, True, True]]


def test_small_loss_breaks_ties_by_place():
    """So that the answer does not depend on the sort."""
    assert small_loss(torch.ones(1, 4), 0.5).tolist() == [[True, True, False, False]]


@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=25),
    keep=st.sampled_from([0.01, 0.3, 0.5, 0.8, 1.0]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=100, deadline=None)
def test_small_loss_per_class_is_small_loss_of_every_class_alone(labels, keep, seed):
    """Two networks, some ties, some held-out rows: class by class the same choice."""
    generator = torch.Generator().manual_seed(seed)
    losses = torch.randint(6, (2, len(labels)), generator=generator).float()
    eligible = torch.rand(len(labels), generator=generator) < 0.8
    given_labels = torch.tensor(labels)
    for allowed in (None, eligible):
        expected = torch.zeros(2, len(labels), dtype=torch.bool)
        for label in set(labels):
            of_class = given_labels == label
            counted = None if allowed is None else allowed[of_class]
            expected[:, of_class] = small_loss(losses[:, of_class], keep, counted)
        assert torch.equal(expected, small_loss_per_class(losses, keep, given_labels, allowed))


def test_small_loss_per_class_keeps_a_rare_and_hard_class():
    """One choice for all would drop both of its samples."""
    losses = torch.tensor([[0.1, 0.2, 0.3, 0.4, 9.0, 8.0]])
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    assert not small_loss(losses, 0.5)[0, 4:].any()
    chosen = small_loss_per_class(losses, 0.5, labels)
    assert chosen.tolist() == [[True, True, False, False, False, True]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GCE(r=0), r"r must be in \(0, 1\]"),
        (lambda: GCE(r=1.5), r"r must be in \(0, 1\]"),
        (lambda: SCE(alpha=0), "alpha must be positive"),
        (lambda: SCE(log_zero=4), "log_zero must be negative"),
        (lambda: ActivePassive(passive="l1"), 'passive must be "rce" or "mae", got "l1"'),
        (lambda: ActivePassive(alpha=0), "alpha must be positive"),
        (lambda: ActivePassive(log_zero=0), "log_zero must be negative"),
        (lambda: ELR(beta=2), r"beta must be in \(0, 1\]"),
        (lambda: LabelSmoothing(smoothing=0), r"smoothing must be in \(0, 1\]"),
        (lambda: Bootstrap(beta=0), r"beta must be in \(0, 1\]"),
        (lambda: Bootstrap(prediction="firm"), 'prediction must be "hard" or "soft", got "firm"'),
    ],
)
def test_hyper_parameters_out_of_range_are_refused(make, message):
    """With the argument, its value and the range."""
    with pytest.raises(ParameterError, match=message):
        make()


def test_histories_of_methods_without_memory_hold_no_method_columns():
    """Robust losses cost nothing a sample."""
    criterion = GCE().start(5, 3, audit=False)
    assert isinstance(criterion.history, SampleHistory)
    assert set(criterion.history.state_dict()) == {"given", "eligible"}
