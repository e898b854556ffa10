"""The page in a browser: keys decide, nothing is lost or pretended, hostile text is only text."""

import re
import shutil
import threading
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from reviewed import audit_table, run_of
from thresher.audit.evidence_file import Evidence, Neighbour, write_evidence
from thresher.review.guard import Guard
from thresher.review.routes import routes
from thresher.review.server import LOOPBACK, listening
from thresher.review.session import Review

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: the extra test")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: make browser")

HOSTILE = ("<img src=x onerror=alert(1)>", "1", "k", "accept", "\u202e</option>", "Enter", " ", "9")
MARKUP = "<img src='http://other.test/x'><script>alert(1)</script>\"'&amp;"
FORTY = tuple(f"class {number:02d}" for number in range(40))


@dataclass
class Site:
    """A review that is served, and the tabs that look at it."""

    review: Review
    guard: Guard
    origin: str
    context: object
    expected: str = ""  # what a trouble may say in this test
    troubles: list = field(default_factory=list)  # of the consoles
    dialogs: list = field(default_factory=list)
    asked: list = field(default_factory=list)  # addresses
    received: list = field(default_factory=list)  # headers of every request

    def tab(self, path="/"):
        """Another tab; the first one opens the review."""
        page = self.context.new_page()
        page.set_default_timeout(10_000)

        def heard(dialog):
            self.dialogs.append(dialog.type)
            dialog.dismiss()

        page.on("console", lambda said: said.type == "error" and self.troubles.append(said.text))
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("dialog", heard)
        page.on("request", lambda request: self.asked.append(request.url))
        # Chromium may let a request pass that follows at once on the first route of a loaded page
        page.route("**/routes-hold-from-the-start", lambda route: route.abort())
        token = self.guard.token
        page.goto(f"{self.origin}{path if token is None else f'/open?token={token}'}")
        playwright.expect(page.locator("#waiting")).to_be_hidden()
        return page

    def current(self):
        """What is on the disk: decision and label by place."""
        return {
            self.review.queue.place_of(each.sample_id): (each.decision, each.label)
            for each in self.review.log.current().values()
        }


