"""Predictions made elsewhere: what is taken, what is refused, and that cleanlab agrees."""

import cleanlab.filter
import cleanlab.rank
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from thresher.audit import Record, from_embeddings, from_probabilities, judge, pred_probs
from thresher.audit.features import nearest_neighbours
from thresher.audit.reasons import REASONS
from thresher.audit.stored_matrix import StoredMatrix
from thresher.errors import DataError, LabelError, ParameterError

CODES = list(REASONS)


def predicted(rows=2000, classes=5, noise=0.2, sharpness=3.0, seed=0):
    """Out-of-sample probabilities, given labels and true ones."""
    random = np.random.default_rng(seed)
    true = random.integers(0, classes, rows)
    logits = sharpness * np.eye(classes)[true] + random.normal(size=(rows, classes))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    shift = random.integers(1, classes, rows)
    labels = np.where(random.random(rows) < noise, (true + shift) % classes, true)
    return p, labels, true


# ---------------------------------------------------------------------- what comes of it
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000))
def test_cleanlab_flags_nearly_the_same_rows(seed):
    """The sets differ in at most one row of twenty."""
    p, labels, _ = predicted(seed=seed)
    theirs = cleanlab.filter.find_label_issues(labels, p)
    assert theirs.sum() > 100
    assert np.mean(theirs != from_probabilities(p, labels).verdicts.is_label_issue) <= 0.05


def test_wrong_labels_are_found():
    """Most of them, and little else."""
    p, labels, true = predicted()
    flagged, wrong = from_probabilities(p, labels).verdicts.is_label_issue, labels != true
    assert (flagged & wrong).sum() > 0.8 * wrong.sum()
    assert (flagged & wrong).sum() > 0.9 * flagged.sum()


def test_one_prediction_a_row_is_enough_for_a_verdict():
    """Fewer than the visits a training needs; nothing is said of visits."""
    p, labels, _ = predicted(rows=400)
    found = from_probabilities(p, labels)
    assert found.verdicts.judged.all()
    table = found.table.to_pandas()
    assert set(table["split"]) == {"held-out"}
    assert (table["visits"] == 0).all()
    for name in ("aum", "confidence", "variability", "correctness", "forgetting"):
        assert table[name].isna().all(), name
    assert set(table["reason"].dropna()) == {"confident_rival", "narrow_rival"}


def test_the_noise_rate_is_that_of_rows_kept_out_of_training():
    """Memorisation is no question, however few the rows are."""
    p, labels, _ = predicted(rows=30)
    found = from_probabilities(p, labels)
    assert found.verdicts.noise_rate.held_out == found.verdicts.noise_rate.estimate
    assert found.verdicts.noise_rate.trained is None
    assert not found.verdicts.memorised
    assert "held-out" not in " ".join(found.summary.warnings)


def test_the_table_has_the_columns_of_a_run(simulate):
    """In their order."""
    from thresher.audit import build_table

    record, _ = simulate(rows=50)
    p, labels, _ = predicted(rows=50)
    of_run = build_table(record, judge(record), sample_ids=np.arange(50))
    table = from_probabilities(p, labels, sample_ids=[f"s{i}" for i in range(50)]).table
    assert table.schema.equals(of_run.schema)
    assert table["sample_id"].to_pylist()[:2] == ["s0", "s1"]


@pytest.mark.parametrize("level", ["high_precision", "balanced", "high_recall"])
def test_levels_are_those_of_a_run(level):
    """Precision flags the global count; recall every row with a stronger rival."""
    p, labels, _ = predicted(sharpness=2.0)
    found = from_probabilities(p, labels, level=level)
    beaten = (p.argmax(axis=1) != labels).sum()
    number = found.verdicts.is_label_issue.sum()
    assert found.verdicts.level == level
    assert level != "high_recall" or number == beaten
    assert level != "high_precision" or number == found.verdicts.counts.global_count
    assert level != "balanced" or number < beaten


