"""Online batch selection: ranks, not losses."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sampling.drawing import history_with, weights_of
from thresher.errors import ParameterError
from thresher.sampling import OnlineBatch
from thresher.sampling.online_batch import rank_scores

losses = st.lists(
    st.floats(0, 50, width=32, allow_subnormal=False), min_size=1, max_size=30, unique=True
)


@given(losses)
def test_scores_depend_on_the_order_alone(values):
    """Of a rising function of the losses they are the same."""
    found = rank_scores(torch.tensor(values))
    steeper = rank_scores(torch.tensor(values, dtype=torch.float64) ** 3)
    assert torch.equal(found, steeper)


@given(losses)
def test_scores_are_the_ranks_over_their_number(values):
    """r / N, 1 / N for the largest loss."""
    ordered = sorted(values, reverse=True)
    expected = [(1 + ordered.index(value)) / len(values) for value in values]
    assert rank_scores(torch.tensor(values)).tolist() == pytest.approx(expected)


def test_the_first_is_drawn_so_much_oftener_than_the_last():
    """P(1) / P(N) = s_e^((N - 1) / N)."""
    weights = weights_of(rank_scores(torch.arange(8.0)), 100.0)
    assert float(weights[7] / weights[0]) == pytest.approx(100 ** (7 / 8))


def test_ranks_are_of_what_was_seen():
    """An unseen sample has no rank, and takes none from the others."""
    selector = OnlineBatch()
    history = history_with(selector, 4, 3, 20, last_loss=[0.1, math.nan, 3.0, 1.0])
    scores = selector.refresh(history, 5)
    assert scores[[0, 2, 3]].tolist() == pytest.approx([1, 1 / 3, 2 / 3])
    assert scores[1].isnan()


def test_the_pressure_comes_down_to_one():
    """From the first drawn epoch to the last."""
    selector = OnlineBatch(64)
    selector.begin(10, 3, 7)
    assert selector.warmup == 1
    found = [selector.pressure(epoch) for epoch in range(1, 7)]
    assert found == pytest.approx([64 ** (1 - (step + 1) / 6) for step in range(6)])


def test_a_run_of_unknown_length_is_refused_unless_nothing_decays():
    """Where the pressure would end is not known."""
    with pytest.raises(ParameterError, match="number of epochs is not known"):
        OnlineBatch().begin(10, 3, None)
    steady = OnlineBatch(8, decay="constant")
    steady.begin(10, 3, None)
    assert steady.pressure(1000) == 8
