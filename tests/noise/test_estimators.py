"""Estimators of the noise rate: known mixtures, closed forms, and one interface for all of them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.test_conformance import assert_equal, train
from thresher.errors import ParameterError
from thresher.history import SampleHistory
from thresher.noise import ESTIMATORS, METHODS, SELFIE, Prestopping, make_method
from thresher.noise.estimators import MAKERS, choose_estimator
from thresher.noise.method import Plan
from thresher.noise.rate import SETTLED, mixture_rate

TAKERS = [name for name in METHODS if "noise_rate" in make_method(name).needs]


def gaussian_losses(seed, rows=5000):
    """0.7 N(0.3, 0.1²) + 0.3 N(3, 0.5²) with exact shares, shuffled."""
    random = np.random.default_rng(seed)
    high = random.permutation(rows) < 0.3 * rows
    return torch.from_numpy(
        np.where(high, random.normal(3, 0.5, rows), random.normal(0.3, 0.1, rows))
    )


def beta_losses(seed, share=0.3, rows=5000):
    """(1 - share) Beta(2, 10) + share Beta(8, 2), in units in which the largest is not 1."""
    random = np.random.default_rng(seed)
    high = random.permutation(rows) < share * rows
    return torch.from_numpy(7 * np.where(high, random.beta(8, 2, rows), random.beta(2, 10, rows)))


# ---------------------------------------------------------------------- the mixtures
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_gaussian_rate_of_a_known_mixture_is_its_upper_weight(seed):
    """0.300 within 0.005."""
    assert mixture_rate(gaussian_losses(seed)) == pytest.approx(0.3, abs=0.005)


@pytest.mark.parametrize("share", [0.15, 0.3, 0.5])
def test_the_beta_rate_of_a_known_mixture_is_its_upper_weight(share):
    """Within .02: the two overlap, and the largest loss is an estimate of the unit."""
    assert mixture_rate(beta_losses(0, share), "beta") == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("kind", ["gaussian", "beta"])
@given(seed=st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_samples_changes_nothing(kind, seed):
    """To the bit: every process takes the same decision, whichever heap it meets first."""
    losses = beta_losses(seed % 7)
    order = torch.randperm(len(losses), generator=torch.Generator().manual_seed(seed))
    assert mixture_rate(losses, kind) == mixture_rate(losses[order], kind)


@pytest.mark.parametrize("kind", ["gaussian", "beta"])
@pytest.mark.parametrize(
    "losses",
    [
        torch.zeros(0),
        torch.zeros(50),
        torch.ones(50),
        torch.full((50,), torch.nan),
        torch.tensor([0.1, torch.inf]),
        torch.tensor([2.3025850] * 30 + [2.3025852] * 70),
    ],
    ids=["none", "zeros", "equal", "unseen", "two", "rounding"],
)
def test_one_heap_is_a_rate_of_zero(kind, losses):
    """Nothing to split: no label is called wrong."""
    assert mixture_rate(losses, kind) == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_gaussian_is_not_taken_for_two(seed):
    """τ̂ = 0."""
    losses = torch.from_numpy(np.random.default_rng(seed).normal(3, 0.5, 5000))
    assert mixture_rate(losses) == 0


def test_a_scale_of_the_losses_changes_nothing():
    """Nats or bits."""
    for kind, losses in (("gaussian", gaussian_losses(0)), ("beta", beta_losses(0))):
        assert mixture_rate(2 * losses, kind) == pytest.approx(mixture_rate(losses, kind), abs=1e-6)


# ---------------------------------------------------------------------- from a history
def observe(history, losses):
    """One epoch in which the given label 0 of two classes has these losses."""
    p_given = torch.exp(-losses)
    logits = torch.stack([torch.log(p_given), torch.log1p(-p_given)], 1)
    history.observe(torch.arange(len(losses)), logits.float(), torch.zeros(len(losses)).long())
    history.flush()


def started(name, samples, classes=2):
    """An estimator and a history with the columns that it asks for."""
    estimator = choose_estimator(None, name)
    history = SampleHistory(samples, classes)
    history.declare(*estimator.begin(Plan(samples, classes, epochs=40)))
    return estimator, history


def after(estimator, history):
    """The estimate, and the end of the epoch."""
    found = estimator.after_epoch(history, 0.0)
    history.epoch += 1
    return found


def heaps(high, samples=1000, seed=0):
    """Losses around 3 for the first `high` samples and around .3 for the others."""
    random = np.random.default_rng(seed)
    upper, lower = random.normal(3, 0.3, samples), random.normal(0.3, 0.05, samples)
    return torch.from_numpy(np.where(np.arange(samples) < high, upper, lower))


@pytest.mark.parametrize("kind", ["gaussian", "beta"])
def test_last_mean_and_window_read_what_their_names_say(kind):
    """400 of 1000 are high for 2 epochs, then none for 5: all but the mean of all forget it."""
    estimators = {
        losses: started(f"{kind}-{losses}", 1000) for losses in ("last", "mean", "window")
    }
    found: dict[str, list[float]] = {losses: [] for losses in estimators}
    for epoch, high in enumerate([400] * 2 + [0] * 5):
        for losses, (estimator, history) in estimators.items():
            observe(history, heaps(high, seed=epoch))
            found[losses].append(after(estimator, history))
    many = pytest.approx(0.4, abs=0.01)
    assert [many, many, 0, 0, 0, 0, 0] == found["last"]
    assert [many] * 6 + [0] == found["window"]
    assert [many] * 7 == found["mean"]


def test_a_window_is_the_mean_of_the_last_five_losses():
    """Before that, of as many as there are."""
    estimator, history = started("gaussian-window", 4)
    told = torch.rand(7, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    for epoch, losses in enumerate(told):
        observe(history, losses)
        after(estimator, history)
        expected = told[max(0, epoch - 4) : epoch + 1].mean(0)
        torch.testing.assert_close(history["loss_window"].nanmean(1), expected)


def test_rows_that_are_held_out_or_never_seen_are_no_part_of_a_mixture():
    """The held-out half is high; the unseen ones have no loss."""
    estimator, history = started("gaussian-mean", 1200)
    history.hold_out(torch.arange(1200) >= 800)
    losses = torch.cat([heaps(240, 800), torch.full((200,), 5.0, dtype=torch.float64)])
    observe(history, losses)  # the last 200 are not visited
    assert after(estimator, history) == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.45])
def test_anchors_give_the_rate_of_predictions_that_know_how_labels_are_confused(rate):
    """Rows of T for samples of 4 classes, given labels in its proportions: the rate is exact."""
    classes, rows = 4, 4_000
    transition = torch.eye(classes) * (1 - rate) + rate * torch.eye(classes).roll(1, 1)
    true = torch.arange(rows) % classes
    wrong = torch.arange(rows) // classes % 20 < 20 * rate
    given = torch.where(wrong, (true + 1) % classes, true)
    estimator, history = started("anchors", rows + 7, classes)  # 7 are never seen
    history.hold_out(torch.arange(rows + 7) >= rows)
    history.observe(torch.arange(rows), transition[true].clamp(min=1e-30).log(), given)
    history.flush()
    history["targets"][:rows] = 0.3 * transition[true]  # a moving average that has begun
    assert estimator.after_epoch(history, 0.1) == 0.1  # nothing has settled
    history["run_length"][: rows // 2] = SETTLED
    assert after(estimator, history) == pytest.approx(rate, abs=1e-6)
    empty, nothing = started("anchors", 5, classes)
    assert empty.after_epoch(nothing, 0.25) == 0.25


def test_predictions_that_are_no_numbers_count_nowhere_in_the_confident_rate():
    """The rate is that of the other samples, and a network that diverged does not end the run."""
    classes, rows = 3, 300
    true = torch.arange(rows) % classes
    given = torch.where(torch.arange(rows) % 10 == 0, (true + 1) % classes, true)
    estimator, history = started("confident", rows, classes)
    predicted = 0.8 * torch.eye(classes)[true] + 0.2 / classes
    history.observe(torch.arange(rows), predicted.log(), given)
    history.flush()
    history["targets"][:] = 0.3 * predicted
    history["run_length"][:] = SETTLED
    assert estimator.after_epoch(history, 0.0) == pytest.approx(0.1)
    history["targets"][5] = torch.nan
    history["targets"][7, 1] = torch.nan
    assert estimator.after_epoch(history, 0.0) == pytest.approx(0.1, abs=0.01)
    history["targets"][:] = torch.nan
    assert estimator.after_epoch(history, 0.0) == 0


@pytest.mark.parametrize(
    ("name", "chance"), [("cross-validation", 1 / 3), ("cross-validation-pair", 1.0)]
)
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.45])
def test_cross_validation_inverts_the_agreement_of_memorised_noise(name, chance, rate):
    """Labels and predictions of 10,000 held-out rows, both wrong with rate τ and alone: k = 4."""
    random = np.random.default_rng(0)
    classes, rows = 4, 10_000
    true = random.integers(classes, size=rows)

    def noisy():
        step = 1 if chance == 1 else random.integers(1, classes, rows)
        return (true + np.where(random.random(rows) < rate, step, 0)) % classes

    estimator, history = started(name, rows, classes)
    history.hold_out(torch.ones(rows, dtype=torch.bool))
    predicted, labels = torch.from_numpy(noisy()), torch.from_numpy(noisy())
    history.observe(torch.arange(rows), torch.eye(classes)[predicted], labels)
    # the root is steep near τ = 1/2 for pair noise: an agreement off by .005 moves it by .04
    assert after(estimator, history) == pytest.approx(rate, abs=0.05 if rate == 0.45 else 0.02)


def test_cross_validation_without_held_out_rows_leaves_the_rate_as_it_is():
    """No agreement is made up."""
    estimator, history = started("cross-validation", 10)
    observe(history, torch.full((10,), 0.5))
    assert estimator.after_epoch(history, 0.2) == 0.2


def test_a_given_rate_is_an_estimator_that_never_changes():
    """Whatever was seen, and it asks for no column."""
    estimator = choose_estimator(0.25, "settled")
    history = SampleHistory(3, 2)
    assert estimator.begin(Plan(3, 2)) == ()
    assert estimator.after_epoch(history, 0.9) == 0.25


# ---------------------------------------------------------------------- one interface
def test_every_name_has_an_estimator_and_a_sentence():
    """The names are known before torch is loaded, the classes are not."""
    assert list(MAKERS) == list(ESTIMATORS)


def trained(method, epochs=24, samples=600, classes=3):
    """A few epochs in which a fifth of the labels is never predicted; the trace of the rate."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(samples) % classes
    criterion = method.start(samples, classes, epochs=epochs, labels=labels)
    wrong = torch.rand(samples, generator=generator) < 0.2
    predicted = torch.where(wrong, (labels + 1) % classes, labels)
    rates = []
    for _ in range(epochs):
        for index in torch.randperm(samples, generator=generator).split(100):
            noise = torch.randn(len(index), classes, generator=generator)
            outputs = noise + 4 * torch.nn.functional.one_hot(predicted[index], classes)
            outputs = outputs.expand(method.networks, -1, -1).clone().requires_grad_()
            criterion(index, outputs, labels[index])
        criterion.applied(criterion.end_epoch())
        rates.append(criterion.method.rate)
    return criterion, rates


