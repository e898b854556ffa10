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
GROUP = {
    "label": "yes",
    "group": "a",
    "n": 30,
    "selection_rate": 0.5,
    "label_precision": None,
    "label_recall": 0.4,
    "small": False,
}


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
        return GROUP | {"group": group, "label_recall": recall, "small": small}

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


def test_methods_are_held_against_standard_training_on_the_seeds_that_both_have():
    """gce beats the mean over three seeds, and loses on the one that it was trained from."""
    standard = [row(seed=0, last=0.9), row(seed=1, last=0.5), row(seed=2, last=0.5)]
    rows = [
        *standard,
        row("gce", last=0.8),
        row("mae", seed=0, last=0.4),
        row("mae", seed=1, last=0.9),
        row("mae", seed=2, last=0.9),
        row("elr", seed=3, last=0.1),
    ]
    (section,) = sections(rows)
    assert section.verdict == (
        "Below standard training at the end: gce (seed 0). Without a seed in common with it: elr."
    )
    (section,) = sections([*standard, row("gce", seed=1, last=0.6)])
    assert section.verdict == (
        "No method ends below standard training, on the seeds that both have."
    )


def test_a_mean_over_fewer_seeds_says_so_and_is_never_the_best():
    """In the tables, in the pictures, and at the top."""
    rows = [
        *(row(seed=seed, last=0.94) for seed in range(3)),
        row("gce", last=0.96, groups=[GROUP]),
        *(row("mae", seed=seed, last=0.95) for seed in range(3)),
        row(noise="none"),
    ]
    markdown, page = render_markdown(rows, FACTS), render_html(rows, FACTS, {})
    assert "| gce (seed 0) | 96.0 |" in markdown
    assert "| mae | **95.0** |" in markdown
    assert "| gce (seed 0) | yes | a | 30 |" in markdown
    assert page.count("gce (seed 0)") > len(PARTS)
    assert "gce</" not in page
    for text in (markdown, page):
        assert "1 to 3 seeds" in text
        assert "Noise: none, seed 0" in text


def test_cells_without_a_figure_are_named_a_line_a_reason():
    """Seeds together."""
    lost = {"status": "failed", "method": "morph", "noise": "none", "reason": "no memory"}
    rows = [row(), *({**lost, "seed": seed} for seed in (0, 2)), {**lost, "seed": 1, "reason": "-"}]
    markdown = render_markdown(rows, FACTS)
    assert "- morph, none, seeds 0, 2: failed, no memory\n" in markdown
    assert "- morph, none, seed 1: failed, -\n" in markdown
    assert ">0, 2<" in render_html(rows, FACTS, {})
