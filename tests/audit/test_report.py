"""The report: one file that is safe, complete and small, whatever it is given."""

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from thresher.audit import build_table, judge, summarise, write_report
from thresher.audit.report import percent, render_report, shorten
from thresher.errors import ParameterError, RunError

HOSTILE = "<script>alert('x')</script>\"' onload=\"y\" {{ 7*7 }} &amp; \u202e\x00"
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + (28).to_bytes(4, "big") + bytes(60)
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags and attributes, and checks that elements are closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.words, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def render(record, **options):
    verdicts = judge(record)
    ids = options.pop("sample_ids", [f"s{row}" for row in range(len(record))])
    table = build_table(record, verdicts, sample_ids=ids)
    return render_report(summary=summarise(record, verdicts), table=table, **options)


METRICS = [
    {
        "epoch": epoch,
        "loss": 2.0 / epoch,
        "trained_accuracy": 0.5 + 0.04 * epoch,
        "held_out_accuracy": None if epoch == 3 else 0.6,
        "test_accuracy": 0.7,
        "learning_rate": 0.05,
    }
    for epoch in range(1, 9)
]


def test_the_page_tells_what_was_found(simulate):
    """Headline, rate, suspects, classes, method, settings and limits."""
    record, _ = simulate()
    summary = summarise(record, judge(record))
    page = Page(
        render(
            record,
            metrics=METRICS,
            settings={"epochs": 8},
            method={"name": "selfie", "summary": "Relabels.", "source": "Song et al., 2019"},
        )
    )
    assert page.open == []
    assert f"{summary.n_label_issues} of 1,500 labels look wrong." in page.text
    assert f"60 of {summary.n_label_issues}, most suspect first" in page.text
    for words in (
        "selfie",
        "Song et al., 2019",
        "epochs",
        "class 3",
        "held-out rows, given labels",
    ):
        assert words in page.text
    for limit in ("relative", "estimates", "rule", "training data only"):
        assert limit in page.text
    assert page.tags.count("article") == 60


def test_suspects_come_by_rank_with_both_labels(simulate):
    """The first card is the lowest score."""
    record, _ = simulate()
    verdicts = judge(record)
    worst = int(np.flatnonzero(verdicts.rank == 1)[0])
    card = Page(render(record, top=1)).text
    given, suggested = (
        record.classes[c] for c in (record.labels[worst], verdicts.suggested[worst])
    )
    assert f"1 s{worst} score" in card
    assert f"given: {given}" in card
    assert f"suggested: → {suggested}" in card


def test_nothing_is_loaded_or_run(simulate):
    """No script, no address, and a policy that forbids both."""
    page = Page(render(simulate()[0], metrics=METRICS, thumbnails=lambda row: PNG))
    assert not {"script", "link", "iframe", "object", "form", "a"} & set(page.tags)
    for _, name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href"):
            assert value.startswith("data:image/png;base64,")
    assert any("default-src 'none'" in (value or "") for _, _, value in page.attributes)
    assert "url(" not in render(simulate()[0])


def test_hostile_texts_are_inert(simulate):
    """Class names, identifiers, cells, settings, method and title; shown as they are written."""
    record, _ = simulate()
    record = dataclasses.replace(record, classes=tuple(f"{HOSTILE}{c}" for c in range(5)))
    text = render(
        record,
        sample_ids=[f"{HOSTILE}{row}" for row in range(len(record))],
        settings={HOSTILE: HOSTILE},
        method={"name": HOSTILE, "summary": HOSTILE, "source": HOSTILE},
        rows=lambda row: {HOSTILE: HOSTILE},
        thumbnails=lambda row: PNG,
        title=HOSTILE,
    )
    page = Page(text)
    assert page.open == []
    assert "script" not in page.tags
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert "alert('x')" in page.text
    assert "{{ 7*7 }}" in page.text
    assert "\u202e" not in text
    assert "\x00" not in text


def test_pictures_that_are_none_are_not_shown(simulate):
    """An SVG could carry a script."""
    page = Page(render(simulate()[0], thumbnails=lambda row: b"<svg onload='x'/>", top=3))
    assert "img" not in page.tags


def test_small_pictures_keep_their_pixels(simulate):
    """A digit of 28 pixels is not blurred."""
    assert 'class="pixelated"' in render(simulate()[0], thumbnails=lambda row: PNG, top=1)


def test_the_file_stays_below_five_megabytes(simulate):
    """Large pictures, long cells that must be escaped, many classes, the most suspects."""
    record, _ = simulate(rows=4000, classes=120, noise=0.5, sharpness=7.0)
    names = tuple(f"{'&' * 300}{c}" for c in range(120))
    verdicts = judge(record)
    assert verdicts.is_label_issue.sum() > 300
    text = render(
        dataclasses.replace(record, classes=names),
        sample_ids=["&" * 500] * 4000,
        thumbnails=lambda row: PNG + bytes(60_000),
        rows=lambda row: {f"{column}{'&' * 99}": "&" * 5000 for column in range(40)},
        settings={f"{number}{'&' * 99}": "&" * 5000 for number in range(500)},
        top=300,
    )
    assert len(text.encode()) < 5_000_000
    assert "pictures are left out" in Page(text).text


