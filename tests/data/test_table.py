import datetime
import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thresher.data import Encoding, open_data
from thresher.data.encoding import CategoryColumn, NumberColumn
from thresher.errors import DataError

LABELS = ["p", "q", "p", "q"]


def table(**columns):
    return pa.table({**columns, "label": pa.array(LABELS)})


def test_numbers_of_every_type_become_float32():
    samples = open_data(
        table(
            i=pa.array([1, 2, 3, 4], pa.int8()),
            u=pa.array([1, 2, 3, 2**40], pa.uint64()),
            f=pa.array([0.5, 1.5, 2.5, 3.5], pa.float64()),
            h=pa.array(np.array([0.5, 1, 2, 3], np.float16)),
            b=pa.array([True, False, True, False]),
            d=pa.array([1, 2, 3, 4], pa.int64()).cast(pa.decimal128(30, 2)),
        )
    )
    expected = [[1, 2, 3, 4], [1, 2, 3, 2**40], [0.5, 1.5, 2.5, 3.5], [0.5, 1, 2, 3]]
    expected += [[1, 0, 1, 0], [1, 2, 3, 4]]
    assert np.float32 == samples.inputs.dtype
    np.testing.assert_array_equal(np.array(expected, np.float32).T, samples.inputs)


def test_missing_numbers_take_the_median_and_a_flag_said_aloud():
    samples = open_data(table(a=[1.0, None, np.nan, 5.0], b=[1, None, 3, 9]))
    assert ("a", "a missing", "b", "b missing") == samples.encoding.features
    assert [[1, 0, 1, 0], [3, 1, 3, 1], [3, 1, 3, 0], [5, 0, 9, 0]] == samples.inputs.tolist()
    (note,) = [note for note in samples.notes if "median" in note]
    assert '"a" (2 rows), "b" (1 row)' in note


def test_categories_become_sorted_zero_one_features():
    samples = open_data(table(c=["y", "x", "z", "x"]))
    assert ("c=x", "c=y", "c=z") == samples.encoding.features
    assert [[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]] == samples.inputs.tolist()


@pytest.mark.parametrize("absent", [None, "", "?", "NA", " - "])
def test_missing_categories_have_a_feature_of_their_own(absent):
    samples = open_data(table(c=["x", absent, "x", "y"]))
    assert ("c=x", "c=y", "c missing") == samples.encoding.features
    assert [0, 0, 1] == samples.inputs[1].tolist()
    assert any('"c" (1 row)' in note for note in samples.notes)


def test_dictionaries_of_texts_and_numbers_are_categories():
    samples = open_data(
        table(
            c=pa.array(["b", "a", "b", None]).dictionary_encode(),
            n=pa.array([10, 2, 10, 2]).dictionary_encode(),
        )
    )
    assert ("c=a", "c=b", "c missing", "n=10", "n=2") == samples.encoding.features


def test_a_category_unknown_from_training_sets_no_feature():
    samples = open_data(table(c=["x", "y", "x", "y"]))
    new = open_data(pa.table({"c": ["x", "new", None]}), encoding=samples.encoding, labelled=False)
    assert [[1, 0], [0, 0], [0, 0]] == new.inputs.tolist()
    assert any('"c" ("new")' in note for note in new.notes)
    assert any("unknown from training, are taken as none" in note for note in new.notes)


