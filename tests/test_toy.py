"""The reference toy is what the tests that use it take it for."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from toy import ToyNet, make_toy, train_plain


def test_sizes_and_types():
    data = make_toy("symmetric", 0.4, 0)
    for inputs, labels in ((data.x_train, data.true), (data.x_test, data.y_test)):
        assert inputs.shape == (4000, 64)
        assert inputs.dtype == np.float32
        assert labels.dtype == np.int64
        assert_array_equal(np.bincount(labels), [400] * 10)
    assert_allclose(data.x_train.mean(axis=0), np.zeros(64), atol=1e-6)
    assert_allclose(data.x_train.std(axis=0), np.ones(64), rtol=1e-5)


@pytest.mark.parametrize("noise", ["symmetric", "pair"])
def test_wrong_labels_are_counted_exactly(noise):
    data = make_toy(noise, 0.4, 0)
    wrong = data.given != data.true
    assert_array_equal(np.bincount(data.true[wrong]), [160] * 10)


def test_noise_changes_the_given_labels_alone():
    clean, noisy = make_toy(None, 0.0, 5), make_toy("pair", 0.4, 5)
    assert_array_equal(clean.given, clean.true)
    assert_array_equal(noisy.true, clean.true)
    assert_array_equal(noisy.x_train, clean.x_train)
    assert_array_equal(noisy.x_test, clean.x_test)


def test_seeds_share_their_geometry():
    first, second = make_toy(None, 0.0, 1), make_toy(None, 0.0, 2)
    assert (first.x_train != second.x_train).any()
    means = [
        np.stack([data.x_train[data.true == label].mean(axis=0) for label in range(10)])
        for data in (first, second)
    ]
    assert_allclose(means[0], means[1], atol=0.3)


def test_the_net_starts_from_its_seed():
    first, again, other = ToyNet(1), ToyNet(1), ToyNet(2)
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)
    assert_allclose(first.hidden.weight.std().item(), (2 / 64) ** 0.5, rtol=0.05)
    assert_allclose(first.head.weight.std().item(), (2 / 256) ** 0.5 / 2, rtol=0.05)


def test_plain_training_reaches_the_ceiling_on_right_labels():
    # Measured: 95.4, 95.9 and 95.9 % for seeds 0 to 2.
    assert train_plain(ToyNet(0), make_toy(None, 0.0, 0), 0).last > 0.94


@pytest.mark.parametrize(("noise", "drop"), [("symmetric", 0.08), ("pair", 0.06)])
def test_plain_training_memorises_wrong_labels(noise, drop):
    # Measured means of 3 seeds: symmetric 89.5 best, 75.2 last; pair 74.9 and 60.5 %.
    result = train_plain(ToyNet(0), make_toy(noise, 0.4, 0), 0)
    assert result.last < result.best - drop
