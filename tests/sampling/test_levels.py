"""Levels: two bytes a score, and a table of weights that is the same on every machine."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.errors import ParameterError
from thresher.sampling.levels import (
    LEVELS,
    UNIT,
    UNKNOWN,
    levels_of,
    scores_of,
    weight_table,
)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_score_comes_back_within_half_a_step(scores):
    scores = np.array(scores)
    assert np.abs(scores_of(levels_of(scores)) - scores).max() <= 0.5 / 65534 + 1e-7


def test_a_score_that_is_not_known_stays_so():
    levels = levels_of(np.array([np.nan, 1.0]))
    assert [UNKNOWN, 65534] == levels.tolist()
    assert np.isnan(scores_of(levels)).tolist() == [True, False]


@pytest.mark.parametrize("score", [-0.001, 1.001, np.inf])
def test_a_score_outside_the_unit_interval_is_refused(score):
    with pytest.raises(ParameterError, match=r"in \[0, 1\]"):
        levels_of(np.array([0.5, score]))


@given(st.floats(1, 1e6))
def test_the_table_is_the_power_of_the_score(pressure):
    """To one unit of 2⁻³², by another way of computing it."""
    table = weight_table(pressure)
    power = np.exp(-np.log(pressure) * np.arange(65535) / 65534) * UNIT
    assert np.abs(table[:-1] - power).max() <= 1
    assert (np.diff(table[:-1]) <= 0).all()
    assert len(table) == LEVELS


def test_the_ends_of_the_table_are_the_pressure_apart():
    table = weight_table(32.0)
    assert UNIT == table[0]
    assert UNIT == 32 * table[65534]
    assert (weight_table(1.0)[:-1] == UNIT).all()


@pytest.mark.parametrize("pressure", [0.99, 1.1e6, np.nan])
def test_a_pressure_out_of_range_is_refused(pressure):
    with pytest.raises(ParameterError, match="pressure"):
        weight_table(pressure)
