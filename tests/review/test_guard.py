"""The guard: who may ask, from where, and what nobody can make it say."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from thresher.review.routes import routes

HOST = "127.0.0.1:8765"
SAME = {"sec-fetch-site": "same-origin"}
ASKED = {"sample_id": "sample/0", "decision": "keep"}
ROUTES = (
    "/",
    "/static/review.js",
    "/image?sample_id=sample/0",
    "/api/run",
    "/api/items?from=0&count=1",
    "/api/undecided?from=0&until=9",
    "/api/pairs",
    "/api/pair?given=0&suggested=1",
    "/api/changes?since=0",
    "/nothing",
)


@pytest.fixture
def opened(guarded):
    """A browser that has opened the review."""
    guard, browser = guarded
    assert 303 == browser.get(f"/open?token={guard.token}").status_code
    return browser


def test_the_token_opens_once_and_becomes_a_cookie(guarded):
    """HttpOnly, SameSite=Strict, with the port in its name; the address afterwards is clean."""
    guard, browser = guarded
    address = f"/open?token={guard.token}"
    assert 200 == browser.head(address).status_code  # a look does not use it up
    answer = browser.get(address)
    assert "/" == answer.headers["location"]
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("thresher-review-8765=")
    for word in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert word in cookie
    assert guard.token is None
    again = browser.get(address)
    assert 403 == again.status_code
    assert "used already" in again.json()["error"]
    assert 200 == browser.get("/api/run").status_code


@pytest.mark.parametrize("token", ["", "x", "%00", "é"])
def test_a_wrong_token_opens_nothing(guarded, token):
    """And does not use up the right one."""
    guard, browser = guarded
    assert 403 == browser.get("/open", params={"token": token}).status_code
    assert 303 == browser.get(f"/open?token={guard.token}").status_code


@pytest.mark.parametrize("route", ROUTES)
def test_without_the_cookie_every_route_is_closed(guarded, route):
    """And nothing is given away in the refusal."""
    guard, browser = guarded
    answer = browser.get(route)
    assert 403 == answer.status_code
    assert guard.token not in answer.text
    assert 403 == browser.post("/api/decide", json=ASKED, headers=SAME).status_code
    forged = {"cookie": "thresher-review-8765=guess; thresher-review-1=x"}
    assert 403 == browser.get(route, headers=forged).status_code


@pytest.mark.parametrize(
    "host", ["evil.test:8765", "127.0.0.1:1", "127.0.0.1", "localhost", "", "127.0.0.1:8765.evil"]
)
def test_another_host_or_port_is_refused(opened, host):
    """A name that was bound to this machine anew is not ours."""
    for route in ROUTES:
        assert 403 == opened.get(route, headers={"host": host}).status_code


def test_localhost_is_another_name_of_it(opened):
    """With the cookie, which a browser would keep for that name alone."""
    cookie = f"thresher-review-8765={opened.cookies['thresher-review-8765']}"
    answer = opened.get("/api/run", headers={"host": "localhost:8765", "cookie": cookie})
    assert 200 == answer.status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "null"},
        {"origin": "http://evil.test"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "https://127.0.0.1:8765"},
        {"sec-fetch-site": "same-origin", "origin": "null"},
        {},
    ],
)
def test_what_another_page_sends_changes_nothing(opened, review, headers):
    """Cross-site, of a sandboxed frame, without a sign of where it comes from."""
    assert 403 == opened.post("/api/decide", json=ASKED, headers=headers).status_code
    assert 403 == opened.post("/api/undo", json={}, headers=headers).status_code
    assert 0 == review.count()


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""]
)
def test_a_form_changes_nothing(opened, review, kind):
    """Only JSON is heard, which no page can send to another origin unasked."""
    answer = opened.post(
        "/api/decide",
        content=b'{"sample_id": "sample/0", "decision": "keep"}',
        headers={**SAME, "content-type": kind},
    )
    assert 403 == answer.status_code
    assert 0 == review.count()


@pytest.mark.parametrize("headers", [SAME, {"origin": f"http://{HOST}"}])
def test_the_page_itself_is_heard(opened, review, headers):
    """By either sign."""
    assert 200 == opened.post("/api/decide", json=ASKED, headers=headers).status_code
    assert 1 == review.count()


@pytest.mark.parametrize("route", ROUTES)
def test_every_answer_is_told_how_it_may_be_used(opened, route):
    """No frame, no other origin, no guess at its type, nothing in a Referer."""
    headers = opened.get(route).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "nosniff" == headers["x-content-type-options"]
    assert "no-referrer" == headers["referrer-policy"]
    assert "access-control-allow-origin" not in headers


@given(
    path=st.lists(
        st.sampled_from(["..", "%2e%2e", "%2F", "/", "etc", "passwd", "\\", "%00", "~", "é"]),
        min_size=1,
        max_size=8,
    ).map("".join)
)
@settings(deadline=None, max_examples=60)
def test_no_address_reaches_a_file(path):
    """Samples are asked for by name, and the static files are two."""
    nothing = SimpleNamespace(shown=SimpleNamespace(picture=lambda sample_id: None))
    nothing.run = nothing.pairs = lambda: {}
    app = routes(nothing)
    with TestClient(app, base_url=f"http://{HOST}", raise_server_exceptions=False) as browser:
        for address in (f"/static/{path}", f"/image?sample_id={path}", f"http://{HOST}/{path}"):
            answer = browser.get(address)
            assert isinstance(answer.content, bytes)
            assert b"root:" not in answer.content
            assert answer.status_code in (200, 307, 404)
            if answer.status_code == 200:
                assert answer.headers["content-type"].startswith("text/html")
