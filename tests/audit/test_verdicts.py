"""Verdicts: which rows are flagged, in which order, and when the labels were learnt by heart."""

import dataclasses
import tracemalloc

import numpy as np
import pytest

from thresher.audit import REASONS, judge
from thresher.audit.features import FeatureIssues, ridge_margin
from thresher.audit.reasons import clashing_labels
from thresher.audit.scores import area_under_margin, rank_ensemble
from thresher.audit.verdicts import LEVELS, lowest_of_each_class, rank_order
from thresher.errors import ParameterError
from thresher.noise_rate import confident_counts

CODES = list(REASONS)


def reasons(verdicts):
    return [None if code < 0 else CODES[code] for code in verdicts.reason]


def precision_recall(verdicts, bad):
    flagged = verdicts.is_label_issue
    return (flagged & bad).sum() / flagged.sum(), (flagged & bad).sum() / bad.sum()


def test_order_is_score_then_probability_then_row():
    """Rows 2 and 4 tie in all; row 1 has no score."""
    scores = np.array([0.7, np.nan, 0.2, 0.2, 0.2], dtype=np.float32)
    p_given = np.array([0.5, np.nan, 0.3, 0.1, 0.3], dtype=np.float32)
    assert [3, 2, 4, 0] == rank_order(scores, p_given).tolist()


