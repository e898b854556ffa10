"""k-medoids: what it returns is measured against the definition, in plain NumPy."""

import itertools
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances
from sklearn.utils.estimator_checks import check_estimator

from thresher.cluster import medoid_search, pamae
from thresher.cluster.exact_sums import ExactSums
from thresher.cluster.kernels.keyed_uniforms import keyed_uniforms
from thresher.cluster.kernels.medoid_refinement import keep_nearest, merge_nearest
from thresher.cluster.kernels.medoid_search import fasterpam
from thresher.cluster.kmedoids import KMedoids
from thresher.cluster.medoid_rows import PointRows
from thresher.cluster.medoid_space import METRICS, NearestMedoid
from thresher.cluster.points import ArrayPoints
from thresher.cluster.silhouette import medoid_silhouette
from thresher.errors import DataError, ParameterError


# ---------------------------------------------------------------------- data and oracles
def gaussians(n, k, seed, spread=0.1):
    """k well separated clusters in the plane, and which is whose."""
    random = np.random.default_rng(seed)
    centres = np.stack([np.arange(k) % 4, np.arange(k) // 4], axis=1) * 2.0
    labels = np.arange(n) % k
    return centres[labels] + random.normal(0, spread, (n, 2)), labels


def blurred_counts(n, seed, dimension=13):
    """Counts whose groups overlap, as those of a click log."""
    random = np.random.default_rng(seed)
    rates = np.exp(random.normal(1.5, 1, (60, dimension)))[random.integers(60, size=n)]
    return random.poisson(rates * np.exp(random.normal(0, 0.5, rates.shape))).astype(float)


def brute_inertia(X, medoids, metric="euclidean", weights=None):
    return np.average(
        pairwise_distances(X, medoids, metric=metric).min(axis=1), weights=weights
    ) * (len(X) if weights is None else np.sum(weights))


def swap_losses(D, weights, medoids):
    """The loss after every single swap."""
    for slot, x in itertools.product(range(len(medoids)), range(len(D))):
        swapped = [*medoids[:slot], x, *medoids[slot + 1 :]]
        yield (D[swapped].min(axis=0) * weights).sum()


def as_lanes(D):
    """No coordinates: kernels that are given a matrix do not look at them."""
    empty = np.zeros((1, 1), np.float32)
    return empty, empty, 1.0


# ---------------------------------------------------------------------- the search
@pytest.mark.parametrize("k", [1, 2, 5])
def test_no_single_swap_improves_what_fasterpam_found(k):
    X = np.random.default_rng(k).normal(size=(60, 3))
    weights = np.random.default_rng(1).integers(1, 4, 60).astype(float)
    D = pairwise_distances(X).astype(np.float32)
    medoids = np.arange(k)
    loss, _ = fasterpam(0, as_lanes(D), D, weights, medoids)
    assert loss == pytest.approx((D[medoids].min(axis=0) * weights).sum(), rel=1e-6)
    assert min(swap_losses(D, weights, medoids)) >= loss * (1 - 1e-6)


def test_fasterpam_swaps_as_its_definition_does():
    X = np.random.default_rng(5).normal(size=(50, 2))
    D = pairwise_distances(X).astype(np.float32)
    slow, x, tried = [0, 1, 2, 3], -1, 0
    while tried < len(D):
        x, tried = (x + 1) % len(D), tried + 1
        losses = [D[[*slow[:i], x, *slow[i + 1 :]]].min(axis=0).sum(dtype=float) for i in range(4)]
        if x not in slow and min(losses) < D[slow].min(axis=0).sum(dtype=float) - 1e-9:
            slow[int(np.argmin(losses))] = x
            tried = 0
    fast = np.arange(4)
    fasterpam(0, as_lanes(D), D, np.ones(50), fast)
    assert slow == fast.tolist()


def test_rows_computed_when_looked_at_lead_where_the_matrix_does(monkeypatch):
    X, _ = gaussians(500, 6, seed=2)
    by_matrix = KMedoids(6, sample_size=500, random_state=3).fit(X)
    monkeypatch.setattr(medoid_search, "MATRIX_BYTES", 0)
    by_rows = KMedoids(6, sample_size=500, random_state=3).fit(X)
    assert by_matrix.medoid_indices_.tolist() == by_rows.medoid_indices_.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_twins_that_float32_cannot_tell_apart_are_not_swapped_for_ever(seed):
    random = np.random.default_rng(seed)
    sites = random.normal(size=(5, 2))[random.integers(5, size=300)]
    X = sites + 1e-13 * random.normal(size=sites.shape)
    found = KMedoids(5, sample_size=300).fit(X, sample_weight=random.uniform(size=300))
    assert found.inertia_ < 1e-9


def test_rows_that_are_parallel_are_one_object_to_the_cosine():
    X = np.array([[1.0, 2.0], [2.0, 4.0], [4.0, 8.0], [3.0, 1.0], [2.0, -1.0]])
    found = KMedoids(3, metric="cosine").fit(X)
    assert found.inertia_ == 0
    assert sorted(found.medoid_indices_.tolist()) == [0, 3, 4]


def test_small_data_is_searched_as_a_whole():
    X = np.random.default_rng(0).normal(size=(70, 2))
    found = KMedoids(3, random_state=0).fit(X)
    D = pairwise_distances(X)
    assert min(swap_losses(D, np.ones(70), found.medoid_indices_.tolist())) >= found.inertia_ - 1e-4
    assert found.inertia_ == found.seeding_inertia_


# ---------------------------------------------------------------------- the definition
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(["normal", "lattice", "shifted", "constant column", "skewed"]),
    d=st.integers(1, 5),
    k=st.integers(1, 6),
    weighted=st.booleans(),
    metric=st.sampled_from(["euclidean", "manhattan", "cosine"]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_inertia_and_labels_are_those_of_the_definition(seed, kind, d, k, weighted, metric, dtype):
    random = np.random.default_rng(seed)
    X = random.normal(size=(400, d))
    X = {
        "normal": X,
        "lattice": np.round(X) + 7,
        "shifted": X + 1e6,
        "constant column": np.concatenate([X, np.ones((400, 1))], axis=1),
        "skewed": np.exp(3 * X),
    }[kind].astype(dtype)
    weights = random.integers(0, 3, 400).astype(float) if weighted else None
    model = KMedoids(k, sample_size=60, metric=metric, random_state=0, n_jobs=1)
    try:
        found = model.fit(X, sample_weight=weights)
    except ConvergenceWarning:
        return  # fewer distinct rows than medoids, of which there are tests
    exact = X.astype(np.float64)
    medoids = exact[found.medoid_indices_]
    assert np.array_equal(medoids, found.cluster_centers_)
    rounding = 1e-12 * np.abs(exact).max() * len(X) + 1e-9
    expected = brute_inertia(exact, medoids, metric, weights)
    if metric == "euclidean" and kind != "shifted":  # where scikit-learn's own are exact enough
        assert found.inertia_ == pytest.approx(expected, rel=1e-6, abs=rounding)
    elif metric == "manhattan":
        assert found.inertia_ == pytest.approx(expected, rel=1e-9, abs=rounding)
    assert found.inertia_ <= found.seeding_inertia_
    assert np.array_equal(found.predict(X), found.labels_)
    assert (found.labels_[found.medoid_indices_] == np.arange(k)).all()
    distances = found.transform(exact)
    assert np.allclose(distances.min(axis=1), distances[np.arange(400), found.labels_])
    assert weights is None or (weights[found.medoid_indices_] > 0).all()


@pytest.mark.parametrize("shift", [0.0, 1e3, 1e8])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize("scale", [1e-200, 1e-20, 1.0, 1e30])
def test_the_nearest_medoid_is_nearest_in_float64_whatever_float32_says(shift, metric, scale):
    X = (np.random.default_rng(1).normal(size=(700, 5)) + shift) * scale
    X[300:600] = X[:300] + scale * 1e-7  # near ties
    medoids = np.concatenate([X[:20], X[300:320]])
    labels, distances = NearestMedoid(METRICS[metric], medoids)(X)
    apart = np.zeros((700, 40))
    for j in range(5):
        apart += np.abs(X[:, j, None] - medoids[:, j]) ** (2 if metric == "euclidean" else 1)
    expected = np.sqrt(apart) if metric == "euclidean" else apart
    assert np.array_equal(labels, apart.argmin(axis=1))
    assert np.array_equal(distances, expected[np.arange(700), labels])


def test_haversine_distances_are_angles_on_the_sphere():
    random = np.random.default_rng(0)
    X = np.stack([random.uniform(-1.5, 1.5, 900), random.uniform(-math.pi, math.pi, 900)], axis=1)
    found = KMedoids(4, sample_size=200, metric="haversine", random_state=0).fit(X)
    expected = brute_inertia(X, X[found.medoid_indices_], "haversine")
    assert found.inertia_ == pytest.approx(expected, rel=1e-9)
    assert found.inertia_ <= found.seeding_inertia_


def test_haversine_refuses_degrees_and_other_columns():
    model = KMedoids(2, metric="haversine")
    with pytest.raises(DataError, match="latitude of 52 is beyond ±π/2"):
        model.fit(np.array([[52.0, 13.0], [48.0, 2.0], [41.0, 12.0]]))
    with pytest.raises(DataError, match="longitude of 13 is beyond ±2π"):
        model.fit(np.array([[0.2, 13.0], [0.8, 2.0], [0.1, 12.0]]))
    with pytest.raises(ParameterError, match="two columns"):
        model.fit(np.zeros((5, 3)))


# ---------------------------------------------------------------------- refinement
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
def test_one_medoid_of_all_is_nearly_always_the_true_one(metric):
    exact = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        X = random.normal(size=(2000, 1 + seed % 5)) * (1 + seed % 3) + 3
        if metric == "cosine":
            X = np.abs(X) + 0.1
        found = KMedoids(1, sample_size=50, metric=metric, random_state=seed).fit(X)
        best = pairwise_distances(X, metric=metric).sum(axis=1).min()
        assert found.inertia_ <= best * (1 + 1e-4) + 1e-9
        exact += found.inertia_ <= best * (1 + 1e-9) + 1e-9
    assert exact >= 19


def test_more_rounds_never_raise_the_inertia():
    X = blurred_counts(3000, seed=4, dimension=4)
    inertias = [
        KMedoids(12, sample_size=100, refine_rounds=rounds, random_state=1).fit(X).inertia_
        for rounds in (0, 1, 2, 30)
    ]
    assert inertias == sorted(inertias, reverse=True)


def test_the_objects_kept_do_not_depend_on_the_order_they_come_in():
    random = np.random.default_rng(3)
    X = random.integers(-3, 4, (400, 2)).astype(float)
    labels, ones = np.zeros(400, np.int32), np.ones(400)

    def kept(cuts):
        state = np.full((1, 16), np.inf), np.full((1, 16), -1), np.zeros((1, 16, 2))
        for first, last in cuts:
            here = np.full((1, 16), np.inf), np.full((1, 16), -1), np.zeros((1, 16, 2))
            tile = X[first:last]
            keep_nearest(0, tile, first, labels[first:last], ones, np.zeros((1, 2)), *here)
            merge_nearest(*state, *here)
        return state[1].tolist()

    cuts = [(0, 100), (100, 250), (250, 400)]
    assert kept(cuts) == kept(cuts[::-1]) == kept([(0, 400)])


# ---------------------------------------------------------------------- statistics
def test_every_separated_cluster_holds_one_medoid():
    right = 0
    for seed in range(20):
        X, truth = gaussians(4000, 10, seed)
        found = KMedoids(10, random_state=seed).fit(X)
        right += len(set(truth[found.medoid_indices_])) == 10
    assert right >= 19


def test_a_sample_errs_by_the_inverse_of_its_size():
    """Uniform discs, one sample: the excess of φ halves when the sample doubles."""
    k, runs = 10, 20
    excess = {20: [], 40: [], 80: []}
    for seed in range(runs):
        random = np.random.default_rng(seed)
        angle, radius = random.uniform(0, 2 * math.pi, 5000), np.sqrt(random.uniform(size=5000))
        truth = np.arange(5000) % k
        X = np.stack([radius * np.cos(angle) + 10 * truth, radius * np.sin(angle)], axis=1)
        best = sum(pairwise_distances(X[truth == c]).sum(axis=1).min() for c in range(k))
        for size in excess:
            found = KMedoids(
                k, n_samples=1, sample_size=size * k, refine_rounds=0, random_state=seed
            ).fit(X)
            excess[size].append(found.inertia_ / best - 1)
    mean = {size: np.mean(values) for size, values in excess.items()}
    for size in excess:
        assert mean[size] <= 2 / (size + 1)
    assert mean[20] / mean[40] == pytest.approx(2, rel=0.3)
    assert mean[40] / mean[80] == pytest.approx(2, rel=0.3)


def ratios(X, k, seeds, full_runs):
    """Mean φ over that of full FasterPAM: ours, and both sizes of CLARA."""
    full = min(
        KMedoids(k, sample_size=len(X), random_state=seed).fit(X).inertia_
        for seed in range(full_runs)
    )

    def mean(**settings):
        fits = [KMedoids(k, random_state=seed, **settings).fit(X).inertia_ for seed in seeds]
        return np.mean(fits) / full

    points = ArrayPoints(X)
    clara = [
        np.mean(
            [
                pamae.k_medoids(
                    points, k, sample_size=size, pooled_rows=0, refine_rounds=0, seed=seed
                ).inertia
                for seed in seeds
            ]
        )
        / full
        for size in (40 + 2 * k, 100 + 5 * k)
    ]
    return mean(), clara


def test_clustered_points_end_where_full_fasterpam_does():
    X, _ = gaussians(3000, 10, seed=0)
    ours, clara = ratios(X, 10, range(5), full_runs=2)
    assert ours <= 1.001
    assert ours < min(clara)


def test_blurred_counts_end_near_full_fasterpam_and_below_clara():
    ours, clara = ratios(blurred_counts(3000, seed=0), 10, range(5), full_runs=2)
    assert ours <= 1.035
    assert ours < min(clara)


@pytest.mark.slow
@pytest.mark.parametrize("k", [10, 25, 50])
def test_ten_thousand_blurred_counts_end_near_full_fasterpam(k):
    ours, clara = ratios(blurred_counts(10_000, seed=0), k, range(10), full_runs=5)
    assert ours <= 1.035
    assert ours < min(clara)


@pytest.mark.slow
def test_ten_thousand_clustered_points_end_where_full_fasterpam_does():
    X, _ = gaussians(10_000, 10, seed=0)
    ours, clara = ratios(X, 10, range(10), full_runs=5)
    assert ours <= 1.001
    assert ours < min(clara)


# ---------------------------------------------------------------------- invariance
@pytest.mark.parametrize("weighted", [False, True])
def test_threads_and_parts_do_not_matter(weighted):
    X = blurred_counts(5000, seed=1, dimension=3).astype(np.float32)
    weights = np.random.default_rng(0).uniform(0, 1, 5000) if weighted else None

    def run(jobs, part_rows):
        points = ArrayPoints(X, part_rows)
        return pamae.k_medoids(points, 8, weights=weights, seed=5, jobs=jobs)

    one, two = run(1, 700), run(2, 700)
    assert one.inertia == two.inertia
    assert np.array_equal(one.labels, two.labels)
    assert np.array_equal(one.rows, two.rows)
    whole = run(3, 65_536)
    assert np.array_equal(one.rows, whole.rows)
    assert whole.inertia == one.inertia


def test_small_data_do_not_depend_on_the_order_of_rows():
    X = np.random.default_rng(0).normal(size=(150, 2))
    order = np.random.default_rng(1).permutation(150)
    one, two = KMedoids(4, random_state=0).fit(X), KMedoids(4, random_state=0).fit(X[order])
    assert np.array_equal(one.cluster_centers_, two.cluster_centers_)
    assert np.array_equal(one.labels_[order], two.labels_)


def test_a_weight_of_two_is_a_row_given_twice():
    random = np.random.default_rng(0)
    X, weights = random.normal(size=(80, 3)), random.integers(0, 3, 80)
    weighted = KMedoids(3, random_state=1).fit(X, sample_weight=weights)
    repeated = KMedoids(3, random_state=1).fit(np.repeat(X, weights, axis=0))
    assert np.array_equal(weighted.cluster_centers_, repeated.cluster_centers_)
    assert weighted.inertia_ == pytest.approx(repeated.inertia_)


def test_rows_are_drawn_in_proportion_to_their_weights():
    points = ArrayPoints(np.arange(5.0)[:, None])
    for scale in (1.0, 1e-300, 1e300):
        weights = scale * np.array([0.0, 1.0, 0.0, 3.0, 0.0])
        data = PointRows(points, 0, weights, 1, lambda name, share: None)
        drawn = data.draw(keyed_uniforms(7, 0, 20_000))
        assert np.array_equal(drawn.numbers, drawn.rows[:, 0])
        counts = np.bincount(drawn.numbers, minlength=5)
        assert counts[[0, 2, 4]].tolist() == [0, 0, 0]
        assert counts[3] / counts[1] == pytest.approx(3, rel=0.1)


def test_sums_are_those_of_whole_numbers_in_any_order():
    """As math.fsum has them, from the smallest numbers to the largest."""
    random = np.random.default_rng(0)
    for scale in (1.0, 1e-310, 1e-160, 1e270):
        values = np.exp(random.normal(0, 20, 3000)) * scale
        one, two, three = ExactSums(2), ExactSums(2), ExactSums(2)
        one.add(1, values)
        two.add(1, values[2000:])
        three.add(1, values[:2000][::-1])
        two.merge(three)
        assert [0, math.fsum(values)] == one.values().tolist() == two.values().tolist()
    one.add(0, np.array([1e308, 1e308]))
    assert math.inf == one.values()[0]
    one.add(0, np.array([np.nan]))
    assert math.inf == one.values()[0]


def test_sums_stay_exact_when_chunks_are_carried(monkeypatch):
    monkeypatch.setattr("thresher.cluster.exact_sums.MOST_ADDED", 10)
    values = np.random.default_rng(0).random(500)
    sums, other = ExactSums(1), ExactSums(1)
    for number in range(500):
        (sums if number % 3 else other).add(0, values[number : number + 1])
    for _ in range(20):
        sums.merge(ExactSums(1))
    sums.merge(other)
    assert math.fsum(values) == sums.values()[0]


def test_numbers_by_key_can_be_asked_for_in_pieces():
    whole = keyed_uniforms(123, 0, 1000)
    assert np.array_equal(whole[400:700], keyed_uniforms(123, 400, 300))
    assert whole.min() >= 0
    assert whole.max() < 1
    assert whole.mean() == pytest.approx(0.5, abs=0.05)
    assert not np.array_equal(whole, keyed_uniforms(124, 0, 1000))


# ---------------------------------------------------------------------- edges
@pytest.mark.parametrize("n", [5, 3000])
def test_fewer_distinct_rows_than_medoids_are_all_medoids_and_repeat(n):
    X = np.arange(n)[:, None] % 5 * np.ones((1, 2))
    with pytest.warns(ConvergenceWarning, match="5 distinct rows"):
        found = KMedoids(7, sample_size=3, random_state=0).fit(X)
    assert found.inertia_ == 0
    assert found.cluster_centers_[:, 0].tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert set(found.labels_) == {0, 1, 2, 3, 4}


def test_rare_objects_are_found_when_no_sample_has_them():
    X = np.zeros((20_000, 2))
    X[[5, 17_000]] = [[1, 1], [2, 2]]
    found = KMedoids(3, sample_size=10, random_state=0).fit(X)
    assert found.medoid_indices_.tolist() == [0, 5, 17_000]
    assert found.inertia_ == 0


def test_one_row_is_its_own_medoid():
    found = KMedoids(1).fit([[3.0, 4.0]])
    assert (found.labels_.tolist(), found.inertia_, found.medoid_indices_.tolist()) == ([0], 0, [0])


def test_rows_of_weight_zero_are_labelled_and_do_not_count():
    X, _ = gaussians(2000, 4, seed=0)
    far = np.concatenate([X, [[1e4, 1e4]]])
    weights = np.append(np.ones(2000), 0.0)
    found = KMedoids(4, random_state=0).fit(far, sample_weight=weights)
    assert 2000 not in found.medoid_indices_
    assert len(found.labels_) == 2001
    assert found.inertia_ < 2000


def test_float32_stays_float32():
    X = gaussians(1000, 3, seed=0)[0].astype(np.float32)
    found = KMedoids(3, random_state=0).fit(X)
    assert found.cluster_centers_.dtype == found.transform(X).dtype == np.float32


def test_strides_do_not_matter():
    X, _ = gaussians(1500, 4, seed=0)
    expected = KMedoids(4, random_state=0).fit(X).medoid_indices_
    backwards = np.asfortranarray(X[::-1])[::-1]
    assert np.array_equal(expected, KMedoids(4, random_state=0).fit(backwards).medoid_indices_)


def test_a_file_gives_what_the_array_gives(tmp_path):
    X, _ = gaussians(1500, 4, seed=0)
    np.save(tmp_path / "points.npy", X)
    found = KMedoids(4, random_state=0).fit(tmp_path / "points.npy")
    assert np.array_equal(KMedoids(4, random_state=0).fit(X).labels_, found.labels_)
    with pytest.raises(DataError, match="fitted with 2"):
        found.predict(ArrayPoints(np.zeros((3, 3))))


def test_row_groups_do_not_matter(tmp_path):
    """To the bit, with more rounds than are needed."""
    X = blurred_counts(3000, seed=2, dimension=3)
    settings = {"n_clusters": 6, "sample_size": 80, "refine_rounds": 20, "random_state": 3}
    held = KMedoids(**settings).fit(X)
    table = pa.table({f"x{j}": X[:, j] for j in range(3)})
    pq.write_table(table, tmp_path / "points.parquet", row_group_size=170)
    read = KMedoids(**settings).fit(tmp_path / "points.parquet")
    assert held.medoid_indices_.tolist() == read.medoid_indices_.tolist()
    assert held.inertia_ == read.inertia_
    assert np.array_equal(held.labels_, read.labels_)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_clusters": 0}, "n_clusters must be a whole number of at least 1, got 0"),
        ({"n_clusters": 2.5}, "got 2.5"),
        ({"n_samples": 0}, "n_samples"),
        ({"sample_size": 0}, "sample_size"),
        ({"sample_size": "big"}, "sample_size"),
        ({"refine_rounds": -1}, "refine_rounds"),
        ({"metric": "euclidian"}, 'mean "euclidean"'),
        ({"n_jobs": 0}, "n_jobs"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ParameterError, match=message):
        KMedoids(**settings).fit(np.zeros((20, 2)))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_rows_that_are_not_finite_are_refused_by_number(bad):
    X = np.random.default_rng(0).normal(size=(900, 2))
    X[321, 1] = bad
    with pytest.raises(DataError, match="Row 321"):
        KMedoids(2, sample_size=50).fit(X)


def test_coordinates_that_overflow_are_refused():
    X = np.random.default_rng(0).normal(size=(900, 2)) * 1e200
    with pytest.raises(DataError, match="overflow"):
        KMedoids(2, sample_size=50).fit(X)


@pytest.mark.parametrize("weights", [[1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0]])
def test_weights_that_make_no_sense_are_refused(weights):
    with pytest.raises(DataError, match="weight"):
        KMedoids(1).fit(np.eye(3), sample_weight=weights)


def test_a_row_of_zeros_has_no_direction():
    with pytest.raises(DataError, match="no direction"):
        KMedoids(2, metric="cosine").fit([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # 4 rows, 8 medoids
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")  # the array API is off
def test_it_is_a_clusterer_of_scikit_learn():
    check_estimator(KMedoids())


# ---------------------------------------------------------------------- silhouette
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
def test_the_medoid_silhouette_is_that_of_its_formula(metric):
    random = np.random.default_rng(0)
    X, weights = random.uniform(0.1, 1, (500, 3)), random.uniform(0, 1, 500)
    medoids = X[:5]
    first, second = np.sort(pairwise_distances(X, medoids, metric=metric), axis=1)[:, :2].T
    found = medoid_silhouette(X, medoids, metric=metric, sample_weight=weights)
    assert np.allclose(1 - first / second, found.samples, atol=1e-5)
    assert found.average == pytest.approx(np.average(1 - first / second, weights=weights))
    assert len(found.clusters) == 5


def test_the_medoid_silhouette_peaks_at_the_number_of_clusters():
    X, _ = gaussians(2000, 4, seed=0)
    averages = {
        k: medoid_silhouette(X, KMedoids(k, random_state=0).fit(X).cluster_centers_).average
        for k in (2, 3, 4, 5, 6)
    }
    assert max(averages, key=averages.get) == 4


def test_a_point_on_two_equal_medoids_is_half_way():
    found = medoid_silhouette([[1.0], [2.0]], [[1.0], [1.0]])
    assert found.samples.tolist() == [0, 0]
    assert math.isnan(found.clusters[1])


def test_a_silhouette_needs_two_medoids_of_the_same_columns():
    with pytest.raises(ParameterError, match="two medoids"):
        medoid_silhouette([[1.0], [2.0]], [[1.0]])
    with pytest.raises(DataError, match="columns"):
        medoid_silhouette([[1.0], [2.0]], [[1.0, 2.0], [3.0, 4.0]])
