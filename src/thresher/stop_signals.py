"""Stop signals: Ctrl+C and SIGTERM stop a training between two steps, a second one at once.

    SIGINT   Python's own handler raises KeyboardInterrupt wherever the program is
    SIGTERM  `termination` makes it do the same for a command, and tells the two apart
    both     `stopping_between_steps`: the first one asks, the second one raises as before

In the middle of a step nothing can be saved: some of the weights are already new and the history
does not know of it. Handlers are those of the main thread; other threads and whoever has handlers
of their own keep what they have.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Termination", "stopping_between_steps", "termination"]


class Termination:
    """A handler of SIGTERM that raises KeyboardInterrupt, as Ctrl+C does.

    Attributes:
        received: Whether the signal came.
    """

    def __init__(self) -> None:
        self.received = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Called by the system's signal."""
        self.received = True
        raise KeyboardInterrupt


@contextmanager
def termination() -> Iterator[Termination]:
    """Let SIGTERM interrupt the block instead of ending the process where it is."""
    handler = Termination()
    if _in_main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, handler)
        try:
            yield handler
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    else:
        yield handler


@contextmanager
def stopping_between_steps(interrupt: Callable[[], None]) -> Iterator[None]:
    """Ask a training to stop when the first signal comes; after that, signals do as before.

    Args:
        interrupt: `Training.interrupt`.
    """
    before = {}
    if _in_main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if handler is signal.default_int_handler or isinstance(handler, Termination):
                before[number] = handler

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, frame: FrameType | None) -> None:
        put_back()
        handler = before[signal.Signals(number)]
        if isinstance(handler, Termination):
            handler.received = True
        interrupt()

    for number in before:
        signal.signal(number, ask)
    try:
        yield
    finally:
        put_back()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
