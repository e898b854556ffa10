"""The estimator: scikit-learn's habits, errors that help, prediction, and a fit anywhere."""

from __future__ import annotations

import copy
import math
import multiprocessing
import pickle
import threading
import tracemalloc
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import cluster as scikit_learn
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from cluster.oracle import brute, squared_distances
from thresher.cluster import DBSCAN, dbscan
from thresher.cluster.dbscan import ALGORITHMS, cluster_points
from thresher.cluster.forecast import needed_memory
from thresher.cluster.points import ArrayPoints
from thresher.errors import DataError, ParameterError

MANY = settings(max_examples=25, deadline=None)


def blobs(seed, n, d, scale=0.3):
    random = np.random.default_rng(seed)
    return random.normal(size=(5, d))[random.integers(0, 5, n)] + scale * random.normal(size=(n, d))


def partition(labels):
    """Which rows are together, without the numbers."""
    labels = np.asarray(labels)
    return {frozenset(np.flatnonzero(labels == label)) for label in set(labels.tolist())}


# ---------------------------------------------------------------------- the definition
def test_three_points_on_a_line():
    """Two are within eps of each other."""
    found = DBSCAN(1.5, min_samples=2).fit([[0.0], [1.0], [9.0]])
    assert [0, 0, -1] == found.labels_.tolist()
    assert [0, 1] == found.core_sample_indices_.tolist()
    assert [[0.0], [1.0]] == found.components_.tolist()
    assert (1, 1) == (found.n_clusters_, found.n_features_in_)
    assert np.int32 == found.labels_.dtype


def test_eps_belongs_to_the_neighbourhood_and_a_point_is_its_own_neighbour():
    """At min_samples of two, one neighbour at a distance of exactly eps is enough."""
    X = [[0.0, 0.0], [3.0, 4.0]]
    assert [0, 0] == DBSCAN(5, min_samples=2).fit_predict(X).tolist()
    assert [-1, -1] == DBSCAN(math.nextafter(5, 0), min_samples=2).fit_predict(X).tolist()
    assert [-1, -1] == DBSCAN(5, min_samples=3).fit_predict(X).tolist()
    assert [0, 1] == DBSCAN(1, min_samples=1).fit_predict(X).tolist()


def test_a_fraction_of_min_samples_is_rounded_up():
    """Numbers of neighbours are whole."""
    X = np.arange(5.0)[:, None]
    for least in (2.5, 3, Fraction(5, 2), np.float32(2.25), np.int8(3)):
        assert [1, 2, 3] == DBSCAN(1, min_samples=least).fit(X).core_sample_indices_.tolist()


@pytest.mark.parametrize("eps", [0.1, 0.3, 0.7])
def test_a_short_eps_is_squared_in_double_precision(eps):
    """As it is given, not as float32 rounds its square."""
    short = np.float32(eps)
    X = np.array([[0.0], [float(short)], [math.nextafter(2 * float(short), 9)]])
    X[2] = X[1] + math.nextafter(float(short), 9) * (1 + 1e-15)
    assert [0, 0, -1] == DBSCAN(short, min_samples=2).fit_predict(X).tolist()


@pytest.mark.parametrize("d", [1, 2, 3, 5, 17])
def test_all_engines_give_one_answer(d):
    """The one by the definition; the first choice is the grid, then the tree, then balls."""
    X = blobs(d, 400, d)
    eps = 0.25 * math.sqrt(d)
    labels, core = brute(X, eps, 5)
    for algorithm in ALGORITHMS:
        if algorithm == "grid" and d > 3:
            continue
        found = DBSCAN(eps, algorithm=algorithm).fit(X)
        np.testing.assert_array_equal(labels, found.labels_)
        np.testing.assert_array_equal(np.flatnonzero(core), found.core_sample_indices_)
        expected = "grid" if d <= 3 else "tree" if d <= 16 else "balls"
        assert (expected if algorithm == "auto" else algorithm) == found.statistics_["engine"]


def test_defaults_are_scikit_learns():
    """eps, min_samples, and what becomes of them."""
    X = blobs(0, 500, 2)
    expected, found = scikit_learn.DBSCAN().fit(X), DBSCAN().fit(X)
    core = expected.core_sample_indices_
    np.testing.assert_array_equal(core, found.core_sample_indices_)
    np.testing.assert_array_equal(expected.components_, found.components_)
    np.testing.assert_array_equal(expected.labels_[core], found.labels_[core])


