"""Who makes a run's folder, and what becomes of it when the run is stopped or fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from thresher.data.cifar import find_cifar
from thresher.data.files import as_path, existing
from thresher.errors import ModelError, RunError
from thresher.job import Listener
from thresher.run_folder import RunFolder
from thresher.settings import MARKED, FitSettings

__all__ = ["Owner", "how_to_go_on", "new_folder"]


def new_folder(settings: FitSettings, out: str | Path | None, *, overwrite: bool) -> RunFolder:
    """Make the run folder, unless there is nothing to read."""
    named = (settings.data, settings.test, settings.auxiliary, settings.out_of_distribution)
    for path in named:
        if path is None or path == MARKED:
            continue
        if find_cifar(as_path(path)) is None:  # a file in an archive is none
            existing(Path(path))
    return (
        dated_folder(settings.data) if out is None else RunFolder.create(out, overwrite=overwrite)
    )


def dated_folder(named: str | Path | None) -> RunFolder:
    """Make runs/<date>-<name of the data>, with a number if that is taken."""
    name = Path(named).resolve().stem if named is not None else "arrays"
    base = Path("runs") / f"{time.strftime('%Y%m%d')}-{name}"
    number, path = 1, base
    while True:
        try:
            return RunFolder.create(path)
        except RunError:
            if not path.exists():
                raise  # for another reason than that the name is taken
        number += 1
        path = base.with_name(f"{base.name}-{number}")


def how_to_go_on(folder: RunFolder, settings: FitSettings) -> str:
    """The command that finishes a run, or the call where the data are arrays in memory."""
    if settings.data is None:
        return f"thresher.resume({str(folder.path)!r}, data=…) and the same arrays"
    return folder.command


@dataclass(frozen=True)
class Owner:
    """Who looks after a run folder: the first process; on the others all of this does nothing.

    Args:
        folder: The run.
        listener: Hears how to go on.
        command: How to go on.
        owns: Whether this process is the first.
    """

    folder: RunFolder
    listener: Listener
    command: str
    owns: bool

    def occupied(self) -> AbstractContextManager[None]:
        """`RunFolder.occupied`."""
        return self.folder.occupied() if self.owns else nullcontext()

    def removed(self) -> AbstractContextManager[None]:
        """`removed`."""
        return self._guarded(removed)

    def kept(self) -> AbstractContextManager[None]:
        """`kept`."""
        return self._guarded(kept)

    def kept_or_removed(self) -> AbstractContextManager[None]:
        """`kept_or_removed`."""
        return self._guarded(kept_or_removed)

    def _guarded(
        self, guard: Callable[[RunFolder, Listener, str], AbstractContextManager[None]]
    ) -> AbstractContextManager[None]:
        return guard(self.folder, self.listener, self.command) if self.owns else nullcontext()


@contextmanager
def removed(folder: RunFolder, listener: Listener, command: str) -> Iterator[None]:
    """Leave nothing of a run that did not come to train, except copies of large inputs."""
    try:
        yield
    except KeyboardInterrupt:
        if any(folder.state.iterdir()):
            listener.note(f"Interrupted. What was read is kept. Go on with: {command}")
        else:
            folder.remove()
        raise
    except BaseException:
        folder.remove()
        raise


@contextmanager
def kept(folder: RunFolder, listener: Listener, command: str) -> Iterator[None]:
    """Say how to go on when a run is stopped that can be finished."""
    try:
        yield
    except KeyboardInterrupt:
        listener.note(f"Interrupted. Go on with: {command}")
        raise
    except Exception as error:
        if folder.resumable and not isinstance(error, ModelError):
            listener.note(f"What was trained is kept. Go on with: {command}")
        raise


@contextmanager
def kept_or_removed(folder: RunFolder, listener: Listener, command: str) -> Iterator[None]:
    """After a new run's failure keep what can be finished, and nothing else."""
    try:
        with kept(folder, listener, command):
            yield
    except Exception as error:
        # of a loss that is no number, the same would come again
        if isinstance(error, ModelError) or not folder.resumable:
            folder.remove()
        raise
