"""Threads that pull numbered tasks, for kernels that do not hold the interpreter's lock.

What a task writes belongs to its number alone, so results do not depend on how many threads there
are. The calling thread works too: one job starts no thread at all. numba's own threads are not
used: they may not be entered from two Python threads, nor survive a fork.
"""

from __future__ import annotations

import itertools
import numbers
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from thresher.errors import ParameterError

__all__ = ["each", "jobs_of", "one_blas_thread"]


LIMITED = threading.Lock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Matrix products by one thread each, as the work is shared out to ours.

    The limit is the process's: whoever comes while another has it waits, so that what it was is put
    back in the right order.
    """
    from threadpoolctl import threadpool_limits

    with LIMITED, threadpool_limits(1, user_api="blas"):
        yield


def jobs_of(n_jobs: int | None) -> int:
    """Threads to use: None and -1 take every processor this process may use, -2 one less.

    Raises:
        ParameterError: n_jobs is 0, or no whole number.
    """
    if n_jobs is not None and (
        isinstance(n_jobs, bool) or not isinstance(n_jobs, numbers.Integral)
    ):
        raise ParameterError(
            f"n_jobs must be a whole number or None, got {n_jobs!r}.",
            "Use 1 for a single thread, -1 for all.",
        )
    processors = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if n_jobs is None:
        return processors
    if n_jobs == 0:
        raise ParameterError("n_jobs must not be 0.", "Use 1 for a single thread, -1 for all.")
    return int(n_jobs) if n_jobs > 0 else max(1, processors + 1 + int(n_jobs))


def each(
    task: Callable[[int], None],
    count: int,
    jobs: int,
    done: Callable[[float], None] | None = None,
) -> None:
    """Call ``task(i)`` for every i below ``count``, in order of their numbers, by ``jobs`` threads.

    Args:
        task: Is given its number.
        count: Tasks.
        jobs: Threads, the calling one among them.
        done: Is told the share of the tasks that have ended, in the calling thread.

    Raises:
        BaseException: what the first failing task raised, once all threads stand still.
    """
    numbers = itertools.count()  # next() is one step under the interpreter's lock
    failures: list[BaseException] = []
    ended = itertools.count(1)

    def work(tell: Callable[[float], None] | None) -> None:
        try:
            while not failures and (number := next(numbers)) < count:
                task(number)
                finished = next(ended)
                if tell is not None:
                    tell(finished / count)
        except BaseException as failure:  # KeyboardInterrupt must stop the others as well
            failures.append(failure)

    helpers: list[threading.Thread] = []
    for _ in range(min(jobs, count) - 1):
        helper = threading.Thread(target=work, args=(None,), daemon=True)
        try:
            helper.start()
        except RuntimeError:  # the system gives no more threads: fewer do
            break
        helpers.append(helper)
    work(done)
    try:
        for helper in helpers:
            helper.join()
    except BaseException as failure:  # an interrupt while others still work
        failures.append(failure)
    if failures:
        raise failures[0]
