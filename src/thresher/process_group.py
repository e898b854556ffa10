"""Processes that torchrun or `accelerate launch` started together, and what they agree on.

    launched?  → a process group: gloo for the CPU, nccl beside it for GPUs, one for each process
    waiting    → for one process that reads or writes, however long that takes
    leaving    → before one process goes on alone
    failing    → the first process to fail speaks, the others end silently

Torch is imported when there is a group to make: the command line asks who speaks before that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from thresher.errors import ParameterError, RunError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

__all__ = ["ALONE", "Together", "first_to_fail", "is_first", "joined", "launched"]

WAITING = timedelta(days=7)  # for one process that decodes images; those that die are noticed
CLEARING = timedelta(seconds=10)  # for what a failed run leaves behind
# in the launcher's store
FAILURES = "thresher/failures"  # how many processes have failed
CLEARED = "thresher/cleared"  # that the first has left nothing behind

T = TypeVar("T")


def launched() -> int:
    """How many processes a launcher started together; 1 without one."""
    named = all(name in os.environ for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"))
    size = os.environ.get("WORLD_SIZE", "1")
    return int(size) if named and size.isdecimal() else 1


def is_first() -> bool:
    """Whether this process is the one that prints and writes."""
    return launched() == 1 or os.environ["RANK"] == "0"


@dataclass(frozen=True)
class Together:
    """The processes of a run.

    Args:
        number: Which one this is, from 0.
        count: How many there are.
        local_number: Which one of this machine's.
        waiting: The group for exchanges that may take long; None with one process.
        made: Whether the group was made here, and is to end when the training does.
    """

    number: int = 0
    count: int = 1
    local_number: int = 0
    waiting: ProcessGroup | None = None
    made: bool = False

    @property
    def first(self) -> bool:
        """Whether this process writes, prints and is asked."""
        return self.number == 0

    def exchange(self, value: T) -> list[T]:
        """What every process has to tell, in their order; all must call it."""
        if self.count == 1:
            return [value]
        import torch.distributed as dist

        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, value, group=self.waiting)
        return found

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, on every process; all must call it."""
        return self.exchange(make() if self.first else None)[0]  # type: ignore[return-value]

    def in_turns(self, turn: int, turns: int, work: Callable[[], T]) -> T:
        """Do this process's work in its turn, when all processes of earlier turns are done."""
        for number in range(turns):
            if number == turn:
                done = work()
            self.exchange(None)
        return done

    def leave(self) -> None:
        """End the group: from here on every process goes on alone, and may end.

        A group that the caller of `joined` made is left as it is.
        """
        if not self.made:
            return
        import torch.distributed as dist

        if dist.is_initialized():
            self.exchange(None)
            dist.destroy_process_group()


#: One process, of no launcher.
ALONE = Together()


@contextmanager
def joined(device: str) -> Iterator[Together]:
    """Make the group that a launcher has foreseen, and end it; alone without one.

    A group that the caller made before is used, and left to the caller.

    Args:
        device: "cpu", "cuda", "auto".

    Raises:
        ParameterError: more processes than GPUs on a machine, or one GPU named for all.
        RunError: another process ended meanwhile.
    """
    if launched() == 1 and not _there():
        yield ALONE
        return
    import torch.distributed as dist

    made = not _there()
    try:
        together = _group(device)
        yield together
    except BaseException as error:
        first_to_fail()  # before the others see that this process has left them
        if made and dist.is_initialized() and dist.get_backend() == "gloo":
            dist.destroy_process_group()  # its threads would end the interpreter with a crash
        _wait_for_the_first()
        # of torch.distributed, which has no class for a lost peer
        if isinstance(error, RuntimeError) and _of_exchange(error):
            raise RunError(
                "Another process of this training ended.",
                "Its own message says why; one that was killed says nothing: look at the memory of "
                "its machine.",
            ) from error
        raise
    else:
        together.leave()


def _there() -> bool:
    """Whether a group is there, without importing torch to find out that there is none."""
    import sys

    if "torch" not in sys.modules:
        return False
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def _group(device: str) -> Together:
    import torch
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    local = int(os.environ.get("LOCAL_RANK", "0"))
    gpus = device != "cpu" and torch.cuda.is_available()
    if gpus:
        _refuse_shared_gpu(device, local, torch.cuda.device_count())
        torch.cuda.set_device(local)
    made = not dist.is_initialized()
    if made:
        try:
            store, number, count = next(rendezvous("env://"))
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if gpus else "gloo", store=store, rank=number, world_size=count
            )
        except RuntimeError as error:
            place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            raise RunError(
                f"The processes could not meet at {place}: {str(error).splitlines()[0]}",
                "Let a launcher start them (torchrun, accelerate launch), on machines that reach "
                "each other.",
            ) from error
        _STORES.append(store)
    waiting = dist.new_group(backend="gloo", timeout=WAITING)
    return Together(dist.get_rank(), dist.get_world_size(), local, waiting, made)


#: The launcher's store, once it is there: what is left to processes whose group has broken.
_STORES: list[Any] = []


def _refuse_shared_gpu(device: str, local: int, count: int) -> None:
    if device not in ("auto", "cuda"):
        raise ParameterError(
            f'The device "{device}" is one for all processes; each takes a GPU of its own.',
            "Use --device cuda, or leave it out.",
        )
    if local >= count:
        raise ParameterError(
            f"Process {local} of this machine finds {count} GPUs.",
            f"Start {count} processes on it (--nproc-per-node {count}), or use --device cpu.",
        )


def _wait_for_the_first() -> None:
    """Let the first process clear up: when one ends, launchers kill the others at once."""
    if not _STORES:
        return
    with suppress(RuntimeError):  # whoever keeps the store may have ended
        if is_first():
            _STORES[0].set(CLEARED, "1")
        else:
            _STORES[0].wait([CLEARED], CLEARING)


def _of_exchange(error: RuntimeError) -> bool:
    import torch.distributed as dist

    if isinstance(error, dist.DistError):
        return True
    text = str(error)
    return "gloo" in text or "Connection closed by peer" in text or "Connection reset" in text


@cache
def first_to_fail() -> bool:
    """Whether this process is the first of those launched together to fail.

    The first answer stands: to be asked when it has failed.
    """
    if launched() == 1:
        return True
    if not _STORES:  # failed before they met, of what all of them were given alike
        return is_first()
    try:
        return int(_STORES[0].add(FAILURES, 1)) == 1
    except RuntimeError:  # whoever kept the store has ended, and said why
        return False