# ---------------------------------------------------------------------- forms of probabilities
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_precision_and_place_change_no_verdict(dtype, tmp_path):
    """In memory, as a memory map, and by the name of the file."""
    p, labels, _ = predicted()
    p = p.astype(dtype)
    np.save(tmp_path / "p.npy", p)
    whole = from_probabilities(p, labels).table
    mapped = np.load(tmp_path / "p.npy", mmap_mode="r")
    assert whole.equals(from_probabilities(mapped, labels).table)
    assert whole.equals(from_probabilities(tmp_path / "p.npy", labels).table)
    assert whole.equals(from_probabilities(str(tmp_path / "p.npy"), labels).table)
    np.testing.assert_allclose(whole["p_given"].to_numpy(), p[np.arange(2000), labels], rtol=2e-3)


def test_a_memory_map_is_read_from_its_file(tmp_path):
    """Its pages would count as memory; a part of a map, or one with changes of its own, is not."""
    p, labels, _ = predicted(rows=100)
    np.save(tmp_path / "p.npy", p)
    mapped = np.load(tmp_path / "p.npy", mmap_mode="r")
    assert isinstance(from_probabilities(mapped, labels).record.probability_sum, StoredMatrix)
    part = from_probabilities(mapped[20:], labels[20:])
    assert part.table["p_given"].equals(from_probabilities(p[20:], labels[20:]).table["p_given"])
    changed = np.load(tmp_path / "p.npy", mmap_mode="c")
    changed[0] = np.roll(changed[0], 1)
    expected = p.copy()
    expected[0] = changed[0]
    assert from_probabilities(changed, labels).table.equals(
        from_probabilities(expected, labels).table
    )


@pytest.mark.parametrize("classes", [250, 3000])
def test_classes_without_rows_between_the_others_change_nothing(classes):
    """More than 200 classes, rows on both sides of a block's end."""
    p, labels, _ = predicted(rows=1500, classes=20)
    places = np.random.default_rng(0).choice(classes, 20, replace=False)
    wide = np.zeros((1500, classes))
    wide[:, places] = p
    few, many = from_probabilities(p, labels).verdicts, from_probabilities(wide, places[labels])
    np.testing.assert_array_equal(few.is_label_issue, many.verdicts.is_label_issue)
    np.testing.assert_array_equal(few.rank, many.verdicts.rank)
    np.testing.assert_array_equal(places[few.suggested], many.verdicts.suggested)


# ---------------------------------------------------------------------- forms of labels
@pytest.mark.parametrize(
    "form",
    [
        lambda names: names,
        np.array,
        lambda names: np.array(names, dtype=object),
        pd.Series,
        lambda names: pd.Series(names).astype("category"),
        tuple,
    ],
)
def test_names_come_as_anything(form):
    """Columns are in the order of the sorted names."""
    p, labels, _ = predicted(rows=300)
    names = [f"class {c}" for c in labels]
    found = from_probabilities(p, form(names))
    assert names == found.table["given_label"].to_pylist()
    assert found.table["rank"].equals(from_probabilities(p, labels).table["rank"])


def test_classes_name_the_columns():
    """In an order that is not sorted, for names and for column numbers."""
    p, labels, _ = predicted(rows=300)
    classes = ["owl", "ant", "cat", "bee", "dog"]
    by_number = from_probabilities(p, labels, classes)
    by_name = from_probabilities(p, [classes[c] for c in labels], classes)
    assert by_number.table.equals(by_name.table)
    assert by_number.table["given_label"][0].as_py() == classes[labels[0]]


def test_classes_named_by_numbers_are_looked_up():
    """2 is the class named 2, not the third column."""
    p, labels, _ = predicted(rows=300)
    classes = [7, 5, 2, 3, 11]
    found = from_probabilities(p, np.array(classes)[labels], classes)
    np.testing.assert_array_equal(found.record.labels, labels)
    with pytest.raises(LabelError, match='Label "4" of row 0 is none of the 5 classes'):
        from_probabilities(p[:1], [4], classes)


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_rows_without_a_label_are_suggested_their_prediction(missing):
    """They have no rank and are no issue."""
    p, labels, _ = predicted(rows=300)
    names = [missing if row < 20 else f"class {c}" for row, c in enumerate(labels)]
    found = from_probabilities(p, names)
    rows = found.table.slice(0, 20).to_pylist()
    expected = [f"class {c}" for c in p[:20].argmax(axis=1)]
    assert expected == [each["predicted_label"] for each in rows]
    assert expected == [each["suggested_label"] for each in rows]
    np.testing.assert_allclose([each["p_suggested"] for each in rows], p[:20].max(axis=1), 1e-6)
    assert {(None, None, False, "unlabelled", "unlabelled")} == {
        (each["given_label"], each["rank"], each["is_label_issue"], each["reason"], each["split"])
        for each in rows
    }
    numbers = np.where(np.arange(300) < 20, -1, labels)
    assert found.table["rank"].equals(from_probabilities(p, numbers).table["rank"])
    others = from_probabilities(p[20:], labels[20:]).verdicts
    np.testing.assert_array_equal(found.verdicts.is_label_issue[20:], others.is_label_issue)


