"""Means over seeds, ranges, factors, and what is bold."""

import pytest

from bench_rows import row
from thresher.bench.rows import COLUMNS, rows_table, write_rows
from thresher.bench.tables import (
    ACCURACIES,
    COSTS,
    TRUST,
    Spread,
    entries,
    is_best,
    markdown_table,
)

ROWS = [
    row(seed=0, last=0.8, cpu_seconds=2.0),
    row(seed=1, last=0.7, cpu_seconds=4.0),
    row("elr", seed=0, last=0.9, cpu_seconds=3.0),
    row("elr", seed=1, last=0.85, cpu_seconds=4.0, peak_mib=420.0),
    {"status": "failed", "method": "elr", "noise": "none", "seed": 0, "reason": "no"},
]


def test_means_and_ranges_over_seeds():
    """By hand."""
    standard, elr = entries(ROWS)
    assert (standard.method, elr.method) == ("standard", "elr")
    assert elr.seeds == (0, 1)
    assert elr.figures["last"] == Spread(pytest.approx(0.875), 0.85, 0.9, 2)
    assert "label_precision" not in elr.figures
    assert elr.curve == (0.5, 0.6, 0.7, pytest.approx(0.875))


def test_costs_are_divided_within_each_seed():
    """3 / 2 and 4 / 4 of the time; 20 / 20 and 40 / 20 of the memory beyond the process."""
    _, elr = entries(ROWS)
    assert elr.figures["relative_seconds"] == Spread(1.25, 1.0, 1.5, 2)
    assert elr.figures["relative_memory"] == Spread(1.5, 1.0, 2.0, 2)


def test_seconds_are_divided_as_they_were_measured():
    """Not as they would be printed; memory of a few pages has no factor."""
    rows = [
        row(cpu_seconds=0.014, peak_mib=383.5),
        row("elr", cpu_seconds=0.046, peak_mib=390.0),
    ]
    _, elr = entries(rows)
    assert elr.figures["relative_seconds"].mean == pytest.approx(46 / 14)
    assert "relative_memory" not in elr.figures
    assert elr.figures["training_mib"].mean == 10.0


def test_memory_without_what_the_process_held_is_not_compared():
    """As in rows that do not say it."""
    _, elr = entries([row(held_mib=None), row("elr", held_mib=None)])
    assert "relative_memory" not in elr.figures
    assert "peak_mib" in elr.figures


def test_without_standard_training_there_is_no_factor():
    """As where that cell has failed."""
    (elr,) = entries([row("elr")])
    assert "relative_seconds" not in elr.figures


def test_a_table_shows_what_some_method_has():
    """And marks the best, but never of what was chosen on the test set."""
    table = markdown_table(entries(ROWS), ACCURACIES)
    head, _, standard, elr = table.splitlines()
    assert head.split(" | ")[1:] == [
        "last",
        "mean of the last ten",
        "validation-selected",
        "best on test |",
    ]
    assert "**" not in standard
    assert elr.split(" | ")[1] == "**87.5 (85.0–90.0)**"
    assert "**" not in elr.split(" | ")[4]
    assert "label precision" not in markdown_table(entries(ROWS), TRUST)
    assert "**" not in markdown_table(entries(ROWS), COSTS)


def test_points_have_signs():
    """Of an estimate that is off in either direction."""
    assert Spread(0.01, -0.02, 0.03, 3).words("points") == "+1.0 (-2.0 to +3.0)"
    assert Spread.of([None, None]) is None


def test_rows_survive_their_file(tmp_path):
    """With the version of their columns, those of failed cells as well."""
    import pyarrow.parquet as pq

    write_rows(rows_table(ROWS), tmp_path / "rows.parquet")
    found = pq.read_table(tmp_path / "rows.parquet")
    assert found.schema.metadata[b"thresher"] == b'{"schema": 1}'
    assert found.column_names == COLUMNS.names
    assert found.to_pylist()[2] == dict.fromkeys(COLUMNS.names) | ROWS[2]
    assert found["status"].to_pylist() == ["done"] * 4 + ["failed"]
    assert found["last"].to_pylist() == [0.8, 0.7, 0.9, 0.85, None]


def test_no_mean_over_fewer_seeds_is_bold():
    """Nor is what is left without one to compare with."""
    found = entries([*ROWS, row("gce", seed=1, last=0.99)])
    assert [each.title for each in found] == ["standard", "elr", "gce (seed 1)"]
    assert [is_best(each, ACCURACIES[0], found) for each in found] == [False, True, False]
    found = entries([*ROWS[:2], row("gce", seed=1, last=0.99)])
    assert not any(is_best(each, ACCURACIES[0], found) for each in found)
