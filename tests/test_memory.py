"""What the system says of memory."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from thresher.memory import available_memory, forget_peak, held_mib, peak_mib


def files(monkeypatch, contents):
    """Let some files of the system read so, and no others be there."""

    def read(path, *arguments, **options):
        if str(path) not in contents:
            raise FileNotFoundError(path)
        return contents[str(path)]

    monkeypatch.setattr(Path, "read_text", read)


def test_available_memory_is_the_least_that_machine_and_container_leave(monkeypatch):
    """The kernel's figure, or the limit of the container less what it holds."""
    machine = {"/proc/meminfo": "MemTotal: 900 kB\nMemAvailable:   800 kB\n"}
    files(monkeypatch, machine)
    assert 800 * 1024 == available_memory()
    group = {"/sys/fs/cgroup/memory.max": "500000\n", "/sys/fs/cgroup/memory.current": "100000\n"}
    files(monkeypatch, machine | group)
    assert 400_000 == available_memory()
    files(monkeypatch, machine | group | {"/sys/fs/cgroup/memory.max": "max\n"})
    assert 800 * 1024 == available_memory()


def test_pages_are_counted_where_there_are_no_files(monkeypatch):
    files(monkeypatch, {})
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_AVPHYS_PAGES": 10}.get(name, 4096))
    monkeypatch.setattr(os, "sysconf_names", {"SC_AVPHYS_PAGES": 1, "SC_PAGE_SIZE": 2})
    assert 40_960 == available_memory()


def test_where_the_system_does_not_say_nothing_is_known(monkeypatch):
    files(monkeypatch, {})
    monkeypatch.setattr(os, "sysconf_names", {})
    assert available_memory() is None


def test_the_peak_is_that_of_this_process_alone():
    """It holds what was held once, and not what the parent held."""
    kept = np.ones(200 << 17)  # 200 MiB
    assert peak_mib() > 200
    code = "from thresher.memory import peak_mib; print(peak_mib())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert 1 < float(told.stdout) < 200
    assert len(kept)


def test_without_the_file_of_the_system_its_resource_usage_counts(monkeypatch):
    files(monkeypatch, {})
    assert peak_mib() > 10


def test_what_is_held_is_never_more_than_the_peak():
    """Also when the peak starts again; 64 MiB that are written to are seen in it."""
    forget_peak()
    before = held_mib()
    block = np.ones(64 << 17)
    assert peak_mib() >= before + 60
    assert peak_mib() >= held_mib() > 0
    assert block[-1] == 1
