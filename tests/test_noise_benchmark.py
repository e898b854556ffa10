"""The benchmark of the methods: its estimators see what a method's do, its tables say who fails."""

import sys
from pathlib import Path

import pytest
import torch

from thresher.noise import ESTIMATORS, METHODS, make_method

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from factors import CASES, bar_of, factor_lines, factors_section
from rate_runs import Watched
from rates_table import rates_section
from tables import Lines


def watched_rates(method, name, epochs=6, samples=300):
    """The rate in every epoch of a criterion that is shown a fifth of its labels wrong."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(samples) % 3
    wrong = torch.rand(samples, generator=generator) < 0.2
    predicted = torch.where(wrong, (labels + 1) % 3, labels)
    criterion = method.start(samples, 3, epochs=epochs, labels=labels)
    rates = []
    for _ in range(epochs):
        for index in torch.randperm(samples, generator=generator).split(50):
            noise = torch.randn(len(index), 3, generator=generator)
            outputs = noise + 4 * torch.nn.functional.one_hot(predicted[index], 3)
            outputs = outputs.expand(method.networks, -1, -1).clone().requires_grad_()
            criterion(index, outputs, labels[index])
        criterion.applied(criterion.end_epoch())
        found = criterion.method
        rates.append(found.rates[name] if isinstance(found, Watched) else found.rate)
    return rates


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_estimators_that_look_together_say_what_a_method_is_told_by_each_alone(name):
    """Co-teaching's trace, to the bit: what two of them read alike is moved once a step."""
    apart = name.startswith("cross-validation")
    together = [each for each in ESTIMATORS if each.startswith("cross-validation") == apart]
    alone = watched_rates(make_method("co-teaching", noise_rate=name), name)
    assert alone == pytest.approx(watched_rates(Watched(together), name), abs=1e-6)


def rate_lines():
    """Two estimators: one is right everywhere, the other misses pair noise."""
    return Lines(
        tuple(
            {
                "noise": noise,
                "rate": rate,
                "seed": seed,
                "estimates": {
                    epoch: {"right": rate + 0.01, "low": 0.1 if noise == "pair" else rate}
                    for epoch in ("10", "20")
                },
            }
            for noise, rate in (("none", 0.0), ("symmetric", 0.4), ("pair", 0.4))
            for seed in (0, 1)
        )
    )


def test_the_table_of_rates_says_who_is_closest_and_where_each_fails():
    """By kind of noise and over all; an error that fails is bold, the bar missed by its excess."""
    text = rates_section(rate_lines())
    assert (
        "Closest: right labels `low` (0.0 points off at most); symmetric noise `low` (0.0 points "
        "off at most); pair noise `right` (1.0 points off at most); all of these `right`" in text
    )
    assert "Within 10 points everywhere: `right`." in text
    assert "- `low`: pair 40 % (-30.0)" in text
    assert "| low | +0.0 | **-30.0** | +0.0 | 30.0 |" in text
    assert "| ≤ 10 | 30 | **missed by 20** |" in text


def test_every_method_against_wrong_labels_has_a_bar_but_those_that_do_more():
    """One network 1.10, two 2.2."""
    bars = {}
    for name in METHODS:
        method = make_method(name)
        bars[name] = bar_of(name, method.family, method.networks)
    assert {name for name, bar in bars.items() if bar is None} == {
        "standard", "dividemix", "taufe", "oat", "odnl", "selective-backprop", "rho-loss",
    }  # fmt: skip
    assert {name for name, bar in bars.items() if bar == 2.2} == {
        "decoupling", "co-teaching", "co-teaching-plus", "jocor",
    }  # fmt: skip


def test_a_method_is_timed_in_turns_with_standard_training():
    """Its line holds quartiles around the median, and what it is judged by."""
    standard, gce = factor_lines(next(iter(CASES)), epochs=2, methods=["gce"])
    assert standard["method"] == "standard"
    assert standard["over_standard"] == [1, 1, 1]
    low, middle, high = gce["over_standard"]
    assert 0 < low <= middle <= high
    assert (gce["method"], gce["turns"], gce["bar"]) == ("gce", 1, 1.10)


def test_the_table_of_factors_names_the_bars_that_are_missed():
    """The furthest first; what has no bar is no miss."""
    made = [
        ("standard", 1.0, None), ("gce", 1.05, 1.1), ("elr", 1.2, 1.1), ("jocor", 2.6, 2.2),
        ("dividemix", 5.0, None),
    ]  # fmt: skip
    lines = [
        {"data": next(iter(CASES)), "method": name, "family": "", "networks": 1, "epoch_ms": 10.0,
         "over_standard": [factor, factor, factor], "bar": bar, "turns": 8}
        for name, factor, bar in made
    ]  # fmt: skip
    text = factors_section(Lines(tuple(lines)))
    assert "Met: 1 of 3 bars. Missed: `jocor` by 0.40, `elr` by 0.10." in text
    assert "| elr |  | 1 | 10 | 1.20 (1.20–1.20) | ≤ 1.10 | **no** |" in text
    assert "small CNN" not in text
