"""Features: neighbours against scikit-learn, the left-out head against real refits, duplicates."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from thresher.audit.features import (
    feature_issues,
    is_outlier,
    near_duplicate_sets,
    nearest_neighbours,
    neighbour_agreement,
    outlier_score,
    ridge_margin,
)
from thresher.errors import DataError, ParameterError


def blobs(rows=300, classes=4, width=6, seed=0):
    """Classes around centres of their own."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, rows)
    centres = 3 * random.normal(size=(classes, width))
    return (centres[labels] + random.normal(size=(rows, width))).astype(np.float32), labels


def true_cosines(features, rows):
    """(N, K) cosines of each row to others, in float64."""
    units = features.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    return np.einsum("nd,nkd->nk", units, units[rows])


# ---------------------------------------------------------------------- neighbours
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(30, 200), neighbours=st.integers(1, 20))
def test_neighbours_are_those_of_scikit_learn(seed, rows, neighbours):
    """By cosine, nearest first, the row itself left out.

    Rows whose cosines differ by less than float32 tells may change places, so cosines are compared.
    """
    features, _ = blobs(rows, seed=seed)
    reference = NearestNeighbors(n_neighbors=neighbours, metric="cosine").fit(features)
    expected = true_cosines(features, reference.kneighbors()[1])
    found = nearest_neighbours(features, neighbours)
    np.testing.assert_allclose(true_cosines(features, found.rows), expected, atol=1e-6)
    np.testing.assert_allclose(found.cosines, expected, atol=1e-6)
    assert all(row not in near for row, near in enumerate(found.rows))
    assert all(len(set(near)) == neighbours for near in found.rows.tolist())


@pytest.mark.parametrize("rows", [1300, 1311, 1343])
def test_the_search_in_groups_misses_none(rows):
    """Enough rows for groups, with and without a rest; against a full sort."""
    features, _ = blobs(rows, width=5, seed=rows)
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = units @ units.T
    np.fill_diagonal(cosines, -2)
    expected = np.sort(cosines, axis=1)[:, :-21:-1]
    np.testing.assert_allclose(nearest_neighbours(features).cosines, expected, atol=1e-6)


def test_blocks_leave_no_seam(monkeypatch):
    """More rows than a block holds give what one block gives."""
    features, _ = blobs(3000)
    whole = nearest_neighbours(features[:1000], 5)
    monkeypatch.setattr("thresher.audit.features.rows_per_block", lambda columns: 3)
    cut = nearest_neighbours(features[:1000], 5)
    np.testing.assert_allclose(whole.cosines, cut.cosines, atol=1e-6)
    np.testing.assert_allclose(true_cosines(features[:1000], cut.rows), cut.cosines, atol=1e-6)


def test_only_rows_that_may_are_neighbours():
    """The others still have neighbours of their own."""
    features, _ = blobs(50)
    among = np.arange(50) < 20
    found = nearest_neighbours(features, 3, among=among)
    assert set(range(20)) >= set(found.rows.ravel().tolist())
    assert (found.rows != np.arange(50)[:, None]).all()
    alone = nearest_neighbours(features[:20], 3)
    np.testing.assert_allclose(found.cosines[:20], alone.cosines, atol=1e-6)


def test_fewer_rows_than_neighbours_leave_slots_empty():
    """-1 and NaN, never the row itself."""
    found = nearest_neighbours(np.eye(3, dtype=np.float32), 5)
    assert [2, 2, 2] == (found.rows >= 0).sum(axis=1).tolist()
    assert np.isnan(found.cosines[:, 2:]).all()
    assert [-1] * 5 == nearest_neighbours(np.ones((1, 2), np.float32), 5).rows[0].tolist()
    assert (0, 5) == nearest_neighbours(np.zeros((0, 4), np.float32), 5).rows.shape


def test_no_row_that_may_leaves_all_slots_empty():
    """As when nothing is labelled."""
    found = nearest_neighbours(np.eye(3, dtype=np.float32), 2, among=np.zeros(3, bool))
    assert (found.rows == -1).all()


def test_agreement_is_the_share_of_neighbours_of_the_same_label():
    """Counted row by row."""
    features, labels = blobs()
    near = nearest_neighbours(features)
    expected = [(labels[near.rows[row]] == labels[row]).mean() for row in range(300)]
    np.testing.assert_allclose(neighbour_agreement(labels, near), expected, atol=1e-6)


def test_agreement_asks_labelled_neighbours_only():
    """Of three neighbours one has no label: half of the rest agree."""
    features = np.array([[1, 0], [1, 0.1], [1, 0.2], [1, 0.3]], np.float32)
    near = nearest_neighbours(features, 3)
    found = neighbour_agreement(np.array([0, 0, 1, -1]), near)
    assert found[0] == 0.5
    assert np.isnan(found[3])
    assert np.isnan(neighbour_agreement(np.array([0, -1, -1, -1]), near)[0])