@pytest.mark.parametrize(("classes", "map_shown"), [(25, True), (26, False)])
def test_many_classes_are_listed_by_pairs(simulate, classes, map_shown):
    """A map of more than 25 classes cannot be read."""
    page = Page(render(simulate(classes=classes, sharpness=6.0)[0]))
    assert map_shown is (("table", "class", "map") in page.attributes)
    assert "Which classes are confused" in page.text


def test_the_heat_map_holds_the_counts_of_the_pairs(simulate):
    """Row by row, zero where nothing is flagged."""
    record, _ = simulate(classes=3)
    pairs = {(p.given, p.suggested): p.count for p in summarise(record, judge(record)).class_pairs}
    rows = re.findall(r'<tr><th scope="row" title="(class \d)">.*?</tr>', render(record), re.S)
    cells = re.findall(r"--shade:[\d.]+\">([\d,]+)</td>", render(record))
    assert ["class 0", "class 1", "class 2"] == rows
    assert sorted(pairs.values()) == sorted(int(cell) for cell in cells)


def test_without_flags_the_lowest_scores_are_shown(by_hand):
    """Clean labels still have something to look at."""
    p = np.repeat(np.eye(2), 30, axis=0) * 0.8 + 0.1
    page = Page(render(by_hand(p, np.repeat([0, 1], 30))))
    assert "None of 60 labels looks wrong." in page.text
    assert "The lowest scores" in page.text
    assert page.tags.count("article") == 60
    assert "Which classes are confused" not in page.text


def test_one_flag_is_spoken_of_in_the_singular(by_hand):
    """One of sixty-one labels looks wrong."""
    p = np.vstack([np.repeat(np.eye(2), 30, axis=0), [[0, 1]]]) * 0.8 + 0.1
    page = Page(render(by_hand(p, [*np.repeat([0, 1], 30), 0])))
    assert "1 of 61 labels looks wrong. It was given as “a” and looks like “b”." in page.text


def test_pairs_that_occur_once_are_not_called_most_frequent(by_hand):
    """Two flags, two pairs."""
    p = np.vstack([np.repeat(np.eye(2), 30, axis=0), [[0, 1], [1, 0]]]) * 0.8 + 0.1
    page = Page(render(by_hand(p, [*np.repeat([0, 1], 30), 0, 1])))
    assert "2 of 62 labels look wrong. No two classes stand out" in page.text


def test_no_labels_make_a_page_all_the_same(by_hand):
    """Nothing to audit is said."""
    page = Page(render(by_hand(np.full((4, 2), 0.5), [-1] * 4)))
    assert page.open == []
    assert "There are no labels to audit." in page.text
    assert "article" not in page.tags


def test_warnings_are_on_the_page(simulate):
    """Memorised labels change what the numbers mean."""
    page = Page(render(simulate(rows=4000, noise=0.3, memorised=0.7)[0]))
    assert "The model learnt its labels by heart" in page.text
    assert "Learnt by heart with the others" in page.text


def test_metrics_may_have_gaps_and_unknown_columns(simulate):
    """A curve without any value is left out of the legend."""
    metrics = [{"epoch": 1, "loss": float("nan"), "trained_accuracy": 0.5, "phase": "warm-up"}]
    page = Page(render(simulate()[0], metrics=metrics))
    assert "trained rows, given labels" in page.text
    assert "held-out rows, given labels" not in page.text
    assert "test accuracy" not in page.text


def test_the_file_replaces_an_older_one(simulate, tmp_path):
    """Whole, in UTF-8, with nothing beside it."""
    record, _ = simulate()
    verdicts = judge(record)
    path = tmp_path / "report.html"
    path.write_text("old")
    page = render_report(
        summary=summarise(record, verdicts),
        table=build_table(record, verdicts, sample_ids=np.arange(1500)),
        title="half a character \udcff",
    )
    write_report(path, page)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path] == list(tmp_path.iterdir())


def test_a_folder_that_is_missing_is_an_error_of_ours(tmp_path):
    """One line of cause, one of repair."""
    with pytest.raises(RunError, match=r"Cannot write .*report\.html"):
        write_report(tmp_path / "missing" / "report.html", "<!doctype html>")


@pytest.mark.parametrize("top", [0, 301])
def test_the_number_of_suspects_is_bounded(simulate, top):
    """The table has them all."""
    with pytest.raises(ParameterError, match="top must be in"):
        render(simulate()[0], top=top)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (0.0004, "<0.1 %"),
        (0.0312, "3.1 %"),
        (0.0996, "10 %"),
        (0.95, "95 %"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_shares_are_written_with_two_digits_that_count(share, text):
    """Short, and never misleadingly zero."""
    assert text == percent(share)


def test_long_texts_are_cut_and_control_characters_replaced():
    """On one line."""
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcd", 4) == "abcd"
    assert shorten("a\nb\u202ec", 10) == "a�b�c"