@pytest.fixture(scope="module")
def browser():
    playwright.expect.set_options(timeout=20_000)  # a slow disk writes ten decisions a second
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def serve(browser, tmp_path):
    """Serve the review of an audit table; what the page must never do is looked at in the end."""
    import uvicorn

    ended = []

    def begin(table=None, evidence=(), data=None):
        run = run_of(tmp_path / "run", audit_table() if table is None else table)
        if evidence:
            write_evidence(run.evidence, evidence)
        review = Review(run, data)
        listener = listening(LOOPBACK, 0)
        host = f"{LOOPBACK}:{listener.getsockname()[1]}"
        guard = Guard(routes(review), frozenset({host}))
        received = []

        async def listened(scope, receive, send):
            received.append(dict(scope["headers"]))
            await guard(scope, receive, send)

        server = uvicorn.Server(
            uvicorn.Config(listened, log_level="error", lifespan="off", loop="asyncio", http="h11")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        context = browser.new_context(viewport={"width": 1280, "height": 860})
        site = Site(review, guard, f"http://{host}", context, received=received)

        def end():
            context.close()
            server.should_exit = True
            thread.join()
            listener.close()
            review.log.close()

        ended.append((site, end))
        return site

    yield begin
    for site, end in ended:
        end()
        assert [] == [
            each for each in site.troubles if not site.expected or site.expected not in each
        ]
        assert [] == site.dialogs
        assert all(each.startswith((site.origin, "data:")) for each in site.asked)
        assert site.received
        assert not any(b"referer" in each for each in site.received)  # it could hold the token


def shown(page):
    """The number of the sample on the screen, from 1."""
    return int(page.locator("#place").inner_text().replace(",", ""))


def wait_for(page, selector, text):
    playwright.expect(page.locator(selector)).to_have_text(text)


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def wait_until_saved(page):
    wait_for(page, "#saved", "saved")


def until(page, true):
    """Wait until something holds that the page does not show."""
    for _ in range(300):
        if true():
            return
        page.wait_for_timeout(30)
    raise AssertionError("it never came to hold")


def wait_for_picture(page):
    until(page, lambda: page.evaluate("document.querySelector('#shown img')?.naturalWidth") == 8)


def tiles(page, pressed="true"):
    return page.locator(f"#tiles .tile[aria-pressed={pressed}]")


def open_grid(page):
    press(page, "g")
    page.wait_for_selector("#tiles .tile")


# ---------------------------------------------------------------------- one by one
def test_a_hundred_keys_decide_a_hundred_samples_without_a_mouse(serve):
    """Every command in turn, as fast as keys come; each decision lands on its own sample."""
    site = serve(audit_table(rows=160, flagged=110))
    page = site.tab()
    page.evaluate("""() => {
        window.pointed = 0;
        for (const kind of ["mousedown", "mousemove", "click", "pointerdown"])
            addEventListener(kind, () => { pointed += 1; }, true);
    }""")
    items, classes = site.review.items(list(range(100))), site.review.queue.classes
    keys = [("Enter", " ", "a", "k", "x", "u", "3", "4")[number % 8] for number in range(100)]
    press(page, *keys)
    wait_until_saved(page)
    expected = {}
    for place, (key, item) in enumerate(zip(keys, items, strict=True)):
        given, suggested = classes[item["given"]], classes[item["suggested"]]
        if key in "34":
            label = classes[item["likely"][int(key) - 1]]
            expected[place] = (f"other:{label}", label)
        else:
            expected[place] = {
                "k": ("keep", given),
                "x": ("exclude", None),
                "u": ("unsure", given),
            }.get(key, ("accept", suggested))
    assert expected == site.current()
    assert 0 == page.evaluate("pointed")
    assert 101 == shown(page)
    assert "100 of 110 suspect labels decided" in page.locator(".progress").inner_text()


@pytest.mark.parametrize("classes", [HOSTILE, FORTY, ("no", "yes")], ids=["hostile", "40", "2"])
def test_a_digit_is_the_class_beside_it_whatever_that_is_called(serve, classes):
    """No name of a class is a command; digits without a class do nothing."""
    site = serve(audit_table(rows=80, flagged=40, classes=classes))
    page = site.tab()
    items = site.review.items(list(range(9)))
    k = min(9, len(classes))
    for place, digit in enumerate(range(1, k + 1)):
        label = classes[items[place]["likely"][digit - 1]]
        line = page.locator(f"#likely [data-key='{digit}'] span")
        assert label == line.text_content()
        press(page, str(digit))
    wait_until_saved(page)
    decided = site.current()
    assert [classes[items[place]["likely"][place]] for place in range(k)] == [
        decided[place][1] for place in range(k)
    ]
    assert ["accept", "keep"] == [decided[place][0] for place in range(2)]
    if k < 9:
        press(page, "9", "0")
        wait_until_saved(page)
        assert k == len(site.current())
        assert k + 1 == shown(page)


def test_undo_goes_back_to_the_start(serve):
    """One key a step, over reloads and batches, until nothing is left."""
    site = serve()
    page = site.tab()
    press(page, "Enter", "k", "x")
    wait_until_saved(page)
    open_grid(page)
    press(page, "Enter")
    wait_until_saved(page)
    press(page, "g")
    page.wait_for_selector("#single:not([hidden])")
    press(page, "u", "u")
    wait_until_saved(page)
    page.reload()
    page.wait_for_selector("#single:not([hidden])")
    sizes = [len(site.current())]
    for key in ("z", "Backspace", "z", "z", "z", "z"):
        press(page, key)
        until(page, lambda: len(site.current()) < sizes[-1])
        sizes.append(len(site.current()))
    assert [3, 2, 1, 0] == sizes[-4:]
    assert {1} == {before - after for before, after in pairwise(sizes[:3])}
    wait_for(page, "#place", "1")
    wait_for(page, "#decided", "0")
    assert page.locator("#standing").is_hidden()
    press(page, "z")
    wait_for(page, "#said", "Nothing is left to undo.")
    assert {} == site.current()


def test_undo_shows_what_it_takes_back(serve):
    """The sample comes back to the screen, undecided; a key pressed meanwhile is meant for it."""
    site = serve()
    page = site.tab()
    press(page, "k", "k", "k", "z", "x")
    wait_until_saved(page)
    until(page, lambda: len(site.current()) == 3)
    assert ["keep", "keep", "exclude"] == [site.current()[place][0] for place in range(3)]
    assert 4 == shown(page)


def test_a_review_is_resumed_at_the_first_undecided(serve):
    """What was passed over comes first, then what was never seen; decided ones are passed by."""
    site = serve()
    page = site.tab()
    press(page, "k", "k", "ArrowRight", "k", "k")
    wait_until_saved(page)
    assert {0, 1, 3, 4} == set(site.current())
    page.reload()
    wait_for(page, "#place", "3")
    wait_for(page, "#decided", "4")
    press(page, "k")
    wait_for(page, "#place", "6")


def test_when_all_is_decided_it_says_so_and_what_comes_next(serve):
    """The suspects end; the other rows can be looked at, and the last decision be taken back."""
    site = serve()
    page = site.tab()
    press(page, *["k"] * 12)
    page.wait_for_selector("#done:not([hidden])")
    wait_for(page, "#done-what", "All suspect labels are decided.")
    assert page.locator("#next").inner_text().startswith("thresher export ")
    press(page, "z")
    wait_for(page, "#place", "12")
    press(page, "k")
    page.wait_for_selector("#done:not([hidden])")
    page.get_by_role("button", name="Look at all rows").click()
    wait_for(page, "#place", "13")
    assert page.locator("#not-flagged").is_visible()
    assert "12 of 38 labels decided" in page.locator(".progress").inner_text()


def test_moving_decides_nothing_and_stops_at_the_ends(serve):
    """Arrows only look; a decided sample says what was decided, and may be decided anew."""
    site = serve()
    page = site.tab()
    press(page, "ArrowLeft", "ArrowRight", *["ArrowRight"] * 20)
    assert 12 == shown(page)
    assert {} == site.current()
    press(page, *["ArrowLeft"] * 20)
    assert 1 == shown(page)
    press(page, "k", "ArrowLeft")
    given = page.locator("#given").inner_text()
    wait_for(page, "#standing", f"kept: {given}")
    press(page, "x")
    wait_until_saved(page)
    assert {0: ("exclude", None)} == site.current()
    wait_for(page, "#decided", "1")


def test_a_key_held_down_decides_once(serve):
    """Nobody looks at samples that fly past."""
    site = serve()
    page = site.tab()
    for _ in range(5):
        page.keyboard.down("k")
    page.keyboard.up("k")
    wait_until_saved(page)
    assert {0} == set(site.current())


def test_the_next_sample_is_shown_before_the_server_answers(serve):
    """With its picture; what was pressed is saved as soon as answers come again."""
    evidence = [(f"sample/{row}", Evidence(image=png("teal"))) for row in range(40)]
    site = serve(evidence=evidence)
    page = site.tab()
    page.wait_for_load_state("networkidle")
    held, holding = [], [True]
    page.route(
        re.compile("/(api/(decide|items|undecided)|image)"),
        lambda route: held.append(route) if holding else route.continue_(),
    )
    for place in range(1, 7):
        assert place == shown(page)
        assert 8 == page.evaluate("document.querySelector('#shown img').naturalWidth")
        press(page, "k")
    assert 7 == shown(page)
    assert {} == site.current()
    wait_for(page, "#saved", "saving …")
    until(page, lambda: held)
    holding.clear()
    for route in held:
        route.continue_()
    wait_until_saved(page)
    assert set(range(6)) == set(site.current())


def test_keys_of_the_browser_stay_the_browsers(serve):
    """Ctrl+K, Alt+X and the like are no decisions."""
    site = serve()
    page = site.tab()
    press(page, "Control+x", "Alt+k", "Meta+u", "Control+Enter")
    wait_until_saved(page)
    assert {} == site.current()
    assert 1 == shown(page)


def test_held_out_samples_are_shown_as_such(serve):
    """One in five of the samples; in both modes."""
    site = serve(audit_table(rows=40, flagged=20))
    page = site.tab()
    for item in site.review.items(list(range(20))):
        wait_for(page, "#place", str(item["place"] + 1))
        assert (item["split"] == "held-out") == page.locator("#held-out").is_visible()
        press(page, "ArrowRight")
    open_grid(page)
    for tile in page.locator("#tiles .tile").all():
        row = int(tile.get_attribute("title").removeprefix("sample/"))
        assert (row % 5 == 0) == ("held out" in tile.inner_text())


def test_an_old_answer_does_not_bring_back_what_is_decided(serve):
    """What the server knew before a decision was saved may arrive after it."""
    site = serve()
    page = site.tab()
    press(page, *["k"] * 11)
    wait_until_saved(page)
    late = []
    page.route("**/api/undecided*", lambda route: late.append(route))
    press(page, "k")
    until(page, lambda: late)
    wait_until_saved(page)
    late[0].fulfill(json={"place": 11})
    page.wait_for_selector("#done:not([hidden])")
    assert 12 == len(site.current())


# ---------------------------------------------------------------------- search
def test_a_class_is_found_by_typing(serve):
    """Keys are letters there: only Enter decides; the arrows choose among what is found."""
    site = serve(audit_table(rows=80, flagged=40, classes=FORTY))
    page = site.tab()
    press(page, "/")
    page.keyboard.type("kxuazg?")
    wait_for(page, "#found", "no such class")
    press(page, "Enter")
    assert {} == site.current()
    page.locator("#search").fill("")
    page.keyboard.type("CLASS 3")
    assert 10 == page.locator("#found li").count()
    press(page, "ArrowDown", "ArrowDown", "ArrowUp", "Enter")
    wait_until_saved(page)
    assert {0: ("other:class 31", "class 31")} == site.current()
    wait_for(page, "#place", "2")
    press(page, "k")  # the search is left
    wait_until_saved(page)
    assert 2 == len(site.current())


def test_escape_leaves_the_search_and_decides_nothing(serve):
    """And keys are commands again; the given class and the suggested one are no other classes."""
    site = serve()
    page = site.tab()
    press(page, "/")
    page.keyboard.type("dog")
    press(page, "Escape")
    assert page.locator("#found").is_hidden()
    assert "" == page.locator("#search").input_value()
    assert {} == site.current()
    assert 1 == shown(page)
    given = page.locator("#given").inner_text()
    press(page, "/")
    page.keyboard.type(given)
    press(page, "Enter")
    wait_until_saved(page)
    assert {0: ("keep", given)} == site.current()


# ---------------------------------------------------------------------- pairs
def test_thirty_of_a_pair_are_decided_by_two_keys_and_undone_by_one(serve):
    """They are one batch."""
    site = serve(audit_table(rows=240, flagged=160))
    page = site.tab()
    pair = site.review.pairs()[0]
    places = set(site.review.pair(pair["given"], pair["suggested"])["places"])
    assert len(places) >= 30
    open_grid(page)
    playwright.expect(tiles(page)).to_have_count(len(places))
    press(page, "Enter")
    wait_until_saved(page)
    until(page, lambda: site.current())
    assert places == set(site.current())
    assert {"accept"} == {decision for decision, _ in site.current().values()}
    wait_for(page, "#decided", str(len(places)))
    press(page, "z")
    until(page, lambda: not site.current())
    wait_for(page, "#decided", "0")
    playwright.expect(tiles(page)).to_have_count(len(places))


def test_exceptions_of_a_pair_stay_undecided(serve):
    """By keys alone; they remain on the screen, left out."""
    site = serve(audit_table(rows=240, flagged=160))
    page = site.tab()
    open_grid(page)
    n = tiles(page).count()
    press(page, "ArrowRight", "ArrowRight", " ", "ArrowRight", " ")
    assert 2 == tiles(page, "false").count()
    left = {page.locator("#tiles .tile").nth(index).get_attribute("title") for index in (1, 2)}
    press(page, "k")
    wait_until_saved(page)
    until(page, lambda: len(site.current()) == n - 2)
    decided = {each.sample_id for each in site.review.log.current().values()}
    assert not left & decided
    playwright.expect(tiles(page, "false")).to_have_count(2)
    assert left == {tile.get_attribute("title") for tile in page.locator("#tiles .tile").all()}
    press(page, "s", "Enter")  # now these as well
    until(page, lambda: len(site.current()) == n)
    assert 2 == sum(decision == "accept" for decision, _ in site.current().values())


def test_five_hundred_of_a_pair_are_decided_by_two_keys_and_undone_by_one(serve):
    """More than one answer of the server holds; those that are not shown stay undecided."""
    site = serve(audit_table(rows=2100, flagged=2090))
    page = site.tab()
    pair = site.review.pairs()[0]
    assert pair["count"] > 500
    press(page, "g")
    playwright.expect(tiles(page)).to_have_count(500)
    assert f"The next {pair['count'] - 500} follow." in page.locator("#bunch-note").inner_text()
    press(page, "Enter")
    until(page, lambda: len(site.current()) == 500)
    playwright.expect(tiles(page)).to_have_count(pair["count"] - 500)
    assert {"accept"} == {decision for decision, _ in site.current().values()}
    press(page, "z")
    until(page, lambda: not site.current())
    playwright.expect(tiles(page)).to_have_count(500)


def test_pairs_are_walked_by_keys(serve):
    """The most frequent first; a click on a tile leaves it out."""
    site = serve(audit_table(rows=100, flagged=50))
    page = site.tab()
    open_grid(page)
    classes = site.review.queue.classes
    names = [
        f"{classes[each['given']]} → {classes[each['suggested']]}" for each in site.review.pairs()
    ]
    wait_for(page, "#pair", names[0])
    press(page, "]")
    wait_for(page, "#pair", names[1])
    press(page, "[")
    wait_for(page, "#pair", names[0])
    page.locator("#tiles .tile").first.click()
    assert 1 == tiles(page, "false").count()
    page.locator("#pairs button").nth(2).click()
    wait_for(page, "#pair", names[2])
    assert {} == site.current()


# ---------------------------------------------------------------------- two tabs, no server
def test_two_tabs_agree(serve):
    """Each sees what the other decides and undoes, and loses none of it."""
    site = serve()
    first = site.tab()
    second = site.tab()
    press(first, "k", "x")
    wait_for(second, "#decided", "2")
    given = second.locator("#given").inner_text()
    wait_for(second, "#standing", f"kept: {given}")
    press(second, "n", "u")  # to the first undecided one
    wait_until_saved(second)
    assert ["keep", "exclude", "unsure"] == [site.current()[place][0] for place in range(3)]
    wait_for(first, "#decided", "3")
    press(second, "z", "z", "z")
    until(second, lambda: not site.current())
    wait_for(first, "#decided", "0")


def test_a_grid_leaves_out_what_another_tab_decides(serve):
    """The tile says what became of it, and comes back when that is undone."""
    site = serve()
    first = site.tab()
    second = site.tab()
    open_grid(second)
    n = tiles(second).count()
    sample = second.locator("#tiles .tile").first.get_attribute("title")
    while first.locator("#sample-id").inner_text() != sample:
        press(first, "ArrowRight")
    press(first, "x")
    wait_for(second, "#tiles .elsewhere", "excluded")
    assert n - 1 == tiles(second).count()
    press(first, "z")
    playwright.expect(tiles(second)).to_have_count(n)


def test_what_cannot_be_saved_is_said_and_saved_later(serve):
    """Review goes on, leaving is warned of, and all arrive in order when the server is back."""
    site = serve()
    page = site.tab()
    page.route("**/api/decide", lambda route: route.abort())
    press(page, "k", "x")
    wait_for(page, "#saved", "not saved")
    assert "Not saved: The review does not answer." in page.locator("#trouble").inner_text()
    press(page, "u")
    assert 4 == shown(page)
    assert {} == site.current()
    page.evaluate("location.href = '/'")
    until(page, lambda: site.dialogs)
    assert ["beforeunload"] == site.dialogs
    page.unroute("**/api/decide")
    wait_until_saved(page)
    playwright.expect(page.locator("#trouble")).to_be_hidden()
    assert ["keep", "exclude", "unsure"] == [each[0] for each in site.current().values()]
    assert [0, 1, 2] == list(site.current())
    site.dialogs.clear()
    site.expected = "ERR_FAILED"


@pytest.mark.parametrize("mode", ["single", "grid"])
def test_a_decision_whose_answer_is_lost_is_undone_by_one_key(serve, mode):
    """It is sent again, and stands once."""
    site = serve()
    page = site.tab()
    if mode == "grid":
        open_grid(page)
    lost = []

    def lose(route):
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch().status)  # the server has it on the disk
            route.abort()

    page.route("**/api/decide", lose)
    press(page, "Enter")
    until(page, lambda: lost and site.current())
    count = len(site.current())
    wait_until_saved(page)
    playwright.expect(page.locator("#trouble")).to_be_hidden()
    assert ([200], count) == (lost, site.review.log.last_event())
    press(page, "z")
    until(page, lambda: not site.current())
    site.expected = "ERR_FAILED"


