"""The routes: what the page is told, what is decided, and that two pages agree."""

import re
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file
from starlette.testclient import TestClient

from reviewed import CLASSES, audit_table, run_of
from thresher.audit.evidence_file import Evidence, write_evidence
from thresher.decisions import DecisionLog
from thresher.errors import ParameterError, RunError
from thresher.review.routes import routes
from thresher.review.server import ReviewServer
from thresher.review.session import Review


def first(client, count=1):
    return client.get("/api/items", params={"from": 0, "count": count}).json()["items"]


def decide(client, decision, *samples):
    asked = {"sample_ids": list(samples), "decision": decision}
    return client.post("/api/decide", json=asked)


def test_the_page_begins_with_the_first_undecided(client):
    """And with how many there are."""
    found = client.get("/api/run").json()
    assert (38, 12, 0, 0) == tuple(found[each] for each in ("items", "flagged", "start", "decided"))
    assert list(CLASSES) == found["classes"]
    decide(client, "keep", *(each["sample_id"] for each in first(client, 5)))
    assert 5 == client.get("/api/run").json()["start"]
    decide(client, "keep", *(each["sample_id"] for each in first(client, 12)))
    assert client.get("/api/run").json()["start"] is None


def test_an_item_is_shown_with_all_that_is_known(client):
    """Evidence of those that have some; the suggestion and the given class lead the likely ones."""
    items = first(client, 38)
    assert list(range(38)) == [each["place"] for each in items]
    for each in items:
        row = int(each["sample_id"].removeprefix("sample/"))
        assert [(row + 1) % 4, row % 4] == each["likely"][:2]
        assert sorted(each["likely"]) == [0, 1, 2, 3]
        if row < 20:
            assert {"width": str(row)} == each["cells"]
            assert [0, 128, 255] == each["history"]
            assert ["sample/1", "gone"] == [near["sample_id"] for near in each["neighbours"]]
        else:
            assert each["cells"] is each["history"] is None
    flagged = items[:12]
    assert {"confident_rival"} == {each["reason"] for each in flagged}
    assert all(each["why"].startswith("The model is surer") for each in flagged)


@pytest.mark.parametrize(
    ("decision", "label"),
    [
        ("accept", "suggested"),
        ("keep", "given"),
        ("exclude", None),
        ("unsure", "given"),
        ("other:keep", 3),
        ("other:<b>cat</b>", 0),
    ],
)
def test_a_decision_is_on_the_disk_when_it_is_answered(client, review, decision, label):
    """With the label that it comes to, a class called as a command included."""
    (item,) = first(client)
    answer = decide(client, decision, item["sample_id"]).json()
    wanted = item[label] if isinstance(label, str) else label
    wanted = None if wanted is None else CLASSES[wanted]
    assert 1 == answer["decided"]
    (change,) = answer["changes"]
    assert (item["place"], decision, wanted) == (
        change["place"],
        change["decision"],
        change["label"],
    )
    with DecisionLog(review.folder.decisions, read_only=True) as log:
        assert wanted == log.current()[item["sample_id"]].label
    assert decision == first(client)[0]["decision"]


def command_keys():
    """The keys that the page takes for commands, in either mode."""
    code = files("thresher.review").joinpath("page", "review.js").read_text(encoding="utf-8")
    tables = re.findall(r"const (?:GRID_)?COMMANDS = {(.*?)};", code, re.DOTALL)
    return {
        quoted or plain
        for table in tables
        for quoted, plain in re.findall(r'(?:"([^"]+)"|(\w+)):', table)
    }


WORDS = ("accept", "keep", "exclude", "unsure", "undo", "other:", "1", "9", *sorted(command_keys()))


