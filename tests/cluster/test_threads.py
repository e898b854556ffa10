"""Threads that pull numbered tasks: each done once, a failure stops all, none is left behind."""

from __future__ import annotations

import os
import threading

import pytest

from thresher.cluster.threads import each, jobs_of
from thresher.errors import ParameterError


@pytest.mark.parametrize("jobs", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 5, 300])
def test_every_task_is_done_once(jobs, count):
    done = [0] * count
    each(lambda i: done.__setitem__(i, done[i] + 1), count, jobs)
    assert [1] * count == done


def test_one_job_is_the_calling_thread_and_goes_in_order():
    """It starts no other."""
    seen = []
    each(lambda i: seen.append((i, threading.get_ident())), 4, 1)
    assert [(i, threading.get_ident()) for i in range(4)] == seen


def test_as_many_threads_work_as_there_are_jobs():
    """The calling one among them: all meet at a barrier."""
    meeting = threading.Barrier(3)
    names = set()

    def task(i):
        meeting.wait(10)
        names.add(threading.get_ident())

    each(task, 3, 3)
    assert 3 == len(names)
    assert threading.get_ident() in names


def test_no_thread_is_left_behind():
    """Nor more started than there are tasks."""
    before, most = threading.active_count(), []
    each(lambda i: most.append(threading.active_count()), 2, 50)
    assert max(most) <= before + 1
    assert before == threading.active_count()


@pytest.mark.parametrize("jobs", [1, 3])
def test_progress_is_told_in_the_calling_thread(jobs):
    """Shares rise, up to 1 where it works alone."""
    told = []
    each(lambda i: None, 50, jobs, lambda share: told.append((share, threading.get_ident())))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert all(0 < share <= 1 for share in shares)
    assert {threading.get_ident()} >= {who for _, who in told}
    if jobs == 1:
        assert [(i + 1) / 50 for i in range(50)] == shares


@pytest.mark.parametrize("jobs", [1, 2, 5])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_is_raised_once_all_stand_still(jobs, error):
    """The others take no further task; those after it are not begun."""
    begun = []

    def task(i):
        begun.append(i)
        if i == 3:
            raise error("the third")

    before = threading.active_count()
    with pytest.raises(error, match="the third"):
        each(task, 100_000, jobs)
    assert before == threading.active_count()
    assert len(begun) < 100_000


def test_a_failure_of_who_listens_stops_the_work():
    """A closed pipe, say."""
    with pytest.raises(BrokenPipeError):
        each(lambda i: None, 10, 1, lambda share: (_ for _ in ()).throw(BrokenPipeError()))


def test_fewer_threads_do_where_the_system_gives_no_more(monkeypatch):
    """The work is done by those there are."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = []
    each(done.append, 10, 4)
    assert list(range(10)) == done


def test_the_number_of_jobs_counts_from_the_end_as_joblib_does(monkeypatch):
    """-1 are all processors, -2 all but one, and never less than one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    wanted = [None, -1, -2, -8, -9, -100, 1, 3, 20]
    assert [8, 8, 7, 1, 1, 1, 1, 3, 20] == [jobs_of(n_jobs) for n_jobs in wanted]


def test_processors_are_counted_where_there_is_no_affinity(monkeypatch):
    """As on a Mac."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert 6 == jobs_of(None)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert 1 == jobs_of(-1)


@pytest.mark.parametrize("n_jobs", [0, 1.5, "2", True, float("nan")])
def test_no_number_of_jobs_is_refused(n_jobs):
    with pytest.raises(ParameterError, match=r"n_jobs must.*-1 for all"):
        jobs_of(n_jobs)
