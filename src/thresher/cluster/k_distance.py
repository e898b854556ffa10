"""The names of `thresher.cluster.k_distances`, where the package looks for them."""

from thresher.cluster.k_distances import KDistances, k_distance

__all__ = ["KDistances", "k_distance"]