@given(
    classes=st.lists(
        st.sampled_from(WORDS) | st.text(min_size=1), min_size=2, max_size=15, unique=True
    )
)
@settings(deadline=None, max_examples=15)
def test_a_class_has_a_digit_for_a_key_and_no_name_is_a_command(classes):
    """Whatever classes are called, what a digit stands for is the class of that place."""
    keys = command_keys()
    assert {"Enter", " ", "k", "z", "ArrowLeft", "[", "s"} <= keys
    with TemporaryDirectory() as folder:
        table = audit_table(rows=16, flagged=4, classes=classes, unlabelled=0)
        review = Review(run_of(Path(folder) / "run", table))
        for item in review.items([0, 1, 2, 3]):
            likely = item["likely"]
            assert [item["suggested"], item["given"]] == likely[:2]
            assert min(9, len(classes)) == len(likely) == len(set(likely))
            assert not keys & {str(digit) for digit, _ in enumerate(likely, 1)}
        for number in likely:
            decided = review.decide([item["sample_id"]], f"other:{classes[number]}")
            assert classes[number] == decided["changes"][0]["label"]
        review.log.close()


def test_undo_takes_back_batch_by_batch(client):
    """To the very beginning, and then it says that nothing is left."""
    ids = [each["sample_id"] for each in first(client, 6)]
    decide(client, "keep", *ids[:4])
    decide(client, "accept", ids[0])
    decide(client, "exclude", ids[5])
    assert [ids[5]] == [each["sample_id"] for each in undone(client)["changes"]]
    back = undone(client)
    assert "keep" == back["changes"][0]["decision"]  # what stood before stands again
    assert 4 == back["decided"]
    assert set(ids[:4]) == {each["sample_id"] for each in undone(client)["changes"]}
    nothing = undone(client)
    assert (0, []) == (nothing["decided"], nothing["changes"])


def undone(client):
    return client.post("/api/undo", json={}).json()


def test_two_pages_agree(client, review):
    """The second sees the first's decisions, and so does a second process."""
    seen = client.get("/api/run").json()["event"]
    ids = [each["sample_id"] for each in first(client, 3)]
    decide(client, "keep", ids[0])
    with DecisionLog(review.folder.decisions) as other:
        other.append([DecidedBy(ids[1])])
    found = client.get("/api/changes", params={"since": seen}).json()
    assert set(ids[:2]) == {each["sample_id"] for each in found["changes"]}
    assert 2 == found["decided"]
    later = client.get("/api/changes", params={"since": found["event"]}).json()
    assert [] == later["changes"]
    assert 2 == client.get("/api/undecided", params={"from": 0, "until": 12}).json()["place"]


def DecidedBy(sample):  # noqa: N802 - a decision that another process writes
    from thresher.decisions import Decided

    return Decided(sample, "keep", "dog")


def test_a_pair_is_decided_and_undone_at_once(client):
    """Two requests for as many samples as there are."""
    pair = client.get("/api/pairs").json()["pairs"][0]
    places = client.get("/api/pair", params=pair).json()["places"]
    assert pair["count"] == len(places)
    asked = ",".join(map(str, places))
    ids = [
        each["sample_id"]
        for each in client.get("/api/items", params={"places": asked}).json()["items"]
    ]
    decide(client, "accept", *ids)
    assert pair["count"] == client.get("/api/pairs").json()["pairs"][0]["decided"]
    assert len(ids) == len(undone(client)["changes"])
    assert [] == client.get("/api/pair", params={"given": 3, "suggested": 3}).json()["places"]


def test_a_decision_that_is_sent_again_is_applied_once(client, review):
    """By the name that it was sent with; what was decided since is told as well."""
    ids = [each["sample_id"] for each in first(client, 4)]
    asked = {"sample_ids": ids[:2], "decision": "keep", "request": "tab-1"}
    once = client.post("/api/decide", json=asked).json()
    decide(client, "exclude", ids[2])
    again = client.post("/api/decide", json=asked).json()
    assert set(ids[:2]) == {each["sample_id"] for each in once["changes"]}
    assert set(ids[:3]) == {each["sample_id"] for each in again["changes"]}
    assert 3 == review.log.last_event() == again["event"]
    assert [ids[2]] == [each["sample_id"] for each in undone(client)["changes"]]
    assert 0 == undone(client)["decided"]


def test_an_undo_that_is_sent_again_takes_back_one_batch(client, review):
    ids = [each["sample_id"] for each in first(client, 2)]
    decide(client, "keep", ids[0])
    decide(client, "keep", ids[1])
    for _ in range(2):
        answer = client.post("/api/undo", json={"request": "tab-2"}).json()
        assert [ids[1]] == [each["sample_id"] for each in answer["changes"]]
    assert [ids[0]] == list(review.log.current())
    assert 400 == client.post("/api/undo", json={"request": ""}).status_code


