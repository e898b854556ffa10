"""Server: the routes of the review, and the process that serves them.

    GET  /                the page          POST /api/decide   decisions, a batch each
    GET  /static/…        its style, code   POST /api/undo     take back the last batch
    GET  /image           of a sample       GET  /api/changes  what other tabs did
    GET  /api/run, /api/items, /api/undecided, /api/pairs, /api/pair

Samples are named by their identifier, never by a path. An answer is sent when it is true: of a
decision, when it is on the disk.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from thresher.decisions import Decided, DecisionLog, check_decision, label_after
from thresher.errors import DataError, ParameterError, RunError, ThresherError
from thresher.review.evidence import Shown
from thresher.review.guard import Guard
from thresher.review.queue import Item, Queue
from thresher.run_folder import RunFolder

__all__ = ["LOOPBACK", "Review", "ReviewServer"]

SCHEMA = 1
LOOPBACK = "127.0.0.1"
MOST_ITEMS = 200  # of one answer
MOST_DECIDED = 100_000  # samples of one batch
STATIC = {
    "review.css": "text/css; charset=utf-8",
    "review.js": "text/javascript; charset=utf-8",
}


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

    def decide(self, sample_ids: list[str], decision: str) -> dict[str, Any]:
        """Write a batch of equal decisions.

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
            seen = self._event
            decided = [self._decide(each, decision) for each in sample_ids]
            self.log.append(decided)
            self._take_over()
            return self._changes(seen)

    def undo(self) -> dict[str, Any]:
        """Take back the last batch.

        Raises:
            RunError: it cannot be written.
        """
        with self._lock:
            seen = self._event
            self.log.undo()
            self._take_over()
            return self._changes(seen)

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

    # ------------------------------------------------------------------ routes
    def routes(self) -> Starlette:
        """The application without its guard."""
        page = files("thresher.review").joinpath("page")

        async def shell(request: Request) -> Response:
            return Response(page.joinpath("review.html").read_bytes(), media_type="text/html")

        async def static(request: Request) -> Response:
            name = request.path_params["name"]
            if name not in STATIC:
                return refused(404, f'There is no file "{name}".', "Load the page again.")
            return Response(page.joinpath(name).read_bytes(), media_type=STATIC[name])

        async def image(request: Request) -> Response:
            found = await run_in_threadpool(
                self.shown.picture, request.query_params.get("sample_id", "")
            )
            if found is None:
                return refused(404, "No picture is kept of this sample.", "")
            kept = {"cache-control": "private, max-age=3600"}  # fetched ahead, shown later
            return Response(found[1], media_type=found[0], headers=kept)

        async def items(request: Request) -> Response:
            asked = request.query_params
            if "places" in asked:
                places = [whole(each) for each in asked["places"].split(",") if each]
            else:
                first = whole(asked.get("from", "0"))
                places = list(range(first, first + min(MOST_ITEMS, whole(asked.get("count", "1")))))
            return JSONResponse({"items": await run_in_threadpool(self.items, places)})

        async def undecided(request: Request) -> Response:
            asked = request.query_params
            start, end = whole(asked.get("from", "0")), whole(asked.get("until", "0"))
            return JSONResponse({"place": await run_in_threadpool(self.undecided, start, end)})

        async def pair(request: Request) -> Response:
            asked = request.query_params
            given, suggested = whole(asked.get("given", "")), whole(asked.get("suggested", ""))
            most = whole(asked.get("count", str(MOST_ITEMS)))
            return JSONResponse(await run_in_threadpool(self.pair, given, suggested, most))

        async def decide(request: Request) -> Response:
            asked = await body(request)
            samples = asked.get("sample_ids", [asked.get("sample_id")])
            decision = asked.get("decision")
            if (
                not isinstance(samples, list)
                or not all(isinstance(each, str) for each in samples)
                or not isinstance(decision, str)
            ):
                raise ParameterError(
                    "A decision names a sample_id, or sample_ids, and a decision.",
                    'Send {"sample_id": …, "decision": …}.',
                )
            return JSONResponse(await run_in_threadpool(self.decide, samples, decision))

        async def undo(request: Request) -> Response:
            await body(request)
            return JSONResponse(await run_in_threadpool(self.undo))

        async def changes(request: Request) -> Response:
            since = whole(request.query_params.get("since", "0"))
            return JSONResponse(await run_in_threadpool(self.changes, since))

        def answers(work: Callable[[], Any], name: str | None = None) -> Any:
            async def answer(request: Request) -> Response:
                found = await run_in_threadpool(work)
                return JSONResponse(found if name is None else {name: found})

            return answer

        async def explained(request: Request, error: Exception) -> Response:
            assert isinstance(error, ThresherError)
            status = (
                500 if isinstance(error, RunError) else 415 if request.url.path == "/image" else 400
            )
            return refused(status, error.cause, error.fix)

        return Starlette(
            routes=[
                Route("/", shell),
                Route("/static/{name}", static),
                Route("/image", image),
                Route("/api/run", answers(self.run)),
                Route("/api/items", items),
                Route("/api/undecided", undecided),
                Route("/api/pairs", answers(self.pairs, "pairs")),
                Route("/api/pair", pair),
                Route("/api/changes", changes),
                Route("/api/decide", decide, methods=["POST"]),
                Route("/api/undo", undo, methods=["POST"]),
            ],
            exception_handlers={ThresherError: explained},
        )


