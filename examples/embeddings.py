"""Embeddings made elsewhere, in .npy files, with wrong labels: train, and find them.

python examples/embeddings.py
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import thresher

random = np.random.default_rng(0)
digits = load_digits()
order = random.permutation(len(digits.target))
train, test = order[:1_400], order[1_400:]

# What an encoder would give: 32 numbers an image.
encoder = PCA(32, random_state=0).fit(digits.data[train])
vectors = encoder.transform(digits.data).astype(np.float32)

# A fifth of the training labels become another digit; which ones, only this script knows.
labels = digits.target.copy()
wrong = random.random(len(train)) < 0.2
labels[train[wrong]] = (labels[train[wrong]] + random.integers(1, 10, wrong.sum())) % 10

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder)
    np.save(path / "X.npy", vectors[train])
    np.save(path / "y.npy", labels[train])
    result = thresher.fit(path / "X.npy", test=(vectors[test], labels[test]), out=path / "run")
    audit = pd.read_parquet(result.run.audit)

flagged = audit["is_label_issue"].to_numpy()
print(f"accuracy on the test rows  {result.summary['test_accuracy']:.1%}")
print(f"flagged {flagged.sum()} labels, of which {wrong[flagged].mean():.1%} are wrong")