def test_what_teaches_nothing_about_new_rows_is_left_out_aloud():
    rows = 200
    samples = open_data(
        pa.table(
            {
                "id": np.arange(rows),
                "customer_id": 7919 * np.arange(rows) % 1009,
                "name": [f"name {row}" for row in range(rows)],
                "half": [f"{row // 2 + row % 2 * (row % 4)}" for row in range(rows)],
                "story": [f"once upon a time, {row}" for row in range(rows)],
                "ragged": [[1, 2][: 1 + row % 2] for row in range(rows)],
                "struct": [{"a": 1}] * rows,
                "x": np.arange(rows) * 0.5,
                "label": ["p", "q"] * (rows // 2),
            }
        )
    )
    said = " ".join(samples.notes)
    assert ("x",) == samples.encoding.features
    assert 'look like ids: "customer_id", "name"' in said
    assert 'ids, written as text: "half"' in said
    assert 'looks like free text: "story"; to learn from it, name it: --text story' in said
    assert 'lists are of different lengths: "ragged"' in said
    assert 'neither numbers nor categories: "struct"' in said
    assert 'only number the rows, or have no name: "id"' in said


@pytest.mark.parametrize("name", ["id", "ID", "user_id", "User Id", "PassengerId", "uuid"])
def test_whole_numbers_called_an_id_that_never_repeat_are_left_out(name):
    cells = 7919 * np.arange(60) % 1009
    table = {name: cells, "x": np.arange(60.0), "label": ["p", "q"] * 30}
    assert ("x",) == open_data(pa.table(table)).encoding.features
    again = cells.copy()
    again[0] = again[1]
    assert (name, "x") == open_data(pa.table(table | {name: again})).encoding.features


@pytest.mark.parametrize("name", ["width", "paid", "grid", "amount"])
def test_whole_numbers_of_another_name_may_all_differ(name):
    table = {name: 7919 * np.arange(60) % 1009, "label": ["p", "q"] * 30}
    assert (name,) == open_data(pa.table(table)).encoding.features


def test_a_whole_number_called_id_that_does_not_count_is_a_feature():
    assert ("id",) == open_data(table(id=[3, 1, 2, 2])).encoding.features


def test_the_index_that_pandas_stores_is_left_out():
    frame = pd.DataFrame({"x": [1.0, 2, 3, 4], "label": LABELS}, index=[7, 3, 9, 1])
    samples = open_data(frame)
    assert ("x",) == samples.encoding.features
    assert any("__index_level_0__" in note for note in samples.notes)


@pytest.mark.parametrize(("count", "kept"), [(20, True), (21, False)])
def test_few_rows_may_all_differ(count, kept):
    cells = {"c": [f"c{row:02}" for row in range(count)], "x": range(count)}
    labels = ["p", "q", "p"] * 7
    samples = open_data(pa.table({**cells, "label": labels[:count]}))
    assert kept == any(isinstance(each, CategoryColumn) for each in samples.encoding.columns)


@pytest.mark.parametrize(("count", "many"), [(100, False), (101, True)])
def test_categories_beyond_the_hundredth_share_a_feature(count, many):
    cells = [f"c{row % count:03}" for row in range(1000)]
    samples = open_data(pa.table({"c": cells, "x": range(1000), "label": ["p", "q"] * 500}))
    assert many == ("c other" in samples.encoding.features)
    assert many == any('100 most frequent share one feature: "c"' in n for n in samples.notes)
    assert 102 - (not many) == len(samples.encoding.features)
    assert 1000 == samples.inputs[:, :-1].sum()  # each row sets one


def test_the_most_frequent_categories_keep_their_own_feature():
    common = [f"c{place:03}" for place in range(120) for _ in range(2 + place)]
    table = pa.table({"c": [*common, None], "label": [*"pq" * (len(common) // 2), "p"]})
    samples = open_data(table)
    (column,) = samples.encoding.columns
    assert tuple(f"c{place:03}" for place in range(20, 120)) == column.values
    assert ("c other", "c missing") == samples.encoding.features[-2:]
    assert sum(2 + place for place in range(20)) == samples.inputs[:, -2].sum()
    new = pa.table({"c": ["never seen", "c119", None]})
    read = open_data(new, encoding=samples.encoding, labelled=False)
    assert [[1, 0], [0, 0], [0, 1]] == read.inputs[:, -2:].tolist()
    assert not any("unknown from training" in note for note in read.notes)


def test_numbers_written_as_text_that_repeat_are_categories():
    cells = [f"{row % 150:05}" for row in range(1000)]  # as postal codes
    samples = open_data(pa.table({"c": cells, "label": ["p", "q"] * 500}))
    assert samples.encoding.columns[0].rest


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": [1.0, np.inf, 2, 3]}, r'"a" holds an infinite number.* row 1 '),
        ({"a": [1.0, 2, 3, -1e39]}, r'"a" .* beyond 3\.4e38, in row 3 '),
        ({"a": [None] * 4, "b": [1, 2, 3, 4]}, 'Column "a" is empty'),
        ({"a": [np.nan] * 4}, 'Column "a" is empty'),
        ({"a": ["", "NA", None, "?"]}, 'Column "a" is empty'),
        ({}, "No column is left to learn from"),
        ({"s": [{"a": 1}] * 4}, "No column is left to learn from"),
        ({"sample_id": ["a", "b", "a", "c"], "x": [1, 2, 3, 4]}, r'"sample_id" names "a" 2 times'),
        ({"sample_id": ["a", None, "b", "c"], "x": [1, 2, 3, 4]}, "no id in row 1 "),
        ({"sample_id": [0.5, 1, 2, 3], "x": [1, 2, 3, 4]}, "expected texts or whole numbers"),
    ],
)
def test_tables_that_cannot_be_learned_from_are_refused(columns, words):
    with pytest.raises(DataError, match=words) as caught:
        open_data(table(**columns))
    assert caught.value.fix


def test_constant_columns_are_kept():
    assert [[7]] * 4 == open_data(table(a=[7, 7, 7, 7])).inputs.tolist()


def test_a_missing_feature_column_names_the_nearest():
    samples = open_data(table(height=[1, 2, 3, 4]))
    with pytest.raises(DataError, match='"height" is lacking') as caught:
        open_data(table(heigth=[1, 2, 3, 4]), encoding=samples.encoding, classes=samples.classes)
    assert caught.value.fix == 'Did you mean "heigth"?'


def test_order_and_surplus_of_columns_make_no_difference():
    samples = open_data(table(a=[1, 2, 3, 4], c=["x", "y", "x", "y"]))
    other = pa.table({"z": [9] * 4, "c": ["x", "y", "x", "y"], "label": LABELS, "a": [1, 2, 3, 4]})
    again = open_data(other, encoding=samples.encoding, classes=samples.classes)
    np.testing.assert_array_equal(samples.inputs, again.inputs)
    assert samples.sample_id == again.sample_id


def test_text_where_training_had_numbers_is_read_or_refused_by_row():
    samples = open_data(table(a=[1, 2, 3, 6]))
    read = open_data(table(a=["1", " ? ", "3", "6.0"]), encoding=samples.encoding, labelled=False)
    assert [[1], [2.5], [3], [6]] == read.inputs.tolist()
    with pytest.raises(DataError, match=r'holds the text "six" in row 3 '):
        open_data(table(a=["1", "2", "3", "six"]), encoding=samples.encoding, labelled=False)


def test_numbers_where_training_had_categories_are_matched_by_name():
    samples = open_data(table(c=["1", "2", "x", "1"]))
    read = open_data(table(c=[1.0, 2.0, 1.0, 3.0]), encoding=samples.encoding, labelled=False)
    assert [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]] == read.inputs.tolist()


def test_categories_of_a_csv_stay_text_in_new_data(tmp_path):
    train, new = tmp_path / "train.csv", tmp_path / "new.csv"
    train.write_text("c,label\n01,p\nx,q\n01,p\nx,q\n")
    new.write_text("c\n01\n01\n")
    samples = open_data(train)
    assert [[1, 0], [1, 0]] == open_data(
        new, encoding=samples.encoding, labelled=False
    ).inputs.tolist()


@pytest.mark.parametrize("name", ["label", "labels", "target", "class", "y", "Label", "TARGET"])
def test_the_only_candidate_is_taken_as_label_aloud(name):
    samples = open_data(pa.table({"a": [1, 2, 3, 4], name: LABELS}))
    assert name == samples.encoding.label
    assert any(f'labels are taken from column "{name}"' in note for note in samples.notes)


def test_two_candidates_or_none_are_not_guessed():
    with pytest.raises(DataError, match='"class", "label" could be it'):
        open_data(table(**{"class": LABELS, "a": [1, 2, 3, 4]}))
    with pytest.raises(DataError, match=r'none is named so; the columns are "a", "b"'):
        open_data(pa.table({"a": [1], "b": ["x"]}))
    with pytest.raises(DataError, match='no column "lable"') as caught:
        open_data(table(a=[1, 2, 3, 4]), label="lable")
    assert caught.value.fix == 'Did you mean "label"?'


def test_the_label_is_no_feature_and_may_be_lacking_when_predicting():
    samples = open_data(table(a=[1, 2, 3, 4], kind=LABELS), label="kind")
    settings = {"encoding": samples.encoding, "classes": samples.classes, "labelled": False}
    for new in (pa.table({"a": [1, 2]}), pa.table({"a": [1, 2], "kind": ["??", "new"]})):
        if "label" not in samples.encoding.features:
            new = new.append_column("label", pa.array(["p", "q"]))
        predicted = open_data(new, **settings)
        assert [-1, -1] == predicted.labels.tolist()
        assert samples.classes == predicted.classes


def test_a_test_set_without_the_label_column_of_training_is_told_its_name():
    samples = open_data(table(a=[1, 2, 3, 4], kind=LABELS), label="kind")
    with pytest.raises(DataError, match='"kind", which held the labels in training') as failed:
        open_data(
            pa.table({"a": [1, 2], "kinds": ["p", "q"]}),
            encoding=samples.encoding,
            classes=samples.classes,
        )
    assert failed.value.fix == 'Did you mean "kinds"?'


def test_rows_without_label_are_kept():
    samples = open_data(pa.table({"a": range(5), "label": ["p", "q", None, "p", "q"]}))
    assert [0, 1, -1, 0, 1] == samples.labels.tolist()
    assert any("1 row of 5 without a label" in note for note in samples.notes)


def test_a_column_called_sample_id_names_the_samples():
    samples = open_data(table(sample_id=[30, 10, 20, 40], a=[1, 1, 1, 1]))
    assert ["30", "10", "20", "40"] == samples.sample_id.to_pylist()
    assert ("a",) == samples.encoding.features


def test_a_label_column_called_sample_id_names_no_samples():
    samples = open_data(pa.table({"sample_id": LABELS, "a": [1, 2, 3, 4]}), label="sample_id")
    assert ("p", "q") == samples.classes
    assert all(len(name) == 16 for name in samples.sample_id.to_pylist())


def test_texts_that_are_no_features_still_tell_samples_apart():
    rows = 60
    columns = {"text": [f"text {row}" for row in range(rows)], "a": [1] * rows}
    samples = open_data(pa.table({**columns, "label": ["p", "q"] * 30}))
    moved = open_data(pa.table({**columns, "label": ["q", "p"] * 30}))
    assert samples.sample_id == moved.sample_id
    assert not any("-" in name for name in samples.sample_id.to_pylist())


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "csv", "jsonl", "parquet", "pair"])
def test_every_source_of_one_table_gives_the_same_samples(kind, tmp_path):
    rows = {"a": [1.5, 2.0, None, 4.0], "c": ["x", None, "y", "x"], "label": LABELS}
    frame = pl.DataFrame(rows)
    path = tmp_path / f"data.{kind}"
    if kind == "csv":
        frame.write_csv(path)
    elif kind == "jsonl":
        frame.write_ndjson(path)
    elif kind == "parquet":
        frame.write_parquet(path)
    sources = {
        "pandas": pd.DataFrame(rows),
        "polars": frame,
        "arrow": pa.table(rows),
        "pair": (frame.drop("label"), frame["label"].to_numpy()),
    }
    samples = open_data(sources.get(kind, path))
    reference = open_data(pa.table(rows))
    assert reference.fingerprint == samples.fingerprint
    assert reference.sample_id == samples.sample_id
    assert reference.encoding.columns == samples.encoding.columns