# ---------------------------------------------------------------------- outliers
def test_the_outlier_score_is_the_mean_cosine():
    """By hand: cosines 1 and 0 to the two others."""
    features = np.array([[1, 0], [2, 0], [0, 1]], np.float32)
    np.testing.assert_allclose(
        outlier_score(nearest_neighbours(features, 2)), [0.5, 0.5, 0.0], atol=1e-7
    )


def test_a_row_alone_has_no_outlier_score():
    """And is no outlier."""
    score = outlier_score(nearest_neighbours(np.ones((1, 3), np.float32)))
    assert np.isnan(score).all()
    assert [False] == is_outlier(score).tolist()
    assert is_outlier(np.zeros(0, np.float32)).shape == (0,)


def test_foreign_rows_are_outliers_and_ordinary_ones_are_not():
    """Tight classes; ten rows in directions of their own."""
    random = np.random.default_rng(3)
    features, _ = blobs(500, width=30, seed=3)
    foreign = 10 * random.normal(size=(10, 30))
    found = is_outlier(outlier_score(nearest_neighbours(np.concatenate([features, foreign]))))
    assert found[500:].all()
    assert found[:500].mean() < 0.03


def test_equal_rows_are_no_outliers():
    """All distances are the same, none stands apart."""
    assert not is_outlier(outlier_score(nearest_neighbours(np.ones((40, 3), np.float32)))).any()