@pytest.mark.parametrize("estimate", sorted(ESTIMATORS))
@pytest.mark.parametrize("name", TAKERS)
def test_every_method_that_needs_a_rate_takes_every_estimator(name, estimate):
    """And goes by its estimate, a fifth; the rate of every epoch is part of its state."""
    method = make_method(name, noise_rate=estimate)
    assert "rate" in method.state
    assert set(choose_estimator(None, estimate).needs) <= set(method.needs)
    _, rates = trained(method)
    assert all(0 <= rate < 1 for rate in rates)
    # these predictions are not memorised, and know nothing of how labels are confused
    lowest = {"anchors": 0.01, "cross-validation": 0.05, "cross-validation-pair": 0.05}
    assert lowest.get(estimate, 0.12) <= rates[-1] <= 0.35


@pytest.mark.parametrize("name", TAKERS)
def test_a_method_is_told_the_same_by_default_as_by_the_name_of_its_default(name):
    """JoCoR reads averaged predictions, the others what has settled."""
    default = "confident" if name == "jocor" else "settled"
    (first, rates), (second, others) = (
        trained(make_method(name, noise_rate=each)) for each in (None, default)
    )
    assert rates == others
    assert first.history.columns().keys() == second.history.columns().keys()


@pytest.mark.parametrize("name", TAKERS)
def test_a_given_rate_needs_no_estimator(name):
    """The rate is what was told, in every epoch."""
    _, rates = trained(make_method(name, noise_rate=0.3), epochs=4)
    assert set(rates) == {0.3}


