"""Where corrected data may be written: apart from the data, over nobody's files, at once."""

import signal
import subprocess
import sys

import pytest

from thresher.corrected.changes import COLUMNS
from thresher.corrected.place import refuse_place, whole_folder
from thresher.errors import ParameterError, RunError


def names(folder):
    return [each.name for each in folder.iterdir()]


@pytest.mark.parametrize(
    "out", ["data", "data/below", "data/../data", "link", "link/below", ".", "data/a/b/c"]
)
def test_the_source_and_all_below_and_above_it_are_refused(out, tmp_path):
    """By whatever name."""
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "link").symlink_to("data")
    with pytest.raises(ParameterError, match="are not apart"):
        refuse_place(tmp_path / out, [tmp_path / "data"], folder=True, overwrite=True)


def test_beside_a_file_there_is_room(tmp_path):
    """But not in its place."""
    (tmp_path / "data.csv").write_text("x")
    sources = [tmp_path / "data.csv"]
    refuse_place(tmp_path / "out.csv", sources, folder=False, overwrite=False)
    with pytest.raises(ParameterError, match="are not apart"):
        refuse_place(tmp_path / "data.csv", sources, folder=False, overwrite=True)


def test_what_stands_there_is_replaced_on_request_only(tmp_path):
    """A file by a file, an earlier export by an export; a folder of anything else never."""
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(RunError, match="exists already"):
        refuse_place(tmp_path / "out.csv", [], folder=False, overwrite=False)
    refuse_place(tmp_path / "out.csv", [], folder=False, overwrite=True)
    (tmp_path / "photos").mkdir()
    for folder in (False, True):
        with pytest.raises(RunError, match="no earlier export"):
            refuse_place(tmp_path / "photos", [], folder=folder, overwrite=True)
    (tmp_path / "photos/changes.csv").write_text(",".join(COLUMNS) + "\n")
    refuse_place(tmp_path / "photos", [], folder=True, overwrite=True)


def test_a_folder_appears_when_it_is_whole(tmp_path):
    """Until then the old one stands; nothing is left beside it."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").touch()
    with whole_folder(tmp_path / "out") as aside:
        (aside / "new").touch()
        assert ["old"] == names(tmp_path / "out")
    assert ["new"] == names(tmp_path / "out")
    assert ["out"] == names(tmp_path)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_folder_that_is_not_finished_leaves_the_old_one(error, tmp_path):
    """And nothing beside it."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").touch()

    def write_half():
        with whole_folder(tmp_path / "out") as aside:
            (aside / "new").touch()
            raise error

    with pytest.raises(RunError if error is OSError else error):
        write_half()
    assert ["old"] == names(tmp_path / "out")
    assert ["out"] == names(tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
from thresher.corrected.place import whole_folder
place, moment = Path(sys.argv[1]), sys.argv[2]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if moment == "between":
    rename = Path.rename
    Path.rename = lambda old, new: rename(old, new) if new.name.endswith(".replaced") else die()
with whole_folder(place) as aside:
    (aside / "new").touch()
    if moment == "writing":
        die()
"""


@pytest.mark.parametrize("moment", ["writing", "between"])
def test_what_a_killed_process_left_is_no_half_result(moment, tmp_path):
    """Under the name is the old folder or none; the next export clears up."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").touch()
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out"), moment])
    assert -signal.SIGKILL == done.returncode
    assert not (tmp_path / "out/new").exists()
    assert (tmp_path / "out/old").exists() == (moment == "writing")
    with pytest.raises(ValueError, match="stop"), whole_folder(tmp_path / "out"):
        raise ValueError("stop")
    assert ["old"] == names(tmp_path / "out")
    assert ["out"] == names(tmp_path)


def test_the_systems_reason_is_given(tmp_path):
    """In its words."""
    with (
        pytest.raises(RunError, match="nowhere/out: No such file or directory"),
        whole_folder(tmp_path / "nowhere/out"),
    ):
        pass
