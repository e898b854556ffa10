"""A finished run read back from its folder: probabilities for cleanlab, another level or score."""

import json
import shutil
import subprocess
import sys

import cleanlab.filter
import numpy as np
import pytest
from cleanlab import Datalab
from safetensors.numpy import load_file, save_file

import thresher.fitting
from thresher.audit import judge, judge_again, pred_probs, probabilities, record_of_run
from thresher.audit.features import feature_issues
from thresher.audit.table import build_table, read_table, write_table
from thresher.errors import ParameterError, RunError
from thresher.run_folder import RunFolder


def blobs(rows=400, classes=4, unlabelled=12):
    """Features, given labels of which a fifth is wrong, and none for the last rows."""
    random = np.random.default_rng(0)
    true = random.integers(0, classes, rows)
    features = 3 * np.eye(classes, 8)[true] + random.normal(size=(rows, 8))
    shift = random.integers(1, classes, rows)
    given = np.where(random.random(rows) < 0.2, (true + shift) % classes, true)
    names = np.array([f"class {c}" for c in given], dtype=object)
    names[rows - unlabelled :] = None
    return features.astype(np.float32), names


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run, and the record that its training left in memory; nobody writes there."""
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        record = thresher.fitting.Job.record
        patch.setattr(
            thresher.fitting.Job, "record", lambda job: seen.append(record(job)) or seen[-1]
        )
        result = thresher.fitting.fit(
            blobs(), epochs=8, out=tmp_path_factory.mktemp("blobs") / "run", device="cpu"
        )
    return result.run, seen[-1]


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the run, to spoil."""
    shutil.copytree(finished[0].path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def test_probabilities_are_those_of_the_training(finished):
    """Every labelled row to the bit; of an unlabelled one, the most probable class."""
    folder, record = finished
    found, expected = probabilities(folder.path), pred_probs(record)
    labelled = record.labels >= 0
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[labelled], expected[labelled])
    np.testing.assert_array_equal(
        found[~labelled].argmax(axis=1), expected[~labelled].argmax(axis=1)
    )
    np.testing.assert_allclose(found[~labelled].max(1), expected[~labelled].max(1), rtol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_a_run_is_given_in_any_form(finished):
    """Its object, its path, the name of its path."""
    folder, _ = finished
    for form in (folder, folder.path, str(folder.path)):
        np.testing.assert_array_equal(probabilities(form), probabilities(folder))


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # cleanlab's own call of pandas
def test_cleanlab_takes_them_unchanged(finished):
    """find_label_issues and Datalab; they flag nearly what the run flags."""
    folder, record = finished
    labelled = record.labels >= 0
    p, labels = probabilities(folder)[labelled], record.labels[labelled]
    ours = read_table(folder.audit)["is_label_issue"].to_numpy()[labelled]
    theirs = cleanlab.filter.find_label_issues(labels, p)
    assert theirs.sum() > 40
    assert np.mean(theirs != ours) <= 0.05
    lab = Datalab({"label": labels}, label_name="label", verbosity=0)
    lab.find_issues(pred_probs=p, issue_types={"label": {}})
    found = lab.get_issues("label")
    assert {"is_label_issue", "label_score", "given_label", "predicted_label"} <= set(found)
    assert np.mean(found["is_label_issue"] != ours) <= 0.05


def test_the_same_level_gives_the_same_table(finished):
    """Columns, values and facts."""
    own = read_table(finished[0].audit)
    again = judge_again(finished[0])
    assert again.equals(own)
    assert again.schema.metadata == own.schema.metadata


@pytest.mark.parametrize("level", ["high_precision", "high_recall"])
def test_another_level_is_that_of_the_record(finished, level):
    """The verdicts that the training would have given."""
    folder, record = finished
    again, expected = judge_again(folder, level), judge(record, level)
    np.testing.assert_array_equal(again["is_label_issue"].to_numpy(), expected.is_label_issue)
    assert json.loads(again.schema.metadata[b"thresher"])["level"] == level
    assert again["sample_id"].equals(read_table(folder.audit)["sample_id"])


def test_paths_and_texts_are_kept(copied):
    """What people recognise the samples by."""
    own = read_table(copied.audit)
    record = record_of_run(copied)
    n = len(record)
    paths, texts = [f"{i}.png" for i in range(n)], [f"text {i}" for i in range(n)]
    table = build_table(
        record, judge(record), sample_ids=own["sample_id"], paths=paths, texts=texts
    )
    write_table(table, copied.audit)
    again = judge_again(copied, "high_recall")
    assert paths == again["path"].to_pylist()
    assert texts == again["text"].to_pylist()


def test_what_features_said_is_kept(copied):
    """Outliers still lose their suggestion, duplicates keep their numbers."""
    features, _ = blobs()
    features[5] = -10 * features[5, ::-1]
    features[9] = features[8]
    own = read_table(copied.audit)
    record = record_of_run(copied)
    issues = feature_issues(features, features)
    assert issues.is_outlier_issue.any()
    assert issues.near_duplicate_set.max() == 0
    table = build_table(record, judge(record, issues=issues), sample_ids=own["sample_id"])
    write_table(table, copied.audit)
    again = judge_again(copied, "high_recall")
    for name in ("outlier_score", "is_outlier_issue", "near_duplicate_set", "suggested_label"):
        assert again[name].equals(table[name]), name


def test_the_ensemble_takes_the_features_of_the_run(copied):
    """Half precision, in the order of the audit."""
    features, _ = blobs()
    with pytest.raises(RunError, match="keeps no features"):
        judge_again(copied, score="ensemble")
    np.save(copied.features, features.astype(np.float16))
    again = judge_again(copied, score="ensemble")
    expected = judge(record_of_run(copied), score="ensemble", features=features)
    np.testing.assert_allclose(
        again["label_score"].fill_null(np.nan).to_numpy(), expected.label_score, atol=0.02
    )
    assert json.loads(again.schema.metadata[b"thresher"])["score"] == "ensemble"
    copied.features.write_bytes(b"rubbish")
    with pytest.raises(RunError, match=r"features\.npy cannot be read"):
        judge_again(copied, score="ensemble")


def test_neither_needs_torch(finished):
    """In a process of its own."""
    code = (
        "import sys, thresher.audit as audit; from pathlib import Path; "
        "from thresher.run_folder import RunFolder; "
        "assert audit.probabilities(sys.argv[1]).shape == (400, 4); "
        "audit.judge_again(RunFolder(Path(sys.argv[1])), 'high_recall'); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, finished[0].path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_an_unknown_level_is_refused(finished):
    """With the nearest one."""
    with pytest.raises(ParameterError, match='Did you mean "high_recall"'):
        judge_again(finished[0], "recall")


@pytest.mark.parametrize("content", [None, b"", b"rubbish" * 100])
def test_a_history_that_is_gone_or_damaged_is_refused(copied, content):
    """It is named."""
    copied.history.unlink()
    if content is not None:
        copied.history.write_bytes(content)
    with pytest.raises(RunError, match=r"history\.safetensors"):
        probabilities(copied)


def test_a_history_of_another_run_is_refused(copied):
    """Rows would be taken for others."""
    columns = {name: values[:100] for name, values in load_file(copied.history).items()}
    facts = json.dumps({"classes": [f"class {c}" for c in range(4)]})
    save_file(columns, copied.history, {"thresher": facts})
    with pytest.raises(RunError, match="are of different runs"):
        probabilities(copied)


def test_a_run_that_is_no_run_or_not_finished_is_refused(copied, tmp_path):
    """By its path."""
    with pytest.raises(RunError, match="is not a run folder"):
        probabilities(tmp_path)
    copied.state.mkdir()
    with pytest.raises(RunError, match="is not finished"):
        probabilities(copied.path)
    copied.state.rmdir()
    copied.audit.unlink()
    with pytest.raises(RunError, match=r"holds no audit\.parquet"):
        probabilities(copied.path)
