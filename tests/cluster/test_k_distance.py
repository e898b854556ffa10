"""The k-distances are those of the definition, and the suggested eps is one to start with."""

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw
from sklearn.cluster import DBSCAN
from sklearn.datasets import make_blobs, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import cosine_distances, haversine_distances

from cluster import oracle
from thresher.cli import main
from thresher.cluster import k_distance_plot, nearest_distances
from thresher.cluster.chart import logarithmic
from thresher.cluster.k_distances import (
    KDistances,
    k_distance,
    knee,
    sampled_distances,
    sampled_rows,
)
from thresher.cluster.metric import EARTH_RADIUS
from thresher.cluster.nearest_distances import nearest_squared
from thresher.cluster.points import ArrayPoints
from thresher.errors import DataError, ParameterError, RunError


@pytest.fixture(params=["trees", "products"])
def way(request, monkeypatch):
    """Either way of finding the nearest, in blocks and tiles of few rows."""
    monkeypatch.setattr(nearest_distances, "TREE_DIMENSIONS", 99 if request.param == "trees" else 0)
    monkeypatch.setattr(nearest_distances, "BLOCK_ROWS", 32)
    monkeypatch.setattr(nearest_distances, "TILE_ROWS", 16)
    monkeypatch.setattr(nearest_distances, "TILE_ASKED", 8)
    monkeypatch.setattr(nearest_distances, "NUMBERS", 64)
    return request.param


def brute(X, asked, k):
    """(len(asked), k) squares of the smallest distances."""
    X, asked = np.asarray(X, np.float64), np.asarray(asked, np.float64)
    return np.sort(oracle.squared_distances(asked, X), axis=1)[:, :k]


# ---------------------------------------------------------------------- the distances
def test_on_a_line_they_can_be_counted_in_the_head():
    """The point itself is the first, as in min_samples."""
    X = [[0.0], [1.0], [3.0], [7.0]]
    assert [0, 0, 0, 0] == k_distance(X, 1).distances.tolist()
    assert [4, 2, 1, 1] == k_distance(X, 2).distances.tolist()
    assert [6, 3, 3, 2] == k_distance(X, 3).distances.tolist()
    assert [7, 7, 6, 4] == k_distance(X, 4).distances.tolist()


POINTS = st.integers(1, 6).flatmap(
    lambda d: arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 60), st.just(d)),
        elements=st.sampled_from([-2.0, -1.0, 0.0, 0.1, 1.0, 1e6]) | st.floats(-10, 10),
        fill=st.nothing(),
    )
)


@given(X=POINTS, k=st.integers(1, 9), part=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("limit", [99, 0], ids=["trees", "products"])
def test_they_are_those_of_all_pairs(limit, X, k, part):
    """Bit for bit where one looks at all rows; the tree may take a neighbour a rounding farther."""
    k = min(k, len(X))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest_distances, "TREE_DIMENSIONS", limit)
        patch.setattr(nearest_distances, "BLOCK_ROWS", 30)
        patch.setattr(nearest_distances, "TILE_ROWS", 16)
        patch.setattr(nearest_distances, "TILE_ASKED", 8)
        found = nearest_squared(ArrayPoints(X, part), X, k, 1)
    if limit:
        np.testing.assert_allclose(found, brute(X, X, k), rtol=1e-14, atol=0)
    else:
        np.testing.assert_array_equal(found, brute(X, X, k))


@pytest.mark.parametrize("shift", [0.0, 1e6, 1e150])
def test_many_dimensions_far_from_zero_lose_nothing(way, shift):
    """The matrix product only names candidates, wide enough for its rounding."""
    random = np.random.default_rng(0)
    X = random.normal(size=(150, 24)) * max(1.0, shift * 1e-9) + shift
    np.testing.assert_allclose(
        nearest_squared(ArrayPoints(X, 40), X[::3], 6, 1), brute(X, X[::3], 6), rtol=1e-14
    )


