"""`thresher bench noise`: exit codes, what is printed, and what survives."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from thresher.noise import ESTIMATORS

WITHOUT_CLEANLAB = """
import sys
import thresher.bench.compare as compare
from thresher.cli import main
from thresher.errors import MissingPackageError

def missing():
    raise MissingPackageError("cleanlab is not installed.", "Install it.")

compare.require_cleanlab = missing
sys.argv[0] = "thresher"
main()
"""


def files(folder):
    """Finished cells."""
    return sorted(each.name for each in (folder / "cells").glob("*.json"))


def waited(condition, seconds=60):
    """Until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("arguments", "cause", "fix"),
    [
        (("--methods", "selfy"), 'There is no method "selfy".', 'Did you mean "selfie"?'),
        (("--noise", "pear:0.4"), 'There is no noise "pear".', 'Did you mean "pair"?'),
        (("--seeds", "0"), "seeds must be at least 1, got 0.", "Three give a range."),
        (
            ("--seeds", "100000000"),
            "seeds must be at most 10,000, got 100,000,000.",
            "Three give a range.",
        ),
        ((), "bench holds no benchmark.", "Name the data with --data, such as --data digits."),
        (
            ("--methods", "gce", "--jobs", "0"),
            "jobs must be at least 1, got 0.",
            "One a core is usual.",
        ),
        (
            ("--noise-rate", "much"),
            "noise_rate must be a number in [0, 1), auto, true, or one of "
            f'{", ".join(ESTIMATORS)}, got "much".',
            f"Allowed: {', '.join(sorted(('auto', 'true', *ESTIMATORS)))}.",
        ),
    ],
)
def test_bad_input_exits_with_two(call, tmp_path, arguments, cause, fix):
    """A line of cause and one of fix; nothing is left."""
    done = call("bench", "noise", "--out", "bench", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.complaint == [f"thresher: {cause}", f"          {fix}"]
    assert not (tmp_path / "bench").exists()


@pytest.fixture
def started(tmp_path):
    """Starts the command as a process of its own, where cleanlab is not installed."""
    running = []

    def start(*arguments):
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", WITHOUT_CLEANLAB, "bench", "noise", *arguments],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=tmp_path,
                text=True,
                start_new_session=True,
                # a shell that runs the tests in its background has them ignore it
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        )
        return running[-1]

    yield start
    for each in running:
        each.kill()
        each.communicate()


def test_an_interrupt_and_a_kill_lose_running_cells_alone(started, tmp_path):
    """The first exits with 130 and says how to go on; alone, the folder goes on to the end."""
    bench = tmp_path / "bench"
    grid = ("--methods", "gce", "--noise", "none,pair:0.2", "--seeds", "3", "--limit", "200")
    first = started("--out", "bench", "--epochs", "1", *grid)
    waited(lambda: bench.is_dir() and files(bench))
    first.send_signal(signal.SIGINT)
    _, err = first.communicate()
    assert first.returncode == 130
    assert "Go on with: thresher bench noise --out bench" in err
    assert (bench / "report.html").is_file()
    kept = files(bench)
    assert 0 < len(kept) < 12

    second = started("--out", "bench")
    waited(lambda: len(files(bench)) > len(kept))
    second.kill()
    second.communicate()
    names = files(bench)
    assert all(json.loads((bench / "cells" / each).read_text())["last"] for each in names)

    last = started("--out", "bench", "--jobs", "2", "--json")
    out, err = last.communicate()
    assert last.returncode == 0, err
    assert "\x1b" not in err
    summary = json.loads(out)
    assert (summary["schema"], summary["cells"], summary["done"]) == (1, 18, 12)
    assert (summary["failed"], summary["skipped"]) == (0, 6)
    assert {each["method"] for each in summary["table"]} == {"standard", "gce"}
    assert len(files(bench)) == 12


@pytest.mark.parametrize("begun", [False, True])
def test_only_what_has_begun_is_to_be_gone_on_with(call, monkeypatch, tmp_path, begun):
    """An interrupt while the data are read leaves nothing that could be."""

    def interrupted(out, *_, **__):
        if begun:
            out.mkdir()
            (out / "bench.toml").write_text("")
        raise KeyboardInterrupt

    monkeypatch.setattr("thresher.bench.compare.compare", interrupted)
    done = call("bench", "noise", "--out", "bench", "--data", "digits")
    assert done.code == 130
    assert ("Go on with: thresher bench noise --out bench" in done.err) == begun
    assert ("before the first cell" in done.err) == (not begun)


def test_a_failed_cell_exits_with_one(call, monkeypatch, tmp_path):
    """With its reason; people read a table a noise, and where the report is."""
    summary = {
        "table": [
            {"noise": "none", "method": "standard", "title": "standard", "last": {"mean": 0.934}}
        ],
        "done": 1,
        "cells": 2,
        "failed": 1,
        "skipped": 0,
        "failures": [{"method": "gce", "noise": "none", "seed": 0, "reason": "no memory"}],
        "report": "bench/report.html",
    }
    monkeypatch.setattr("thresher.bench.compare.compare", lambda *_, **__: summary)
    done = call("bench", "noise", "--out", "bench", "--seeds", "1")
    assert done.code == 1
    assert done.err == "gce, none, seed 0: no memory\n"
    lines = done.out.splitlines()
    assert lines[0] == "noise none"
    assert lines[2].split() == ["standard", "93.4", "–", "–", "–", "–"]
    assert lines[3:] == ["1 of 2 cells done, 1 failed, 0 skipped", "report  bench/report.html"]


def test_an_own_method_that_cannot_be_made_by_its_name_is_bad_input(call, tmp_path):
    """Nobody passes its arguments; what it prints is no part of the object on stdout."""
    (tmp_path / "deep_method.py").write_text(
        "from thresher.noise import Method\n\n\nprint('imported')\n\n\n"
        'class Deep(Method):\n    """Deep."""\n\n    def __init__(self, depth):\n        pass\n'
    )
    done = call("bench", "noise", "--methods", "deep_method:Deep", "--out", "bench", "--json")
    assert (done.code, done.out) == (2, "")
    assert done.complaint == [
        "imported",
        'thresher: The method "deep_method:Deep" cannot be made by its name: '
        "missing a required argument: 'depth'.",
        "          Give every argument of its __init__ a default.",
    ]
