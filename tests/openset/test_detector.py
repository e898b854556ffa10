"""Detectors: statistics of the trusted samples alone, and a threshold from their own scores."""

import numpy as np
import pytest

from thresher.errors import DataError, ParameterError, RecordError
from thresher.openset import SCORES, Detector, energy, maximum_softmax, nearest_neighbour

N, D, K = 300, 6, 3


def samples(seed=0, rows=N):
    """Features and labels of three classes, and of foreign samples on the other side."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % K
    centres = 4 * np.eye(K, D)
    known = centres[labels] + random.normal(size=(rows, D))
    return known, labels, random.normal(size=(rows, D)) - 4


def fitted(score, values, labels, **options):
    return Detector(score, neighbours=20, **options).fit(values, labels)


@pytest.mark.parametrize("score", SCORES)
def test_as_many_trusted_samples_pass_as_the_quantile_says(score):
    """By their own scores; of the neighbours without themselves."""
    known, labels, _ = samples()
    detector = fitted(score, known, labels, quantile=0.9)
    own = (
        nearest_neighbour(known, known, neighbours=20, own=True)
        if score == "nearest-neighbour"
        else detector.score(known)
    )
    assert (own <= detector.threshold_).mean() == pytest.approx(0.9, abs=1 / N)


@pytest.mark.parametrize("score", SCORES)
def test_foreign_samples_are_found_and_fresh_known_ones_pass(score):
    """Three of four and more; features serve as logits here, one class a column."""
    known, labels, foreign = samples()
    fresh = samples(seed=1)[0]
    if score in ("maximum-softmax", "energy"):
        known, fresh, foreign = known[:, :K], fresh[:, :K], 0.1 * foreign[:, :K]
    detector = fitted(score, known, labels)
    assert detector.is_foreign(fresh).mean() <= 0.12
    assert detector.is_foreign(foreign).mean() >= 0.75


@pytest.mark.parametrize("score", SCORES)
def test_only_the_safe_set_counts(score):
    """Rows outside of it may hold anything, any label included."""
    known, labels, foreign = samples()
    safe = np.arange(2 * N) < N
    values, given = np.concatenate([known, foreign]), np.concatenate([labels, labels])
    detector = Detector(score, neighbours=20).fit(values, given, safe=safe)
    alone = fitted(score, known, labels)
    assert detector.threshold_ == alone.threshold_
    np.testing.assert_array_equal(detector.score(foreign), alone.score(foreign))


def test_foreign_samples_among_the_trusted_hide_their_like():
    """Why a safe set is asked for."""
    known, labels, foreign = samples()
    both = np.concatenate([known, foreign[: N // 2]])
    given = np.concatenate([labels, labels[: N // 2]])
    fresh = samples(seed=1)[2]
    for score in ("mahalanobis", "nearest-neighbour"):
        found = [
            fitted(score, values, them).is_foreign(fresh).mean()
            for values, them in ((known, labels), (both, given))
        ]
        assert found[1] < found[0] - 0.5


def test_scores_of_logits_are_the_plain_functions():
    """With the temperature."""
    known = samples()[0]
    np.testing.assert_array_equal(
        Detector("energy", temperature=2.0).fit(known).score(known), energy(known, temperature=2.0)
    )
    np.testing.assert_array_equal(
        Detector("maximum-softmax").fit(known).score(known), maximum_softmax(known)
    )


def test_bad_input_is_refused():
    """With what to do."""
    known, labels, _ = samples()
    with pytest.raises(ParameterError, match='Did you mean "energy"'):
        Detector("enrgy")
    with pytest.raises(ParameterError, match=r"quantile must be in \(0, 1\], got 1.5"):
        Detector(quantile=1.5)
    with pytest.raises(RecordError, match="Call fit first"):
        Detector("energy").score(known)
    with pytest.raises(ParameterError, match='"mahalanobis" needs labels'):
        Detector("mahalanobis").fit(known)
    with pytest.raises(ParameterError, match=r"safe must be \(300,\) bool"):
        Detector("energy").fit(known, safe=labels)
    with pytest.raises(DataError, match="No sample is trusted"):
        Detector("energy").fit(known, safe=np.zeros(N, dtype=bool))
    with pytest.raises(ParameterError, match="neighbours must be in 1 … 9"):
        Detector().fit(known[:10])


@pytest.mark.parametrize("neighbours", [2.5, 0, -1, float("nan"), "3"])
def test_neighbours_that_cannot_be_counted_are_refused(neighbours):
    """When the detector is made, not when it is fitted."""
    with pytest.raises(ParameterError, match="neighbours must be a whole number of at least 1"):
        Detector(neighbours=neighbours)


@pytest.mark.parametrize("score", SCORES)
def test_lists_are_as_good_as_arrays(score):
    """Of values, labels and the safe set."""
    random = np.random.default_rng(0)
    values, labels = random.normal(size=(60, 4)), np.arange(60) % 3
    safe = np.arange(60) % 7 > 0
    arrays = Detector(score, neighbours=3).fit(values, labels, safe=safe)
    lists = Detector(score, neighbours=3)
    lists.fit(values.tolist(), labels.tolist(), safe=safe.tolist())
    assert arrays.threshold_ == lists.threshold_
    assert arrays.score(values).tolist() == lists.score(values.tolist()).tolist()
    with pytest.raises(ParameterError, match="values is no array"):
        lists.fit([[1.0, 2.0], [3.0]])
