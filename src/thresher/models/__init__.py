"""Networks of our own, and what stands before them: by name, seeded, checked against the data."""

from thresher.models.batch_norm import BatchNorm1d, BatchNorm2d
from thresher.models.build import build_model, check_model, default_model
from thresher.models.cnn import SmallCnn
from thresher.models.mlp import Mlp
from thresher.models.networks import Networks
from thresher.models.precision import Precision, in_precision
from thresher.models.preparation import Preparation
from thresher.models.resnet import PreActResNet18, ResNet18

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "Mlp",
    "Networks",
    "PreActResNet18",
    "Precision",
    "Preparation",
    "ResNet18",
    "SmallCnn",
    "build_model",
    "check_model",
    "default_model",
    "in_precision",
]
