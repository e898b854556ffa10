"""The guard: who may ask, from where, and what nobody can make it say."""

import asyncio
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pictures
from reviewed import audit_table, run_of
from thresher.review.routes import routes
from thresher.review.session import Review

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


def every_request(review):
    """Every route of the application with every method of it, and what is no route."""
    for route in routes(review).routes:
        for method in (*sorted(route.methods), "PUT", "OPTIONS"):
            for name in ("review.css", "review.js", "nothing"):
                yield method, route.path.replace("{name}", name)
    yield from (("GET", route) for route in ROUTES)


@pytest.mark.parametrize("cookie", ["", "thresher-review-8765=guess; thresher-review-1=x"])
def test_without_the_cookie_every_route_is_closed(guarded, review, cookie):
    """A new one as well, by any method; nothing is given away in the refusal."""
    guard, browser = guarded
    asked = set(every_request(review))
    assert {("POST", "/api/undo"), ("GET", "/static/review.css"), ("HEAD", "/image")} <= asked
    for method, route in sorted(asked):
        headers = {**SAME, "cookie": cookie}
        answer = browser.request(method, route, json=ASKED, headers=headers)
        assert 403 == answer.status_code, (method, route)
        assert guard.token not in answer.text
        assert "set-cookie" not in answer.headers
    assert 0 == review.count()


FOREIGN = ["evil.test:8765", "127.0.0.1:1", "127.0.0.1", "localhost", "", "127.0.0.1:8765.evil"]


@pytest.mark.parametrize("host", FOREIGN)
def test_another_host_or_port_is_refused(opened, review, host):
    """A name that was bound to this machine anew is not ours, though it be one origin to itself."""
    for method, route in every_request(review):
        headers = {**SAME, "origin": f"http://{host}", "host": host}
        answer = opened.request(method, route, json=ASKED, headers=headers)
        assert 403 == answer.status_code, (method, route)
    assert 0 == review.count()


@pytest.mark.parametrize("host", FOREIGN)
def test_another_host_does_not_open_the_review(guarded, host):
    """Nor does it use up the token."""
    guard, browser = guarded
    address = f"/open?token={guard.token}"
    refused = browser.get(address, headers={"host": host})
    assert 403 == refused.status_code
    assert "set-cookie" not in refused.headers
    assert 303 == browser.get(address).status_code


def test_the_answers_to_an_opening_are_told_to_leave_no_referer(guarded):
    """The one address that holds the token: opened, looked at, used already, wrong."""
    guard, browser = guarded
    address = f"/open?token={guard.token}"
    answers = [browser.head(address), browser.get(address), browser.get(address)]
    answers += [browser.get("/open?token=x"), browser.post(address)]
    assert [200, 303, 403, 403, 403] == [each.status_code for each in answers]
    for each in answers:
        assert "no-referrer" == each.headers["referrer-policy"]
        assert "no-store" == each.headers["cache-control"]


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


PARTS = ("..", "%2e%2e", "%2F", "/", "etc", "passwd", "secret.png", "\\", "%00", "~", "é", "file:")


def asked_raw(app, path, query=b""):
    """An answer to a request line that no client has tidied up: status, type, content."""
    told = []
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [(b"host", HOST.encode())],
        "server": ("127.0.0.1", 8765),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        told.append(message)

    asyncio.run(app(scope, receive, send))
    headers = dict(told[0]["headers"])
    content = b"".join(each.get("body", b"") for each in told)
    return told[0]["status"], headers.get(b"content-type", b"").decode(), content


@pytest.fixture(scope="module")
def beside_a_secret(tmp_path_factory):
    """The application of a review whose audit names files outside the folder of its images."""
    root = tmp_path_factory.mktemp("review")
    secret = root / "secret.png"
    for path, seed in (
        (secret, 0),
        (root / "data" / "0.png", 1),
        (root / "data" / "x" / "1.png", 2),
    ):
        pictures.write(path, pictures.picture(seed))
    table = audit_table(rows=40, flagged=12)
    facts = table.schema.metadata
    outside = (str(secret), "../secret.png", "x/../../secret.png", "/etc/passwd", "//etc/passwd")
    paths = [f"{row}.png" if row < 35 else outside[row - 35] for row in range(40)]
    table = table.append_column("path", [paths]).replace_schema_metadata(facts)
    run = run_of(root / "run", table)
    run.write_settings({"fit": {"data": "../data"}, "run": {"thresher": "0"}})
    made = Review(run)
    yield routes(made), secret
    made.log.close()


@given(path=st.lists(st.sampled_from(PARTS), min_size=1, max_size=8).map("".join))
@settings(deadline=None, max_examples=100)
def test_no_address_reaches_a_file(beside_a_secret, path):
    """Samples are asked for by name, and the static files are two; dots are sent as they are."""
    app, secret = beside_a_secret
    absolute = str(secret)
    for address, query in (
        (f"/static/{path}", ""),
        (f"/static/{path}{absolute}", ""),
        (f"/{path}", ""),
        (path, ""),
        ("/image", f"sample_id={path}"),
        ("/image", f"sample_id={path}{absolute}"),
        (f"/image/{path}", "sample_id=sample/0"),
    ):
        status, kind, content = asked_raw(app, address, query.encode())
        assert status in (200, 307, 404), address
        assert status != 200 or (kind.startswith("text/html") and b"<title>Review" in content)
        assert b"root:" not in content
        assert b"PNG" not in content


@pytest.mark.parametrize("row", range(35, 38))
def test_a_path_of_the_audit_that_leads_out_of_the_data_is_not_followed(beside_a_secret, row):
    """Absolute, or with dots; the picture inside is shown."""
    app, _ = beside_a_secret
    status, _, content = asked_raw(app, "/image", b"sample_id=sample/0")
    assert (200, b"\x89PNG") == (status, content[:4])
    status, _, content = asked_raw(app, "/image", f"sample_id=sample/{row}".encode())
    assert 415 == status
    assert b"lies outside" in content
    assert b"PNG" not in content
