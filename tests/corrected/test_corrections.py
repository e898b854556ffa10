"""What becomes of each sample, by decisions and suggestions."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.audit.table import class_numbers
from thresher.corrected.corrections import SUGGESTION, correct
from thresher.decisions import Decided
from thresher.errors import ParameterError, RunError

CLASSES = ("cat", "dog", "fox")


def audit(rows):
    """An audit table of (given, suggested, flagged, p_suggested); ids are s0, s1, …."""
    given, suggested, flagged, p = zip(*rows, strict=True)
    return pa.table(
        {
            "sample_id": [f"s{number}" for number in range(len(rows))],
            "given_label": pa.array(given, pa.string()),
            "suggested_label": pa.array(suggested, pa.string()),
            "is_label_issue": pa.array(flagged, pa.bool_()),
            "p_suggested": pa.array(p, pa.float32()),
        }
    )


SIX = audit(
    [
        ("cat", "dog", True, 0.9),
        ("cat", "dog", True, 0.9),
        ("dog", "fox", True, 0.5),
        ("dog", "cat", False, 0.9),
        (None, "cat", False, 0.7),
        ("fox", None, True, None),
    ]
)


def names(codes):
    return [None if code < 0 else CLASSES[code] for code in codes]


def decisions(**by_sample):
    return {name: Decided(name, *each) for name, each in by_sample.items()}


def test_each_decision_does_what_it_says():
    """Accepted and other take the label of the decision; the rest keep the given one."""
    decided = decisions(
        s0=("accept", "dog"),
        s1=("keep", "cat"),
        s2=("other:cat", "cat"),
        s3=("exclude", None),
        s4=("accept", "cat"),
        s5=("unsure", "fox"),
    )
    found = correct(SIX, CLASSES, decided)
    assert ["dog", "cat", "cat", "dog", "cat", "fox"] == names(found.label)
    assert [False, False, False, True, False, False] == found.excluded.tolist()
    assert [each.decision for each in decided.values()] == found.decision.tolist()
    assert {} == found.missing


def test_without_decisions_nothing_changes():
    """Whatever is suggested."""
    found = correct(SIX, CLASSES, {})
    assert found.given.tolist() == found.label.tolist()
    assert not found.excluded.any()
    assert [""] * 6 == found.decision.tolist()


def test_suggestions_touch_flagged_samples_that_nobody_decided():
    """Not the unsure, not those without a suggestion, not those that are no issue."""
    decided = decisions(s1=("unsure", "cat"))
    found = correct(SIX, CLASSES, decided, suggestions=True)
    assert ["dog", "cat", "fox", "dog", None, "fox"] == names(found.label)
    assert [SUGGESTION, "unsure", SUGGESTION, "", "", ""] == found.decision.tolist()


@pytest.mark.parametrize(("least", "expected"), [(0.0, 3), (0.5, 3), (0.51, 2), (1.0, 0)])
def test_a_suggestion_needs_its_confidence(least, expected):
    """p_suggested at least as high, equality included."""
    found = correct(SIX, CLASSES, {}, suggestions=True, min_confidence=least)
    assert expected == int((found.decision == SUGGESTION).sum())


def test_decisions_about_strangers_are_counted():
    """They are about other data."""
    found = correct(SIX, CLASSES, decisions(stranger=("keep", "cat")))
    assert ["stranger"] == list(found.missing)


def test_a_class_that_the_run_does_not_have_is_refused():
    """A name from elsewhere must not become the name of a folder."""
    with pytest.raises(RunError, match=r"decided to be \"\.\./x\""):
        correct(SIX, CLASSES, decisions(s0=("other:../x", "../x")))


@pytest.mark.parametrize("least", [-0.1, 1.1, float("nan")])
def test_a_confidence_is_a_probability(least):
    """Between 0 and 1."""
    with pytest.raises(ParameterError, match=r"\[0, 1\]"):
        correct(SIX, CLASSES, {}, suggestions=True, min_confidence=least)


def test_a_confidence_without_suggestions_is_refused():
    """It would do nothing."""
    with pytest.raises(ParameterError, match="none are applied"):
        correct(SIX, CLASSES, {}, min_confidence=0.5)


@given(st.lists(st.sampled_from([None, *CLASSES]), min_size=1))
def test_names_and_codes_are_each_other_s_inverse(given_names):
    """-1 is no class."""
    codes = class_numbers(pa.chunked_array([pa.array(given_names, pa.string())]), CLASSES)
    assert codes.dtype == np.int64
    assert given_names == names(codes)
