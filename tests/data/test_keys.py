import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from thresher.data.keys import (
    conflicting,
    float_words,
    mix,
    repeated,
    row_keys,
    sample_ids,
)

ROWS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 30), st.integers(1, 5)),
    elements=st.sampled_from([0.0, 1.0, -1.0, 0.5, np.nan]),
)


def splitmix(word: int) -> int:
    """Finalise one word in Python integers, as published."""
    limit = 2**64
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % limit
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % limit
    return word ^ (word >> 31)


def test_mix_is_the_published_finaliser():
    words = [0, 1, 2**63, 0xDEADBEEF, 2**64 - 1]
    assert [splitmix(word) for word in words] == mix(np.array(words, np.uint64)).tolist()


def test_a_row_key_is_the_sum_of_its_mixed_words():
    row = np.array([[1.5, -2.0, 3.0]], np.float32)  # 12 bytes: one word, and half of another
    words = np.frombuffer(row.tobytes() + bytes(4), "<u8").tolist()
    keys = [splitmix(place * 0x9E3779B97F4A7C15 % 2**64) for place in (1, 2)]
    total = sum(splitmix(word ^ key) for word, key in zip(words, keys, strict=True)) % 2**64
    assert [splitmix(total)] == row_keys(row).tolist()


def test_keys_do_not_depend_on_how_rows_are_cut_into_blocks():
    rows = np.random.default_rng(0).standard_normal((3000, 64), dtype=np.float32)
    single = np.concatenate([row_keys(rows[row : row + 1]) for row in range(3000)])
    np.testing.assert_array_equal(single, row_keys(rows))


def test_a_hundred_thousand_distinct_rows_have_distinct_keys():
    rows = np.arange(100_000, dtype=np.float32)[:, None]
    assert len(np.unique(row_keys(rows))) == 100_000


def test_values_that_change_places_change_the_key():
    rows = np.array([[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 3, 4]], np.float32)
    assert len(np.unique(row_keys(rows))) == 3


def test_negative_zero_and_every_nan_count_as_one_value():
    bits = np.array([0x7FC00000, 0xFFC00001], np.uint32).view(np.float32)
    assert float_words(bits)[0] == float_words(bits)[1]
    zeros = float_words(np.array([0.0, -0.0], np.float32))
    assert zeros[0] == zeros[1]


def test_image_keys_see_every_pixel():
    images = np.zeros((1 + 5 * 5, 5, 5, 1), np.uint8)
    for pixel in range(25):
        images[pixel + 1].flat[pixel] = 1
    assert len(np.unique(row_keys(images))) == 26


def test_ids_are_the_keys_in_sixteen_hex_digits():
    keys = np.array([0, 2**64 - 1, 0x0123456789ABCDEF], np.uint64)
    assert ["0" * 16, "f" * 16, "0123456789abcdef"] == sample_ids(
        keys, np.zeros(3, np.int64)
    ).to_pylist()


def test_identical_rows_are_numbered_by_label_then_row():
    keys = np.full(4, 255, np.uint64)
    labels = np.array([1, 0, 1, -1])
    key = "00000000000000ff"
    assert [f"{key}-3", f"{key}-2", f"{key}-4", key] == sample_ids(keys, labels).to_pylist()


@given(rows=ROWS, seed=st.integers(0, 2**32 - 1))
def test_ids_follow_their_rows_through_any_permutation(rows, seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(-1, 3, len(rows))
    order = generator.permutation(len(rows))
    before = np.array(sample_ids(row_keys(rows), labels).to_pylist())
    after = np.array(sample_ids(row_keys(rows[order]), labels[order]).to_pylist())
    assert len(rows) == len(set(before.tolist()))
    # rows alike in features and label cannot be told apart, so they share their ids as a group
    groups = [(row.tobytes(), label) for row, label in zip(rows, labels.tolist(), strict=True)]
    moved = [groups[row] for row in order]
    named = set(zip(groups, before.tolist(), strict=True))
    assert named == set(zip(moved, after.tolist(), strict=True))


@given(rows=ROWS, seed=st.integers(0, 2**32 - 1))
def test_correcting_a_label_renames_only_rows_alike_in_everything_else(rows, seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, len(rows))
    corrected = labels.copy()
    corrected[generator.integers(len(rows))] = 2
    keys = row_keys(rows)
    before = sample_ids(keys, labels).to_pylist()
    after = sample_ids(keys, corrected).to_pylist()
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    for row in np.flatnonzero(counts[inverse] == 1):
        assert before[row] == after[row]
    assert sorted(before) == sorted(after)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_keys_do_not_depend_on_memory_layout(dtype):
    rows = np.arange(60).reshape(12, 5).astype(dtype)
    np.testing.assert_array_equal(row_keys(rows), row_keys(np.asfortranarray(rows)))


def slow_conflicts(keys, labels):
    """Compare every row with every other one."""
    found = []
    for row in range(len(keys)):
        others = [
            (labels[other], other)
            for other in range(len(keys))
            if keys[other] == keys[row] and 0 <= labels[other] != labels[row]
        ]
        if labels[row] >= 0 and others:
            found.append((row, min(others)[1]))
    return found


@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 3)), min_size=0, max_size=30),
)
def test_conflicts_are_those_of_a_slow_comparison(rows):
    keys = np.array([key for key, _ in rows], np.uint64)
    labels = np.array([label for _, label in rows], np.int64)
    found, others = conflicting(keys, labels)
    assert slow_conflicts(keys, labels) == list(zip(found.tolist(), others.tolist(), strict=True))


def test_rows_that_repeat_earlier_ones_are_counted():
    assert 3 == repeated(np.array([5, 1, 5, 5, 1, 2], np.uint64))
    assert 0 == repeated(np.zeros(0, np.uint64))
