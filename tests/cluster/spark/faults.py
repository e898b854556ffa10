"""Tasks that fail, and workers that die, once."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager


def raising(attempt, partition):
    """Fail a task once."""
    if attempt == 0 and partition == 1:
        raise RuntimeError("on purpose")


def killed(attempt, partition):
    """Lose a worker once."""
    if attempt == 0 and partition == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def faulty(fault):
    """A step before ours, in whose worker a task fails at its first try, in every pass."""

    def step(batches):
        from pyspark import TaskContext

        context = TaskContext.get()
        for batch in batches:
            yield batch
            fault(context.attemptNumber(), context.partitionId())

    return step


class Faulty:
    """Work that fails once it is done, at the first try of a task."""

    def __init__(self, work, fault):
        self.work, self.fault = work, fault

    def __call__(self, task):
        from pyspark import TaskContext

        context = TaskContext.get()
        yield from self.work(task)
        self.fault(context.attemptNumber(), context.partitionId())


@contextmanager
def known_to_workers(spark):
    """What is above, sent to workers as a whole: they do not see the tests."""
    from pyspark import cloudpickle

    spark.sparkContext.pythonExec = sys.executable  # of a step that comes before ours
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
