"""The report says who loses, names what it shows, and is one inert file."""

import re

import pytest

from bench_rows import row
from thresher.bench.report import PARTS, render_html, render_markdown, sections

FACTS = {"data": "digits", "command": "thresher bench noise --out x", "thresher": "0.1.0"}
ROWS = [
    row(noise="none", noise_rate=0.0, last=0.95),
    row(),
    row("elr", last=0.9, rate_error=None),
    row("selfie", last=0.7, label_precision=0.9, label_recall=0.8, rate_error=0.03),
    row("cleanlab", last=0.75),
    {"status": "failed", "method": "morph", "noise": "none", "seed": 3, "reason": "<b>lost</b>"},
]


def test_who_ends_below_standard_training_is_named():
    """Those and no others."""
    none, noisy = sections(ROWS)
    assert none.verdict == ""
    assert noisy.worse == ["selfie", "cleanlab"]
    assert noisy.verdict == "Below standard training at the end: selfie, cleanlab."
    assert noisy.realised == 0.4


def test_both_forms_hold_the_same_figures():
    """Every table, every method, every failure."""
    markdown, page = render_markdown(ROWS, FACTS), render_html(ROWS, FACTS, {"epochs": 4})
    for text in (markdown, page):
        for words in ("elr", "90.0", "+3.0", "seed 3" if text is markdown else ">3<", "digits"):
            assert words in text
        for part in PARTS:
            assert (part.title in text) == (part.title != "By group")
    assert "thresher bench noise --out x" in page


def test_the_page_loads_and_runs_nothing():
    """Its policy forbids it, and hostile texts are texts."""
    rows = [*ROWS, row(noise="asymmetric:0.4:<script>>b", last=0.5)]
    page = render_html(rows, FACTS, {"data": "<img src=x onerror=alert(1)>"})
    assert "default-src 'none'" in page
    assert not re.findall(r"<(?:script|img|link|iframe)", page)
    assert "&lt;b&gt;lost" in page
    assert len(page) < 200_000


def test_best_on_test_stands_under_that_name_alone():
    """It is never marked as the best, never drawn."""
    page = render_html(ROWS, FACTS, {})
    assert "95.0" in page
    cells = re.findall(r'class="right number( best)?">([^<]*)<', page)
    assert (" best", "90.0") in cells
    assert (" best", "95.0") not in cells


@pytest.mark.parametrize("rows", [[], ROWS[-1:]])
def test_without_a_finished_cell_it_says_so(rows):
    """As after a Ctrl+C in the first."""
    assert "No cell is finished." in render_markdown(rows, FACTS)
    assert "No cell is finished." in render_html(rows, FACTS, {})


def test_groups_have_a_table_of_their_own_and_small_ones_an_asterisk():
    """Means over seeds, in both forms."""

    def cell(group, recall, *, small=False):
        return {
            "label": "yes",
            "group": group,
            "n": 30,
            "selection_rate": 0.5,
            "label_precision": None,
            "label_recall": recall,
            "small": small,
        }

    rows = [
        row(seed=0, worst_group_accuracy=0.6, groups=[cell("a", 0.4), cell("<b>", 1, small=True)]),
        row(seed=1, worst_group_accuracy=0.7, groups=[cell("a", 0.6)]),
    ]
    markdown, page = render_markdown(rows, FACTS), render_html(rows, FACTS, {})
    assert "| standard | yes | a | 30 | 50 % | – | 50 % |" in markdown
    assert "| <b>* |" in markdown
    assert "&lt;b&gt;*" in page
    assert "worst group" in markdown
    assert "By group" in page
