import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest

from thresher.data.labels import array_column, read_labels, refuse_untrainable
from thresher.errors import LabelError


def read(values, **settings):
    return read_labels(pa.chunked_array([pa.array(values)]), name="y", **settings)


@pytest.mark.parametrize(
    ("values", "classes", "expected"),
    [
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        ([2, 10, 1], ("1", "2", "10"), [1, 2, 0]),
        (["10", "2", "x", "1"], ("1", "2", "10", "x"), [2, 1, 3, 0]),
        ([1.0, 0.0, 1.0], ("0", "1"), [1, 0, 1]),
        (["1.0", "0", "1"], ("0", "1"), [1, 0, 1]),
        ([-1, 0, 1], ("-1", "0", "1"), [0, 1, 2]),
        ([True, False], ("False", "True"), [1, 0]),
        ([decimal.Decimal("3.00"), decimal.Decimal("1.00")], ("1", "3"), [1, 0]),
        ([" a", "a ", "b"], ("a", "b"), [0, 0, 1]),
        (["007", "7", "8"], ("007", "7", "8"), [0, 1, 2]),
        (
            [datetime.date(2020, 1, 2), datetime.date(2019, 1, 1)],
            ("2019-01-01", "2020-01-02"),
            [1, 0],
        ),
    ],
)
def test_classes_are_named_and_sorted(values, classes, expected):
    labels = read(values)
    assert classes == labels.classes
    assert expected == labels.values.tolist()
    assert labels.values.dtype == np.int64


@pytest.mark.parametrize(
    "values",
    [
        ["a", None, "b"],
        ["a", "", "b"],
        ["a", "  ", "b"],
        ["a", "nan", "b"],
        [0, None, 1],
        [0.0, np.nan, 1.0],
        ["0", "NA", "1"],
        ["0", "?", "1"],
    ],
)
def test_an_empty_cell_is_no_label_and_said_aloud(values):
    labels = read(values)
    assert [0, -1, 1] == labels.values.tolist()
    assert ["1 row of 3 without a label: predicted, never trained on."] == list(labels.notes)


def test_a_mark_of_missing_values_among_texts_is_a_class_and_said_aloud():
    labels = read(["NA", "EU", "None"])
    assert ("EU", "NA", "None") == labels.classes
    assert any('"NA", "None" is taken as a class' in note for note in labels.notes)


def test_dictionary_and_view_columns_read_like_plain_ones():
    plain = pa.array(["b", "a", None, "b"])
    for column in (plain.dictionary_encode(), plain.cast(pa.string_view())):
        labels = read_labels(pa.chunked_array([column, column]), name="y")
        assert [1, 0, -1, 1] * 2 == labels.values.tolist()
        assert ("a", "b") == labels.classes


def test_large_integers_keep_all_their_digits():
    assert ("9007199254740993", "9007199254740994") == read([2**53 + 1, 2**53 + 2]).classes


def test_class_codes_of_the_source_name_the_classes():
    labels = read([1, 0, -1, 2], codes=("cat", "ant", "bee"))
    assert ("ant", "bee", "cat") == labels.classes
    assert [0, 2, -1, 1] == labels.values.tolist()


def test_codes_that_do_not_cover_the_labels_are_ignored():
    assert ("0", "3") == read([0, 3], codes=("cat", "ant")).classes


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.5, 1.0, 0.37], r"not whole, such as 0\.5 \(row 0"),
        (["1", "2.25"], r"not whole, such as 2\.25 \(row 1"),
        ([1.0, np.inf], "not whole, such as inf"),
        (list(range(51)) * 2, r"51 different numbers in 102 labelled rows"),
        ([str(value) for value in range(400)], "400 different numbers"),
    ],
)
def test_labels_that_look_continuous_are_refused(values, words):
    with pytest.raises(LabelError, match=words) as caught:
        read(values)
    assert "holds the classes" in caught.value.fix


@pytest.mark.parametrize("values", [list(range(50)) * 2, list(range(60)) * 10])
def test_many_whole_numbers_are_classes_if_each_has_its_share(values):
    assert len(set(values)) == len(read(values).classes)


def test_a_class_unknown_from_training_is_refused_with_the_nearest():
    with pytest.raises(LabelError, match=r'holds the class "dgo" \(first in row 1') as caught:
        read(["cat", "dgo"], classes=("cat", "dog"))
    assert caught.value.fix == 'Did you mean "dog"?'


def test_known_classes_keep_their_numbers_and_lift_the_checks():
    labels = read(["dog", "dog", None], classes=("cat", "dog"))
    assert [1, 1, -1] == labels.values.tolist()
    assert ("cat", "dog") == labels.classes


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["a", "a", None], 'one class only: "a"'),
        ([None, None], "holds no label: all 2 rows"),
        (["", "nan"], "holds no label"),
        (["a", "a", "b", "c", "c"], r'class "b" has one sample only \(row 2'),
        (["a", "a", "b", "c"], "the same is true of 1 more"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(values, words):
    with pytest.raises(LabelError, match=words):
        refuse_untrainable(read(values), "y")


@pytest.mark.parametrize("values", [[[1, 2], [3]], [{"a": 1}, {"a": 2}], [b"a", b"b"]])
def test_values_that_are_no_names_are_refused(values):
    with pytest.raises(LabelError, match="expected one class name or number per row"):
        read(values)


@pytest.mark.parametrize(
    ("array", "classes"),
    [
        (np.array([1, 0], np.uint8), ("0", "1")),
        (np.array([1.0, 0.0, np.nan], np.float16), ("0", "1")),
        (np.array(["b", "a", ""]), ("a", "b")),
        (np.array(["b", "a", None], object), ("a", "b")),
        (np.array([["b"], ["a"]]), ("a", "b")),
        (np.array([1, 0], ">i4"), ("0", "1")),
        (["b", "a"], ("a", "b")),
    ],
)
def test_arrays_of_labels_are_read_by_value(array, classes):
    labels = read_labels(array_column(array), name="y")
    assert classes == labels.classes
    assert [1, 0] == labels.values[:2].tolist()
    assert all(labels.values[2:] == -1)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.eye(3), r"shape \(3, 3\)"),
        (np.array(["a", 1], object), "cannot be read as labels"),
        (np.array(3), r"shape \(\)"),
    ],
)
def test_arrays_that_are_no_labels_are_refused(array, words):
    with pytest.raises(LabelError, match=words):
        array_column(array)


def test_the_name_of_a_column_in_the_place_of_labels_is_refused_with_the_way_to_give_it():
    with pytest.raises(LabelError, match=r"y has shape \(\)") as caught:
        array_column("kind")
    assert "named by label" in caught.value.fix
