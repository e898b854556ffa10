"""thresher turns large, messy data into models people can trust.

    import thresher
    result = thresher.fit("data.csv", label="species", test="test.csv")
    result.summary["noise_rate_estimate"], result.run.report

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thresher.classifier import RobustClassifier
    from thresher.corrected import Exported, export
    from thresher.fitting import FitResult, fit, resume
    from thresher.run_folder import RunFolder
    from thresher.trained_model import Predictions, predict

__all__ = [
    "Exported",
    "FitResult",
    "Predictions",
    "RobustClassifier",
    "RunFolder",
    "__version__",
    "export",
    "fit",
    "predict",
    "resume",
]

__version__ = "0.1.0"

_MODULES = {
    "Exported": "corrected",
    "FitResult": "fitting",
    "Predictions": "trained_model",
    "RobustClassifier": "classifier",
    "RunFolder": "run_folder",
    "export": "corrected",
    "fit": "fitting",
    "predict": "trained_model",
    "resume": "fitting",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"thresher.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
