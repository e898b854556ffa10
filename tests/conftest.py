"""What holds for all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# time is never asserted: an example may take as long as a busy machine needs
settings.register_profile("thresher", deadline=None)
settings.load_profile("thresher")

TESTS = Path(__file__).parent
TOGETHER = ("cluster/spark", "cluster")  # one session of Spark; kernels are compiled once

if "PYTEST_XDIST_WORKER" in os.environ:
    # as many processes as cores: threads of theirs would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def group_of(path: str) -> str:
    """What runs in one process, one after another: a file, or a folder that shares more."""
    return next((name for name in TOGETHER if path.startswith(f"tests/{name}/")), path)


@pytest.hookimpl(trylast=True)  # after the order has been shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process ends long after the others."""
    groups = [*TOGETHER, ""]

    def place(item: pytest.Item) -> int:
        group = group_of(item.nodeid)
        return groups.index(group if group in TOGETHER else "")

    items.sort(key=place)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep tests in one process that share what is costly to make."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid.partition("::")[0])

    return Groups(config, log)


@pytest.fixture
def plain_signals() -> Iterator[None]:
    """Handlers as a program starts with: PySpark has set its own, perhaps."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