def test_unlabelled_rows_far_apart_in_a_file_are_read(tmp_path):
    """Only labelled rows are counted; they lie in many runs."""
    p, labels, _ = predicted(rows=400)
    labels = np.where(np.arange(400) % 3 == 0, -1, labels)
    np.save(tmp_path / "p.npy", p)
    assert from_probabilities(tmp_path / "p.npy", labels).table.equals(
        from_probabilities(p, labels).table
    )


@pytest.mark.parametrize(
    "labels",
    [
        [10, 2, None] * 5,
        pd.Series([10, 2, None] * 5, dtype="Int64"),
        np.array([10, 2, None] * 5, dtype=object),
        pd.Series([10, 2, None] * 5),
    ],
)
def test_whole_numbers_among_gaps_stay_column_numbers(labels):
    """As texts 10 would come before 2."""
    p = np.full((15, 12), 1 / 12)
    assert [10, 2, -1] * 5 == from_probabilities(p, labels).record.labels.tolist()


def test_truth_values_are_two_classes():
    """False is the first column."""
    found = from_probabilities(np.array([[0.9, 0.1], [0.9, 0.1]]), [False, True])
    assert [0, 1] == found.record.labels.tolist()


# ---------------------------------------------------------------------- cases at the edge
def test_no_rows_give_an_empty_table():
    """With all columns, and a summary that divides by nothing."""
    found = from_probabilities(np.zeros((0, 3)), [])
    assert found.table.num_rows == 0
    assert found.summary.noise_rate.estimate == 0
    assert from_embeddings(np.zeros((0, 4)), [], classes="ab").table.num_rows == 0


def test_labels_of_one_class_are_judged():
    """All rows are given as class 1; the one that looks like class 0 is found."""
    p = np.tile([0.1, 0.9], (50, 1))
    p[7] = [0.95, 0.05]
    found = from_probabilities(p, np.ones(50, dtype=int), level="high_recall")
    assert [7] == np.flatnonzero(found.verdicts.is_label_issue).tolist()


def test_clean_labels_are_left_alone():
    """Perfect predictions, nothing flagged, rate 0."""
    labels = np.arange(90) % 3
    found = from_probabilities(np.eye(3)[labels], labels)
    assert not found.verdicts.is_label_issue.any()
    assert found.summary.noise_rate.estimate == 0


def test_a_class_that_is_never_predicted_is_named_and_left_alone():
    """The model has not learnt it."""
    p, labels, _ = predicted(rows=600, noise=0)
    p[:, 2] = 0
    p /= p.sum(axis=1, keepdims=True)
    found = from_probabilities(p, labels, ["a", "b", "c", "d", "e"])
    assert not found.verdicts.is_label_issue[labels == 2].any()
    assert any("c" in each and "Never the most probable" in each for each in found.summary.warnings)


def test_a_rare_class_takes_the_overall_rate():
    """Five rows make no threshold of their own."""
    p, labels, _ = predicted(rows=600, classes=4)
    keep = (labels != 3) | (np.cumsum(labels == 3) <= 5)
    found = from_probabilities(p[keep], labels[keep], "abcd")
    rare = found.summary.per_class[3]
    assert rare.rare
    assert rare.n == 5
    assert rare.noise == found.verdicts.counts.global_rate


def test_a_class_without_rows_is_kept():
    """It may be suggested all the same."""
    p = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    found = from_probabilities(p, ["a", "a"], ["a", "b", "c"], level="high_recall")
    assert ["b", "c"] == found.table["suggested_label"].to_pylist()