# ---------------------------------------------------------------------- near-duplicates
def slow_sets(*matrices):
    """Every pair, one after the other; sets by walking along the pairs."""
    n = len(matrices[0])
    units = [
        each.reshape(n, -1) / np.linalg.norm(each.reshape(n, -1), axis=1, keepdims=True)
        for each in matrices
    ]
    linked = [{j for j in range(n) if all(u[i] @ u[j] > 0.999 for u in units)} for i in range(n)]
    found, number = np.full(n, -1), 0
    for row in range(n):
        if found[row] >= 0 or linked[row] == {row}:
            continue
        waiting = [row]
        while waiting:
            member = waiting.pop()
            if found[member] < 0:
                found[member] = number
                waiting += linked[member]
        number += 1
    return found


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), spread=st.sampled_from([0.005, 0.02, 0.05]))
def test_sets_are_those_of_a_search_over_all_pairs(seed, spread):
    """Chains included: the ends of a set need not be close to each other."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(30, 8))
    features = centres[random.integers(0, 30, 80)] + spread * random.normal(size=(80, 8))
    inputs = random.normal(size=(5, 3, 20))[random.integers(0, 5, 80)]
    inputs += 0.002 * random.normal(size=inputs.shape)
    for each in (features, inputs.reshape(80, -1)):  # float32 cannot tell what lies at the limit
        cosines = true_cosines(each, np.tile(np.arange(80), (80, 1)))
        assume(np.abs(cosines - 0.999).min() > 1e-5)
    np.testing.assert_array_equal(near_duplicate_sets(features), slow_sets(features))
    np.testing.assert_array_equal(
        near_duplicate_sets(features, inputs), slow_sets(features, inputs)
    )


def test_blocks_leave_no_seam_between_duplicates(monkeypatch):
    """Pairs far apart in the file, and sets over many blocks."""
    features, _ = blobs(60, width=10)
    features = np.concatenate([features, features[::-1], features])
    monkeypatch.setattr("thresher.audit.features.rows_per_block", lambda columns: 1)
    sets = near_duplicate_sets(features)
    np.testing.assert_array_equal(sets[:60], np.arange(60))
    np.testing.assert_array_equal(sets, np.r_[0:60, 59:-1:-1, 0:60])


def test_copies_with_a_little_noise_are_found():
    """200 of 200, and nothing else."""
    random = np.random.default_rng(0)
    images = random.random((1000, 8, 8)).astype(np.float32)
    copies = images[:200] + 0.005 * random.normal(size=(200, 8, 8)).astype(np.float32)
    images = np.concatenate([images, copies])
    features = images.reshape(1200, -1) @ random.normal(size=(64, 16))
    sets = near_duplicate_sets(features, images)
    np.testing.assert_array_equal(sets[:200], sets[1000:])
    assert (sets[200:1000] == -1).all()


def test_close_features_of_different_inputs_are_no_duplicates():
    """A network that has learnt its classes maps them to one direction each."""
    random = np.random.default_rng(1)
    features = np.eye(3)[np.arange(90) % 3] + 1e-4
    inputs = random.normal(size=(90, 12))
    assert near_duplicate_sets(features).max() == 2
    assert (near_duplicate_sets(features, inputs) == -1).all()


def test_inputs_that_differ_in_a_rare_direction_are_no_duplicates():
    """No few directions show the difference: in the end pairs are compared in full."""
    inputs = np.random.default_rng(2).normal(size=(900, 60)).astype(np.float32)
    inputs[:, 59] = 0
    inputs[1] = inputs[0]
    inputs[1, 59] = 0.1 * np.linalg.norm(inputs[0])
    inputs[3] = inputs[2]
    sets = near_duplicate_sets(np.ones((900, 2)), inputs)
    assert [-1, -1, 0, 0] == sets[:4].tolist()
    assert (sets[4:] == -1).all()


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_have_no_duplicates(rows):
    """Nothing to compare with."""
    assert [-1] * rows == near_duplicate_sets(np.ones((rows, 3)), np.ones((rows, 2))).tolist()


def test_a_row_of_zeros_is_like_no_other():
    """It has no direction."""
    features = np.array([[0, 0], [0, 0], [1, 0], [2, 0]], np.float16)
    assert [-1, -1, 0, 0] == near_duplicate_sets(features).tolist()


def test_issues_hold_sets_only_where_inputs_are_known():
    """None tells that nobody looked."""
    features, _ = blobs(40)
    assert feature_issues(features).near_duplicate_set is None
    assert (feature_issues(features, features).near_duplicate_set == -1).all()


# ---------------------------------------------------------------------- the left-out head
def refitted(features, labels, classes, ridge):
    """The margin of every row, each from a head that was fitted without it."""
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    design = np.column_stack([units, np.ones(len(units))]).astype(np.float64)
    targets = np.eye(classes)[labels]
    penalty = ridge * len(units) / design.shape[1] * np.eye(design.shape[1])
    margins = []
    for row in range(len(units)):
        kept = np.arange(len(units)) != row
        gram = design[kept].T @ design[kept] + penalty
        output = design[row] @ np.linalg.solve(gram, design[kept].T @ targets[kept])
        margins.append(output[labels[row]] - np.delete(output, labels[row]).max())
    return np.array(margins)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), ridge=st.sampled_from([1e-4, 1e-3, 1.0]))
def test_the_left_out_head_is_that_of_a_refit_without_the_row(seed, ridge):
    """Exactly, for every row."""
    features, labels = blobs(60, seed=seed)
    expected = refitted(features, labels, 4, ridge)
    found = ridge_margin(features, labels, 4, ridge=ridge)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_rows_without_a_label_are_not_fitted():
    """They get no margin, and change no other."""
    features, labels = blobs(80)
    some = np.where(np.arange(80) < 30, -1, labels)
    found = ridge_margin(features, some, 4)
    assert np.isnan(found[:30]).all()
    np.testing.assert_allclose(found[30:], ridge_margin(features[30:], labels[30:], 4), rtol=1e-4)
    assert np.isnan(ridge_margin(features, np.full(80, -1), 4)).all()


def test_a_class_without_rows_takes_no_part():
    """Its output is 0 for every row; one label more is none the worse."""
    features, labels = blobs(60)
    assert np.isfinite(ridge_margin(features, labels, 9)).all()


def test_float16_in_a_file_gives_what_float32_in_memory_gives(tmp_path):
    """As a run keeps its features; half precision moves a cosine by less than 1/500."""
    features, labels = blobs(100)
    np.save(tmp_path / "features.npy", features.astype(np.float16))
    stored = np.load(tmp_path / "features.npy", mmap_mode="r")
    np.testing.assert_allclose(
        ridge_margin(stored, labels, 4), ridge_margin(features, labels, 4), atol=0.01
    )
    np.testing.assert_allclose(
        outlier_score(nearest_neighbours(stored)),
        outlier_score(nearest_neighbours(features)),
        atol=0.002,
    )


# ---------------------------------------------------------------------- refusals
def test_numbers_that_are_not_finite_are_named():
    """With their row."""
    features, labels = blobs(30)
    features[17, 2] = np.nan
    for call in (
        lambda: nearest_neighbours(features),
        lambda: near_duplicate_sets(features),
        lambda: ridge_margin(features, labels, 4),
        lambda: near_duplicate_sets(np.ones((30, 2)), features),
    ):
        with pytest.raises(DataError, match=r"Row 17 of (features|inputs)"):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nearest_neighbours(np.zeros(3)), r"shape \(N, d\)"),
        (lambda: nearest_neighbours(np.array([["a"]])), "hold numbers"),
        (lambda: nearest_neighbours(np.eye(3), 0), "neighbours must be at least 1"),
        (lambda: near_duplicate_sets(np.eye(3), cosine=1.0), "cosine must be in"),
        (lambda: near_duplicate_sets(np.eye(3), np.eye(2)), "inputs must have 3 rows, got 2"),
        (lambda: ridge_margin(np.eye(3), np.zeros(3, int), 2, ridge=0), "ridge must be above 0"),
        (lambda: ridge_margin(np.eye(3), np.zeros(2, int), 2), "features must have 2 rows, got 3"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    """With what was received."""
    with pytest.raises(ParameterError, match=message):
        call()
