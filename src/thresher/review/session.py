"""Session: the review of one run, between the page and the log of decisions.

    what is asked → queue.py, evidence.py → plain answers
    decisions → decisions.sqlite → what stands, by place

An answer is given when it is true: of a decision, when it is on the disk. Whatever other processes
append to the log is taken over before every answer.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from thresher.decisions import Decided, DecisionLog, check_decision, label_after
from thresher.errors import DataError, ParameterError, RunError
from thresher.review.evidence import Shown
from thresher.review.queue import Item, Queue
from thresher.run_folder import RunFolder

__all__ = ["MOST_ITEMS", "Review"]

SCHEMA = 1
MOST_ITEMS = 200  # of one answer
MOST_DECIDED = 100_000  # samples of one batch
REQUESTS_KEPT = 1000  # a page sends one after the other


class Review:
    """The review of one run: its queue, what is shown, and what is decided.

    Args:
        folder: A finished run with an audit.
        data: Folder of the images, when they have moved.

    Raises:
        RunError: the run is not finished, has no audit, or its folder cannot be written.
    """

    def __init__(self, folder: RunFolder, data: Path | None = None) -> None:
        self.folder = folder.require_complete()
        if not folder.audit.is_file():
            raise RunError(
                f"The run in {folder.path} holds no audit.parquet.", "Train again with an audit."
            )
        self.queue = Queue(folder.audit)
        self.shown = Shown(folder, self.queue, data)
        self.log = DecisionLog(folder.decisions)
        self._lock = threading.Lock()
        self._event = 0  # the newest event that is in what follows
        self._decisions: dict[int, Decided] = {}  # by place
        self._decided = np.zeros(len(self.queue), dtype=bool)
        self._answered: OrderedDict[str, int] = OrderedDict()  # request → the event before it
        self._take_over()

    # ------------------------------------------------------------------ answers
    def run(self) -> dict[str, Any]:
        """What the page begins with."""
        with self._lock:
            self._take_over()
            return {
                "schema": SCHEMA,
                "run": self.folder.path.resolve().name,
                "path": str(self.folder.path),
                "classes": list(self.queue.classes),
                "items": len(self.queue),
                "flagged": self.queue.flagged,
                "start": self._undecided(0, self.queue.flagged),
                **self._state(),
            }

    def items(self, places: list[int]) -> list[dict[str, Any]]:
        """The samples at these places, those that are none left out."""
        with self._lock:
            self._take_over()
            asked = [place for place in places[:MOST_ITEMS] if 0 <= place < len(self.queue)]
            self.queue.words(self._rows_beside(asked))  # read together what comes one by one
            return [self._described(self.queue.item(place)) for place in asked]

    def undecided(self, start: int, end: int) -> int | None:
        """The first place in [start, end) that nothing is decided of."""
        with self._lock:
            self._take_over()
            return self._undecided(max(0, start), min(end, len(self.queue)))

    def pairs(self) -> list[dict[str, int]]:
        """How many are flagged of each given class and suggested one, and how many decided."""
        with self._lock:
            self._take_over()
            return [
                {
                    "given": given,
                    "suggested": suggested,
                    "count": len(places),
                    "decided": int(self._decided[places].sum()),
                }
                for given, suggested, places in self.queue.pairs()
            ]

    def pair(self, given: int, suggested: int, most: int = MOST_ITEMS) -> dict[str, Any]:
        """The first undecided places of one pair, and how many there are."""
        with self._lock:
            self._take_over()
            places = self.queue.pair(given, suggested)
            places = places[~self._decided[places]]
            return {"places": places[:most].tolist(), "undecided": len(places)}

    def decide(
        self, sample_ids: list[str], decision: str, request: str | None = None
    ) -> dict[str, Any]:
        """Write a batch of equal decisions.

        Args:
            sample_ids: Different samples.
            decision: What is decided of each.
            request: A name that nobody else gives: when the answer was lost and the same is asked
                again under this name, it is not written a second time.

        Raises:
            DataError: a sample that the review does not show.
            ParameterError: an unknown decision, or a suggestion is accepted where there is none.
            RunError: it cannot be written.
        """
        check_decision(decision, self.queue.classes)
        if not 1 <= len(sample_ids) <= MOST_DECIDED or len(set(sample_ids)) < len(sample_ids):
            raise ParameterError(
                f"A batch holds 1 to {MOST_DECIDED:,} different samples, got {len(sample_ids):,}.",
                "Send each sample once.",
            )
        with self._lock:
            if request is not None and request in self._answered:
                return self._again(request)
            seen = self._event
            decided = [self._decide(each, decision) for each in sample_ids]
            self.log.append(decided)
            return self._done(request, seen)

    def undo(self, request: str | None = None) -> dict[str, Any]:
        """Take back the last batch.

        Args:
            request: As of `decide`.

        Raises:
            RunError: it cannot be written.
        """
        with self._lock:
            if request is not None and request in self._answered:
                return self._again(request)
            seen = self._event
            self.log.undo()
            return self._done(request, seen)

    def changes(self, since: int) -> dict[str, Any]:
        """What was decided and undone since an event."""
        with self._lock:
            self._take_over()
            return self._changes(since)

    def count(self) -> int:
        """How many samples are decided."""
        with self._lock:
            self._take_over()
            return int(self._decided.sum())

    # ------------------------------------------------------------------ within the lock
    def _done(self, request: str | None, seen: int) -> dict[str, Any]:
        """What a request has changed since an event."""
        if request is not None:
            self._answered[request] = seen
            if len(self._answered) > REQUESTS_KEPT:
                self._answered.popitem(last=False)
        self._take_over()
        return self._changes(seen)

    def _again(self, request: str) -> dict[str, Any]:
        """The answer to a request whose first answer was lost."""
        self._take_over()
        return self._changes(self._answered[request])

    def _take_over(self) -> None:
        """Read what was written to the log, by this process or another one."""
        newest = self.log.last_event()
        if newest == self._event:
            return
        if self._event:
            changed: Mapping[str, Decided | None] = self.log.changed_since(self._event)
        else:
            changed = self.log.current()
        for sample_id, decided in changed.items():
            place = self.queue.place_of(sample_id)
            if place is None:
                continue  # of a table that was made anew
            self._decided[place] = decided is not None
            if decided is None:
                self._decisions.pop(place, None)
            else:
                self._decisions[place] = decided
        self._event = newest

    def _state(self) -> dict[str, int]:
        return {
            "event": self._event,
            "decided": int(self._decided.sum()),
            "decided_flagged": int(self._decided[: self.queue.flagged].sum()),
        }

    def _changes(self, since: int) -> dict[str, Any]:
        changes = []
        for sample_id, decided in self.log.changed_since(since).items():
            place = self.queue.place_of(sample_id)
            if place is not None:
                changes.append(
                    {
                        "sample_id": sample_id,
                        "place": place,
                        "decision": None if decided is None else decided.decision,
                        "label": None if decided is None else decided.label,
                    }
                )
        return {**self._state(), "changes": changes}

    def _undecided(self, start: int, end: int) -> int | None:
        if start >= end:
            return None
        open_ = ~self._decided[start:end]
        return start + int(open_.argmax()) if open_.any() else None

    def _decide(self, sample_id: str, decision: str) -> Decided:
        place = self.queue.place_of(sample_id)
        if place is None:
            raise DataError(
                f'The run has no labelled sample "{sample_id}".', "Load the page again."
            )
        given, suggested = self.queue.labels(place)
        return Decided(sample_id, decision, label_after(decision, given=given, suggested=suggested))

    def _rows_beside(self, places: list[int]) -> set[int]:
        """The rows of samples and of what is shown beside them."""
        rows = set()
        for place in places:
            row, sample_id = self.queue.name_of(place)
            near = self.shown.evidence(sample_id).neighbours
            rows |= {row, *(self.queue.row_of(each.sample_id) for each in near)}
        return {row for row in rows if row is not None}

    def _described(self, item: Item) -> dict[str, Any]:
        evidence = self.shown.evidence(item.sample_id)
        decided = self._decisions.get(item.place)
        plain = asdict(item)
        del plain["row"]
        return {
            **plain,
            "why": item.why,
            "decision": None if decided is None else decided.decision,
            "label": None if decided is None else decided.label,
            "likely": self.shown.likely(item),
            "picture": self.shown.has_picture(item, evidence),
            "cells": dict(evidence.cells) or None,
            "history": None
            if evidence.history is None
            else np.rint(255 * evidence.history).astype(int).tolist(),
            "neighbours": [
                {**asdict(each), "picture": self._has_picture(each.sample_id)}
                for each in evidence.neighbours
            ],
        }

    def _has_picture(self, sample_id: str) -> bool:
        place = self.queue.place_of(sample_id)
        if place is None:
            return False
        return self.shown.has_picture(self.queue.item(place), self.shown.evidence(sample_id))