def test_an_undo_whose_answer_is_lost_takes_back_one_decision(serve):
    site = serve()
    page = site.tab()
    press(page, "k", "x")
    wait_until_saved(page)
    lost = []

    def lose(route):
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch().status)
            route.abort()

    page.route("**/api/undo", lose)
    press(page, "z")
    wait_for(page, "#said", "Undone: 1 sample.")
    wait_until_saved(page)
    playwright.expect(page.locator("#trouble")).to_be_hidden()
    assert ([200], {0}) == (lost, set(site.current()))
    site.expected = "ERR_FAILED"


def test_a_full_disk_is_said_in_the_servers_words(serve):
    """Cause and fix, as long as it lasts; questions that are answered meanwhile do not hide it."""
    site = serve()
    page = site.tab()
    full = {"error": "The disk is full.", "fix": "Free some space."}
    page.route("**/api/decide", lambda route: route.fulfill(status=500, json=full))
    with page.expect_response("**/api/changes*"):
        press(page, "k")
    with page.expect_response("**/api/changes*"):
        pass
    wait_for(page, "#trouble-what", re.compile(r"^Not saved: The disk is full. Free some space."))
    wait_for(page, "#saved", "not saved")
    page.unroute("**/api/decide")
    wait_until_saved(page)
    assert {0} == set(site.current())
    site.expected = "500"


