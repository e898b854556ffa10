"""Texts that come as a list, and columns that may give the answer away."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from thresher.data import open_data
from thresher.errors import DataError

TEXTS = ["a goal in the match", "the bank buys shares", "late goal wins match", "bank profit up"]
LABELS = ["sport", "money", "sport", "money"]


@pytest.mark.parametrize("make", [list, np.array, pd.Series, pl.Series])
def test_a_list_of_texts_is_read_as_one_column_of_text(make):
    """With its labels, and again alone for what is to be predicted."""
    samples = open_data((make(TEXTS), LABELS))
    assert samples.classes == ("money", "sport")
    assert samples.texts.to_pydict() == {"text": TEXTS}
    assert samples.encoding.texts == ("text",)
    again = open_data(make(TEXTS[:1]), encoding=samples.encoding, labelled=False)
    np.testing.assert_allclose(again.inputs[0], samples.inputs[0], atol=1e-6)


def test_a_missing_text_is_an_empty_one():
    """Not a reason to refuse the others."""
    samples = open_data(([*TEXTS, None, None], [*LABELS, "sport", "money"]))
    assert len(samples) == 6
    assert np.isfinite(samples.inputs).all()


def test_a_second_column_named_as_labels_are_is_said_aloud():
    """It is learned from, and may be the answer itself."""
    frame = pd.DataFrame({"x": range(8), "label": list("aabb") * 2, "noisy": list("abab") * 2})
    notes = open_data(frame, label="noisy").notes
    assert any('"label"; remove them if they hold the answer' in note for note in notes)
    assert not any("hold the answer" in note for note in open_data(frame, label="label").notes)


def test_texts_come_in_tuples_too_and_nan_is_a_missing_one():
    """As a series of pandas marks it."""
    samples = open_data(((*TEXTS, np.nan, None), [*LABELS, "sport", "money"]))
    assert samples.texts["text"].to_pylist() == [*TEXTS, None, None]


@pytest.mark.parametrize("rows", [[[1.0, 2.0], [1.0]], []])
def test_lists_of_numbers_are_no_texts(rows):
    """Ragged or empty, they are told what arrays are told."""
    with pytest.raises(DataError, match=r"X (cannot be read as an array|has shape)"):
        open_data((rows, [0, 1]))


@pytest.mark.parametrize("items", [["\ud800", "b"], [Path("a.png"), 3], [Path("\udcff.png")]])
def test_items_that_are_neither_texts_nor_paths_are_refused(items):
    """With the reason, and nothing of Arrow's."""
    with pytest.raises(DataError, match="The list cannot be read"):
        open_data((items, [0] * len(items)))


@pytest.mark.parametrize("make", [pd.Series, pl.Series, lambda rows: pa.chunked_array([rows])])
def test_one_column_of_numbers_is_one_feature(make):
    """A series is no table."""
    samples = open_data((make([1.0, 2.0, 3.0, 5.0]), LABELS))
    assert samples.inputs.tolist() == [[1.0], [2.0], [3.0], [5.0]]
