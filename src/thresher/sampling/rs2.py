"""RS2, repeated sampling of random subsets: each epoch takes a fresh share of the samples.

The sober rival of everything that chooses samples: it costs nothing and knows nothing. Steps an
epoch shrink with the share, and the schedule of the learning rate with them.

    an epoch = round(f N) of the N samples, at random, none twice
"""

from __future__ import annotations

import torch
from torch import Generator

from thresher.history import SampleHistory
from thresher.ranges import check_positive
from thresher.sampling.selector import Planned, PlannedRows

__all__ = ["RS2"]


class RS2(Planned):
    """Plan epochs of a fresh random share of the samples.

    Args:
        share: f, of the samples an epoch takes, in (0, 1]. Default 0.3, our choice.

    Raises:
        ParameterError: share out of range.

    Cost: none. Hurts when: epochs are so few that some samples are never seen.
    Source: Okanovic et al., Repeated Random Sampling for Minimizing the Time-to-Accuracy of
    Learning, ICLR 2024. Deviations: epochs are drawn independently; the variant that goes through
    all samples before it repeats one is not offered.
    """

    name = "rs2"
    source = "Okanovic et al., ICLR 2024"

    def __init__(self, *, share: float = 0.3) -> None:
        check_positive("share", share, below=1)
        self.share = share

    def plan(self, history: SampleHistory, epoch: int, generator: Generator) -> PlannedRows:
        """A random subset of what is trained, and all that is kept out of training."""
        eligible = history["eligible"].cpu()
        trained = torch.nonzero(eligible).flatten()
        count = max(1, round(self.share * len(trained)))
        chosen = trained[torch.randperm(len(trained), generator=generator)[:count]]
        return PlannedRows(torch.cat([chosen, torch.nonzero(~eligible).flatten()]))