def test_a_refused_decision_is_taken_back_and_named(serve):
    """The message stays until it is read, though what follows is saved."""
    site = serve()
    page = site.tab()
    no = {"error": "There is no such sample.", "fix": "Load the page again."}
    page.route("**/api/decide", lambda route: route.fulfill(status=400, json=no), times=1)
    press(page, "k", "x")
    wait_until_saved(page)
    wait_for(
        page,
        "#trouble-what",
        "Not decided: sample 1. There is no such sample. Load the page again.",
    )
    assert {1} == set(site.current())
    wait_for(page, "#decided", "1")
    press(page, "Escape")
    assert page.locator("#trouble").is_hidden()
    press(page, "ArrowLeft", "ArrowLeft")
    assert page.locator("#standing").is_hidden()
    site.expected = "400"


def test_a_sample_that_cannot_be_fetched_does_not_swallow_keys(serve):
    """The key after it is about what is on the screen."""
    site = serve(audit_table(rows=200, flagged=100))
    page = site.tab()
    page.wait_for_load_state("networkidle")
    page.route("**/api/items*", lambda route: route.abort())
    press(page, *["ArrowRight"] * 60)
    playwright.expect(page.locator("#trouble")).to_be_visible()
    assert page.locator("#trouble-close").is_hidden()
    press(page, "ArrowRight")
    playwright.expect(page.locator("#trouble")).to_be_visible()
    at = shown(page)
    assert at < 60
    page.unroute("**/api/items*")
    press(page, "k")
    wait_until_saved(page)
    assert {at - 1} == set(site.current())
    wait_for(page, "#place", str(at + 1))
    site.expected = "ERR_FAILED"


