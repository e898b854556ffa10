"""What something costs in seconds, on the wall and of this process alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Clock"]


@dataclass
class Clock:
    """Seconds spent: `cpu` of this process alone, `wall` on the wall."""

    cpu: float = 0.0
    wall: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what happens inside."""
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            yield
        finally:
            self.cpu += time.process_time() - cpu
            self.wall += time.perf_counter() - wall

    def figures(self, of: str = "") -> dict[str, float]:
        """As figures of a line."""
        return {f"{of}cpu_seconds": self.cpu, f"{of}wall_seconds": self.wall}  # they are divided
