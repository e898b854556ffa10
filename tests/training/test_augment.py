"""Augmentation: a slow oracle, distributions of flips and offsets, keyed by the sample."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from thresher.errors import DataError, ParameterError
from thresher.training.augment import Augmentation, default_augmentation


def images(size, shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 256, (size, *shape), dtype=torch.uint8, generator=generator)


def views(image, padding):
    """List every flipped and shifted view of an image that is padded with zeros, as bytes."""
    height, width, _ = image.shape
    rows, columns = padding
    padded = np.pad(image, ((rows, rows), (columns, columns), (0, 0)))
    crops = [
        padded[row : row + height, column : column + width]
        for row in range(2 * rows + 1)
        for column in range(2 * columns + 1)
    ]
    return [view.tobytes() for crop in crops for view in (crop, crop[:, ::-1])]


@pytest.mark.parametrize(
    ("shape", "padding"),
    [((32, 32, 3), (4, 4)), ((28, 27, 1), (4, 3)), ((9, 17, 1), (1, 2)), ((6, 6, 2), (1, 1))],
)
def test_every_view_is_a_flipped_crop_of_the_zero_padded_image(shape, padding):
    image = images(1, shape)
    batch = image.expand(64, *shape)
    augmented = Augmentation(("crop", "flip"), 3)(batch, torch.arange(64), 5)
    seen = {each.tobytes() for each in augmented.numpy()}
    assert seen <= set(views(image[0].numpy(), padding))
    assert len(seen) > 10


def test_all_flips_and_offsets_are_equally_probable():
    size = 20_000
    image = images(1, (8, 8, 1))
    batch = image.expand(size, 8, 8, 1)
    augmented = Augmentation(("crop", "flip"), 0)(batch, torch.arange(size), 0)
    seen = Counter(each.tobytes() for each in augmented.numpy())
    possible = views(image[0].numpy(), (1, 1))
    assert len(set(possible)) == 18  # 2 · 3 · 3
    assert stats.chisquare([seen[view] for view in possible]).pvalue > 1e-3


def test_half_of_the_images_are_flipped_and_nothing_else():
    batch = images(10_000, (4, 4, 1))
    augmented = Augmentation(("flip",), 1)(batch, torch.arange(10_000), 0)
    flipped = (augmented == batch.flip(2)).flatten(1).all(1)
    kept = (augmented == batch).flatten(1).all(1)
    assert bool((flipped | kept).all())
    assert stats.binomtest(int(flipped.sum()), 10_000).pvalue > 1e-3


def test_offsets_of_a_large_image_reach_four_pixels_each_way():
    batch = torch.zeros(3000, 33, 33, 1, dtype=torch.uint8)
    batch[:, 16, 16] = 1
    augmented = Augmentation(("crop",), 0)(batch, torch.arange(3000), 0)
    _, rows, columns, _ = augmented.nonzero(as_tuple=True)
    for places in (rows, columns):
        counts = np.bincount(places.numpy() - 12, minlength=9)
        assert len(counts) == 9
        assert stats.chisquare(counts).pvalue > 1e-3


def test_row_and_column_offsets_and_flips_are_independent():
    batch = torch.zeros(9000, 8, 8, 1, dtype=torch.uint8)
    batch[:, 3, 2] = 1  # unflipped columns 1..3, flipped 4..6
    augmented = Augmentation(("crop", "flip"), 4)(batch, torch.arange(9000), 2)
    _, rows, columns, _ = augmented.nonzero(as_tuple=True)
    table = np.zeros((3, 6))
    np.add.at(table, (rows.numpy() - 2, columns.numpy() - 1), 1)
    assert stats.chisquare(table.ravel()).pvalue > 1e-3


def test_what_lies_outside_the_image_is_black():
    batch = torch.full((500, 8, 8, 3), 200, dtype=torch.uint8)
    augmented = Augmentation(("crop",), 0)(batch, torch.arange(500), 0)
    assert set(augmented.unique().tolist()) == {0, 200}


@given(order=st.permutations(range(12)), cut=st.integers(0, 12), epoch=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_a_sample_looks_the_same_whatever_its_batch(order, cut, epoch):
    batch, augment = images(12, (8, 8, 3)), Augmentation(("crop", "flip"), 7)
    numbers = 1000 + torch.arange(12)
    whole = augment(batch, numbers, epoch)
    order = torch.tensor(order)
    parts = [augment(batch[part], numbers[part], epoch) for part in (order[:cut], order[cut:])]
    assert torch.equal(torch.cat(parts), whole[order])


def test_epochs_seeds_and_samples_differ():
    batch = images(1, (32, 32, 3)).expand(64, 32, 32, 3)
    index = torch.arange(64)
    view = Augmentation(("crop", "flip"), 0)(batch, index, 0)
    for other in (
        Augmentation(("crop", "flip"), 0)(batch, index, 1),
        Augmentation(("crop", "flip"), 1)(batch, index, 0),
        Augmentation(("crop", "flip"), 0)(batch, index + 64, 0),
    ):
        same = (view == other).flatten(1).all(1).float().mean()
        assert same < 0.1  # 1 / 162 by chance


def test_views_of_a_sample_are_independent():
    """The first is the one of a single view; the second is another, keyed alike."""
    batch, index = images(1, (32, 32, 3)).expand(64, 32, 32, 3), torch.arange(64)
    augment = Augmentation(("crop", "flip"), 0)
    first, second = (augment(batch, index, 4, view) for view in (0, 1))
    assert torch.equal(first, augment(batch, index, 4))
    assert torch.equal(second[5:9], augment(batch[5:9], index[5:9], 4, 1))
    same = (first == second).flatten(1).all(1).float().mean()
    assert same < 0.1  # 1 / 162 by chance


def test_flips_of_two_views_are_uncorrelated():
    batch, index = images(1, (4, 4, 1)).expand(8000, 4, 4, 1), torch.arange(8000)
    augment = Augmentation(("flip",), 1)
    flipped = [
        (augment(batch, index, 0, view) != batch).flatten(1).any(1).numpy() for view in (0, 1)
    ]
    table = np.zeros((2, 2))
    np.add.at(table, tuple(each.astype(int) for each in flipped), 1)
    assert stats.chisquare(table.ravel()).pvalue > 1e-3


def test_the_order_of_the_names_does_not_matter():
    batch, index = images(16, (16, 16, 3)), torch.arange(16)
    first, second = (Augmentation(names, 0) for names in (("crop", "flip"), ("flip", "crop")))
    assert torch.equal(first(batch, index, 0), second(batch, index, 0))


def test_the_batch_passed_in_is_not_changed():
    batch = images(16, (8, 8, 3))
    before = batch.clone()
    Augmentation(("crop", "flip"), 0)(batch, torch.arange(16), 0)
    assert torch.equal(batch, before)


def test_batches_of_none_and_one_and_pictures_of_one_pixel_pass():
    augment = Augmentation(("crop", "flip"), 0)
    for size, shape in [(0, (8, 8, 3)), (1, (8, 8, 3)), (5, (1, 1, 1)), (4, (3, 40, 3))]:
        augmented = augment(images(size, shape), torch.arange(size), 0)
        assert augmented.shape == (size, *shape)
        assert augmented.dtype == torch.uint8


def test_no_names_leave_any_batch_alone():
    features = torch.zeros(3, 5)
    assert Augmentation((), 0)(features, torch.arange(3), 0) is features


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((32, 32, 3), ("crop", "flip")),
        ((28, 28, 1), ("crop",)),
        ((16, 16, 1), ("crop",)),
        ((16, 15, 1), ()),
        ((8, 8, 1), ()),
        ((64,), ()),
    ],
)
def test_default_augmentation_follows_channels_and_size(shape, names):
    assert default_augmentation(shape) == names


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ParameterError, match=r'no augmentation "flop"\. Did you mean "flip"'):
        Augmentation(("crop", "flop"), 0)


def test_features_are_refused():
    with pytest.raises(DataError, match=r"needs images .* got torch.float32 of shape \(3, 5\)"):
        Augmentation(("flip",), 0)(torch.zeros(3, 5), torch.arange(3), 0)


def test_as_many_indices_as_images_are_needed():
    with pytest.raises(ParameterError, match=r"4 images and sample indices of shape \(3,\)"):
        Augmentation(("flip",), 0)(images(4, (8, 8, 1)), torch.arange(3), 0)
