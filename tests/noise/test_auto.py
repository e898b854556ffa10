"""Auto: fires where labels are memorised, and is a robust cross-entropy where they are not."""

import pytest
import torch

from thresher.errors import ParameterError
from thresher.noise import ELR, SCE, Auto, Standard
from thresher.noise.auto import required_gap
from thresher.noise.held_out import draw_held_out
from thresher.noise.method import Change, Plan


def tell(criterion, trained_hits, held_out_hits, asked):
    """One epoch in which these shares of trained and held-out rows are predicted as labelled."""
    eligible = criterion.history["eligible"]
    labels = torch.zeros(len(eligible), dtype=torch.int64)
    predictions = torch.ones(len(eligible), dtype=torch.int64)
    for rows, share in ((eligible, trained_hits), (~eligible, held_out_hits)):
        places = torch.nonzero(rows).flatten()
        predictions[places[: round(share * len(places))]] = 0
    outputs = 3.0 * torch.nn.functional.one_hot(predictions, 2)
    loss = criterion(torch.arange(len(labels)), outputs.requires_grad_(), labels)
    asked.append(change := criterion.end_epoch())
    criterion.applied(change)
    return loss


def test_it_fires_after_two_epochs_above_the_gap_in_a_row():
    """Not after one, and not after two that were interrupted."""
    criterion = Auto().start(20_000, 2, epochs=30)
    gaps = [0.2, 0.0, 0.2, 0.2]
    fired, asked = [], []
    for gap in gaps:
        tell(criterion, 0.5 + gap, 0.5, asked)
        fired.append(criterion.method.fired_at)
    assert fired == [-1, -1, -1, 4]


def test_it_goes_back_to_the_epoch_with_the_best_held_out_accuracy():
    """Each new best is saved, and restored when it fires; afterwards it asks for nothing."""
    criterion = Auto().start(20_000, 2, epochs=30)
    asked = []
    for trained, held_out in [(0.4, 0.4), (0.6, 0.6), (0.6, 0.5), (0.7, 0.5), (0.9, 0.8)]:
        tell(criterion, trained, held_out, asked)
    save, restore = Change(save="best"), Change(restore="best")
    assert asked == [save, save, None, restore, None]


@pytest.mark.parametrize(("epochs", "last"), [(4, 1), (10, 7), (16, 11), (30, 21), (40, 28)])
def test_in_the_last_three_tenths_it_does_not_fire_but_trains_the_held_out_rows(epochs, last):
    """Going back at the end would only lose the training; and there is nothing left to ask."""
    for begins, expected in ((last - 2, last), (last - 1, -1)):
        criterion = Auto().start(20_000, 2, epochs=epochs)
        for epoch in range(epochs):
            assert bool(criterion.history["eligible"].all()) == (epoch >= last)
            tell(criterion, 0.9 if epoch >= begins else 0.5, 0.5, [])
        assert criterion.method.fired_at == (expected if begins >= 0 else -1)


@pytest.mark.parametrize(
    ("auto", "other"), [(Auto(), SCE(alpha=1, beta=1)), (Auto(reverse=0), Standard())]
)
def test_it_stays_a_robust_cross_entropy_below_the_gap(auto, other):
    """A - V of .04 never fires, and the loss is that of the trained rows."""
    criterion = auto.start(20_000, 2, epochs=30)
    plain = other.start(20_000, 2, epochs=30, held_out=~criterion.history["eligible"])
    for _ in range(6):
        ours, theirs = tell(criterion, 0.54, 0.5, []), tell(plain, 0.54, 0.5, [])
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert criterion.method.fired_at == -1
    assert not criterion.history["eligible"].all()


@pytest.mark.parametrize("named", [False, True])
def test_held_out_rows_are_trained_once_it_has_fired_unless_a_user_named_them(named):
    """And what was predicted of them before is kept."""
    held_out = torch.arange(20_000) < 2000
    criterion = Auto().start(20_000, 2, epochs=30, held_out=held_out if named else None)
    held_out = ~criterion.history["eligible"]
    for _ in range(3):
        tell(criterion, 0.9, 0.5, [])
    assert criterion.method.fired_at == 2
    assert torch.equal(~criterion.history["eligible"], held_out & named)
    state = criterion.history.state_dict()
    assert torch.equal(state["held_out_rows"], torch.nonzero(held_out).flatten())
    visits = 3 if named else 2
    assert torch.equal(state["held_out_visits"], torch.full((2000,), visits).int())
    sure = torch.softmax(torch.tensor([3.0, 0.0]), 0)[0].item()
    half = [row.max().item() for row in state["held_out_average"]]
    assert half == pytest.approx([sure * (1 - 0.7**visits)] * 2000)


