"""Prestopping: the stop rule on given curves, going back, and what phase II learns from."""

import pytest
import torch
from torch import nn

from thresher.errors import ParameterError
from thresher.noise import Prestopping
from thresher.noise.method import Change
from thresher.noise.prestopping import stop_rule
from thresher.training.snapshots import Snapshots

SAVE, RESTORE = Change(save="stop"), Change(restore="stop")


def follow(held_out_errors, trained_errors, *, patience=10, noise_rate=None):
    """The epoch (from 1) that is gone back to, and the one after which phase I ends."""
    lowest, lowest_at, saved = 1.0, 0, None
    for epoch, errors in enumerate(zip(held_out_errors, trained_errors, strict=True), 1):
        todo = stop_rule(
            *errors,
            lowest=lowest,
            waited=epoch - lowest_at,
            patience=patience,
            noise_rate=noise_rate,
        )
        if todo == "save":
            lowest, lowest_at, saved = errors[0], epoch, epoch
        if todo == "stop":
            return saved, epoch
    return saved, None


def test_the_stop_point_is_the_last_minimum_before_the_training_error_falls_to_the_noise_rate():
    """Two curves worked out by hand: epoch 3, and epoch 2 where the third is too late already."""
    held_out = [0.5, 0.4, 0.3, 0.35]
    assert follow(held_out, [0.6, 0.5, 0.45, 0.3], noise_rate=0.4) == (3, 4)
    assert follow(held_out, [0.6, 0.5, 0.39, 0.3], noise_rate=0.4) == (2, 3)


def test_patience_ends_phase_one_without_a_noise_rate():
    """Two epochs without a new minimum; a tie is none."""
    held_out = [0.5, 0.3, 0.4, 0.3, 0.2]
    assert follow(held_out, [0.0] * 5, patience=2) == (2, 4)
    assert follow(held_out, [0.0] * 5, patience=3) == (5, None)


def test_without_held_out_rows_it_stops_at_the_noise_rate():
    """Nothing is saved: NaN is below nothing. Nor is there a minimum to wait for."""
    nan = float("nan")
    assert follow([nan] * 4, [0.6, 0.5, 0.4, 0.3], noise_rate=0.4) == (None, 3)
    assert follow([nan] * 4, [0.6, 0.5, 0.4, 0.3], patience=2, noise_rate=0.1) == (None, None)


def tell(criterion, trained_hits, held_out_hits, measured=None):
    """One epoch in which these shares of trained and held-out rows are predicted as labelled."""
    eligible = criterion.history["eligible"]
    labels = torch.zeros(len(eligible), dtype=torch.int64)
    predictions = torch.ones(len(eligible), dtype=torch.int64)
    for rows, share in ((eligible, trained_hits), (~eligible, held_out_hits)):
        places = torch.nonzero(rows).flatten()
        predictions[places[: round(share * len(places))]] = 0
    outputs = 3.0 * nn.functional.one_hot(predictions, 2)
    criterion(torch.arange(len(labels)), outputs.requires_grad_(), labels)
    change = criterion.end_epoch(measured)
    criterion.applied(change)
    return change


def test_it_keeps_each_new_minimum_and_goes_back_to_the_last():
    """After the patience of three epochs; from then on it asks for nothing."""
    criterion = Prestopping(patience=3).start(1000, 2, epochs=40)
    held_out = [0.4, 0.5, 0.6, 0.6, 0.5, 0.4, 0.9]
    asked = [tell(criterion, 0.5, share) for share in held_out]
    assert asked == [None, SAVE, SAVE, None, None, RESTORE, None]
    assert criterion.method.stopped_at == 6


def test_a_given_noise_rate_ends_phase_one_at_once():
    """At a training error of .4; what was saved before is gone back to."""
    criterion = Prestopping(0.4).start(1000, 2, epochs=40)
    assert [tell(criterion, share, 0.5) for share in (0.3, 0.5, 0.6)] == [None, SAVE, RESTORE]


def test_without_anything_saved_it_goes_on_from_where_it_is():
    """The training error is below τ as soon as it is looked at."""
    criterion = Prestopping(0.4).start(1000, 2, epochs=40)
    assert [tell(criterion, 0.9, 0.5), tell(criterion, 0.9, 0.5)] == [None, None]
    assert criterion.method.stopped_at == 2


def test_a_clean_validation_error_that_the_loop_measures_takes_precedence():
    """Its minimum is in the second epoch, that of the held-out rows in the third."""
    criterion = Prestopping(patience=2).start(1000, 2, epochs=40)
    told = [(0.3, 0.1), (0.4, 0.9), (0.5, 0.8), (0.6, 0.7)]
    asked = [tell(criterion, 0.5, noisy, {"validation_accuracy": clean}) for noisy, clean in told]
    assert asked == [None, SAVE, None, RESTORE]


CURVES = [(0.2, 0.5), (0.4, 0.6), (0.5, 0.7), (0.62, 0.6), (0.7, 0.6), (0.7, 0.6)]


