"""What selectors put into batches, on the toy: orderings with slack, as the literature has them."""

import pytest

from sampling.toy_selection import SELECTORS, selected

FURTHER_SEEDS = [pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2)]


@pytest.mark.parametrize("seed", [0, *FURTHER_SEEDS])
def test_losses_of_the_selected_are_ordered_on_clean_labels(seed):
    """Easy < 0.6 < 1 < recency (> 1.1) < ada < online (> 2), as shares of the mean loss."""
    found = selected(("easy", "recency", "ada", "online"), 0.0, seed)
    easy, recency, ada, online = (each.loss_ratio for each in found.values())
    assert easy < 0.6
    assert 1.1 < recency < ada < online
    assert online > 2


@pytest.mark.parametrize("seed", [0, *FURTHER_SEEDS])
def test_selection_amplifies_wrong_labels_and_easy_ones_avoid_them(seed):
    """Of 40 % wrong labels: below 15 %, 41 to 50 %, above 54 % of what is drawn."""
    found = selected(("easy", "recency", "ada", "online"), 0.4, seed)
    easy, recency, ada, online = (each.noisy_share for each in found.values())
    assert easy < 0.15
    assert 0.41 < recency < 0.50
    assert 0.41 < ada < 0.50
    assert online > 0.54


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_pressure_every_selector_is_random(seed):
    """s_e = 1: the mean loss and the share of wrong labels are those of the data."""
    for each in selected(tuple(SELECTORS), 0.2, seed, pressure=1.0).values():
        assert each.loss_ratio == pytest.approx(1, abs=0.06)
        assert each.noisy_share == pytest.approx(0.2, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hard_selection_stands_between_the_boundary_and_the_largest_losses(seed):
    """In the losses it selects, and in the wrong labels, of which it takes far more than ada."""
    clean = selected(("ada", "hard", "online"), 0.0, seed)
    assert clean["ada"].loss_ratio < clean["hard"].loss_ratio < clean["online"].loss_ratio
    noisy = selected(("ada", "hard"), 0.4, seed)
    assert noisy["hard"].noisy_share > noisy["ada"].noisy_share + 0.08
