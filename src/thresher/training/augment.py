"""Augmentation of image batches: padded random crop and horizontal flip, keyed by the sample.

    offsets and flips from (seed, epoch, sample) → which pixel goes where → one gather

A sample looks the same in an epoch whatever its batch, so that runs repeat and resume exactly and
what is remembered of a sample does not depend on its neighbours. A method that compares two views
gets a second one, keyed by (seed, epoch, sample, view). All steps work on whole batches of
stored uint8 images: 128 images of 32×32×3 take 0.4 ms on two cores.

Pixels that a crop takes from outside the image are 0, black as stored: the published recipes pad
before they scale, and 0 is the one value that needs no statistics of the training rows.

Source: padding by 4, random crop and flip: Lee et al., Deeply-supervised nets, AISTATS 2015, as
taken over by He et al., CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thresher.errors import DataError, ParameterError, nearest
from thresher.keyed_random import keyed_seed, keyed_uniform

__all__ = ["Augmentation", "default_augmentation"]

NAMES = ("crop", "flip")

# A view's independent numbers within an epoch.
FLIP, ROW_OFFSET, COLUMN_OFFSET = 0, 1, 2
NUMBERS = 3


def default_augmentation(shape: Sequence[int]) -> tuple[str, ...]:
    """Choose the augmentation for a shape of sample.

    Colour images are mostly photographs, which crop and mirror well. One-channel images are often
    writing, which must not be mirrored; below 16 pixels a side a shift hides too much of them.

    Args:
        shape: Shape of one stored sample: (H, W, C) of images, (d,) of features.

    Returns:
        Names for `Augmentation`; none for features.
    """
    if len(shape) != 3:
        return ()
    *sides, channels = shape
    if channels == 3:
        return ("crop", "flip")
    return ("crop",) if min(sides) >= 16 else ()


@dataclass(frozen=True)
class Augmentation:
    """Random views of image batches.

    Args:
        names: Any of ``crop`` (shift by up to 4 pixels each way, for sides below 28 by up to an
            eighth of the side, at least 1; every offset equally probable) and ``flip`` (mirror left
            and right with probability ½).
        seed: The run's seed.

    Raises:
        ParameterError: An unknown name.
    """

    names: tuple[str, ...]
    seed: int

    def __post_init__(self) -> None:
        """Refuse what is no augmentation."""
        for name in self.names:
            if name not in NAMES:
                raise ParameterError(f'There is no augmentation "{name}".', nearest(name, NAMES))

    def __call__(self, batch: Tensor, index: Tensor, epoch: int, view: int = 0) -> Tensor:
        """Give the batch as it looks in this epoch.

        Args:
            batch: (B, H, W, C) uint8 images as stored.
            index: (B,) int64 stable sample indices, on the batch's device.
            epoch: The epoch, from 0.
            view: Which of several views, from 0; they are independent of each other.

        Returns:
            (B, H, W, C) uint8; the batch itself when there is nothing to do.

        Raises:
            DataError: The batch is no batch of images.
            ParameterError: There are not as many indices as images.
        """
        if not self.names:
            return batch
        if batch.ndim != 4 or batch.dtype != torch.uint8:
            raise DataError(
                f"Augmentation needs images (B, H, W, C) uint8, got {batch.dtype} of shape "
                f"{tuple(batch.shape)}.",
                "Train features without augmentation.",
            )
        if index.shape != batch.shape[:1]:
            raise ParameterError(
                f"There are {len(batch)} images and sample indices of shape {tuple(index.shape)}.",
                "Pass one stable index per image.",
            )
        _, height, width, _ = batch.shape
        rows = torch.arange(height, device=batch.device).expand(len(batch), -1)  # (B, H)
        columns = torch.arange(width, device=batch.device).expand(len(batch), -1)  # (B, W)
        seed, first = keyed_seed(self.seed, "augmentation"), NUMBERS * view
        if "flip" in self.names:
            flipped = keyed_uniform(seed, epoch, index, first + FLIP) < 0.5
            columns = torch.where(flipped[:, None], columns.flip(1), columns)
        if "crop" in self.names:
            down, right = (
                keyed_uniform(seed, epoch, index, first + number)
                for number in (ROW_OFFSET, COLUMN_OFFSET)
            )
            rows = rows + _offsets(down, height)
            columns = columns + _offsets(right, width)
        return _gather(batch, rows, columns)


def _padding(side: int) -> int:
    """Give the pixels by which a side is padded: 4 of the published 32, in proportion below."""
    return 4 if side >= 28 else max(1, side // 8)


def _offsets(uniforms: Tensor, side: int) -> Tensor:
    """Turn (B,) uniforms into offsets -padding..padding, (B, 1)."""
    padding = _padding(side)
    return ((uniforms * (2 * padding + 1)).long() - padding)[:, None]


def _gather(batch: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Take pixel (rows[b, h], columns[b, w]) of each image b; 0 where it lies outside.

    The pixels of the batch are numbered through and one black pixel is appended; a row or column
    outside the image sends its pixels beyond the end, to the black one. Gathering pixels is 3 to 5
    times as fast as indexing with three tensors.
    """
    size, height, width, channels = batch.shape
    black = size * height * width
    first = torch.arange(size, device=batch.device)[:, None] * height
    rows = torch.where((rows >= 0) & (rows < height), (first + rows) * width, black)
    columns = torch.where((columns >= 0) & (columns < width), columns, black)
    source = (rows[:, :, None] + columns[:, None, :]).clamp_(max=black)  # (B, H, W)
    pixels = torch.cat([batch.reshape(-1, channels), batch.new_zeros(1, channels)])
    return pixels.index_select(0, source.view(-1)).view_as(batch)