def test_a_key_meant_for_a_sample_that_never_came_decides_nothing(serve):
    """It was pressed for the next one: the one that is still on the screen is not decided by it."""
    site = serve(audit_table(rows=200, flagged=100))
    page = site.tab()
    page.wait_for_load_state("networkidle")
    held = []
    page.route("**/api/items*", lambda route: held.append(route))

    def abort():
        while held:
            held.pop().abort()
        return page.locator("#trouble").is_visible()

    at = 0
    while at != shown(page):  # up to the last one that is known
        at = shown(page)
        press(page, "ArrowRight")
    press(page, "k")
    until(page, abort)
    wait_until_saved(page)
    assert {} == site.current()
    assert at == shown(page)
    site.expected = "ERR_FAILED"


# ---------------------------------------------------------------------- what is shown
def png(colour):
    data = BytesIO()
    Image.new("RGB", (8, 8), colour).save(data, "PNG")
    return data.getvalue()


def test_hostile_text_is_only_text(serve):
    """Names of classes and samples, texts, cells, neighbours: as written, in both modes."""
    table = audit_table(rows=40, flagged=12, classes=(MARKUP, *HOSTILE))
    names = [f"{row}/{MARKUP}" for row in range(40)]
    table = table.set_column(0, "sample_id", pa.array(names))
    table = table.set_column(
        table.schema.get_field_index("text"),
        "text",
        pa.array([None if row % 2 else MARKUP for row in range(40)]),
    ).replace_schema_metadata(table.schema.metadata)
    evidence = [
        (name, Evidence(cells={MARKUP: MARKUP}, neighbours=(Neighbour(MARKUP, MARKUP),)))
        for name in names
    ]
    site = serve(table, evidence)
    page = site.tab()
    seen = set()
    for item in site.review.items(list(range(12))):
        wait_for(page, "#place", str(item["place"] + 1))
        assert item["sample_id"] == page.locator("#sample-id").text_content()
        assert MARKUP in page.locator("#shown").text_content()
        assert MARKUP in page.locator("#neighbours").text_content()
        seen.add(page.locator("#given").text_content())
        press(page, "k")
    assert {item["given"] for item in site.review.items(list(range(12)))} == {
        site.review.queue.classes.index(each) for each in seen
    }
    wait_until_saved(page)
    press(page, *["z"] * 12)
    until(page, lambda: not site.current())
    wait_for(page, "#place", "1")
    press(page, "/")
    playwright.expect(page.locator("#found li")).to_have_count(9)
    press(page, "Escape")
    open_grid(page)
    assert 0 == page.locator("img").count()
    assert 1 == page.locator("script").count()
    assert MARKUP in page.locator("#tiles").text_content()