def quotas(sizes, wrong):
    """Confident counts of classes with these sizes, of which these numbers are wrong."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    guess = labels.copy()
    start = np.cumsum([0, *sizes[:-1]])
    for c, number in enumerate(wrong):
        guess[start[c] : start[c] + number] = (c + 1) % len(sizes)
    return labels, confident_counts(labels, np.eye(len(sizes))[guess])


def test_each_class_has_its_own_quota():
    """Two of class 0, none of class 1, three of class 2, the first ones in the ranking."""
    labels, counts = quotas([40, 40, 40], [2, 0, 3])
    ranked = np.arange(120)[::-1]
    taken = lowest_of_each_class(ranked, labels, counts)
    assert [38, 39, 117, 118, 119] == sorted(taken.tolist())


def test_rare_classes_share_a_quota():
    """Ten classes of seven rows and a rate of one in twenty: none each, but four of seventy."""
    labels, counts = quotas([330, *[7] * 10], [20, *[0] * 10])
    assert counts.global_rate == 0.05
    assert counts.class_counts[1:].sum() == 0
    taken = lowest_of_each_class(np.arange(400), labels, counts)
    assert (labels[taken] == 0).sum() == 20
    assert [330, 331, 332, 333] == sorted(taken[labels[taken] > 0].tolist())


def test_most_wrong_labels_are_found_and_most_flags_are_wrong_labels(simulate):
    """Twenty per cent symmetric noise on separable classes."""
    record, true = simulate()
    precision, recall = precision_recall(judge(record), record.labels != true)
    assert precision > 0.9
    assert recall > 0.8


def test_the_class_counts_are_the_number_of_flags_in_each_class(simulate):
    """Unless fewer rows are beaten by their rival."""
    record, _ = simulate()
    verdicts = judge(record)
    flagged = np.bincount(record.labels[verdicts.is_label_issue], minlength=5)
    beaten = verdicts.predicted != record.labels
    available = np.bincount(record.labels[beaten], minlength=5)
    expected = np.minimum(verdicts.counts.class_counts, available)
    np.testing.assert_array_equal(expected, flagged)


def test_levels_flag_more_and_more(simulate):
    """The precise set holds the global count, the generous one every beaten label."""
    record, _ = simulate(sharpness=2.0, seed=3)
    few, some, many = (
        judge(record, level).is_label_issue
        for level in ("high_precision", "balanced", "high_recall")
    )
    assert few.sum() == judge(record).counts.global_count
    assert few.sum() <= some.sum() <= many.sum()
    assert not (some & ~many).any()


def test_the_interval_holds_the_true_rate(simulate):
    """Count below, argmax above."""
    record, true = simulate(rows=4000, sharpness=2.5)
    rate = judge(record).noise_rate
    assert rate.low <= rate.estimate <= rate.high
    assert rate.low - 0.02 <= np.mean(record.labels != true) <= rate.high + 0.02


def test_clean_labels_are_left_alone(simulate):
    """No wrong label, at most one row in a hundred is flagged."""
    record, _ = simulate(noise=0.0)
    assert judge(record).is_label_issue.mean() <= 0.01


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seed", range(4))
def test_no_flag_without_a_stronger_rival(simulate, seed, level):
    """As long as the labels are not learnt by heart."""
    record, _ = simulate(rows=300, seed=seed, sharpness=1.0)
    verdicts = judge(record, level)
    assert not verdicts.memorised
    assert verdicts.is_label_issue.any()
    assert (verdicts.label_score[verdicts.is_label_issue] < 0.5).all()


def test_rows_seen_less_than_three_times_get_no_verdict(simulate):
    """Neither flagged nor counted, but still scored and ranked."""
    record, true = simulate()
    worst = int(judge(record).rank.argsort()[0])
    visits = record.visits.copy()
    visits[worst] = 2
    verdicts = judge(dataclasses.replace(record, visits=visits))
    assert record.labels[worst] != true[worst]
    assert not verdicts.is_label_issue[worst]
    assert verdicts.rank[worst] == 1
    assert reasons(verdicts)[worst] == "few_visits"
    assert verdicts.counts.rows == len(true) - 1


def test_a_run_of_two_epochs_flags_nothing(simulate):
    """No row has been seen often enough."""
    verdicts = judge(simulate(epochs=2)[0])
    assert not verdicts.is_label_issue.any()
    assert verdicts.noise_rate.estimate == 0


def test_rows_of_a_diverged_run_have_no_score(by_hand):
    """NaN is neither right nor wrong."""
    p = np.tile([0.9, 0.1], (4, 1))
    p[2] = np.nan
    verdicts = judge(by_hand(p, [0, 0, 0, 0]))
    assert np.isnan(verdicts.label_score[2])
    assert verdicts.rank.tolist() == [1, 2, 0, 3]
    assert reasons(verdicts)[2] == "no_prediction"


def test_unlabelled_rows_are_predicted_and_never_flagged(simulate):
    """Suggestion and prediction are the finished model's."""
    record, _ = simulate(rows=300, unlabelled=20)
    verdicts = judge(record)
    best = record.final_probability.argmax(axis=1)
    np.testing.assert_array_equal(best, verdicts.predicted[-20:])
    np.testing.assert_array_equal(best, verdicts.suggested[-20:])
    np.testing.assert_array_equal(record.final_probability.max(axis=1), verdicts.p_suggested[-20:])
    assert np.isnan(verdicts.label_score[-20:]).all()
    assert not verdicts.is_label_issue[-20:].any()
    assert set(reasons(verdicts)[-20:]) == {"unlabelled"}


def test_unlabelled_rows_without_a_prediction_have_no_suggestion(simulate):
    """Nothing is made up."""
    record, _ = simulate(rows=300, unlabelled=20)
    verdicts = judge(dataclasses.replace(record, final_probability=None))
    assert (verdicts.suggested[-20:] == -1).all()


def test_memorised_labels_raise_the_alarm_and_are_still_counted(simulate):
    """Trained rows agree with every label, held-out rows do not."""
    record, true = simulate(rows=4000, noise=0.3, memorised=0.7)
    verdicts = judge(record)
    assert verdicts.memorised
    assert verdicts.noise_rate.trained < 0.05
    assert verdicts.noise_rate.estimate == verdicts.noise_rate.held_out
    assert verdicts.noise_rate.held_out == pytest.approx(0.3, abs=0.05)
    trained = record.in_training
    expected = round(verdicts.noise_rate.held_out * trained.sum())
    assert verdicts.is_label_issue[trained].sum() == expected
    precision, recall = precision_recall(verdicts, record.labels != true)
    assert precision > 0.85
    assert recall > 0.85
    assert "memorised" in reasons(verdicts)


