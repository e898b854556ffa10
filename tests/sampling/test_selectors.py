"""What every registered selector must bear; a new one is tested by being in SELECTORS."""

import copy

import pytest
import torch

from sampling.drawing import SlowSampler, draw, planned, weights_of
from thresher.errors import ParameterError
from thresher.history import AUDIT, LAST_LOSS
from thresher.noise import METHODS, make_method
from thresher.sampling import SELECTORS, Planned, Scored, make_selector

N, K, EPOCHS = 40, 4, 24
NEEDED = {"static-weights": {"weights": torch.linspace(1, 5, N)}}
SCHEDULED = {"recency-bias", "online-batch", "self-paced", "info-batch"}  # by the last epoch
names = pytest.mark.parametrize("name", list(SELECTORS))


def make(name):
    return make_selector(name, **NEEDED.get(name, {}))


def run(name, epochs=EPOCHS, classes=K, samples=N, seed=0):
    """Some epochs of random predictions that get better; the sampler, and what each epoch gave."""
    selector = make(name) if samples == N else make_selector(name)
    sampler, answers = SlowSampler(selector, samples, classes, EPOCHS), []
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (samples,), generator=generator)
    for epoch in range(epochs):
        sampler.history.epoch = sampler.epoch = epoch
        if isinstance(selector, Planned):
            rows = planned(sampler.selector, sampler.history, epoch)
            answers.append((rows.index, rows.weights))
            index = rows.index
        else:
            sampler.begin_epoch(epoch)
            answers.append((sampler.scores.clone(), sampler.selector.pressure(epoch)))
            index = torch.arange(samples)
        logits = torch.randn(len(index), classes, generator=generator)
        logits[torch.arange(len(index)), labels[index]] += epoch / 4
        if isinstance(selector, Planned):
            sampler.history.observe(index, logits, labels[index])
        else:
            sampler.observe(index, logits, labels[index])
    return sampler, answers


@names
def test_it_constructs_and_names_itself(name):
    """Name, source and a docstring are what is shown of it."""
    selector = make(name)
    assert isinstance(selector, (Scored, Planned))
    assert selector.name == name
    assert selector.source
    said = " ".join(type(selector).__doc__.split())
    assert "Cost: " in said
    assert "Hurts when: " in said


@names
def test_its_answers_are_well_formed(name):
    """Scores in [0, 1], pressures of at least 1; rows of the data, none twice, finite weights."""
    sampler, answers = run(name)
    scored = isinstance(sampler.selector, Scored)
    for first, second in answers:
        if scored:
            assert first.shape == (N,)
            assert first.dtype == torch.float32
            known = first[~first.isnan()]
            assert ((known >= 0) & (known <= 1)).all()
            assert 1 <= second < float("inf")
        else:
            assert first.dtype == torch.int64
            assert 1 <= len(first) == len(first.unique())
            assert 0 <= int(first.min()) <= int(first.max()) < N
            if second is not None:
                assert second.shape == first.shape
                assert second.dtype == torch.float32
                assert (second.isfinite() & (second >= 0)).all()
    if scored:
        assert not sampler.scores.isnan().any()
        assert 0 <= sampler.selector.warmup < EPOCHS


@names
def test_before_anything_is_seen_every_sample_has_its_chance(name):
    """No score, or rows drawn from all; a batch can be drawn."""
    sampler = SlowSampler(make(name), N, K, EPOCHS)
    if isinstance(sampler.selector, Planned):
        assert len(planned(sampler.selector, sampler.history).index) >= 1
        return
    sampler.begin_epoch(0)
    weights = weights_of(sampler.scores, sampler.selector.pressure(0))
    assert (weights > 0).all()
    assert len(draw(weights, 5, torch.Generator().manual_seed(0)).unique()) == 5


