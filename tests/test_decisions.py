"""The log of decisions: nothing is lost, everything can be undone, many may write at once."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.decisions import Decided, DecisionLog, check_decision, label_after
from thresher.errors import ParameterError, RunError


def keep(sample, label="cat"):
    return Decided(sample, "keep", label)


def test_what_is_appended_is_read_again(tmp_path):
    """The newest decision about a sample counts."""
    with DecisionLog(tmp_path / "decisions.sqlite") as log:
        log.append([keep("a"), Decided("b", "exclude", None)])
        log.append([Decided("a", "other:dog", "dog")])
    with DecisionLog(tmp_path / "decisions.sqlite", read_only=True) as log:
        assert {
            "b": Decided("b", "exclude", None),
            "a": Decided("a", "other:dog", "dog"),
        } == log.current()
        assert ["b", "a"] == list(log.current())


@given(st.lists(st.one_of(st.none(), st.lists(st.sampled_from("abcd"), min_size=1, unique=True))))
def test_undo_goes_back_step_by_step_without_limit(steps):
    """A stack of states is the oracle: None undoes, a list decides those samples together."""
    with DecisionLog(None) as log:  # one of its own each time
        states = [{}]
        for number, step in enumerate(steps):
            if step is None:
                undone = log.undo()
                assert bool(undone) == (len(states) > 1)
                states = states[:-1] or [{}]
            else:
                decided = {each: Decided(each, "other:x", str(number)) for each in step}
                log.append(decided.values())
                states.append(states[-1] | decided)
            assert states[-1] == log.current()


def test_changes_are_told_since_an_event(tmp_path):
    """Two tabs agree: the second sees what was decided and what was undone."""
    with DecisionLog(tmp_path / "log") as log:
        log.append([keep("a")])
        seen = log.last_event()
        assert {} == log.changed_since(seen)
        log.append([keep("b"), keep("c")])
        assert {"b": keep("b"), "c": keep("c")} == log.changed_since(seen)
        later = log.last_event()
        assert ("b", "c") == log.undo()
        assert {"b": None, "c": None} == log.changed_since(later)
        assert {"b": None, "c": None} == log.changed_since(seen)


def test_many_writers_lose_nothing(tmp_path):
    """Every batch has its own number, whoever wrote it."""
    path, batches = tmp_path / "log", []

    def write(name):
        with DecisionLog(path) as log:
            batches.extend(log.append([keep(f"{name}-{number}")]) for number in range(10))

    writers = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    with DecisionLog(path) as log:
        assert 40 == len(log.current())
    assert sorted(batches) == list(range(1, 41))


def test_a_killed_process_loses_nothing_that_it_was_told_is_saved(tmp_path):
    """kill -9 after the third append, in the middle of a fourth."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from thresher.decisions import *\n"
        "log = DecisionLog(Path(sys.argv[1]))\n"
        "for name in 'abc': log.append([Decided(name, 'keep', 'cat')])\n"
        "log._connection.execute('BEGIN IMMEDIATE')\n"
        'log._connection.execute("INSERT INTO events (batch, sample_id, decision, at)'
        " VALUES (9, 'd', 'keep', '')\")\n"
        "print('saved', flush=True); time.sleep(60)\n"
    )
    path = tmp_path / "log"
    process = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
    assert b"saved" in process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with DecisionLog(path, read_only=True) as log:
        assert ["a", "b", "c"] == list(log.current())
    with DecisionLog(path) as log:
        assert 4 == log.append([keep("e")])


def test_reading_makes_no_file(tmp_path):
    """A run that nobody reviewed has no decisions."""
    with DecisionLog(tmp_path / "log", read_only=True) as log:
        assert {} == log.current()
        assert 0 == log.last_event()
    assert [] == list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    """With what to do."""
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="cannot be used") as refused:
        DecisionLog(tmp_path / "log")
    assert "writable" in refused.value.fix


def test_a_damaged_log_is_said(tmp_path):
    """And is left as it is."""
    (tmp_path / "log").write_bytes(b"no database" * 100)
    with pytest.raises(RunError, match="cannot be read"):
        DecisionLog(tmp_path / "log")
    assert (tmp_path / "log").read_bytes().startswith(b"no database")


def test_a_log_of_a_later_release_is_refused(tmp_path):
    """Rather than misread."""
    connection = sqlite3.connect(tmp_path / "log")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RunError, match="has schema 99"):
        DecisionLog(tmp_path / "log", read_only=True)


def test_decisions_are_checked():
    """A class may be called as a command is: other:keep is a class."""
    classes = ("cat", "keep", "other:x")
    for each in ("accept", "keep", "exclude", "unsure", "other:keep", "other:other:x"):
        check_decision(each, classes)
    for each in ("", "Accept", "other:", "other:dog", "cat"):
        with pytest.raises(ParameterError):
            check_decision(each, classes)


def test_the_label_after_a_decision():
    """Given, suggested, another, none."""
    named = {"given": "cat", "suggested": "dog"}
    assert ["dog", "cat", "cat", None, "keep"] == [
        label_after(each, **named) for each in ("accept", "keep", "unsure", "exclude", "other:keep")
    ]
    with pytest.raises(ParameterError, match="no suggestion"):
        label_after("accept", given="cat", suggested=None)
