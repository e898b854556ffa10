"""What must hold between methods, and against cleanlab: orderings with slack, not exact figures.

The figures themselves, over several seeds: `python benchmarks/noise.py`, whose evaluator is used
here. Thresholds on the toy are those of the papers' effects; thresholds on real data are the bars
of the benchmark, with slack for a single seed.
"""

import os
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from cleanlab.filter import find_label_issues
from sklearn.datasets import load_digits

from thresher.audit import Record, judge, pred_probs
from thresher.data import open_data
from thresher.data.corruption import corrupt, pair_transition, symmetric_transition
from thresher.models import Preparation, build_model
from thresher.noise import MORPH, SELFIE, Decision, Forward, Standard, VolMinNet
from thresher.noise.memorised import label_history, memorised, memorised_share
from thresher.training.loop import Rows, Settings, Training
from toy import CLASSES, make_toy

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from cleanlab_workflow import figures_of_workflow
from noise_data import load_problem
from one_run import audited_run, figures_of_run, job_for
from toy_runs import toy_method, train_by_steps

from openset import toy_cell

EPOCHS = {"letter": 40, "fashion": 30}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """More threads only wait for each other on networks this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---------------------------------------------------------------------- methods, on the toy
@cache
def toy_run(name, noise="symmetric", rate=0.4, seed=0):
    """A training of 60 epochs; the noise rate is told unless the name says "estimated"."""
    return train_by_steps(toy_method(name, rate, noise), make_toy(noise, rate, seed), seed)


def test_standard_training_forgets_what_it_knew_to_memorise_wrong_labels():
    """Published: the accuracy peaks early and falls by ten points or more."""
    run = toy_run("standard")
    assert run.last <= run.best - 0.08


@pytest.mark.parametrize(
    "method",
    [
        *("mae", "gce", "active-passive", "elr", "forward, estimated", "co-teaching", "jocor"),
        *("selfie", "prestopping", "prestopping-plus", "morph", "auto", "dividemix", "pes"),
        *("itlm", "volminnet"),
    ],
)
def test_a_robust_method_ends_far_above_standard_training(method):
    """Ten points at 40 % symmetric noise; 17 to 20 were measured."""
    assert toy_run(method).last >= toy_run("standard").last + 0.10


@pytest.mark.parametrize("noise", ["symmetric", "pair"])
def test_a_matrix_learned_along_with_the_network_comes_near_the_true_one(noise):
    """From symmetric noise of a half; and the network behind it predicts the true classes."""
    run = toy_run("volminnet", noise)
    matrix = {"symmetric": symmetric_transition, "pair": pair_transition}[noise](CLASSES, 0.4)
    begun = VolMinNet().start(50, CLASSES).method.transition
    found = run.criterion.method.transition
    assert rows_apart(found, matrix) < 0.5 * rows_apart(begun, matrix)
    assert run.last >= toy_run("standard", noise).last + 0.10


def rows_apart(first, second):
    """Total variation of the rows of two matrices, their mean."""
    return np.abs(np.array(first) - second).sum(1).mean() / 2


def test_selfie_refurbishes_to_the_true_label():
    """Nearly always, although four labels of ten are wrong."""
    refurbished = toy_run("selfie").criterion.history["refurbished"].numpy()
    true = make_toy("symmetric", 0.4, 0).true
    assert (refurbished == true)[refurbished >= 0].mean() >= 0.94
    assert (refurbished >= 0).mean() >= 0.6  # precision must not be bought with silence


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["symmetric", "pair"])
def test_refurbished_labels_say_how_many_are_wrong(noise):
    """Precise as the warm-up ends, and at the end the rate within .05; as it was there.

    Measured with the reference's window of 10 over three seeds: .993 right of the 62 % that are
    refurbished after the first epoch, .386 that contradict the given label at the end; pair noise
    .365 at the end. That is once everything is refurbished: as the warm-up ends, pair noise gives
    .12. The estimator that methods ask by default, `settled`, reads runs of five predictions and
    is 7.8 points low there (`benchmarks/noise.py rates`), beyond .05: its own test allows ten.
    """
    data, seen = make_toy(noise, 0.4, 0), []
    true, given = torch.from_numpy(data.true), torch.from_numpy(data.given)

    def watch(criterion, _):
        label = criterion.history["refurbished"].long()
        known = label >= 0
        if known.any():
            seen.append(
                [float(each[known].float().mean()) for each in (label == true, label != given)]
            )

    run = train_by_steps(SELFIE(0.4, window=10, warmup=15), data, 0, watch=watch)
    assert seen[-1][1] == pytest.approx(0.4, abs=0.05)
    if noise == "symmetric":
        assert min(right for right, _ in seen[:3]) >= 0.98
        assert run.last >= 0.94
        assert toy_run("standard").last <= 0.80


@pytest.mark.parametrize(("method", "recall"), [("morph", 0.96), ("prestopping", 0.90)])
def test_what_is_safely_memorised_is_nearly_all_right_and_nearly_all_that_is_right(method, recall):
    """Label precision and recall in the last epoch; .99 and .96 to .98 were measured."""
    run, data = toy_run(method), make_toy("symmetric", 0.4, 0)
    clean, chosen = data.given == data.true, run.chosen.numpy() > 0
    trained = run.criterion.history["eligible"].numpy()
    assert (clean & chosen).sum() / chosen.sum() >= 0.96
    assert (clean & chosen).sum() / (clean & trained).sum() >= recall


def test_what_morph_knows_it_does_not_forget():
    """The last epoch is within half a point of the best."""
    run = toy_run("morph")
    assert run.last >= run.best - 0.005


def test_precision_and_recall_of_the_memorised_cross_where_as_many_are_memorised_as_are_clean():
    """Standard training at 40 % wrong labels: equal within .01 once 60 % are memorised."""

    class Watched(Standard):
        def begin(self, plan):
            return label_history(10)

    data, crossed = make_toy("symmetric", 0.4, 0), []
    clean = torch.from_numpy(data.given == data.true)

    def watch(criterion, _):
        history = criterion.history
        if not crossed and memorised_share(history) >= 0.6:
            known, _ = memorised(history, torch.arange(len(clean)), torch.from_numpy(data.given))
            both = float((known & clean).sum())
            crossed.extend((both / float(known.sum()), both / float(clean.sum())))

    train_by_steps(Watched(), data, 0, stop=30, watch=watch)
    precision, recall = crossed
    assert precision == pytest.approx(recall, abs=0.01)


@pytest.mark.slow
def test_morph_that_switches_early_does_not_lose_to_one_that_switches_late():
    """Pair noise is memorised within a few epochs: margins of .1 and 0, means of two seeds."""
    early, late = (
        [
            train_by_steps(MORPH(0.4, margin=margin), make_toy("pair", 0.4, seed), seed)
            for seed in (0, 1)
        ]
        for margin in (0.1, 0.0)
    )
    assert mean_last(early) >= mean_last(late)


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["symmetric", "pair"])
def test_networks_that_must_agree_do_better_than_networks_that_teach_each_other(noise):
    """JoCoR as published before Co-teaching, two seeds; three and six points were measured."""
    jocor, co_teaching = (
        [toy_run(method, noise, seed=seed) for seed in (0, 1)]
        for method in ("jocor, agreement .9", "co-teaching")
    )
    assert mean_last(jocor) >= mean_last(co_teaching)


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["symmetric", "pair"])
def test_correcting_the_prediction_does_better_than_correcting_the_loss(noise):
    """Forward before backward with the true matrix; three and thirteen points were measured."""
    forward, backward = (toy_run(method, noise) for method in ("forward", "backward"))
    assert forward.last > backward.last


@pytest.mark.slow
def test_the_forward_correction_begins_anew_after_its_warm_up():
    """What the warm-up has memorised of pair noise stays: more than twenty points were measured."""
    anew, on = (
        train_by_steps(Forward(anew=each), make_toy("pair", 0.4, 0), 0) for each in (True, False)
    )
    assert anew.last >= on.last + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("method", ["prestopping", "morph"])
def test_memorised_samples_carry_through_pair_noise(method):
    """25 points above standard training and more, means of two seeds; 29 to 32 were measured."""
    ours, standard = (
        [toy_run(each, "pair", seed=seed) for seed in (0, 1)] for each in (method, "standard")
    )
    assert mean_last(ours) >= mean_last(standard) + 0.2


@pytest.mark.slow
def test_mild_methods_delay_memorising_and_do_not_prevent_it():
    """Label smoothing and bootstrapping gain little, mixup more, all less than selecting."""
    last = {
        method: mean_last([toy_run(method, seed=seed) for seed in (0, 1)])
        for method in ("standard", "label-smoothing", "bootstrap", "mixup", "morph")
    }
    assert last["standard"] < min(last["label-smoothing"], last["bootstrap"])
    assert max(last["label-smoothing"], last["bootstrap"]) < last["mixup"] < last["morph"]


@pytest.mark.parametrize(
    ("noise", "rate"), [("symmetric", 0.2), ("symmetric", 0.4), ("pair", 0.2), ("pair", 0.4)]
)
def test_the_estimated_noise_rate_is_within_ten_points(noise, rate):
    """SELFIE's estimate at the end of its warm-up, mean of two seeds."""
    assert np.mean([estimated_rate(noise, rate, seed) for seed in (0, 1)]) == pytest.approx(
        rate, abs=0.1
    )