def test_huge_coordinates_overflow_to_infinity(way):
    """And not to a wrong number."""
    X = np.array([[1e200] * 3, [-1e200] * 3, [0.0] * 3, [0.0] * 3])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(nearest_squared(ArrayPoints(X), X, 2, 1), brute(X, X, 2))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_equal_rows_and_ties_are_counted_one_by_one(way, dtype):
    """On a lattice with every place taken twice."""
    side = np.arange(4.0)
    lattice = np.repeat(np.stack(np.meshgrid(side, side, side), -1).reshape(-1, 3), 2, axis=0)
    found = nearest_squared(ArrayPoints(lattice.astype(dtype), 20), lattice, 9, 1)
    np.testing.assert_array_equal(found, brute(lattice, lattice, 9))
    assert [0, 0] == found[:, :2].max(axis=0).tolist()


def test_threads_and_parts_change_nothing(way):
    """Not a bit."""
    X = np.random.default_rng(0).normal(size=(400, 7))
    one = nearest_squared(ArrayPoints(X, 400), X[:90], 5, 1)
    for part, jobs in ((7, 3), (64, 2)):
        np.testing.assert_array_equal(one, nearest_squared(ArrayPoints(X, part), X[:90], 5, jobs))


@pytest.mark.parametrize("d", [1, 3, 24])
def test_a_point_is_core_at_its_distance_and_not_below(d):
    """Which is what eps is read for; distances far from 1, so that their squares are rounded."""
    X = np.random.default_rng(d).normal(size=(120, d)) * 0.37
    found = k_distance(X, 6)
    for eps in found.distances[::7]:
        core = oracle.core_points(X, eps, 6).sum()
        assert core == (found.distances <= eps).sum()
        assert oracle.core_points(X, np.nextafter(eps * (1 - 1e-12), 0), 6).sum() < core


def test_angles_are_those_of_the_metrics():
    """Haversine in radians, across the date line and at the poles; cosine as 1 - cos."""
    random = np.random.default_rng(0)
    places = np.column_stack(
        [np.arcsin(random.uniform(-1, 1, 80)), random.uniform(-np.pi, np.pi, 80)]
    )
    places[:4] = [[0.1, np.pi], [0.1, -np.pi + 1e-9], [np.pi / 2, 1.0], [np.pi / 2, -2.0]]
    right = np.sort(np.sort(haversine_distances(places), axis=1)[:, 3])[::-1]
    found = k_distance(places, 4, metric="haversine")
    np.testing.assert_allclose(found.distances, right, rtol=1e-9, atol=1e-15)
    assert found.unit == "radians"
    X = random.normal(size=(80, 12))
    right = np.sort(np.sort(cosine_distances(X), axis=1)[:, 3])[::-1]
    np.testing.assert_allclose(k_distance(X, 4, metric="cosine").distances, right, rtol=1e-12)


# ---------------------------------------------------------------------- the sample
def test_a_sample_has_the_distances_of_the_whole():
    """Each sampled row is compared with all."""
    X = np.random.default_rng(0).normal(size=(700, 2))
    rows = sampled_rows(700, 60, 5)
    found = k_distance(X, 4, 60, random_state=5)
    np.testing.assert_allclose(
        found.distances, np.sort(np.sqrt(brute(X, X[rows], 4)[:, -1]))[::-1], rtol=1e-15
    )
    assert (found.k, found.rows, len(found.distances)) == (4, 700, 60)


def test_a_sample_depends_on_the_seed_and_on_nothing_else(monkeypatch):
    """Distinct rows in ascending order, the same for any block; the next seed has other ones."""
    rows = sampled_rows(5000, 300, 0)
    assert len(np.unique(rows)) == 300
    assert (np.diff(rows) > 0).all()
    assert 0 <= rows[0] <= rows[-1] < 5000
    monkeypatch.setattr("thresher.cluster.k_distances.HASHED", 77)
    np.testing.assert_array_equal(rows, sampled_rows(5000, 300, 0))
    assert len(np.intersect1d(rows, sampled_rows(5000, 300, 1))) < 60
    assert np.arange(9).tolist() == sampled_rows(9, 10, 0).tolist()


def test_rows_of_a_smaller_set_stay_in_the_sample_if_they_can():
    """Of twice as many rows, the old ones that are drawn were drawn before."""
    small, large = sampled_rows(2000, 200, 0), sampled_rows(4000, 200, 0)
    assert set(large[large < 2000]) <= set(small)


