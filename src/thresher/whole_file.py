"""A file appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from thresher.errors import RunError

__all__ = ["whole_file"]


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Hand out a temporary name beside ``path``; rename it there when the block ends well.

    The content is on the disk before the rename. After an error nothing is left, and a file that
    stood at ``path`` before is untouched. The temporary name is always the same, so that one left
    by a killed process is overwritten by the next.

    Raises:
        RunError: the file cannot be written; names the system's reason.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.partial")
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # some writers make files only their owner may read
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
    except (OSError, SafetensorError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else str(error)
        raise RunError(
            f"Cannot write {target}: {reason}.",
            "Free some space or choose a folder that can be written.",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