# ---------------------------------------------------------------------- refusals
EVEN = np.full((3, 2), 0.5)


@pytest.mark.parametrize(
    ("p", "labels", "kind", "message"),
    [
        (EVEN, [[0, 1], [1], [0]], LabelError, "multi-label"),
        (EVEN, [[0], [1], [0]], LabelError, "multi-label"),
        (EVEN, np.array([[1, 0], [1, 1], [0, 1]]), LabelError, "multi-label.*argmax"),
        (EVEN, np.array([(0,), (0, 1), None], dtype=object), LabelError, "multi-label"),
        (EVEN, np.array([[0.9, 0.1], [0.5, 0.5], [0, 1]]), LabelError, "soft labels"),
        (EVEN, [1.0, 0.2, 0.0], LabelError, "Label 0.2 of row 1 is a soft label"),
        (EVEN, [0, 1, 2], LabelError, r"Label 2 of row 2 is outside 0\.\.1"),
        (EVEN, [0, -2, 1], LabelError, "Label -2 of row 1"),
        (EVEN, [0, 1], ParameterError, "2 labels for 3 rows"),
        (EVEN, ["a", "b", "c"], ParameterError, "2 columns, but there are 3 classes"),
        (EVEN[0], [0], ParameterError, r"pred_probs must be \(N, k\) floats, got \(2,\)"),
        (np.ones((3, 2), int), [0, 1, 1], ParameterError, r"floats, got \(3, 2\) int64"),
        (np.ones((3, 1)), [0, 0, 0], LabelError, "compares classes, got 1"),
        (EVEN * [[1], [1], [np.nan]], [0, 1, 1], DataError, "Row 2 .* not finite"),
        (EVEN * [[1], [np.inf], [1]], [0, 1, 1], DataError, "Row 1 .* not finite"),
        (EVEN * [[1], [1.2], [1]], [0, 1, 1], DataError, "Row 1 of pred_probs sums to 1.2"),
        (np.array([[0.5, 0.5], [1.5, -0.5]]), [0, 1], DataError, "Row 1 .* holds -0.5.*softmax"),
        (np.array([[0.9, 0.8], [0.5, 0.5]]), [0, 1], DataError, "sums to 1.7.*multi-label"),
    ],
)
def test_what_is_no_audit_is_refused_by_name(p, labels, kind, message):
    """Cause and repair in one message."""
    with pytest.raises(kind, match=message):
        from_probabilities(p, labels)