def test_a_sample_is_fair():
    """Every tenth of the rows has its share: 1,000 of 10,000, within five standard deviations."""
    counts = np.histogram(sampled_rows(100_000, 10_000, 0), np.linspace(0, 100_000, 11))[0]
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000 * 0.9)


def test_files_and_frames_are_taken_as_points(tmp_path):
    """As whatever `DBSCAN` is fitted to."""
    X = np.random.default_rng(0).normal(size=(90, 2)).astype(np.float32)
    right = k_distance(X).distances
    np.save(tmp_path / "x.npy", X)
    frame = pd.DataFrame(X, columns=["a", "b"])
    frame.to_parquet(tmp_path / "x.parquet")
    for form in (tmp_path / "x.npy", tmp_path / "x.parquet", frame, X.tolist()):
        np.testing.assert_array_equal(right, k_distance(form).distances)


# ---------------------------------------------------------------------- the knee
def test_the_knee_is_where_steep_turns_to_flat():
    """Two straight lines on the logarithmic scale meet in it."""
    steep, flat = np.geomspace(1000, 10, 200, endpoint=False), np.geomspace(10, 5, 800)
    assert knee(np.concatenate([steep, flat])) == pytest.approx(10, rel=0.03)


def test_the_knee_has_no_unit():
    """Scaled distances have a scaled knee."""
    curve = np.sort(np.random.default_rng(0).lognormal(size=500))[::-1]
    assert knee(curve * 1024) == 1024 * knee(curve)


def test_outliers_and_repeated_rows_do_not_move_the_knee_far():
    """One in a hundred a thousand times as far, one in a hundred all but at 0."""
    curve = np.sort(np.random.default_rng(0).gamma(5, size=1000))[::-1]
    spoilt = np.concatenate([curve[:10] * 1000, curve, np.full(10, 1e-12)])
    assert knee(spoilt) == pytest.approx(knee(curve), rel=0.25)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_any_curve_has_a_knee_that_is_one_of_its_distances(count):
    """Flat, of a single point, with zeros and infinities."""
    curve = np.sort(np.random.default_rng(count).exponential(size=count))[::-1]
    assert knee(curve) in curve
    assert knee(np.full(count, 2.5)) == 2.5
    assert knee(np.concatenate([[np.inf], curve, [0.0, 0.0]])) == knee(curve)


def test_rows_all_in_one_place_have_no_eps():
    """There is none to choose."""
    assert np.isnan(k_distance(np.ones((30, 2))).suggested_eps)


def labelled():
    """Generated clusters, without noise and with uniform noise."""
    random = np.random.default_rng(0)
    for noise in (0.0, 0.1, 0.3):
        for name, (X, y) in {
            "moons": make_moons(2000, noise=0.06, random_state=0),
            "blobs": make_blobs(2000, 5, centers=6, random_state=0),
        }.items():
            count, low, high = int(noise * len(X)), X.min(axis=0), X.max(axis=0)
            added = random.uniform(low, high, (count, X.shape[1]))
            yield pytest.param(
                np.concatenate([X, added]), np.append(y, np.full(count, -1)), id=f"{name} {noise}"
            )


def within_a_factor_of_two(X, y, k):
    """Whether an eps near the suggested one is about as good as the best."""
    eps = k_distance(X, k).suggested_eps
    radii = eps * 2.0 ** (np.arange(-12, 13) / 4)
    scores = [
        adjusted_rand_score(y, DBSCAN(eps=radius, min_samples=k).fit_predict(X)) for radius in radii
    ]
    return max(scores[8:17]) >= max(scores) - 0.02


@pytest.mark.parametrize(("X", "y"), list(labelled()))
def test_a_good_eps_is_within_a_factor_of_two_of_the_suggested_one(X, y):
    """Adjusted Rand index at most 0.02 below the best of radii from an eighth to eightfold."""
    assert within_a_factor_of_two(X, y, 5)


