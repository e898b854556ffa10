"""Dates and times as numbers and cyclic pairs."""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.data import open_data
from thresher.data.dates import PERIODS, date_features
from thresher.data.encoding import CategoryColumn, DateColumn
from thresher.errors import DataError

LABELS = ["p", "q", "p", "q"]
DATES = [
    datetime.datetime(2024, 2, 29, 6, 30),
    datetime.datetime(2024, 3, 1, 18, 0),
    datetime.datetime(2025, 12, 31, 0, 0),
    datetime.datetime(2026, 1, 1, 12, 0),
]


def read(column, **named):
    return open_data(pa.table({"when": column, "label": LABELS}), **named)


def cells(samples):
    return dict(zip(samples.encoding.features, samples.inputs.T.tolist(), strict=True))


def test_a_date_becomes_its_parts():
    found = cells(read(DATES))
    assert [pytest.approx(6.5 / 24), 1.75, 671, 672.5] == found["when days"]
    assert [2024, 2024, 2025, 2026] == found["when year"]
    assert [2, 3, 12, 1] == found["when month"]
    assert [29, 1, 31, 1] == found["when day"]
    assert [3, 4, 2, 3] == found["when weekday"]  # Thursday, Friday, Wednesday, Thursday
    assert [6.5, 18, 0, 12] == found["when hour"]


MICROSECONDS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)  # years 1 to 9999


@given(moments=st.lists(MICROSECONDS, min_size=1, max_size=5))
def test_parts_are_those_of_the_calendar_of_python(moments):
    first = datetime.datetime(1970, 1, 1)
    features = date_features(np.array(moments, np.int64), tuple(PERIODS), 0)
    for microseconds, row in zip(moments, features, strict=True):
        when = first + datetime.timedelta(microseconds=microseconds)
        expected = (when.year, when.month, when.day, when.weekday())
        assert expected == tuple(row[[1, 2, 5, 8]])
        hour = (when - when.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
        assert hour / 3600 == pytest.approx(row[11], abs=1e-5)


def test_the_last_of_a_cycle_is_beside_the_first():
    found = cells(read([datetime.date(2025, month, 15) for month in (12, 1, 6, 7)]))
    place = np.array([found["when month sine"], found["when month cosine"]]).T
    december, january, june, _ = place
    assert np.linalg.norm(december - january) < np.linalg.norm(december - june) / 3
    np.testing.assert_allclose(1, np.linalg.norm(place, axis=1), rtol=1e-6)


def test_parts_that_do_not_vary_in_training_are_left_out():
    same = read([datetime.date(2025, 3, day) for day in (3, 10, 17, 24)])  # Mondays
    assert {"when days", "when day", "when day sine", "when day cosine"} == set(
        same.encoding.features
    )
    assert ("when days",) == read([datetime.date(2025, 3, 3)] * 4).encoding.features


@pytest.mark.parametrize(
    "column",
    [
        pa.array([each.isoformat() for each in DATES]),
        pa.array([each.isoformat(" ") for each in DATES]).dictionary_encode(),
        pa.array(DATES, pa.timestamp("s")),
        pa.array(DATES, pa.timestamp("ns")),
        pa.array(DATES, pa.timestamp("ms", "Africa/Lagos")).cast(pa.timestamp("us", "UTC")),
    ],
    ids=["text", "dictionary", "seconds", "nanoseconds", "zone"],
)
def test_every_way_to_write_a_date_reads_alike(column):
    np.testing.assert_array_equal(read(DATES).inputs, read(column).inputs)
    assert read(DATES).sample_id == read(column).sample_id


def test_days_alone_read_as_texts_and_as_dates():
    days = [each.date() for each in DATES]
    np.testing.assert_array_equal(read(days).inputs, read([str(each) for each in days]).inputs)


def test_times_are_read_in_the_zone_of_their_column():
    noon = pa.array([datetime.datetime(2025, 1, 1, 12)] * 3 + [DATES[0]], pa.timestamp("us", "UTC"))
    found = cells(read(noon.cast(pa.timestamp("us", "Asia/Tokyo"))))
    assert [21, 21, 21, 15.5] == found["when hour"]


def test_texts_with_a_zone_are_read_in_utc():
    found = cells(read([f"2025-01-0{day}T10:00:00+0{day}:00" for day in (1, 2, 3, 4)]))
    assert [9, 8, 7, 6] == found["when hour"]


def test_a_time_of_day_has_an_hour_only():
    samples = read(pa.array([datetime.time(hour, 30) for hour in (0, 6, 12, 23)]))
    assert ("when hour", "when hour sine", "when hour cosine") == samples.encoding.features
    assert [0.5, 6.5, 12.5, 23.5] == samples.inputs[:, 0].tolist()


@pytest.mark.parametrize("missing", [None, "?"])
def test_a_missing_date_takes_the_medians_and_a_flag_said_aloud(missing):
    days = ["2025-01-01", "2025-01-03", "2025-01-07", missing]
    samples = read(days if missing else pa.array(days).cast(pa.date32()))
    found = cells(samples)
    assert [0, 2, 6, 2] == found["when days"]
    assert [0, 0, 0, 1] == found["when missing"]
    assert any('medians and flagged: "when" (1 row)' in note for note in samples.notes)


def test_new_dates_are_counted_from_the_first_of_training():
    samples = read([datetime.date(2025, 1, day) for day in (5, 6, 7, 8)])
    new = pa.table({"when": ["2025-01-01", None, "2025-02-05"]})
    found = open_data(new, encoding=samples.encoding, labelled=False)
    assert [-4, 1.5, 31] == found.inputs[:, 0].tolist()
    assert np.isfinite(found.inputs).all()


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (["2025-01-01", "tomorrow"], r'holds the text "tomorrow" in row 1 '),
        (["2025-01-01", "2025-02-30"], "a date that is none"),
        ([20250101, 20250102], "values of type int64, expected dates"),
    ],
)
def test_what_is_no_date_in_new_data_is_refused(column, words):
    samples = read(DATES)
    with pytest.raises(DataError, match=words) as caught:
        open_data(pa.table({"when": column}), encoding=samples.encoding, labelled=False)
    assert caught.value.fix


@pytest.mark.parametrize("wrong", ["2025-1-5", "05.01.2025", "2025-02-30", "2025", "1e3"])
def test_texts_of_which_one_is_no_date_are_categories(wrong):
    (column,) = read(["2025-01-01", "2025-01-02", "2025-01-03", wrong]).encoding.columns
    assert isinstance(column, CategoryColumn)


def test_dates_of_a_csv_are_recognised(tmp_path):
    path = tmp_path / "data.csv"
    rows = "\n".join(f"{each},{label}" for each, label in zip(DATES, LABELS, strict=True))
    path.write_text(f"when,label\n{rows}\n")
    samples = open_data(path)
    assert isinstance(samples.encoding.columns[0], DateColumn)
    np.testing.assert_array_equal(read(DATES).inputs, samples.inputs)


def test_durations_are_numbers_of_seconds():
    column = pa.array([datetime.timedelta(hours=1), None, datetime.timedelta(milliseconds=250)] * 2)
    table = pa.table({"took": column, "label": [*LABELS, "p", "q"]})
    for unit in ("ms", "ns"):
        samples = open_data(table.set_column(0, "took", column.cast(pa.duration(unit))))
        assert ("took", "took missing") == samples.encoding.features
        assert [3600, 1800.125, 0.25] == samples.inputs[:3, 0].tolist()
