"""The report: one file that is safe, complete and small, whatever it is given."""

import dataclasses
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from thresher.audit import build_table, judge, summarise, write_report
from thresher.audit.evidence_file import Evidence, Neighbour
from thresher.audit.report import percent, render_report, rows_shown, shorten
from thresher.decisions import Decided
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
    assert f"suggested: {suggested}" in card


def accept_all(record, number, word="accept"):
    """Decisions on the most suspect rows."""
    verdicts = judge(record)
    rows = np.argsort(np.where(verdicts.rank > 0, verdicts.rank, len(record)))[:number]
    labels = verdicts.suggested if word == "accept" else record.labels
    return {f"s{row}": Decided(f"s{row}", word, record.classes[labels[row]]) for row in rows}


@pytest.mark.parametrize(("number", "drawn"), [(49, False), (50, True)])
def test_the_precision_of_the_ranking_is_drawn_from_fifty_decisions_on(simulate, number, drawn):
    """Fewer say too little; the counts are shown in any case."""
    record, _ = simulate()
    page = Page(render(record, decisions=accept_all(record, number)))
    assert f"{number} samples are decided." in page.text
    assert f"Of {number} suggestions that people judged, {number} (100 %) were right." in page.text
    assert drawn is ("Precision of the ranking" in page.text)
    assert drawn is not ("is shown from 50 decisions on" in page.text)
    assert f"suggestion accepted {number} given label kept 0" in page.text


def test_unsure_decisions_do_not_count_towards_the_fifty(simulate):
    """Nobody knows whether these labels were wrong."""
    record, _ = simulate()
    page = Page(render(record, decisions=accept_all(record, 60, "unsure")))
    assert "60 samples are decided." in page.text
    assert "Precision of the ranking" not in page.text
    assert "suggestions that people judged" not in page.text


def test_a_decided_suspect_says_so(simulate):
    """Only that one."""
    record, _ = simulate()
    text = render(record, decisions=accept_all(record, 1, "keep"))
    assert text.count("decided: given label kept") == 1
    other = {name: Decided(name, "other:<b>", "<b>") for name in accept_all(record, 1)}
    assert "decided: &lt;b&gt;" in render(record, decisions=other)


def test_without_decisions_nothing_is_said_of_them(simulate):
    """A report right after the training."""
    page = Page(render(simulate()[0])).text
    assert "What people decided" not in page
    assert "decided:" not in page


def test_what_suggestions_are_worth_is_estimated(simulate):
    """As a number; with a warning where most of them are wrong."""
    noisy, clean = (
        Page(render(simulate(rows=6000, noise=noise, sharpness=sharpness)[0])).text
        for noise, sharpness in ((0.3, 4.0), (0.0, 2.5))
    )
    assert re.search(r"suggestions right ≈ \d+ %", noisy)
    assert "Do not apply all suggestions" not in noisy
    assert "Do not apply all suggestions" in clean
    assert "would probably make the labels worse" in clean


def test_evidence_is_shown_beside_the_sample(simulate):
    """Picture, cells, history and neighbours; of a sample that has none, nothing."""
    record, _ = simulate()
    table = build_table(record, judge(record), sample_ids=np.arange(1500))
    first, second, _ = rows_shown(table, 3).tolist()
    known = Evidence(
        PNG,
        {"title": "from the file"},
        np.array([0.5, 0.25], dtype=np.float32),
        (Neighbour("n1", "dog"), Neighbour("n2", "<i>"), Neighbour("n3", "dog")),
    )
    evidence = {first: known, second: Evidence(cells={"title": "of another"})}
    page = Page(render(record, top=3, evidence=evidence.get))
    assert "from the file" in page.text
    assert "of another" in page.text
    assert "Similar samples: 2 × dog, <i>" in page.text
    assert page.tags.count("img") == 1
    strips = [
        value for tag, name, value in page.attributes if name == "aria-label" and "epoch" in value
    ]
    assert ["Probability of the given label: 50 % in the first epoch, 25 % in the last"] == strips
    assert "The strip shows" in page.text


def test_samples_of_one_name_keep_their_own_pictures(simulate):
    """Identifiers need not be unique."""
    seen = []
    render(simulate()[0], sample_ids=["same"] * 1500, top=3, evidence=seen.append)
    assert len(set(seen)) == 3