def test_the_penalty_is_ramped_in_over_three_epochs_to_that_of_elr():
    """A third, two thirds, all of λ."""
    auto = Auto().start(40, 2, epochs=30, held_out=torch.zeros(40, dtype=torch.bool))
    auto.method.fired_at = 0
    logits = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    index, labels = torch.arange(8), torch.zeros(8, dtype=torch.int64)
    plain = torch.nn.functional.cross_entropy(logits, labels).item()
    robust = plain + 4 * (1 - logits.softmax(1)[:, 0]).mean().item()
    elr = ELR(strength=6).start(40, 2, epochs=30)
    for ramp in (1 / 3, 2 / 3, 1, 1):
        full = elr(index, logits.clone().requires_grad_(), labels).item() - plain
        part = auto(index, logits.clone().requires_grad_(), labels).item() - robust
        assert part == pytest.approx(ramp * full, rel=1e-4)
        auto.epoch += 1


@pytest.mark.parametrize(
    ("held_out", "expected"), [(1000, 0.05), (500, 0.05), (100, 0.15), (0, 0.05)]
)
def test_few_held_out_rows_ask_for_three_standard_errors(held_out, expected):
    """3 · sqrt(.25 / 100) = .15."""
    assert required_gap(0.05, 0.5, held_out) == pytest.approx(expected)


@pytest.mark.parametrize(("rows", "expected"), [(1000, 100), (100_000, 2000)])
def test_a_tenth_of_the_labelled_rows_is_held_out_at_most_two_thousand(rows, expected):
    """Evenly over the classes, none without a label, never a class's only row."""
    labels = torch.arange(2 * rows) % 4
    labels[rows:] = -1
    labels[0] = 4
    held_out = draw_held_out(Plan(2 * rows, 5), labels)
    assert int(held_out.sum()) == pytest.approx(expected, abs=1)
    assert not held_out[rows:].any()
    assert not held_out[0]
    counts = torch.bincount(labels[held_out], minlength=4)[:4]
    assert int(counts.max() - counts.min()) <= 1


def test_the_draw_belongs_to_the_seed():
    """Same seed, same rows; another seed, others."""
    labels = torch.arange(500) % 5
    first, same, other = (draw_held_out(Plan(500, 5, seed=s), labels) for s in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("value", [-1, float("inf"), float("nan")])
def test_the_weight_of_the_reverse_cross_entropy_is_a_number(value):
    """0 leaves it away."""
    with pytest.raises(ParameterError, match="reverse must be"):
        Auto(reverse=value)


def test_a_label_costs_what_its_one_hot_target_costs():
    """The short way to the reverse cross-entropy, gradient included, at confident logits too."""
    labels = torch.tensor([[0, 2, 1]])
    logits = torch.tensor([[[1.0, 0.2, -3], [40.0, 0, -40], [0.1, 0.1, 0.1]]], dtype=torch.float64)
    found = []
    for targets in (labels, torch.nn.functional.one_hot(labels, 3).double()):
        z = logits.clone().requires_grad_()
        loss = Auto(reverse=0.7).sample_loss(z, targets)
        loss.sum().backward()
        found.append((loss.detach(), z.grad))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize(("epochs", "expected"), [(30, 1.0), (46, 1.0), (86, 0.5), (406, 0.1)])
def test_a_long_training_goes_no_further_than_forty_epochs_once_it_has_fired(epochs, expected):
    """Before, the loss is whole; after, all of it is multiplied by 40 over the epochs left."""
    criterion = Auto().start(20_000, 2, epochs=epochs)
    for gap in (0, 0, 0, 0, 0.2, 0.2):
        assert 1 == criterion.method.calm
        tell(criterion, 0.5 + gap, 0.5, [])
    assert 6 == criterion.method.fired_at
    assert expected == pytest.approx(criterion.method.calm)
    short = Auto().start(20_000, 2, epochs=30)
    for gap in (0, 0, 0, 0, 0.2, 0.2):
        tell(short, 0.5 + gap, 0.5, [])
    losses = [float(tell(each, 0.7, 0.7, []).detach()) for each in (criterion, short)]
    assert losses[0] == pytest.approx(expected * losses[1], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("noise_rate", [0.2, 0.4])
def test_it_outlives_standard_training_where_there_are_hundreds_of_epochs(noise_rate):
    """Held back too hard for too long, it would come to predict a class by accident for good."""
    from sklearn.datasets import load_digits

    from thresher.bench.noise_spec import NoiseSpec, given_labels
    from thresher.data import open_data
    from thresher.fitting import Silence
    from thresher.job import Job
    from thresher.settings import FitSettings

    inputs, true = load_digits(return_X_y=True)
    inputs = inputs.astype("float32")
    given = given_labels(NoiseSpec("symmetric", noise_rate), inputs[:1300], true[:1300], 10, 0)
    tested = open_data((inputs[1300:], true[1300:]))
    accuracy = {}
    for method in ("standard", "auto"):
        settings = FitSettings(method=method, epochs=300, device="cpu")
        job = Job.plan(settings, open_data((inputs[:1300], given)), None, Silence(), audit=False)
        for _ in job.training.run():
            pass
        accuracy[method] = job.model.accuracy(tested)
    # it ends 8 points and more above; it ended 40 below while its steps stayed as large
    assert accuracy["auto"] > accuracy["standard"] + 0.02