@pytest.mark.parametrize(("metric", "d", "eps"), [("haversine", 2, 0.05), ("cosine", 5, 0.02)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_metrics_are_scikit_learns(metric, d, eps, dtype):
    """Positions in radians, also at a pole and across the date line; directions of any length."""
    random = np.random.default_rng(4)
    X = random.normal(size=(600, d)) * 0.1 + random.choice([0, 1.4, 3.1], (600, d))
    if metric == "haversine":
        X[:, 0] = np.clip(X[:, 0], -1.57, 1.57)
    X = X.astype(dtype)
    expected = scikit_learn.DBSCAN(eps=eps, min_samples=6, metric=metric).fit(X.astype(float))
    found = DBSCAN(eps, min_samples=6, metric=metric).fit(X)
    core = expected.core_sample_indices_
    np.testing.assert_array_equal(core, found.core_sample_indices_)
    np.testing.assert_array_equal(expected.labels_[core], found.labels_[core])
    np.testing.assert_array_equal(expected.labels_ < 0, found.labels_ < 0)
    assert 0 < len(core) < 600
    np.testing.assert_array_equal(X[core], found.components_)


def test_noise_alone_is_no_cluster():
    found = DBSCAN(0.1, min_samples=2).fit([[0.0], [1.0]])
    assert (0, []) == (found.n_clusters_, found.core_sample_indices_.tolist())
    assert (0, 1) == found.components_.shape
    assert [-1] == found.predict([[0.0]]).tolist()


@pytest.mark.parametrize("min_samples", [5, 10**6, 10**6 + 1])
@pytest.mark.parametrize("d", [2, 5, 17])
def test_a_million_equal_points_are_one_cluster_or_noise(d, min_samples):
    """Their neighbours are 10¹²: none is listed."""
    found = DBSCAN(0.1, min_samples=min_samples).fit(np.broadcast_to(np.arange(d) / 3, (10**6, d)))
    assert {0 if min_samples <= 10**6 else -1} == set(found.labels_)
    assert min(min_samples, 10**6) == min_samples or not len(found.core_sample_indices_)


@pytest.mark.parametrize("eps", [1e-300, 5e-324, 1e-160, 1e160, 1e308])
@pytest.mark.parametrize("d", [2, 5, 17])
def test_any_eps_is_right_on_data_of_ordinary_size(d, eps):
    """Equal points are together; with a huge eps all are."""
    X = np.repeat(blobs(1, 60, d), 2, axis=0)
    found = DBSCAN(eps, min_samples=2).fit(X)
    expected = np.zeros(120) if eps > 1 else np.arange(120) // 2
    np.testing.assert_array_equal(expected, found.labels_)


# ---------------------------------------------------------------------- weights
def test_a_weight_is_a_number_of_equal_points():
    """Fractions count as such; a point of weight zero is there, and counts nothing."""
    X = np.array([[0.0], [1.0], [5.0], [9.0]])
    labels = DBSCAN(1, min_samples=3).fit_predict(X, sample_weight=[1, 2, 3, 0.5])
    assert [0, 0, 1, -1] == labels.tolist()
    assert [0, 0, -1, -1] == DBSCAN(1, min_samples=3).fit_predict(
        X, sample_weight=pd.Series([3, 0, 2.9, 1])
    ).tolist()
    assert [0, 0, 1, 2] == DBSCAN(1, min_samples=3).fit_predict(X, sample_weight=3).tolist()


@MANY
@given(seed=st.integers(0, 10**6), shift=st.sampled_from([0, 0.5]))
def test_weights_are_scikit_learns(seed, shift):
    random = np.random.default_rng(seed)
    X, weights = random.integers(0, 9, (150, 2)) * 1.0, random.integers(0, 4, 150) + shift
    expected = scikit_learn.DBSCAN(eps=1, min_samples=8).fit(X, sample_weight=weights)
    found = DBSCAN(1, min_samples=8).fit(X, sample_weight=weights)
    core = expected.core_sample_indices_
    np.testing.assert_array_equal(core, found.core_sample_indices_)
    np.testing.assert_array_equal(expected.labels_[core], found.labels_[core])


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ([1, 2], r"has the shape \(2,\) for 3 rows.*one weight for each row"),
        ([[1], [2], [3]], r"has the shape \(3, 1\)"),
        ([1, -2, 3], r"The weight of row 1 \(counting from 0\) is -2.*at least 0"),
        ([1, 2, math.nan], "The weight of row 2 .* is nan"),
        ([math.inf, 2, 3], "The weight of row 0 .* is inf"),
        ([0, 0, 0], "All weights are zero"),
        (["a", "b", "c"], "sample_weight is not made of numbers"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights, told):
    with pytest.raises(DataError, match=told):
        DBSCAN().fit(np.zeros((3, 2)), sample_weight=weights)


# ---------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"eps": 0}, r"eps must be a number above 0, got 0\. Example: eps=0.5"),
        ({"eps": -0.5}, "eps must be a number above 0, got -0.5"),
        ({"eps": math.nan}, "eps must be .* got nan"),
        ({"eps": math.inf}, "eps must be .* got inf"),
        ({"eps": True}, "eps must be .* got True"),
        ({"eps": np.True_}, "eps must be .* got np.True_"),
        ({"eps": "0.5"}, "eps must be .* got '0.5'"),
        ({"eps": None}, "eps must be .* got None"),
        ({"eps": 1j}, "eps must be .* got 1j"),
        ({"eps": [0.5]}, "eps must be .* got "),
        ({"eps": 10**400}, "eps must be .* got 1000"),
        ({"eps": Fraction(1, 10**400)}, "eps must be .* got Fraction"),
        ({"min_samples": 0}, "min_samples must be a number above 0, got 0"),
        ({"min_samples": -1}, "min_samples must be .* got -1"),
        ({"min_samples": math.nan}, "min_samples must be .* got nan"),
        ({"min_samples": math.inf}, "min_samples must be .* got inf"),
        ({"min_samples": "5"}, "min_samples must be .* got '5'"),
        ({"min_samples": None}, "min_samples must be .* got None"),
        ({"rho": 1}, r"rho must be in \[0, 1\), got 1\. 0 is exact"),
        ({"rho": -0.01}, "rho must be .* got -0.01"),
        ({"rho": math.nan}, "rho must be .* got nan"),
        ({"rho": "0"}, "rho must be .* got '0'"),
        ({"rho": None}, "rho must be .* got None"),
        ({"metric": "euclidian"}, '"euclidian" is unknown. Did you mean "euclidean"'),
        ({"metric": None}, '"None" is unknown'),
        ({"algorithm": "kd_tree"}, '"kd_tree" is unknown. Did you mean "tree"'),
        ({"algorithm": 3}, '"3" is unknown'),
        ({"algorithm": "grid"}, 'takes up to 3 dimensions, got 4. Leave it at "auto"'),
        ({"n_jobs": 0}, "n_jobs must not be 0"),
        ({"n_jobs": 1.5}, "n_jobs must be a whole number or None, got 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(settings, told):
    """With what was received, what is allowed, what to do. Nothing is refused before the fit."""
    model = DBSCAN(**settings)
    with pytest.raises(ParameterError, match=told):
        model.fit(np.zeros((3, 4)))
    with pytest.raises(ValueError, match=told):
        model.fit_predict(np.zeros((3, 4)))


@pytest.mark.parametrize(
    ("X", "told"),
    [
        (np.zeros((0, 2)), r"0 sample\(s\) \(shape=\(0, 2\)\).*at least one row"),
        (np.zeros((3, 0)), r"0 feature\(s\) \(shape=\(3, 0\)\).*a minimum of 1 is required"),
        (np.zeros(3), r"two dimensions \(rows, coordinates\), got shape \(3,\)"),
        (np.zeros((2, 2, 2)), r"two dimensions .* got shape \(2, 2, 2\)"),
        (np.array([["a", "b"]]), "(?i)number|float|text"),
        ([[0.0, math.nan]], r"Row 0 .*NaN \(or missing\) in column \"x1\""),
        ([[0.0, 1.0], [math.inf, 0.0]], 'Row 1 .*infinity in column "x0"'),
        (np.array([[1j]]), "(?i)complex"),
    ],
)
def test_what_is_no_table_of_finite_numbers_is_refused(X, told):
    with pytest.raises(DataError, match=told):
        DBSCAN().fit(X)


@pytest.mark.parametrize("d", [2, 5])
@pytest.mark.parametrize("min_samples", [5, 1000])
def test_a_missing_number_is_named_by_its_own_row(d, min_samples):
    """Also where equal rows would be merged first."""
    X = np.ones((500, d))
    X[321, 1] = math.nan
    with pytest.raises(DataError, match=r"Row 321 .*column \"x1\""):
        DBSCAN(min_samples=min_samples).fit(X)


# ---------------------------------------------------------------------- prediction
@MANY
@given(
    seed=st.integers(0, 10**6),
    d=st.sampled_from([1, 2, 5]),
    lattice=st.booleans(),
    min_samples=st.sampled_from([2, 4, 7]),
)
def test_points_of_the_fit_are_given_their_own_labels(seed, d, lattice, min_samples):
    """Border points their nearest core point's, as in the fit; noise none; copies as well."""
    random = np.random.default_rng(seed)
    X = random.integers(0, 6, (150, d)) * 1.0 if lattice else 4 * random.random((150, d))
    model = DBSCAN(1.0, min_samples=min_samples).fit(X)
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    order = random.permutation(150)
    np.testing.assert_array_equal(model.labels_[order], model.predict(X[order].copy()))


@MANY
@given(seed=st.integers(0, 10**6), step=st.sampled_from([1.0, 0.5, 0.1]))
def test_new_points_join_the_nearest_core_point_within_eps(seed, step):
    """Of equally near ones the lexicographically first; at exactly eps still; else none."""
    random = np.random.default_rng(seed)
    X, new = (step * random.integers(0, 12, (n, 2)) for n in (60, 80))
    model = DBSCAN(2 * step, min_samples=4).fit(X)
    order = np.lexsort(model.components_.T[::-1])
    core = model.components_[order]
    expected = np.full(80, -1)
    if len(core):
        squares = squared_distances(new, core)
        reached = squares.min(axis=1) <= (2 * step) ** 2
        nearest = model.labels_[model.core_sample_indices_][order][squares.argmin(axis=1)]
        expected[reached] = nearest[reached]
    np.testing.assert_array_equal(expected, model.predict(new))


@pytest.mark.parametrize(("metric", "d", "eps"), [("haversine", 2, 0.02), ("cosine", 5, 0.002)])
def test_prediction_measures_as_the_fit_does(metric, d, eps):
    X = blobs(3, 500, d, 0.1)
    X[:, 0] = np.clip(X[:, 0], -1.5, 1.5)
    model = DBSCAN(eps, metric=metric).fit(X)
    assert 0 < (model.labels_ < 0).sum() < 500
    np.testing.assert_array_equal(model.labels_, model.predict(X))


def test_short_floats_are_predicted_in_double_precision():
    X = blobs(2, 400, 2).astype(np.float32)
    model = DBSCAN(0.1).fit(X)
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    np.testing.assert_array_equal(model.labels_, model.predict(X.astype(np.float64)))


def test_many_equal_core_points_are_one_to_prediction():
    """A hundred thousand candidates for each of a thousand new points would fill the memory."""
    X = np.repeat([[0.0, 0.0], [5.0, 0.0]], 100_000, axis=0)
    new = np.tile([[0.3, 0.0], [5.0, 0.1], [2.5, 0.0]], (1000, 1))
    model = DBSCAN(0.5).fit(X)
    tracemalloc.start()
    labels = model.predict(new)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [0, 1, -1] * 1000 == labels.tolist()
    assert peak < 200 * len(X)


def test_no_new_points_have_no_labels():
    assert [] == DBSCAN().fit(np.zeros((9, 2))).predict(np.zeros((0, 2))).tolist()


def test_new_points_must_be_of_the_same_columns():
    """Number, names and order."""
    frame = pd.DataFrame(np.zeros((9, 2)), columns=["a", "b"])
    model = DBSCAN().fit(frame)
    with pytest.raises(DataError, match="X has 3 features, but DBSCAN is expecting 2"):
        model.predict(np.zeros((1, 3)))
    with pytest.raises(DataError, match="The columns are b, a; DBSCAN was fitted on a, b"):
        model.predict(frame[["b", "a"]])
    with pytest.raises(DataError, match=r"Row 0 .*NaN"):
        model.predict([[math.nan, 0.0]])
    assert [0] * 9 == model.predict(frame).tolist() == model.predict(frame.to_numpy()).tolist()


# ---------------------------------------------------------------------- an estimator
@pytest.mark.filterwarnings("ignore:.*SCIPY_ARRAY_API:UserWarning")
def test_it_is_an_estimator_by_scikit_learns_own_checks():
    """All of them; none is excepted."""
    checks = check_estimator(DBSCAN(), expected_failed_checks={}, on_skip=None)
    assert {"passed"} >= {
        check["status"] for check in checks if check["check_name"] != "check_array_api_input"
    }


def test_parameters_are_stored_as_given_and_cloned():
    given_ = {
        "eps": 1, "min_samples": 3.5, "metric": "cosine", "rho": 0.1, "algorithm": "tree",
        "n_jobs": 2,
    }  # fmt: skip
    model = DBSCAN(**given_)
    assert given_ == model.get_params()
    copied = clone(model.set_params(eps=2))
    assert given_ | {"eps": 2} == copied.get_params()
    assert not hasattr(clone(DBSCAN().fit([[0.0]])), "labels_")
    assert "eps=2" in repr(copied)


def test_a_second_fit_forgets_the_first():
    """Names of columns and core points, too."""
    model = DBSCAN(1.0, min_samples=1).fit(pd.DataFrame({"a": [0.0, 9.0]}))
    assert [[0.0], [9.0]] == model.components_.tolist()
    model.fit([[1.0, 2.0]])
    assert [[1.0, 2.0]] == model.components_.tolist()
    assert not hasattr(model, "feature_names_in_")
    assert (2, [0]) == (model.n_features_in_, model.labels_.tolist())


def test_it_ends_a_pipeline():
    """Which hands on weights, and predicts."""
    X = blobs(5, 300, 3) * (1, 100, 0.01)
    line = make_pipeline(StandardScaler(), DBSCAN(0.4))
    line.set_output(transform="pandas")
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    scaled = StandardScaler().fit_transform(X)
    expected = DBSCAN(0.4).fit_predict(scaled, sample_weight=np.arange(300) % 3)
    weighted = line.fit_predict(frame, dbscan__sample_weight=np.arange(300) % 3)
    np.testing.assert_array_equal(expected, weighted)
    np.testing.assert_array_equal(line[-1].labels_, line.predict(frame))
    assert 0 < line[-1].n_clusters_


def test_points_may_come_in_any_form(tmp_path):
    """Arrays, lists, frames, Arrow, files, points by parts: one answer."""
    X = blobs(6, 300, 2)
    frame = pd.DataFrame(X, columns=["a", "b"])
    frame.to_parquet(tmp_path / "x.parquet")
    np.save(tmp_path / "x.npy", X)
    expected = DBSCAN(0.2).fit(X)
    assert 1 < len(set(expected.labels_))
    forms = [
        X.tolist(), frame, pa.table(frame), tmp_path / "x.parquet", str(tmp_path / "x.npy"),
        ArrayPoints(X, 7), np.asfortranarray(X), X.astype(">f8"),
    ]  # fmt: skip
    for form in forms:
        found = DBSCAN(0.2).fit(form)
        np.testing.assert_array_equal(expected.labels_, found.labels_)
        np.testing.assert_array_equal(expected.components_, found.components_)
        np.testing.assert_array_equal(expected.labels_, found.predict(form))


@pytest.mark.parametrize("taken", [pickle.dumps, copy.deepcopy], ids=["pickle", "copy"])
def test_what_is_stored_predicts_and_leaves_the_data_behind(taken):
    """Of a hundred thousand points of noise, the core points alone go along."""
    random = np.random.default_rng(8)
    X = np.concatenate([random.random((200, 2)), random.random((100_000, 2)) * 1e6])
    model = DBSCAN(0.2).fit(X)
    expected, core = model.predict(X[:300]), len(model.core_sample_indices_)
    assert 0 < core < 1000
    stored = taken(DBSCAN(0.2).fit(X))
    if taken is pickle.dumps:
        assert len(stored) < X.nbytes / 2
        stored = pickle.loads(stored)
    np.testing.assert_array_equal(expected, stored.predict(X[:300]))
    np.testing.assert_array_equal(model.components_, stored.components_)
    np.testing.assert_array_equal(model.labels_, pickle.loads(pickle.dumps(stored)).labels_)


@pytest.mark.parametrize(("d", "dtype"), [(2, np.float64), (2, np.float32), (5, np.float32)])
@pytest.mark.slow
def test_memory_is_a_few_dozen_bytes_a_point(d, dtype):
    """No neighbour is stored, and no float64 copy made: half the points are within eps of all."""
    X = np.random.default_rng(9).normal(size=(100_000, d)).astype(dtype)
    DBSCAN(0.5, n_jobs=1).fit(X[:2000])  # imports and compiles
    tracemalloc.start()
    found = DBSCAN(0.5, min_samples=100, n_jobs=1).fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    engine = found.statistics_["engine"]
    scratch = 2**23  # of a thread, samples and tables: whatever the number of points
    assert peak - scratch < needed_memory(engine, len(X), d, X.itemsize)
    assert peak - scratch < (60 + 16 * d) * len(X)


# ---------------------------------------------------------------------- anywhere
@pytest.mark.parametrize("d", [2, 5, 17])
@pytest.mark.slow
def test_two_threads_fit_at_once(d):
    """Each its own data, on threads of their own; again and again."""
    data = [blobs(seed, 1500, d) for seed in (1, 2)]
    eps = 0.2 * math.sqrt(d)
    expected = [DBSCAN(eps).fit_predict(X) for X in data]
    found: list[list[np.ndarray]] = [[], []]

    def work(i):
        for _ in range(5):
            found[i].append(DBSCAN(eps, n_jobs=2).fit_predict(data[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for labels, ours in zip(expected, found, strict=True):
        assert 5 == len(ours)
        for again in ours:
            np.testing.assert_array_equal(labels, again)


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="the system has no fork"
)
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("d", [2, 5, 17])
def test_a_forked_child_fits_after_its_parent(d):
    """Threads do not survive a fork; ours are started anew."""
    X = blobs(3, 1500, d)
    expected = DBSCAN(0.2 * math.sqrt(d), n_jobs=2).fit_predict(X)
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(
        target=lambda: sending.send(DBSCAN(0.2 * math.sqrt(d), n_jobs=2).fit_predict(X))
    )
    child.start()
    try:
        assert receiving.poll(60)
        np.testing.assert_array_equal(expected, receiving.recv())
        child.join(60)
        assert 0 == child.exitcode
    finally:
        child.kill()
        child.join()
        for end in (receiving, sending):
            end.close()


# ---------------------------------------------------------------------- the function behind
def test_the_function_tells_its_phases():
    """In their order, with shares; the last is of the labels."""
    heard = []
    points = ArrayPoints(blobs(1, 500, 2), 100)
    found = cluster_points(points, 0.3, 5, phase=lambda name, share: heard.append((name, share)))
    assert ["reading", "sorting", "core points", "joining", "labels"] == list(
        dict.fromkeys(name for name, _ in heard)
    )
    assert all(0 <= share <= 1 for _, share in heard)
    np.testing.assert_array_equal(DBSCAN(0.3).fit_predict(points), found.labels)


@pytest.mark.parametrize("rho", [0.0, 0.2])
@pytest.mark.parametrize("d", [2, 5])
def test_labels_do_not_depend_on_jobs_parts_or_order_of_rows(d, rho):
    """From merging equal rows to the labels."""
    random = np.random.default_rng(6)
    X = np.concatenate([blobs(6, 600, d), np.tile(blobs(7, 30, d), (20, 1))])
    expected = cluster_points(ArrayPoints(X), 0.4, 8, rho=rho)
    assert 1 < len(set(expected.labels))
    for jobs, part_rows in ((2, 37), (3, 65_536)):
        found = cluster_points(ArrayPoints(X, part_rows), 0.4, 8, rho=rho, jobs=jobs)
        np.testing.assert_array_equal(expected.labels, found.labels)
        np.testing.assert_array_equal(expected.core, found.core)
    order = random.permutation(len(X))
    moved = np.empty_like(expected.labels)
    moved[order] = cluster_points(ArrayPoints(X[order]), 0.4, 8, rho=rho).labels
    assert partition(expected.labels) == partition(moved)
    np.testing.assert_array_equal(expected.labels < 0, moved < 0)


def test_equal_rows_are_merged_where_it_pays():
    """A third is distinct, in many dimensions; few neighbours on a grid are counted as fast."""
    X = np.repeat(blobs(2, 2000, 5), 3, axis=0)
    assert 2000 == DBSCAN(0.3).fit(X).statistics_["distinct_rows"]
    assert "distinct_rows" not in DBSCAN(0.3).fit(X[::3]).statistics_
    assert "distinct_rows" not in DBSCAN(0.3).fit(X[:, :2]).statistics_
    many = DBSCAN(0.3, min_samples=dbscan.MANY_SAMPLES + 1)
    assert 2000 == many.fit(X[:, :2]).statistics_["distinct_rows"]
