"""The batch sampler: what it yields, when what it hears counts, and what it refuses."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, SequentialSampler

from small_selectors import CLASSES, Frozen, Half, Learner, answer, report_back, run_epoch
from thresher.data import Indexed
from thresher.errors import ParameterError, RunError
from thresher.history import AUDIT, Column, SampleHistory
from thresher.sampling import AdaptiveBatchSampler, Planned, PlannedRows, Scored, shuffled_batches
from thresher.sampling.binned_thinning import BinnedThinning, permuted
from thresher.sampling.levels import UNKNOWN, levels_of


def make(selector, samples=100, **settings):
    return AdaptiveBatchSampler(selector, samples, CLASSES, **{"batch_size": 10, **settings})


def run(sampler, epochs):
    """Batches of some epochs, all observed."""
    return [batch for _ in range(epochs) for batch in run_epoch(sampler)]


# ---------------------------------------------------------------------- what it yields
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize(
    "samples", [43, 41]
)  # a smaller last batch; one that joins the last but one
def test_a_warm_up_is_the_shuffled_epoch_bit_for_bit(drop_last, samples):
    sampler = make(Frozen(warmup=2), samples, drop_last=drop_last, seed=5)
    for epoch in range(2):
        shuffled = list(shuffled_batches(torch.arange(samples), 10, seed=5, epoch=epoch))
        shuffled = [each[:10] if drop_last else each for each in shuffled]
        shuffled = shuffled[:4] if drop_last else shuffled
        assert [each.tolist() for each in shuffled] == run_epoch(sampler)
        assert epoch == sampler.epoch


def test_pressure_one_with_a_plan_of_the_epoch_is_the_shuffled_epoch():
    """So a pressure that decays to 1 ends where every other training is."""
    sampler = make(Frozen(pressure=1), replacement="epoch", seed=5)
    shuffled = shuffled_batches(torch.arange(100), 10, seed=5, epoch=0)
    assert [each.tolist() for each in shuffled] == run_epoch(sampler)


@pytest.mark.parametrize("replacement", ["batch", "epoch"])
def test_no_row_stands_twice_in_a_batch(replacement):
    sampler = make(Frozen(pressure=20), replacement=replacement)
    batches = run(sampler, 10)
    assert all(10 == len(set(batch)) for batch in batches)
    assert len(set(batches[0] + batches[1] + batches[2])) < 30  # but over batches they do


@pytest.mark.parametrize("replacement", ["iid", "batch", "epoch"])
def test_rows_come_as_often_as_their_scores_say(replacement):
    """Mean of each half of the samples over many epochs; distinct batches are a little flatter."""
    sampler = make(Frozen(pressure=9), 400, replacement=replacement)
    drawn = np.concatenate(run(sampler, 30))
    low, high = (drawn < 200).mean(), (drawn >= 200).mean()
    weights = 9.0 ** -(np.arange(400) / 399)
    wanted = weights[:200].sum() / weights[200:].sum()
    assert wanted == pytest.approx(low / high, rel=0.08)


def test_independent_draws_may_repeat_a_row_and_both_visits_count():
    """In sums and in the ring, also within one batch."""
    ring = (Column("predictions", "class", width=3, fill=-1), Column("pushes", torch.int32))
    sampler = make(Frozen(pressure=100, columns=(*AUDIT, *ring)), 20, replacement="iid")
    batches = run(sampler, 2)
    assert any(len(set(batch)) < 10 for batch in batches)
    visits = np.bincount(np.concatenate(batches), minlength=20)
    assert visits.tolist() == sampler.history["visits"].tolist()
    assert visits.tolist() == sampler.history["pushes"].tolist()


def test_the_same_seed_gives_the_same_batches_and_another_one_others():
    one, same, other = (run(make(Learner(), seed=seed), 4) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert one[:10] != one[10:20] != one[20:30]  # no epoch is like another


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("samples", [30, 31, 39])
def test_its_length_is_the_number_of_its_batches(drop_last, samples):
    sampler = make(Frozen(warmup=1), samples, drop_last=drop_last)
    for _ in range(3):
        promised = len(sampler)
        assert promised == len(run_epoch(sampler))


def test_the_length_of_a_plan_is_that_of_the_coming_epoch():
    """Between two epochs; within one, of that."""
    sampler = make(Half(), drop_last=False)
    lengths = []
    for _ in range(4):
        promised = len(sampler)
        iterator = iter(sampler)
        first = next(iterator)
        assert promised == len(sampler)
        report_back(sampler, first)
        rest = [report_back(sampler, batch) for batch in iterator]
        assert promised == 1 + len(rest)
        lengths.append(promised)
    assert [10, 5, 10, 5] == lengths


def test_a_look_at_the_first_batch_counts_for_nothing():
    sampler, other = make(Learner()), make(Learner())
    looked_at = next(iter(sampler))
    assert run(sampler, 3) == run(other, 3)
    assert looked_at == run(make(Learner()), 1)[0]


def test_an_epoch_that_is_broken_off_is_followed_by_the_next():
    sampler = make(Frozen(warmup=5))
    report_back(sampler, next(iter(sampler)))
    second = run_epoch(sampler)
    assert 1 == sampler.epoch
    assert 10 == len(second)


def test_two_iterations_at_once_are_refused():
    sampler = make(Frozen())
    first = iter(sampler)
    report_back(sampler, next(first))
    next(iter(sampler))
    with pytest.raises(ParameterError, match="at once"):
        next(first)


# ---------------------------------------------------------------------- scores
def test_scores_and_pressure_of_the_selector_reach_the_draws():
    """Of two scores and pressure 3, the lower one comes three times as often."""

    class Two(Scored):
        def pressure(self, epoch):
            return 1.0 + epoch

        def refresh(self, history, epoch):
            return (torch.arange(400) % 2).float()

    sampler = make(Two(), 400, replacement="iid")
    shares = []
    for _ in range(3):
        drawn = np.concatenate(run_epoch(sampler))
        shares.append((drawn % 2 == 0).mean())
    # 400 draws each, four standard deviations
    for share, wanted in zip(shares, (1 / 2, 2 / 3, 3 / 4), strict=True):
        assert abs(share - wanted) < 4 * np.sqrt(wanted * (1 - wanted) / 400)


def by_hand(samples, size, lag, seed):
    """Batches of an epoch of `Learner` without the sampler: engine, draw, permute, lag, runs."""
    from thresher.keyed_random import keyed_seed

    selector = Learner()
    engine = BinnedThinning(np.full(samples, UNKNOWN, np.uint16))
    engine.set_pressure(selector.pressure(0))
    batches, learned = [], 0
    for first in range(0, samples // size, lag):
        for index in batches[learned : max(0, first - lag + 1)]:
            levels = levels_of(selector.rescore(answer(index, 0)).numpy())
            engine.update(index, levels)
            learned += 1
        generator = np.random.Generator(np.random.Philox(key=keyed_seed(seed, "batch", 0, first)))
        sizes = [size] * min(lag, samples // size - first)
        drawn = engine.draw_several(sizes, generator, distinct=True)
        batches += permuted(drawn, generator)
    return [batch.tolist() for batch in batches]


@pytest.mark.parametrize("lag", [1, 3])
def test_feedback_counts_for_the_run_that_begins_lag_steps_later(lag):
    sampler = make(Learner(warmup=0), 200, lag=lag, seed=3)
    assert by_hand(200, 10, lag, 3) == run_epoch(sampler)


@pytest.mark.parametrize("replacement", ["batch", "epoch"])
def test_an_epoch_begins_with_all_that_was_learned_before(replacement):
    """Whatever the lag; rows that have not come yet weigh as the median."""
    sampler = make(Learner(warmup=0), 200, lag=30, replacement=replacement)
    seen = np.unique(np.concatenate(run_epoch(sampler)))
    levels = np.full(200, UNKNOWN, np.uint16)
    levels[seen] = levels_of(answer(seen, 0).logits[:, 0].numpy())
    next(iter(sampler))
    expected = BinnedThinning(levels, pressure=sampler.selector.pressure(1))
    everyone = np.arange(200)
    assert expected.weights(everyone).tolist() == sampler.engine.weights(everyone).tolist()


def test_what_was_not_observed_in_time_is_an_error_with_the_lag_that_is_needed():
    iterator = iter(make(Learner(warmup=0), lag=3))
    for _ in range(3):
        next(iterator)
    with pytest.raises(ParameterError, match=r"Batch 4 .* 0 have been .* pass lag=4"):
        next(iterator)


def test_a_selector_that_scores_between_epochs_needs_no_lag():
    assert 10 == len(list(make(Frozen(), lag=1)))


def test_scores_that_are_not_numbers_leave_a_sample_as_it_is():
    class Broken(Learner):
        def rescore(self, observed):
            return torch.full((len(observed.index),), torch.nan)

    sampler = make(Broken(warmup=0), lag=1)
    run_epoch(sampler)
    assert 100 == sampler.report().unscored
    assert np.allclose(0.01, sampler.engine.probabilities(np.arange(100)))


# ---------------------------------------------------------------------- eligible samples
def test_samples_that_are_not_eligible_are_left_out_and_come_back():
    sampler = make(Frozen(warmup=1), revisit=0.0)
    flags = sampler.history["eligible"]
    flags[::2] = False
    for _ in range(2):  # a shuffled epoch, a drawn one
        assert 5 == len(sampler)
        assert all(row % 2 for batch in run_epoch(sampler) for row in batch)
    flags[:] = True
    assert 10 == len(sampler)
    assert any(row % 2 == 0 for batch in run_epoch(sampler) for row in batch)


def test_samples_that_are_not_eligible_are_revisited_at_their_rate():
    sampler = make(Frozen(pressure=1), 400, revisit=0.5, replacement="iid")
    sampler.history["eligible"][:200] = False
    drawn = np.concatenate(run(sampler, 20))
    assert 6000 == len(drawn)  # 20 epochs of 200 + 100 rows
    assert abs((drawn < 200).mean() - 1 / 3) < 4 * np.sqrt(2 / 9 / 6000)
    warm = make(Frozen(warmup=1), 400, revisit=0.5)
    warm.history["eligible"][:200] = False
    rows = np.concatenate(run_epoch(warm))
    assert 100 == (rows < 200).sum()
    assert 200 == (rows >= 200).sum()


# ---------------------------------------------------------------------- weights
def test_weights_of_a_plan_follow_their_rows():
    sampler = make(Half(weigh=True))
    for _ in range(2):
        for batch in sampler:
            index = torch.tensor(batch)
            assert (1.0 + index).tolist() == sampler.weights(index).tolist()
            assert (1.0 + index[:3]).tolist() == sampler.weights(index[:3]).tolist()
            report_back(sampler, batch)
            assert (1.0 + index).tolist() == sampler.weights(index).tolist()  # also afterwards


def test_weights_are_one_where_nothing_is_corrected():
    sampler = make(Frozen())
    batch = torch.tensor(next(iter(sampler)))
    assert [1.0] * 10 == sampler.weights(batch).tolist()


@pytest.mark.parametrize("replacement", ["iid", "epoch"])
def test_corrected_in_full_the_mean_is_that_of_the_whole_data(replacement):
    """Σ weight · value over 100,000 draws, within four standard errors of independent ones."""
    values = np.random.default_rng(0).normal(size=500)
    sampler = make(
        Frozen(pressure=8),
        500,
        batch_size=100,
        replacement=replacement,
        importance_beta=1.0,
        uniform_mix=0.1,
    )
    terms = []
    for _ in range(200):
        for batch in sampler:
            terms.append(sampler.weights(torch.tensor(batch)).numpy() * values[batch])
            report_back(sampler, batch)
    terms = np.concatenate(terms)
    assert abs(terms.mean() - values.mean()) < 4 * terms.std() / np.sqrt(len(terms))


# ---------------------------------------------------------------------- what comes back
def test_rows_that_were_not_handed_out_are_refused():
    sampler = make(Frozen())
    with pytest.raises(ParameterError, match="use_distributed_sampler=False"):
        report_back(sampler, list(range(10)))
    batch = next(iter(sampler))
    with pytest.raises(ParameterError, match="are no batch of this sampler"):
        report_back(sampler, batch[::-1])
    report_back(sampler, batch)
    with pytest.raises(ParameterError, match="no batch of this sampler is out"):
        report_back(sampler, batch)


def test_a_batch_may_be_left_out():
    """A step that the user skips gives no feedback, and is not waited for."""
    sampler = make(Learner(warmup=0), lag=2)
    iterator = iter(sampler)
    next(iterator)
    report_back(sampler, next(iterator))
    next(iterator)
    assert 2 == sampler.state_dict()["plan.consumed"]


def test_a_history_of_somebody_else_is_read_and_not_written():
    history = SampleHistory(100, CLASSES)
    sampler = make(Frozen(columns=AUDIT), history=history)
    run_epoch(sampler)
    assert 0 == history["visits"].sum()
    with pytest.raises(ParameterError, match="of 100 samples"):
        make(Frozen(), 90, history=history)


def test_a_loop_that_gathers_by_itself_takes_whole_batches():
    sampler, other = (
        make(Learner(), world_size=2, rank=0, batch_size=5),
        make(Learner(), batch_size=10),
    )
    for _ in range(4):
        batches = []
        for index in sampler.global_batches():
            assert torch.int64 == index.dtype
            batches.append(index.tolist())
            sampler.observe_gathered(answer(index.numpy(), sampler.epoch))
        assert batches == run_epoch(other)


def test_parts_of_processes_make_up_the_batch_of_one():
    parts = [make(Learner(warmup=0), world_size=3, rank=rank, batch_size=4) for rank in range(3)]
    external = make(Learner(warmup=0), world_size=3, rank=1, batch_size=4, shard="external")
    whole = make(Learner(warmup=0), batch_size=12)
    assert 3 * len(parts[0]) == len(external)
    streams = [iter(each) for each in parts]
    outside = iter(external)
    for batch in whole:
        mine = [next(each) for each in streams]
        assert mine == [next(outside) for _ in range(3)]
        assert batch == [row for each in mine for row in each]
        for each in (*parts, external, whole):
            each.observe_gathered(answer(np.array(batch), each.epoch))


# ---------------------------------------------------------------------- state
@pytest.mark.parametrize(
    "settings",
    [
        {"selector": Learner(warmup=1), "lag": 3},
        {"selector": Learner(warmup=0), "lag": 1, "replacement": "iid", "importance_beta": 0.5},
        {"selector": Learner(warmup=1), "replacement": "epoch", "importance_beta": 1.0},
        {"selector": Half(weigh=True), "drop_last": False},
    ],
)
def test_a_stored_state_goes_on_with_the_same_batches(settings):
    """From any step of three epochs, through torch.save, into a sampler that is new."""
    one = make(**settings)
    whole, states = [], {}
    for _ in range(3):
        for batch in one:
            weights = one.weights(torch.tensor(batch)).tolist()
            report_back(one, batch)
            whole.append((batch, weights))
            states[len(whole)] = one.state_dict()
    for done in (1, 9, 10, 13, 24):
        again = make(**settings)
        again.load_state_dict(through_a_file(states[done]))
        rest = []
        while len(rest) < len(whole) - done:
            for batch in again:
                rest.append((batch, again.weights(torch.tensor(batch)).tolist()))
                report_back(again, batch)
        assert whole[done:] == rest
        final, expected = again.state_dict(), one.state_dict()
        for name, value in expected.items():
            same = (
                torch.equal(value, final[name]) if torch.is_tensor(value) else value == final[name]
            )
            assert same, name


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_another_number_of_processes_goes_on_with_the_same_batch():
    two = make(Learner(warmup=0), batch_size=5, world_size=2, rank=0)
    batches = [each.numpy() for each in zip_observed(two, 4)]
    one = make(Learner(warmup=0), batch_size=10)
    one.load_state_dict(two.state_dict())
    rest = run_epoch(one)
    assert run_epoch(make(Learner(warmup=0))) == [each.tolist() for each in batches] + rest


def zip_observed(sampler, count):
    for _, index in zip(range(count), sampler.global_batches(), strict=False):
        sampler.observe_gathered(answer(index.numpy(), sampler.epoch))
        yield index


def test_the_state_of_another_sampler_is_refused():
    state = make(Learner(), seed=1).state_dict()
    with pytest.raises(RunError, match=r"seed \(1, here 0\)"):
        make(Learner()).load_state_dict(state)
    with pytest.raises(RunError, match="samples"):
        make(Learner(), 90, seed=1).load_state_dict(state)


# ---------------------------------------------------------------------- loaders with workers
class Numbers(torch.utils.data.Dataset):
    """Rows that say their number."""

    def __len__(self):
        return 240

    def __getitem__(self, number):
        return torch.tensor(float(number)), number % CLASSES


def loader_epoch(sampler, workers, stop=None):
    """Batches of an epoch as a loader with workers hands them out; may be left after `stop`."""
    loader = DataLoader(Indexed(Numbers()), batch_sampler=sampler, num_workers=workers)
    batches = []
    for index, _, targets in loader:
        batches.append(index.tolist())
        observed = answer(index.numpy(), sampler.epoch)
        sampler.observe(index, logits=observed.logits, targets=targets)
        if len(batches) == stop:
            break
    return batches


def test_the_number_of_workers_changes_nothing():
    """At one lag; the loader with two asks for five batches before the first is observed."""
    runs = []
    for workers in (0, 1, 2):
        sampler = make(Learner(warmup=0), 240, lag=5)
        runs.append(loader_epoch(sampler, workers))
        assert 1 + 2 * workers == sampler.report().ahead
    assert 24 == len(runs[0])
    assert runs[0] == runs[1] == runs[2]
    with pytest.raises(ParameterError, match="pass lag=5"):
        loader_epoch(make(Learner(warmup=0), 240, lag=4), 2)


def test_two_interruptions_within_an_epoch_change_nothing():
    """With two workers, whose batches that were drawn ahead are not lost."""
    settings = {"samples": 240, "lag": 5}
    whole = loader_epoch(make(Learner(warmup=0), **settings), 0)
    sampler, done = make(Learner(warmup=0), **settings), []
    for stop in (7, 6, None):
        done += loader_epoch(sampler, 2, stop)
        state = sampler.state_dict()
        sampler = make(Learner(warmup=0), **settings)
        sampler.load_state_dict(state)
    assert whole == done


def test_accelerate_prepares_a_loader_of_one_process():
    from accelerate import Accelerator

    sampler = make(Learner(warmup=0), 240, lag=2)
    loader = Accelerator(cpu=True).prepare(DataLoader(Indexed(Numbers()), batch_sampler=sampler))
    assert 24 == len(loader)
    batches = []
    for index, _, targets in loader:
        batches.append(index.tolist())
        observed = answer(index.numpy(), sampler.epoch)
        sampler.observe(index, logits=observed.logits, targets=targets)
    assert run_epoch(make(Learner(warmup=0), 240, lag=2)) == batches
    assert 2 == sampler.report().ahead  # Accelerate looks one batch ahead


def test_a_trainer_that_makes_the_sampler_anew_is_told_which_setting_to_change():
    """Lightning does so where several processes train, unless it is told not to."""
    theirs = SequentialSampler(range(10))
    with pytest.raises(ParameterError, match="use_distributed_sampler=False"):
        AdaptiveBatchSampler(theirs, batch_size=5, drop_last=False)
    assert len(copy.deepcopy(make(Learner(), 100))) == len(make(Learner(), 100))


@pytest.mark.parametrize("settings", [{"replacement": "epoch"}, {"replacement": "iid"}, {}])
@pytest.mark.parametrize("warmup", [0, 2])
def test_storing_the_state_moves_nothing(settings, warmup):
    """Of several processes one alone may store it, and all must draw from the same afterwards."""
    stored, plain = (make(Learner(warmup=warmup), 400, **settings) for _ in range(2))
    for _ in range(2):
        for step, batches in enumerate(
            zip(stored.global_batches(), plain.global_batches(), strict=True)
        ):
            for sampler, index in zip((stored, plain), batches, strict=True):
                sampler.observe_gathered(answer(index.numpy(), sampler.epoch))
            if step % 7 == 4:
                stored.state_dict()
            assert stored.engine.digest() == plain.engine.digest()


def test_a_state_goes_through_pickle():
    """As trainers keep it who know nothing of tensors."""
    one, other = make(Learner(warmup=0), 100), make(Learner(warmup=0), 100)
    run_epoch(one)
    state = pickle.loads(pickle.dumps(one.state_dict()))
    other.load_state_dict(state)
    assert run_epoch(other) == run_epoch(one)


# ---------------------------------------------------------------------- report
def test_the_report_counts_what_was_shown():
    sampler = make(Frozen(pressure=1, warmup=1), 100)
    run_epoch(sampler)
    report = sampler.report()
    assert (0, 10, 1.0, 0.0) == (report.epoch, report.steps, report.coverage, report.never)
    assert 100 == pytest.approx(report.effective_sample_size)
    assert (4.5, 9) == (report.staleness[0], report.staleness[2])
    assert report.draws_of_class == pytest.approx([0.34, 0.33, 0.33])
    assert report.wrong_share is None
    run_epoch(sampler)
    report = sampler.report(wrong=np.arange(100) < 20)
    drawn = sampler.visits.count
    assert report.wrong_share == drawn[:20].sum() / 100
    assert 0.2 == pytest.approx(report.wrong_rate)
    assert report.coverage == (drawn > 0).mean() < 1
    assert report.staleness[2] > 9


def test_the_effective_sample_size_is_one_over_the_sum_of_squares():
    sampler = make(Frozen(pressure=50), 100)
    run_epoch(sampler)
    probability = sampler.engine.probabilities(np.arange(100))
    assert sampler.report().effective_sample_size == pytest.approx(1 / (probability**2).sum())


# ---------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"lag": 0}, "lag"),
        ({"replacement": "none"}, "replacement must be one of"),
        ({"shard": "both"}, "shard must be one of"),
        ({"batch_size": 101}, "makes no batch of 101"),
        ({"importance_beta": 2.0}, "importance_beta"),
        ({"rank": 1}, "belong together"),
        ({"rank": 2, "world_size": 2}, "rank must be in"),
        ({"shard": "external", "drop_last": False}, "drop_last=True"),
        ({"selector": Half(), "replacement": "iid"}, "plans its epochs"),
        ({"selector": Half(), "importance_beta": 1.0}, "plans its epochs"),
    ],
)
def test_contradictions_are_refused(settings, message):
    with pytest.raises(ParameterError, match=message):
        make(**{"selector": Frozen(), **settings})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (PlannedRows(torch.arange(101)), "row 100 of 100 samples"),
        (PlannedRows(torch.arange(50.0)), "float32"),
        (PlannedRows(torch.arange(50), torch.ones(49)), "49 weights for 50 rows"),
    ],
)
def test_plans_that_cannot_be_are_refused(rows, message):
    class Wrong(Planned):
        def plan(self, history, epoch, generator):
            return rows

    with pytest.raises(ParameterError, match=message):
        len(make(Wrong()))


def test_scores_of_the_wrong_length_are_refused():
    class Short(Scored):
        def refresh(self, history, epoch):
            return torch.zeros(99)

    with pytest.raises(ParameterError, match="100 samples, got 99"):
        next(iter(make(Short())))
