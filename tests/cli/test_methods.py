"""`thresher methods`: what there is to choose from, and the card of one."""

import json

import pytest

from thresher.noise import METHODS


def test_json_lists_every_method_with_what_it_needs(call):
    """One object, in the order of the registry."""
    done = call("methods", "--json")
    assert done.code == 0
    found = json.loads(done.out)
    assert ["schema", "methods"] == list(found)
    assert found["schema"] == 1
    assert list(METHODS) == [each["name"] for each in found["methods"]]
    for each in found["methods"]:
        assert ["name", "family", "needs", "networks", "summary", "source"] == list(each)
        assert all(isinstance(need, str) for need in each["needs"])
        assert each["networks"] in (1, 2)
        assert each["family"]
        assert each["summary"]
        assert each["source"]


def test_people_read_a_line_for_every_method(call):
    """The names of the issue are all there."""
    lines = call("methods").out.splitlines()
    assert ["method", "family", "needs", "networks", "what"] == lines[0].split()[:5]
    assert list(METHODS) == [each.split()[0] for each in lines[1:]]
    assert {"auto", "standard", "gce", "sce", "elr", "co-teaching", "selfie"} <= set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_json_of_a_card(call, name):
    """One object of one method."""
    found = json.loads(call("methods", name, "--json").out)
    assert ["schema", "method"] == list(found)
    assert found["schema"] == 1
    assert found["method"]["name"] == name


def test_people_read_the_card_of_a_method(call):
    """Idea, formula, settings, family, properties, cost, limits, source."""
    done = call("methods", "selfie")
    assert done.code == 0
    titles = [line for line in done.out.splitlines() if line and not line.startswith(" ")]
    assert titles[0] == "selfie (thresher.noise.SELFIE)"
    assert titles[2:] == [
        "idea",
        "formula",
        "settings",
        "family",
        "in the survey (TNNLS 2022)",
        "needs",
        "cost",
        "hurts when",
        "source",
        "deviations",
    ]
    for words in ("ceil(b (1 - τ))", "0.05", "uses all data: yes", "τ is far off", "ICML 2019"):
        assert words in done.out
    assert "\x1b" not in done.out


def test_an_unknown_name_is_refused_with_the_nearest(call):
    """As everywhere."""
    done = call("methods", "selfy")
    assert done.code == 2
    assert done.out == ""
    assert done.complaint == [
        'thresher: There is no method "selfy".',
        '          Did you mean "selfie"?',
    ]
