"""The demo: digits with wrong labels, trained twice, audited once.

Only this file holds the true labels; the two trainings get the given ones.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from thresher.data.corruption import corrupt, symmetric_transition
from thresher.fitting import Listener, fit
from thresher.keyed_random import keyed_seed

__all__ = ["demonstrate"]

TEST_SHARE = 0.25
EPOCHS = 60  # of eleven steps: in fewer, memorisation may begin too late to be answered


def demonstrate(
    out: Path, *, noise_rate: float, seed: int, overwrite: bool, listener: Listener
) -> dict[str, Any]:
    """Train on digits with symmetric label noise, with standard training and with thresher.

    Args:
        out: The run folder of thresher's training.
        noise_rate: Share of training labels made wrong, in [0, 1).
        seed: Of the noise, the split and the trainings.
        overwrite: Replace a run that is there.
        listener: Hears notes and epochs.

    Returns:
        The summary of the run, with both test accuracies and how good the audit is.
    """
    import torch
    from sklearn.datasets import load_digits
    from sklearn.metrics import average_precision_score
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.images * (255 / 16)).astype(np.uint8)  # 8×8, sixteen greys
    names = digits.target.astype(str)
    train, test = train_test_split(
        np.arange(len(images)), test_size=TEST_SHARE, stratify=digits.target, random_state=seed
    )
    transition = symmetric_transition(10, noise_rate)
    true = digits.target[train]
    given = corrupt(true, transition, keyed_seed(seed, "demo noise"))
    wrong = given != true
    data, tested = (images[train], given.astype(str)), (images[test], names[test])

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # how sums are rounded would depend on their number, and figures on it
    try:
        # first: a folder that is taken is refused before anything is trained
        result = fit(
            data, test=tested, epochs=EPOCHS, seed=seed, out=out, overwrite=overwrite,
            listener=listener,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as aside:
            standard = fit(
                data, test=tested, epochs=EPOCHS, method="standard", seed=seed,
                out=Path(aside) / "run", audit=False, listener=listener,
            )  # fmt: skip
    finally:
        torch.set_num_threads(threads)

    audit = pq.read_table(result.run.audit)
    score = audit["label_score"].to_numpy()
    flagged = audit["is_label_issue"].to_numpy()
    found = int((flagged & wrong).sum())
    return {
        **result.summary,
        "noise_rate": float(wrong.mean()),
        "standard_test_accuracy": standard.summary["test_accuracy"],
        "average_precision": float(average_precision_score(wrong, -score)) if wrong.any() else None,
        "precision": found / max(1, int(flagged.sum())),
        "recall": found / max(1, int(wrong.sum())),
    }
