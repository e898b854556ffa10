"""Texts that come as a list, and columns that may give the answer away."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from thresher.data import open_data

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