def test_decisions_without_a_name_are_all_applied(client, review):
    """So are equal ones with names of their own, and one that was refused at first."""
    (item,) = first(client)
    asked = {"sample_id": item["sample_id"], "decision": "keep"}
    for request in ({}, {}, {"request": "a"}, {"request": "b"}):
        assert 200 == client.post("/api/decide", json={**asked, **request}).status_code
    assert 4 == review.log.last_event()
    wrong = {**asked, "request": "c", "decision": "other:horse"}
    assert 400 == client.post("/api/decide", json=wrong).status_code
    client.post("/api/decide", json={**asked, "request": "c"})
    assert 5 == review.log.last_event()


@pytest.mark.parametrize(
    "asked",
    [
        {"sample_id": "sample/0", "decision": "keep", "request": 1},
        {"sample_id": "sample/0", "decision": "keep", "request": ""},
        {"sample_id": "sample/0", "decision": "keep", "request": "x" * 101},
        {"sample_id": "sample/0", "decision": "delete"},
        {"sample_id": "sample/0", "decision": "other:horse"},
        {"sample_id": "stranger", "decision": "keep"},
        {"sample_id": "sample/39", "decision": "keep"},
        {"sample_ids": [], "decision": "keep"},
        {"sample_ids": ["sample/0", "sample/0"], "decision": "keep"},
        {"sample_ids": "sample/0", "decision": "keep"},
        {"sample_id": 3, "decision": "keep"},
        {"sample_id": "sample/0"},
        {},
        [],
        "keep",
        None,
    ],
)
def test_nonsense_is_refused_and_nothing_of_it_written(client, review, asked):
    """A batch with one bad sample too."""
    answer = client.post("/api/decide", json=asked)
    assert 400 == answer.status_code
    assert answer.json()["error"]
    both = {"sample_ids": ["sample/0", "stranger"], "decision": "keep"}
    assert 400 == client.post("/api/decide", json=both).status_code
    assert 400 == client.post("/api/decide", content=b"{torn").status_code
    assert 0 == review.count()
    assert 0 == review.log.last_event()


@pytest.mark.parametrize("query", ["from=x", "places=1,x", "count=", "from=1e9"])
def test_a_query_that_is_no_number_is_refused(client, query):
    """Places that are none are left out."""
    assert 400 == client.get(f"/api/items?{query}").status_code
    assert [] == client.get("/api/items?places=-1,99999999999999").json()["items"]
    assert [] == client.get("/api/items?from=38&count=5").json()["items"]


def test_a_disk_that_is_full_is_said_and_the_decision_is_not_pretended(client, review, monkeypatch):
    """The page is told with status 500, and keeps it."""

    def full(decided):
        raise RunError("The disk is full.", "Free some space.")

    (item,) = first(client)
    monkeypatch.setattr(review.log, "append", full)
    answer = decide(client, "keep", item["sample_id"])
    assert 500 == answer.status_code
    assert {"error": "The disk is full.", "fix": "Free some space."} == answer.json()
    assert 0 == review.count()


def test_the_most_probable_classes_come_from_the_history(run):
    """By the sums of the run, in either form; the suggestion and the given class first."""
    sums = np.tile(np.array([0.1, 0.4, 0.2, 0.3], np.float32), (40, 1))
    save_file({"probability_sum": sums}, run.history)
    review = Review(run)
    with TestClient(routes(review)) as client:
        for each in first(client, 38):
            rest = [cls for cls in (1, 3, 2, 0) if cls not in (each["suggested"], each["given"])]
            assert [each["suggested"], each["given"], *rest] == each["likely"]
    review.log.close()
    top = {
        "top_classes": np.tile(np.array([3, 0, -1], np.int16), (40, 1)),
        "top_sums": np.tile(np.array([0.2, 0.7, 0], np.float32), (40, 1)),
    }
    save_file(top, run.history)
    assert [0, 3, 1, 2] == Review(run).shown._means.ranked(5)