def test_frames_that_arrow_cannot_take_are_refused():
    with pytest.raises(DataError, match="table cannot be read"):
        open_data(pd.DataFrame({"a": [1, "x", None], "label": list("pqp")}))
    with pytest.raises(DataError, match=r"Duplicate|more than one column"):
        open_data(pd.DataFrame(np.ones((2, 2)), columns=["a", "a"]))
    with pytest.raises(DataError, match="0 rows"):
        open_data(pd.DataFrame({"a": [], "label": []}))


def test_class_names_come_from_the_metadata_of_the_schema():
    plain = pa.table({"a": [1, 2, 3, 4], "label": [0, 1, 0, 1]})
    features = {"info": {"features": {"label": {"names": ["zebra", "ant"], "_type": "ClassLabel"}}}}
    for metadata in (
        {"classes": json.dumps(["zebra", "ant"])},
        {"huggingface": json.dumps(features)},
    ):
        samples = open_data(plain.replace_schema_metadata(metadata))
        assert ("ant", "zebra") == samples.classes
        assert [1, 0, 1, 0] == samples.labels.tolist()
        tested = open_data(plain, encoding=samples.encoding, classes=samples.classes)
        assert [1, 0, 1, 0] == tested.labels.tolist()


@pytest.mark.parametrize(
    "metadata", [{"classes": "no json"}, {"classes": '["a", "a"]'}, {"classes": "3"}]
)
def test_metadata_that_name_no_classes_are_ignored(metadata):
    plain = pa.table({"a": [1, 2, 3, 4], "label": [0, 1, 0, 1]})
    assert ("0", "1") == open_data(plain.replace_schema_metadata(metadata)).classes


