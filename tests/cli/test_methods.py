"""`thresher methods`: what there is to choose from, and the card of one."""

import json
import sys

import pytest
from sklearn.datasets import load_iris

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
        assert [
            "name",
            "family",
            "needs",
            "networks",
            "properties",
            "sample_bytes",
            "sample_bytes_told",
            "summary",
            "source",
        ] == list(each)
        assert all(isinstance(need, str) for need in each["needs"])
        assert each["networks"] in (1, 2)
        assert each["family"]
        assert each["summary"]
        assert each["source"]


def test_people_read_a_line_for_every_method(call):
    """Properties, needs, memory and reference among it; within the width of a terminal."""
    lines = call("methods").out.splitlines()
    titles = ["method", "family", "P1–P6", "needs", "nets", "bytes", "reference"]
    assert titles == lines[0].split()
    rows = [each for each in lines[1:] if each.split()[:1] and each.split()[0] in METHODS]
    assert list(METHODS) == [each.split()[0] for each in rows]
    assert max(map(len, lines)) <= 120
    found = {each.split()[0]: " ".join(each.split()) for each in rows}
    assert found["selfie"] == "selfie hybrid +++-+~ noise rate 1 6 Song, Kim & Lee, ICML 2019"
    assert "further data" in found["taufe"]
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
        "settings (--method-option NAME=VALUE)",
        "family",
        "in the survey (TNNLS 2022)",
        "needs",
        "bytes a sample",
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


def test_an_own_method_with_a_docstring_of_one_line_has_a_card(call, tmp_path):
    """Little is known of it, and that is said."""
    (tmp_path / "plain_method.py").write_text(
        "from thresher.noise import Method\n\n\n"
        'class Plain(Method):\n    """One line."""\n\n    name = "plain"\n'
    )
    done = call("methods", "plain_method:Plain")
    assert done.code == 0
    assert done.out.splitlines()[:2] == ["plain (plain_method.Plain)", "One line."]


@pytest.mark.parametrize("answer", ["[[1.0]]", "[[0.5, 0.5], [1.0]]", "[[float('nan')] * 3] * 3"])
def test_a_wrong_matrix_of_an_own_method_costs_no_training(call, tmp_path, answer):
    """It is noted and left out; the run ends as any other."""
    iris = load_iris(as_frame=True)
    iris.data.assign(label=iris.target_names[iris.target]).to_csv(tmp_path / "iris.csv")
    (tmp_path / "odd_method.py").write_text(
        "from thresher.noise import Method\n\n\n"
        'class Odd(Method):\n    """Odd."""\n\n    name = "odd"\n\n'
        f"    def known_transition(self):\n        return {answer}\n"
    )
    done = call("fit", "iris.csv", "--method", "odd_method:Odd", "--epochs", 2, "--out", "run")
    assert done.code == 0
    assert "what odd knows of it is no transition matrix" in done.err
    assert (tmp_path / "run/report.html").is_file()
    assert not (tmp_path / "run/transition.parquet").exists()
    del sys.modules["odd_method"]