def real(name):
    """A set of clustering_benchmark.npz."""
    folder = os.environ.get("THRESHER_DATA")
    if not folder:
        pytest.skip("THRESHER_DATA is not set")
    with np.load(Path(folder) / "points/clustering_benchmark.npz") as sets:
        return sets[f"{name}/X"].astype(np.float64), sets[f"{name}/y"]


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "k", "eps"),
    [
        ("cluto-t4-8k", 16, 8.5),
        ("cluto-t7-10k", 12, 10),
        ("complex9", 8, 14),
        ("3-spiral", 5, 3),
    ],
)
def test_the_suggested_eps_is_near_those_that_are_known_to_be_good(name, k, eps):
    """Within a factor of two of what reaches an adjusted Rand index of .97 or more."""
    assert 0.5 <= k_distance(real(name)[0], k).suggested_eps / eps <= 2


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize("k", [5, 10])
def test_a_good_eps_is_near_on_every_labelled_set_of_the_benchmark(k):
    """What `knee` says of itself."""
    names = (
        *("cluto-t4-8k", "cluto-t7-10k", "s-set1", "s-set2", "D31", "R15", "aggregation"),
        *("3-spiral", "jain", "flame", "complex9", "chainlink", "cure-t1-2000n-2D", "dpb"),
        *("2d-20c-no0", "twodiamonds", "atom", "hepta", "engytime", "elly-2d10c13s"),
        *("diamond9", "disk-6000n"),
    )
    assert [] == [name for name in names if not within_a_factor_of_two(*real(name), k)]


# ---------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"k": 0}, ParameterError, "k must be a whole number of at least 1, got 0"),
        ({"k": 2.5}, ParameterError, "k must be a whole number of at least 1, got 2.5"),
        ({"k": True}, ParameterError, "got True"),
        ({"sample": 0}, ParameterError, "sample must be a whole number of at least 1, got 0"),
        ({"metric": "cosin"}, ParameterError, 'Did you mean "cosine"?'),
        ({"n_jobs": 0}, ParameterError, "n_jobs must not be 0"),
        ({"random_state": 0.5}, ParameterError, "got 0.5"),
        ({"k": 5}, DataError, "no nearest point number 5 among 4: the point itself is the first"),
        ({"X": np.empty((0, 2))}, DataError, "number 2 among 0"),
        ({"X": [[0.0], [np.nan], [1.0]]}, DataError, "Row 1 (counting from 0) has NaN"),
        ({"X": [1.0, 2.0]}, DataError, "two dimensions"),
        ({"X": np.zeros((9, 3)), "metric": "haversine"}, DataError, "needs two columns"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, error, words):
    """With the value, and what is allowed."""
    settings = {"X": np.arange(8.0).reshape(4, 2), "k": 2, "sample": 2, **change}
    with pytest.raises(error, match=re.escape(words)):
        k_distance(settings.pop("X"), **settings)


