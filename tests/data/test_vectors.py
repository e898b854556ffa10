"""Columns of lists of numbers: embeddings."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from thresher.data import Encoding, open_data
from thresher.errors import DataError

VECTORS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0], [0.5, 0.25, 0.125]]
LABELS = ["p", "q", "p", "q"]


def read(vectors, **named):
    return open_data(pa.table({"v": vectors, "label": LABELS}), **named)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float32()),
        pa.list_(pa.float64()),
        pa.large_list(pa.float16()),
        pa.list_(pa.float32(), 3),
    ],
)
def test_every_layout_of_lists_gives_the_same_features(kind):
    samples = read(pa.array(VECTORS, pa.list_(pa.float32())).cast(kind))
    assert ("v[0]", "v[1]", "v[2]") == samples.encoding.features
    assert VECTORS == samples.inputs.tolist()
    assert read(pa.array(VECTORS)).sample_id == samples.sample_id


def test_whole_numbers_are_vectors_too_beside_other_columns():
    table = pa.table({"v": [[1, 2]] * 4, "a": [5, 6, 7, 8], "label": LABELS})
    assert [[1, 2, 5], [1, 2, 6], [1, 2, 7], [1, 2, 8]] == open_data(table).inputs.tolist()


def test_vectors_of_parquet_part_by_part(tmp_path):
    table = pa.table({"v": VECTORS, "label": LABELS})
    pq.write_table(table, tmp_path / "data.parquet", row_group_size=1)
    np.testing.assert_array_equal(VECTORS, open_data(tmp_path / "data.parquet").inputs)


@pytest.mark.parametrize("layout", [pa.list_(pa.float64()), pa.list_(pa.float64(), 2)])
def test_missing_vectors_and_numbers_take_the_mean_and_a_flag(layout):
    samples = read(pa.array([[1.0, 2.0], None, [3.0, None], [5.0, 6.0]], layout))
    assert [[1, 2, 0], [3, 4, 1], [3, 4, 1], [5, 6, 0]] == samples.inputs.tolist()
    assert any('mean and flagged: "v" (2 rows)' in note for note in samples.notes)
    new = pa.table({"v": pa.array([None, [7.0, 8.0]], layout)})
    again = open_data(new, encoding=samples.encoding, labelled=False)
    assert [[3, 4, 1], [7, 8, 0]] == again.inputs.tolist()


def test_a_stored_encoding_gives_the_vectors_back():
    samples = read([[0.1, 0.2], None, [0.3, 0.7], [1 / 3, 2 / 3]])
    stored = Encoding.from_json(json.loads(json.dumps(samples.encoding.to_json())))
    assert samples.encoding == stored


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ([[1.0, 2.0], [1.0]] * 2, "lists are of different lengths"),
        (pa.array([[]] * 4, pa.list_(pa.float32())), "lists are of different lengths"),
        ([["a"], ["b"]] * 2, "neither numbers nor categories"),
        ([[1.0, np.inf], [1.0, 2.0]] * 2, "holds an infinite number.* row 0 "),
        ([[1.0, None]] * 4, "no number in place 1"),
        ([None] * 4, 'Column "v" is empty'),
    ],
)
def test_lists_that_are_no_vectors_are_refused(vectors, words):
    with pytest.raises(DataError, match=words) as caught:
        read(vectors)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ([[1.0, 2.0, 3.0], None, [1.0, 2.0]], "a list of 2 numbers in row 2 .*expected 3"),
        ([1.0, 2.0, 3.0], "values of type double, expected lists"),
    ],
)
def test_new_vectors_must_be_those_of_training(vectors, words):
    samples = read(VECTORS)
    with pytest.raises(DataError, match=words):
        open_data(pa.table({"v": vectors}), encoding=samples.encoding, labelled=False)