def test_held_out_rows_are_judged_by_their_own_counts_when_labels_are_memorised(simulate):
    """They do not fill the quota of the trained rows."""
    record, true = simulate(rows=4000, noise=0.3, memorised=0.7)
    outside = ~record.in_training
    verdicts = judge(record)
    found = verdicts.is_label_issue[outside].mean()
    assert found == pytest.approx((record.labels != true)[outside].mean(), abs=0.05)
    assert (verdicts.label_score[outside & verdicts.is_label_issue] < 0.5).all()


def test_fewer_than_fifty_held_out_rows_raise_no_alarm(simulate):
    """Chance could do as much."""
    record, _ = simulate(rows=400, held_out=0.12, noise=0.3, memorised=0.7)
    verdicts = judge(record)
    assert (~record.in_training).sum() == 48
    assert not verdicts.memorised
    assert verdicts.noise_rate.held_out is None


def test_the_models_own_mistakes_raise_no_alarm(simulate):
    """Clean labels learnt by heart: held-out rows show a few per cent, all of them mistakes."""
    record, _ = simulate(rows=4000, noise=0.0, memorised=0.7, sharpness=2.1)
    verdicts = judge(record)
    assert 0.03 < verdicts.noise_rate.held_out < 0.1
    assert verdicts.noise_rate.trained < 0.01
    assert not verdicts.memorised
    assert verdicts.is_label_issue.mean() < 0.02


def test_reasons_tell_confident_narrow_hard_and_never_learnt_apart(by_hand):
    """One flagged row of each kind behind many right ones of three classes."""
    right = np.repeat(np.eye(4), 30, axis=0) * 0.9 + 0.025
    labels = np.repeat(np.arange(4), 30).tolist()
    cases = np.array(
        [
            [0.1, 0.8, 0.05, 0.05],
            [0.35, 0.45, 0.1, 0.1],
            [0.3, 0.6, 0.05, 0.05],
            [0.2, 0.45, 0.35, 0],
        ]
    )
    p = np.vstack([right, cases])
    given_square_sum = 10 * p[np.arange(124), [*labels, 0, 0, 0, 0]] ** 2
    given_square_sum[122] = 10 * (0.3**2 + 0.4**2)  # standard deviation .4
    correct = np.full(124, 5)
    correct[[120, 123]] = 0
    record = by_hand(p, [*labels, 0, 0, 0, 0], given_square_sum=given_square_sum, correct=correct)
    verdicts = judge(record, "high_recall")
    assert [
        "confident_rival",
        "narrow_rival",
        "hard_sample",
        "never_learned",
    ] == reasons(verdicts)[120:]
    assert set(reasons(verdicts)[:120]) == {None}


def test_renaming_the_classes_renames_the_verdicts(simulate):
    """Scores, flags and ranks stay; labels follow their class."""
    record, _ = simulate(seed=5)
    names = np.array([3, 0, 4, 1, 2])
    matrix = np.empty_like(record.probability_sum)
    matrix[:, names] = record.probability_sum
    renamed = dataclasses.replace(record, labels=names[record.labels], probability_sum=matrix)
    before, after = judge(record), judge(renamed)
    np.testing.assert_array_equal(before.is_label_issue, after.is_label_issue)
    np.testing.assert_array_equal(before.rank, after.rank)
    np.testing.assert_array_equal(names[before.suggested], after.suggested)


def test_the_order_of_storage_changes_no_row(simulate):
    """Each row keeps its score, flag and labels."""
    record, _ = simulate(seed=6)
    order = np.random.default_rng(0).permutation(len(record))
    moved = dataclasses.replace(
        record,
        **{
            field.name: value[order]
            for field in dataclasses.fields(record)
            if isinstance(value := getattr(record, field.name), np.ndarray)
        },
    )
    before, after = judge(record), judge(moved)
    for name in ("label_score", "is_label_issue", "predicted", "suggested", "rank", "reason"):
        np.testing.assert_array_equal(getattr(before, name)[order], getattr(after, name))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("p", "labels"),
    [
        ([[0.2, 0.8]], [0]),
        ([[0.2, 0.8]], [-1]),
        (np.zeros((0, 2)), []),
        ([[0.2, 0.8]] * 30, [1] * 30),
        ([[0.2, 0.8]] * 30, [0] * 30),
    ],
)
def test_tiny_and_one_sided_records_are_judged(by_hand, level, p, labels):
    """One row, none, no label, one class alone, all labels against the model."""
    verdicts = judge(by_hand(p, labels), level)
    assert len(labels) == len(verdicts.rank)
    assert 0 <= verdicts.noise_rate.estimate <= 1