# ---------------------------------------------------------------------- the picture
def written(monkeypatch, tmp_path, found):
    """The picture, and all words in it."""
    words = []
    text = ImageDraw.ImageDraw.text

    def record(self, place, word, *rest, **more):
        words.append(word)
        return text(self, place, word, *rest, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", record)
    found.plot(tmp_path / "k.png")
    with Image.open(tmp_path / "k.png") as image:
        return np.asarray(image.convert("RGB")).astype(int), words


def places(pixels, colour):
    """(n, 2) pixels of a colour, x and y."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return np.argwhere((np.abs(pixels - wanted) < 20).all(axis=2))[:, ::-1]


def test_the_curve_falls_and_meets_the_line_of_eps(monkeypatch, tmp_path):
    """Above the share of the points that are not core."""
    found = k_distance(np.random.default_rng(0).normal(size=(500, 2)))
    pixels, words = written(monkeypatch, tmp_path, found)
    curve = places(pixels, k_distance_plot.CURVE)
    left, right = curve[curve[:, 0] < 200], curve[curve[:, 0] > 900]
    assert left[:, 1].mean() < right[:, 1].mean()  # y points downwards
    dot = places(pixels, k_distance_plot.EPS)
    upright = np.bincount(dot[:, 0]).argmax()
    share = (upright - k_distance_plot.LEFT) / k_distance_plot.WIDTH
    assert share == pytest.approx(1 - found.core_share(found.suggested_eps), abs=0.01)
    assert any(word.startswith("suggested eps 0.") for word in words)
    assert "500 points · k = 5, each point being the first from itself" in words
    assert "distance to the k-th nearest, k = 5" in words


def test_the_picture_says_what_it_is_of(monkeypatch, tmp_path):
    """A sample, with a unit, and points whose neighbours are in the same place."""
    curve = np.append(np.geomspace(100, 1, 75), np.zeros(25))
    found = KDistances(curve, 3, 4000, "metres")
    _, words = written(monkeypatch, tmp_path, found)
    assert "distance to the k-th nearest, k = 3 (metres)" in words
    assert (
        "4,000 points, 100 of them sampled · k = 3, each point being the first from itself · "
        "25 % have k points in one place"
    ) in words


@pytest.mark.parametrize(
    "curve",
    [[0.0] * 5, [3.0], [2.0] * 9, [1e300, 1.0, 1e-300], [np.inf, 2.0, 1.0], [5e-324] * 3],
    ids=["zeros", "one", "equal", "any size", "infinite", "least"],
)
def test_any_distances_can_be_drawn(monkeypatch, tmp_path, curve):
    """None to choose from, one, all equal, of any size."""
    pixels, _ = written(monkeypatch, tmp_path, KDistances(np.array(curve), 2, len(curve)))
    assert len(places(pixels, k_distance_plot.CURVE)) > 100


def test_a_picture_that_cannot_be_written_is_an_error(tmp_path):
    """With the system's reason."""
    with pytest.raises(RunError, match="No such file"):
        KDistances(np.array([2.0, 1.0]), 2, 2).plot(tmp_path / "nowhere/k.png")


def test_a_logarithmic_scale_has_its_ticks_within():
    """Two at least where there is room, none beyond; equal ratios are equally far apart."""
    for low, high in ((0.01, 50), (2.1, 2.4), (1e-30, 1e30), (3, 1000), (1e-320, 1e-310)):
        scale = logarithmic(low, high, 700, "x")
        assert 2 <= len(scale.ticks) <= 20
        assert all(low <= value <= high for value, _ in scale.ticks)
    assert logarithmic(1, 100, 700, "x").pixel(10) == 350


# ---------------------------------------------------------------------- the command
@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run a command in this process, in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["thresher", *map(str, arguments)])
        with pytest.raises(SystemExit) as leaving:
            main()
        return leaving.value.code, *capsys.readouterr()

    return run


@pytest.fixture(name="X")
def points(call):
    """x.parquet with the coordinates a and b, and a name."""
    X = np.random.default_rng(0).normal(size=(600, 2))
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(name="n")
    frame.to_parquet("x.parquet")
    return X


def test_the_command_suggests_eps_and_what_to_call_next(call, X):
    """The shares that would be core, and a line to paste."""
    code, out, err = call("k-distance", "x.parquet", "--columns", "a,b", "--plot", "k.png")
    assert code == 0, err
    found = k_distance(X)
    lines = dict(re.split(r"  +", line, maxsplit=1) for line in out.splitlines())
    assert lines["points"] == "600 in 2 dimensions"
    eps = found.suggested_eps
    assert lines["suggested"] == f"eps {eps:.4g}, {100 * found.core_share(eps):.1f} % core"
    told = float(lines["90 % core at"])
    assert found.core_share(told * 1.001) >= 0.9 > found.core_share(told * 0.99)
    assert lines["picture"] == "k.png"
    assert ["checking", "distances", "drawing"] == err.splitlines()
    program, *arguments = shlex.split(lines["next"])
    assert program == "thresher"
    assert f"--eps {eps:.4g} --min-samples 5 --columns a,b" in lines["next"]
    assert call(*arguments)[0] == 0


