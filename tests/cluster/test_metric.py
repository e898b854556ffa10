"""Every metric's neighbours are the Euclidean neighbours of its view."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_distances, haversine_distances

from thresher.cluster.kernels.sphere import sines_and_cosines
from thresher.cluster.metric import EARTH_RADIUS, RadianPoints, euclidean_view
from thresher.cluster.points import ArrayPoints
from thresher.errors import DataError, ParameterError

MILLIMETRE = 0.001


def neighbours(view, radius):
    """(N, N) which points of a view are within the radius, as engines decide it."""
    points = np.asarray(view.part(0), np.float64)
    squares = np.zeros((len(points), len(points)))
    for column in points.T:
        squares += (column[:, None] - column) ** 2
    return squares <= radius * radius


def seen(X, metric, eps):
    return neighbours(*euclidean_view(ArrayPoints(np.asarray(X)), metric, eps))


def test_euclidean_points_are_their_own_view():
    """And the radius stays."""
    points = ArrayPoints(np.eye(3))
    assert euclidean_view(points, "euclidean", 0.7) == (points, 0.7)


def precise_angle(first, second):
    """The angle between two positions of the sphere, in radians, to some 40 digits."""
    import mpmath

    with mpmath.workdps(50):
        (lat1, lon1), (lat2, lon2) = (
            [mpmath.mpf(float(x)) for x in each] for each in (first, second)
        )
        crossed = mpmath.hypot(
            mpmath.cos(lat2) * mpmath.sin(lon2 - lon1),
            mpmath.cos(lat1) * mpmath.sin(lat2)
            - mpmath.sin(lat1) * mpmath.cos(lat2) * mpmath.cos(lon2 - lon1),
        )
        dotted = mpmath.sin(lat1) * mpmath.sin(lat2) + mpmath.cos(lat1) * mpmath.cos(
            lat2
        ) * mpmath.cos(lon2 - lon1)
        return mpmath.atan2(crossed, dotted)


latitudes = st.one_of(st.floats(-90, 90), st.sampled_from([90.0, -90.0, 89.9999999, 0.0]))
longitudes = st.one_of(st.floats(-180, 180), st.sampled_from([180.0, -180.0, 179.9999999]))
metres = st.one_of(st.floats(-5, 5), st.floats(-1e5, 1e5), st.floats(-1.9e7, 1.9e7))


@given(latitudes, longitudes, metres, metres)
def test_distances_on_the_earth_are_right_to_a_millimetre(lat, lon, north, east):
    """Also across the date line and the poles: a radius longer by that sees the other, and one
    shorter by that does not."""
    other = (
        max(-90.0, min(90.0, lat + math.degrees(north / EARTH_RADIUS))),
        (lon + math.degrees(east / EARTH_RADIUS) + 180) % 360 - 180,
    )
    X = np.array([(lat, lon), other])
    radians = np.deg2rad(X)
    distance = float(precise_angle(*radians) * EARTH_RADIUS)
    if distance > (math.pi - 1e-5) * EARTH_RADIUS:  # 64 m from the opposite end of the Earth
        return
    view = RadianPoints(ArrayPoints(X))
    assert neighbours(*euclidean_view(view, "haversine", (distance + MILLIMETRE) / EARTH_RADIUS))[
        0, 1
    ]
    if distance > MILLIMETRE:
        shorter = (distance - MILLIMETRE) / EARTH_RADIUS
        assert not neighbours(*euclidean_view(view, "haversine", shorter))[0, 1]


def test_the_date_line_and_the_poles_are_no_walls():
    """Points on both sides are near; at the pole every longitude is the same place."""
    nearby = np.deg2rad([[10, 180], [10, -180], [10, 179.99999]])
    assert seen(nearby, "haversine", 2 / EARTH_RADIUS).all()
    poles = np.deg2rad([[90, 0], [90, 123], [89.99999, -170]])
    assert seen(poles, "haversine", 2 / EARTH_RADIUS).all()
    assert not seen(np.deg2rad([[90, 0], [-90, 0]]), "haversine", 3.14).all()


def test_haversine_neighbours_are_scikit_learns():
    """On positions all over the Earth, and radii of every size."""
    random = np.random.default_rng(3)
    X = np.column_stack([np.arcsin(random.uniform(-1, 1, 200)), random.uniform(-3.14, 3.14, 200)])
    for eps in (0.01, 0.5, 1.5, 3.0):
        np.testing.assert_array_equal(haversine_distances(X) <= eps, seen(X, "haversine", eps))
    assert seen(X, "haversine", math.pi).all()
    assert seen(X, "haversine", 100.0).all()


def test_half_a_turn_from_pole_to_pole_is_reached():
    """The longest distance there is."""
    assert seen([[math.pi / 2, 0], [-math.pi / 2, 1]], "haversine", math.pi).all()


def test_short_floats_keep_their_pole():
    """float32's π/2 is a little more than π/2."""
    X = np.array([[math.pi / 2, 0], [-math.pi / 2, math.pi]], np.float32)
    assert not seen(X, "haversine", 3.0)[0, 1]


@pytest.mark.parametrize(
    ("X", "cause", "fix"),
    [
        ([[0, 0], [1.6, 0.5]], "Row 1 (counting from 0) has a latitude of 1.6 radians", "swapped"),
        ([[1, 2], [48.8, 2.3], [-89, 170]], "latitude of 48.8 radians, beyond ±π/2", "degrees"),
        ([[2.3, 48.8], [179, -80]], "latitude of 2.3 radians", "degrees with the columns swapped"),
        ([[0.1, 9.0]], "longitude of 9 radians, beyond ±2π", "degrees"),
        ([[4000.0, 9.0]], "latitude of 4000 radians", "Correct or remove"),
    ],
)
def test_positions_that_are_no_radians_are_refused_with_a_guess(X, cause, fix):
    """Degrees, swapped columns, both, or neither."""
    with pytest.raises(DataError) as refused:
        seen(X, "haversine", 0.1)
    assert cause in refused.value.cause
    assert fix in refused.value.fix


