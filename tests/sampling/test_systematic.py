"""The systematic plan: expected visits to within one, and at pressure 1 the shuffled epoch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.errors import ParameterError
from thresher.sampling.levels import UNIT, levels_of, weight_table
from thresher.sampling.systematic import separate, systematic_rows


@given(
    st.lists(st.integers(0, 2**32), min_size=1, max_size=40).filter(any),
    st.integers(1, 200),
    st.integers(0, 2**32),
)
def test_visits_are_the_expectation_rounded_down_or_up(weights, length, seed):
    rows = systematic_rows(np.array(weights), length, np.random.default_rng(seed))
    assert length == len(rows)
    visits = np.bincount(rows, minlength=len(weights))
    for each, weight in zip(visits.tolist(), weights, strict=True):
        low, rest = divmod(length * weight, sum(weights))
        assert low <= each <= low + (rest > 0)


@pytest.mark.parametrize("samples", [1, 7, 1000, 65_537])
@pytest.mark.parametrize("seed", range(5))
def test_equal_weights_visit_each_once(samples, seed):
    rows = systematic_rows(np.full(samples, UNIT), samples, np.random.default_rng(seed))
    assert list(range(samples)) == rows.tolist()


def test_visits_are_right_on_average():
    """Over offsets: the mean of ⌊x⌋ and ⌈x⌉ is x, within four standard errors."""
    weights = np.array([1, 5, 10, 17, 3])
    generator, plans = np.random.default_rng(0), 4000
    visits = sum(
        np.bincount(systematic_rows(weights, 7, generator), minlength=5) for _ in range(plans)
    )
    expected = 7 * weights / weights.sum()
    share = expected % 1
    assert (np.abs(visits / plans - expected) < 4 * np.sqrt(share * (1 - share) / plans)).all()


def test_more_samples_are_seen_than_by_independent_draws():
    """Scores spread evenly at pressure 100: 54.0 % of the samples an epoch, instead of 45.0 %."""
    samples, generator = 20_000, np.random.default_rng(0)
    weights = weight_table(100.0)[levels_of(generator.random(samples))]
    planned = len(np.unique(systematic_rows(weights, samples, generator))) / samples
    probability = weights / weights.sum()
    drawn = len(np.unique(generator.choice(samples, samples, p=probability))) / samples
    # in closed form: x is seen with min(x, 1), or with 1 - e^-x
    visits = samples * probability
    assert planned == pytest.approx(np.minimum(visits, 1).mean(), abs=0.01)
    assert drawn == pytest.approx(-np.expm1(-visits).mean(), abs=0.01)
    assert 0.540 == pytest.approx(planned, abs=0.01)
    assert 0.450 == pytest.approx(drawn, abs=0.01)


def test_no_weight_at_all_is_refused():
    with pytest.raises(ParameterError, match="No weight"):
        systematic_rows(np.zeros(3, np.int64), 3, np.random.default_rng(0))


@given(
    st.lists(st.integers(0, 12), min_size=8, max_size=60),
    st.integers(2, 6),
    st.integers(0, 2**32),
)
def test_separating_adds_no_repetition_and_loses_no_row(rows, size, seed):
    """Also where a row comes more often than there are batches."""
    rows = np.array(rows)
    bounds = np.arange(0, len(rows) + 1, size)
    generator = np.random.default_rng(seed)
    apart = separate(rows, bounds, generator)
    assert sorted(rows.tolist()) == sorted(apart.tolist())

    def repetitions(arranged):
        return sum(size - len(np.unique(arranged[start : start + size])) for start in bounds[:-1])

    assert repetitions(apart) <= repetitions(rows)
    if repetitions(rows) == 0:
        assert rows.tolist() == apart.tolist()


def test_a_plan_under_pressure_comes_apart_into_distinct_batches():
    samples, size = 3000, 100
    generator = np.random.default_rng(0)
    weights = weight_table(30.0)[levels_of(generator.random(samples))]
    rows = generator.permutation(systematic_rows(weights, samples, generator))
    bounds = np.arange(0, samples + 1, size)
    batches = rows.reshape(-1, size)
    assert any(len(np.unique(batch)) < size for batch in batches)
    apart = separate(rows, bounds, generator).reshape(-1, size)
    assert all(len(np.unique(batch)) == size for batch in apart)
    assert (apart != batches).mean() < 0.1  # only what had to move
