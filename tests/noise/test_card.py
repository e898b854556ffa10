"""The card of a method says what its docstrings say, and leaves nothing out."""

import inspect
import json

import pytest

from thresher import noise
from thresher.data.corruption import symmetric_transition
from thresher.noise.card import ANSWERS, PARTS, card_of, read_args, read_class, read_module
from thresher.noise.families import FAMILIES, PROPERTIES

CLASSES = [getattr(noise, kind) for kind in noise.METHODS.values()]


@pytest.mark.parametrize("method", CLASSES, ids=list(noise.METHODS))
def test_every_method_has_a_whole_card(method):
    """Nothing that a reader wants to know is missing."""
    card = card_of(method)
    assert f"thresher.noise.{noise.METHODS[card.name]}" == card.made_by
    assert card.summary.endswith(".")
    assert card.idea
    assert all("Args:" not in each and "Source:" not in each for each in card.idea)
    assert card.formula or card.name == "standard"
    assert card.cost
    assert card.hurts_when
    assert card.source
    assert card.reference
    assert FAMILIES[card.family] == card.family_means
    assert card.properties is None or list(card.properties) == list(PROPERTIES)


@pytest.mark.parametrize("method", CLASSES, ids=list(noise.METHODS))
def test_every_setting_is_described_and_every_description_is_of_a_setting(method):
    """The signature and the docstring name the same arguments."""
    described = read_args(read_class(method.__doc__)["Args"])
    assert list(inspect.signature(method).parameters) == list(described)
    for each in card_of(method).settings:
        assert each.description.endswith(".")
        assert "Cost:" not in each.description
        assert "Raises:" not in each.description


@pytest.mark.parametrize("method", CLASSES, ids=list(noise.METHODS))
def test_no_part_runs_into_the_next_one(method):
    """A mark that the reader overlooks would end up within another part."""
    card = card_of(method)
    for text in (card.cost, card.hurts_when, card.reference, card.deviations):
        for mark in ("Cost:", "Hurts when:", "Source:", "Deviations:", "Raises:"):
            assert mark not in text


@pytest.mark.parametrize("method", CLASSES, ids=list(noise.METHODS))
def test_a_card_is_json(method):
    """Every default among it."""
    card = card_of(method)
    assert json.loads(json.dumps(card.to_json()))["name"] == card.name


def remembered(criterion):
    """Bytes a sample of all columns but the label and whether it is trained, which all keep."""
    columns = criterion.history.columns()
    return sum(
        values.element_size() * values.numel() / criterion.plan.samples
        for name, values in columns.items()
        if name not in ("given", "eligible")
    )


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize(("classes", "window"), [(10, None), (7, None), (10, 5)])
@pytest.mark.parametrize("method", CLASSES, ids=list(noise.METHODS))
def test_the_bytes_of_a_card_are_those_that_a_training_holds(method, classes, window, told):
    """By default, and with another window; with rate or matrix estimated and told."""
    arguments = inspect.signature(method).parameters
    options = {}
    if told and "noise_rate" in arguments:
        options["noise_rate"] = 0.3
    if told and "transition" in arguments:
        options["transition"] = symmetric_transition(classes, 0.3)
    card = card_of(method)
    formula = card.sample_bytes_told if told else card.sample_bytes
    if window is not None and "q" in formula:
        options["window"] = window
    q = arguments["window"].default if window is None and "window" in arguments else window
    criterion = method(**options).start(50, classes, epochs=100, audit=False)
    terms = (each.partition(letter) for each, letter in map(with_letter, formula.split("+")))
    value = {"k": classes, "q": q, "": 1}
    assert remembered(criterion) == sum(int(number) * value[letter] for number, letter, _ in terms)


@pytest.mark.parametrize("method", CLASSES, ids=list(noise.METHODS))
def test_what_the_docstring_says_of_bytes_is_what_the_card_counts(method):
    """Tied to what a training holds by the test above; rate or matrix estimated, or told."""
    card = card_of(method)
    text = card.cost.replace(" ", "").replace("window", "q")
    counted = {card.sample_bytes, card.sample_bytes_told} - {"0"}
    assert ("bytesasample" in text) == bool(counted)
    assert not counted or any(f"{each}bytesasample" in text for each in counted)


def with_letter(term):
    """A term, and the letter it holds, or one that it does not."""
    return term, "q" if "q" in term else "k"


def test_data_that_are_drawn_beside_the_batches_are_needs():
    """Without them there is no training."""
    assert card_of(noise.TAUFE).needs == ("auxiliary",)
    assert card_of(noise.Standard).needs == ()


def test_the_signs_of_the_survey_become_words():
    """P1 to P6 of Co-teaching's row."""
    assert {
        "any architecture": "yes",
        "no pre-training": "yes",
        "uses all data": "no",
        "no supervision": "no",
        "heavy noise": "yes",
        "instance-dependent noise": "in part",
    } == card_of(noise.CoTeaching).properties
    assert set("+~-") == set(ANSWERS)


def test_settings_of_selfie_with_their_ranges_and_defaults():
    """From the description, and from the signature."""
    found = {each.name: (each.range, each.default) for each in card_of(noise.SELFIE).settings}
    assert found == {
        "noise_rate": ("in [0, 1)", None),
        "threshold": ("in (0, 1]", 0.05),
        "window": (">= 1", None),
        "warmup": (">= window", None),
        "restarts": (None, 0),
        "reuse": (None, False),
        "soft": (None, False),
        "coverage": ("in (0, 1]", 1.0),
        "per_class": (None, False),
        "estimate": (None, "settled"),
    }


def test_formulas_without_indent_are_formulas():
    """What a formatter makes of a docstring that holds nothing else."""
    assert read_module("Name: it.\n\nloss = a + b\nb    = c\n") == (
        (),
        ("loss = a + b", "b    = c"),
    )


def test_formulas_keep_their_columns():
    """Aligned lines stay aligned."""
    _, formula = read_module("Name: it.\n\nIdea.\n\n    a  = 1\n      + 2\n")
    assert formula == ("a  = 1", "  + 2")


def test_deviations_say_from_what():
    """Words between the mark and its colon are kept."""
    parts = read_class("Do.\n\nSource: A, B: C, D 2019. Deviations from the authors' code: none.\n")
    assert parts["Source"] == "A, B: C, D 2019."
    assert parts["Deviations"] == "from the authors' code: none."


def test_a_docstring_of_one_line_is_a_card_without_parts():
    """As of a method that a user has just begun."""
    assert read_class("One line.") == {
        "summary": "One line.",
        **dict.fromkeys(PARTS, ""),
    }