def test_a_bad_row_of_a_later_block_is_named_by_its_own_number():
    """Blocks begin anew, numbers of rows do not."""
    p = np.full((3000, 500), 1 / 500, dtype=np.float32)
    p[2500] = 0
    with pytest.raises(DataError, match="Row 2500 of pred_probs sums to 0"):
        from_probabilities(p, np.zeros(3000, int))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["a", "a"]}, "hold a name twice"),
        ({"classes": ["a"]}, "2 columns, but there are 1 classes"),
        ({"level": "high"}, 'level "high" is unknown'),
        ({"score": "rank"}, 'score "rank" is unknown'),
        ({"score": "ensemble"}, '"ensemble" needs features'),
        ({"features": np.eye(2)}, "features must have 3 rows, got 2"),
        ({"sample_ids": ["a"]}, "sample_ids must have 3 entries, got 1"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    """Before anything is written."""
    with pytest.raises(ParameterError, match=message):
        from_probabilities(EVEN, [0, 1, 1], **changes)


def test_an_unknown_name_is_refused_with_its_row():
    """And the classes that there are."""
    with pytest.raises(
        LabelError, match=r'Label "cow" of row 1 is none of the 2 classes.*cat, dog'
    ):
        from_probabilities(EVEN, ["cat", "cow", "dog"], ["cat", "dog"])


def test_files_that_hold_no_matrix_are_refused(tmp_path):
    """Missing, torn, column by column, several arrays."""
    with pytest.raises(DataError, match="does not exist"):
        from_probabilities(tmp_path / "none.npy", [0])
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY rubbish")
    with pytest.raises(DataError, match=r"cannot be read as \.npy"):
        from_probabilities(tmp_path / "torn.npy", [0])
    np.save(tmp_path / "whole.npy", EVEN)
    (tmp_path / "short.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:-8])
    with pytest.raises(DataError, match=r"cannot be read as \.npy"):
        from_probabilities(tmp_path / "short.npy", [0, 1, 1])
    np.save(tmp_path / "columns.npy", np.asfortranarray(EVEN))
    with pytest.raises(ParameterError, match="column by column"):
        from_probabilities(tmp_path / "columns.npy", [0, 1, 1])
    np.savez(tmp_path / "several.npz", a=EVEN)
    with pytest.raises(DataError, match="several arrays"):
        from_probabilities(tmp_path / "several.npz", [0, 1, 1])
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    with pytest.raises(DataError, match=r"cannot be read as \.npy"):
        from_probabilities(tmp_path / "objects.npy", [0])


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path):
    """Not read as something else."""
    np.save(tmp_path / "p.npy", EVEN)
    stored = StoredMatrix.of_map(np.load(tmp_path / "p.npy", mmap_mode="r"))
    (tmp_path / "p.npy").write_bytes((tmp_path / "p.npy").read_bytes()[:-8])
    with pytest.raises(DataError, match="ended before row 3"):
        stored[0:3]


def test_rows_of_a_stored_matrix_are_those_of_the_array(tmp_path):
    """Slices, row numbers, none at all, in a foreign byte order."""
    values = np.random.default_rng(0).random((20, 3)).astype(">f4")
    np.save(tmp_path / "p.npy", values)
    stored = StoredMatrix.of_map(np.load(tmp_path / "p.npy", mmap_mode="r"))
    for rows in (slice(3, 9), slice(15, 99), np.array([0, 1, 5, 6, 7, 19]), np.array([], int)):
        np.testing.assert_array_equal(stored[rows], values[rows])


# ---------------------------------------------------------------------- embeddings
@pytest.fixture(scope="module")
def digits():
    """Pixels as embeddings; a fifth of the labels is wrong."""
    features, true = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    shift = random.integers(1, 10, len(true))
    labels = np.where(random.random(len(true)) < 0.2, (true + shift) % 10, true)
    return features.astype(np.float32), labels, true


def test_votes_are_those_of_the_nearest_other_rows(digits):
    """Shares counted class by class; a class stands in one slot."""
    features, labels, _ = digits
    features, labels = features[:300], labels[:300]
    rows = nearest_neighbours(features, 7).rows
    expected = np.stack([(labels[rows] == c).mean(axis=1) for c in range(10)], axis=1)
    found = from_embeddings(features, labels, neighbours=7)
    np.testing.assert_allclose(pred_probs(found.record), expected, atol=1e-6)
    used = [each[each >= 0].tolist() for each in found.record.top_classes]
    assert all(len(set(each)) == len(each) for each in used)


def test_embeddings_alone_find_wrong_labels(digits):
    """Most of them, and little else; the rate is near."""
    features, labels, true = digits
    found = from_embeddings(features, labels)
    flagged, wrong = found.verdicts.is_label_issue, labels != true
    assert (flagged & wrong).sum() > 0.9 * wrong.sum()
    assert (flagged & wrong).sum() > 0.9 * flagged.sum()
    assert abs(found.summary.noise_rate.estimate - wrong.mean()) < 0.02


def test_rows_without_a_label_do_not_vote(digits):
    """They are voted on."""
    features, labels, _ = digits
    some = np.where(np.arange(len(labels)) < 300, -1, labels)
    found = from_embeddings(features, some)
    alone = from_embeddings(features[300:], labels[300:])
    np.testing.assert_array_equal(
        found.verdicts.is_label_issue[300:], alone.verdicts.is_label_issue
    )
    right = found.verdicts.predicted[:300] == labels[:300]
    assert right.mean() > 0.7


def test_one_row_alone_has_no_verdict():
    """Nobody votes."""
    found = from_embeddings(np.ones((1, 3)), ["a"], classes=["a", "b"])
    assert not found.verdicts.judged.any()
    assert ["no_prediction"] == found.table["reason"].to_pylist()


def test_more_neighbours_than_rows_take_what_there_is():
    """Three rows, twenty neighbours: two votes each."""
    found = from_embeddings(np.eye(3), ["a", "a", "b"])
    np.testing.assert_allclose(pred_probs(found.record), [[0.5, 0.5], [0.5, 0.5], [1, 0]])


@pytest.mark.parametrize(
    ("features", "labels", "kind", "message"),
    [
        (np.eye(3), [0, 1], ParameterError, "2 labels for 3 rows"),
        (np.eye(2) * np.nan, [0, 1], DataError, "Row 0 of features"),
        (np.eye(2), ["a", "a"], LabelError, "compares classes, got 1"),
        (np.ones(3), [0, 1, 1], ParameterError, r"shape \(N, d\)"),
    ],
)
def test_embeddings_that_cannot_be_used_are_refused(features, labels, kind, message):
    """By name."""
    with pytest.raises(kind, match=message):
        from_embeddings(features, labels)


# ---------------------------------------------------------------------- features beside
def test_outliers_lose_their_suggestion(digits):
    """An item of no class has no right one; it is said why."""
    features, labels, _ = digits
    random = np.random.default_rng(1)
    foreign = features[:30][:, random.permutation(64)]
    features = np.concatenate([features, foreign])
    labels = np.concatenate([labels, random.integers(0, 10, 30)])
    table = from_embeddings(features, labels).table.to_pandas()
    outliers = table["is_outlier_issue"]
    assert outliers[-30:].mean() > 0.9
    assert outliers[:-30].mean() < 0.03
    assert table.loc[outliers, ["suggested_label", "p_suggested"]].isna().all(axis=None)
    assert (table.loc[outliers, "reason"] == "outlier").all()
    assert table.loc[~outliers, "suggested_label"].notna().all()
    flagged = outliers & table["is_label_issue"]
    assert flagged.sum() >= 20
    assert flagged.equals(table["verdict"] == "out-of-distribution")


def test_near_duplicates_with_another_label_are_named(digits):
    """Copies with the same label are marked, but nothing need be said of them."""
    features, labels, _ = digits
    again = np.array([labels[0], labels[1], (labels[2] + 1) % 10])
    table = from_embeddings(
        np.concatenate([features, features[:3]]), np.concatenate([labels, again])
    ).table.to_pandas()
    marked = np.flatnonzero(table["is_near_duplicate_issue"])
    assert {0, 1, 2, 1797, 1798, 1799} == set(marked)
    assert table["near_duplicate_set"].dropna().tolist() == [0, 1, 2, 0, 1, 2]
    assert {2, 1799} == set(np.flatnonzero(table["reason"] == "near_duplicate"))


def test_without_features_there_are_no_columns_of_theirs():
    """Absent, not empty."""
    p, labels, _ = predicted(rows=50)
    assert not {"outlier_score", "near_duplicate_set"} & set(
        from_probabilities(p, labels).table.column_names
    )


def test_the_ensemble_ranks_by_probabilities_and_left_out_head(digits):
    """Its score is the mean of two ranks; rows that both think wrong come first."""
    features, labels, true = digits
    found = from_embeddings(features, labels, score="ensemble")
    score = found.verdicts.label_score
    assert 0 <= score.min() < score.max() <= 1
    wrong = labels != true
    assert score[wrong].mean() < 0.15 < 0.5 < score[~wrong].mean()
    worst = np.argsort(found.verdicts.rank)[:200]
    assert wrong[worst].mean() > 0.98
    alone = from_embeddings(features, labels)
    assert found.summary.noise_rate == alone.summary.noise_rate


def test_an_audit_of_probabilities_is_a_record_like_any_other(digits):
    """It can be judged again."""
    p, labels, _ = predicted(rows=200)
    found = from_probabilities(p, labels)
    assert isinstance(found.record, Record)
    again = judge(found.record, "high_recall")
    assert again.is_label_issue.sum() == (p.argmax(axis=1) != labels).sum()
    theirs = cleanlab.rank.get_self_confidence_for_each_label(labels, pred_probs(found.record))
    np.testing.assert_allclose(theirs, found.verdicts.p_given, atol=1e-6)
