"""The audit table: its columns, its nulls, its file, and that other tools read it."""

import dataclasses
import json

import cleanlab
import cleanlab.filter
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cleanlab.classification import CleanLearning
from sklearn.dummy import DummyClassifier

from thresher.audit import REASONS, build_table, judge, pred_probs, write_table
from thresher.audit.features import FeatureIssues
from thresher.audit.table import METADATA_KEY, read_table, table_facts
from thresher.errors import ParameterError, RunError


def audit(record, **options):
    options.setdefault("sample_ids", [f"s{row}" for row in range(len(record))])
    return build_table(record, judge(record), **options)


@pytest.fixture
def record(simulate):
    """Trained, held-out and unlabelled rows, one never seen and one seen once."""
    record, _ = simulate(rows=300, unlabelled=20)
    visits, window = record.visits.copy(), record.window_visits.copy()
    visits[100], window[100] = 0, 0
    visits[101], window[101] = 1, 1
    record.probability_sum[100] = 0
    record.probability_sum[101] /= record.probability_sum[101].sum()
    return dataclasses.replace(record, visits=visits, window_visits=window)


def test_columns_and_types_are_the_documented_ones(record):
    """In this order."""
    expected = [
        ("sample_id", pa.string()),
        ("split", pa.string()),
        ("given_label", pa.string()),
        ("predicted_label", pa.string()),
        ("suggested_label", pa.string()),
        ("label_score", pa.float32()),
        ("is_label_issue", pa.bool_()),
        ("rank", pa.int32()),
        ("p_given", pa.float32()),
        ("p_suggested", pa.float32()),
        ("in_training", pa.bool_()),
        ("reason", pa.string()),
        ("aum", pa.float32()),
        ("confidence", pa.float32()),
        ("variability", pa.float32()),
        ("correctness", pa.float32()),
        ("forgetting", pa.int32()),
        ("visits", pa.int32()),
    ]
    assert expected == [(field.name, field.type) for field in audit(record).schema]


def test_a_path_stands_behind_the_reason(record):
    """Where samples are files."""
    paths = [None, *(f"images/{row}.png" for row in range(1, 300))]
    table = audit(record, paths=paths)
    assert table.column_names[11:13] == ["reason", "path"]
    assert paths == table["path"].to_pylist()


def test_the_split_tells_trained_held_out_and_unlabelled_rows(record):
    """Thirty held-out rows first, twenty unlabelled last."""
    split = audit(record)["split"].to_pylist()
    assert ["held-out"] * 30 + ["train"] * 250 + ["unlabelled"] * 20 == split


def test_labels_are_class_names(record):
    """The most probable class, and the most probable other than the given one."""
    table = audit(record)
    mean = record.probability_sum / record.window_visits.clip(min=1)[:, None]
    for row in [0, 50, 101, 250]:
        given = record.labels[row]
        rival = max((c for c in range(5) if c != given), key=lambda c: mean[row, c])
        assert table["given_label"][row].as_py() == f"class {given}"
        assert table["predicted_label"][row].as_py() == f"class {mean[row].argmax()}"
        assert table["suggested_label"][row].as_py() == f"class {rival}"
        assert table["p_given"][row].as_py() == pytest.approx(mean[row, given])
        assert table["p_suggested"][row].as_py() == pytest.approx(mean[row, rival])


def test_what_is_not_known_is_null(record):
    """Unlabelled rows and a row never seen have no score, no rank, no diagnostics."""
    table = audit(record)
    unknown = [100, *range(280, 300)]
    for name in (
        "label_score",
        "rank",
        "p_given",
        "aum",
        "confidence",
        "correctness",
        "forgetting",
    ):
        nulls = np.flatnonzero(table[name].is_null().to_numpy())
        assert unknown == nulls.tolist(), name
    assert table["given_label"].null_count == 20
    assert table["predicted_label"].null_count == table["suggested_label"].null_count == 1
    assert table["is_label_issue"].null_count == table["in_training"].null_count == 0


def test_an_unlabelled_row_is_suggested_its_prediction(record):
    """With the probability of the finished model."""
    row = audit(record).slice(299).to_pylist()[0]
    best = record.final_probability[-1].argmax()
    assert row["predicted_label"] == row["suggested_label"] == f"class {best}"
    assert row["p_suggested"] == pytest.approx(record.final_probability[-1].max())
    assert (row["is_label_issue"], row["in_training"], row["reason"]) == (
        False,
        False,
        "unlabelled",
    )


