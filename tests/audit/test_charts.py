"""Charts: round ticks, gaps where nothing was measured, and harmless text."""

import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thresher.audit.charts import (
    Line,
    history_strip,
    line_chart,
    nice_ticks,
    noise_gauge,
    precision_curve,
    score_histogram,
)
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


def lines(svg, style):
    """The places of the upright lines of a kind."""
    drawn = ElementTree.fromstring(svg).iter("line")
    return [float(line.get("x1")) for line in drawn if style in (line.get("class") or "").split()]


def test_the_histogram_marks_the_tie_and_the_last_suspect():
    """In the order of their scores; without suspects the tie alone."""
    scores = np.array([0.1, 0.3, 0.9], dtype=np.float32)
    svg = score_histogram(scores, scores < 0.5, title="Scores")
    assert lines(svg, "limit") < lines(svg, "tie")
    assert "suspect up to 0.30" in svg
    assert "2 of 3 are suspect" in ElementTree.fromstring(svg).get("aria-label")
    calm = score_histogram(scores, scores < 0, title="Scores")
    assert (1, 0) == (len(lines(calm, "tie")), len(lines(calm, "limit")))


@pytest.mark.parametrize("last", [0.4, 0.5, 0.6])
def test_the_names_of_the_two_marks_point_away_from_each_other(last):
    """However near they are."""
    scores = np.array([last, 0.95], dtype=np.float32)
    svg = ElementTree.fromstring(score_histogram(scores, scores < 0.9, title=""))
    anchors = [each.get("text-anchor") for each in svg.iter("text") if "mark" in each.get("class")]
    assert sorted(anchors) == ["end", "start"]


def test_the_curve_ends_at_the_share_of_all():
    """At the right edge, at its height; thousands of points are thinned."""
    shares = np.cumsum(np.arange(5000) % 4 != 0) / np.arange(1, 5001)
    svg = ElementTree.fromstring(precision_curve(shares, title="Wrong labels"))
    points = svg.find("path").get("d").replace("M", "L").split("L")[1:]
    x, y = map(float, points[-1].split())
    top, bottom = (y_of(svg, share) for share in ("100 %", "0 %"))
    assert y == pytest.approx(bottom + shares[-1] * (top - bottom), abs=0.11)
    assert x == max(float(point.split()[0]) for point in points)
    assert len(points) <= 400
    assert svg.get("aria-label") == "Wrong labels: 75 % of 5,000"


def y_of(svg, label):
    """Where the grid line of a tick lies."""
    texts = {each.text: float(each.get("y")) - 4 for each in svg.iter("text")}
    return texts[label]


def test_a_strip_goes_from_the_first_epoch_to_the_last():
    """From the bottom to the top, as wide as it is, and said in words."""
    svg = ElementTree.fromstring(history_strip(np.linspace(0, 1, 30, dtype=np.float32)))
    _, _, width, height = map(int, svg.get("viewBox").split())
    drawn = next(each for each in svg.iter("path") if each.get("class") == "top").get("d")
    points = drawn.removeprefix("M").split("L")
    assert (f"0 {height}", f"{width} 0") == (points[0], points[-1])
    assert "0 % in the first epoch, 100 % in the last" in svg.get("aria-label")


@pytest.mark.parametrize("epochs", [1, 2, 40, 41, 1000])
def test_strips_are_short_however_long_the_run(epochs):
    """Three hundred of them fit into a report."""
    assert len(history_strip(np.full(epochs, 0.5, dtype=np.float32))) < 1200


def test_no_curve_and_no_strip_of_nothing():
    """No empty frame."""
    assert precision_curve(np.zeros(0), title="") == ""
    assert history_strip(np.zeros(0, dtype=np.float32)) == ""
