"""Errors: a tree, two sentences each, and the nearest name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher import errors
from thresher.errors import (
    DataError,
    LabelError,
    MissingPackageError,
    ParameterError,
    ThresherError,
    nearest,
)

KINDS = [getattr(errors, name) for name in errors.__all__ if name != "nearest"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_caught_as_one_of_ours(kind):
    """It carries the cause and the fix, and shows both."""
    with pytest.raises(ThresherError) as caught:
        raise kind("This is wrong.", "Do that.")
    assert ("This is wrong.", "Do that.") == (caught.value.cause, caught.value.fix)
    assert str(caught.value) == "This is wrong. Do that."


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_without_a_fix_is_its_cause(kind):
    """No blank at the end."""
    assert str(kind("This is wrong.")) == "This is wrong."


@pytest.mark.parametrize(
    ("kind", "also"),
    [(LabelError, DataError), (ParameterError, ValueError), (MissingPackageError, ImportError)],
)
def test_errors_are_also_what_python_calls_them(kind, also):
    """Code that catches the usual class goes on working."""
    assert issubclass(kind, also)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tree_at_the_top_of_the_file_is_whole(kind):
    """A reader finds every class there."""
    assert kind.__name__ in errors.__doc__


@pytest.mark.parametrize(
    ("name", "allowed", "expected"),
    [
        ("selfy", ["standard", "selfie"], 'Did you mean "selfie"?'),
        ("LABEL", ["height", "Label"], 'Did you mean "Label"?'),
        ("zzz", ["b", "a"], "Allowed: a, b."),
        ("zzz", [f"name{n:02d}" for n in range(25)][::-1], "name22, name23, …."),
        ("zzz", [], "Allowed: ."),
    ],
)
def test_the_nearest_name_is_proposed_or_all_are_listed(name, allowed, expected):
    """Whatever the case; at most 24 are listed, in order."""
    assert nearest(name, allowed).endswith(expected)


@given(st.text(), st.lists(st.text(min_size=1), min_size=1))
def test_a_proposal_is_always_one_of_the_allowed(name, allowed):
    """Whatever was typed."""
    said = nearest(name, allowed)
    if said.startswith("Did you mean"):
        assert said.removeprefix('Did you mean "').removesuffix('"?') in allowed
    else:
        assert said.startswith("Allowed: ")


@given(st.lists(st.text(min_size=1), min_size=1))
def test_an_allowed_name_is_nearest_to_itself_but_for_case(allowed):
    """So that a message never proposes something odd."""
    said = nearest(allowed[0], allowed)
    proposed = said.removeprefix('Did you mean "').removesuffix('"?')
    assert proposed.lower() == allowed[0].lower()
