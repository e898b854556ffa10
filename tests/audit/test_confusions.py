"""transition.parquet: what was written comes back; what of it a report shows."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from thresher.audit.confusions import Confusions, read_transition, write_transition
from thresher.errors import RunError

CLASSES = ("ash", "oak", "<b>")
NAMES = {"true_label": [*np.repeat(CLASSES, 3)], "given_label": [*CLASSES] * 3}
MATRIX = np.array([[0.7, 0.3, 0.0], [0.1, 0.9, 0.0], [0.002, 0.028, 0.97]])


def test_a_matrix_comes_back_as_it_was_written(tmp_path):
    """To the last bit, in the order of the classes that are asked for."""
    path = tmp_path / "transition.parquet"
    write_transition(path, MATRIX, CLASSES)
    np.testing.assert_array_equal(read_transition(path, CLASSES), MATRIX)
    np.testing.assert_array_equal(read_transition(path, CLASSES[::-1]), MATRIX[::-1, ::-1])
    table = pq.read_table(path)
    assert table.column_names == ["true_label", "given_label", "probability"]
    assert table.to_pylist()[1] == {"true_label": "ash", "given_label": "oak", "probability": 0.3}


def test_there_need_not_be_one(tmp_path):
    """Most methods know of none."""
    assert read_transition(tmp_path / "transition.parquet", CLASSES) is None


@pytest.mark.parametrize(
    "columns",
    [
        {"true_label": ["ash"], "given_label": ["oak"], "probability": [1.0]},
        {"true_label": ["ash"], "given_label": ["oak"]},
        {"true_label": [1.0], "given_label": [2.0], "probability": [1.0]},
        {**NAMES, "probability": ["a"] * 9},
        {**NAMES, "probability": [[1.0]] * 9},
        {**NAMES, "probability": [7.0, -6.0, 0.0] * 3},
        {**NAMES, "probability": [np.inf] * 9},
        {**NAMES, "probability": [None, 1.0, 0.0] * 3},
        {name: values * 2 for name, values in {**NAMES, "probability": [1.0, 0, 0] * 3}.items()},
    ],
    ids=[
        *("too few classes", "a column less", "no names", "words", "lists", "no probabilities"),
        *("infinite", "a hole", "twice"),
    ],
)
def test_a_file_of_something_else_is_an_error_of_ours(tmp_path, columns):
    """That says what to do."""
    path = tmp_path / "transition.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(RunError, match="does not hold how the classes") as refused:
        read_transition(path, CLASSES)
    assert "Delete it" in refused.value.fix


def test_a_damaged_file_is_an_error_of_ours(tmp_path):
    """Cut in the middle."""
    path = tmp_path / "transition.parquet"
    write_transition(path, MATRIX, CLASSES)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match="is damaged") as refused:
        read_transition(path, CLASSES)
    assert "Delete it" in refused.value.fix


def test_the_most_frequent_mistakes_come_first():
    """The diagonal is no mistake; what is next to never is left out."""
    found = Confusions.of(MATRIX, CLASSES, largest_map=3, listed=9)
    assert [("ash", "oak"), ("oak", "ash"), ("<b>", "oak")] == [
        (each.true, each.given) for each in found.pairs
    ]
    assert [0.3, 0.1, 0.028] == [each.probability for each in found.pairs]
    assert found.cells[0] == ("ash", [("ash", "70", 1), ("oak", "30", 1.0), ("<b>", "", 0.0)])
    assert [words for _, words, _ in found.cells[2][1]] == ["", "3", "97"]
    assert len(Confusions.of(MATRIX, CLASSES, largest_map=3, listed=1).pairs) == 1


def test_of_many_classes_there_is_no_map():
    """The pairs alone."""
    found = Confusions.of(MATRIX, CLASSES, largest_map=2, listed=9)
    assert found.cells is None
    assert len(found.pairs) == 3


def test_labels_that_are_never_wrong_are_no_pairs():
    """The identity has nothing to list, and nothing to divide by."""
    found = Confusions.of(np.eye(3), CLASSES, largest_map=3, listed=9)
    assert found.pairs == []
    assert found.cells[0][1] == [("ash", "100", 1), ("oak", "", 0.0), ("<b>", "", 0.0)]