def test_json_is_one_object_with_the_exact_numbers(call, X):
    """And what it took."""
    code, out, err = call(
        *("k-distance", "x.parquet", "--columns", "b,a", "--k", 7, "--sample", 90, "--json"),
    )
    assert code == 0, err
    facts = json.loads(out)
    found = sampled_distances(ArrayPoints(X[:, ::-1]), 7, 90)
    assert facts["suggested_eps"] == found.suggested_eps
    assert facts["core_share"] == found.core_share(found.suggested_eps)
    assert {"0.5", "0.75", "0.9", "0.95", "0.99"} == set(facts["core_at"])
    assert found.core_share(facts["core_at"]["0.75"]) >= 0.75
    assert {
        "schema": 1,
        "points": "x.parquet",
        "plot": None,
        "method": "k-distance",
        "columns": ["b", "a"],
        "metric": "euclidean",
        "k": 7,
        "n": 600,
        "dimension": 2,
        "sampled": 90,
    }.items() <= facts.items()


def test_positions_are_in_degrees_and_distances_in_metres(call):
    """A hundred-thousandth of a degree of latitude is 1.1 metres."""
    pd.DataFrame({"lat": 48 + np.arange(50) * 1e-5, "lon": 2.0}).to_csv("p.csv", index=False)
    code, out, err = call(
        *("k-distance", "p.csv", "--metric", "haversine", "--columns", "lat,lon", "--k", 2),
        "--json",
    )
    assert code == 0, err
    metres = np.radians(1e-5) * EARTH_RADIUS
    assert json.loads(out)["suggested_eps"] == pytest.approx(metres, rel=1e-6)
    code, out, err = call("k-distance", "p.csv", "--metric", "haversine")
    assert code == 0, err
    assert re.search(r"suggested     eps 2\.22\d metres, ", out)
    pd.DataFrame({"lon": [122.0, 123.0], "lat": [1.0, 2.0]}).to_csv("q.csv", index=False)
    code, _, err = call("k-distance", "q.csv", "--metric", "haversine", "--k", 2)
    assert code == 2
    assert "probably swapped" in err


def test_no_points_have_no_eps(call):
    """And are no error; rows in one place have none either."""
    np.save("x.npy", np.empty((0, 2)))
    assert call("k-distance", "x.npy", "--plot", "k.png")[:2] == (0, "points  0\n")
    code, out, _ = call("k-distance", "x.npy", "--json")
    assert (code, json.loads(out)["suggested_eps"]) == (0, None)
    np.save("x.npy", np.ones((20, 2)))
    code, out, _ = call("k-distance", "x.npy")
    assert code == 0
    assert "no eps: all sampled points have 5 in their own place" in out
    assert "next" not in out


def test_what_cannot_be_done_is_refused(call, X, tmp_path):
    """A line of cause, a line of fix, exit 2; nothing is written."""
    (tmp_path / "k.png").write_bytes(b"mine")
    for arguments, cause in (
        (["--metric", "cosin"], '--metric "cosin" is unknown.'),
        (["--plot", "k.jpg"], '--plot must end in .png, got "k.jpg".'),
        (["--plot", "k.png"], "k.png exists already."),
        (["--k", 601], "There is no nearest point number 601 among 600"),
        (["--columns", "a,c"], 'There is no column "c".'),
    ):
        code, out, err = call("k-distance", "x.parquet", "--columns", "a,b", *arguments)
        assert (code, out) == (2, "")
        assert cause in err
    assert (tmp_path / "k.png").read_bytes() == b"mine"
    code, _, _ = call(
        *("k-distance", "x.parquet", "--columns", "a,b", "--plot", "k.png", "--overwrite")
    )
    assert code == 0
    assert (tmp_path / "k.png").read_bytes() != b"mine"


def test_help_loads_nothing_heavy():
    """It answers at once."""
    code = (
        "import sys; from thresher.cli import main\n"
        "sys.argv = ['thresher', 'k-distance', '--help']\n"
        "try: main()\n"
        "finally: print([n for n in ('numba', 'pyarrow', 'numpy', 'torch', 'scipy', 'PIL') "
        "if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    for option in ("--k", "--columns", "--metric", "--sample", "--plot", "--json"):
        assert option in done.stdout


def test_the_result_cannot_be_changed_by_accident():
    """It is frozen; another unit makes another one."""
    found = k_distance([[0.0], [1.0], [3.0]], 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.k = 3
    assert dataclasses.replace(found, distances=found.distances * 2).suggested_eps == (
        2 * found.suggested_eps
    )
