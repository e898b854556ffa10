"""What Spark has measured of a group of jobs: bytes shuffled, seconds, tasks that failed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["Phases"]


class Phases:
    """Times the phases of a run, and asks Spark what their jobs have moved.

    Args:
        spark: Its session.
        tell: Is told a line as a phase begins, with the address of Spark's page.
    """

    def __init__(self, spark: SparkSession, tell: Any = None) -> None:
        self.spark, self.context = spark, spark.sparkContext
        self._tell = tell or (lambda line: None)
        self.seconds: dict[str, float] = {}
        self.shuffled: dict[str, int] = {}
        self.failed_tasks = 0
        self._working: tuple[str, float] | None = None  # of the driver, and since when

    def figures(self) -> dict[str, Any]:
        """What Spark and the clock say of all phases so far, as statistics."""
        return {
            "shuffle_bytes": sum(self.shuffled.values()),
            "failed_tasks": self.failed_tasks,
            "seconds": self.seconds,
        }

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A phase, whose jobs are those that begin within it."""
        self._end_work()
        context = self.context
        page = context.uiWebUrl
        self._tell(f"{name} ({page})" if page else name)
        group, began = f"thresher-{uuid4().hex}", time.perf_counter()
        context.setJobGroup(group, f"thresher: {name}")
        try:
            yield
        finally:
            self._add_seconds(name, began)
            for stage in self._stages(group):
                self.shuffled[name] = self.shuffled.get(name, 0) + stage.shuffleWriteBytes()
                self.failed_tasks += stage.numFailedTasks()
            for name_of in ("spark.jobGroup.id", "spark.job.description"):
                context.setLocalProperty(name_of, None)  # type: ignore[arg-type]

    def __call__(self, name: str, share: float) -> None:
        """So much of what the driver does is done, 0 to 1: a phase without jobs begins with 0."""
        if share == 0:
            self._end_work()
            self._tell(name)
            self._working = name, time.perf_counter()
        elif share >= 1 and self._working is not None and self._working[0] == name:
            self._end_work()

    def _end_work(self) -> None:
        if self._working is not None:
            self._add_seconds(*self._working)
            self._working = None

    def _add_seconds(self, name: str, began: float) -> None:
        """A phase may come more than once."""
        passed = self.seconds.get(name, 0.0) + time.perf_counter() - began
        self.seconds[name] = round(passed, 3)

    def _stages(self, group: str) -> Iterator[Any]:
        """Spark's own figures of the stages of a group of jobs.

        A session that has run thousands of stages forgets the oldest: they count nothing.
        """
        from py4j.protocol import Py4JJavaError

        context = self.context
        tracker, store = context.statusTracker(), context._jsc.sc().statusStore()
        seen: set[int] = set()
        for job in tracker.getJobIdsForGroup(group):
            found = tracker.getJobInfo(job)
            seen.update(found.stageIds if found is not None else ())
        for number in sorted(seen):
            try:
                stage = store.lastStageAttempt(number)
            except Py4JJavaError:
                continue
            yield stage
