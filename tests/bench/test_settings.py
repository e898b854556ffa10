"""Settings and grid: slips are refused, the baselines are always there."""

from pathlib import Path

import pytest

from thresher.bench.settings import (
    BASELINE,
    PEER,
    BenchSettings,
    chosen_methods,
    chosen_noises,
    grid,
)
from thresher.errors import ParameterError
from thresher.noise import METHODS


@pytest.mark.parametrize("text", ["elr", "elr,standard", "cleanlab, elr", None, ""])
def test_the_baselines_are_always_among_the_methods(text):
    """Standard training first, cleanlab's workflow last, nothing twice."""
    found = chosen_methods(text)
    assert found[0] == BASELINE
    assert found[-1] == PEER
    assert len(set(found)) == len(found)
    assert text is None or set(found) == {BASELINE, PEER} | ({"elr"} if text else set())


def test_by_default_everything_against_wrong_labels_is_compared():
    """Not what chooses batches, which is an answer to another question."""
    assert set(METHODS) - {"selective-backprop", "rho-loss"} >= set(chosen_methods(None)) - {PEER}
    assert {"auto", "selfie", "gce"} <= set(chosen_methods(None))


def test_an_unknown_method_is_named_with_the_nearest():
    """As everywhere."""
    with pytest.raises(ParameterError, match='Did you mean "selfie"'):
        chosen_methods("selfy")


def test_noise_by_default_depends_on_where_the_truth_is():
    """Beside the labels, or in them."""
    assert [str(each) for each in chosen_noises(None, None)] == ["none", "symmetric:0.4"]
    assert [str(each) for each in chosen_noises(None, "gold")] == ["given"]
    assert [str(each) for each in chosen_noises("pair:0.4,pair:0.40", None)] == ["pair:0.4"]
    with pytest.raises(ParameterError, match="needs the true labels"):
        chosen_noises("given", None)
    with pytest.raises(ParameterError, match="no noise"):
        chosen_noises(" ,", None)


def test_a_seed_is_compared_as_a_whole_before_the_next():
    """What is done first is a comparison."""
    cells = grid(("standard", "elr"), chosen_noises("none,pair:0.2", None), 2)
    assert len(set(cells)) == 8
    assert [each.seed for each in cells] == [0] * 4 + [1] * 4
    assert str(cells[1]) == "elr, none, seed 0"
    with pytest.raises(ParameterError, match="seeds must be at least 1"):
        grid(("standard",), chosen_noises(None, None), 0)
    with pytest.raises(ParameterError, match="seeds must be at most 10,000, got 10,001"):
        grid(("standard",), chosen_noises(None, None), 10_001)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"told": "tru"}, 'Did you mean "true"'),
        ({"told": "gausian-mean"}, 'Did you mean "gaussian-mean"'),
        ({"told": 1.5}, "noise_rate must be in"),
        ({"validation": 0.6}, "validation must be in"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"true": "gold"}, "digits of scikit-learn"),
        ({"auxiliary": "out-of-distribution"}, "no marks"),
        ({"augment": "spin"}, "augment must be"),
        ({"data": "d", "true": "a", "group_report": "a"}, "as true and as group_report"),
        ({"data": "d", "label": "a", "true": "a"}, "as label and as true"),
        ({"data": "d", "group_report": "a", "image": "a"}, "as group_report and as image"),
        ({"data": "d", "true": "a", "text": ("b", "a")}, "as true and as text"),
    ],
)
def test_slips_are_refused(given, match):
    """Before any data are read."""
    with pytest.raises(ParameterError, match=match):
        BenchSettings(**given)


def test_settings_survive_their_file():
    """Paths relative to the folder, the digits by their name."""
    settings = BenchSettings(data="/a/data.csv", test="/a/b/test.csv", text=("t",), told=0.2)
    table = settings.to_table(Path("/a/out"))
    assert table["data"] == "../data.csv"
    assert BenchSettings.from_table(table, Path("/a/out")) == settings
    assert BenchSettings().to_table(Path("/a"))["data"] == "digits"
    with pytest.raises(ParameterError, match='no setting "epoch"'):
        BenchSettings.from_table({"epoch": 3}, Path())
