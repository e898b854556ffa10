"""Samples of none of the classes: scores, detectors, verdicts and figures, on plain arrays.

    detector = Detector("nearest-neighbour").fit(features, labels, safe=safe)
    verdict = three_way(clean_probability, entropy, detector.score(features), detector.threshold_)

Beside this room, methods that learn from such samples are in `thresher.noise` (TAUFE, OAT, ODNL).
"""

from thresher.ood_scores import (
    ClassGaussians,
    energy,
    fit_gaussians,
    mahalanobis,
    maximum_softmax,
    nearest_neighbour,
)
from thresher.openset.detector import SCORES, Detector, DetectorScore
from thresher.openset.figures import Figures, figures
from thresher.openset.partition import VERDICTS, normalised_entropy, three_way

__all__ = [
    "SCORES",
    "VERDICTS",
    "ClassGaussians",
    "Detector",
    "DetectorScore",
    "Figures",
    "energy",
    "figures",
    "fit_gaussians",
    "mahalanobis",
    "maximum_softmax",
    "nearest_neighbour",
    "normalised_entropy",
    "three_way",
]