# ---------------------------------------------------------------------- pictures
def png(color, size=(8, 8)):
    buffer = BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def pictures(tmp_path):
    """A run of a folder of images: good, damaged, gone, outside; and some kept in the run."""
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "secret.png").write_bytes(png("red"))
    names = ["good.png", "damaged.png", "gone.png", "../secret.png", "large.jpg"]
    (data / "good.png").write_bytes(png("blue"))
    (data / "damaged.png").write_bytes(png("blue")[:30])
    Image.new("CMYK", (2000, 1000)).save(data / "large.jpg")
    table = audit_table(rows=5, flagged=5, unlabelled=0).drop(["text"])
    facts = table.schema.metadata
    table = table.append_column("path", [names]).replace_schema_metadata(facts)
    run = run_of(tmp_path / "run", table)
    run.write_settings({"fit": {"data": "../data"}, "run": {"thresher": "0"}})
    write_evidence(run.evidence, [("sample/2", Evidence(image=png("green")))])
    review = Review(run)
    with TestClient(routes(review)) as client:
        yield client
    review.log.close()


def picture(client, row):
    return client.get("/image", params={"sample_id": f"sample/{row}"})


def test_pictures_come_from_the_data_or_from_what_the_run_kept(pictures):
    """Scaled down and upright, as something that every browser shows."""
    good = picture(pictures, 0)
    assert "image/png" == good.headers["content-type"]
    assert (0, 0, 255) == Image.open(BytesIO(good.content)).getpixel((0, 0))
    kept = picture(pictures, 2)
    assert (0, 128, 0) == Image.open(BytesIO(kept.content)).getpixel((0, 0))
    large = Image.open(BytesIO(picture(pictures, 4).content))
    assert ("JPEG", "RGB", (512, 256)) == (large.format, large.mode, large.size)
    assert all(each["picture"] for each in first(pictures, 5))


def test_a_damaged_picture_says_so(pictures):
    """And nothing outside the folder is ever shown."""
    damaged = picture(pictures, 1)
    assert 415 == damaged.status_code
    assert "damaged.png cannot be shown" in damaged.json()["error"]
    outside = picture(pictures, 3)
    assert 415 == outside.status_code
    assert "lies outside" in outside.json()["error"]
    assert 404 == pictures.get("/image", params={"sample_id": "../secret.png"}).status_code
    assert 404 == pictures.get("/image").status_code


# ---------------------------------------------------------------------- the process
def test_a_second_review_of_a_run_is_refused_with_the_address_of_the_first(run):
    """Until the first one has ended."""
    server = ReviewServer(run)
    assert server.url.startswith("http://127.0.0.1:")
    assert server.app.token in server.url
    with pytest.raises(RunError, match=f"already at http://127.0.0.1:{server.port}/"):
        ReviewServer(run)
    server.close()
    ReviewServer(run).close()
    assert not (run.path / ".review").exists()


def test_a_port_that_is_taken_is_said(run, tmp_path):
    """And the run is free again."""
    server = ReviewServer(run)
    other = run_of(tmp_path / "other", audit_table())
    for _ in range(2):
        with pytest.raises(ParameterError, match="Cannot listen on"):
            ReviewServer(other, port=server.port)
    server.close()


def test_it_listens_on_loopback_alone(run):
    """127.0.0.1, not every address of the machine."""
    server = ReviewServer(run)
    assert "127.0.0.1" == server._socket.getsockname()[0]
    server.close()


def test_a_run_without_an_audit_or_unfinished_is_refused(run):
    """Before anything is served."""
    run.audit.unlink()
    with pytest.raises(RunError, match="holds no audit"):
        ReviewServer(run)
    run.state.mkdir()
    with pytest.raises(RunError, match="is not finished"):
        ReviewServer(run)
    assert not (run.path / ".review").exists()


def test_it_answers_to_one_name_alone(run):
    """Every address of the machine is none; one of version 6 stands in brackets."""
    for host in ("0.0.0.0", "::", ""):
        with pytest.raises(ParameterError, match="every address of this machine"):
            ReviewServer(run, host=host)
    try:
        server = ReviewServer(run, host="::1")
    except ParameterError:
        pytest.skip("no address of version 6 here")
    assert server.url.startswith(f"http://[::1]:{server.port}/open")
    assert f"[::1]:{server.port}" in server.app.hosts
    server.close()
