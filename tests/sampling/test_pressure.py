"""Selection pressures: the published schedule, and that all of them end where sampling is even."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.errors import ParameterError
from thresher.sampling.pressure import Pressure, pressure_at
from thresher.sampling.selector import warmup_epochs

DECAYING = ("exponential", "linear", "cosine")


@pytest.mark.parametrize(
    ("epoch", "expected"), [(11, 95.012), (20, 59.948), (50, 12.915), (100, 1.0)]
)
def test_the_published_schedule_of_recency_bias(epoch, expected):
    """100 → 1 from epoch 10 to epoch 100, which are counted from 1 there."""
    found = Pressure(100, "exponential")(epoch - 1, warmup=10, epochs=100)
    assert expected == pytest.approx(found, abs=1e-3)


def test_the_exponential_decay_is_geometric():
    """Each epoch divides the pressure by the same factor."""
    decay = Pressure(100, "exponential")
    found = [decay(epoch, warmup=5, epochs=30) for epoch in range(5, 30)]
    ratios = [after / before for before, after in itertools.pairwise(found)]
    assert ratios == pytest.approx([100 ** (-1 / 25)] * 24)


@given(
    initial=st.floats(1, 1e6),
    decay=st.sampled_from(DECAYING),
    first=st.floats(-1, 2),
    second=st.floats(-1, 2),
)
def test_a_pressure_falls_from_its_start_to_one(initial, decay, first, second):
    """Never below 1, never rising; clamped outside of its way."""
    early, late = sorted((first, second))
    assert initial == pytest.approx(pressure_at(initial, 0, decay))
    assert pressure_at(initial, 1, decay) == 1
    before, after = pressure_at(initial, early, decay), pressure_at(initial, late, decay)
    assert initial * (1 + 1e-12) >= before >= after * (1 - 1e-12) >= 1 - 1e-12


def test_half_way_the_cosine_and_the_line_meet():
    """(1 + s) / 2; the exponential is at the root of s, below both."""
    assert pressure_at(9, 0.5, "linear") == pytest.approx(5)
    assert pressure_at(9, 0.5, "cosine") == pytest.approx(5)
    assert pressure_at(9, 0.5, "exponential") == pytest.approx(3)


@pytest.mark.parametrize("value", [0.5, -1, float("inf"), float("nan")])
def test_a_pressure_below_one_is_refused(value):
    """It would want what it says it does not want."""
    with pytest.raises(ParameterError, match="pressure must be 1 or more"):
        Pressure(value)


def test_an_unknown_decay_is_refused():
    """With those there are."""
    with pytest.raises(ParameterError, match="constant, exponential, linear, cosine"):
        Pressure(10, "square")


@pytest.mark.parametrize("decay", DECAYING)
def test_a_decay_wants_to_know_its_end(decay):
    """A run of unknown length can have a constant pressure alone."""
    with pytest.raises(ParameterError, match="number of epochs is not known"):
        Pressure(10, decay).needs_end(None)
    Pressure(10).needs_end(None)
    assert Pressure(10)(99, warmup=5, epochs=None) == 10


@pytest.mark.parametrize(
    ("written", "epochs", "match"), [(-1, None, "0 or more"), (10, 10, "none of 10 epochs")]
)
def test_a_warmup_that_leaves_no_epoch_is_refused(written, epochs, match):
    """And so is a negative one."""
    with pytest.raises(ParameterError, match=match):
        warmup_epochs(written, 15, epochs)