CELLS = {
    "number": st.one_of(st.none(), st.floats(-1e6, 1e6, width=32)),
    "whole": st.one_of(st.none(), st.integers(-1000, 1000)),
    "category": st.one_of(st.none(), st.sampled_from(["a", "b", "ü", "?", " c "])),
    "date": st.one_of(st.none(), st.dates()),
    "vector": st.one_of(st.none(), st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=2)),
}
PRESENT = {
    "number": 1.0,
    "whole": 1,
    "category": "a",
    "date": datetime.date(2020, 2, 29),
    "vector": [0.5, 1],
}


@st.composite
def tables(draw):
    rows = draw(st.integers(4, 12))
    columns = {
        f"{kind} {place}": draw(st.lists(CELLS[kind], min_size=rows - 1, max_size=rows - 1))
        for place, kind in enumerate(draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1)))
    }
    for name, cells in columns.items():  # no column is empty
        cells.append(PRESENT[name.split()[0]])
    labels = draw(st.lists(st.sampled_from("pq"), min_size=rows - 4, max_size=rows - 4))
    return pa.table({**columns, "label": [*labels, "p", "p", "q", "q"]})


@settings(max_examples=60)
@given(data=tables())
def test_a_stored_encoding_gives_the_training_data_back(data):
    samples = open_data(data)
    stored = Encoding.from_json(json.loads(json.dumps(samples.encoding.to_json())))
    again = open_data(data, encoding=stored, classes=samples.classes)
    assert samples.encoding == stored
    np.testing.assert_array_equal(samples.inputs, again.inputs)
    np.testing.assert_array_equal(samples.labels, again.labels)
    assert samples.sample_id == again.sample_id
    assert (len(data), len(samples.encoding.features)) == samples.inputs.shape
    assert np.isfinite(samples.inputs).all()


