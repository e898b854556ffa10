"""Delimited text: only the bytes of labels that change, and one more column."""

import csv
import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thresher.corrected.delimited import correct_delimited
from thresher.errors import DataError

CELLS = st.text(st.sampled_from('abZ09é \t,;"\n\r=+-@'), max_size=5)


def corrected(tmp_path, content, label, new, stays=None):
    source, out = tmp_path / "source.csv", tmp_path / "out.csv"
    source.write_bytes(content)
    correct_delimited(source, out, label, new, np.ones(len(new), bool) if stays is None else stays)
    return out.read_bytes()


def test_every_other_byte_is_as_it_was(tmp_path):
    """Quotes, blanks, forms of numbers, line ends, a mark at the beginning, no line end at last."""
    content = (
        b"\xef\xbb\xbfx,label,note\r\n"
        b'1.50,cat,"a, ""b"""\r\n'
        b'007,"dog",=cmd|x\r\n'
        b' 1e3 ,cat,"two\nlines"\n'
        b',dog,5" disk'
    )
    expected = (
        b"\xef\xbb\xbfx,label,note,label_original\r\n"
        b'1.50,dog,"a, ""b""",cat\r\n'
        b'007,"cat",=cmd|x,"dog"\r\n'
        b' 1e3 ,cat,"two\nlines",cat\n'
        b',dog,5" disk,dog'
    )
    assert expected == corrected(tmp_path, content, "label", ["dog", "cat", None, None])


def test_a_record_can_be_left_out(tmp_path):
    """With its line end."""
    content = b"label;x\na;1\nb;2\na;3\n"
    stays = np.array([True, False, True])
    expected = b"label;x;label_original\na;1;a\na;3;a\n"
    assert expected == corrected(tmp_path, content, "label", [None] * 3, stays)


def test_the_first_original_is_kept(tmp_path):
    """A second round of corrections adds no second column."""
    content = b"x,label,label_original\n1,dog,cat\n2,cat,cat\n"
    expected = b"x,label,label_original\n1,cat,cat\n2,dog,cat\n"
    assert expected == corrected(tmp_path, content, "label", ["cat", "dog"])


@pytest.mark.parametrize("name", ['a "b"', "a,b", "two\nlines", " edge "])
def test_a_new_label_is_quoted_where_it_must_be(name, tmp_path):
    """It is read again as it is."""
    found = corrected(tmp_path, b"x,label\n1,cat\n2,cat\n", "label", [name, None])
    assert ["1", name, "cat"] == list(csv.reader(io.StringIO(found.decode(), newline="")))[1]


@pytest.mark.parametrize("content", [b"x,label\n1,a\n", b"x,label\n1,a\n2,a\n3,a\n"])
def test_another_number_of_records_is_refused(content, tmp_path):
    """The file changed since it was read."""
    with pytest.raises(DataError, match="not the 2 records"):
        corrected(tmp_path, content, "label", [None, None])


def test_a_quote_that_is_never_closed_is_refused(tmp_path):
    """With the place, and another form."""
    with pytest.raises(DataError, match="cannot be told apart from byte 12") as refused:
        corrected(tmp_path, b'x,label\n1,a\n2,"a\n', "label", [None, None])
    assert "--changes" in refused.value.fix


@given(st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_python_s_reader_finds_every_value_again(tmp_path, data):
    """Any cells, either way of quoting, either line end, the label anywhere."""
    width = data.draw(st.integers(2, 4))
    place = data.draw(st.integers(0, width - 1))
    rows = data.draw(st.lists(st.tuples(*[CELLS] * width), min_size=1, max_size=6))
    quoting = data.draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
    if any("\r" in cell or "\n" in cell for row in rows for cell in row):
        quoting = csv.QUOTE_ALL
    written = io.StringIO(newline="")
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    writer = csv.writer(written, quoting=quoting, lineterminator=end)
    header = [f"c{number}" for number in range(width)]
    writer.writerows([header, *rows])
    new = [data.draw(st.none() | CELLS) for _ in rows]
    stays = np.array([data.draw(st.booleans()) for _ in rows])
    found = corrected(tmp_path, written.getvalue().encode(), header[place], new, stays)
    expected = [[*header, "label_original"]]
    for row, label, kept in zip(rows, new, stays, strict=True):
        if kept:
            cells = list(row)
            cells[place] = row[place] if label is None else label
            expected.append([*cells, row[place]])
    assert expected == list(csv.reader(io.StringIO(found.decode(), newline="")))
