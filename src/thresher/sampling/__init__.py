"""Which rows come next: plans over row numbers that never look at the data."""

from thresher.sampling.shuffled import shuffled_batches

__all__ = ["shuffled_batches"]
