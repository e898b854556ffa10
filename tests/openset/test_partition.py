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


def test_a_threshold_that_is_no_number_is_refused():
    """It would call everything foreign that is not clean."""
    with pytest.raises(ParameterError, match="threshold must be a number, got nan"):
        three_way([0.1], [0.0], [0.0], np.nan)


@pytest.mark.parametrize("row", [[np.nan, 1.0], [5.0, 5.0], [0.0, 0.0], [1.5, -0.5]])
def test_rows_that_are_no_distribution_have_no_entropy(row):
    """The first of them is named."""
    with pytest.raises(ParameterError, match="Row 1 of probabilities"):
        normalised_entropy([[0.5, 0.5], row])


def test_half_precision_sums_to_one_near_enough():
    """Rounding is no mistake of the user's."""
    shares = np.random.default_rng(0).dirichlet(np.ones(200), size=20)
    rounded = normalised_entropy(shares.astype(np.float16))
    np.testing.assert_allclose(rounded, normalised_entropy(shares), atol=1e-3)


def test_lists_are_as_good_as_arrays():
    """Of all three numbers, and of probabilities."""
    numbers = [0.9, 0.1, 0.1], [0.0, 0.0, 0.5], [9.0, 1.0, 1.0]
    assert [CLEAN, MISLABELLED, FOREIGN] == three_way(*numbers, 2.0).tolist()
    assert [1.0] == normalised_entropy([[0.5, 0.5]]).tolist()
    with pytest.raises(ParameterError, match="probabilities is no array"):
        normalised_entropy([[0.5, 0.5], [1.0]])