@pytest.mark.parametrize(
    ("X", "cause", "fix"),
    [
        (
            [[0, 0], [122.3, 37.8]],
            "Row 1 (counting from 0) has a latitude of 122.3 degrees",
            "swap",
        ),
        (
            [[3779000, -12240000]],
            "latitude of 3779000 degrees",
            "× 100,000: divide both columns by",
        ),
        ([[95, 370]], "latitude of 95 degrees, beyond ±90", "Correct or remove such rows"),
        ([[5, 361]], "longitude of 361 degrees, beyond ±360", "Correct or remove such rows"),
    ],
)
def test_positions_that_are_no_degrees_are_refused_with_a_guess(X, cause, fix):
    """Swapped columns, scaled whole numbers, or one wrong row."""
    with pytest.raises(DataError) as refused:
        RadianPoints(ArrayPoints(np.array(X, np.float64))).part(0)
    assert cause in refused.value.cause
    assert fix in refused.value.fix


def test_sines_and_cosines_are_right_and_those_of_an_angle_alone():
    """To 2e-16 against extended precision; the same bits wherever an angle stands."""
    random = np.random.default_rng(0)
    edges = np.arange(-8, 9) * math.pi / 4
    X = np.concatenate([edges, np.nextafter(edges, 9), random.uniform(-7, 7, 9999), [1e6, -1e6]])
    sines, cosines = np.empty_like(X), np.empty_like(X)
    sines_and_cosines(X, sines, cosines)
    assert np.abs(sines - np.sin(X.astype(np.longdouble))).max() < 2e-16
    assert np.abs(cosines - np.cos(X.astype(np.longdouble))).max() < 2e-16
    alone = np.empty((2, 1))
    for i in (0, 5, 333, 9998):
        sines_and_cosines(X[i : i + 1], alone[0], alone[1])
        assert [[sines[i]], [cosines[i]]] == alone.tolist()


def test_the_first_misplaced_row_is_named_whichever_part_is_read():
    """Threads read parts in any order."""
    X = np.zeros((100, 2))
    X[[33, 90], 0] = 2.0
    view, _ = euclidean_view(ArrayPoints(X, part_rows=10), "haversine", 0.1)
    for read in (lambda: view.part(9), lambda: view.take(np.array([90]))):
        with pytest.raises(DataError, match=r"Row 33 "):
            read()


@pytest.mark.parametrize("columns", [1, 3])
def test_haversine_needs_two_columns(columns):
    """In degrees as in radians."""
    points = ArrayPoints(np.zeros((4, columns)))
    with pytest.raises(DataError, match=f"needs two columns.* in radians, got {columns}"):
        euclidean_view(points, "haversine", 0.1)
    with pytest.raises(DataError, match="in degrees, got"):
        RadianPoints(points)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cosine_neighbours_are_scikit_learns(dtype):
    """Of directions of any length; float32 stays float32."""
    random = np.random.default_rng(4)
    X = (random.normal(size=(150, 8)) * random.lognormal(0, 3, (150, 1))).astype(dtype)
    for eps in (0.05, 0.3, 0.9, 1.5):
        expected = cosine_distances(X.astype(np.float64)) <= eps
        np.testing.assert_array_equal(expected, seen(X, "cosine", eps))
    view, _ = euclidean_view(ArrayPoints(X), "cosine", 0.3)
    assert view.part(0).dtype == view.dtype == dtype
    assert seen(X, "cosine", 2.0).all()


def test_right_angles_are_at_a_distance_of_one():
    """Exactly: eps = 1 sees them."""
    X = [[3.0, 0, 0], [0, 0.2, 0], [0, 0, -7]]
    assert seen(X, "cosine", 1.0).all()
    assert not seen(X, "cosine", 0.999).all(axis=1).any()


@given(st.floats(1e-12, 1.9999))
def test_the_cosine_radius_never_falls_short(eps):
    """Its square is 2 eps, or the next number."""
    _, radius = euclidean_view(ArrayPoints(np.eye(2)), "cosine", eps)
    assert 2 * eps <= radius * radius <= 2 * eps * (1 + 1e-15)


def test_rows_of_extreme_length_have_a_direction():
    """Their squares do not overflow, nor vanish."""
    X = [[1e300, 1e300], [1e-300, 1e-300], [5e-324, 5e-324], [1.0, 1.0]]
    assert seen(X, "cosine", 1e-15).all()


def test_a_row_of_zeros_has_no_direction():
    """It is refused by its number."""
    X = np.ones((50, 3))
    X[[37, 41]] = 0
    view, _ = euclidean_view(ArrayPoints(X, part_rows=20), "cosine", 0.1)
    with pytest.raises(DataError, match=r"Row 37 \(counting from 0\) is all zeros"):
        view.part(1)
    with pytest.raises(DataError, match=r"Row 41 "):
        view.take(np.array([3, 41]))


def test_an_unknown_metric_is_refused():
    """With the nearest name."""
    with pytest.raises(ParameterError, match='Did you mean "haversine"'):
        euclidean_view(ArrayPoints(np.eye(2)), "haversin", 0.1)
