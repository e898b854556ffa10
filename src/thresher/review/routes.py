"""Routes: what the page may ask for, and in what form it is answered.

    GET  /                the page          POST /api/decide   decisions, a batch each
    GET  /static/…        its style, code   POST /api/undo     take back the last batch
    GET  /image           of a sample       GET  /api/changes  what other tabs did
    GET  /api/run, /api/items, /api/undecided, /api/pairs, /api/pair

Samples are named by their identifier, never by a path. A decision may bear a name of its own,
{"sample_id": …, "decision": …, "request": …}, and an undo {"request": …}: when its answer is lost
and it is sent again, it is applied once.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from thresher.errors import ParameterError, RunError, ThresherError
from thresher.review.session import MOST_ITEMS, Review

__all__ = ["routes"]

LONGEST_NAME = 100  # of a request
STATIC = {
    "review.css": "text/css; charset=utf-8",
    "review.js": "text/javascript; charset=utf-8",
}


def routes(review: Review) -> Starlette:
    """The application without its guard.

    Args:
        review: What answers.
    """
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
            review.shown.picture, request.query_params.get("sample_id", "")
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
        return JSONResponse({"items": await run_in_threadpool(review.items, places)})

    async def undecided(request: Request) -> Response:
        asked = request.query_params
        start, end = whole(asked.get("from", "0")), whole(asked.get("until", "0"))
        return JSONResponse({"place": await run_in_threadpool(review.undecided, start, end)})

    async def pair(request: Request) -> Response:
        asked = request.query_params
        given, suggested = whole(asked.get("given", "")), whole(asked.get("suggested", ""))
        most = whole(asked.get("count", str(MOST_ITEMS)))
        return JSONResponse(await run_in_threadpool(review.pair, given, suggested, most))

    async def decide(request: Request) -> Response:
        asked = await body(request)
        samples = asked.get("sample_ids", [asked.get("sample_id")])
        decision = asked.get("decision")
        name = name_of(asked)
        if (
            not isinstance(samples, list)
            or not all(isinstance(each, str) for each in samples)
            or not isinstance(decision, str)
        ):
            raise ParameterError(
                "A decision names a sample_id, or sample_ids, and a decision.",
                'Send {"sample_id": …, "decision": …}.',
            )
        return JSONResponse(await run_in_threadpool(review.decide, samples, decision, name))

    async def undo(request: Request) -> Response:
        name = name_of(await body(request))
        return JSONResponse(await run_in_threadpool(review.undo, name))

    async def changes(request: Request) -> Response:
        since = whole(request.query_params.get("since", "0"))
        return JSONResponse(await run_in_threadpool(review.changes, since))

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
            Route("/api/run", answers(review.run)),
            Route("/api/items", items),
            Route("/api/undecided", undecided),
            Route("/api/pairs", answers(review.pairs, "pairs")),
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


def name_of(asked: dict[str, Any]) -> str | None:
    """The name that a request bears, so that it can be sent again.

    Raises:
        ParameterError: it is no short text.
    """
    name = asked.get("request")
    if name is None or (isinstance(name, str) and 1 <= len(name) <= LONGEST_NAME):
        return name
    raise ParameterError(
        f"The name of a request is a text of 1 to {LONGEST_NAME} characters.",
        "Leave it out, or give each request a new one.",
    )


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
