"""Self-paced learning and random subsets: which share of the samples an epoch takes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sampling.drawing import history_with, planned
from thresher.errors import ParameterError
from thresher.sampling import RS2, SelfPaced
from thresher.sampling.self_paced import easy_weights, loss_limit


@given(st.lists(st.floats(0, 9), min_size=1, max_size=30, unique=True), st.floats(0.01, 1))
def test_the_limit_takes_just_the_share(losses, share):
    """ceil(ρ n) of n different losses, and no smaller limit does."""
    values = torch.tensor(losses, dtype=torch.float64)
    taken = int((values <= loss_limit(values, share)).sum())
    assert taken - 1 < share * len(losses) <= taken + 1e-6


def test_the_share_rises_in_a_line_until_all_are_taken():
    """0.5 → 1 over 70 % of ten epochs."""
    selector = SelfPaced()
    selector.begin(10, 3, 10)
    expected = [0.5 + 0.5 * epoch / 7 for epoch in range(7)] + [1.0] * 3
    assert [selector.share(epoch) for epoch in range(10)] == pytest.approx(expected)


LOSSES = [0.1, 4.0, 0.3, math.nan, 2.0, 9.0]


def plan_of(*, epoch=0, eligible=None, **options):
    selector = SelfPaced(**options)
    columns = {} if eligible is None else {"eligible": eligible}
    history = history_with(selector, 6, 3, 10, last_loss=LOSSES, **columns)
    return planned(selector, history, epoch)


def test_the_easiest_come_first():
    """Three of five known ones, and what was never seen."""
    rows = plan_of()
    assert sorted(rows.index.tolist()) == [0, 2, 3, 4]
    assert rows.weights is None


def test_soft_weights_fall_to_zero_at_the_limit():
    """1 - loss / τ with τ = 2; an unseen sample counts in full; in the end all do."""
    rows = plan_of(soft=True)
    found = dict(zip(rows.index.tolist(), rows.weights.tolist(), strict=True))
    assert found == pytest.approx({0: 0.95, 2: 0.85, 3: 1.0, 4: 0.0})
    assert easy_weights(torch.tensor([0.0, 0.0]), 0.0).tolist() == [1, 1]
    assert plan_of(soft=True, epoch=9).weights is None


@given(st.integers(0, 8))
def test_what_was_taken_is_taken_again_later(epoch):
    """At the same losses, an epoch holds those of the one before."""
    before, after = (set(plan_of(epoch=each).index.tolist()) for each in (epoch, epoch + 1))
    assert before <= after


def test_rows_kept_out_of_training_stay_and_do_not_count():
    """The quantile is of the others."""
    rows = plan_of(eligible=[True, True, True, True, True, False])
    assert sorted(rows.index.tolist()) == [0, 2, 3, 5]


def test_its_pace_needs_the_length_of_the_run():
    """And shares in (0, 1]."""
    with pytest.raises(ParameterError, match="number of epochs is not known"):
        SelfPaced().begin(6, 3, None)
    for options in ({"start": 0.0}, {"full": 1.5}):
        with pytest.raises(ParameterError, match="must be in"):
            SelfPaced(**options)


# ---------------------------------------------------------------------- random subsets
@given(st.integers(1, 60), st.floats(0.01, 1), st.integers(0, 9))
def test_a_random_subset_has_its_size_and_no_sample_twice(samples, share, seed):
    """round(f N), at least one."""
    selector = RS2(share=share)
    rows = planned(selector, history_with(selector, samples, 2, None), seed=seed).index
    assert len(rows) == len(set(rows.tolist())) == max(1, round(share * samples))


def test_every_epoch_takes_another_subset_and_every_sample_has_its_turn():
    """0.7^40 of a sample is left over 40 epochs: of fifty, all have been seen."""
    selector = RS2()
    history = history_with(selector, 50, 2, None)
    plans = [frozenset(planned(selector, history, epoch).index.tolist()) for epoch in range(40)]
    assert len(set(plans)) == 40
    assert frozenset(range(50)) == frozenset().union(*plans)


def test_what_is_kept_out_of_training_is_in_every_subset():
    """It is there to be predicted."""
    selector = RS2(share=0.5)
    eligible = torch.arange(10) >= 3
    history = history_with(selector, 10, 2, None, eligible=eligible)
    found = planned(selector, history).index.tolist()
    assert {0, 1, 2} <= set(found)
    assert len(found) == 3 + round(0.5 * 7)
