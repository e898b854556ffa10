"""The table of the field benchmark is made of whatever cells have left."""

import sys
from pathlib import Path

from bench_rows import row

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from field import names, write_page


def line(method):
    """As a cell leaves it."""
    return {**row(method, noise="worse"), "epochs": 16, "rows": 5_000}


def test_a_page_is_made_of_cells_that_say_what_their_process_held(tmp_path):
    """Other cells ran in the same process: its memory is no figure of a method."""
    page = tmp_path / "field.md"
    write_page([line("standard"), line("gce")], page)
    assert "| gce |" in page.read_text()
    assert "MiB" not in page.read_text()


def test_methods_that_are_not_compared_by_default_come_last(tmp_path):
    """They were named on the command line."""
    found = [line(name) for name in ("rho-loss", "own:Method", "cleanlab", "standard")]
    assert names(found) == ["standard", "cleanlab", "rho-loss", "own:Method"]
    write_page(found, tmp_path / "field.md")
    assert "| rho-loss |" in (tmp_path / "field.md").read_text()
