import codecs

import pytest

from thresher.data import open_data
from thresher.data.delimited import read_delimited, sniff
from thresher.errors import DataError

ROWS = "a,b,label\n1,x,p\n2,y,q\n3,x,p\n4,y,q\n"


@pytest.fixture
def write(tmp_path):
    def write(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read(path, texts=()):
    table, _ = read_delimited(path, lambda name: name in texts)
    return table


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["data.csv", "data.tsv"])
def test_each_delimiter_is_recognised(write, delimiter, name):
    path = write(ROWS.replace(",", delimiter), name)
    assert delimiter == sniff(path).delimiter
    assert ["a", "b", "label"] == read(path).column_names


def test_a_delimiter_inside_texts_does_not_mislead(write):
    path = write('a;b;label\n1;"x, y, z, w";p\n2;u, v;q\n')
    assert ";" == sniff(path).delimiter


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_byte_order_marks_and_line_ends_make_no_difference(write, ends):
    plain = open_data(write(ROWS))
    marked = open_data(write(codecs.BOM_UTF8 + ROWS.replace("\n", ends).encode(), "marked.csv"))
    assert plain.fingerprint == marked.fingerprint
    assert plain.sample_id == marked.sample_id


def test_quoted_fields_hold_line_breaks_and_delimiters(write):
    table = read(write('a,b\n1,"x\ny, z"\n2,"say ""hi"""\n'))
    assert ["x\ny, z", 'say "hi"'] == table["b"].to_pylist()


@pytest.mark.parametrize(
    "mark", ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "?"]
)
@pytest.mark.parametrize("space", ["", " "])
def test_marks_of_missing_values_are_null_among_numbers(write, mark, space):
    table = read(write(f"a,b\n1,x\n{space}{mark},y\n3,z\n"))
    assert [1, 0, 3] == table["a"].to_pandas().fillna(0).tolist()


def test_types_widen_beyond_the_first_block(write):
    rows = "".join(f"{value},{value}\n" for value in range(200_000))
    table = read(write(f"a,b\n{rows}1.5,x\n"))
    assert 1.5 == table["a"][-1].as_py()
    assert ["0", "x"] == [table["b"][0].as_py(), table["b"][-1].as_py()]


def test_label_and_id_cells_are_kept_as_they_stand(write):
    path = write("sample_id,a,label\n01,1,NA\n02,2,NA\n1,3,EU\n2,4,EU\n")
    samples = open_data(path)
    assert ["01", "02", "1", "2"] == samples.sample_id.to_pylist()
    assert ("EU", "NA") == samples.classes


def test_decimal_commas_are_read_and_said_aloud(write):
    samples = open_data(write("a;label\n1,5;x\n2,5;y\n3,0;x\n4,0;y\n"))
    assert [[1.5], [2.5], [3.0], [4.0]] == samples.inputs.tolist()
    assert any("decimal comma" in note for note in samples.notes)


def test_white_space_around_names_and_texts_does_not_count(write):
    tight = open_data(write(ROWS))
    loose = open_data(write(ROWS.replace(",", ", "), "loose.csv"))
    assert tight.fingerprint == loose.fingerprint
    assert tight.encoding == loose.encoding


def test_two_thousand_columns_are_read(write):
    names = ",".join(f"x{place}" for place in range(2000))
    rows = "".join(
        ",".join(str(row + place) for place in range(2000)) + f",{row % 2}\n" for row in range(4)
    )
    samples = open_data(write(f"{names},label\n{rows}"))
    assert (4, 2000) == samples.inputs.shape
    assert 2002.0 == samples.inputs[3, 1999]


def test_a_file_with_crlf_and_a_missing_last_line_end_is_whole(write):
    assert 2 == read(write("a,b\r\n1,x\r\n2,y")).num_rows


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", r"data\.csv is empty \(0 bytes\)"),
        ("\n\n \n", "is empty|no rows"),
        ("a,b,label\n", "holds column names but no rows"),
        ("a,b,label\n1,x,p\n2,y\n", r"line 3: expected 3 fields as in the first line, found 2"),
        ('a,b\n1,"x\ny"\n2,z,w\n', r"line 4: expected 2 fields as in the first line, found 3"),
        ("a,b,a\n1,2,3\n", r'more than one column named "a"'),
        ("a, a\n1,2\n", r'more than one column named "a"'),
        (b"a,b\n1,x\n2,\xe9t\xe9\n", r"not UTF-8 text \(line 3\)"),
        (b"a\xe9,b\n1,x\n", r"not UTF-8 text \(line 1\)"),
        ("a,b\n1,x\n".encode("utf-16"), "holds zero bytes"),
        (bytes(range(256)) * 8, "holds zero bytes"),
        (bytes(range(128, 256)) * 8, r"not UTF-8 text \(line 1\)"),
        ('a,b\n1,x\n2,"open\n3,z\n4,w\n', "line 3: a quote is opened and never closed"),
    ],
)
def test_files_that_cannot_be_read_say_where(write, content, words):
    with pytest.raises(DataError, match=words) as caught:
        open_data(write(content), label="label")
    assert caught.value.fix
    assert "\n" not in caught.value.cause + caught.value.fix


def test_late_bytes_that_are_no_text_name_their_line(write):
    rows = b"".join(b"%d,ab\n" % row for row in range(300))
    with pytest.raises(DataError, match=r"not UTF-8 text \(line 302\)"):
        read(write(b"a,b\n" + rows + b"1,\xff\n"))


def test_a_file_without_column_names_is_recognised(write):
    with pytest.raises(DataError, match="Which column holds the labels") as caught:
        open_data(write("5.1,3.5,0\n4.9,3.0,1\n"))
    assert "first line must hold the column names" in caught.value.fix


def test_fields_longer_than_python_reads_are_read(write):
    long = "x" * 200_000
    assert [long, "y"] == read(write(f"a,b\n{long},1\ny,2\n"))["a"].to_pylist()


def test_a_quote_left_open_in_a_long_file_is_found(write):
    with pytest.raises(DataError, match="from line 3 on") as caught:
        open_data(write('a,b\n1,2\n3,"' + "x,y\n" * 50_000), label="b")
    assert "quote" in caught.value.fix


def test_quoted_line_breaks_are_kept_in_files_of_many_blocks(write):
    cell = "x\n" * 40
    table = read(write("a,b\n" + f'1,"{cell}"\n' * 50_000))  # 4 MB; Arrow's blocks are of 1 MiB
    assert 50_000 == table.num_rows
    assert [cell] == table["b"].unique().to_pylist()


def test_a_file_that_may_not_be_read_is_refused_in_our_words(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("a,label\n1,x\n")

    def refuse(path, *settings, **more):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(DataError, match=r"a\.csv cannot be read: permission denied"):
        open_data(path)