def test_held_out_samples_are_marked(simulate):
    """With what that means; nothing of it where no such sample is shown."""
    record, _ = simulate(held_out=1.0)
    assert Page(render(record)).text.count("held out ") >= 60
    assert "seen but never learnt from" in Page(render(record)).text
    assert "held out" not in Page(render(simulate(held_out=0.0)[0])).text.replace("held-out", "")


def test_a_suspect_without_a_suggestion_is_shown(simulate):
    """An outlier has no right class."""
    record, _ = simulate()
    verdicts = judge(record)
    verdicts = dataclasses.replace(
        verdicts,
        suggested=np.where(verdicts.rank == 1, -1, verdicts.suggested),
        p_suggested=np.where(verdicts.rank == 1, np.nan, verdicts.p_suggested),
    )
    table = build_table(record, verdicts, sample_ids=np.arange(1500))
    summary = summarise(record, verdicts)
    assert sum(pair.count for pair in summary.class_pairs) == summary.n_label_issues - 1
    page = Page(render_report(summary=summary, table=table, top=2))
    assert page.text.count("suggested: ") == 1


def test_tables_and_pictures_can_be_heard(simulate):
    """Every column of a table has a header, every drawing a name, every picture a text."""
    record, _ = simulate()
    page = Page(render(record, metrics=METRICS, evidence=lambda row: Evidence(PNG), top=3))
    named = [tag for tag, name, value in page.attributes if name == "aria-label" and value]
    assert page.tags.count("svg") == named.count("svg") >= 4
    texts = [tag for tag, name, value in page.attributes if name == "alt" and value]
    assert page.tags.count("img") == len(texts) == 3
    scopes = [value for tag, name, value in page.attributes if (tag, name) == ("th", "scope")]
    assert page.tags.count("th") == len(scopes)
    assert {"row", "col"} == set(scopes)
    assert page.tags.count("main") == page.tags.count("h1") == 1


def test_nothing_is_loaded_or_run(simulate):
    """No script, no address, and a policy that forbids both."""
    page = Page(render(simulate()[0], metrics=METRICS, evidence=lambda row: Evidence(PNG)))
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
        evidence=lambda row: Evidence(
            PNG, {HOSTILE: HOSTILE}, None, (Neighbour(HOSTILE, HOSTILE),) * 2
        ),
        decisions={
            f"{HOSTILE}{row}": Decided(f"{HOSTILE}{row}", f"other:{HOSTILE}1", f"{HOSTILE}1")
            for row in range(len(record))
        },
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


