"""Reading by several processes: one of each machine decodes, the others map what it wrote.

scratch_folder   the run's state/, or on machines that do not see it a folder of their own
read_in_turns    first those that make copies, then the others; all have read the same
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from thresher.data import Samples
from thresher.decided import Applied
from thresher.errors import RunError
from thresher.process_group import Together
from thresher.run_folder import RunFolder

__all__ = ["Read", "Scratch", "read_in_turns", "scratch_folder"]


class Read(NamedTuple):
    """What a run has read.

    Attributes:
        samples: The training data.
        tested: Test data.
        auxiliary: Further data without labels.
        applied: What decisions of people came to.
    """

    samples: Samples
    tested: Samples | None
    auxiliary: Samples | None
    applied: Applied | None

    def fingerprints(self) -> tuple[str, str | None, str | None]:
        """Of training, test and further data."""
        tested, auxiliary = self.tested, self.auxiliary
        return (
            self.samples.fingerprint,
            None if tested is None else tested.fingerprint,
            None if auxiliary is None else auxiliary.fingerprint,
        )


@dataclass(frozen=True)
class Scratch:
    """Where a process finds copies of large inputs.

    Args:
        folder: Of all processes of a machine, or of all that share the run's file system.
        makes: Whether this process makes the copies; the others map them.
        in_memory: Bytes of decoded images of which there is no copy; None = the usual number.
    """

    folder: Path
    makes: bool = True
    in_memory: int | None = None


@contextmanager
def scratch_folder(folder: RunFolder, together: Together) -> Iterator[Scratch]:
    """The run's state/, or on machines that do not see it a folder of their own, removed after.

    Args:
        folder: Of the run.
        together: The processes; of several, all map one copy of decoded images, however small.
    """
    if together.first:
        folder.state.mkdir(exist_ok=True)
    if together.count == 1:
        yield Scratch(folder.state)
        return
    token = folder.state / together.from_first(lambda: secrets.token_hex(8))
    if together.first:
        token.touch()
    together.exchange(None)
    shared = token.is_file()
    together.exchange(None)
    if together.first:
        token.unlink()
    makes = together.first or (not shared and together.local_number == 0)
    with TemporaryDirectory(prefix="thresher-") if makes and not shared else nullcontext() as own:
        # processes of a machine have numbers in a row
        folders = together.exchange(own)
        leader = folders[together.number - together.local_number]
        yield Scratch(folder.state if shared or leader is None else Path(leader), makes, 0)


def read_in_turns(read: Callable[[], Read], scratch: Scratch, together: Together) -> Read:
    """Read on every process: first those that make copies of decoded images, then the others.

    Args:
        read: Reads all data of the run.
        scratch: Whose turn this process takes.
        together: All must call it.

    Raises:
        RunError: the processes have read different data.
    """
    found = together.in_turns(0 if scratch.makes else 1, 2 if together.count > 1 else 1, read)
    prints = found.fingerprints()
    for number, other in enumerate(together.exchange(prints)):
        if other != prints:
            raise RunError(
                f"Process {number} has read other data than process {together.number}.",
                "Give all machines the same files; data that change with every reading cannot be "
                "trained on together.",
            )
    return found
