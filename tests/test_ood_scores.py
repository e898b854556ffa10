"""Out-of-distribution scores: closed forms, and the same from SciPy and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import mahalanobis as scipy_mahalanobis
from scipy.special import logsumexp, softmax
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import NearestNeighbors

import thresher.ood_scores
from thresher.errors import DataError, ParameterError
from thresher.ood_scores import (
    energy,
    fit_gaussians,
    mahalanobis,
    maximum_softmax,
    nearest_neighbour,
)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of seven rows, so that every array here is cut."""
    monkeypatch.setattr(thresher.ood_scores, "rows_per_block", lambda _: 7)


def logits(seed=0, rows=50, classes=6):
    return 5 * np.random.default_rng(seed).normal(size=(rows, classes))


def features(seed=0, rows=60, width=5, classes=3):
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    mixing = random.normal(size=(width, width))
    return random.normal(size=(rows, width)) @ mixing + 3 * labels[:, None], labels


# ---------------------------------------------------------------------- logits
@pytest.mark.usefixtures("small_blocks")
def test_maximum_softmax_is_the_largest_probability_negated():
    """SciPy's softmax; and -1/k exactly where all logits agree."""
    z = logits()
    np.testing.assert_allclose(maximum_softmax(z), -softmax(z, axis=1).max(1), rtol=1e-14)
    assert maximum_softmax(np.full((3, 8), 7.0)).tolist() == [-1 / 8] * 3


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("temperature", [0.5, 1.0, 100.0])
def test_energy_is_the_log_of_the_sum(temperature):
    """SciPy's logsumexp."""
    z = logits()
    expected = -temperature * logsumexp(z / temperature, axis=1)
    np.testing.assert_allclose(energy(z, temperature=temperature), expected, rtol=1e-13)


def test_energy_of_equal_logits():
    """-(z + T ln k)."""
    assert energy(np.full((1, 10), 2.0), temperature=3.0) == pytest.approx(-2 - 3 * np.log(10))


def test_large_logits_neither_overflow_nor_vanish():
    """As of a network that has learnt everything by heart, in half the numbers."""
    z = np.array([[6e4, 0.0], [-6e4, -6e4]], dtype=np.float16)
    assert maximum_softmax(z).tolist() == [-1.0, -0.5]
    np.testing.assert_allclose(energy(z), [-float(z[0, 0]), -float(z[1, 0]) - np.log(2)])


@pytest.mark.parametrize("temperature", [1e-3, 1e300])
def test_a_temperature_far_from_1_gives_numbers(temperature):
    """The largest logit; the logarithm of k, times T."""
    z = logits()
    expected = -z.max(axis=1) if temperature < 1 else -temperature * np.log(z.shape[1])
    np.testing.assert_allclose(energy(z, temperature=temperature), expected, atol=0.01)


@pytest.mark.parametrize("temperature", [np.inf, np.nan, 0, -1])
def test_a_temperature_that_is_none_is_refused(temperature):
    """Before anything is computed."""
    with pytest.raises(ParameterError, match="temperature must be positive and finite"):
        energy(logits(), temperature=temperature)


@pytest.mark.parametrize("temperature", [1e-320, 1.7e308])
@pytest.mark.parametrize("z", [logits(), np.array([[0.0, -1e3, -1.0]]), np.full((2, 3), -1.0)])
def test_a_temperature_at_which_the_energy_overflows_is_refused(temperature, z):
    """Without a warning of NumPy's."""
    with pytest.raises(ParameterError, match="overflows at temperature 1"):
        energy(z, temperature=temperature)


@given(st.floats(-50, 50))
def test_adding_a_constant_moves_the_energy_by_it_and_no_probability(constant):
    """What the softmax cannot see, the energy does."""
    z = logits()
    np.testing.assert_allclose(energy(z + constant), energy(z) - constant, atol=1e-10)
    np.testing.assert_allclose(maximum_softmax(z + constant), maximum_softmax(z), rtol=1e-11)


# ---------------------------------------------------------------------- Mahalanobis
@pytest.mark.usefixtures("small_blocks")
def test_mahalanobis_is_that_of_scipy_under_scikit_learns_covariance():
    """Class means, one covariance of what is left, a millionth of the mean variance added."""
    known, labels = features()
    others, _ = features(seed=1, rows=20)
    means = np.stack([known[labels == label].mean(0) for label in range(3)])
    covariance = EmpiricalCovariance(assume_centered=True).fit(known - means[labels]).covariance_
    covariance = covariance + 1e-6 * np.trace(covariance) / 5 * np.eye(5)
    inverse = np.linalg.inv(covariance)
    expected = [min(scipy_mahalanobis(row, mean, inverse) ** 2 for mean in means) for row in others]
    np.testing.assert_allclose(mahalanobis(others, fit_gaussians(known, labels)), expected, 1e-9)