def test_hostile_texts_are_inert_in_a_browser(simulate, tmp_path):
    """Whatever a real parser makes of them, nothing runs and nothing is added to the page."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("there is no chromium")
    attack = (
        "</title></style></span><script>document.title='owned'</script>"
        "<img src=x onerror=\"document.title='owned'\"><!--"
    )
    record, _ = simulate()
    record = dataclasses.replace(record, classes=tuple(f"{c}{attack}" for c in range(5)))
    calm = dataclasses.replace(record, classes=tuple("abcde"))
    pages = []
    for name, page in (("hostile", render(record, title=attack)), ("calm", render(calm))):
        path = tmp_path / f"{name}.html"
        write_report(path, page)
        done = subprocess.run(
            [
                browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri(),
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        pages.append(Page(done.stdout))
    assert "document.title='owned'" in pages[0].text
    assert sorted(pages[1].tags) == sorted(pages[0].tags)
    assert "script" not in pages[0].tags


def test_pictures_that_are_none_are_not_shown(simulate):
    """An SVG could carry a script."""
    page = Page(render(simulate()[0], evidence=lambda row: Evidence(b"<svg onload='x'/>"), top=3))
    assert "img" not in page.tags


def test_small_pictures_keep_their_pixels(simulate):
    """A digit of 28 pixels is not blurred."""
    assert 'class="pixelated"' in render(simulate()[0], evidence=lambda row: Evidence(PNG), top=1)


def test_the_file_stays_below_five_megabytes(simulate):
    """Large pictures, long cells that must be escaped, many classes, the most suspects."""
    record, _ = simulate(rows=4000, classes=120, noise=0.5, sharpness=7.0)
    names = tuple(f"{'&' * 300}{c}" for c in range(120))
    verdicts = judge(record)
    assert verdicts.is_label_issue.sum() > 300
    text = render(
        dataclasses.replace(record, classes=names),
        sample_ids=["&" * 500] * 4000,
        evidence=lambda row: Evidence(
            PNG + bytes(60_000),
            {f"{column}{'&' * 99}": "&" * 5000 for column in range(40)},
            np.random.default_rng(0).random(1000, dtype=np.float32),
            tuple(Neighbour("&" * 500, f"{number}{'&' * 300}") for number in range(9)),
        ),
        settings={f"{number}{'&' * 99}": "&" * 5000 for number in range(500)},
        top=300,
        decisions={"&" * 500: Decided("&" * 500, "other:x", "&" * 300)},
    )
    assert len(text.encode()) < 5_000_000
    assert "pictures are left out" in Page(text).text


@pytest.mark.parametrize(("classes", "map_shown"), [(30, True), (31, False)])
def test_many_classes_are_listed_by_pairs(simulate, classes, map_shown):
    """A map of more than 30 classes cannot be read."""
    page = Page(render(simulate(classes=classes, sharpness=6.0)[0]))
    assert map_shown is (("table", "class", "map large") in page.attributes)
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


def test_a_noise_rate_that_was_estimated_is_drawn_epoch_by_epoch(simulate):
    """One that was given is a number among the settings, and no curve."""
    record, _ = simulate()
    for rates, drawn in (([0.0, 0.2, 0.3], True), ([0.3, 0.3, 0.3], False)):
        metrics = [
            {"epoch": epoch, "loss": 1.0, "rate": rate} for epoch, rate in enumerate(rates, 1)
        ]
        page = Page(render(record, metrics=metrics))
        assert drawn == ("estimate that the method went by" in page.text)


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


def compared(groups):
    """What a run's summary says of two classes in groups of these names, each of fewer rows."""
    return {
        "column": "site",
        "judged_on": "test",
        "groups": [
            {"group": name, "n": 40 - 5 * place, "accuracy": 0.9, "small": place > 3}
            for place, name in enumerate(groups)
        ],
        "worst_group": groups[0],
        "worst_group_accuracy": 0.9,
        "demographic_parity_gap": 0.1,
        "equalised_odds_gap": None,
        "selection": [
            {
                "label": label,
                "group": name,
                "n": 40 - 5 * place,
                "selection_rate": 0.25,
                "label_precision": None,
                "label_recall": None,
                "small": place > 3,
            }
            for label in ("<a>", "b")
            for place, name in enumerate(groups)
        ],
    }


def test_few_groups_stand_beside_each_other(simulate):
    """A line a class; of cells with few rows neither colour nor an unmarked figure."""
    groups = compared(["home", "<i>", "school", "ward", "unit"])
    page = Page(render(simulate()[0], groups=groups | {"selection": groups["selection"][:-1]}))
    assert page.open == []
    assert "class <i> home school unit* ward <a> 25 % of 35 25 % of 40" in page.text
    assert "25 % of 20* 25 % of 25 b 25 % of 35" in page.text
    kinds = [value for tag, name, value in page.attributes if (tag, name) == ("td", "class")]
    assert kinds.count("few") == 1
    assert ("td", "style", "--shade:0.75") in page.attributes


@pytest.mark.parametrize(("classes", "mapped"), [(5, True), (31, False)])
def test_how_labels_come_about_is_a_map_or_a_list(simulate, classes, mapped):
    """True classes in rows; of many classes the most frequent mistakes alone."""
    matrix = 0.75 * np.eye(classes) + 0.25 * np.roll(np.eye(classes), 1, axis=1)
    record, _ = simulate(classes=classes)
    page, without = Page(render(record, transition=matrix)), Page(render(record))
    assert page.open == []
    assert "How labels come about As the method has it" in page.text
    assert ("given → true ↓" in page.text) == mapped
    assert page.text.count("25 %") - without.text.count("25 %") == (5 if mapped else 30)


def test_many_groups_are_listed(simulate):
    """A line for every class and group, for columns would not find room."""
    page = Page(render(simulate()[0], groups=compared([f"site {each}" for each in range(7)])))
    assert page.open == []
    assert "class group rows trusted <a> site 0 40 25 % <a> site 1 35 25 %" in page.text
