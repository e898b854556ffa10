"""Which rows come next: shuffled, or chosen by what was seen of them."""

from thresher.sampling.batch_sampler import AdaptiveBatchSampler
from thresher.sampling.selector import Observed, Planned, Rows, Scored
from thresher.sampling.shuffled import shuffled_batches
from thresher.sampling.visits import Report

__all__ = [
    "AdaptiveBatchSampler",
    "Observed",
    "Planned",
    "Report",
    "Rows",
    "Scored",
    "shuffled_batches",
]
