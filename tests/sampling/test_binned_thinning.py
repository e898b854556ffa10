"""The engine draws what the weights say, whatever has happened to its bins."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thresher.errors import ParameterError
from thresher.sampling import binned_thinning
from thresher.sampling.binned_thinning import BinnedThinning, permuted
from thresher.sampling.levels import UNKNOWN, levels_of, scores_of

DRAWS = 400_000


def standardised(index, probability):
    """χ² of draws against probabilities, as a standard normal number by Wilson and Hilferty."""
    expected = probability * len(index)
    there = expected > 0
    counts = np.bincount(index, minlength=len(probability))
    assert counts[~there].sum() == 0
    square = ((counts - expected)[there] ** 2 / expected[there]).sum()
    degrees = there.sum() - 1
    third = 2 / (9 * degrees)
    return ((square / degrees) ** (1 / 3) - 1 + third) / np.sqrt(third)


def distribution(levels, pressure, eligible=None, revisit=1.0, mix=0.0):
    """The law of a single draw, written down without bins: P (N,)."""
    score = scores_of(levels).astype(np.float64)
    eligible = np.ones(len(levels), bool) if eligible is None else eligible
    known = np.sort(score[eligible & ~np.isnan(score)])
    score[np.isnan(score)] = known[(len(known) - 1) // 2] if len(known) else 0
    weight = np.where(eligible, pressure**-score, 0)
    weight /= weight.sum()
    weight = np.where(eligible, (1 - mix) * weight + mix / eligible.sum(), revisit / eligible.sum())
    return weight / weight.sum()


def scores(count, seed=0):
    """Most samples want little, a few want much."""
    generator = np.random.default_rng(seed)
    return np.where(generator.random(count) < 0.7, 1 - 0.2 * generator.random(count), 0.1)


# ---------------------------------------------------------------------- the law of a draw
@pytest.mark.parametrize("pressure", [1.0, 2.0, 100.0, 1e4])
def test_independent_draws_follow_the_weights(pressure):
    levels = levels_of(np.random.default_rng(0).random(500))
    engine = BinnedThinning(levels, pressure=pressure)
    index = engine.draw(DRAWS, np.random.default_rng(1), distinct=False)
    assert abs(standardised(index, distribution(levels, pressure))) < 4


def test_a_method_with_few_levels_never_wastes_a_trial():
    """Each of its levels is a bin of its own, where they lie far enough apart."""
    levels = levels_of(np.arange(500) % 40 / 39)
    engine = BinnedThinning(levels, pressure=100.0)
    assert engine.acceptance == pytest.approx(1)
    index = engine.draw(DRAWS, np.random.default_rng(1), distinct=False)
    assert abs(standardised(index, distribution(levels, 100.0))) < 4


def test_stale_bins_draw_exactly(monkeypatch):
    """Levels are written anew many times, and nothing is sorted."""
    generator = np.random.default_rng(2)
    levels = levels_of(scores(500))
    engine = BinnedThinning(levels, pressure=100.0)
    monkeypatch.setattr(engine, "rebuild", lambda: None)
    for _ in range(20):
        index = generator.choice(500, 60, replace=False)
        levels[index] = levels_of(generator.random(60))
        engine.update(index, levels[index])
    assert engine.rebuilds == 1
    assert engine.acceptance < 0.5
    index = engine.draw(DRAWS, np.random.default_rng(3), distinct=False)
    assert abs(standardised(index, distribution(levels, 100.0))) < 4


def test_ineligible_unknown_and_mixed_samples_follow_their_law(monkeypatch):
    """All kinds of bins at once, fresh and stale."""
    generator = np.random.default_rng(4)
    levels = levels_of(scores(600))
    levels[::7] = UNKNOWN
    eligible = generator.random(600) < 0.8
    engine = BinnedThinning(levels, pressure=50.0, eligible=eligible, revisit=0.4, uniform_mix=0.2)
    expected = distribution(levels, 50.0, eligible, 0.4, 0.2)
    assert engine.probabilities(np.arange(600)) == pytest.approx(expected, rel=1e-6)
    index = engine.draw(DRAWS, np.random.default_rng(5), distinct=False)
    assert abs(standardised(index, expected)) < 4
    monkeypatch.setattr(engine, "rebuild", lambda: None)
    median = np.sort(levels[eligible & (levels != UNKNOWN)])
    median = median[(len(median) - 1) // 2]
    rows = generator.choice(600, 200, replace=False)
    levels[rows] = levels_of(generator.random(200))
    engine.update(rows, levels[rows])
    levels[levels == UNKNOWN] = median  # as they were weighed at the rebuild
    expected = distribution(levels, 50.0, eligible, 0.4, 0.2)
    index = engine.draw(DRAWS, np.random.default_rng(6), distinct=False)
    assert abs(standardised(index, expected)) < 4


def test_nobody_ineligible_is_drawn_without_revisits():
    eligible = np.arange(6000) % 3 == 0
    engine = BinnedThinning(
        levels_of(np.random.default_rng(0).random(6000)),
        pressure=10.0,
        eligible=eligible,
        revisit=0.0,
        uniform_mix=0.1,
    )
    assert eligible[engine.draw(5000, np.random.default_rng(0), distinct=False)].all()
    assert eligible[engine.draw(2000, np.random.default_rng(0))].all()
    with pytest.raises(ParameterError, match="2000 can be drawn"):
        engine.draw(2001, np.random.default_rng(0))


def test_pressure_one_draws_uniformly():
    engine = BinnedThinning(levels_of(scores(400)))
    assert engine.probabilities(np.arange(400)) == pytest.approx(np.full(400, 1 / 400))
    assert 400 == pytest.approx(engine.effective_sample_size())


# ---------------------------------------------------------------------- distinct batches
def included(probability):
    """Inclusion in a successive sample of two: first, or second after another one."""
    others = (probability / (1 - probability)).sum() - probability / (1 - probability)
    return probability + probability * others


def frequencies(engine, batches, size):
    generator = np.random.default_rng(7)
    drawn = np.concatenate([engine.draw(size, generator) for _ in range(batches)])
    return np.bincount(drawn, minlength=engine.samples) / batches


def test_the_race_includes_as_a_successive_sample_does():
    """The weights .5, .2, .1, .1, .05, .05 and the closed form for two."""
    probability = np.array([0.5, 0.2, 0.1, 0.1, 0.05, 0.05])
    wanted = np.array([0.7887, 0.4655, 0.2466, 0.2466, 0.1262, 0.1262])
    assert included(probability) == pytest.approx(wanted, abs=5e-5)
    engine = BinnedThinning(levels_of(-np.log(probability * 2) / np.log(10)), pressure=10.0)
    found = frequencies(engine, 20_000, 2)
    slack = 4 * np.sqrt(wanted * (1 - wanted) / 20_000)
    assert (np.abs(found - wanted) < slack).all()


def test_passing_over_repetitions_includes_as_a_successive_sample_does(monkeypatch):
    monkeypatch.setattr(binned_thinning, "FEW", 0)
    engine = BinnedThinning(levels_of(np.arange(12) / 11), pressure=4.0)
    monkeypatch.setattr(engine, "_race", None)  # it would not be callable
    wanted = included(engine.probabilities(np.arange(12)))
    assert 2 == pytest.approx(wanted.sum())
    found = frequencies(engine, 20_000, 2)
    slack = 4 * np.sqrt(wanted * (1 - wanted) / 20_000)
    assert (np.abs(found - wanted) < slack).all()


@pytest.mark.parametrize("samples", [1, 2, 300, 5000])
def test_a_batch_of_everything_holds_everything(samples):
    engine = BinnedThinning(levels_of(scores(samples)), pressure=100.0)
    batch = engine.draw(samples, np.random.default_rng(0))
    assert list(range(samples)) == sorted(batch.tolist())


@pytest.mark.parametrize("samples", [300, 5000])
def test_no_sample_comes_twice_in_a_batch(samples):
    engine = BinnedThinning(levels_of(scores(samples)), pressure=1000.0)
    for size in (0, 1, 64, 250):
        batch = engine.draw(size, np.random.default_rng(size))
        assert size == len(np.unique(batch))


def test_more_samples_than_there_are_is_an_error():
    engine = BinnedThinning(levels_of(scores(10)))
    with pytest.raises(ParameterError, match="11 distinct samples"):
        engine.draw(11, np.random.default_rng(0))


# ---------------------------------------------------------------------- changes
changes = st.lists(
    st.lists(st.tuples(st.integers(0, 29), st.integers(0, UNKNOWN)), min_size=1, max_size=40),
    max_size=8,
)


@settings(max_examples=60)
@given(
    changes,
    st.sampled_from([1.0, 3.0, 100.0]),
    st.sets(st.integers(0, 29), max_size=20),
    st.integers(0, 2**32),
)
def test_after_any_changes_the_engine_is_that_of_its_levels(batches, pressure, flagged, seed):
    """Duplicates, unknown levels, ineligible samples: as if it had been made of the last levels."""
    generator = np.random.default_rng(seed)
    levels = generator.integers(0, UNKNOWN, 30).astype(np.uint16)
    eligible = ~np.isin(np.arange(30), list(flagged))
    engine = BinnedThinning(levels, pressure=7.0, eligible=eligible, revisit=0.5, uniform_mix=0.1)
    for batch in batches:
        for index, level in batch:
            levels[index] = levels[index] if level == UNKNOWN else level
        rows = np.array([index for index, _ in batch])
        engine.update(rows, np.array([level for _, level in batch], np.uint16))
    engine.set_pressure(pressure)
    again = BinnedThinning(
        levels, pressure=pressure, eligible=eligible, revisit=0.5, uniform_mix=0.1
    )
    everyone = np.arange(30)
    assert engine.mean_weight == again.mean_weight  # sums are exact
    assert engine.weights(everyone).tolist() == again.weights(everyone).tolist()
    probability, count = engine.spectrum()
    assert 1 == pytest.approx((probability * count).sum())
    engine.rebuild()
    one, other = (
        each.draw(50, np.random.default_rng(1), distinct=False) for each in (engine, again)
    )
    assert one.tolist() == other.tolist()


def test_another_pressure_draws_as_an_engine_made_with_it():
    levels = levels_of(scores(5000))
    changed = BinnedThinning(levels, pressure=1000.0)
    changed.set_pressure(10.0)
    made = BinnedThinning(levels, pressure=10.0)
    for seed in range(5):
        one, other = (each.draw(64, np.random.default_rng(seed)) for each in (changed, made))
        assert one.tolist() == other.tolist()


def test_a_restored_engine_draws_and_changes_as_the_first():
    """Its bins are stale at the time, and one of them is rebuilt later."""
    generator = np.random.default_rng(0)
    levels = levels_of(scores(6000))
    eligible = generator.random(6000) < 0.9
    first = BinnedThinning(levels, pressure=100.0, eligible=eligible, revisit=0.3)
    for _ in range(5):
        first.update(generator.integers(0, 6000, 50), levels_of(generator.random(50)))
    for level in (40_000, 20_000, 5_000):  # from one overflow bin to a better one
        first.update(np.arange(50), np.full(50, level, np.uint16))
    state = first.state_dict()
    assert len(state["overflow"]) > len(np.unique(state["overflow"]))
    second = BinnedThinning(levels_of(np.zeros(6000)), revisit=0.3)
    second.load_state_dict(state)
    before = first.rebuilds
    for step in range(40):
        one, other = (each.draw(32, np.random.default_rng(step)) for each in (first, second))
        assert one.tolist() == other.tolist()
        level = levels_of(generator.random(32))
        first.update(one, level)
        second.update(other, level)
        if step == 20:
            first.set_pressure(20.0)
            second.set_pressure(20.0)
    assert first.rebuilds > before
    assert first.acceptance == second.acceptance


def test_the_bins_are_made_anew_before_half_of_the_trials_fail():
    """Whatever is written, drawing stays cheap, and so does the overflow."""
    generator = np.random.default_rng(0)
    engine = BinnedThinning(levels_of(np.ones(20_000)), pressure=100.0)
    for _ in range(300):
        engine.update(generator.integers(0, 20_000, 128), levels_of(generator.random(128)))
        assert engine.acceptance >= 0.5
        # no sample weighs more than its bin allows: what a draw cannot show, and would be biased by
        assert (engine._level >= engine._best[engine._bin]).all()
        assert engine.state_dict()["overflow"].size <= 20_000 // 16
    assert 1 < engine.rebuilds < 100


# ---------------------------------------------------------------------- size
def test_beyond_2_to_24_samples_the_last_one_is_found():
    """Where torch.multinomial gives up, and float32 can no longer tell neighbours apart."""
    samples = 2**24 + 7
    levels = np.full(samples, 65534, np.uint16)
    only_last = np.zeros(samples, bool)
    only_last[-1] = True
    engine = BinnedThinning(levels, pressure=2.0, eligible=only_last, revisit=0.0)
    assert [samples - 1] * 5 == engine.draw(5, np.random.default_rng(0), distinct=False).tolist()
    engine.rebuild(eligible=~np.zeros(samples, bool))
    batch = engine.draw(4096, np.random.default_rng(0))
    # the mean of uniform draws, within four of its standard deviations
    assert abs(batch.mean() / samples - 0.5) < 4 / np.sqrt(12 * 4096)
    assert (batch % 2).mean() == pytest.approx(0.5, abs=0.04)


def test_a_draw_costs_the_same_from_ten_times_the_samples():
    """Trials, and memory that is asked for: nothing grows with the data."""
    trials, octets = [], []
    for samples in (10**5, 10**6):
        generator = np.random.default_rng(0)
        engine = BinnedThinning(levels_of(generator.random(samples)), pressure=100.0)
        engine.draw(256, generator)
        engine.proposals = 0
        tracemalloc.start()
        for _ in range(20):
            batch = engine.draw(256, generator)
            engine.update(batch, levels_of(generator.random(256)))
        octets.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        trials.append(engine.proposals)
    assert trials[1] < 1.5 * trials[0]
    assert octets[1] < 3 * octets[0]
    assert octets[1] < 10**6  # one byte a sample would be more


def test_a_sample_takes_seven_bytes():
    """Of the arrays that are kept; tables over the levels are the same for any number of them."""
    sizes = []
    for samples in (10**6, 2 * 10**6):
        engine = BinnedThinning(np.zeros(samples, np.uint16))
        sizes.append(sum(each.nbytes for each in vars(engine).values() if hasattr(each, "nbytes")))
    assert 7 * 10**6 == sizes[1] - sizes[0]


# ---------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"levels": np.zeros(3)}, "uint16"),
        ({"levels": np.zeros(0, np.uint16)}, "N >= 1"),
        ({"revisit": -1.0}, "revisit"),
        ({"uniform_mix": 1.0}, "uniform_mix"),
        ({"pressure": 0.5}, "pressure"),
        ({"eligible": np.zeros(3, bool)}, "No sample is eligible"),
        ({"eligible": np.ones(4, bool)}, "3 samples, got 4"),
    ],
)
def test_what_cannot_be_is_refused(wrong, message):
    arguments = {"levels": np.zeros(3, np.uint16), **wrong}
    with pytest.raises(ParameterError, match=message):
        BinnedThinning(arguments.pop("levels"), **arguments)


def test_the_state_of_other_data_is_refused():
    engine = BinnedThinning(np.zeros(3, np.uint16))
    with pytest.raises(ParameterError, match="4 samples"):
        engine.load_state_dict(BinnedThinning(np.zeros(4, np.uint16)).state_dict())


@pytest.mark.parametrize("distinct", [True, False])
def test_several_batches_follow_the_law_of_one(distinct):
    """How often a sample of each level comes, and in a distinct batch never twice."""
    levels = np.tile(np.array([0, 20_000, 40_000, 65_534], np.uint16), 1_250)
    engine = BinnedThinning(levels, pressure=100.0)
    random = np.random.default_rng(5)
    together, alone = np.zeros((2, 4))
    sizes = [200, 150, 200, 7]
    for _ in range(40):
        for size, batch in zip(
            sizes, engine.draw_several(sizes, random, distinct=distinct), strict=True
        ):
            assert len(batch) == size
            assert not distinct or len(np.unique(batch)) == size
            together += np.bincount(batch % 4, minlength=4)
            alone += np.bincount(engine.draw(size, random, distinct=distinct) % 4, minlength=4)
    drawn = 40 * sum(sizes)
    assert drawn == together.sum() == alone.sum()
    spread = np.sqrt((together + alone) * (1 - (together + alone) / (2 * drawn)))
    assert (np.abs(together - alone) < 4.5 * spread).all()


def test_permuted_batches_keep_their_rows_and_forget_their_order():
    """Each of the six orders of three rows comes as often, whatever batches come with them."""
    random = np.random.default_rng(5)
    orders: dict[tuple[int, ...], int] = {}
    for _ in range(600):
        one, other, none = permuted(
            [np.array([1, 2, 3]), np.array([7, 8, 9]), np.empty(0, np.int64)], random
        )
        assert sorted(other.tolist()) == [7, 8, 9]
        assert not len(none)
        orders[tuple(one.tolist())] = orders.get(tuple(one.tolist()), 0) + 1
    assert len(orders) == 6
    assert all(abs(each - 100) < 4.5 * np.sqrt(600 / 6 * 5 / 6) for each in orders.values())


def test_batches_drawn_together_are_distinct_where_few_draws_are_left_over():
    """A batch nearly as large as the data repeats rows far more often than there are spare ones."""
    engine = BinnedThinning(levels_of(np.zeros(5000)), pressure=1.0)
    random = np.random.default_rng(6)
    found = engine.draw_several([2000, 1, 2400, 2000], random, distinct=True)
    assert [2000, 1, 2400, 2000] == [len(np.unique(each)) for each in found]
