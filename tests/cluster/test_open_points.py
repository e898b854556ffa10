"""Points come out as they went in, whatever they lie in, and bad ones are named."""

import decimal
import threading

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.cluster.metric import RadianPoints, euclidean_view
from thresher.cluster.open_points import ArrayRows, check_finite, open_points, open_rows
from thresher.cluster.parquet_points import ParquetPoints, _cut
from thresher.cluster.points import PART_ROWS, ArrayPoints
from thresher.cluster.threads import each
from thresher.errors import DataError

ROWS = PART_ROWS + 1000  # two parts


def coordinates(dtype=np.float64, rows=ROWS):
    return np.random.default_rng(1).uniform(-1.5, 1.5, (rows, 2)).astype(dtype)


def array(folder, X):
    return X


def strided(folder, X):
    return np.repeat(X, 2, axis=1)[:, ::2]


def swapped_bytes(folder, X):
    return X.astype(X.dtype.newbyteorder())


def pandas_frame(folder, X):
    return pd.DataFrame(X, columns=["a", "b"])


def mixed_frame(folder, X):
    return pd.DataFrame({"a": X[:, 0].astype("f8"), "b": pd.array(X[:, 1])})


def polars_frame(folder, X):
    return pl.DataFrame({"a": X[:, 0], "b": X[:, 1]})


def table(folder, X):
    return pa.table({"a": X[:, 0], "b": X[:, 1]})


def chunked_table(folder, X):
    whole = table(folder, X)
    return pa.concat_tables([whole.slice(0, 7), whole.slice(7, 70_000), whole.slice(70_007)])


def reader(folder, X):
    return table(folder, X).to_reader()


