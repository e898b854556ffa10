"""What is said where a method learns from a further stream of data, and there is none."""

from __future__ import annotations

from thresher.errors import ParameterError
from thresher.noise.method import Drawn

__all__ = ["missing_stream", "no_stream"]


def no_stream(name: str) -> Drawn:
    """Refuse a further stream of data: what a loop without streams passes as `draw`."""
    raise missing_stream("The method", name)


def missing_stream(method: str, name: str) -> ParameterError:
    """The error of a method that needs a stream of data and has none."""
    return ParameterError(
        f'{method} learns from the data stream "{name}" as well, and there is none.',
        "Pass further data of none of the classes: --auxiliary FOLDER_OR_FILE, "
        "thresher.fit(…, auxiliary=…), RobustClassifier(…).fit(X, y, auxiliary=…), or "
        "Training(…, streams={"
        f'"{name}": Stream(…)'
        "}).",
    )
