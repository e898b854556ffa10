"""What holds for all tests."""

from __future__ import annotations

import os
from pathlib import Path

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


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests in one process that share what is costly to make."""
    for item in items:
        for name in TOGETHER:
            if item.path.is_relative_to(TESTS / name):
                item.add_marker(pytest.mark.xdist_group(name))
                break
