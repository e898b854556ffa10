"""Families of methods against wrong labels, and what the survey asks of each method.

Source: Song, Kim, Park, Shin, Lee, Learning from Noisy Labels with Deep Neural Networks: A Survey,
IEEE TNNLS 2022 (its figure of categories and its Table II).
"""

from __future__ import annotations

__all__ = ["FAMILIES", "PROPERTIES"]

#: Family → what its members have in common.
FAMILIES = {
    "baseline": "nothing is done about wrong labels",
    "robust architecture": "a layer behind the network takes up how labels are confused",
    "regularisation": "the network is kept from fitting single labels",
    "robust loss": "a loss that wrong labels pull at less",
    "loss correction": "the loss knows how labels are confused",
    "reweighting": "samples count by how far they are to be trusted",
    "refurbishment": "labels are replaced, in part or in full, by what the network predicts",
    "sample selection": "only samples taken for clean are learned from",
    "hybrid": "selects samples, and makes use of the others as well",
    "open set": "further data, of none of the classes, are learned from",
    "batch selection": "steps are spent on the samples that teach the most",
}

#: The survey's P1 to P6, in the order of `Method.properties`.
PROPERTIES = (
    "any architecture",
    "no pre-training",
    "uses all data",
    "no supervision",
    "heavy noise",
    "instance-dependent noise",
)
