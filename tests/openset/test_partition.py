"""The three-way verdict: its table, and what it never does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy

from thresher.errors import DataError, ParameterError
from thresher.openset import VERDICTS, normalised_entropy, three_way

shares = st.floats(0, 1)
CLEAN, MISLABELLED, FOREIGN = range(3)


def one(clean_probability, entropy, score, **options):
    numbers = (np.array([each]) for each in (clean_probability, entropy, score))
    return int(three_way(*numbers, threshold=1.0, **options)[0])


def test_the_table():
    """Every border belongs to the side that the formula names."""
    assert VERDICTS == ("clean", "mislabelled", "out-of-distribution")
    assert one(0.51, 1.0, 9.0) == CLEAN
    assert one(0.5, 0.05, 1.0) == MISLABELLED
    assert one(0.5, 0.051, 1.0) == FOREIGN
    assert one(0.5, 0.05, 1.001) == FOREIGN
    assert one(0.5, 0.3, 1.0, uncertainty=0.3) == MISLABELLED


@given(shares, shares, st.floats(-9, 9))
def test_a_sample_beyond_the_threshold_is_never_to_be_relabelled(clean, entropy, beyond):
    """Whatever the network makes of it."""
    assert (one(clean, entropy, 1.0 + abs(beyond) + 1e-9)) != MISLABELLED


@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=8))
def test_normalised_entropy_is_that_of_scipy_in_units_of_ln_k(numbers):
    """Between 0 and 1."""
    p = np.array([numbers]) / sum(numbers)
    found = normalised_entropy(p)[0]
    assert found == pytest.approx(scipy_entropy(p[0], base=p.shape[1]), abs=1e-12)
    assert 0 <= found <= 1 + 1e-12


def test_bad_input_is_refused():
    """Shapes that differ, numbers that are missing, a range that is not one."""
    w = np.array([0.2, 0.9])
    with pytest.raises(ParameterError, match=r"must be \(N,\), got \(2,\), \(1,\) and \(2,\)"):
        three_way(w, w[:1], w, 1.0)
    with pytest.raises(DataError, match="Sample 1 lacks one of the three numbers"):
        three_way(w, w, np.array([0.0, np.nan]), 1.0)
    with pytest.raises(ParameterError, match=r"uncertainty must be in \(0, 1\]"):
        three_way(w, w, w, 1.0, uncertainty=0)
    with pytest.raises(ParameterError, match=r"probabilities must be \(N, k\)"):
        normalised_entropy(np.ones((3, 1)))
