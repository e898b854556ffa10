"""Two processes on halves of every batch: every method with a choice, a phase or own passes."""

from functools import cache
from pathlib import Path

import pytest
import torch

from noise.methods_in_two_processes import CASES, EPOCHS, train
from started_together import started_together
from thresher.noise import METHODS

SCRIPT = Path(__file__).with_name("methods_in_two_processes.py")

#: Methods that a batch's other samples mean nothing to: no more than a loss for each sample.
LOSSES_ALONE = {
    "standard", "active-passive", "bootstrap", "label-smoothing", "mae", "sce",
}  # fmt: skip


def whole(batch):
    """How one process orders its batches to see what two do."""
    return torch.cat([batch[0::2], batch[1::2]])


@cache
def alone(case):
    """What one process comes to."""
    return train(case, [whole])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each of two processes came to, by every method."""
    return started_together(SCRIPT, 2, tmp_path_factory.mktemp("two"))


@pytest.mark.parametrize("case", list(CASES))
def test_two_processes_keep_the_history_and_the_weights_of_one(results, case):
    """Both hold the same; rounding aside, it is what one process comes to."""
    first, second = (each[case] for each in results)
    one = alone(case)
    assert repr(first["method"]) == repr(second["method"])
    assert one["restored"] == first["restored"] == second["restored"]
    torch.testing.assert_close(first["taken"], one["taken"])
    for key, values in one["history"].items():
        assert torch.equal(first["history"][key], second["history"][key]), key
        if values.is_floating_point():
            torch.testing.assert_close(first["history"][key], values, rtol=1e-4, atol=1e-5)
        elif key == "given_trace":  # probabilities in whole 255ths
            assert (first["history"][key].int() - values.int()).abs().max() <= 1
        else:
            assert torch.equal(first["history"][key], values), key
    for key, values in one["model"].items():
        assert torch.equal(first["model"][key], second["model"][key]), key
        torch.testing.assert_close(first["model"][key], values, rtol=1e-4, atol=1e-5)


def test_every_method_that_looks_at_more_than_a_sample_is_a_case():
    """A new one has to be added, or named as a loss alone."""
    assert set(METHODS) - LOSSES_ALONE == {case for case in CASES if case in METHODS}


def test_they_went_by_a_noise_rate_and_left_samples_out():
    """Else nothing was said of a choice over both halves; it is neither nothing nor all."""
    going = [case for case in CASES if "rate" in alone(case)["method"]]
    assert len(going) > 25
    for case in going:
        assert 0 < alone(case)["method"]["rate"] < 1, case
        assert 0 < alone(case)["taken"].mean() < 1, case


def test_they_refurbished_labels():
    """Some of them to another class than the given one."""
    for case in ("selfie", "selfie, told", "selfie, all settings", "prestopping-plus, told"):
        history = alone(case)["history"]
        label, given = history["refurbished"].long(), history["given"].long()
        assert ((label >= 0) & (label != given)).any(), case


def test_they_switched_by_themselves():
    """Before half of the run forces it."""
    for case in ("morph", "morph, told", "morph, cap and misses"):
        assert 0 < alone(case)["method"]["switched_at"] < EPOCHS // 2, case


@pytest.mark.parametrize(
    ("case", "restored"),
    [
        ("prestopping", 1),
        ("prestopping, combined", 1),
        ("prestopping, validation", 1),
        ("prestopping, noise-rate", 0),
        ("prestopping, memorised", 0),
        ("prestopping-plus, told", 1),
    ],
)
def test_they_stopped_and_went_back(case, restored):
    """To a network that was saved, where the rule saves one."""
    one = alone(case)
    assert one["method"]["lowest_at"] < one["method"]["stopped_at"] < EPOCHS
    assert one["restored"] == restored


def test_caps_held():
    """MORPH's safe set is cut to 1 - τ, what SELFIE learns from to its share; as they end."""
    cases = ("morph, told", "morph, cap and misses", "selfie, told", "selfie, all settings")
    late = {case: alone(case)["taken"][-10:].max() for case in cases}
    assert late["morph, cap and misses"] <= 0.6 < late["morph, told"]
    assert late["selfie, all settings"] <= 0.7 < late["selfie, told"]


def test_some_were_confident_and_others_clean():
    """PES counted its classes, DivideMix split its rows."""
    assert len(set(alone("pes")["method"]["class_weights"])) > 1
    for case in ("dividemix", "dividemix, penalty and window"):
        clean = alone(case)["history"]["clean_probability"]
        assert (clean < 0.5).any()
        assert (clean > 0.5).any()
