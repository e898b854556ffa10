"""Ada-Boundary: distances and scores by hand, what the variants prefer, and what a step changes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sampling.drawing import SlowSampler, history_with, weights_of
from thresher.boundary_distance import logit_margin, probability_margin, signed_deviation
from thresher.errors import ParameterError
from thresher.sampling import AdaBoundary, Observed
from thresher.sampling.ada_boundary import ada_scores, uniform_scores

#: Probabilities of a one-hot prediction and the like, and u = |v| by hand.
SPREAD = [0.5, 0.3, 0.2, *[0.0] * 7]


def index_of(probability, label, samples=50_000):
    """The papers' quantisation index Q = ceil(N |d| / d_max)."""
    v = signed_deviation(torch.tensor([probability]), torch.tensor([label]))
    return math.ceil(samples * float(v.abs()))


@pytest.mark.parametrize(
    ("classes", "expected"), [(2, 0.5), (10, 0.3), (100, 0.0994987), (1000, 0.0316070)]
)
def test_the_largest_deviation_is_that_of_a_certain_prediction(classes, expected):
    """d_max = sqrt(k - 1) / k is NumPy's standard deviation of a one-hot row, and v is 1 there."""
    row = torch.eye(classes)[:1]
    assert float(row.numpy().std()) == pytest.approx(expected, abs=1e-6)
    v = signed_deviation(row.expand(2, -1), torch.tensor([0, 1]))
    assert v.tolist() == pytest.approx([1, -1])


def test_the_papers_index_of_certain_and_of_even_predictions():
    """Q = N for a one-hot row, right or wrong; 0 for a uniform one."""
    assert index_of([1.0, 0, 0, 0], 0) == 50_000
    assert index_of([1.0, 0, 0, 0], 3) == 50_000
    assert index_of([0.25] * 4, 2) == 0


def test_the_deviation_of_a_spread_prediction():
    """σ = 0.167332, u = 0.557773."""
    v = signed_deviation(torch.tensor([SPREAD], dtype=torch.float64), torch.tensor([0]))
    assert float(v) * 0.3 == pytest.approx(0.167332, abs=1e-6)
    assert float(v) == pytest.approx(0.557773, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_a_tie_of_two_classes_is_on_the_boundary_for_the_margins_alone(classes):
    """The deviation says sqrt((1/2 - 1/k) / (1 - 1/k)): 0 for two classes, towards 0.71."""
    row = torch.zeros(1, classes, dtype=torch.float64)
    row[0, :2] = 0.5
    label, logits = torch.tensor([0]), row.clamp(min=1e-9).log()
    expected = math.sqrt((1 / 2 - 1 / classes) / (1 - 1 / classes))
    assert float(signed_deviation(row, label).abs()) == pytest.approx(expected)
    assert float(probability_margin(row, label)) == 0
    assert float(logit_margin(logits, label)) == 0


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=2), st.integers(0, 1))
def test_with_two_classes_the_margins_and_the_deviation_are_one(logits, label):
    """The three distances differ by rounding."""
    rows, labels = torch.tensor([logits], dtype=torch.float64), torch.tensor([label])
    v = float(probability_margin(rows.softmax(1), labels))
    assert float(logit_margin(rows, labels)) == pytest.approx(v, abs=1e-9)
    assert float(signed_deviation(rows.softmax(1), labels).abs()) == pytest.approx(abs(v), abs=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=9))
def test_variants_mirror_each_other(values):
    """Easy at v is hard at -v, and the boundary does not ask for the side."""
    v = torch.tensor(values, dtype=torch.float64)
    assert torch.equal(ada_scores(v, "easy"), ada_scores(-v, "hard"))
    assert torch.equal(ada_scores(v, "boundary"), ada_scores(-v, "boundary"))
    for variant in ("boundary", "easy", "hard"):
        u = ada_scores(v, variant)
        assert ((u >= 0) & (u <= 1)).all()


def test_the_most_wanted_is_drawn_so_much_oftener_than_the_least():
    """P(u = 0) / P(u = 1) = s_e."""
    selector = AdaBoundary(32, warmup=0)
    selector.begin(2, 2, None)
    weights = weights_of(torch.tensor([0.0, 1.0]), selector.pressure(3))
    assert float(weights[0] / weights[1]) == pytest.approx(32)


@given(
    st.permutations(range(5)),
    st.lists(st.floats(-9, 9), min_size=5, max_size=5),
    st.integers(0, 4),
    st.sampled_from(["std", "margin", "logit_margin"]),
)
def test_the_names_of_the_classes_do_not_matter(order, logits, label, distance):
    """Permuting the columns and the label alike leaves the score as it is."""
    selector = AdaBoundary(distance=distance)
    rows = torch.tensor([logits])
    if len(set(rows[0].tolist())) < 5:
        return  # which of equals is predicted depends on their order
    shuffled, place = rows[:, list(order)], list(order).index(label)
    index = torch.tensor([0])
    first = selector.rescore(Observed(index, rows, torch.tensor([label]), 0))
    second = selector.rescore(Observed(index, shuffled, torch.tensor([place]), 0))
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