@pytest.mark.parametrize(
    ("stop", "asked", "stopped_at"),
    [
        ("combined", [None, SAVE, SAVE, RESTORE, None, None], 4),
        ("validation", [None, SAVE, SAVE, None, RESTORE, None], 5),
        ("noise-rate", [None] * 6, 4),
    ],
)
def test_each_half_of_the_rule_may_be_had_alone(stop, asked, stopped_at):
    """τ = .4, patience 2: trained hits pass .6 in the fourth epoch; held-out ones fall then."""
    held_out = torch.arange(1000) >= 900
    criterion = Prestopping(0.4, patience=2, stop=stop).start(1000, 2, epochs=40, held_out=held_out)
    assert asked == [tell(criterion, *each) for each in CURVES]
    assert criterion.method.stopped_at == stopped_at


def test_by_the_memorised_it_stops_at_the_crossing():
    """|M| ≥ (1 - τ) N with a window of one: as soon as 60 % are predicted as labelled, once."""
    criterion = Prestopping(0.4, window=1, stop="memorised").start(1000, 2, epochs=40)
    asked = [tell(criterion, trained, 0.5) for trained in (0.9, 0.4, 0.59, 0.6, 0.3)]
    assert asked == [None] * 5
    assert criterion.method.stopped_at == 4  # the first epoch is never enough


def test_only_rules_that_look_at_them_hold_rows_out():
    """Those rows teach nothing."""
    counts = {}
    for stop in ("combined", "validation", "noise-rate", "memorised"):
        criterion = Prestopping(0.4, stop=stop).start(1000, 2, epochs=40)
        counts[stop] = int((~criterion.history["eligible"]).sum())
    assert counts == {"combined": 100, "validation": 100, "noise-rate": 0, "memorised": 0}


def test_a_stop_by_validation_without_held_out_rows_is_refused():
    """Rather than training for ever; an error that the loop measures will do."""
    none = torch.zeros(10, dtype=torch.bool)
    criterion = Prestopping(stop="validation").start(10, 2, epochs=40, held_out=none)
    assert tell(criterion, 0.5, 0.5, {"validation_accuracy": 0.3}) is None
    assert tell(criterion, 0.5, 0.5, {"validation_accuracy": 0.5}) == SAVE
    with pytest.raises(ParameterError, match='"validation" needs rows held out') as refused:
        tell(criterion, 0.5, 0.5)
    assert "validation_accuracy" in refused.value.fix


def test_an_unknown_rule_is_refused():
    """With those there are."""
    with pytest.raises(ParameterError, match=r"stop must be one of combined, .*, got \"noise\""):
        Prestopping(stop="noise")


def test_phase_two_learns_from_memorised_samples_and_no_more_than_are_clean():
    """floor(6 · 0.5) = 3 of the four memorised of six, those with the smallest losses."""
    held_out = torch.zeros(6, dtype=torch.bool)
    criterion = Prestopping(0.5).start(6, 3, epochs=40, held_out=held_out)
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    outputs = torch.zeros(6, 3)
    outputs[:, 0] = torch.tensor([1.0, 4.0, 2.0, 3.0, 5.0, 5.0])
    for _ in range(2):
        criterion(torch.arange(6), outputs.clone().requires_grad_(), labels)
        criterion.end_epoch()
    assert criterion.method.stopped_at == 2  # training error 1/3
    outputs.requires_grad_()
    criterion(torch.arange(6), outputs, labels).backward()
    z = outputs.detach().clone().requires_grad_()
    nn.functional.cross_entropy(z[[1, 2, 3]], labels[[1, 2, 3]]).backward()
    torch.testing.assert_close(outputs.grad, z.grad)


def test_going_back_restores_weights_momentum_and_histories_bit_for_bit():
    """The step after it is the one that followed the save."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 4, generator=generator), torch.randint(3, (40,), generator=generator)
    criterion = Prestopping().start(40, 3, epochs=20, labels=y)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    snapshots = Snapshots(model, optimizer, criterion)

    def epoch():
        for index in torch.arange(40).split(8):
            optimizer.zero_grad()
            criterion(index, model(x[index]), y[index]).backward()
            optimizer.step()

    def state():
        momenta = [each["momentum_buffer"] for each in optimizer.state.values()]
        columns = [criterion.history[name] for name in ("predictions", "pushes")]
        return [each.clone() for each in (*model.parameters(), *momenta, *columns)]

    epoch()
    criterion.end_epoch()
    snapshots.apply(SAVE)
    saved = state()
    epoch()
    following = state()
    criterion.end_epoch()
    snapshots.apply(RESTORE)
    criterion.applied(criterion._change)
    assert all(map(torch.equal, saved, state()))
    epoch()
    assert all(map(torch.equal, following, state()))


def test_the_schedule_goes_on_where_weights_go_back():
    """Two decays, the first between saving and going back: the rates are those without either."""
    rates = []
    for goes_back in (False, True):
        criterion = Prestopping().start(4, 3, epochs=20)
        model = nn.Linear(2, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 7], gamma=0.1)
        snapshots = Snapshots(model, optimizer, criterion)
        seen = []
        for epoch in range(10):
            optimizer.step()
            schedule.step()
            if goes_back and epoch in (1, 5):
                snapshots.apply(SAVE if epoch == 1 else RESTORE)
            seen.append(optimizer.param_groups[0]["lr"])
        rates.append(seen)
    assert rates[0] == rates[1]
    assert rates[0][-1] == pytest.approx(1e-3)
