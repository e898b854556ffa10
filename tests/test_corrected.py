"""The pages on corrected labels and on cleanlab run from top to bottom."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thresher.cli.app import app

HOW_TO = Path(__file__).parent.parent / "docs" / "how-to"


def run_page(name):
    """Run the blocks of a page in their order; returns the names that Python has at the end."""
    names = {"__name__": "page"}
    page = (HOW_TO / name).read_text()
    for language, block in re.findall(r"```(python|console)\n(.*?)```", page, re.DOTALL):
        if language == "python":
            exec(block, names)
            continue
        for line in block.splitlines():
            call = shlex.split(line)[2:]
            call += ["--epochs", "3"] if call[0] == "fit" else []
            done = CliRunner().invoke(app, call, catch_exceptions=False)
            assert 0 == done.exit_code, line
    return names


def test_the_way_from_noisy_to_corrected_labels(tmp_path, monkeypatch):
    """Every file that the page speaks of is there; the corrected table can be trained on."""
    monkeypatch.chdir(tmp_path)
    names = run_page("corrected-labels.md")
    assert 0 < names["done"].changed == names["done"].suggested
    there = {each.name for each in tmp_path.iterdir()}
    assert {"digits.csv", "corrected.csv", "changes.csv", "suggested.csv", "again.csv"} <= there
    assert (tmp_path / "runs/corrected/audit.parquet").is_file()
    # nobody decided: the copy has one column more
    source = (tmp_path / "digits.csv").read_text().splitlines()
    copy = (tmp_path / "corrected.csv").read_text().splitlines()
    assert source == [line.rpartition(",")[0] for line in copy]


def test_the_page_for_those_who_come_from_cleanlab(tmp_path, monkeypatch):
    """Both audits find most of what the other finds, on the predictions of one model."""
    pytest.importorskip("cleanlab")
    monkeypatch.chdir(tmp_path)
    names = run_page("from-cleanlab.md")
    both = (names["theirs"] & names["ours"]).sum()
    assert both > 0.5 * max(names["theirs"].sum(), names["ours"].sum())
    assert len(names["worst"]) == names["ours"].sum()
    taken = names["cleaned"].get_label_issues()
    assert names["ours"].tolist() == taken["is_label_issue"].tolist()
    assert "suggested_label" in taken
    assert len(names["issues"]) == len(names["labels"]) == len(names["classifier"].audit_)