def test_of_equal_classes_the_first_is_the_prediction():
    """So the sign does not depend on who asks."""
    row = torch.tensor([[0.4, 0.4, 0.2]])
    signs = [float(signed_deviation(row, torch.tensor([label]))) > 0 for label in range(3)]
    assert signs == [True, False, False]


def test_a_network_without_an_answer_leaves_the_score_as_it_was():
    """NaN logits give NaN, which the sampler does not take over."""
    sampler = SlowSampler(AdaBoundary(), 3, 2, None)
    sampler.begin_epoch(0)
    index, labels = torch.arange(2), torch.zeros(2, dtype=torch.int64)
    sampler.observe(index, torch.tensor([[1.0, 0], [0, 0]]), labels)
    before = sampler.scores.clone()
    sampler.observe(index, torch.tensor([[math.nan, 0], [9, 0]]), labels)
    assert sampler.scores[0] == before[0]
    assert sampler.scores[1] != before[1]


def test_only_what_a_step_saw_changes_and_the_warmup_is_even():
    """Every sample once an epoch while scores move already."""
    sampler = SlowSampler(AdaBoundary(100, warmup=2), 40, 3, 10)
    for epoch in range(2):
        sampler.begin_epoch(epoch)
        seen = []
        for index in sampler.batches(8, seed=0):
            before = sampler.scores.clone()
            sampler.observe(index, torch.randn(8, 3), torch.zeros(8, dtype=torch.int64))
            changed = sampler.scores.nan_to_num(9) != before.nan_to_num(9)
            assert set(torch.nonzero(changed).flatten().tolist()) <= set(index.tolist())
            assert changed.any()
            seen += index.tolist()
        assert sorted(seen) == list(range(40))


def test_uniform_draws_every_bin_that_holds_samples_alike():
    """χ² of 100,000 draws over the bins, two of which are empty; inside one bin all are alike."""
    random = np.random.default_rng(0)
    signed = np.clip(random.normal(0.6, 0.15, 3000), 0.05, 1).astype(np.float32)
    signed[:40] = np.linspace(-1, -0.5, 40)
    selector = AdaBoundary(variant="uniform", bins=10)
    history = history_with(selector, 3000, 4, None, boundary_distance=signed)
    weights = weights_of(selector.refresh(history, 0), selector.pressure(0)).numpy()
    bins = np.clip(((signed + 1) / 2 * 10).astype(int), 0, 9)
    drawn = random.choice(3000, 100_000, p=weights / weights.sum())
    counts = np.bincount(bins[drawn], minlength=10)
    filled = np.unique(bins)
    assert [3, 4] == np.setdiff1d(np.arange(10), filled).tolist()
    assert stats.chisquare(counts[filled]).pvalue > 1e-4
    for each in filled:
        assert np.ptp(weights[bins == each]) < 1e-6 * weights[bins == each].max()


def test_a_distance_of_zero_has_a_bin():
    """The first above the middle, where tiny positive ones lie too."""
    signed = torch.tensor([0.0, 1e-6, -1e-6, 1.0, -1.0, math.nan])
    scores = uniform_scores(signed, 40, float(len(signed)))
    assert scores[0] == scores[1] == pytest.approx(math.log(2) / math.log(6))
    assert scores[2:5].tolist() == [0, 0, 0]
    assert scores[5].isnan()


def test_the_official_preset_takes_over_what_it_says():
    """s_e = 100 and 15 epochs of warm-up, which a short run does not shorten but refuses."""
    official, recommended = AdaBoundary(preset="official"), AdaBoundary()
    for selector in (official, recommended):
        selector.begin(100, 10, 40)
    assert (official.pressure(39), official.warmup) == (100, 15)
    assert (recommended.pressure(39), recommended.warmup) == (10, 5)
    recommended.begin(100, 10, 100)
    assert recommended.warmup == 10
    recommended.begin(100, 10, 8)
    assert recommended.warmup == 2
    with pytest.raises(ParameterError, match="none of 10 epochs"):
        official.begin(100, 10, 10)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"variant": "moderate"}, "variant must be one of boundary, easy, hard, uniform"),
        ({"distance": "l2"}, "distance must be one of"),
        ({"preset": "paper"}, "preset must be one of"),
        ({"pressure": 0.5}, "pressure must be 1 or more"),
        ({"variant": "uniform", "pressure": 10}, "takes no selection pressure"),
        ({"variant": "uniform", "decay": "linear"}, "takes no selection pressure"),
        ({"variant": "uniform", "distance": "margin"}, 'bins the distance "std"'),
        ({"logit_scale": 0}, "logit_scale must be positive"),
        ({"bins": 0}, "bins must be positive"),
    ],
)
def test_what_contradicts_itself_is_refused(options, match):
    """Before anything starts."""
    with pytest.raises(ParameterError, match=match):
        AdaBoundary(**options)
