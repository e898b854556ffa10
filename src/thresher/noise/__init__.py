"""Methods that train on wrong labels, one a file, all on the contract of `method.py`.

>>> from thresher.noise import METHODS
>>> sorted(METHODS)
['active-bias', 'active-passive', 'auto', 'backward', 'bootstrap', 'co-teaching', \
'co-teaching-plus', 'decoupling', 'dividemix', 'elr', 'forward', 'gce', 'itlm', 'jocor', \
'label-smoothing', 'mae', 'mixup', 'morph', 'oat', 'odnl', 'pes', 'prestopping', \
'prestopping-plus', 'rho-loss', 's-model', 'sce', 'selective-backprop', 'selfie', 'standard', \
'taufe', 'volminnet']
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thresher.noise.active_bias import ActiveBias
    from thresher.noise.active_passive import ActivePassive
    from thresher.noise.auto import Auto
    from thresher.noise.backward import Backward
    from thresher.noise.bootstrap import Bootstrap
    from thresher.noise.co_teaching import CoTeaching
    from thresher.noise.co_teaching_plus import CoTeachingPlus
    from thresher.noise.criterion import Criterion
    from thresher.noise.decoupling import Decoupling
    from thresher.noise.dividemix import DivideMix
    from thresher.noise.elr import ELR
    from thresher.noise.forward import Forward
    from thresher.noise.gce import GCE
    from thresher.noise.itlm import ITLM
    from thresher.noise.jocor import JoCoR
    from thresher.noise.label_smoothing import LabelSmoothing
    from thresher.noise.mae import MAE
    from thresher.noise.method import Batch, Change, Decision, Drawn, Method, Parts, Plan, Step
    from thresher.noise.mixup import Mixup
    from thresher.noise.morph import MORPH
    from thresher.noise.oat import OAT
    from thresher.noise.odnl import ODNL
    from thresher.noise.pes import PES
    from thresher.noise.prestopping import Prestopping
    from thresher.noise.prestopping_plus import PrestoppingPlus
    from thresher.noise.rho_loss import Irreducible, RhoLoss
    from thresher.noise.s_model import SModel
    from thresher.noise.sce import SCE
    from thresher.noise.selective_backprop import SelectiveBackprop
    from thresher.noise.selfie import SELFIE
    from thresher.noise.standard import Standard
    from thresher.noise.streams import no_stream
    from thresher.noise.taufe import TAUFE
    from thresher.noise.volminnet import VolMinNet

__all__ = [
    "ELR",
    "ESTIMATORS",
    "GCE",
    "ITLM",
    "MAE",
    "METHODS",
    "MORPH",
    "OAT",
    "ODNL",
    "PES",
    "SCE",
    "SELFIE",
    "TAUFE",
    "ActiveBias",
    "ActivePassive",
    "Auto",
    "Backward",
    "Batch",
    "Bootstrap",
    "Change",
    "CoTeaching",
    "CoTeachingPlus",
    "Criterion",
    "Decision",
    "Decoupling",
    "DivideMix",
    "Drawn",
    "Forward",
    "Irreducible",
    "JoCoR",
    "LabelSmoothing",
    "Method",
    "Mixup",
    "Parts",
    "Plan",
    "Prestopping",
    "PrestoppingPlus",
    "RhoLoss",
    "SModel",
    "SelectiveBackprop",
    "Standard",
    "Step",
    "VolMinNet",
    "check_noise_rate",
    "check_options",
    "make_method",
    "method_class",
    "no_stream",
]

#: Arguments of methods that `--noise-rate` stands for.
APART = ("noise_rate", "estimate")

#: Name on the command line → class, by family. Modules are imported when a method is made: torch is
#: heavy.
METHODS = {
    "auto": "Auto",
    "standard": "Standard",
    "s-model": "SModel",
    "volminnet": "VolMinNet",
    "label-smoothing": "LabelSmoothing",
    "mixup": "Mixup",
    "elr": "ELR",
    "pes": "PES",
    "gce": "GCE",
    "mae": "MAE",
    "sce": "SCE",
    "active-passive": "ActivePassive",
    "forward": "Forward",
    "backward": "Backward",
    "active-bias": "ActiveBias",
    "bootstrap": "Bootstrap",
    "decoupling": "Decoupling",
    "co-teaching": "CoTeaching",
    "co-teaching-plus": "CoTeachingPlus",
    "jocor": "JoCoR",
    "itlm": "ITLM",
    "prestopping": "Prestopping",
    "prestopping-plus": "PrestoppingPlus",
    "morph": "MORPH",
    "selfie": "SELFIE",
    "dividemix": "DivideMix",
    "taufe": "TAUFE",
    "oat": "OAT",
    "odnl": "ODNL",
    "selective-backprop": "SelectiveBackprop",
    "rho-loss": "RhoLoss",
}

#: Name of an estimator of the noise rate (estimators.py) → what it goes by.
ESTIMATORS = {
    "settled": "settled predictions that contradict the label, the most so far",
    "confident": "labels that averaged predictions contradict with confidence",
    "anchors": "the transition matrix that the surest predictions of every class give",
    "gaussian-last": "the upper of two Gaussians in the losses of the last epoch",
    "gaussian-mean": "the upper of two Gaussians in the mean losses so far",
    "gaussian-window": "the upper of two Gaussians in the mean losses of the last five epochs",
    "beta-last": "the upper of two Beta distributions in the losses of the last epoch",
    "beta-mean": "the upper of two Beta distributions in the mean losses so far",
    "beta-window": "the upper of two Beta distributions in the mean losses of the last five epochs",
    "cross-validation": "agreement with the labels of held-out rows, for symmetric noise",
    "cross-validation-pair": "agreement with the labels of held-out rows, for pair noise",
}

_MODULES = {
    "ActiveBias": "active_bias",
    "ActivePassive": "active_passive",
    "Auto": "auto",
    "Backward": "backward",
    "Bootstrap": "bootstrap",
    "CoTeaching": "co_teaching",
    "CoTeachingPlus": "co_teaching_plus",
    "Criterion": "criterion",
    "Decoupling": "decoupling",
    "DivideMix": "dividemix",
    "ELR": "elr",
    "Forward": "forward",
    "GCE": "gce",
    "ITLM": "itlm",
    "Irreducible": "rho_loss",
    "JoCoR": "jocor",
    "LabelSmoothing": "label_smoothing",
    "MAE": "mae",
    "MORPH": "morph",
    "Mixup": "mixup",
    "OAT": "oat",
    "ODNL": "odnl",
    "PES": "pes",
    "Prestopping": "prestopping",
    "PrestoppingPlus": "prestopping_plus",
    "RhoLoss": "rho_loss",
    "SCE": "sce",
    "SModel": "s_model",
    "SELFIE": "selfie",
    "SelectiveBackprop": "selective_backprop",
    "Standard": "standard",
    "TAUFE": "taufe",
    "VolMinNet": "volminnet",
    **dict.fromkeys(("Batch", "Change", "Decision", "Drawn"), "method"),
    **dict.fromkeys(("Method", "Parts", "Plan", "Step"), "method"),
    "no_stream": "streams",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"thresher.noise.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def method_class(name: str) -> type[Method]:
    """The class of a method.

    Args:
        name: A key of `METHODS`, or ``package.module:Class`` of a user's own.

    Raises:
        ParameterError: there is no such method.
    """
    from thresher.errors import ParameterError, nearest

    if ":" in name:
        from thresher.noise.own_method import import_method

        return import_method(name)
    if name not in METHODS:
        raise ParameterError(f'There is no method "{name}".', nearest(name, METHODS))
    kind: type[Method] = __getattr__(METHODS[name])
    return kind


def make_method(
    name: str,
    *,
    noise_rate: float | str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Method:
    """Make a method by its name on the command line.

    Args:
        name: A key of `METHODS`, or ``package.module:Class`` of a user's own.
        noise_rate: Share of wrong labels, in [0, 1), for methods that need one; or what estimates
            it, a key of `ESTIMATORS`; None or "auto" = what the method estimates it by.
        options: Further arguments of the method, by name.

    Raises:
        ParameterError: an unknown name, option, or value of one; a noise rate out of range, or for
            a method without; a method of the user's own whose arguments have no defaults.
    """
    from thresher.errors import ParameterError

    kind = method_class(name)
    noise_rate = None if noise_rate == "auto" else noise_rate
    check_noise_rate(noise_rate)
    told: dict[str, Any] = {}
    if "noise_rate" in kind.needs:
        told = {"estimate" if isinstance(noise_rate, str) else "noise_rate": noise_rate}
    elif noise_rate is not None:
        takers = [each for each, its in METHODS.items() if "noise_rate" in __getattr__(its).needs]
        raise ParameterError(
            f'The method "{name}" takes no noise rate, got {noise_rate}.',
            f"Leave --noise-rate at auto, or choose one that does: {', '.join(takers)}.",
        )
    check_options(name, kind, options or {})
    told |= options or {}
    try:
        inspect.signature(kind).bind(**told)
    except TypeError as error:
        raise ParameterError(
            f'The method "{name}" cannot be made by its name: {error}.',
            "Give every argument of its __init__ a default"
            + (", noise_rate and estimate among them." if told else "."),
        ) from error
    try:
        made: Method = kind(**told)
    except TypeError as error:
        if not options:
            raise
        words = ", ".join(f"{each}={value!r}" for each, value in options.items())
        raise ParameterError(
            f'The method "{name}" cannot be made with {words}: {error}.',
            f"What each option is: thresher methods {name}.",
        ) from error
    return made


def check_options(name: str, kind: type[Method], options: Mapping[str, Any]) -> None:
    """Refuse options that the method does not have, or that have a place of their own.

    Raises:
        ParameterError: names the nearest one.
    """
    from thresher.errors import ParameterError, nearest

    known = [each for each in inspect.signature(kind).parameters if each not in APART]
    for option in options:
        if option in APART:
            raise ParameterError(
                f"{option} is no option of the method here.",
                "Use --noise-rate, in Python noise_rate=…: a number, or what estimates it.",
            )
        if option not in known:
            raise ParameterError(
                f'The method "{name}" has no option "{option}".',
                nearest(option, known) if known else "It has none.",
            )


def check_noise_rate(noise_rate: float | str | None) -> None:
    """Refuse a noise rate outside [0, 1), and what is not the name of an estimator.

    Raises:
        ParameterError: neither a number in [0, 1) nor a key of `ESTIMATORS` nor None.
    """
    from thresher.errors import ParameterError, nearest
    from thresher.ranges import check_rate

    if not isinstance(noise_rate, str):
        check_rate(noise_rate)
    elif noise_rate not in ESTIMATORS:
        raise ParameterError(
            f"noise_rate must be a number in [0, 1), auto, or one of {', '.join(ESTIMATORS)}, "
            f'got "{noise_rate}".',
            nearest(noise_rate, ESTIMATORS),
        )
