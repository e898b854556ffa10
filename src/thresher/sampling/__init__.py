"""Which rows come next: plans over row numbers that never look at the data."""

from thresher.sampling.shuffled import ShuffledBatches, shuffled_batches

__all__ = ["ShuffledBatches", "shuffled_batches"]