def test_an_estimator_that_reads_held_out_rows_has_them_held_out():
    """Sixty are drawn of 600; SELFIE alone holds out none."""
    told = [int((~trained(SELFIE(estimate=each))[0].history["eligible"]).sum())
            for each in ("settled", "cross-validation")]  # fmt: skip
    assert told == [0, 60]
    assert Prestopping(estimate="cross-validation").needs.count("held_out") >= 1


@pytest.mark.parametrize("estimate", ["gaussian-window", "confident", "cross-validation"])
def test_a_run_cut_in_two_estimates_as_the_whole(estimate):
    """What an estimator remembers lies in the history, and is saved with it."""
    half = train(make_method("co-teaching", noise_rate=estimate), epochs=4)
    whole = train(make_method("co-teaching", noise_rate=estimate))
    resumed = train(make_method("co-teaching", noise_rate=estimate), state=half)
    assert_equal(resumed, whole)
    assert resumed["criterion"]["method"] == whole["criterion"]["method"]


def test_an_unknown_estimator_is_refused_with_those_there_are():
    """In Python by name of the argument."""
    with pytest.raises(
        ParameterError, match=r"estimate must be one of settled, confident, .*, got"
    ):
        SELFIE(estimate="gauss")
    with pytest.raises(
        ParameterError, match=r"auto, or one of settled, .*, got \"gauss\""
    ) as refused:
        make_method("selfie", noise_rate="gauss")
    assert "Did you mean" in refused.value.fix


def test_an_estimator_for_a_method_without_a_rate_is_refused():
    """Rather than silently ignored."""
    with pytest.raises(ParameterError, match='"gce" takes no noise rate, got beta-mean'):
        make_method("gce", noise_rate="beta-mean")


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_an_estimator_knows_whether_it_has_made_an_estimate(name):
    """A rate of 0 is one, where every label is right; the rate before is none."""
    classes, rows = 3, 300
    labels = torch.arange(rows) % classes
    estimator, history = started(name, rows, classes)
    if estimator.needs:
        history.hold_out(torch.arange(rows) < 30)
    assert not estimator.estimated
    if "run_length" in history.columns():
        assert estimator.after_epoch(history, 0.0) == 0
        assert not estimator.estimated
    for _ in range(SETTLED):
        history.observe(torch.arange(rows), 9.0 * torch.eye(classes)[labels], labels)
        history.flush()
    if "targets" in history.columns():
        history["targets"][:] = torch.eye(classes)[labels]
    assert estimator.after_epoch(history, 0.0) == pytest.approx(0, abs=1e-6)
    assert estimator.estimated