def test_ranks_count_from_one_in_the_order_of_the_scores(record):
    """No gap, no repetition."""
    table = audit(record)
    frame = table.to_pandas().dropna(subset=["rank"]).sort_values("rank")
    assert list(range(1, 280)) == frame["rank"].astype(int).tolist()
    assert frame["label_score"].is_monotonic_increasing


def test_reasons_are_of_the_vocabulary_and_given_for_every_flag(record):
    """A row that is no issue has a reason only where something must be said."""
    table = audit(record).to_pandas()
    assert set(table["reason"].dropna()) <= set(REASONS)
    assert table.loc[table["is_label_issue"], "reason"].notna().all()
    silent = table.loc[~table["is_label_issue"] & (table["split"] != "unlabelled"), "reason"]
    assert silent.dropna().tolist() == ["few_visits", "few_visits"]


def test_the_metadata_hold_classes_and_noise_rate(record):
    """Under one key, as JSON."""
    table = audit(record)
    facts = json.loads(table.schema.metadata[METADATA_KEY])
    assert facts == table_facts(table)
    assert facts["schema"] == 1
    assert list(record.classes) == facts["classes"]
    assert facts["n_label_issues"] == table["is_label_issue"].to_numpy().sum()
    assert facts["noise_rate"]["low"] <= facts["noise_rate"]["estimate"]


def test_a_foreign_table_is_no_audit_table():
    """Said, not guessed."""
    with pytest.raises(ParameterError, match="not an audit table"):
        table_facts(pa.table({"x": [1]}))


def test_a_table_of_a_newer_version_is_refused(record):
    """Its columns may mean something else."""
    newer = audit(record).replace_schema_metadata({METADATA_KEY: b'{"schema": 99}'})
    with pytest.raises(ParameterError, match="schema 99"):
        table_facts(newer)


def test_the_file_reads_back_equal_and_with_metadata(record, tmp_path):
    """Parquet keeps everything."""
    table = audit(record)
    write_table(table, tmp_path / "audit.parquet")
    again = pq.read_table(tmp_path / "audit.parquet")
    assert again.equals(table)
    assert table_facts(again) == table_facts(table)
    assert [tmp_path / "audit.parquet"] == list(tmp_path.iterdir())


def test_pandas_and_polars_read_the_file_and_compare_labels(record, tmp_path):
    """Two label columns compare without a cast."""
    write_table(audit(record), tmp_path / "audit.parquet")
    pandas, polars = (
        read(tmp_path / "audit.parquet") for read in (pd.read_parquet, pl.read_parquet)
    )
    flagged = pandas[pandas["is_label_issue"]]
    assert (flagged["given_label"] != flagged["suggested_label"]).all()
    agree = polars.filter(
        pl.col("is_label_issue"), pl.col("given_label") == pl.col("predicted_label")
    )
    assert agree.height == 0


def test_identifiers_of_any_kind_become_strings(record):
    """Numbers, mixtures, and file names that are no valid text."""
    assert audit(record, sample_ids=np.arange(300))["sample_id"][7].as_py() == "7"
    mixed = ["a", 1, None, "b\udcff", *range(296)]
    assert ["a", "1", None, "b\\udcff"] == audit(record, sample_ids=mixed)["sample_id"][
        :4
    ].to_pylist()


def test_identifiers_of_another_number_are_refused(record):
    """One for every sample."""
    with pytest.raises(ParameterError, match="sample_ids must have 300 entries, got 2"):
        audit(record, sample_ids=["a", "b"])


def test_a_folder_that_is_missing_is_an_error_of_ours(record, tmp_path):
    """With the system's reason."""
    with pytest.raises(RunError, match="No such file or directory"):
        write_table(audit(record), tmp_path / "missing" / "audit.parquet")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(record, tmp_path, monkeypatch):
    """As when the disk is full."""
    path = tmp_path / "audit.parquet"
    path.write_text("old")

    def full(table, where, **_):
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(RunError, match="No space left"):
        write_table(audit(record), path)
    assert path.read_text() == "old"
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("memorised", [0.0, 0.1])
def test_cleanlab_takes_the_probabilities_and_agrees_with_the_flags(simulate, memorised):
    """Its set and ours differ in at most one row of twenty."""
    record, _ = simulate(rows=3000, sharpness=3.0, memorised=memorised)
    theirs = cleanlab.filter.find_label_issues(record.labels, pred_probs(record))
    assert theirs.sum() > 100
    assert np.mean(theirs != judge(record).is_label_issue) <= 0.05


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # cleanlab's own call of pandas
def test_four_columns_are_those_of_datalab(simulate):
    """Their names, their types, and of both labels the values."""
    record, _ = simulate(rows=300)
    ours = audit(record).to_pandas()
    lab = cleanlab.Datalab({"y": ours["given_label"].to_numpy()}, label_name="y", verbosity=0)
    lab.find_issues(pred_probs=pred_probs(record), issue_types={"label": {}})
    theirs = lab.get_issues("label")
    ours = ours[list(theirs.columns)]
    assert {"is_label_issue", "label_score", "given_label", "predicted_label"} == {*ours.columns}
    for name in ours.columns:
        assert ours[name].dtype.kind == theirs[name].dtype.kind, name
    for name in ("given_label", "predicted_label"):
        assert theirs[name].tolist() == ours[name].tolist()


