"""A table of numbers, categories, dates and gaps, with wrong labels: train, and find them.

python examples/table.py
"""

import tempfile

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer

import thresher

random = np.random.default_rng(0)
data = load_breast_cancer(as_frame=True)
frame = data.data.copy()
frame["clinic"] = random.choice(["north", "south", None], len(frame))
frame["visit"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 700, 569), "D")
frame.loc[random.random(len(frame)) < 0.05, "mean texture"] = np.nan
frame["label"] = np.array(["malignant", "benign"])[data.target]

# A tenth of the training rows get the other label; which ones, only this script knows.
train, test = frame[:400].copy(), frame[400:]
wrong = random.random(len(train)) < 0.1
other = train["label"].map({"malignant": "benign", "benign": "malignant"})
train["label"] = train["label"].where(~wrong, other)

with tempfile.TemporaryDirectory() as folder:
    result = thresher.fit(train, test=test, out=f"{folder}/run")
    audit = pd.read_parquet(result.run.audit)

flagged = audit["is_label_issue"].to_numpy()
print(f"accuracy on the test rows  {result.summary['test_accuracy']:.1%}")
print(f"flagged {flagged.sum()} labels, of which {wrong[flagged].mean():.1%} are wrong")
print(
    "features of the date:",
    *[n for n in result.model.encoding.features if "visit" in n],
    sep="\n  ",
)
