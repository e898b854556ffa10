"""What is kept of a cell is whole, and found again."""

import json

import pytest

from thresher.bench.folder import BenchFolder
from thresher.bench.noise_spec import parse_noise
from thresher.bench.settings import Cell
from thresher.errors import RunError

CELL = Cell("elr", parse_noise("asymmetric:0.4:a/b>c;c>a/b"), 2)


@pytest.fixture
def folder(tmp_path):
    """An empty one."""
    made = BenchFolder(tmp_path / "bench")
    made.make()
    return made


def test_a_finished_cell_is_found_again(folder):
    """Whatever characters its noise has."""
    assert folder.finished(CELL) is None
    folder.keep(CELL, {"last": 0.5})
    assert folder.finished(CELL) == {"status": "done", "last": 0.5}
    assert folder.file_of(CELL).parent == folder.cells
    assert folder.all_rows() == [{"status": "done", "last": 0.5}]


def test_a_failure_is_no_finished_cell_and_goes_when_it_is_done(folder):
    """It is tried again."""
    folder.keep_failure(CELL, "no memory")
    assert folder.finished(CELL) is None
    (row,) = folder.all_rows()
    assert (row["status"], row["reason"], row["seed"]) == ("failed", "no memory", 2)
    folder.keep(CELL, {"last": 0.5})
    assert [row["status"] for row in folder.all_rows()] == ["done"]


def test_a_torn_file_is_computed_again(folder):
    """As if it were not there."""
    folder.file_of(CELL).write_text('{"schema": 1, "last"')
    assert folder.finished(CELL) is None
    assert folder.all_rows() == []


def test_a_file_of_another_release_is_refused(folder):
    """Its figures might mean something else."""
    folder.file_of(CELL).write_text(json.dumps({"schema": 2}))
    with pytest.raises(RunError, match="has schema 2"):
        folder.finished(CELL)


def test_a_folder_of_something_else_is_refused(tmp_path):
    """And an empty one is not."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="is not a benchmark"):
        BenchFolder(tmp_path).refuse_other()
    (tmp_path / "other" / "state" / "mine").mkdir(parents=True)
    with pytest.raises(RunError, match="is not a benchmark"):
        BenchFolder(tmp_path / "other").refuse_other()
    (tmp_path / "empty").mkdir()
    BenchFolder(tmp_path / "empty").refuse_other()
    BenchFolder(tmp_path / "new").refuse_other()


def test_two_benchmarks_do_not_write_to_one_folder(folder):
    """The second is told."""
    with folder.occupied(), pytest.raises(RunError, match="is in use"), folder.occupied():
        pass