@names
def test_the_same_history_and_epoch_give_the_same_answer(name):
    """Bit for bit, with a disturbed global generator, and the history is left as it was."""
    sampler, _ = run(name, epochs=20)
    before = copy.deepcopy(sampler.history.state_dict())
    answers = []
    for disturbance in range(2):
        torch.manual_seed(disturbance)
        if isinstance(sampler.selector, Planned):
            answers.append(planned(sampler.selector, sampler.history, 10).index)
        else:
            fresh = sampler.selector.refresh(sampler.history, 10)
            answers.append(sampler.scores if fresh is None else fresh)
    assert torch.equal(*answers)
    for column, values in sampler.history.state_dict().items():
        assert torch.equal(values.nan_to_num(-9), before[column].nan_to_num(-9)), column


@names
def test_beginning_again_depends_on_the_new_run_alone(name):
    """What was resolved for a long run does not linger in a short one."""
    again, fresh = make(name), make(name)
    again.begin(N, K, 200)
    columns = again.begin(N, K, 8)
    assert columns == fresh.begin(N, K, 8)
    for each in vars(fresh):
        if not isinstance(getattr(fresh, each), torch.Tensor):
            assert getattr(again, each) == getattr(fresh, each), each


@names
def test_runs_of_unknown_length_start_or_say_what_is_missing(name):
    """Never a guess at the end of a schedule."""
    if name not in SCHEDULED:
        make(name).begin(N, K, None)
        return
    with pytest.raises(ParameterError, match="number of epochs is not known") as refused:
        make(name).begin(N, K, None)
    assert refused.value.fix.startswith("Say how many epochs are planned")


@names
@pytest.mark.parametrize("epochs", [1, 2, 3, 5])
def test_short_runs_are_served(name, epochs):
    """Lengths left at their default shrink."""
    sampler = SlowSampler(make(name), N, K, epochs)
    if isinstance(sampler.selector, Scored):
        assert sampler.selector.warmup <= max(1, epochs - 1)
        assert sampler.selector.pressure(epochs - 1) >= 1


@names
def test_one_sample_and_two_classes_are_enough(name):
    """Nothing to choose from is no reason to fail."""
    if name in NEEDED:
        selector = make_selector(name, weights=[2.0])
        assert SlowSampler(selector, 1, 2, EPOCHS).selector.pressure(0) == 1
        return
    sampler, answers = run(name, samples=1, classes=2)
    assert len(answers) == EPOCHS
    if isinstance(sampler.selector, Scored):
        assert not sampler.scores.isnan().any()


@names
@pytest.mark.parametrize("method", ["morph", "selfie", "prestopping"])
def test_its_columns_stand_beside_those_of_a_method_and_the_audit(name, method):
    """One history serves them all, whoever declares first."""
    selector = make(name)
    for first, second in ((True, False), (False, True)):
        criterion = make_method(method).start(N, K, epochs=100, audit=False)
        for whose in (first, second):
            columns = selector.begin(N, K, 100) if whose else (*AUDIT, LAST_LOSS)
            criterion.history.declare(*columns)
            assert all(column.name in criterion.history for column in columns)


def test_unknown_names_and_options_are_refused():
    """With the nearest, or what is missing."""
    with pytest.raises(ParameterError, match='Did you mean "recency-bias"'):
        make_selector("recency")
    with pytest.raises(ParameterError, match=r'takes no windw\. Did you mean "window"'):
        make_selector("recency-bias", windw=3)
    with pytest.raises(ParameterError, match='"static-weights" needs weights'):
        make_selector("static-weights")
    with pytest.raises(ParameterError, match='"shuffled" takes no pressure'):
        make_selector("shuffled", pressure=3)


def test_the_plain_epoch_is_every_row_with_weight_one():
    """In any order."""
    sampler = SlowSampler(make("shuffled"), 7, 2, None)
    rows = planned(sampler.selector, sampler.history)
    assert sorted(rows.index.tolist()) == list(range(7))
    assert rows.weights is None


def test_names_of_selectors_and_methods_do_not_meet():
    """So that neither is asked for by mistake; but for the one that its paper has as both."""
    assert {"active-bias"} == set(SELECTORS) & set(METHODS)
