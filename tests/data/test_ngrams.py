"""Character n-grams, against a slow counter of texts."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.data.ngrams import BUCKETS, count_ngrams, text_blocks

TEXTS = st.lists(st.text(st.sampled_from("abü語 \t\n😀-"), max_size=30), min_size=1, max_size=8)


def slow_ngrams(text):
    """The n-grams of one text, one at a time."""
    padded = "".join(" " if each <= " " else each for each in f" {text} ")
    runs = (
        padded[start : start + size]
        for size in range(2, 6)
        for start in range(len(padded) - size + 1)
    )
    return Counter(run for run in runs if " " not in run[1:-1] and run.strip())


def bucket(ngram):
    """Where an n-gram is counted, found by counting it alone among others that are known."""
    code = 0
    for place, character in enumerate(ngram):
        code = (code * 0x100000001B3 + ord(character)) % 2**64 if place else ord(character)
    code ^= len(ngram)
    code = (code ^ (code >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    code = (code ^ (code >> 27)) * 0x94D049BB133111EB % 2**64
    return (code ^ (code >> 31)) % BUCKETS


def counted(matrix):
    """Row by row, bucket → count."""
    rows = np.split(np.stack([matrix.indices, matrix.data], axis=1), matrix.indptr[1:-1])
    return [dict(map(tuple, row.astype(int).tolist())) for row in rows]


@given(texts=TEXTS)
def test_all_texts_at_once_count_as_one_after_the_other(texts):
    expected = []
    for text in texts:
        found = Counter()
        for ngram, count in slow_ngrams(text).items():
            found[bucket(ngram)] += count
        expected.append(found)
    assert expected == counted(count_ngrams(pa.array(texts, pa.large_string())))


def test_the_ngrams_of_a_word_reach_over_its_ends():
    assert {" a", "an", "n ", " an", "an ", " an "} == set(slow_ngrams("an"))
    assert 6 == count_ngrams(pa.array(["an"], pa.large_string())).nnz


CHOSEN = np.flatnonzero(np.random.default_rng(0).random(BUCKETS) < 0.5)
PLACES = np.full(BUCKETS, -1, np.int32)
PLACES[CHOSEN] = np.arange(len(CHOSEN))


@given(texts=TEXTS)
def test_only_chosen_buckets_are_counted(texts):
    texts = pa.array(texts, pa.large_string())
    expected = [
        {PLACES[each]: count for each, count in row.items() if PLACES[each] >= 0}
        for row in counted(count_ngrams(texts))
    ]
    assert expected == counted(count_ngrams(texts, PLACES, len(CHOSEN)))


@pytest.mark.parametrize(
    ("one", "other"), [("ABC", "abc"), ("ﬁne", "fine"), ("e\u0301te", "\u00e9te"), ("ｱ", "ア")]
)
def test_case_and_unicode_forms_make_no_difference(one, other):
    texts = pa.chunked_array([pa.array([one, other], pa.large_string())])
    ((_, block),) = text_blocks(texts)
    first, second = counted(count_ngrams(block))
    assert first == second


def test_blocks_are_short_and_hold_every_text_once(monkeypatch):
    monkeypatch.setattr("thresher.data.ngrams.BLOCK_CHARACTERS", 20)
    texts = ["a" * size for size in (3, 50, 0, 9, 9, 1, 1, 30)]
    column = pa.chunked_array([texts[:3], [], texts[3:]], pa.large_string())
    blocks = list(text_blocks(column))
    assert [first for first, _ in blocks] == list(
        np.cumsum([0, *(len(block) for _, block in blocks[:-1])])
    )
    assert texts == [text for _, block in blocks for text in block.to_pylist()]
    assert all(len(block) == 1 or sum(map(len, block.to_pylist())) <= 20 for _, block in blocks)