def refused(status: int, cause: str, fix: str) -> Response:
    """An error as the page shows it."""
    return JSONResponse({"error": cause, "fix": fix}, status)


def whole(text: str) -> int:
    """A whole number of a query.

    Raises:
        ParameterError: it is none.
    """
    try:
        return int(text)
    except ValueError as error:
        raise ParameterError(
            f'"{text[:40]}" is no whole number.', "Load the page again."
        ) from error


async def body(request: Request) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        ParameterError: it is none.
    """
    try:
        found = await request.json()
    except ValueError as error:
        raise ParameterError("The request is not JSON.", "Load the page again.") from error
    if not isinstance(found, dict):
        raise ParameterError("The request is no JSON object.", "Load the page again.")
    return found


# ---------------------------------------------------------------------- the process
class ReviewServer:
    """Serves one review until it is interrupted.

    Args:
        folder: A finished run with an audit.
        data: Folder of the images, when they have moved.
        host: Where to listen; anything but loopback is the caller's to warn of.
        port: 0 = any that is free.

    Raises:
        RunError: the run cannot be reviewed, or is being reviewed already.
        ParameterError: the port is taken, or the host is none of this machine.

    Attributes:
        review: Queue, evidence and decisions.
        url: Opens the review, once.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        data: Path | None = None,
        host: str = LOOPBACK,
        port: int = 0,
    ) -> None:
        self._lock = ReviewLock(folder)
        try:
            self._socket = listening(host, port)
            try:
                self.review = Review(folder, data)
            except BaseException:
                self._socket.close()
                raise
        except BaseException:
            self._lock.release()
            raise
        self.port: int = self._socket.getsockname()[1]
        names = {host, LOOPBACK, "localhost"} if host in (LOOPBACK, "localhost") else {host}
        hosts = frozenset(f"{name.lower()}:{self.port}" for name in names)
        self.address = f"http://{host}:{self.port}/"
        self.app = Guard(self.review.routes(), hosts)
        self.url = f"{self.address}open?token={self.app.token}"
        self._lock.tell(self.address)
        self.decided = 0  # samples, when it has ended

    def serve(self) -> None:
        """Serve until interrupted; KeyboardInterrupt is what ends it."""
        import uvicorn

        config = uvicorn.Config(
            self.app,
            access_log=False,  # an access log would hold the token
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=2,
            lifespan="off",
            loop="asyncio",
            http="h11",
        )
        try:
            uvicorn.Server(config).run(sockets=[self._socket])
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the port, the log and the lock."""
        self.decided = self.review.count()
        self._socket.close()
        self.review.log.close()
        self._lock.release()


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ParameterError: the port is taken or out of range, or the host is none of this machine.
    """
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen()
    except (OSError, OverflowError) as error:
        found.close()
        raise ParameterError(
            f"Cannot listen on {host}:{port}: {error}.", "Leave --port out to take a free one."
        ) from error
    return found


class ReviewLock:
    """One review at a time: a locked file in the run folder with the address of the one at work.

    The lock ends with the process, however that ends. File systems without locks have none.

    Raises:
        RunError: there is another one, or the folder cannot be written.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.path / ".review"
        try:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise RunError(
                f"Cannot write to {folder.path}: {os.strerror(error.errno or 0)}.",
                "Decisions are kept in the run folder: make it writable, or copy the run.",
            ) from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            address = os.read(self._handle, 1000).decode(errors="replace")
            os.close(self._handle)
            where = f" at {address}" if address else ""
            raise RunError(
                f"The run in {folder.path} is being reviewed already{where}.",
                "Go on there, or stop that review with Ctrl+C.",
            ) from error
        except OSError:
            pass

    def tell(self, address: str) -> None:
        """Write where the review is."""
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, address.encode(), 0)

    def release(self) -> None:
        """Let others review."""
        if self._handle >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = -1
