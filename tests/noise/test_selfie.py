"""SELFIE: the unanimity lemma, selection, refurbishing and restarts."""

import pytest
import torch
from torch import nn

from thresher.errors import ParameterError
from thresher.noise import SELFIE
from thresher.noise.rate import RATE_COLUMNS
from thresher.noise.selfie import one_dissent, refurbishing_columns
from thresher.training.snapshots import Snapshots


def told(criterion, predictions, labels, logits=8.0):
    """One batch over all samples in which each is predicted as told; returns the loss."""
    outputs = logits * torch.nn.functional.one_hot(
        torch.tensor(predictions), criterion.plan.classes
    )
    outputs = outputs.float().requires_grad_()
    loss = criterion(torch.arange(len(predictions)), outputs, torch.tensor(labels))
    return loss, outputs


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (10, [0.1412, 0.0706, 0.0614]),
        (15, [0.1064, 0.0532, 0.0462]),
        (20, [0.0862, 0.0431, 0.0375]),
    ],
)
def test_one_dissent_has_the_uncertainty_of_the_lemma(window, expected):
    """H₂(1/q) / ln k, of 10, 100 and 200 classes."""
    assert [one_dissent(window, classes) for classes in (10, 100, 200)] == pytest.approx(
        expected, abs=5e-5
    )


@pytest.mark.parametrize(("window", "first"), [(10, 667), (15, 135), (20, 54)])
def test_so_many_classes_allow_one_dissent(window, first):
    """ε = .05 asks for unanimity below them, and the memory is chosen by it."""
    assert one_dissent(window, first - 1) > 0.05 >= one_dissent(window, first)
    assert refurbishing_columns(window, 0.05, first - 1) == RATE_COLUMNS
    assert refurbishing_columns(window, 0.05, first) != RATE_COLUMNS


def shown(seed=0, samples=50, epochs=40):
    """Predictions that mostly stay what they are, epoch after epoch, and random labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (samples,), generator=generator).tolist()
    usual = torch.randint(10, (samples,), generator=generator)
    predictions = []
    for _ in range(epochs):
        change = torch.rand(samples, generator=generator) < 0.2
        others = torch.randint(10, (samples,), generator=generator)
        predictions.append(torch.where(change, others, usual).tolist())
    return predictions, labels


def losses_and_refurbished(method, predictions, labels):
    """The loss of each epoch, and the refurbished labels after it."""
    criterion = method.start(len(labels), 10, epochs=len(predictions))
    found = []
    for each in predictions:
        loss, _ = told(criterion, each, labels)
        found.append((loss.item(), criterion.history["refurbished"].tolist()))
        criterion.end_epoch()
    return found, "run_length" in criterion.history


@pytest.mark.parametrize(("window", "samples", "epochs"), [(4, 50, 40), (15, 500, 120)])
def test_the_two_forms_of_memory_take_the_same_decisions(monkeypatch, window, samples, epochs):
    """Ring and run length, where ε asks for unanimity; the published window over a long stream."""
    predictions, labels = shown(samples=samples, epochs=epochs)
    method = SELFIE(0.4, window=window, warmup=window)
    by_run, runs = losses_and_refurbished(method, predictions, labels)
    monkeypatch.setattr("thresher.noise.selfie.one_dissent", lambda *_: 0.0)  # the general form
    by_ring, ring = losses_and_refurbished(method, predictions, labels)
    assert (runs, ring) == (True, False)
    assert by_run == by_ring
    assert any(label >= 0 for label in by_run[-1][1])


def test_a_history_that_is_not_full_is_not_refurbished():
    """An unfilled ring must not look unanimous for class 0."""
    criterion = SELFIE(0.4, window=3, warmup=3).start(2, 10, epochs=12)
    for _ in range(3):
        told(criterion, [0, 1], [5, 5])
        criterion.end_epoch()
    assert criterion.history["refurbished"].tolist() == [-1, -1]
    told(criterion, [0, 1], [5, 5])
    assert criterion.history["refurbished"].tolist() == [0, 1]


def test_refurbished_samples_learn_the_new_label_and_the_rest_is_selected_by_loss():
    """The gradient equals that of a weighted cross-entropy written by hand."""
    criterion = SELFIE(0.5, window=2, warmup=2).start(4, 3, epochs=12)
    shown = [1, 0, 0, 2]
    given = [0, 0, 1, 0]
    for epoch in range(2):  # sample 0 settles on 1, sample 3 stays undecided
        told(criterion, [1, 0, 0, epoch], given)
        criterion.end_epoch()
    loss, outputs = told(criterion, shown, given)
    loss.backward()
    # settled: 0 → 1, 1 → 0, 2 → 0; small loss (2 of 4): sample 1 and one of the far-off ones
    z = outputs.detach().clone().requires_grad_()
    losses = nn.functional.cross_entropy(z, torch.tensor(given), reduction="none")
    clean = losses.sort(stable=True).indices[:2].tolist()
    targets = {0: 1, 1: 0, 2: 0}
    chosen = sorted(set(targets) | set(clean))
    target = torch.tensor([targets.get(i, given[i]) for i in chosen])
    nn.functional.cross_entropy(z[chosen], target).backward()
    torch.testing.assert_close(outputs.grad, z.grad)


def test_without_noise_and_settled_samples_a_step_is_plain_training():
    """τ = 0 and no F ≤ ε: bit-equal to cross-entropy."""
    criterion = SELFIE(0.0, window=2, warmup=2).start(3, 3, epochs=12)
    for epoch in range(2):
        told(criterion, [epoch, epoch, epoch], [0, 1, 2])
        criterion.end_epoch()
    loss, outputs = told(criterion, [2, 1, 0], [0, 1, 2])
    loss.backward()
    z = outputs.detach().clone().requires_grad_()
    nn.functional.cross_entropy(z, torch.tensor([0, 1, 2])).backward()
    assert torch.equal(outputs.grad, z.grad)


def test_lengths_left_open_shrink_with_the_run():
    """Warm-up a quarter of the run, window within it; the paper's when there is room."""
    short = SELFIE(0.2).start(5, 10, epochs=24).method
    assert (short.warmup_epochs, short.window_epochs) == (6, 6)
    long = SELFIE(0.2).start(5, 10, epochs=200).method
    assert (long.warmup_epochs, long.window_epochs) == (25, 15)