@settings(max_examples=60)
@given(data=tables(), seed=st.integers(0, 2**32 - 1))
def test_ids_survive_new_orders_and_corrected_labels(data, seed):
    generator = np.random.default_rng(seed)
    order = generator.permutation(data.num_rows)
    before = open_data(data)
    moved = open_data(data.take(pa.array(order)))
    keys = np.array([name.split("-")[0] for name in before.sample_id.to_pylist()])
    moved_keys = np.array([name.split("-")[0] for name in moved.sample_id.to_pylist()])
    np.testing.assert_array_equal(keys[order], moved_keys)
    assert sorted(before.sample_id.to_pylist()) == sorted(moved.sample_id.to_pylist())
    flipped = ["q" if label == "p" else "p" for label in data["label"].to_pylist()]
    corrected = open_data(data.set_column(data.num_columns - 1, "label", pa.array(flipped)))
    after = corrected.sample_id.to_pylist()
    assert list(keys) == [name.split("-")[0] for name in after]
    assert data.num_rows == len(set(after))


def test_number_columns_and_category_columns_name_their_features():
    assert ("a", "a missing") == NumberColumn("a", 1.0, flagged=True).features
    assert ("c=x",) == CategoryColumn("c", ("x",)).features
    assert ("c=x", "c other", "c missing") == CategoryColumn("c", ("x",), True, True).features