def test_the_estimated_noise_rate_of_clean_labels_is_small():
    assert np.mean([estimated_rate(None, 0.0, seed) for seed in (0, 1)]) <= 0.05


def estimated_rate(noise, rate, seed):
    """After the warm-up, a quarter of 60 epochs, the estimate stays as it is."""
    return train_by_steps(SELFIE(), make_toy(noise, rate, seed), seed, stop=15).rate


@pytest.mark.slow
def test_a_restart_of_selfie_keeps_its_accuracy():
    """Without refurbished labels in the second warm-up it would lose more than ten points."""
    restarted = [
        train_by_steps(SELFIE(0.4, restarts=1), make_toy("pair", 0.4, seed), seed, epochs=120)
        for seed in (0, 1)
    ]
    single = [toy_run("selfie", "pair", seed=seed) for seed in (0, 1)]
    assert mean_last(restarted) >= mean_last(single) - 0.04


@pytest.mark.slow
def test_a_restart_of_selfie_that_warms_up_on_the_given_labels_loses_ten_points():
    """τ has fallen to next to nothing, so that all wrong labels are let in; 20 were measured."""

    class Forgetful(SELFIE):
        def decide(self, step):
            if 0 < self.round_start and step.epoch - self.round_start < self.warmup_epochs:
                return Decision()
            return super().decide(step)

    forgetful, relabelled = (
        train_by_steps(method(0.4, restarts=1), make_toy("pair", 0.4, 0), 0, epochs=120)
        for method in (Forgetful, SELFIE)
    )
    assert forgetful.last <= relabelled.last - 0.1


