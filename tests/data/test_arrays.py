import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from thresher.data import open_data
from thresher.data.encoding import NumberColumn
from thresher.errors import DataError

Y = np.array([0, 1, 0, 1])


def pair(X):
    return np.asarray(X), np.arange(len(X)) % 2


def test_float32_rows_are_not_copied():
    X = np.random.default_rng(0).random((10, 3), dtype=np.float32)
    samples = open_data(pair(X))
    assert np.shares_memory(X, samples.inputs)
    assert "features" == samples.kind
    assert "arrays in memory" == samples.source
    assert samples.paths is None
    assert 0 == samples.skipped.num_rows


def test_reading_takes_well_below_a_second_copy():
    X = np.random.default_rng(0).random((400_000, 64), dtype=np.float32)
    y = np.arange(400_000) % 10
    tracemalloc.start()
    try:
        samples = open_data((X, y))
        _ = samples.fingerprint
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * X.nbytes
    assert 400_000 == len(samples)


@pytest.mark.parametrize("shape", [(4,), (4, 2, 3), (4, 1, 2, 2)])
def test_rows_of_any_shape_are_flattened(shape):
    X = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    np.testing.assert_array_equal(X.reshape(4, -1), open_data((X, Y)).inputs)


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 1), (4, 5, 6, 3)])
def test_uint8_arrays_of_pictures_are_images(shape):
    X = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    samples = open_data((X, Y))
    assert "images" == samples.kind
    assert (4, 5, 6, shape[3] if len(shape) == 4 else 1) == samples.inputs.shape
    assert np.shares_memory(X, samples.inputs)
    assert ((5, 6), samples.inputs.shape[3]) == (samples.encoding.size, samples.encoding.channels)


@pytest.mark.parametrize(
    ("shape", "fix"), [((4, 3, 8, 8), "transpose"), ((4, 8, 8, 4), "drop transparency")]
)
def test_images_of_other_channels_are_refused_with_the_repair(shape, fix):
    with pytest.raises(DataError, match="1 channel") as caught:
        open_data((np.zeros(shape, np.uint8), Y))
    assert fix in caught.value.fix


def test_missing_numbers_take_the_median_and_a_flag():
    X = [[1, 5], [np.nan, 6], [3, 7], [100, 8]]
    samples = open_data(pair(X))
    assert ("0", "0 missing", "1") == samples.encoding.features
    assert [[1, 0, 5], [3, 1, 6], [3, 0, 7], [100, 0, 8]] == samples.inputs.tolist()
    assert any('"0" (1 row)' in note for note in samples.notes)


def test_new_data_take_the_median_of_training():
    samples = open_data(pair([[1.0, 5], [2, 6], [9, 7]] * 2))
    new = open_data(np.array([[np.nan, 1.0]]), encoding=samples.encoding, labelled=False)
    assert [[2, 1]] == new.inputs.tolist()
    assert any("median of the training data" in note for note in new.notes)


@given(
    X=hnp.arrays(
        np.float32,
        st.tuples(st.integers(4, 12), st.integers(1, 4)),
        elements=st.one_of(st.floats(-1e6, 1e6, width=32), st.just(np.nan)),
    )
)
def test_an_encoding_gives_the_training_data_back(X):
    X[0] = 0  # no column is empty
    samples = open_data(pair(X))
    again = open_data(pair(X), encoding=samples.encoding, classes=samples.classes)
    np.testing.assert_array_equal(samples.inputs, again.inputs)
    assert samples.sample_id == again.sample_id
    assert samples.fingerprint == again.fingerprint
    expected = np.nanmedian(X, axis=0)
    medians = [each.median for each in samples.encoding.columns if isinstance(each, NumberColumn)]
    np.testing.assert_array_equal(expected.astype(np.float32), np.array(medians, np.float32))
    assert not np.isnan(samples.inputs).any()


@pytest.mark.parametrize(
    ("X", "words"),
    [
        ([[1, 2], [3, np.inf]], r"Column 1 of X holds an infinite number.* row 1 "),
        ([[1, 2], [1e300, 4]], r"Column 0 of X .* beyond 3\.4e38, in row 1 "),
        ([[1, np.nan], [3, np.nan]], r"Column 1 of X is empty"),
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        (np.zeros((2, 0)), r"shape \(4, 0\)"),
        (np.array([["a", "b"]]), "holds values of type <U1"),
        (np.array([[1j]]), "complex128"),
        (np.array([[None]]), "object"),
    ],
)
def test_arrays_that_cannot_be_learned_from_are_refused(X, words):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=words) as caught:
            open_data(pair(np.concatenate([X, X])))  # two samples of each class
    assert caught.value.fix


def test_an_infinity_far_down_names_its_row():
    X = np.zeros((200_000, 64), np.float32)
    X[150_001, 5] = np.inf
    with pytest.raises(DataError, match=r"Column 5 .* row 150001 "):
        open_data(pair(X))


def test_pairs_must_be_pairs_of_one_length():
    with pytest.raises(DataError, match=r"y holds 3 labels for 4 rows"):
        open_data((np.zeros((4, 2)), Y[:3]))
    with pytest.raises(DataError, match="tuple of 3"):
        open_data((np.zeros((4, 2)), Y, Y))
    with pytest.raises(DataError, match="no labels"):
        open_data(np.zeros((4, 2)))


def test_another_width_or_kind_than_in_training_is_refused():
    features = open_data(pair(np.zeros((4, 3))))
    images = open_data((np.zeros((4, 8, 8), np.uint8), Y))
    for X, samples, words in [
        (np.zeros((4, 2)), features, "2 numbers per row, the training data have 3"),
        (np.zeros((4, 8, 8), np.uint8), features, "holds images, the model was trained on feat"),
        (np.zeros((4, 3)), images, "holds features, the model was trained on images"),
        (np.zeros((4, 8, 9), np.uint8), images, r"shape \(8, 9, 1\), the training data of \(8, 8"),
        (np.zeros((4, 8, 8, 3), np.uint8), images, r"shape \(8, 8, 3\)"),
    ]:
        with pytest.raises(DataError, match=words):
            open_data((X, Y), encoding=samples.encoding, classes=samples.classes)


def test_tensors_are_arrays():
    X = torch.arange(8.0).reshape(4, 2)
    samples = open_data((X, torch.from_numpy(Y)))
    assert np.shares_memory(X.numpy(), samples.inputs)
    with pytest.raises(DataError, match="cannot be read as an array") as caught:
        open_data((X.requires_grad_(), Y))
    assert "detach" in caught.value.fix


def test_lists_of_rows_are_arrays():
    assert [[1, 2], [3, 4], [5, 6], [7, 8]] == open_data(
        ([[1, 2], [3, 4], [5, 6], [7, 8]], ["a", "b", "a", "b"])
    ).inputs.tolist()


def test_images_of_another_type_than_uint8_are_said_to_be_features():
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 5, 3))
    samples = open_data((images, [0, 1, 0, 1]))
    assert (4, 75) == samples.inputs.shape
    assert any("75 features each; images are of type uint8" in note for note in samples.notes)
    new = open_data(images, encoding=samples.encoding, labelled=False)
    assert not any("features each" in note for note in new.notes)
