"""Titles with wrong labels: learn from character n-grams, and find the wrong ones.

python examples/text.py
"""

import tempfile

import numpy as np
import pandas as pd

import thresher

WORDS = {
    "harvest": ["wheat", "barley", "silo", "combine", "tractor", "yield", "seed", "field", "grain"],
    "football": ["goal", "keeper", "penalty", "striker", "league", "derby", "coach", "cup", "foul"],
    "markets": ["shares", "bonds", "rally", "index", "bank", "profit", "merger", "broker", "fund"],
}
COMMON = ["after", "before", "new", "old", "rise", "fall", "record", "week", "town", "report"]
random = np.random.default_rng(0)


def titles(rows):
    """Six words each: four of the topic, two that every topic has."""
    topics = random.choice(list(WORDS), rows)
    words = ([*random.choice(WORDS[topic], 4), *random.choice(COMMON, 2)] for topic in topics)
    return pd.DataFrame(
        {"title": [" ".join(random.permutation(w)) for w in words], "label": topics}
    )


# A fifth of the 1,200 training titles gets another label; which ones, only this script knows.
train, test = titles(1_200), titles(300)
wrong = random.random(len(train)) < 0.2
names = list(WORDS)
others = [random.choice([name for name in names if name != own]) for own in train["label"]]
train["label"] = train["label"].where(~wrong, others)

with tempfile.TemporaryDirectory() as folder:
    result = thresher.fit(train, text=["title"], test=test, out=f"{folder}/run")
    audit = pd.read_parquet(result.run.audit)

flagged = audit["is_label_issue"].to_numpy()
first = audit["rank"].argmin()
print(f"accuracy on the test titles  {result.summary['test_accuracy']:.1%}")
print(f"flagged {flagged.sum()} labels, of which {wrong[flagged].mean():.1%} are wrong")
print(f"most suspect: {train['title'][first]!r}, labelled {train['label'][first]}")