@pytest.mark.slow
def test_a_cap_on_coverage_keeps_wrong_labels_out():
    """A tenth of each batch waits: of the labels learned fewer are wrong; two points measured."""
    data, right = make_toy("symmetric", 0.4, 0), []
    for coverage in (1.0, 0.9):
        run = train_by_steps(SELFIE(0.4, coverage=coverage), data, 0)
        label = run.criterion.history["refurbished"].numpy()
        learned, chosen = np.where(label >= 0, label, data.given), run.chosen.numpy() > 0
        right.append((learned == data.true)[chosen].mean())
    assert right[1] >= right[0] + 0.005


@pytest.mark.slow
def test_auto_costs_next_to_nothing_on_clean_labels():
    """A tenth of the rows teach nothing, and the trigger must not harm."""
    auto = [toy_run("auto", None, 0.0, seed) for seed in (0, 1)]
    standard = [toy_run("standard", None, 0.0, seed) for seed in (0, 1)]
    assert mean_last(auto) >= mean_last(standard) - 0.015


def mean_last(runs):
    return np.mean([run.last for run in runs])


def test_taufe_damps_what_foreign_samples_look_like_and_costs_no_accuracy():
    """Features fall to a tenth and more, no class is preferred; published as a gain in accuracy."""
    standard, taufe = (
        toy_cell({"method": method, "seed": 0})[0] for method in ("standard", "taufe, sum 0.1")
    )
    assert taufe["foreign_feature"] <= 0.1 * standard["foreign_feature"]
    assert taufe["foreign_confidence"] <= 0.35
    assert taufe["test_accuracy"] >= standard["test_accuracy"] - 0.003