FILE_NAMES = (
    "<img src=x onerror=alert(1)>.png",
    "\"' onerror='alert(1)'.png",
    "a&sample_id=sample%2F1#b?c=d.png",
    "%2e%2e%2fsecret.png",
    "\u202egnp.tac.png",
    "new\nline\ttab.png",
)


@pytest.mark.parametrize("damaged", [False, True], ids=["good", "damaged"])
def test_hostile_names_of_files_are_only_names(serve, tmp_path, damaged):
    """The picture is that of the file, its text its name; of a damaged one the error quotes it."""
    folder = tmp_path / "images"
    folder.mkdir()
    names = [f"{row} {FILE_NAMES[row % len(FILE_NAMES)]}" for row in range(12)]
    for name in names:
        (folder / name).write_bytes(b"\x89PNG broken" if damaged else png("teal"))
    table = audit_table(rows=12, flagged=12, unlabelled=0)
    facts = table.schema.metadata
    table = table.set_column(0, "sample_id", pa.array(names)).append_column("path", [names])
    site = serve(table.drop_columns(["text"]).replace_schema_metadata(facts), data=folder)
    page = site.tab()
    for item in site.review.items(list(range(12))):
        wait_for(page, "#place", str(item["place"] + 1))
        assert item["path"] == page.locator("#sample-id").text_content()
        if damaged:
            page.wait_for_selector("#shown .tile-none")
            said = page.locator("#shown").text_content()
            assert f"{item['path']} cannot be shown" in said
        else:
            wait_for_picture(page)
            assert item["path"] in page.locator("#shown img").get_attribute("alt")
        press(page, "ArrowRight")
    open_grid(page)
    n = page.locator("#tiles .tile").count()
    if damaged:
        playwright.expect(page.locator("#tiles .tile-none")).to_have_count(n)
        assert 0 == page.locator("img").count()
        site.expected = "415"
    else:
        loaded = "() => [...document.querySelectorAll('#tiles img')].map((one) => one.naturalWidth)"
        until(page, lambda: page.evaluate(loaded) == [8] * n)
    assert {each.get_attribute("title") for each in page.locator("#tiles .tile").all()} <= {*names}
    assert 1 == page.locator("script").count()


