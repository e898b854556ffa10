"""Auxiliary data: samples of none of the classes, for methods that learn from them as well.

They are read as the training data were: the same columns or pixels, and whatever labels they bring
are left aside. Or they are training samples that are known to be of none of the classes.
"""

from __future__ import annotations

from typing import Any

from thresher.data import Samples, open_data
from thresher.data.wording import counted, quoted
from thresher.errors import DataError, ParameterError
from thresher.noise import METHODS, make_method
from thresher.noise.method import Method
from thresher.noise.streams import missing_stream

__all__ = ["check_auxiliary", "read_auxiliary", "taken_apart"]


def check_auxiliary(method: Method, *, given: bool) -> None:
    """Refuse a method without the auxiliary data that it needs, and data that it has no use for.

    Args:
        method: Of the run.
        given: Whether there are auxiliary data.

    Raises:
        ParameterError: one of the two is missing.
    """
    wanted = method.streams()
    if wanted and not given:
        raise missing_stream(method.name, wanted[0])
    if given and not wanted:
        takers = [name for name in METHODS if make_method(name).streams()]
        raise ParameterError(
            f'The method "{method.name}" learns from no further data.',
            f"Leave the auxiliary data out, or choose a method that does: {', '.join(takers)}.",
        )


def read_auxiliary(data: Any, training: Samples, **options: Any) -> Samples:
    """Read auxiliary data as the training data were.

    Args:
        data: As `open_data` takes it; labels may be lacking, and are dropped.
        training: The training data, whose columns, or size of images, they must have.
        options: Of `open_data`: where copies go, who hears how far it is.

    Raises:
        DataError: they cannot be read, or differ from the training data; says how.
    """
    try:
        return open_data(
            data, encoding=training.encoding, classes=training.classes, labelled=False, **options
        )
    except DataError as error:
        raise DataError(
            f"The auxiliary data cannot be read as the training data were: {error.cause}",
            error.fix,
        ) from error


def taken_apart(samples: Samples) -> tuple[Samples, Samples, str]:
    """Training samples that are marked out of distribution become auxiliary data.

    Args:
        samples: With their marks.

    Returns:
        The training data without them; they alone; what is to be said of it.

    Raises:
        ParameterError: nothing is marked, or all of it, or all of a class.
    """
    marks = samples.out_of_distribution
    if marks is None or not marks.any() or marks.all():
        found = "no" if marks is None or not marks.any() else "every"
        raise ParameterError(
            f"The auxiliary data are to be the samples that are marked out of distribution, and "
            f"{found} sample is.",
            "Mark some: --out-of-distribution, or out_of_distribution in Python.",
        )
    before, after = (set(each.tolist()) for each in (samples.labels, samples.labels[~marks]))
    for emptied in sorted(before - after - {-1}):
        raise ParameterError(
            f"Every sample of the class {quoted(samples.classes[emptied])} is marked out of "
            "distribution: nothing would be left to learn it from.",
            "Leave their label empty, so that it is no class.",
        )
    sentence = f"{counted(int(marks.sum()), 'marked sample')} taken for auxiliary data."
    return samples.take(~marks), samples.take(marks), sentence
