"""Held-out rows: they ride in the batches with weight 0 and show what was only memorised.

labels, share → a stratified draw → (N,) bool
with groups   → whole groups, spread evenly over the classes
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thresher.errors import ParameterError
from thresher.keyed_random import keyed_seed
from thresher.noise.method import Plan
from thresher.stratified import stratified_rows

__all__ = ["HELD_OUT_MOST", "HELD_OUT_SHARE", "draw_held_out"]

HELD_OUT_SHARE, HELD_OUT_MOST = 0.1, 2000


def draw_held_out(
    plan: Plan,
    labels: Tensor | None,
    *,
    share: float | None = None,
    groups: NDArray[np.int64] | None = None,
    spared: Tensor | None = None,
) -> Tensor:
    """Draw the rows that are held out of training.

    Every class gives its share (to rounding) and keeps at least one row for training.

    Args:
        plan: Samples, and the seed of the draw.
        labels: (N,) int64 given labels, -1 = none, or None when they are not known yet.
        share: Of the labelled rows, in [0, 0.5]; None = a tenth, and at most 2,000 rows.
        groups: (N,) int64; rows of one group are held out together or not at all, so that the
            share is met only roughly. None = every row is a group of its own.
        spared: (N,) bool, rows that are never held out (with groups: nor is their group); None =
            there are none.

    Returns:
        (N,) bool.

    Raises:
        ParameterError: There are too few groups to hold one out.
    """
    labels = torch.zeros(plan.samples, dtype=torch.int64) if labels is None else labels.cpu()
    may = labels >= 0
    if spared is not None:
        apart = spared.cpu()
        if groups is not None:
            apart = torch.from_numpy(np.isin(groups, groups[apart.numpy()]))
        may = may & ~apart
    labelled = torch.nonzero(may).flatten()
    if share is None:
        wanted = min(round(HELD_OUT_SHARE * len(labelled)), HELD_OUT_MOST)
    else:
        wanted = round(share * len(labelled))
    seed = keyed_seed(plan.seed, "held-out")
    held_out = torch.zeros(plan.samples, dtype=torch.bool)
    if not wanted:
        return held_out
    if groups is None:
        held_out[labelled[stratified_rows(labels[labelled], wanted, seed)]] = True
    else:
        chosen = _whole_groups(labels[labelled].numpy(), groups[labelled.numpy()], wanted, seed)
        held_out[labelled[torch.from_numpy(chosen)]] = True
    return _leave_each_class_a_row(held_out, labels, groups)


def _whole_groups(
    labels: NDArray[np.int64], groups: NDArray[np.int64], wanted: int, seed: int
) -> NDArray[np.int64]:
    """Choose whole groups of about `wanted` rows in all: one fold of scikit-learn's splitter."""
    from sklearn.model_selection import StratifiedGroupKFold

    # the splitter wants a class with a row for every fold
    folds = min(max(2, round(len(labels) / wanted)), int(np.bincount(labels).max()))
    if len(np.unique(groups)) < folds:
        raise ParameterError(
            f"There are {len(np.unique(groups))} groups, too few to hold out one in {folds}.",
            "Raise --validation, or leave out --group.",
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        _, chosen = next(splitter.split(labels, labels, groups))
    rows: NDArray[np.int64] = chosen
    return rows


def _leave_each_class_a_row(
    held_out: Tensor, labels: Tensor, groups: NDArray[np.int64] | None
) -> Tensor:
    """Put back what would leave a class without a row to learn it from."""
    labelled = labels >= 0
    trained = torch.bincount(labels[labelled & ~held_out], minlength=int(labels.max()) + 1)
    bare = labelled & held_out
    bare[labelled & held_out] = trained[labels[labelled & held_out]] == 0
    if bare.any():
        back = bare.numpy()
        if groups is not None:
            back = np.isin(groups, groups[back])
        held_out[torch.from_numpy(back)] = False
    return held_out
