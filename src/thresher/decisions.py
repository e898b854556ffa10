"""Decisions: what people said of the labels of a run, as an append-only log in its folder.

    review page → append, undo → decisions.sqlite → current → export, report, fit --decisions

A decision is one of

    accept          the suggested label is right
    keep            the given label is right
    other:<class>   another class is right
    exclude         the sample belongs to no class, or is of no use
    unsure          somebody looked, and could not tell

Nothing is ever changed or deleted in the log. Decisions that were taken together share a batch; to
undo is to append a row that names the batch it takes back. Every append is on the disk before it
returns.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from thresher.errors import ParameterError, RunError

__all__ = ["DECISIONS", "Decided", "DecisionLog", "check_decision", "label_after"]

#: The words that stand alone; `other:<class>` names a class as well.
DECISIONS = ("accept", "keep", "exclude", "unsure")
OTHER = "other:"

SCHEMA = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    batch INTEGER NOT NULL,       -- what was decided together
    sample_id TEXT,               -- NULL in a row that undoes
    decision TEXT,
    label TEXT,                   -- the label after the decision; NULL = none
    undoes INTEGER,               -- the batch that is taken back
    at TEXT NOT NULL              -- UTC, ISO 8601
);
CREATE INDEX IF NOT EXISTS by_sample ON events (sample_id);
CREATE INDEX IF NOT EXISTS by_batch ON events (batch);
CREATE INDEX IF NOT EXISTS by_undone ON events (undoes) WHERE undoes IS NOT NULL;
CREATE VIEW IF NOT EXISTS standing AS
    SELECT * FROM events AS event
    WHERE sample_id IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM events WHERE undoes = event.batch);
CREATE VIEW IF NOT EXISTS current AS
    SELECT * FROM standing AS event
    WHERE id = (SELECT max(id) FROM standing WHERE sample_id = event.sample_id);
"""


@dataclass(frozen=True)
class Decided:
    """One decision.

    Attributes:
        sample_id: Of the audit table.
        decision: One of the words above.
        label: The label of the sample after the decision: its given one for "keep" and "unsure",
            None for "exclude".
    """

    sample_id: str
    decision: str
    label: str | None


def check_decision(decision: str, classes: Sequence[str]) -> None:
    """Refuse what is no decision.

    Raises:
        ParameterError: an unknown word, or a class that the run does not have.
    """
    if decision in DECISIONS:
        return
    if not decision.startswith(OTHER):
        raise ParameterError(
            f'"{decision}" is no decision.', f"Allowed: {', '.join(DECISIONS)}, other:<class>."
        )
    if decision.removeprefix(OTHER) not in classes:
        raise ParameterError(
            f'The run has no class "{decision.removeprefix(OTHER)}".',
            "Name one of its classes, as other:<class>.",
        )


def label_after(decision: str, *, given: str | None, suggested: str | None) -> str | None:
    """The label of a sample after a decision; None where it has none.

    >>> label_after("accept", given="cat", suggested="dog")
    'dog'
    >>> label_after("other:fox", given="cat", suggested="dog")
    'fox'
    >>> label_after("unsure", given="cat", suggested="dog")
    'cat'

    Raises:
        ParameterError: a suggestion is accepted where there is none.
    """
    if decision == "accept":
        if suggested is None:
            raise ParameterError("There is no suggestion to accept.", "Name a class instead.")
        return suggested
    if decision.startswith(OTHER):
        return decision.removeprefix(OTHER)
    return None if decision == "exclude" else given


