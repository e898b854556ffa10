"""Preparation: statistics of the training rows, closed forms, and a loss-free round trip."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose

from thresher.errors import DataError
from thresher.models import Preparation, preparation


def features(n=200, d=5, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal([0, 5, -3, 1e4, 0], [1, 0.1, 20, 1, 1e-3], (n, d)).astype(np.float32)


def images(n=30, shape=(6, 5, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def test_features_are_centred_and_scaled_per_column():
    inputs = features()
    prepared = Preparation.fit(inputs)(torch.from_numpy(inputs)).double()
    # The fourth column has 7 digits, 4 of them before its deviation.
    assert_allclose(prepared.mean(0), np.zeros(5), atol=1e-3)
    assert_allclose(prepared.std(0, unbiased=False), np.ones(5), rtol=1e-4)


def test_images_are_centred_and_scaled_per_channel_with_channels_first():
    inputs = images()
    prepared = Preparation.fit(inputs)(torch.from_numpy(inputs))
    assert prepared.shape == (30, 3, 6, 5)
    assert prepared.dtype == torch.float32
    assert_allclose(prepared.mean((0, 2, 3)), np.zeros(3), atol=1e-5)
    assert_allclose(prepared.std((0, 2, 3), unbiased=False), np.ones(3), rtol=1e-5)
    moved = np.moveaxis(inputs, 3, 1).astype(float)
    expected = (moved - moved.mean((0, 2, 3), keepdims=True)) / moved.std((0, 2, 3), keepdims=True)
    assert_allclose(prepared, expected, atol=1e-5)


@pytest.mark.parametrize("inputs", [features(), images()], ids=["features", "images"])
def test_statistics_are_those_of_numpy(inputs):
    fitted = Preparation.fit(inputs)
    flat = inputs.reshape(-1, inputs.shape[-1]).astype(np.float64)
    assert_allclose(fitted.mean, flat.mean(axis=0), rtol=1e-6, atol=1e-6)
    assert_allclose(fitted.std, flat.std(axis=0), rtol=1e-6)


@pytest.mark.parametrize("inputs", [features(), images()], ids=["features", "images"])
def test_only_the_training_rows_count_in_any_order(inputs):
    rows = np.random.default_rng(1).permutation(len(inputs))[:17]
    assert Preparation.fit(inputs, rows) == Preparation.fit(inputs[np.sort(rows)])
    assert Preparation.fit(inputs, rows) == Preparation.fit(inputs, rows[::-1])
    assert Preparation.fit(inputs, rows) != Preparation.fit(inputs)


@pytest.mark.parametrize("inputs", [features(), images()], ids=["features", "images"])
def test_blocks_do_not_show(inputs, monkeypatch):
    whole = Preparation.fit(inputs)
    monkeypatch.setattr(preparation, "BLOCK_NUMBERS", 7 * inputs[0].size)
    blocks = Preparation.fit(inputs)
    assert_allclose(blocks.mean, whole.mean, rtol=1e-6)
    assert_allclose(blocks.std, whole.std, rtol=1e-6)


def test_a_memory_map_is_read(tmp_path):
    np.save(tmp_path / "inputs.npy", images())
    mapped = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    assert Preparation.fit(mapped, np.arange(9)) == Preparation.fit(images(), np.arange(9))


@pytest.mark.parametrize("value", [0.0, 0.1, -3.3e7, 1e-30])
def test_a_constant_column_becomes_zero(value):
    inputs = np.full((1000, 1), value, dtype=np.float32)
    fitted = Preparation.fit(inputs)
    assert fitted.std.tolist() == [1.0]
    assert fitted(torch.from_numpy(inputs)).abs().max() == 0


def test_a_constant_channel_becomes_zero():
    inputs = np.full((10, 4, 4, 1), 77, dtype=np.uint8)
    assert Preparation.fit(inputs)(torch.from_numpy(inputs)).abs().max() == 0


@given(arrays(np.float32, (20, 2), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
@settings(max_examples=100, deadline=None)
def test_prepared_training_rows_are_finite_and_within_the_root_of_their_number(inputs):
    prepared = Preparation.fit(inputs)(torch.from_numpy(inputs))
    assert torch.isfinite(prepared).all()
    spread = inputs.max(axis=0) - inputs.min(axis=0)
    clear = spread > 1e-3 * np.abs(inputs).max(axis=0)  # more than float32 can tell apart
    assert (prepared.abs().amax(0)[torch.from_numpy(clear & (spread > 1e-18))] <= 4.48).all()


def test_values_far_out_are_kept_apart():
    fitted = Preparation(np.zeros(1, np.float32), np.ones(1, np.float32))
    assert fitted(torch.tensor([[1e6], [2e6]])).tolist() == [[1e6], [2e6]]


def test_shapes_of_prepared_samples():
    assert Preparation.fit(features()).shape((200, 5)) == (5,)
    assert Preparation.fit(images()).shape((30, 6, 5, 3)) == (3, 6, 5)


@pytest.mark.parametrize("inputs", [features(), images()], ids=["features", "images"])
def test_the_round_trip_through_json_loses_nothing(inputs):
    fitted = Preparation.fit(inputs)
    assert Preparation.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


def test_the_batch_passed_in_is_not_changed():
    batch = torch.from_numpy(images())
    before = batch.clone()
    Preparation.fit(images())(batch)
    assert torch.equal(batch, before)


def test_another_width_is_refused_with_both_widths():
    fitted = Preparation.fit(features())
    with pytest.raises(DataError, match="trained on 5 columns, the data have 4"):
        fitted(torch.zeros(2, 4))
    with pytest.raises(DataError, match="trained on 5 columns, the data have 6"):
        fitted.shape((9, 6))
    with pytest.raises(DataError, match="trained on 3 channels, the data have 1"):
        Preparation.fit(images())(torch.zeros(2, 6, 5, 1, dtype=torch.uint8))


@pytest.mark.parametrize(
    "inputs",
    [np.zeros((3, 2)), np.zeros((3, 2), np.uint8), np.zeros((3, 4, 4, 1), np.float32)],
)
def test_other_kinds_of_arrays_are_refused(inputs):
    with pytest.raises(DataError, match=r"features .* float32 or images .* uint8"):
        Preparation.fit(inputs)


def test_no_training_rows_are_refused():
    with pytest.raises(DataError, match="no training row"):
        Preparation.fit(features(), np.zeros(0, np.int64))
