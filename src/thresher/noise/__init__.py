"""Methods that train on wrong labels, one a file, all on the contract of `method.py`.

>>> from thresher.noise import METHODS
>>> sorted(METHODS)
['auto', 'bootstrap', 'co-teaching', 'dividemix', 'elr', 'gce', 'jocor', 'label-smoothing', \
'mixup', 'morph', 'pes', 'prestopping', 'rho-loss', 'sce', 'selective-backprop', 'selfie', \
'standard']
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thresher.noise.auto import Auto
    from thresher.noise.bootstrap import Bootstrap
    from thresher.noise.co_teaching import CoTeaching
    from thresher.noise.criterion import Criterion
    from thresher.noise.dividemix import DivideMix
    from thresher.noise.elr import ELR
    from thresher.noise.gce import GCE
    from thresher.noise.jocor import JoCoR
    from thresher.noise.label_smoothing import LabelSmoothing
    from thresher.noise.method import Batch, Change, Decision, Method, Parts, Plan, Step
    from thresher.noise.mixup import Mixup
    from thresher.noise.morph import MORPH
    from thresher.noise.pes import PES
    from thresher.noise.prestopping import Prestopping
    from thresher.noise.rho_loss import Irreducible, RhoLoss
    from thresher.noise.sce import SCE
    from thresher.noise.selective_backprop import SelectiveBackprop
    from thresher.noise.selfie import SELFIE
    from thresher.noise.standard import Standard

__all__ = [
    "ELR",
    "GCE",
    "METHODS",
    "MORPH",
    "PES",
    "SCE",
    "SELFIE",
    "Auto",
    "Batch",
    "Bootstrap",
    "Change",
    "CoTeaching",
    "Criterion",
    "Decision",
    "DivideMix",
    "Irreducible",
    "JoCoR",
    "LabelSmoothing",
    "Method",
    "Mixup",
    "Parts",
    "Plan",
    "Prestopping",
    "RhoLoss",
    "SelectiveBackprop",
    "Standard",
    "Step",
    "make_method",
]

#: Name on the command line → class. Modules are imported when a method is made: torch is heavy.
METHODS = {
    "auto": "Auto",
    "standard": "Standard",
    "label-smoothing": "LabelSmoothing",
    "bootstrap": "Bootstrap",
    "mixup": "Mixup",
    "gce": "GCE",
    "sce": "SCE",
    "elr": "ELR",
    "co-teaching": "CoTeaching",
    "jocor": "JoCoR",
    "selfie": "SELFIE",
    "prestopping": "Prestopping",
    "morph": "MORPH",
    "dividemix": "DivideMix",
    "pes": "PES",
    "selective-backprop": "SelectiveBackprop",
    "rho-loss": "RhoLoss",
}

_MODULES = {
    "Auto": "auto",
    "Bootstrap": "bootstrap",
    "CoTeaching": "co_teaching",
    "Criterion": "criterion",
    "DivideMix": "dividemix",
    "ELR": "elr",
    "GCE": "gce",
    "Irreducible": "rho_loss",
    "JoCoR": "jocor",
    "LabelSmoothing": "label_smoothing",
    "MORPH": "morph",
    "Mixup": "mixup",
    "PES": "pes",
    "Prestopping": "prestopping",
    "RhoLoss": "rho_loss",
    "SCE": "sce",
    "SELFIE": "selfie",
    "SelectiveBackprop": "selective_backprop",
    "Standard": "standard",
    **dict.fromkeys(("Batch", "Change", "Decision", "Method", "Parts", "Plan", "Step"), "method"),
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"thresher.noise.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def make_method(name: str, *, noise_rate: float | None = None) -> Method:
    """Make a method by its name on the command line.

    Args:
        name: A key of `METHODS`.
        noise_rate: Share of wrong labels, in [0, 1), for methods that need one; None estimates it.

    Raises:
        ParameterError: an unknown name, or a noise rate out of range or for a method without one.
    """
    from thresher.errors import ParameterError, nearest

    if name not in METHODS:
        raise ParameterError(f'There is no method "{name}".', nearest(name, METHODS))
    kind = __getattr__(METHODS[name])
    if "noise_rate" in kind.needs:
        method: Method = kind(noise_rate)
        return method
    if noise_rate is not None:
        from thresher.ranges import check_rate

        check_rate(noise_rate)
        takers = [each for each, its in METHODS.items() if "noise_rate" in __getattr__(its).needs]
        raise ParameterError(
            f'The method "{name}" takes no noise rate, got {noise_rate:g}.',
            f"Leave --noise-rate at auto, or choose one that does: {', '.join(takers)}.",
        )
    made: Method = kind()
    return made