@pytest.mark.parametrize(("window", "epochs"), [(None, 4), (None, 16), (30, 200), (30, None)])
def test_a_warmup_that_nobody_wrote_fills_the_history(window, epochs):
    """Five predictions at least, or the window as written, however short the run."""
    method = SELFIE(0.2, window=window).start(5, 10, epochs=epochs).method
    assert method.warmup_epochs == method.window_epochs == (window or 5)


def test_a_window_beyond_the_warmup_is_refused():
    """A written contradiction is the user's to solve."""
    with pytest.raises(ParameterError, match=r"window \(9\) must not exceed warmup \(5\)"):
        SELFIE(0.2, window=9, warmup=5)


def test_a_restart_resets_the_network_and_must_be_applied():
    """The change is asked for at the end of a round, and a loop cannot miss it."""
    criterion = SELFIE(0.2, restarts=1).start(4, 3, epochs=4)
    model = nn.Linear(2, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y, index = torch.randn(4, 2), torch.tensor([0, 1, 2, 0]), torch.arange(4)
    change = None
    for _ in range(2):
        criterion(index, model(x), y).backward()
        optimizer.step()
        change = criterion.end_epoch()
    assert change is not None
    assert change.reset == ("",)
    with pytest.raises(Exception, match="asked for a change"):
        criterion(index, model(x), y)
    before = model.weight.detach().clone()
    Snapshots(model, optimizer, criterion).apply(change)
    assert not torch.equal(before, model.weight)
    assert not optimizer.state
    assert criterion.history["run_length"].tolist() == [0] * 4
    criterion(index, model(x), y)


def test_a_restart_counts_the_samples_that_are_trained():
    """All five of them are refurbished, so that no label is left to be wrong; five have none."""
    criterion = SELFIE(0.4, warmup=1, window=1, restarts=1).start(10, 3, epochs=4)
    for _ in range(2):
        told(criterion, [0, 1, 2, 0, 1], [0, 1, 2, 0, 1])
        criterion.end_epoch()
    assert (criterion.history["refurbished"][:5] >= 0).all()
    assert criterion.method.rate == 0


def test_more_rounds_than_epochs_are_refused():
    """Three rounds do not fit into two epochs."""
    with pytest.raises(ParameterError, match="2 epochs cannot hold 3 rounds"):
        SELFIE(0.2, restarts=2).start(4, 3, epochs=2)


def test_soft_labels_are_the_shares_of_the_last_predictions():
    """Predicted 1 1 0 of three, ε above one dissent: the target is (1/3, 2/3, 0)."""
    method = SELFIE(0.5, window=3, warmup=3, threshold=0.6, soft=True)
    criterion = method.start(2, 3, epochs=12)
    for first in (1, 1, 0):
        told(criterion, [first, 2], [0, 2])
        criterion.end_epoch()
    assert one_dissent(3, 3) < 0.6
    loss, outputs = told(criterion, [1, 2], [0, 2])
    loss.backward()
    z = outputs.detach().clone().requires_grad_()
    target = torch.tensor([[1 / 3, 2 / 3, 0.0], [0.0, 0.0, 1.0]])
    nn.functional.cross_entropy(z, target).backward()
    torch.testing.assert_close(outputs.grad, z.grad)
    assert criterion.history["refurbished"].tolist() == [1, 2]


def test_soft_and_hard_labels_are_the_same_where_histories_must_be_unanimous():
    """h is one-hot then."""
    predictions, labels = shown()
    hard, soft = (
        losses_and_refurbished(SELFIE(0.4, window=4, warmup=4, soft=each), predictions, labels)[0]
        for each in (False, True)
    )
    assert [each[1] for each in hard] == [each[1] for each in soft]
    assert [each[0] for each in hard] == pytest.approx([each[0] for each in soft])


def learned_from(criterion, predictions, labels, scale):
    """Which samples got a gradient in a step with logits of this size for each sample."""
    hot = torch.nn.functional.one_hot(torch.tensor(predictions), criterion.plan.classes)
    outputs = (torch.tensor(scale)[:, None] * hot).requires_grad_()
    criterion(torch.arange(len(labels)), outputs, torch.tensor(labels)).backward()
    return outputs.grad.abs().sum(1).gt(0).tolist()


@pytest.mark.parametrize(
    ("coverage", "learned"),
    [
        (1.0, [True] * 6),
        (0.9, [True, True, True, True, True, False]),
        (0.7, [True, True, False, True, True, False]),
        (0.5, [True, True, False, False, True, False]),
        (0.34, [True, True, False, False, False, False]),
        (0.2, [True, False, False, False, False, False]),
        (0.01, [True, False, False, False, False, False]),
    ],
)
def test_the_cap_keeps_easy_samples_and_then_what_is_refurbished_most_easily(coverage, learned):
    """Six are settled, of which the first two are right and make C: floor(6 c), one at least."""
    criterion = SELFIE(0.67, window=2, warmup=2, coverage=coverage).start(6, 3, epochs=12)
    predictions, labels = [0, 0, 1, 1, 1, 1], [0] * 6
    for _ in range(2):
        told(criterion, predictions, labels)
        criterion.end_epoch()
    scale = [5.0, 4.0, 1.0, 2.0, 3.0, 0.5]
    assert learned == learned_from(criterion, predictions, labels, scale)
    kept = [label >= 0 for label in criterion.history["refurbished"].tolist()]
    assert learned == kept  # what was left out is not counted as refurbished


def test_a_cap_counts_the_samples_that_may_be_trained():
    """Half of the four that are not held out."""
    held_out = torch.tensor([True, True, False, False, False, False])
    method = SELFIE(0.5, window=2, warmup=2, coverage=0.5)
    criterion = method.start(6, 3, epochs=12, held_out=held_out)
    for _ in range(3):
        told(criterion, [0] * 6, [0] * 6)
        criterion.end_epoch()
    learned = learned_from(criterion, [0] * 6, [0] * 6, [9.0, 9.0, 1.0, 2.0, 3.0, 4.0])
    assert learned == [False, False, False, False, True, True]


def test_small_losses_may_be_chosen_within_each_class():
    """Half of class 0 and half of class 1, although all of class 1 is harder."""
    learned = {}
    for per_class in (False, True):
        criterion = SELFIE(0.5, window=2, warmup=2, per_class=per_class).start(4, 2, epochs=12)
        for epoch in range(2):  # nothing settles
            told(criterion, [epoch] * 4, [0, 0, 1, 1])
            criterion.end_epoch()
        scale = [4.0, 3.0, 2.0, 1.0]
        learned[per_class] = learned_from(criterion, [0, 0, 1, 1], [0, 0, 1, 1], scale)
    assert learned == {False: [True, True, False, False], True: [True, False, True, False]}


@pytest.mark.parametrize(("reuse", "learned"), [(False, False), (True, True)])
def test_a_sample_that_was_refurbished_once_is_kept_with_reuse_alone(reuse, learned):
    """Sample 0 settles on 1, is given as 0, and wavers then: too hard to be in C."""
    criterion = SELFIE(0.5, window=2, warmup=2, reuse=reuse).start(2, 3, epochs=12)
    for _ in range(3):
        told(criterion, [1, 0], [0, 0])
        criterion.end_epoch()
    told(criterion, [2, 0], [0, 0])
    criterion.end_epoch()
    assert learned_from(criterion, [2, 0], [0, 0], [5.0, 5.0]) == [learned, True]
    assert criterion.history["refurbished"].tolist() == [1, 0]


def test_after_a_restart_the_warm_up_learns_what_was_refurbished():
    """And τ falls to the share that never was: here one of four."""
    criterion = SELFIE(0.5, restarts=1, window=2, warmup=2).start(4, 3, epochs=8)
    given = [0, 0, 0, 0]
    for epoch in range(4):  # three samples settle on 1
        told(criterion, [1, 1, 1, epoch % 3], given)
        criterion.applied(criterion.end_epoch())
    assert criterion.method.rate == 0.25
    loss, outputs = told(criterion, [2, 1, 0, 0], given)
    loss.backward()
    z = outputs.detach().clone().requires_grad_()
    nn.functional.cross_entropy(z, torch.tensor([1, 1, 1, 0])).backward()
    torch.testing.assert_close(outputs.grad, z.grad)


@pytest.mark.parametrize("coverage", [0.0, 1.1, -1.0])
def test_a_coverage_out_of_range_is_refused(coverage):
    """It is a share of the batch."""
    with pytest.raises(ParameterError, match=r"coverage must be in \(0, 1\]"):
        SELFIE(0.2, coverage=coverage)