class DecisionLog:
    """The log of one run; may be used by several threads and processes at once.

    Args:
        path: The SQLite file; None = in memory.
        read_only: False makes the file where it is missing. True reads a log that is there, or one
            that is empty where it is not; nothing is written.

    Raises:
        RunError: the file cannot be opened or made, is damaged, or is of a later release.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self.path = path
        self._lock = threading.Lock()
        if path is None or (read_only and not path.exists()):
            where, fresh = "file::memory:", True
        else:
            mode = "ro" if read_only else "rwc"
            where, fresh = f"{path.absolute().as_uri()}?mode={mode}", not read_only
        with self._explained():
            self._connection = sqlite3.connect(
                where, uri=True, timeout=30, check_same_thread=False, isolation_level=None
            )
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA:
                raise RunError(
                    f"{path} has schema {version}; this release reads {SCHEMA}.",
                    "Use the release of thresher that wrote it.",
                )
            if fresh:
                # what is shown as saved is saved: no journal in memory, no write-ahead log, which
                # network disks do not lock
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.executescript(_TABLES)
                self._connection.execute(f"PRAGMA user_version = {SCHEMA}")

    def append(self, decided: Iterable[Decided]) -> int:
        """Write decisions that were taken together; they are on the disk when it returns.

        Returns:
            The number of the batch.

        Raises:
            RunError: the disk is full, or the file cannot be written.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._written() as connection:
            batch = self._next_batch()
            connection.executemany(
                "INSERT INTO events (batch, sample_id, decision, label, at) VALUES (?, ?, ?, ?, ?)",
                [(batch, each.sample_id, each.decision, each.label, now) for each in decided],
            )
        return batch

    def undo(self) -> tuple[str, ...]:
        """Take back what was decided last and still stands; what stood before stands again.

        Returns:
            The samples it was about; none where nothing is left to undo.

        Raises:
            RunError: the disk is full, or the file cannot be written.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._written() as connection:
            (last,) = connection.execute("SELECT max(batch) FROM standing").fetchone()
            if last is None:
                return ()
            found = connection.execute("SELECT sample_id FROM events WHERE batch = ?", (last,))
            samples = tuple(sample for (sample,) in found)
            connection.execute(
                "INSERT INTO events (batch, undoes, at) VALUES (?, ?, ?)",
                (self._next_batch(), last, now),
            )
        return samples

    def current(self) -> dict[str, Decided]:
        """What is decided now, by sample, in the order of deciding."""
        with self._lock, self._explained():
            rows = self._connection.execute(
                "SELECT sample_id, decision, label FROM current ORDER BY id"
            ).fetchall()
        return {row[0]: Decided(*row) for row in rows}

    def last_event(self) -> int:
        """The number of the newest event, 0 for none: whoever saw it has seen all."""
        with self._lock, self._explained():
            (last,) = self._connection.execute("SELECT max(id) FROM events").fetchone()
        return int(last or 0)

    def changed_since(self, event: int) -> dict[str, Decided | None]:
        """What became of the samples that were decided, or whose decision was undone, since.

        Args:
            event: From `last_event`.

        Returns:
            By sample its decision, None where it has none any more.
        """
        with self._lock, self._explained():
            rows = self._connection.execute(
                "SELECT DISTINCT touched.sample_id, current.decision, current.label"
                " FROM (SELECT sample_id FROM events WHERE id > :event AND sample_id IS NOT NULL"
                "       UNION SELECT sample_id FROM events WHERE batch IN"
                "             (SELECT undoes FROM events WHERE id > :event)) AS touched"
                " LEFT JOIN current ON current.sample_id = touched.sample_id",
                {"event": event},
            ).fetchall()
        return {row[0]: None if row[1] is None else Decided(*row) for row in rows}

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ the file
    def _next_batch(self) -> int:
        (last,) = self._connection.execute("SELECT max(batch) FROM events").fetchone()
        return int(last or 0) + 1

    @contextmanager
    def _written(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is written, or nothing."""
        with self._lock, self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            damaged = not isinstance(error, sqlite3.OperationalError)
            raise RunError(
                f"The decisions in {self.path} cannot be {'read' if damaged else 'used'}: {error}.",
                "Bring the file back from a copy, or move it away to begin anew."
                if damaged
                else "Free some space, or make the run folder writable.",
            ) from error