class Exporting:
    """Anything that hands out Arrow data by protocol."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def protocol(folder, X):
    return Exporting(table(folder, X))


def lists(folder, X):
    return pa.table({"vector": pa.FixedSizeListArray.from_arrays(X.ravel(), 2)})


def ragged_lists(folder, X):
    return pa.table({"vector": pa.array(list(X), pa.list_(pa.from_numpy_dtype(X.dtype)))})


def npy(folder, X):
    np.save(folder / "x.npy", X)
    return folder / "x.npy"


def fortran_npy(folder, X):
    return npy(folder, np.asfortranarray(X))


def parquet(folder, X):
    pq.write_table(table(folder, X), folder / "x.parquet")
    return folder / "x.parquet"


def small_groups(folder, X):
    pq.write_table(table(folder, X), folder / "x.parquet", row_group_size=999)
    return str(folder / "x.parquet")


def parquet_lists(folder, X):
    pq.write_table(lists(folder, X), folder / "x.parquet", row_group_size=66_000)
    return folder / "x.parquet"


def parquet_folder(folder, X):
    for number, (start, stop) in enumerate([(0, 5), (5, 5), (5, 66_300), (66_300, len(X))]):
        part = table(folder, X[start:stop])
        pq.write_table(part, folder / f"part-{number}.parquet", row_group_size=66_000)
    (folder / "_SUCCESS").touch()
    (folder / ".hidden.parquet").write_text("no Parquet")
    return folder


def dataset(folder, X):
    return pyarrow.dataset.dataset(parquet_folder(folder, X), format="parquet")


def arrow_dataset(folder, X):
    return pyarrow.dataset.dataset(table(folder, X))


def filtered_dataset(folder, X):
    X = np.concatenate([X, np.full_like(X, 9.0)])
    return dataset(folder, X).filter(pyarrow.dataset.field("a") < 8.0)


def csv(folder, X):
    table(folder, X).to_pandas().to_csv(folder / "x.csv", index=False)
    return folder / "x.csv"


def points(folder, X):
    return ArrayPoints(X, part_rows=1000)


IN_MEMORY = [array, strided, swapped_bytes, pandas_frame, mixed_frame, polars_frame, table]
BY_PROTOCOL = [chunked_table, reader, protocol, lists, ragged_lists]
STORED = [npy, fortran_npy, parquet, small_groups, parquet_lists, parquet_folder, dataset, csv]
OTHERS = [arrow_dataset, filtered_dataset, points]
SOURCES = [*IN_MEMORY, *BY_PROTOCOL, *STORED, *OTHERS]


def assert_kept(opened, X):
    """The contract of points: parts cover the rows in order, take agrees with them."""
    assert (len(X), X.shape[1]) == (opened.rows, opened.dimension)
    assert np.dtype(opened.dtype).newbyteorder("=") in (np.float32, np.float64)
    assert opened.starts[0] == 0
    assert opened.starts[-1] == opened.rows
    assert (np.diff(opened.starts) > 0).all()
    assert opened.starts.dtype == np.int64
    parts = [opened.part(number) for number in range(len(opened.starts) - 1)]
    assert [len(part) for part in parts] == np.diff(opened.starts).tolist()
    assert {part.dtype for part in parts} <= {opened.dtype}
    together = np.concatenate([np.empty((0, X.shape[1]), opened.dtype), *parts])
    np.testing.assert_array_equal(X, together)
    rows = np.random.default_rng(2).integers(0, max(1, len(X)), min(50, len(X)))
    taken = opened.take(rows)
    assert taken.dtype == opened.dtype
    np.testing.assert_array_equal(together[rows], taken)
    return together


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("source", SOURCES, ids=lambda each: each.__name__)
def test_points_keep_rows_order_and_type(source, dtype, tmp_path):
    """Wherever they lie; of text and of frames with two types, float64."""
    X = coordinates(dtype)
    opened = open_points(source(tmp_path, X))
    if source not in (csv, mixed_frame):
        assert opened.dtype == dtype
        assert_kept(opened, X)
    elif dtype == np.float64 or source is mixed_frame:
        assert_kept(opened, X)
    check_finite(opened, 2)


@pytest.mark.parametrize("metric", ["haversine", "cosine"])
def test_a_view_for_a_metric_is_points_too(metric, tmp_path):
    """Its parts and what is taken are equal bit for bit."""
    X = coordinates()
    view, _ = euclidean_view(open_points(X), metric, 0.1)
    whole = np.concatenate([view.part(0), view.part(1)])
    assert_kept(view, whole)
    assert_kept(RadianPoints(open_points(X * 50)), np.deg2rad(X * 50))
    alone = np.concatenate([view.take(np.array([row])) for row in range(100)])
    np.testing.assert_array_equal(whole[:100], alone)


@pytest.mark.parametrize(
    "kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "?", "longdouble"]
)
def test_other_numbers_are_converted_exactly(kind, tmp_path):
    """Short ones to float32, which holds them; others to float64."""
    X = np.arange(-60, 60).reshape(-1, 2).astype(kind)
    opened = open_points(X)
    assert opened.dtype == (np.float32 if kind in ("i1", "u1", "i2", "u2", "f2", "?") else "f8")
    assert_kept(opened, X.astype(np.float64))
    if kind != "longdouble":
        assert_kept(open_points(pa.table({"a": X[:, 0], "b": X[:, 1]})), X.astype(np.float64))


def test_what_becomes_an_array_is_one():
    """Lists of lists, and objects that are numbers."""
    assert_kept(open_points([[1, 2.5], [3, 4]]), np.array([[1, 2.5], [3, 4]]))
    assert_kept(open_points(np.array([[1, decimal.Decimal("2.5")]], object)), np.array([[1, 2.5]]))


def test_points_stay_what_they_are():
    """Neither copied nor wrapped; so do arrays."""
    X = coordinates()
    opened = ArrayPoints(X)
    assert open_points(opened) is opened
    assert np.shares_memory(open_points(X).part(1), X)
    frame = pd.DataFrame(X)
    assert np.shares_memory(open_points(frame).part(1), frame.to_numpy())
    with pytest.raises(DataError, match="no columns to choose from"):
        open_points(opened, ["a"])


def test_wide_types_of_tables_are_numbers(tmp_path):
    """Decimals, categories of numbers, and booleans with missing cells."""
    table = pa.table(
        {
            "price": pa.array([decimal.Decimal("1.25"), decimal.Decimal("-3.50")]),
            "code": pa.array([7, 9]).dictionary_encode(),
            "open": pa.array([True, None]),
        }
    )
    part = open_points(table).part(0)
    np.testing.assert_array_equal([[1.25, 7, 1], [-3.5, 9, np.nan]], part)


def test_chosen_columns_come_in_their_order(tmp_path):
    """By name; of arrays by position, too."""
    X = np.random.default_rng(0).normal(size=(20, 3))
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(name="text")
    frame.to_parquet(tmp_path / "x.parquet")
    frame.to_csv(tmp_path / "x.csv", index=False)
    np.save(tmp_path / "x.npy", X)
    for source in (frame, pl.DataFrame(frame), tmp_path / "x.parquet", tmp_path / "x.csv"):
        opened = open_points(source, ["c", "a"])
        assert_kept(opened, X[:, [2, 0]])
        assert opened.axes == ("c", "a")
        assert_kept(open_points(source, "b"), X[:, [1]])
    for source in (X, tmp_path / "x.npy", X.astype(object)):
        assert_kept(open_points(source, [2, 0]), X[:, [2, 0]])
        assert_kept(open_points(source, ["1", "x2"]), X[:, 1:])
    assert_kept(open_points(pd.DataFrame(X, columns=["a", "b", "c"]), ["b", "c"]), X[:, 1:])


def test_folders_are_read_in_the_order_of_the_bytes_of_their_paths(tmp_path):
    """And columns that folders name can be coordinates."""
    for name, value in [("k=2/a", 0.0), ("k=10/b", 1.0), ("k=10-/a", 2.0), ("k=10/a", 3.0)]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"v": [value]}), tmp_path / f"{name}.parquet")
    part = [row for number in range(4) for row in open_points(tmp_path, ["v"]).part(number)[:, 0]]
    assert [2.0, 3.0, 1.0, 0.0] == part
    for name in ("k=10-/a", "k=2/a"):
        (tmp_path / f"{name}.parquet").unlink()
    opened = open_points(tmp_path, ["k", "v"])
    assert [[10, 3], [10, 1]] == [opened.part(number)[0].tolist() for number in range(2)]


def test_parts_of_files_differ_in_columns_and_types(tmp_path):
    """What one file lacks is missing there; whole numbers and fractions go together."""
    pq.write_table(pa.table({"a": [1, 2], "b": [3, 4]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": [0.5]}), tmp_path / "2.parquet")
    assert_kept(open_points(tmp_path, ["a"]), np.array([[1], [2], [0.5]]))
    with pytest.raises(DataError, match=r'Row 2 .* NaN \(or missing\) in column "b" \(row 0 of r'):
        check_finite(open_points(tmp_path), 2)


@given(st.lists(st.integers(1, 30), max_size=8), st.integers(1, 12), st.randoms())
def test_any_order_of_reading_gives_the_same_parts(tmp_path_factory, groups, part_rows, random):
    """Row groups and parts of any size; parts asked for in any order, again and again."""
    path = tmp_path_factory.mktemp("groups") / "x.parquet"
    X = np.arange(2.0 * sum(groups)).reshape(-1, 2)
    start = 0
    with pq.ParquetWriter(path, pa.schema({"a": pa.float64(), "b": pa.float64()})) as writer:
        for size in groups:
            writer.write_table(table(None, X[start : start + size]))
            start += size
    blocks = [
        block._replace(groups=(group,), start=first, rows=size)
        for block in open_rows(path).blocks
        for group, (first, size) in enumerate(zip(np.cumsum([0, *groups]), groups, strict=False))
    ]
    opened = ParquetPoints(blocks, open_points(path)._chosen, part_rows)
    assert_kept(opened, X)
    order = random.choices(range(len(opened.starts) - 1), k=20) if groups else []
    for number in order:
        start, stop = opened.starts[number : number + 2]
        np.testing.assert_array_equal(X[start:stop], opened.part(number))
    every = np.arange(len(X))
    np.testing.assert_array_equal(X[::-1], opened.take(every[::-1]))


def test_parts_may_be_read_by_any_thread(tmp_path):
    """Four at a time, each part to the one who asked for it."""
    X = coordinates(rows=200_000)
    pq.write_table(table(None, X), tmp_path / "x.parquet", row_group_size=70_000)
    base = open_points(tmp_path / "x.parquet")
    opened = ParquetPoints(base._blocks, base._chosen, 1000)
    right = np.zeros(len(opened.starts) - 1, bool)
    threads = set()

    def read(number):
        start, stop = opened.starts[number : number + 2]
        right[number] = np.array_equal(X[start:stop], opened.part(number))
        threads.add(threading.get_ident())

    for _ in range(3):
        each(read, len(right), 4)
    assert right.all()
    assert not opened._streams  # nothing is kept once everything is read


def test_only_wanted_columns_are_read(tmp_path):
    """A damaged column next to them does not matter."""
    X = coordinates(rows=5000)
    whole = table(None, X).append_column("text", pa.array(["some words"] * 5000))
    pq.write_table(whole, tmp_path / "x.parquet", compression="none", use_dictionary=False)
    place = pq.read_metadata(tmp_path / "x.parquet").row_group(0).column(2)
    with (tmp_path / "x.parquet").open("r+b") as file:
        file.seek(place.data_page_offset)
        file.write(b"\xff" * 1000)
    assert_kept(open_points(tmp_path / "x.parquet", ["a", "b"]), X)


@pytest.mark.parametrize("source", [array, table, parquet_folder, small_groups, parquet_lists])
@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (-np.inf, "infinity")])
def test_the_first_row_that_is_not_finite_is_named(source, value, word, tmp_path):
    """By its number in the whole, and its column; not by who found it first."""
    X = coordinates()
    X[66_309, 1] = value
    X[66_400, 0] = np.nan
    with pytest.raises(DataError) as refused:
        check_finite(open_points(source(tmp_path, X)), 2)
    assert f"Row 66,309 (counting from 0) has {word}" in refused.value.cause
    places = {
        array: 'column "x1"',
        table: 'column "b"',
        parquet_folder: 'column "b" (row 9 of row group 0 in ',
        small_groups: 'column "b" (row 375 of row group 66 in ',
        parquet_lists: 'column "vector[1]" (row 309 of row group 1 in ',
    }
    assert places[source] in refused.value.cause


def test_missing_cells_are_found_in_every_type():
    """Of whole numbers, and of lists."""
    for column in (pa.array([1, None]), pa.array([1.5, None]), pa.array([[1, 2], None])):
        with pytest.raises(DataError, match="Row 1 "):
            check_finite(open_points(pa.table({"a": column})), 1)


def test_checking_tells_how_far_it_is():
    """From the first part to the last."""
    told = []
    check_finite(ArrayPoints(coordinates(), 20_000), 1, lambda name, share: told.append(share))
    assert [0.25, 0.5, 0.75, 1.0] == told


def test_no_rows_are_points(tmp_path):
    """Also of a file with nothing but a head line."""
    empty = np.empty((0, 2))
    for source in (array, table, pandas_frame, npy, parquet, dataset, lists):
        (tmp_path / source.__name__).mkdir()
        assert_kept(open_points(source(tmp_path / source.__name__, empty)), empty)
    (tmp_path / "x.csv").write_text("a,b\n")
    assert_kept(open_points(tmp_path / "x.csv"), empty)
    check_finite(open_points(empty), 2)


TEXT = pa.table({"lat": [1.0], "lon": [2.0], "cc": ["fr"]})
VECTORS = pa.table({"id": [1], "embedding": [[1.0, 2.0]]})


@pytest.mark.parametrize(
    ("source", "columns", "cause", "fix"),
    [
        (np.zeros(5), None, "two dimensions (rows, coordinates), got shape (5,)", "reshape(-1, 1)"),
        (np.zeros((2, 2, 2)), None, "got shape (2, 2, 2)", "reshape(len(array), -1)"),
        (3.0, None, "got a single value", "reshape"),
        (np.zeros((3, 0)), None, "0 feature(s) (shape=(3, 0)) while a minimum of 1", "coordinate"),
        (np.array([["a", "b"]]), None, "are <U1, which are no numbers", "convert"),
        (np.array([[1, "b"]], object), None, "objects, not numbers: could not convert", "astype"),
        (np.array([[1, {}]], object), None, "must be a string or a real number, not", "astype"),
        (np.zeros((2, 2), complex), None, "Complex data not supported", "columns of their own"),
        (np.zeros((2, 2), "M8[s]"), None, "are datetime64[s], which are no numbers", "convert"),
        ([[1, 2], [3]], None, "are no array", "rows of one length"),
        (np.ma.masked_equal([[1, 2]], 2), None, "1 numbers of the masked array are", "filled"),
        (TEXT, None, 'Column "cc" holds text (string)', 'columns=["lat", "lon"]'),
        (TEXT, ["lat", "cc"], 'Column "cc" holds text (string)', "Leave it out"),
        (TEXT, ["lat", "long"], 'There is no column "long".', 'Did you mean "lon"?'),
        (TEXT, ["lat", "lat"], 'Column "lat" is there twice.', "once"),
        (TEXT, [], "No column is left", "Name at least one"),
        (VECTORS, None, 'Column "embedding" holds lists of numbers', 'columns=["embedding"]'),
        (pa.table({"t": pa.array([1], pa.timestamp("s"))}), None, "holds dates or times", "Conv"),
        (pa.table({"n": pa.nulls(2)}), None, "nothing but missing values", "Convert"),
        (pa.table({"v": [[1], [1, 2]]}), None, "a list of 2 numbers in row 1", "same length"),
        (pd.Series([1.0]), None, "got shape (1,)", "reshape(-1, 1)"),
        (pa.chunked_array([[1.0]]), None, "ChunkedArray is no table of rows", "column for each"),
        (np.zeros((2, 2)), [2], 'There is no column "2".', "Allowed: x0, x1"),
        (np.zeros((2, 2)), [0, "x0"], "named twice", "once"),
    ],
)
def test_what_cannot_be_points_is_refused_with_the_repair(source, columns, cause, fix):
    """One line of cause, one line of fix."""
    with pytest.raises(DataError) as refused:
        check_finite(open_points(source, columns), 1)
    assert cause in refused.value.cause
    assert fix in refused.value.fix


def test_a_sparse_matrix_is_refused():
    """By its name."""
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(DataError, match="sparse matrix"):
        open_points(sparse.csr_array(np.eye(3)))


def test_objects_that_are_no_numbers_are_a_type_error_too():
    """As NumPy and scikit-learn raise it."""
    with pytest.raises(TypeError, match=r"argument must be .* string.* number"):
        open_points(np.array([[{}]], object))


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("nowhere.parquet", None, "does not exist"),
        ("x.parquet", b"no Parquet at all", "cannot be read as Parquet"),
        ("x.npy", b"no npy", "cannot be read as .npy"),
        ("x.xlsx", b"PK", "says nothing of points"),
        ("x.csv", b"", "is empty (0 bytes)"),
        ("x.csv", b"a,b\n1,2\n1,2,3\n", "line 3: expected 2 fields"),
    ],
)
def test_a_bad_file_is_refused_by_name(name, content, cause, tmp_path):
    """Missing, damaged, or of an unknown form."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as refused:
        open_points(tmp_path / name)
    assert cause in refused.value.cause
    assert name in refused.value.cause