class Memory(DummyClassifier):
    """A classifier that remembers what it was fitted on."""

    def fit(self, X, y):
        """Take X and y."""
        self.seen = X[:, 0].tolist(), y.tolist()
        return super().fit(X, y)


@pytest.mark.parametrize("whole", [False, True])
def test_cleanlab_learns_from_what_the_file_does_not_flag(simulate, tmp_path, whole):
    """Of the column alone; of the whole table, if the classes are counted as cleanlab counts."""
    record, _ = simulate(rows=300)
    write_table(audit(record), tmp_path / "audit.parquet")
    frame = pd.read_parquet(tmp_path / "audit.parquet")
    rows = np.arange(300)[:, None]
    issues = frame if whole else frame["is_label_issue"].to_numpy()
    if whole:
        with pytest.raises(ValueError, match="given_label"):
            CleanLearning(Memory()).fit(rows, record.labels, label_issues=frame)
        frame["given_label"] = record.labels
    learned = CleanLearning(Memory()).fit(rows, record.labels, label_issues=issues)
    left = np.flatnonzero(~judge(record).is_label_issue)
    assert 0 < len(left) < 300
    assert (left.tolist(), record.labels[left].tolist()) == learned.clf.seen


def test_features_add_columns_at_the_end(record):
    """Three for outliers, two more for near-duplicates; null where there is nothing to say."""
    score = np.full(300, 0.75, dtype=np.float32)
    score[0] = np.nan
    sets = np.full(300, -1, dtype=np.int32)
    sets[[7, 9]] = 0
    for known, width in ((None, 3), (sets, 5)):
        issues = FeatureIssues(score, np.arange(300) == 5, known)
        table = build_table(record, judge(record, issues=issues), sample_ids=np.arange(300))
        assert [
            ("outlier_score", pa.float32()),
            ("is_outlier_issue", pa.bool_()),
            ("verdict", pa.string()),
            ("near_duplicate_set", pa.int32()),
            ("is_near_duplicate_issue", pa.bool_()),
        ][:width] == [(each.name, each.type) for each in table.schema][18:]
    assert [None, 0.75] == table["outlier_score"].to_pylist()[:2]
    assert [5] == np.flatnonzero(table["is_outlier_issue"].to_numpy()).tolist()
    flagged = table["is_label_issue"].to_numpy()
    outlier = np.arange(300) == 5
    expected = np.where(flagged, np.where(outlier, "out-of-distribution", "mislabelled"), "clean")
    judged = judge(record).judged
    assert expected[judged].tolist() == table["verdict"].filter(pa.array(judged)).to_pylist()
    assert table["verdict"].null_count == (~judged).sum()
    assert [0, None, 0] == table["near_duplicate_set"].to_pylist()[7:10]
    assert [True, False, True] == table["is_near_duplicate_issue"].to_pylist()[7:10]
    assert table_facts(table)["schema"] == 1


def test_an_older_table_without_score_and_features_is_read(record, tmp_path):
    """New columns and facts are additions."""
    table = audit(record)
    facts = {key: value for key, value in table_facts(table).items() if key != "score"}
    write_table(
        table.replace_schema_metadata({METADATA_KEY: json.dumps(facts).encode()}),
        tmp_path / "audit.parquet",
    )
    assert facts == table_facts(read_table(tmp_path / "audit.parquet"))


def test_a_table_that_is_gone_or_damaged_is_an_error_of_ours(tmp_path):
    """With its path."""
    with pytest.raises(RunError, match=r"holds no audit\.parquet"):
        read_table(tmp_path / "audit.parquet")
    (tmp_path / "audit.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match=r"audit\.parquet cannot be read"):
        read_table(tmp_path / "audit.parquet")
