"""Charts: round ticks, gaps where nothing was measured, and harmless text."""

import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thresher.audit.charts import Line, line_chart, nice_ticks, noise_gauge, score_histogram
from thresher.audit.verdicts import NoiseRate


@example(low=524288.0, width=0.001, number=10)
@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6), number=st.integers(1, 10))
def test_ticks_enclose_the_values_in_few_equal_steps(low, width, number):
    """Steps of 1, 2 or 5 times a power of ten."""
    high = low + width
    ticks = nice_ticks(low, high, number)
    steps = np.diff(ticks)
    # far from zero the ticks themselves are rounded: a step of 1e-4 at 524288 to one part in 10⁶
    rounding = 8 * np.spacing(max(abs(low), abs(high)))
    assert ticks[0] <= low + 1e-6 * width + rounding
    assert ticks[-1] >= high - 1e-6 * width - rounding
    assert len(ticks) <= number + 3
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6, atol=rounding)
    relative = 1e-6 + rounding / steps[0]
    digit = steps[0] / 10 ** math.floor(math.log10(steps[0]) + relative)
    assert any(digit == pytest.approx(each, rel=relative) for each in (1, 2, 5))


def test_one_value_still_has_an_axis():
    """Half a unit to both sides."""
    ticks = nice_ticks(3.0, 3.0, 4)
    assert ticks[0] < 3 < ticks[-1]


def test_a_missing_value_lifts_the_pen():
    """Two pieces for None and for NaN."""
    for missing in (None, math.nan):
        line = Line("loss", "loss", [(1, 2.0), (2, 1.5), (3, missing), (4, 1.0), (5, 0.5)])
        svg = line_chart([line], title="Loss", x_label="epoch")
        path = ElementTree.fromstring(svg).find("path").get("d")
        assert path.count("M") == 2
        assert path.count("L") == 2


def test_a_single_epoch_is_a_dot():
    """A path of one point would be invisible."""
    svg = line_chart([Line("test", "test", [(1, 0.5)])], title="Accuracy", x_label="epoch")
    assert ElementTree.fromstring(svg).find("circle") is not None


def test_nothing_measured_draws_nothing():
    """No empty frame."""
    assert line_chart([Line("loss", "loss", [(1, None)])], title="Loss", x_label="epoch") == ""
    nothing = np.array([], dtype=np.float32)
    assert score_histogram(nothing, nothing.astype(bool), title="Scores") == ""


def test_every_point_lies_inside_the_drawing():
    """Extreme values included."""
    points = [(epoch, value) for epoch, value in enumerate([0.0, 1e9, 3.0, -1e9])]
    svg = ElementTree.fromstring(line_chart([Line("a", "loss", points)], title="", x_label="epoch"))
    _, _, width, height = (float(part) for part in svg.get("viewBox").split())
    for part in svg.find("path").get("d").replace("M", "").replace("L", "").split():
        assert 0 <= float(part) <= max(width, height)


def test_text_is_escaped():
    """A hostile title stays a text."""
    svg = line_chart([Line("a", "loss", [(1, 1.0)])], title='"><script>', x_label="<b>")
    assert "<script>" not in svg
    assert "<b>" not in svg


def test_bars_of_all_and_of_suspects_share_their_places():
    """A thousand right rows and two suspects: a high bar, and one four times as narrow in count."""
    scores = np.array([0.91] * 1000 + [0.05] * 2 + [0.91] * 10, dtype=np.float32)
    flagged = np.arange(1012) >= 1000
    svg = ElementTree.fromstring(score_histogram(scores, flagged, title="Scores"))
    bars = {(bar.get("class"), bar.get("x")): float(bar.get("height")) for bar in svg.iter("rect")}
    assert len(bars) == 4
    left, right = sorted({float(x) for _, x in bars})
    assert bars["bar-all", f"{left:.1f}"] == bars["bar-flagged", f"{left:.1f}"]
    ratio = bars["bar-all", f"{right:.1f}"] / bars["bar-flagged", f"{right:.1f}"]
    assert ratio == pytest.approx(math.sqrt(101), rel=0.02)


@pytest.mark.parametrize("high", [0.0, 1e-5, 0.2, 1.0])
def test_the_gauge_holds_any_rate(high):
    """From nothing to everything."""
    svg = noise_gauge(NoiseRate(high / 2, 0.0, high, held_out=high, trained=0.0))
    point = ElementTree.fromstring(svg).find("circle")
    assert 0 < float(point.get("cx")) < 480
