"""What the commands print: results to standard output, all else to standard error.

Colour and progress bars only on a terminal; plain lines otherwise. NO_COLOR is honoured by rich.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

__all__ = ["Narrator", "console", "print_bytes", "print_json", "say", "say_error", "visible"]

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def console(*, stderr: bool = True) -> Console:
    """A rich console that neither guesses markup nor highlights what users wrote."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    # what is piped is read by programs: nothing is cut to the width of a screen
    width = None if stream.isatty() else 1000
    return Console(stderr=stderr, markup=False, highlight=False, soft_wrap=True, width=width)


def visible(text: str) -> str:
    r"""Write out control characters: a class name must not steer a terminal or break a line.

    >>> print(visible("cat\x1b[31m"))
    cat\x1b[31m
    """
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(sentence: str) -> None:
    """A line to standard error."""
    print(visible(sentence), file=sys.stderr, flush=True)


def say_error(cause: str, fix: str) -> None:
    """One line of cause, one line of fix."""
    say(f"thresher: {cause}")
    if fix:
        say(f"          {fix}")


def print_bytes(content: bytes | memoryview) -> None:
    """Content on standard output, to its last byte.

    Where the stream is not buffered, as with PYTHONUNBUFFERED, a disk that fills up takes a part of
    it and says so at the next write only.
    """
    sys.stdout.flush()
    rest = memoryview(content)
    while rest:
        rest = rest[sys.stdout.buffer.write(rest) :]


def print_json(value: Mapping[str, Any]) -> None:
    """One object on standard output, in ASCII: it is right in every encoding."""
    print_bytes(json.dumps(value).encode() + b"\n")


class Narrator:
    """Tells how a run goes: a progress bar on a terminal, a line an epoch otherwise.

    Args:
        title: What is being trained.
    """

    def __init__(self, title: str = "training") -> None:
        self.title = title
        self._bar: tuple[Progress, TaskID] | None = None
        self._terminal = sys.stderr.isatty()
        self._quarter = 0  # of the images read

    def note(self, sentence: str) -> None:
        """Something that must be said aloud."""
        self.close()
        say(f"note: {sentence}")

    def reading(self, done: int, total: int) -> None:
        """So many of all images are decoded: a bar on a terminal, a line a quarter otherwise."""
        if not self._terminal:
            quarter = 4 * done // total
            if quarter > self._quarter:
                say(f"reading {done:,} of {total:,} images")
            self._quarter = quarter if done < total else 0
            return
        if self._bar is None:
            self._bar = self._open(total, "reading")
        progress, task = self._bar
        progress.update(task, completed=done)
        if done == total:
            self.close()

    def epoch(self, number: int, epochs: int, metrics: Mapping[str, Any]) -> None:
        """An epoch (from 1) has ended."""
        words = describe(metrics)
        if not self._terminal:
            say(f"epoch {number}/{epochs}  {words}")
            return
        if self._bar is None:
            self._bar = self._open(epochs, self.title)
        progress, task = self._bar
        progress.update(task, completed=number, words=words)
        if number == epochs:
            self.close()

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None

    def _open(self, total: int, title: str) -> tuple[Progress, TaskID]:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Remaining(),
            TextColumn("{task.fields[words]}"),
            console=console(),
        )
        progress.start()
        return progress, progress.add_task(title, total=total, words="")


def describe(metrics: Mapping[str, Any]) -> str:
    """The few numbers of an epoch that people watch.

    >>> describe({"loss": 0.51234, "trained_accuracy": 0.8, "seconds": 1.5})
    'loss 0.512  given labels 80.0 %'
    """
    words = [f"loss {metrics['loss']:.3f}"]
    for name, title in (
        ("trained_accuracy", "given labels"),
        ("held_out_accuracy", "held out"),
        ("test_accuracy", "test"),
    ):
        if name in metrics:
            words.append(f"{title} {100 * metrics[name]:.1f} %")
    return "  ".join(words)
