"""Active Bias: weights by how much the probability of the given label has varied."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thresher.errors import ParameterError
from thresher.noise import ActiveBias
from thresher.noise.active_bias import add_visit, with_mean_one
from thresher.prediction_deviation import prediction_deviation

N = 6


def visit(criterion, probabilities):
    """An epoch in one batch of two classes, all given as 0; the weights of its step."""
    decided = []
    decide = criterion.method.decide
    criterion.method.decide = lambda step: decided.append(decide(step)) or decided[-1]
    p = torch.as_tensor(probabilities, dtype=torch.float32)
    outputs = torch.stack([p, 1 - p], 1).log().requires_grad_()
    criterion(torch.arange(len(p)), outputs, torch.zeros(len(p), dtype=torch.int64)).backward()
    criterion.end_epoch()
    criterion.method.decide = decide
    return decided[0].weights


def slow_weights(history, smoothing):
    """From lists of all probabilities so far: the formula, sample by sample."""
    raw = []
    for seen in history:
        n, v = len(seen), np.var(seen)
        raw.append(math.sqrt(v + v**2 / (n - 1)) if n > 1 else 0.0)
    raw = np.array(raw) + (np.mean(raw) if smoothing is None else smoothing)
    return raw / raw.mean()


@settings(max_examples=25, deadline=None)
@given(
    visits=st.lists(
        st.lists(st.floats(0.01, 0.99), min_size=N, max_size=N), min_size=3, max_size=7
    ),
    smoothing=st.sampled_from([None, 0.02, 0.2]),
)
def test_weights_are_those_of_the_lists_of_all_visits_before_the_step(visits, smoothing):
    """Welford's columns against the whole history, which ends before the step."""
    criterion = ActiveBias(warmup=2, smoothing=smoothing).start(N, 2, epochs=10)
    history = [[] for _ in range(N)]
    for epoch, probabilities in enumerate(visits):
        found = visit(criterion, probabilities)
        if epoch < 2:
            assert found is None
        else:
            spread = max(np.ptp(each) for each in history)
            if spread > 0.01 or smoothing is not None:  # else 0 over 0, to rounding
                expected = slow_weights(history, smoothing)
                np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)
            assert float(found.mean()) == pytest.approx(1, abs=1e-5)
        for seen, p in zip(history, probabilities, strict=True):
            seen.append(p)


def test_two_ways_to_remember_give_one_deviation():
    """Welford's columns, and the sums that the history keeps for the audit."""
    criterion = ActiveBias(warmup=1).start(N, 2, epochs=10)
    for epoch in range(5):
        visit(criterion, torch.rand(N, generator=torch.Generator().manual_seed(epoch)))
    history = criterion.history
    by_sums = prediction_deviation(
        history["given_sum"], history["given_square_sum"], history["visits"]
    )
    torch.testing.assert_close(
        criterion.method.deviation(torch.arange(N)), by_sums, rtol=1e-3, atol=1e-4
    )


def test_samples_that_never_varied_weigh_alike():
    """After one visit each, and where there is nothing to divide by."""
    for smoothing in (None, 0.2):
        criterion = ActiveBias(warmup=1, smoothing=smoothing).start(3, 2, epochs=10)
        visit(criterion, [0.1, 0.5, 0.9])
        assert [1, 1, 1] == visit(criterion, [0.2, 0.4, 0.6]).tolist()


def test_what_varied_weighs_more():
    """Between always 0.9, and now 0.1 now 0.9."""
    criterion = ActiveBias(warmup=2).start(2, 2, epochs=10)
    visit(criterion, [0.9, 0.1])
    visit(criterion, [0.9, 0.9])
    steady, unsteady = visit(criterion, [0.9, 0.9]).tolist()
    s = math.sqrt(0.16 + 0.16**2)
    assert (steady, unsteady) == pytest.approx((0.5, 1.5), abs=1e-4)  # ε = s / 2
    assert criterion.method.average < s / 2  # a third visit like the second varies less


def test_weights_have_mean_one_among_the_samples_that_count():
    """Held-out rows and samples never seen take no part in it."""
    weights = torch.tensor([1.0, 3.0, 100.0])
    counted = torch.tensor([True, True, False])
    assert [0.5, 1.5, 1.0] == with_mean_one(weights, counted).tolist()
    assert [1, 1, 1] == with_mean_one(torch.zeros(3), counted).tolist()
    assert [1, 1, 1] == with_mean_one(weights, torch.zeros(3, dtype=torch.bool)).tolist()


def test_evaluation_is_no_visit():
    """Under no_grad."""
    criterion = ActiveBias().start(3, 2)
    with torch.no_grad():
        criterion(torch.arange(3), torch.randn(3, 2), torch.zeros(3, dtype=torch.int64))
    assert not criterion.history["spread_visits"].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ActiveBias(smoothing=0), "smoothing must be positive"),
        (lambda: ActiveBias(warmup=0), "warmup must be positive"),
    ],
)
def test_hyper_parameters_out_of_range_are_refused(make, message):
    """With the argument and the range."""
    with pytest.raises(ParameterError, match=message):
        make()


def test_a_sample_that_stands_twice_in_a_batch_is_visited_twice():
    """As if the two had come one after the other."""
    twice, apart = (ActiveBias().start(2, 2, epochs=9, repeats=True) for _ in range(2))
    index, p = torch.tensor([0, 1, 0]), torch.tensor([0.2, 0.5, 0.9])
    add_visit(twice.history, index, p)
    for rows in (slice(0, 2), slice(2, 3)):
        add_visit(apart.history, index[rows], p[rows])
    assert twice.history["spread_visits"].tolist() == [2, 1]
    for name in ("spread_mean", "spread_squares"):
        torch.testing.assert_close(twice.history[name], apart.history[name])