def test_a_folder_without_parquet_is_refused(tmp_path):
    """Before anything is read."""
    with pytest.raises(DataError, match="holds no Parquet files"):
        open_points(tmp_path)


def test_a_file_damaged_inside_is_refused_when_it_is_read(tmp_path):
    """With its name."""
    path = parquet(tmp_path, coordinates())
    opened = open_points(path)
    with path.open("r+b") as file:
        file.seek(4)
        file.write(b"\xff" * 4000)
    with pytest.raises(DataError, match=r"x\.parquet cannot be read"):
        check_finite(opened, 2)


def test_rows_give_all_columns_in_order(tmp_path):
    """Of every source, in their own types."""
    frame = pd.DataFrame({"a": np.arange(10), "b": 0.5, "t": list("abcdefghij")})
    frame.to_parquet(tmp_path / "x.parquet", row_group_size=3)
    frame.to_csv(tmp_path / "x.csv", index=False)
    for source in (frame, tmp_path / "x.parquet", tmp_path / "x.csv"):
        rows = open_rows(source)
        whole = pa.concat_tables(rows.tables())
        assert whole.schema.equals(rows.schema)
        assert frame.to_dict("list") == whole.to_pydict()
        assert rows.points(None, ["t"]).axes == ("a", "b")
        assert rows.points(None, ["t", "a"]).axes == ("b",)