def test_encodings_of_earlier_releases_are_read():
    columns = [
        {"number": "a", "median": 1.5, "flagged": False},
        {"category": "c", "values": ["x", "y"], "flagged": True},
    ]
    written = open_data(table(a=[1, 2, 3, 4])).encoding.to_json()
    found = Encoding.from_json({**written, "schema": 1, "columns": columns})
    assert (NumberColumn("a", 1.5), CategoryColumn("c", ("x", "y"), True)) == found.columns


@pytest.mark.parametrize("kind", [pl.Categorical, pl.Enum(["u", "v"]), pl.String])
def test_texts_of_polars_are_categories_and_can_be_selected(kind):
    """Arrow can neither decode nor select the views that it hands out."""
    frame = pl.DataFrame({"c": ["u", "v", None, "v"], "label": LABELS})
    samples = open_data(frame.with_columns(pl.col("c").cast(kind)))
    assert ("c=u", "c=v", "c missing") == samples.encoding.features
    assert [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]] == samples.inputs.tolist()
    texts = open_data(frame.with_columns(pl.col("c").cast(pl.String)), text=["c"])
    assert ["v"] == texts.take(np.array([1])).texts["c"].to_pylist()


def test_a_stream_that_breaks_is_an_error_of_one_line():
    class Query:
        def __arrow_c_stream__(self, requested_schema=None):
            raise RuntimeError("connection\nlost")

    with pytest.raises(DataError, match="The table cannot be read: connection lost"):
        open_data(Query())
    with pytest.raises(DataError, match="The table cannot be read"):
        open_data(pd.DataFrame({"a": [10**30, 1], "label": ["p", "q"]}))


@pytest.mark.parametrize(
    "form", ["%d.%m.%Y", "%m/%d/%Y", "%d %b %Y", "%B %d, %Y", "%Y/%m/%d %H:%M"]
)
def test_dates_in_another_form_are_left_out_as_what_they_are(form):
    days = pd.date_range("2020-01-01", periods=60).strftime(form)
    frame = pd.DataFrame({"d": days, "x": range(60), "label": ["p", "q"] * 30})
    samples = open_data(frame)
    assert ("x",) == samples.encoding.features
    assert any(
        'dates are written as 2026-11-05 or 2026-11-05 14:30: "d"' in n for n in samples.notes
    )


def test_numbers_with_a_text_among_them_are_left_out_as_what_they_are(tmp_path):
    cells = ["soon", *map(str, range(59))]
    rows = "".join(f"{cell},{row % 2},{'pq'[row % 2]}\n" for row, cell in enumerate(cells))
    (tmp_path / "a.csv").write_text("a,x,label\n" + rows)
    samples = open_data(tmp_path / "a.csv")
    assert ("x",) == samples.encoding.features
    assert any('numbers and texts that are none: "a"' in note for note in samples.notes)


def test_a_table_of_images_alone_is_told_how_images_are_read():
    names = [f"images/{row}.jpg" for row in range(60)]
    with pytest.raises(DataError, match="No column is left") as caught:
        open_data(pa.table({"file_name": names, "label": ["p", "q"] * 30}))
    assert "call the table metadata.csv" in caught.value.fix
