"""Standard training: cross-entropy on every sample with its given label.

The baseline of every table. It fits the right labels first and memorises the wrong ones later
(Arpit et al., A Closer Look at Memorization in Deep Networks, ICML 2017).
"""

from __future__ import annotations

from thresher.noise.method import Method

__all__ = ["Standard"]


class Standard(Method):
    """Cross-entropy on every sample with its given label.

    Cost: none. Hurts when: the training is long enough to memorise wrong labels.
    """

    name = "standard"
    source = "the baseline"
    family = "baseline"
