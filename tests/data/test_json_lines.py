import pytest

from thresher.data import open_data
from thresher.data.json_lines import read_json_lines
from thresher.errors import DataError


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "data.jsonl"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_columns_are_the_union_of_the_keys(write):
    table = read_json_lines(write('{"a": 1, "label": "x"}\n\n{"b": 2.5, "label": "y"}\n'))
    assert [1, None] == table["a"].to_pylist()
    assert [None, 2.5] == table["b"].to_pylist()


def test_ragged_objects_become_features_with_a_missing_flag(write):
    lines = ['{"a": 1, "label": "x"}', '{"label": "x"}', '{"a": 3, "label": "y"}'] * 2
    samples = open_data(write("\n".join(lines)))
    assert ("a", "a missing") == samples.encoding.features
    assert [[1, 0], [2, 1], [3, 0]] == samples.inputs[:3].tolist()


def test_numbers_widen_late_and_nulls_come_first(write):
    table = read_json_lines(write('{"a": null, "b": 1}\n' * 100_000 + '{"a": "x", "b": 1.5}\n'))
    assert "x" == table["a"][-1].as_py()
    assert 1.5 == table["b"][-1].as_py()


def test_a_long_object_is_read(write):
    table = read_json_lines(write('{"a": "' + "x" * 3_000_000 + '"}\n{"a": "y"}\n'))
    assert 2 == table.num_rows


def test_a_byte_order_mark_is_skipped(write):
    assert ["a"] == read_json_lines(write(b'\xef\xbb\xbf{"a": 1}\n')).column_names


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"a": 1}\n{"a": \n', "line 2: not JSON"),
        ('{"a": 1}\n{"a": 2}\n{"a": "x"}\n', r'line 3: "a" is a text, but a number in line 1'),
        ('{"a": null}\n{"a": true}\n{"a": 2}\n', r'line 3: "a" is a number, but a boolean'),
        ('{"a": 1}\n[1, 2]\n', "line 2: a list, expected an object"),
        (b'{"a": "x"}\n{"a": "\xe9"}\n', "line 2: not UTF-8"),
        ('{"a": 1}\n{"a": 1, "a": 2}\n', 'line 2: the key "a" occurs more than once'),
        ("{}\n{}\n", "holds no values"),
        ("\n\n", "holds no values"),
        (bytes(range(256)), "line 1: not UTF-8|not JSON"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(write, content, words):
    with pytest.raises(DataError, match=words) as caught:
        open_data(write(content), label="label")
    assert caught.value.fix