@pytest.mark.slow
def test_taufe_damps_by_its_strength_and_its_reduction():
    """TAUFE beside the reference's table: means of three seeds.

    Of "mean" .1 the reference has a φ² of .84, of "sum" .01 one of .075. With batches of 128, four
    steps an epoch, ours are .94 and .158; with 64, eight steps, .86 and .046. How far features
    fall goes by the number of steps, which the reference does not tell.
    """
    rows = {}
    for method in ("standard", "taufe, mean 0.1", "taufe, sum 0.01", "taufe, sum 0.1"):
        found = [toy_cell({"method": method, "seed": seed})[0] for seed in (0, 1, 2)]
        rows[method] = {name: np.mean([each[name] for each in found]) for name in found[0]}
    features = [row["foreign_feature"] for row in rows.values()]
    assert features[0] == pytest.approx(0.99, abs=0.05)
    assert 0.80 <= features[1] / features[0] <= 0.97  # next to nothing happens
    assert 0.04 <= features[2] <= 0.2
    assert features[3] <= 0.01
    confident = [row["foreign_confidence"] for row in rows.values()]
    assert confident[0] == pytest.approx(0.70, abs=0.03)
    assert confident[1] == pytest.approx(0.68, abs=0.03)
    assert confident[2] == pytest.approx(0.41, abs=0.06)
    assert confident[3] <= 0.35
    for row in rows.values():
        assert row["test_accuracy"] >= rows["standard"]["test_accuracy"] - 0.003
        assert row["auroc"] >= 0.985


# ---------------------------------------------------------------------- the recorder, on digits
@cache
def digits(wrong=0.2):
    """1 797 digits as 64 numbers, a share of the labels wrong: inputs, given labels."""
    inputs, true = load_digits(return_X_y=True)
    return inputs.astype(np.float32), corrupt(true, symmetric_transition(10, wrong), 0)


def digit_samples():
    inputs, given = digits()
    return open_data((inputs, given.astype(str)))


@pytest.mark.parametrize("method", ["standard", "auto"])
def test_recording_for_the_audit_does_not_touch_the_training(method):
    """The weights after two epochs are equal to the last bit, with the audit and without."""
    weights = []
    for audit in (True, False):
        job = job_for(digit_samples(), method=method, epochs=2, seed=0, audit=audit)
        for _ in job.training.run():
            pass
        weights.append(job.training.model.state_dict())
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("method", ["standard", "auto"])
def test_the_audit_costs_no_pass_over_the_data(method):
    """Every epoch sends every row through the network once, held-out rows included."""
    samples, passed = digit_samples(), []
    job = job_for(samples, method=method, epochs=3, seed=0, audit=True)
    hook = job.training.model.register_forward_hook(lambda _, __, out: passed.append(len(out)))
    for _ in job.training.run():
        pass
    judge(job.record())
    hook.remove()
    assert sum(passed) == 3 * len(samples)


def recorded(inputs, labels, order, net, epochs=8):
    """The record of a standard training that visits the rows by `order`, from given weights."""
    labels = torch.from_numpy(labels)
    criterion = Standard().start(len(labels), CLASSES, epochs=epochs, labels=labels)
    rows = Rows(torch.from_numpy(inputs), labels, order, Preparation.fit(digits()[0]))
    training = Training(net, criterion, rows, Settings(epochs=epochs, batch_size=64))
    for _ in training.run():
        pass
    samples = open_data((inputs, labels.numpy().astype(str)))
    record = Record.from_history(criterion.history.state_dict(), samples.labels, samples.classes)
    assert (record.visits == epochs).all()
    return record


def network():
    return build_model("mlp", shape=(64,), classes=CLASSES, seed=0)


def test_rows_stored_in_another_order_get_the_same_verdicts():
    """Visited in the same order, every row of the table keeps its bits."""
    inputs, given = digits()
    moved = np.random.default_rng(1).permutation(len(given))
    place = torch.from_numpy(np.argsort(moved))  # where each row has gone
    first = judge(recorded(inputs, given, torch.arange(len(given)), network()))
    other = judge(recorded(inputs[moved], given[moved], place, network()))
    assert np.array_equal(first.label_score[moved], other.label_score)
    assert np.array_equal(first.is_label_issue[moved], other.is_label_issue)
    assert np.array_equal(first.suggested[moved], other.suggested)


def test_classes_under_other_names_get_the_same_verdicts():
    """Permuted classes, and the last layer's start with them, permute the suggestions only."""
    inputs, given = digits()
    renamed = np.random.default_rng(2).permutation(CLASSES)  # old class → new class
    net, other_net = network(), network()
    old = torch.from_numpy(np.argsort(renamed))  # new class → old class
    with torch.no_grad():
        last = [each for each in other_net.modules() if isinstance(each, torch.nn.Linear)][-1]
        last.weight.copy_(last.weight[old].clone())
        last.bias.copy_(last.bias[old].clone())
    order = torch.arange(len(given))
    first = judge(recorded(inputs, given, order, net))
    other = judge(recorded(inputs, renamed[given], order, other_net))
    # sums over classes are taken in another order, and training makes more of the rounding
    assert np.abs(first.label_score - other.label_score).max() <= 1e-3
    assert (first.is_label_issue != other.is_label_issue).sum() <= 2
    assert (renamed[first.suggested] != other.suggested).sum() <= 2


