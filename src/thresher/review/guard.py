"""Guard: only the browser that the review opened may ask, and only from the review's own page.

    /open?token=…  once → cookie → /
    all else       exact Host → cookie → for POST: same origin, JSON

A page of another site cannot read the answers, but it can send requests to this machine, and by
rebinding a name it can even be taken for the same origin. So the Host must be the one that was
served, to the port; the cookie is SameSite=Strict and carries the port in its name, since browsers
do not part cookies by port; and what changes something must come from the page itself.
"""

from __future__ import annotations

import json
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard"]

SAFE = ("GET", "HEAD")
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """Stands before the review's routes.

    Args:
        app: The routes.
        hosts: What the Host header may say, host and port.

    Attributes:
        token: Opens the review once: /open?token=…
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self.app = app
        self.hosts = hosts
        self.token: str | None = secrets.token_urlsafe(32)
        self._secret = secrets.token_urlsafe(32)
        port = sorted(hosts)[0].rpartition(":")[2]
        self.cookie = f"thresher-review-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no web sockets here
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(
                send, 403, {"error": refusal, "fix": "Open the address that was printed."}
            )
            return
        if scope["path"] == "/open":
            await self._open(scope, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                added = [each for each in HEADERS if each[0] not in own]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self.app(scope, receive, guarded)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> str | None:
        """Why a request is refused; None if it is not."""
        if headers.get("host", "").lower() not in self.hosts:
            return "This address is not the review's own."
        if scope["path"] == "/open":
            return None if scope["method"] in SAFE else "Only GET opens the review."
        if not self._known(headers.get("cookie", "")):
            return "This browser did not open the review."
        if scope["method"] in SAFE:
            return None
        if not self._same_origin(headers):
            return "The request came from another page."
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return "The request is not JSON."
        return None

    def _known(self, header: str) -> bool:
        try:
            morsel = SimpleCookie(header).get(self.cookie)
        except CookieError:
            return False
        return morsel is not None and secrets.compare_digest(
            morsel.value.encode(), self._secret.encode()
        )

    def _same_origin(self, headers: dict[str, str]) -> bool:
        site = headers.get("sec-fetch-site")
        if site is not None and site != "same-origin":
            return False
        origin = headers.get("origin")
        if origin is not None:
            return origin.lower() == f"http://{headers['host'].lower()}"
        return site == "same-origin"

    async def _open(self, scope: Scope, send: Send) -> None:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if self.token is None or not secrets.compare_digest(given.encode(), self.token.encode()):
            reason = "The address to open the review was used already, or is not complete."
            fix = "Stop the review with Ctrl+C and start it again for a new one."
            await _answer(send, 403, {"error": reason, "fix": fix})
            return
        if scope["method"] == "HEAD":  # a look, not an opening
            await _answer(send, 200, {})
            return
        self.token = None
        cookie = f"{self.cookie}={self._secret}; HttpOnly; SameSite=Strict; Path=/"
        await send(
            {
                "type": "http.response.start",
                "status": 303,
                "headers": [
                    (b"location", b"/"),
                    (b"set-cookie", cookie.encode("latin-1")),
                    (b"content-length", b"0"),
                    *HEADERS,
                ],
            }
        )
        await send({"type": "http.response.body", "body": b""})


async def _answer(send: Send, status: int, content: dict[str, str]) -> None:
    body = json.dumps(content).encode()
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                *HEADERS,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
