"""A folder that one process holds: meanwhile no other one writes to it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thresher.errors import RunError

__all__ = ["held_folder"]


@contextmanager
def held_folder(path: Path, taken: RunError) -> Iterator[None]:
    """Hold a folder until the block ends, or the process does, however it does.

    File systems without locks have no hold.

    Args:
        path: The folder.
        taken: What is raised where another process holds it.

    Raises:
        RunError: `taken`.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise taken from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)