@pytest.mark.parametrize("compact", [None, 8])
def test_judging_needs_little_memory_beside_the_record(simulate, compact):
    """Blocks, never a second matrix."""
    record, _ = simulate(rows=40_000, classes=200, epochs=3, compact=compact)
    tracemalloc.start()
    judge(record)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    matrix = 40_000 * 200 * 4
    assert peak < 0.75 * matrix


def test_an_unknown_level_is_answered_with_the_nearest():
    """Before anything is read."""
    with pytest.raises(ParameterError, match=r'Did you mean "balanced"\?'):
        judge(None, "balance")


# ---------------------------------------------------------------------- with features
def issues_of(rows, outliers=(), sets=None):
    """What features might have said."""
    return FeatureIssues(
        np.full(rows, 0.9, dtype=np.float32), np.isin(np.arange(rows), outliers), sets
    )


def test_an_outlier_has_no_suggestion_and_says_why(simulate):
    """Flagged or not; the verdict itself stays."""
    record, _ = simulate(rows=300)
    plain = judge(record)
    flagged = int(np.flatnonzero(plain.is_label_issue)[0])
    calm = int(np.flatnonzero(~plain.is_label_issue)[0])
    found = judge(record, issues=issues_of(300, [flagged, calm]))
    assert [-1, -1] == found.suggested[[flagged, calm]].tolist()
    assert np.isnan(found.p_suggested[[flagged, calm]]).all()
    assert ["outlier"] * 2 == [reasons(found)[flagged], reasons(found)[calm]]
    np.testing.assert_array_equal(found.is_label_issue, plain.is_label_issue)
    others = ~np.isin(np.arange(300), [flagged, calm])
    np.testing.assert_array_equal(found.suggested[others], plain.suggested[others])
    assert reasons(plain)[calm] is None


def test_labels_clash_only_within_a_set():
    """Set 0 agrees, set 1 does not, set 2 agrees but for a row without a label."""
    sets = np.array([0, 0, 1, 1, 1, 2, 2, -1, -1])
    labels = np.array([3, 3, 0, 1, 0, 2, -1, 0, 1])
    assert [2, 3, 4] == np.flatnonzero(clashing_labels(sets, labels)).tolist()
    assert not clashing_labels(np.full(3, -1), np.arange(3)).any()
    assert clashing_labels(np.zeros(0, int), np.zeros(0, int)).shape == (0,)


def test_a_clash_of_near_duplicates_is_the_reason(simulate):
    """Rows that agree have none of their own."""
    record, _ = simulate(rows=300, noise=0.0)
    row = int(np.flatnonzero(record.labels != record.labels[0])[0])
    alike = int(np.flatnonzero(record.labels == record.labels[0])[1])
    sets = np.full(300, -1, dtype=np.int32)
    sets[[0, row]] = 0
    found = reasons(judge(record, issues=issues_of(300, sets=sets)))
    assert ["near_duplicate"] * 2 == [found[0], found[row]]
    sets[row], sets[alike] = -1, 0
    found = reasons(judge(record, issues=issues_of(300, sets=sets)))
    assert "near_duplicate" not in found


def test_features_are_searched_for_outliers_and_with_inputs_for_duplicates(simulate):
    """What was found is kept with the verdicts."""
    record, _ = simulate(rows=100)
    features = np.random.default_rng(0).normal(size=(100, 6))
    features[4] = features[3]
    assert judge(record).issues is None
    assert judge(record, features=features).issues.near_duplicate_set is None
    sets = judge(record, features=features, inputs=features).issues.near_duplicate_set
    assert [3, 4] == np.flatnonzero(sets >= 0).tolist()