def test_a_picture_that_cannot_be_read_says_so_and_review_goes_on(serve, tmp_path):
    """The error takes the place of the picture, in both modes; the others are seen."""
    folder = tmp_path / "images"
    folder.mkdir()
    table = audit_table(rows=40, flagged=12)
    table = table.append_column("path", pa.array([f"{row}.png" for row in range(40)]))
    for row in range(40):
        (folder / f"{row}.png").write_bytes(b"\x89PNG broken" if row % 2 else png("teal"))
    site = serve(table, data=folder)
    page = site.tab()
    for item in site.review.items(list(range(12))):
        wait_for(page, "#place", str(item["place"] + 1))
        if int(item["sample_id"].removeprefix("sample/")) % 2:
            tile = page.locator("#shown .tile-none")
            tile.wait_for()
            assert item["path"] in tile.inner_text()
        else:
            wait_for_picture(page)
        press(page, "k")
    wait_until_saved(page)
    assert 12 == len(site.current())
    press(page, "z")
    until(page, lambda: len(site.current()) == 11)
    press(page, *["z"] * 11)
    until(page, lambda: not site.current())
    seen = 0
    open_grid(page)
    for pair in range(page.locator("#pairs button").count()):
        words = page.locator("#pairs .words").nth(pair).inner_text()
        page.locator("#pairs button").nth(pair).click()
        wait_for(page, "#pair", words)
        for tile in page.locator("#tiles .tile").all():
            odd = int(tile.get_attribute("title").removeprefix("sample/")) % 2
            playwright.expect(tile.locator(".tile-none")).to_have_count(odd)
            playwright.expect(tile.locator("img")).to_have_count(1 - odd)
            seen += 1
    assert 12 == seen
    site.expected = "415"


def test_evidence_is_shown_beside_the_sample(serve):
    """Picture, history, neighbours with their pictures; a sample without any says that."""
    evidence = [
        (
            f"sample/{row}",
            Evidence(
                image=png("teal"),
                history=np.array([0, 0.5, 1], np.float32),
                neighbours=tuple(Neighbour(f"sample/{near}", "dog") for near in (2, 4, 999)),
            ),
        )
        for row in range(0, 40, 2)
    ]
    table = audit_table(rows=40, flagged=12)
    table = table.drop_columns(["text"]).replace_schema_metadata(table.schema.metadata)
    site = serve(table, evidence)
    page = site.tab()
    kinds = set()
    for item in site.review.items(list(range(12))):
        wait_for(page, "#place", str(item["place"] + 1))
        kinds.add(item["picture"])
        if item["picture"]:
            wait_for_picture(page)
            assert 2 == page.locator("#neighbours img").count()
            assert 3 == page.locator("#neighbours li").count()
            line = page.locator("#history .top").get_attribute("d")
            assert ["0.00", "50.00", "100.00"] == re.findall(r"[ML]([\d.]+),", line)
        else:
            assert page.locator("#history").is_hidden()
            assert page.locator("#beside").is_hidden()
            assert "Nothing is kept" in page.locator("#shown").inner_text()
        wait_for(page, "#p-given", "25 %")
        wait_for(page, "#p-suggested", "75 %")
        press(page, "ArrowRight")
    assert {True, False} == kinds


# ---------------------------------------------------------------------- for everybody
FOCUS = """() => {
    const one = document.activeElement, style = getComputedStyle(one);
    const box = one.getBoundingClientRect();
    const name = one.id ? `#${one.id}` : one.dataset.do || one.dataset.class;
    return [name || one.textContent.trim(), one.tagName,
            style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
            box.width > 0 && box.bottom > 0 && box.top < innerHeight];
}"""


def come_to(page, screen):
    """Bring a screen of the page up by keys; nothing is suspect after the last one."""
    if screen == "grid":
        open_grid(page)
    elif screen == "help":
        press(page, "?")
    elif screen == "search":
        press(page, "/")
        page.wait_for_selector("#found li")
    elif screen == "done":
        press(page, *["k"] * 12)
        page.wait_for_selector("#done:not([hidden])")
        wait_until_saved(page)


@pytest.mark.parametrize("screen", ["single", "grid", "done"])
def test_the_focus_is_seen_wherever_the_keyboard_goes(serve, screen):
    """Every control can be reached by Tab, has a ring, and lies on the screen."""
    site = serve()
    page = site.tab()
    come_to(page, screen)
    before = site.current()
    controls = page.locator("button:visible:enabled, input:visible")
    # of the tiles one is on the way, from which the arrows lead to the others
    wanted = page.locator("button:visible:enabled:not([tabindex='-1']), input:visible").count()
    others = controls.count() - wanted
    assert others == max(0, page.locator("#tiles .tile").count() - 1)
    seen = set()
    for _ in range(wanted + 3):
        press(page, "Tab")
        name, tag, ring, on_screen = page.evaluate(FOCUS)
        if tag in ("BUTTON", "INPUT"):
            assert ring, name
            assert on_screen, name
            seen.add(name)
    assert wanted == len(seen)
    assert before == site.current()


