"""Which rows come next: selectors, one a file, and the sampler that draws by them.

>>> from thresher.sampling import SELECTORS
>>> sorted(SELECTORS)
['active-bias', 'ada-boundary', 'info-batch', 'online-batch', 'recency-bias', 'rs2', 'self-paced', \
'shuffled', 'static-weights']
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thresher.sampling.active_bias import ActiveBias
    from thresher.sampling.ada_boundary import AdaBoundary
    from thresher.sampling.batch_sampler import AdaptiveBatchSampler
    from thresher.sampling.info_batch import InfoBatch
    from thresher.sampling.online_batch import OnlineBatch
    from thresher.sampling.pressure import Pressure
    from thresher.sampling.recency_bias import RecencyBias
    from thresher.sampling.rs2 import RS2
    from thresher.sampling.selector import Observed, Planned, PlannedRows, Scored, Selector
    from thresher.sampling.self_paced import SelfPaced
    from thresher.sampling.shuffled import Shuffled, ShuffledBatches, shuffled_batches
    from thresher.sampling.static_weights import StaticWeights
    from thresher.sampling.visits import Report

__all__ = [
    "RS2",
    "SELECTORS",
    "ActiveBias",
    "AdaBoundary",
    "AdaptiveBatchSampler",
    "InfoBatch",
    "Observed",
    "OnlineBatch",
    "Planned",
    "PlannedRows",
    "Pressure",
    "RecencyBias",
    "Report",
    "Scored",
    "Selector",
    "SelfPaced",
    "Shuffled",
    "ShuffledBatches",
    "StaticWeights",
    "make_selector",
    "shuffled_batches",
]

#: Name on the command line → class. Modules are imported when a selector is made: torch is heavy.
SELECTORS = {
    "shuffled": "Shuffled",
    "ada-boundary": "AdaBoundary",
    "recency-bias": "RecencyBias",
    "online-batch": "OnlineBatch",
    "active-bias": "ActiveBias",
    "self-paced": "SelfPaced",
    "info-batch": "InfoBatch",
    "static-weights": "StaticWeights",
    "rs2": "RS2",
}

_MODULES = {
    "ActiveBias": "active_bias",
    "AdaBoundary": "ada_boundary",
    "AdaptiveBatchSampler": "batch_sampler",
    "InfoBatch": "info_batch",
    "OnlineBatch": "online_batch",
    "Pressure": "pressure",
    "RS2": "rs2",
    "RecencyBias": "recency_bias",
    "Report": "visits",
    "SelfPaced": "self_paced",
    "Shuffled": "shuffled",
    "ShuffledBatches": "shuffled",
    "StaticWeights": "static_weights",
    "shuffled_batches": "shuffled",
    **dict.fromkeys(("Observed", "Planned", "PlannedRows", "Scored", "Selector"), "selector"),
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"thresher.sampling.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def make_selector(name: str, **options: Any) -> Selector:
    """Make a selector by its name on the command line.

    Args:
        name: A key of `SELECTORS`.
        options: Arguments of the selector by name; what they may be, its docstring says.

    Raises:
        ParameterError: an unknown name, an option that the selector does not take or lacks, or one
            out of range.

    >>> make_selector("recency-bias", window=5).name
    'recency-bias'
    """
    from inspect import Parameter, signature

    from thresher.errors import ParameterError, nearest

    if name not in SELECTORS:
        raise ParameterError(f'There is no selector "{name}".', nearest(name, SELECTORS))
    kind = __getattr__(SELECTORS[name])
    taken = signature(kind).parameters
    for option in options:
        if option not in taken:
            raise ParameterError(
                f'The selector "{name}" takes no {option}.',
                nearest(option, taken) if taken else "Leave it out.",
            )
    for option, its in taken.items():
        if its.default is Parameter.empty and option not in options:
            raise ParameterError(
                f'The selector "{name}" needs {option}.', f"Pass {option}=…; see its docstring."
            )
    made: Selector = kind(**options)
    return made
