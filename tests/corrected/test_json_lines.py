"""JSON lines: the text of a line stays, where its label does."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thresher.corrected.json_lines import correct_json_lines
from thresher.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)


def corrected(tmp_path, content, like, stays=None):
    source, out = tmp_path / "source.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(content)
    like = np.array(like)
    stays = np.ones(len(like), bool) if stays is None else np.array(stays)
    correct_json_lines(source, out, "label", like, stays)
    return out.read_bytes()


def test_a_line_gets_the_label_of_another(tmp_path):
    """As number, if it is one; unchanged lines keep their text, but for the new key."""
    content = b'{"x": 1.50,"label": 1}\r\n\n{"label": 2, "x": "\\u00e9" }\n{"x": 3}\n{}'
    found = corrected(tmp_path, content, [1, 1, 2, 3])
    assert (
        b'{"x": 1.5, "label": 2, "label_original": 1}\r\n'
        b'{"label": 2, "x": "\\u00e9", "label_original": 2}\n'
        b'{"x": 3, "label_original": null}\n'
        b'{"label_original": null}\n'
    ) == found


def test_the_first_original_is_kept(tmp_path):
    """A second round of corrections adds no second key."""
    content = b'{"label": "b", "label_original": "a"}\n{"label": "a", "label_original": "a"}\n'
    found = [json.loads(line) for line in corrected(tmp_path, content, [1, 1]).splitlines()]
    assert [{"label": "a", "label_original": "a"}] * 2 == found


def test_another_number_of_objects_is_refused(tmp_path):
    """The file changed since it was read."""
    with pytest.raises(DataError, match="not the 2 objects"):
        corrected(tmp_path, b'{"label": 1}\n', [0, 1])


@pytest.mark.parametrize("labels", [["a", None, "ü"], [1, None, 1], [True, False, None]])
def test_labels_that_were_read_need_no_second_look(labels, tmp_path):
    """The result is the same."""
    lines = [json.dumps({"x": 1.50, "label": each}, ensure_ascii=False) for each in labels]
    (tmp_path / "source.jsonl").write_text("\n".join(lines))
    outs = [tmp_path / "looked.jsonl", tmp_path / "known.jsonl"]
    for out, known in zip(outs, [None, pa.chunked_array([pa.array(labels)])], strict=True):
        arguments = "label", np.array([0, 0, 2]), np.ones(3, bool), known
        correct_json_lines(tmp_path / "source.jsonl", out, *arguments)
    first, second = ([json.loads(line) for line in out.read_text().splitlines()] for out in outs)
    assert first == second
    assert labels == [each["label_original"] for each in first]


@given(st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_value_is_found_again(tmp_path, data):
    """Any objects, with escapes and without."""
    objects = data.draw(
        st.lists(
            st.dictionaries(st.text(max_size=3), VALUES, max_size=3).map(
                lambda found: found | {"label": f"c{len(found)}"}
            ),
            min_size=1,
            max_size=5,
        )
    )
    places = st.integers(0, len(objects) - 1)
    like = [data.draw(places) for _ in objects]
    stays = [data.draw(st.booleans()) for _ in objects]
    escaped = data.draw(st.booleans())
    content = "".join(json.dumps(each, ensure_ascii=escaped) + "\n" for each in objects)
    try:
        encoded = content.encode()
    except UnicodeEncodeError:  # half of a pair, which only an escape can hold
        return
    found = [json.loads(line) for line in corrected(tmp_path, encoded, like, stays).splitlines()]
    expected = [
        each | {"label": objects[place]["label"], "label_original": each["label"]}
        for each, place, kept in zip(objects, like, stays, strict=True)
        if kept
    ]
    assert expected == found