def test_every_tile_is_reached_by_the_arrows(serve):
    """With a ring; Tab from there leaves the tiles, and Shift+Tab comes back to the same one."""
    site = serve(audit_table(rows=40, flagged=20))
    page = site.tab()
    open_grid(page)
    titles = [each.get_attribute("title") for each in page.locator("#tiles .tile").all()]
    focused = "document.activeElement.title"
    seen = []
    for _ in titles:
        press(page, "ArrowRight")
        seen.append(page.evaluate(focused))
        assert page.evaluate(FOCUS)[2:] == [True, True]
    assert titles == seen
    press(page, "Shift+Tab")
    assert page.evaluate(focused) not in titles
    press(page, "Tab")
    assert titles[-1] == page.evaluate(focused)
    assert {} == site.current()


def test_the_help_keeps_the_focus_while_it_is_open(serve):
    """The page behind it cannot be reached; Escape leads back."""
    site = serve()
    page = site.tab()
    press(page, "?")
    for _ in range(4):
        press(page, "Tab")
        assert page.evaluate("document.activeElement.closest('main, header') === null")
    press(page, "Escape")
    assert page.locator("#help").is_hidden()
    press(page, "k")
    wait_until_saved(page)
    assert {0} == set(site.current())


MOVING = """() => {
    const found = [];
    for (const one of document.querySelectorAll("*"))
        for (const part of [null, "::before", "::after", "::backdrop"]) {
            const style = getComputedStyle(one, part);
            const times = `${style.transitionDuration}, ${style.animationDuration}`.split(", ");
            if (times.some((each) => parseFloat(each) > 0) || style.scrollBehavior === "smooth")
                found.push(one.outerHTML.slice(0, 80));
        }
    return found;
}"""


def test_nothing_moves_for_whom_that_is_asked(serve):
    """No transition, no animation, no smooth scrolling; the bar moves for all others."""
    site = serve()
    page = site.tab()
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(MOVING)
    page.emulate_media(reduced_motion="reduce")
    for screen in ("single", "help"):
        come_to(page, screen)
        assert [] == page.evaluate(MOVING)
    press(page, "Escape")
    open_grid(page)
    assert [] == page.evaluate(MOVING)


@pytest.mark.parametrize("screen", ["single", "search", "grid", "done", "help"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(serve, screen, scheme):
    """Contrast, names, roles and their values, by the rules of WCAG 2."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the extra test")
    evidence = [
        (
            f"sample/{row}",
            Evidence(
                image=png("teal") if row % 2 else None,
                cells={"width": "3"},
                history=np.array([0, 0.5, 1], np.float32),
                neighbours=(Neighbour("sample/1", "dog"), Neighbour("gone", "dog")),
            ),
        )
        for row in range(40)
    ]
    site = serve(evidence=evidence)
    page = site.tab()
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    come_to(page, screen)
    found = axe.Axe().run(page).response
    assert {"color-contrast", "button-name"} <= {each["id"] for each in found["passes"]}
    told = [
        (each["id"], node["target"], node["failureSummary"])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
    assert [] == told


def test_a_focused_button_is_pressed_by_its_own_key_alone(serve):
    """Enter on Exclude excludes: it does not accept as well."""
    site = serve()
    page = site.tab()
    page.locator("#single [data-do=exclude]").focus()
    press(page, "Enter")
    wait_until_saved(page)
    assert {0: ("exclude", None)} == site.current()
    press(page, "Enter")  # the focus has left the button
    wait_until_saved(page)
    assert "accept" == site.current()[1][0]


def test_every_control_has_a_name_and_every_picture_a_text(serve):
    """In all of the page, hidden parts included."""
    site = serve()
    page = site.tab()
    for to in ("single", "grid"):
        if to == "grid":
            open_grid(page)
        nameless = page.evaluate("""() => [...document.querySelectorAll("button, input, [role]")]
            .filter((one) => !one.textContent.trim() && !one.getAttribute("aria-label")
                && !one.labels?.length && !["status", "alert"].includes(one.getAttribute("role"))
                && !one.closest("[hidden]"))
            .map((one) => one.outerHTML)""")
        assert [] == nameless
        assert 0 == page.locator("img:not([alt])").count()
    assert "en" == page.locator("html").get_attribute("lang")


@pytest.mark.parametrize("width", [400, 640, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(serve, width, scheme):
    """From a phone to a desk, and at 200 % zoom; with names that never end."""
    site = serve(audit_table(classes=("a" * 200, "b c " * 60, "c", "d")))
    page = site.tab()
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 800})
    wide = "document.documentElement.scrollWidth"
    assert width >= page.evaluate(wide)
    open_grid(page)
    assert width >= page.evaluate(wide)
    press(page, "?")
    assert page.locator("#help").is_visible()
    assert width >= page.evaluate(wide)
    press(page, "x", "k")  # no commands while the help is open
    press(page, "Escape")
    assert page.locator("#help").is_hidden()
    assert {} == site.current()


def test_the_help_names_every_key(serve):
    """What a button shows as its key stands in the help."""
    site = serve()
    page = site.tab()
    told = set(page.locator("#help kbd").all_text_contents())
    buttons = set(page.locator("main button kbd, header button kbd").all_text_contents())
    assert {each for each in buttons if not each.isdigit()} <= told
