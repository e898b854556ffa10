"""Memory: what this process has held at most, and what it may still take."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["available_memory", "forget_peak", "held_mib", "peak_mib"]

MIB = 1 << 20


def peak_mib() -> float:
    """The most memory this process has held, in MiB, to one decimal.

    Linux's resource usage starts with what the parent held when it started us; its status does not.
    """
    peak = _kilobytes("/proc/self/status", "VmHWM:")
    if peak is None:
        import resource

        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak = usage // 1024 if sys.platform == "darwin" else usage
    return round(peak * 1024 / MIB, 1)


def held_mib() -> float:
    """The memory this process holds now, in MiB, to one decimal.

    The most so far, where only that is known.
    """
    now = _kilobytes("/proc/self/status", "VmRSS:")
    return peak_mib() if now is None else round(now * 1024 / MIB, 1)


def forget_peak() -> None:
    """Have `peak_mib` start again from what is held now, where the system can."""
    with suppress(OSError):  # of Linux alone, and not in every container
        Path("/proc/self/clear_refs").write_text("5")


def available_memory() -> int | None:
    """Bytes that this process may still take, or None where the system does not say."""
    found = []
    free = _kilobytes("/proc/meminfo", "MemAvailable:")
    if free is not None:
        found.append(free * 1024)
    try:
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            found.append(int(limit) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    if not found and hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found) if found else None


def _kilobytes(path: str, name: str) -> int | None:
    """A figure of one of Linux's files about memory, or None where there is none."""
    try:
        for line in Path(path).read_text(errors="replace").splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return None
