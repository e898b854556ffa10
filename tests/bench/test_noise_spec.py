"""Kinds of noise are read as written, and hit exactly as many labels as they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thresher.bench.noise_spec import (
    KINDS,
    NoiseSpec,
    confused_pairs,
    given_labels,
    parse_noise,
)
from thresher.data.corruption import corrupt, instance_dependent, symmetric_transition
from thresher.errors import ParameterError

TRUE = np.repeat(np.arange(4), 25)
INPUTS = np.random.default_rng(0).normal(size=(100, 3))


@given(
    st.sampled_from([each for each in KINDS if each not in ("none", "given")]),
    st.integers(0, 99).map(lambda percent: percent / 100)
    | st.floats(0, 1, exclude_max=True, allow_subnormal=False),
)
def test_what_is_written_is_what_is_read(kind, rate):
    """A kind and its rate survive being written, to the last digit."""
    spec = NoiseSpec(kind, rate)
    assert parse_noise(str(spec)) == spec


@pytest.mark.parametrize("kind", ["none", "given"])
def test_some_kinds_have_no_rate(kind):
    """They are their own name."""
    assert str(parse_noise(kind)) == kind
    with pytest.raises(ParameterError, match="takes no rate"):
        parse_noise(f"{kind}:0.4")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("symetric:0.4", 'Did you mean "symmetric"'),
        ("pair", "no rate"),
        ("pair:1", "no rate"),
        ("pair:x", "no rate"),
        ("pair:nan", "no rate"),
        ("pair:0.4:a>b", "more than a rate"),
        ("asymmetric:0.4:a", "no pair of classes"),
        ("asymmetric:0.4:a>b;a>c", 'the class "a" twice'),
        ("asymmetric:0.4:a>b; a >b", 'the class "a" twice'),
        ("asymmetric:0.4: a>a", 'mistakes the class "a" for itself'),
    ],
)
def test_slips_are_refused(text, match):
    """With what is allowed."""
    with pytest.raises(ParameterError, match=match):
        parse_noise(text)


@settings(max_examples=25)
@given(
    st.sampled_from(["symmetric", "pair"]),
    st.sampled_from([0.0, 0.2, 0.4, 0.8]),
    st.integers(0, 2**31),
)
def test_counts_are_exact_in_every_class(kind, rate, seed):
    """Of 25 samples a class, 25 times the rate are wrong."""
    found = given_labels(NoiseSpec(kind, rate), INPUTS, TRUE, 4, seed)
    assert [(found != TRUE)[TRUE == each].sum() for each in range(4)] == [round(25 * rate)] * 4


def test_parts_are_counted_by_themselves():
    """A validation share has as many wrong labels as the rest."""
    parts = [np.flatnonzero(np.arange(100) % 5 > 0), np.flatnonzero(np.arange(100) % 5 == 0)]
    found = given_labels(NoiseSpec("symmetric", 0.4), INPUTS, TRUE, 4, 7, parts=parts)
    assert [(found != TRUE)[rows].mean() for rows in parts] == [0.4, 0.4]


def test_without_parts_it_is_the_generator_of_the_library():
    """The published benchmarks keep their draws."""
    spec = NoiseSpec("symmetric", 0.2)
    expected = corrupt(TRUE, symmetric_transition(4, 0.2), 5)
    np.testing.assert_array_equal(expected, given_labels(spec, INPUTS, TRUE, 4, 5))
    flat = INPUTS.astype(np.float32)
    scaled = (flat - flat.mean(axis=0)) / flat.std(axis=0)
    expected = instance_dependent(scaled, TRUE, 0.3, 4, 5)
    np.testing.assert_array_equal(
        expected, given_labels(NoiseSpec("instance", 0.3), INPUTS, TRUE, 4, 5)
    )


def test_no_noise_is_a_copy_of_the_truth():
    """Not the array itself."""
    found = given_labels(NoiseSpec("none"), INPUTS, TRUE, 4, 0)
    np.testing.assert_array_equal(TRUE, found)
    assert found is not TRUE


def test_pairs_of_asymmetric_noise_are_named_by_class():
    """Other classes stay as they are."""
    spec = parse_noise("asymmetric:0.4:b>c;c>b")
    assert confused_pairs(spec, ("a", "b", "c", "d")) == {1: 2, 2: 1}
    found = given_labels(spec, INPUTS, TRUE, 4, 0, names=("a", "b", "c", "d"))
    assert [(found != TRUE)[TRUE == each].sum() for each in range(4)] == [0, 10, 10, 0]
    assert set(found[(TRUE == 1) & (found != 1)]) == {2}


def test_cifar_has_pairs_of_its_own_and_others_must_name_them():
    """By the names of its classes."""
    cifar = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    assert confused_pairs(parse_noise("asymmetric:0.4"), cifar) == {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}
    with pytest.raises(ParameterError, match="does not say which"):
        confused_pairs(parse_noise("asymmetric:0.4"), ("a", "b"))
    with pytest.raises(ParameterError, match='no class "x"'):
        confused_pairs(parse_noise("asymmetric:0.4:a>x"), ("a", "b"))
