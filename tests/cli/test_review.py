"""`thresher review` as a process: it serves, ends well, and loses nothing when it is killed."""

import http.client
import json
import os
import re
import signal
import socket
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from reviewed import audit_table, run_of
from thresher.decisions import DecisionLog


@pytest.fixture
def run(tmp_path):
    return run_of(tmp_path / "run", audit_table())


def browser():
    """Something that keeps cookies and follows redirections."""
    return urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))


def decide(opener, address, **asked):
    request = urllib.request.Request(
        f"{address}api/decide",
        data=json.dumps(asked).encode(),
        headers={"Content-Type": "application/json", "Origin": address.rstrip("/")},
    )
    with opener.open(request) as answer:
        return json.load(answer)


def begun(process, *arguments):
    """The review, a browser that has opened it, and its address."""
    started = process("review", "run", "--no-browser", "--json", *arguments)
    url = json.loads(started.stdout.readline())["url"]
    opener = browser()
    opener.open(url).close()
    return started, opener, url.partition("open?")[0]


def test_it_serves_until_interrupted_and_says_how_many_are_saved(process, run):
    """The first line is the address; Ctrl+C is a good end."""
    started, opener, address = begun(process)
    decide(opener, address, sample_id="sample/3", decision="keep")
    decide(opener, address, sample_ids=["sample/4", "sample/5"], decision="exclude")
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=30)
    assert 0 == started.returncode
    assert {"decided": 3} == json.loads(out)
    assert "Traceback" not in err
    assert not (run.path / ".review").exists()


def test_for_people_it_prints_the_address_the_count_and_what_comes_next(process, run):
    """And the token is in nothing but the address."""
    started = process("review", "run", "--no-browser")
    address = re.search(r"http://127\.0\.0\.1:\d+/open\?token=(\S+)", started.stdout.readline())
    opener = browser()
    opener.open(address[0]).close()
    decide(opener, address[0].partition("open?")[0], sample_id="sample/3", decision="keep")
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=30)
    assert "1 decisions are saved" in out
    assert "thresher export run" in out
    assert address[1] not in out + err


def test_kill_nine_loses_nothing_that_was_answered(process, run):
    """And the next review goes on where this one was: first with what was passed over."""
    started, opener, address = begun(process)
    with opener.open(f"{address}api/items?from=0&count=6") as answer:
        names = [each["sample_id"] for each in json.load(answer)["items"]]
    passed_over = names.pop(2)
    for name in names:
        decide(opener, address, sample_id=name, decision="keep")
    started.kill()
    started.communicate()
    with DecisionLog(run.decisions, read_only=True) as log:
        assert names == list(log.current())
    again, opener, address = begun(process)
    with opener.open(f"{address}api/run") as answer:
        found = json.load(answer)
    assert (5, 2) == (found["decided"], found["start"])
    with opener.open(f"{address}api/items?from=2&count=1") as answer:
        assert passed_over == json.load(answer)["items"][0]["sample_id"]
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=30)


def test_a_second_one_is_refused_with_the_address_of_the_first(process, call, run):
    """Exit code 2."""
    started, _, address = begun(process)
    refused = call("review", "run", "--no-browser")
    assert 2 == refused.code
    assert f"already at {address}" in refused.err
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=30)


def test_it_does_not_listen_to_other_machines(process, run):
    """Not on any other address of this one."""
    started, _, address = begun(process)
    port = int(re.search(r":(\d+)/", address)[1])
    with socket.socket() as other:
        other.settimeout(2)
        assert other.connect_ex(("127.0.0.2", port))  # an error's number
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=30)


def test_a_stranger_gets_nothing(process, run):
    """Without having opened it."""
    started, _, address = begun(process)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        browser().open(f"{address}api/run")
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=30)


def test_other_machines_are_let_in_only_on_demand(call, run):
    """With the safer way named."""
    refused = call("review", "run", "--host", "0.0.0.0")
    assert 2 == refused.code
    assert "ssh -L" in refused.err
    assert "--allow-remote" in refused.err


def test_the_tunnel_that_is_advised_leads_to_the_page(process, run):
    """Another address is let in on demand and warned of; ssh brings requests to that address."""
    options = ("--host", "127.0.0.2", "--allow-remote")
    started = process("review", "run", "--no-browser", "--json", *options)
    url = json.loads(started.stdout.readline())["url"]
    assert url.startswith("http://127.0.0.2:")
    warning = started.stderr.readline()
    assert "unencrypted" in warning
    near, there, far = re.search(r"ssh -L (\d+):([\d.]+):(\d+) THIS-MACHINE", warning).groups()
    way = http.client.HTTPConnection(there, int(far), timeout=10)  # as a tunnel's end connects
    named = {"Host": f"127.0.0.1:{near}"}  # as the browser at its beginning asks
    assert f"http://{named['Host']}/" in warning
    way.request("GET", f"/open?{url.partition('?')[2]}", headers=named)
    answer = way.getresponse()
    answer.read()
    assert 303 == answer.status
    cookie = answer.headers["set-cookie"].partition(";")[0]
    for host in (named["Host"], f"127.0.0.2:{near}"):
        way.request("GET", "/api/run", headers={"Host": host, "Cookie": cookie})
        answer = way.getresponse()
        assert (200, 12) == (answer.status, json.load(answer)["flagged"])
    way.close()
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=30)
    assert 0 == started.returncode


@pytest.mark.parametrize("missing", ["run", "audit"])
def test_what_cannot_be_reviewed_is_said(call, run, missing):
    """Exit code 2, two lines."""
    if missing == "audit":
        run.audit.unlink()
    refused = call("review", "nothing" if missing == "run" else "run")
    assert 2 == refused.code
    assert "no run.toml" in refused.err or "no audit.parquet" in refused.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_said(call, run):
    """Decisions would be lost."""
    run.path.chmod(0o500)
    refused = call("review", "run", "--no-browser")
    run.path.chmod(0o700)
    assert 2 == refused.code
    assert "make it writable" in refused.err


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system tells no peak")
def test_a_million_rows_are_reviewed_in_three_hundred_megabytes(process, tmp_path):
    """Whatever is asked: the first and the last samples, pairs, a large batch and its undoing."""
    names = [f"class {number:03d}" for number in range(100)]
    run_of(tmp_path / "run", audit_table(rows=10**6, flagged=200_000, classes=names))
    started, opener, address = begun(process)

    def asked(path):
        with opener.open(f"{address}api/{path}") as answer:
            return json.load(answer)

    for first in (*range(0, 4000, 200), 100_000, 999_700):
        assert 200 == len(asked(f"items?from={first}&count=200")["items"])
    pair = asked("pairs")["pairs"][0]
    chosen = asked(f"pair?given={pair['given']}&suggested={pair['suggested']}&count=500")["places"]
    shown = asked(f"items?places={','.join(map(str, chosen[:200]))}")["items"]
    decide(opener, address, sample_ids=[each["sample_id"] for each in shown], decision="accept")
    assert 200 == asked("run")["decided"]
    status = Path(f"/proc/{started.pid}/status").read_text()
    assert 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) < 300e6
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=30)
