"""InfoBatch: unbiased, and nothing is left out before something is known."""

import itertools
import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from sampling.drawing import history_with, planned
from thresher.errors import ParameterError
from thresher.sampling import InfoBatch

LOSSES = [0.1, 0.2, 5.0, 0.3, 4.0, 0.05, 0.4, 6.0]


def plan_of(losses, *, epoch=1, seed=0, epochs=100, eligible=None, **options):
    selector = InfoBatch(**options)
    columns = {} if eligible is None else {"eligible": eligible}
    history = history_with(selector, len(losses), 3, epochs, last_loss=losses, **columns)
    return planned(selector, history, epoch, seed)


def test_nothing_is_left_out_before_losses_are_known():
    """In the first epoch there are none, and of equal ones none lies below the mean."""
    for losses in ([math.nan] * 6, [2.0] * 6):
        rows = plan_of(losses, epoch=0)
        assert sorted(rows.index.tolist()) == list(range(6))
        assert rows.weights is None


@given(
    st.lists(st.floats(0, 10, width=32), min_size=2, max_size=40),
    st.sampled_from([0.3, 0.5, 0.75]),
    st.sampled_from(["bernoulli", "count"]),
    st.integers(0, 99),
)
@example([0.0, 1.401298464324817e-45], 0.5, "bernoulli", 0)  # their mean is none of float32
def test_what_is_kept_and_what_it_weighs(losses, prune, draw, seed):
    """All at the mean or above with weight 1; below it some, each with weight 1 / (1 - r)."""
    rows = plan_of(losses, prune=prune, draw=draw, seed=seed)
    values = torch.tensor(losses, dtype=torch.float64)
    easy = set(torch.nonzero(values < values.mean()).flatten().tolist())
    kept = rows.index.tolist()
    assert len(kept) == len(set(kept))
    assert set(range(len(losses))) - easy <= set(kept)
    weights = dict(zip(kept, rows.weights.tolist() if easy else [1.0] * len(kept), strict=True))
    for row, weight in weights.items():
        assert weight == pytest.approx(1 / (1 - prune) if row in easy else 1)
    if draw == "count":
        assert len(easy & set(kept)) == math.floor((1 - prune) * len(easy) + 1e-9)


@pytest.mark.parametrize("prune", [0.25, 0.5])
def test_the_expected_gradient_is_that_of_all_samples(prune):
    """E[Σ w g] = Σ g within four standard errors, for gradients unlike in size and sign."""
    gradient = torch.tensor([3.0, -1.0, 0.5, 2.0, -4.0, 1.0, 0.1, 2.5], dtype=torch.float64)
    found = []
    for seed in range(3000):
        rows = plan_of(LOSSES, prune=prune, seed=seed)
        found.append(float((rows.weights.double() * gradient[rows.index]).sum()))
    draws = torch.tensor(found, dtype=torch.float64)
    error = float(draws.std()) / math.sqrt(len(draws))
    assert abs(float(draws.mean()) - float(gradient.sum())) < 4 * error


def test_exact_counts_are_off_by_less_than_a_sample():
    """Of five with r = 1/2 two are kept, which count for four: every pair is as likely."""
    seen = set()
    for seed in range(200):
        rows = plan_of(LOSSES, draw="count", seed=seed)
        easy = [row for row in sorted(rows.index.tolist()) if LOSSES[row] < 2]
        seen.add(tuple(easy))
        assert float(rows.weights.sum()) == pytest.approx(3 + 4)
    assert seen == set(itertools.combinations([0, 1, 3, 5, 6], 2))


def test_the_last_epochs_take_every_sample():
    """From δ C on, with weight 1."""
    before, after = (plan_of(LOSSES, epoch=epoch, epochs=8) for epoch in (6, 7))
    assert before.weights is not None
    assert after.weights is None
    assert sorted(after.index.tolist()) == list(range(8))


def test_rows_never_seen_or_kept_out_of_training_stay_and_do_not_enter_the_mean():
    """A held-out row with a huge loss does not make the others look easy."""
    losses = [1.0, 1.0, 1.0, 100.0, math.nan]
    rows = plan_of(losses, eligible=[True, True, True, False, True])
    assert sorted(rows.index.tolist()) == list(range(5))
    assert rows.weights is None


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"prune": 1.0}, r"prune must be in \[0, 1\)"),
        ({"anneal": 0.0}, "anneal must be in"),
        ({"draw": "half"}, "draw must be bernoulli or count"),
    ],
)
def test_settings_out_of_range_are_refused(options, match):
    """Before anything starts."""
    with pytest.raises(ParameterError, match=match):
        InfoBatch(**options)


def test_when_the_last_epochs_begin_must_be_known():
    """Or never."""
    with pytest.raises(ParameterError, match="number of epochs is not known"):
        InfoBatch().begin(8, 3, None)
    assert plan_of(LOSSES, epoch=10_000, epochs=None, anneal=1).weights is not None
