"""The whole way on real digits: a simulated run, the table, the summary and the report."""

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict

from thresher.audit import build_table, judge, render_report, summarise, write_table
from thresher.audit.evidence_file import Evidence


@pytest.fixture(scope="module")
def noisy_digits():
    """A fifth of the labels is redrawn among the nine wrong ones; held-out log-probabilities."""
    inputs, true = load_digits(return_X_y=True)
    random = np.random.default_rng(7)
    wrong = random.random(len(true)) < 0.2
    given = np.where(wrong, (true + random.integers(1, 10, len(true))) % 10, true)
    model = LogisticRegression(C=0.2, max_iter=500)
    probabilities = cross_val_predict(model, inputs / 16, given, cv=3, method="predict_proba")
    return inputs, true, given, np.log(probabilities.clip(1e-6))


def test_wrong_digits_come_first_and_their_digit_is_suggested(simulate, noisy_digits):
    """Average precision, noise rate, precision and recall of the flags, suggestions."""
    _, true, given, logits = noisy_digits
    record, _ = simulate(rows=len(true), classes=10, base=logits, labels=given, epochs=5)
    verdicts = judge(record)
    bad = given != true
    assert average_precision_score(bad, -verdicts.label_score) > 0.95
    rate = verdicts.noise_rate
    assert rate.low - 0.02 <= bad.mean() <= rate.high + 0.02
    flagged = verdicts.is_label_issue
    assert bad[flagged].mean() > 0.7
    assert flagged[bad].mean() > 0.9
    assert (verdicts.suggested[bad] == true[bad]).mean() > 0.85


def test_everything_is_written(simulate, noisy_digits, tmp_path):
    """A table and a report with the pictures of the suspects."""
    inputs, true, given, logits = noisy_digits
    record, _ = simulate(rows=len(true), classes=10, base=logits, labels=given, epochs=5)

    def evidence(row):
        buffer = io.BytesIO()
        pixels = (inputs[row].reshape(8, 8) * 15.9).astype(np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        return Evidence(buffer.getvalue())

    verdicts = judge(record)
    table = build_table(record, verdicts, sample_ids=np.arange(len(true)))
    write_table(table, tmp_path / "audit.parquet")
    page = render_report(
        summary=summarise(record, verdicts),
        table=table,
        evidence=evidence,
        title="digits",
    )
    assert page.count("data:image/png;base64,") == 60
    assert len(page) < 300_000