def test_cleanlab_reads_the_probabilities_of_the_run_and_flags_nearly_the_same():
    """Its filter on our probabilities differs from our verdict on 5 % of the rows at most."""
    samples = digit_samples()
    run = audited_run(samples, method="auto", epochs=30, seed=0)
    theirs = find_label_issues(samples.labels, pred_probs(run.record), n_jobs=1)
    assert theirs.sum() >= 0.1 * len(samples)
    assert np.mean(theirs != run.verdicts.is_label_issue) <= 0.05


# ---------------------------------------------------------------------- real data, and cleanlab
@pytest.fixture(scope="module")
def folder():
    """The data sets, which the package does not ship."""
    named = os.environ.get("THRESHER_DATA")
    if named is None:
        pytest.skip("THRESHER_DATA does not name the folder of the data sets")
    return Path(named)


@cache
def ours(folder, data, noise, method):
    """What one run with seed 0 finds."""
    problem = load_problem(folder, data, noise, 0)
    run = audited_run(problem.samples, method=method, epochs=EPOCHS[data], seed=0)
    return figures_of_run(run, problem)


@cache
def cleanlabs(folder, data, noise):
    """What five folds of the same training find: at fixed epochs, and early-stopped."""
    problem = load_problem(folder, data, noise, 0)
    return figures_of_workflow(problem, epochs=EPOCHS[data], seed=0, early_stopping=True)


@pytest.mark.realdata
def test_letter_with_symmetric_noise(folder):
    """Ranking almost perfect, noise rate right, verdicts near those of cleanlab's filter."""
    found = ours(folder, "letter", "symmetric 20 %", "auto")
    assert found["ap"] >= 0.985
    assert 0.14 <= found["rate_estimate"] <= 0.23
    assert found["cleanlab_difference"] <= 0.05


@pytest.mark.slow
@pytest.mark.realdata
def test_letter_with_class_dependent_noise(folder):
    """One run ranks better than five folds, and costs less than half."""
    noise = "class-dependent 20 %"
    found, (fixed, early) = (
        ours(folder, "letter", noise, "auto"),
        cleanlabs(folder, "letter", noise),
    )
    assert found["ap"] >= 0.935
    assert found["ap"] >= max(fixed["ap"], early["ap"])
    assert ours(folder, "letter", noise, "elr")["ap"] >= 0.97
    assert found["cleanlab_difference"] <= 0.05
    assert found["cpu_seconds"] <= 0.5 * fixed["cpu_seconds"]


@pytest.mark.slow
@pytest.mark.realdata
def test_fashion_with_instance_dependent_noise(folder):
    """Where labels are memorised, one run is far ahead of five folds and of plain training."""
    noise = "instance-dependent 30 %"
    found, (fixed, early) = (
        ours(folder, "fashion", noise, "auto"),
        cleanlabs(folder, "fashion", noise),
    )
    assert found["ap"] >= 0.84
    assert found["ap"] >= fixed["ap"] + 0.12
    assert found["ap"] >= early["ap"]
    assert (
        found["test_accuracy"] >= ours(folder, "fashion", noise, "standard")["test_accuracy"] + 0.07
    )
    assert ours(folder, "fashion", noise, "elr")["ap"] >= 0.88
    assert found["cleanlab_difference"] <= 0.05
    assert found["cpu_seconds"] <= 0.5 * fixed["cpu_seconds"]


@pytest.mark.slow
@pytest.mark.realdata
def test_fashion_with_pair_noise(folder):
    """The same for labels that are mistaken for one other class."""
    noise = "pair 30 %"
    found, (_, early) = ours(folder, "fashion", noise, "auto"), cleanlabs(folder, "fashion", noise)
    assert found["ap"] >= 0.82
    assert found["ap"] >= early["ap"] + 0.03
    assert ours(folder, "fashion", noise, "elr")["ap"] >= 0.89
    assert found["cleanlab_difference"] <= 0.05


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize(("data", "most"), [("letter", 0.01), ("fashion", 0.06)])
def test_clean_labels_are_left_alone(folder, data, most):
    """Few are flagged, and the accuracy is that of plain training."""
    found, standard = ours(folder, data, "none", "auto"), ours(folder, data, "none", "standard")
    assert found["flagged"] <= most
    assert found["test_accuracy"] >= standard["test_accuracy"] - 0.015