def test_mahalanobis_by_hand():
    """Two classes at 0 and 10 with variance 1 in one dimension: (12 - 10)² over 1 + 1e-6."""
    known = np.array([[-1.0], [1.0], [9.0], [11.0]])
    fitted = fit_gaussians(known, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(mahalanobis(np.array([[12.0], [0.0]]), fitted), [4 / (1 + 1e-6), 0])


def test_distances_do_not_depend_on_the_units_of_the_features():
    """A million times larger, the same number; nor is one digit lost far from 0."""
    known, labels = features()
    near = mahalanobis(known, fit_gaussians(known, labels))
    large = mahalanobis(1e6 * known, fit_gaussians(1e6 * known, labels))
    far = mahalanobis(known + 1e5, fit_gaussians(known + 1e5, labels))
    np.testing.assert_allclose(large, near, rtol=1e-9)
    np.testing.assert_allclose(far, near, rtol=1e-6)


def test_features_that_only_fill_a_plane_have_a_distance_nevertheless():
    """The shrinkage gives every direction a width; off the plane is far out."""
    known = np.random.default_rng(0).normal(size=(40, 3))
    known[:, 2] = known[:, 0]
    fitted = fit_gaussians(known, np.zeros(40, dtype=int))
    on, off = mahalanobis(np.array([[1.0, 0, 1.0], [1.0, 0, -1.0]]), fitted)
    assert on < 10 < 1e4 < off


def test_a_class_without_a_trusted_sample_attracts_nobody():
    """Nor do rows without a label."""
    known, labels = features()
    kept = np.where(labels == 1, -1, labels)
    fitted = fit_gaussians(known, kept)
    rest = fit_gaussians(known[labels != 1], labels[labels != 1])
    np.testing.assert_array_equal(fitted.means, rest.means)
    np.testing.assert_array_equal(fitted.factor, rest.factor)


@pytest.mark.parametrize("rows", [30, 3000])
@pytest.mark.parametrize("magnitude", [0.1, 1e8, 1e-8])
def test_features_that_vary_by_rounding_alone_are_refused(rows, magnitude):
    """Their mean is off by its last digits, and the distances are shares of that."""
    labels = np.arange(rows) % 2
    same = np.full((rows, 5), magnitude)
    with pytest.raises(DataError, match="features do not vary"):
        fit_gaussians(same, labels)
    jitter = np.where(np.random.default_rng(0).random(same.shape) < 0.5, 0, np.spacing(same))
    with pytest.raises(DataError, match="features do not vary"):
        fit_gaussians(same + jitter, labels)
    single = same.astype(np.float32)
    with pytest.raises(DataError, match="features do not vary"):
        fit_gaussians(
            np.where(jitter > 0, np.nextafter(single, np.float32(np.inf)), single), labels
        )


def test_one_feature_that_varies_is_enough():
    """However large the others are that do not; a hundred last digits of float32 are a width."""
    known = np.full((40, 2), 1e6, dtype=np.float32)
    known[:, 0] = 1 + 1e-5 * np.random.default_rng(0).normal(size=40)
    fitted = fit_gaussians(known, np.zeros(40, dtype=int))
    assert mahalanobis(known, fitted).mean() == pytest.approx(1, abs=0.1)


# ---------------------------------------------------------------------- neighbours
@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("neighbours", [1, 4, 60])
def test_the_distance_to_the_nearest_is_that_of_scikit_learn(neighbours):
    """On rows of length 1."""
    known, _ = features()
    others, _ = features(seed=2, rows=23)

    def units(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    search = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(units(known))
    expected = search.kneighbors(units(others))[0][:, -1]
    found = nearest_neighbour(others, known, neighbours=neighbours)
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.usefixtures("small_blocks")
def test_no_row_is_its_own_neighbour_among_its_own():
    """The K-th of the others is the (K + 1)-th of all."""
    known, _ = features()
    own = nearest_neighbour(known, known, neighbours=3, own=True)
    np.testing.assert_allclose(own, nearest_neighbour(known, known, neighbours=4), atol=1e-12)


def test_small_distances_keep_their_digits():
    """Angles of 1e-9 and 1e-8 are told apart; their cosines are both 1."""
    turned = np.array([[1.0, 1e-9], [1.0, 1e-8]])
    found = nearest_neighbour(turned, np.array([[1.0, 0.0]]), neighbours=1)
    np.testing.assert_allclose(found, [1e-9, 1e-8], rtol=1e-6)


def test_length_does_not_count_and_nothing_overflows():
    """Rows of 1e200, of 1e-200, and of zeros, which lie 1 from everything."""
    trusted = np.array([[3e200, 0.0]])
    found = nearest_neighbour(np.array([[1e-200, 0], [0, 1e200], [0, 0]]), trusted, neighbours=1)
    np.testing.assert_allclose(found, [0, np.sqrt(2), 1])


# ---------------------------------------------------------------------- bad input
def test_bad_input_is_refused_with_the_row_or_the_shape():
    """Before anything is computed."""
    known, labels = features()
    with pytest.raises(DataError, match="Row 1 of logits holds numbers that are not finite"):
        energy(np.array([[0.0, 1.0], [np.nan, 1.0]]))
    with pytest.raises(ParameterError, match=r"logits must be \(N, columns\) numbers, got \(3,\)"):
        maximum_softmax(np.zeros(3))
    with pytest.raises(ParameterError, match="temperature must be positive"):
        energy(np.zeros((1, 2)), temperature=0)
    with pytest.raises(ParameterError, match=r"features must be \(N, 5\) numbers, got \(2, 4\)"):
        mahalanobis(np.zeros((2, 4)), fit_gaussians(known, labels))
    with pytest.raises(ParameterError, match=r"neighbours must be in 1 … 60"):
        nearest_neighbour(known, known, neighbours=61)
    with pytest.raises(ParameterError, match=r"neighbours must be in 1 … 59"):
        nearest_neighbour(known, known, neighbours=60, own=True)
    with pytest.raises(ParameterError, match="own=True needs the 60 trusted rows, got 3"):
        nearest_neighbour(known[:3], known, neighbours=1, own=True)
    with pytest.raises(DataError, match="No row has a label"):
        fit_gaussians(known, np.full(60, -1))
    with pytest.raises(DataError, match="the same in all rows of a class"):
        fit_gaussians(np.ones((4, 2)), np.zeros(4, dtype=int))
    with pytest.raises(ParameterError, match=r"labels must be \(60,\)"):
        fit_gaussians(known, labels[:3])
    with pytest.raises(ParameterError, match="shrinkage must be positive"):
        fit_gaussians(known, labels, shrinkage=0)