def test_arrays_become_tables_with_a_column_a_coordinate():
    """A wide one, such as of embeddings, becomes one column of lists."""
    narrow, wide = (
        np.arange(6, dtype="i4").reshape(2, 3),
        np.arange(200, dtype="f4").reshape(2, 100),
    )
    whole = pa.concat_tables(ArrayRows(narrow).tables())
    assert {"x0": [0, 3], "x1": [1, 4], "x2": [2, 5]} == whole.to_pydict()
    assert whole.schema.field("x0").type == pa.int32()
    whole = pa.concat_tables(ArrayRows(wide.astype(">f4")).tables())
    assert whole.schema.field("x").type == pa.list_(pa.float32(), 100)
    assert wide.tolist() == whole["x"].to_pylist()
    assert ArrayRows(narrow).points(None, ["x1"]).axes == ("x0", "x2")


def test_a_frame_of_spark_is_shown_the_way():
    """Known by its module alone: PySpark is not imported."""
    frame = type("DataFrame", (), {"__module__": "pyspark.sql.classic.dataframe"})()
    with pytest.raises(DataError, match=r"thresher\.cluster\.spark\.dbscan"):
        open_points(frame)


@given(st.lists(st.integers(0, 9), max_size=8), st.lists(st.integers(1, 12), max_size=8))
def test_a_stream_is_cut_anew(given_sizes, sizes):
    """Wherever its tables end; one that is too short is named."""
    rows = iter(range(100))
    tables = [pa.table({"a": [next(rows) for _ in range(size)]}) for size in given_sizes]
    tables = [each.cast(pa.schema([("a", pa.int64())])) for each in tables]
    cut = _cut(tables, sizes, "points")
    if sum(sizes) > sum(given_sizes):
        with pytest.raises(DataError, match="fewer rows than it says"):
            list(cut)
        return
    found = list(cut)
    assert sizes == [each.num_rows for each in found]
    assert list(range(sum(sizes))) == [n for each in found for n in each["a"].to_pylist()]
