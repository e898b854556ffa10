"""Free text on the command line: learned from when it is named, and shown where people look."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import thresher
from thresher.data import open_data

WORDS = {
    "sport": ["goal", "match", "league", "striker", "referee", "penalty", "coach"],
    "money": ["bank", "shares", "market", "profit", "merger", "budget"],
}


@pytest.fixture
def titles(tmp_path):
    """titles.csv: 240 titles of two topics, a tenth under the wrong one."""
    rng = np.random.default_rng(4)
    topics = np.array(list(WORDS))[np.arange(240) % 2]
    frame = pd.DataFrame({"title": [" ".join(rng.choice(WORDS[each], 5)) for each in topics]})
    wrong = np.zeros(240, bool)
    wrong[rng.permutation(240)[:24]] = True
    frame["topic"] = np.where(wrong, np.where(topics == "sport", "money", "sport"), topics)
    frame.to_csv(tmp_path / "titles.csv", index=False)
    return frame, wrong


def test_texts_are_learned_from_and_shown(call, titles, tmp_path):
    """In the audit, in the report and on the screen; and predicted again."""
    frame, wrong = titles
    fit = ("fit", "titles.csv", "--text", "title", "--label", "topic", "--epochs", 20)
    assert call(*fit, "--out", "run").code == 0
    audit = pq.read_table(tmp_path / "run/audit.parquet").to_pandas()
    assert audit["text"].tolist() == frame["title"].tolist()
    assert wrong[audit["rank"].to_numpy().argsort()[:24]].mean() > 0.7
    worst = audit.sort_values("rank")["text"].iloc[0]
    assert worst in call("audit", "run", "--top", 1).out
    found = json.loads(call("audit", "run", "--top", 1, "--json").out)
    assert found["suspects"][0]["text"] == worst
    assert worst in (tmp_path / "run/report.html").read_text(encoding="utf-8")
    predicted = thresher.predict("run", pd.DataFrame({"title": ["penalty for the striker"]}))
    assert predicted.labels == ["sport"]


def test_a_text_nobody_named_is_left_out_aloud(call, titles, tmp_path):
    """With the option that takes it; alone it leaves nothing to learn from."""
    done = call("fit", "titles.csv", "--label", "topic")
    assert done.code == 2
    assert "--text title" in done.err


def test_the_fingerprint_belongs_to_the_texts_and_not_to_what_is_made_of_them(titles):
    """Machines round differently; another text is other data."""
    frame, _ = titles
    read = open_data(frame, label="topic", text=["title"])
    nudged = type(read)(**{**vars(read), "inputs": read.inputs + np.float32(1e-6)})
    assert nudged.fingerprint == read.fingerprint
    frame.loc[7, "title"] += " again"
    assert open_data(frame, label="topic", text=["title"]).fingerprint != read.fingerprint
