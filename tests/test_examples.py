"""The examples run as they are, and print what they found."""

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"
EXAMPLES = {path.stem: path for path in sorted(FOLDER.glob("*.py"))}


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What an example prints, run once, where it may write; every warning is an error."""

    @functools.cache
    def run(name):
        done = subprocess.run(
            [sys.executable, "-W", "error", EXAMPLES[name]],
            cwd=tmp_path_factory.mktemp(name),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_and_prints_figures(name, printed):
    """From any working directory."""
    assert re.search(r"\d", printed(name))


def test_the_loop_of_ones_own_finds_the_wrong_labels(printed):
    """SELFIE is ahead of the usual training, and most of what is flagged is wrong."""
    usual, robust, flagged = map(float, re.findall(r"([\d.]+)%", printed("own_loop")))
    assert robust > usual + 5
    assert flagged > 90
