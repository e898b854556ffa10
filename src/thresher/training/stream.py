"""Stream: further data of a training, of which every step draws some rows.

    (seed, epoch, batch) → rows, all processes' together → this process's part → augment → prepare

What is drawn belongs to the place in the run and to nothing else: the same for any number of
processes, and after a run is resumed. There is nothing to save.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thresher.errors import DataError
from thresher.keyed_random import keyed_seed
from thresher.noise.method import Drawn

__all__ = ["Stream", "rows_of_step"]

EVERYTHING = slice(None)


def rows_of_step(rows: int, wanted: int, seed: int, epoch: int, batch: int) -> Tensor:
    """Draw the rows of a step, without one of them twice as long as there are enough.

    >>> rows_of_step(3, 7, 0, 0, 0).bincount().sort().values.tolist()
    [2, 2, 3]

    Args:
        rows: M >= 1.
        wanted: How many, >= 0.
        seed: Of the run.
        epoch: From 0.
        batch: Of the epoch, from 0.

    Returns:
        (wanted,) int64 in 0 … M - 1.
    """
    random = np.random.default_rng(keyed_seed(seed, "stream", epoch, batch))
    whole, rest = divmod(wanted, rows)
    drawn = [random.permutation(rows) for _ in range(whole)]
    return torch.from_numpy(np.concatenate([*drawn, random.choice(rows, rest, replace=False)]))


@dataclass(frozen=True)
class Stream:
    """Data without labels, gathered by index as the training's own are.

    Args:
        inputs: (M, …) raw inputs, of the shape and type of the training's; may be a memory map.
        prepare: Raw batch → network input, that of the training.
        augment: Random views of a raw batch of these rows in an epoch, or None.
        seed: Of the run.

    Raises:
        DataError: there is no row.
    """

    inputs: Tensor
    prepare: Callable[[Tensor], Tensor]
    augment: Callable[[Tensor, Tensor, int], Tensor] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not len(self.inputs):
            raise DataError("The stream holds no row.", "Pass further data, one row at least.")

    def draw(
        self,
        wanted: int,
        epoch: int,
        batch: int,
        *,
        part: slice = EVERYTHING,
        device: torch.device | str = "cpu",
    ) -> Drawn:
        """The rows of a step, ready for the network.

        Args:
            wanted: Rows of all processes together.
            epoch: From 0.
            batch: Of the epoch, from 0.
            part: Those of this process.
            device: Where the network is.
        """
        index = rows_of_step(len(self.inputs), wanted, self.seed, epoch, batch)[part]
        raw = self.inputs.index_select(0, index)
        if self.augment is not None:
            raw = self.augment(raw, index, epoch)
        return Drawn(index.to(device), self.prepare(raw.to(device, non_blocking=True)))