def test_the_ensemble_is_the_rank_of_margin_and_left_out_head(simulate):
    """The order changes, the counts do not."""
    record, true = simulate(rows=600, memorised=0.4)
    features = np.eye(5)[true] + 0.3 * np.random.default_rng(0).normal(size=(600, 5))
    found, plain = judge(record, score="ensemble", features=features), judge(record)
    expected = rank_ensemble(
        area_under_margin(record.margin_sum, record.visits),
        ridge_margin(features, record.labels, 5),
    )
    np.testing.assert_array_equal(found.label_score, expected)
    assert found.rank[expected.argmin()] == 1
    assert found.score == "ensemble"
    assert found.noise_rate == plain.noise_rate
    assert (found.rank != plain.rank).any()


def test_the_ensemble_leaves_unknown_rows_without_rank(simulate):
    """Unlabelled ones, and those never seen in the window."""
    record, _ = simulate(rows=200, unlabelled=10)
    visits = record.window_visits.copy()
    visits[3] = 0
    record = dataclasses.replace(record, window_visits=visits)
    found = judge(record, score="ensemble", features=np.random.default_rng(0).random((200, 4)))
    assert [3, *range(190, 200)] == np.flatnonzero(found.rank == 0).tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "margin"}, 'score "margin" is unknown'),
        ({"score": "ensemble"}, '"ensemble" needs features'),
        ({"features": np.zeros((3, 2))}, "features must have 100 rows, got 3"),
    ],
)
def test_options_that_do_not_fit_are_named(simulate, options, message):
    """Before anything is computed."""
    with pytest.raises(ParameterError, match=message):
        judge(simulate(rows=100)[0], **options)


def test_what_people_decided_is_not_judged_again(simulate):
    """Never flagged, whatever the model thinks; and no part of the counts."""
    record, true = simulate()
    before = judge(record)
    trusted = before.is_label_issue & (np.arange(len(record)) % 2 == 0)
    after = judge(dataclasses.replace(record, trusted=trusted))
    assert trusted.sum() > 50
    assert not after.is_label_issue[trusted].any()
    assert {"decided"} == set(np.array(reasons(after))[trusted])
    assert not after.judged[trusted].any()
    assert after.noise_rate.estimate < before.noise_rate.estimate
    assert (record.labels != true)[trusted].any()


def test_rows_released_into_training_still_tell_of_memorisation(simulate):
    """What was predicted of them while they were held out says how many labels are wrong."""
    record, true = simulate(memorised=0.9, noise=0.3)
    held_out = np.flatnonzero(~record.in_training)
    honest, _ = simulate(noise=0.3)  # the same rows, predicted by a model that learned no labels
    probability = honest.probability_sum[held_out] / honest.window_visits[held_out, None]
    everywhere = np.ones(len(record), dtype=bool)
    released = dataclasses.replace(
        record, in_training=everywhere, held_out_rows=held_out, held_out_probability=probability
    )
    found = judge(released)
    assert found.memorised
    assert 0.2 < found.noise_rate.held_out < 0.4
    assert found.noise_rate.trained < 0.1
    assert found.is_label_issue[held_out].any()
    assert 0.2 < found.is_label_issue.mean() < 0.4
    blind = judge(dataclasses.replace(released, held_out_rows=None, held_out_probability=None))
    assert not blind.memorised
    assert blind.noise_rate.held_out is None
    few = dataclasses.replace(
        released, held_out_rows=held_out[:20], held_out_probability=probability[:20]
    )
    assert judge(few).noise_rate.held_out is None
    broken = probability.copy()
    broken[:3] = np.nan
    rest = judge(dataclasses.replace(released, held_out_probability=broken)).noise_rate.held_out
    assert rest == pytest.approx(found.noise_rate.held_out, abs=0.02)
    assert (record.labels != true).any()
