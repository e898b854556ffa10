"""Settings of a run: one sentence a field, checked in the words of the command line.

The same fields are the arguments of `thresher.fit`, the options of `thresher fit` and the table
[fit] of run.toml.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

from thresher.errors import ParameterError, nearest
from thresher.noise import METHODS, check_noise_rate
from thresher.ranges import check_positive
from thresher.sampling import SELECTORS

__all__ = ["MARKED", "PATHS", "FitSettings", "in_words", "no_word"]

WHOLE = ("epochs", "limit", "longest_side", "batch_size", "accumulate")
PRECISIONS = ("fp32", "bf16")
TRACKERS = ("tensorboard", "mlflow", "wandb")
#: In the place of auxiliary data: the training samples that are marked out of distribution.
MARKED = "out-of-distribution"
#: Written relative to the run folder.
PATHS = ("data", "labels", "decisions", "out_of_distribution", "test", "auxiliary")


@dataclass(frozen=True)
class FitSettings:
    """What `thresher fit` was asked for. None means: chosen from the data.

    Args:
        data: Path of the training data, or None for arrays in memory.
        label: Column (or array) that holds the labels.
        image: Column (or array) that holds the images.
        longest_side: Most pixels of the longer side of images, >= 1; larger ones are scaled down.
        text: Columns of free text to learn from.
        encoder: What turns texts into vectors, a sentence encoder on this machine or
            "package.module:factory"; None = character n-grams.
        labels: A file with the labels of the rows in their order, "file" or "file:name".
        decisions: A run whose reviewed labels are used: changed, trusted, left out.
        out_of_distribution: Samples known to be of none of the classes, which are never relabelled:
            path of a run whose audit has verdicts, or of a file with their sample_ids.
        out_of_distribution_column: Column that marks such samples; it is never learned from.
        group: Column whose groups are never split between training and held-out rows.
        group_report: Column whose groups the report compares; it is never learned from.
        test: Path of test data, read as the training data were.
        auxiliary: Path of further data of none of the classes, read as the training data were and
            without labels, for methods that learn from them; "out-of-distribution": the training
            samples that are marked so.
        validation: Share of the rows held out of training, in [0, 0.5]; None = a tenth, 2,000 rows
            at most, without test data or where the method needs them, else none.
        method: A name of `thresher methods`, or ``package.module:Class`` of your own.
        noise_rate: Share of wrong labels, in [0, 1), for methods that need one, or what estimates
            it, of `thresher.noise.ESTIMATORS`; None or "auto" = what the method estimates it by.
        method_options: Settings of the method, each "name=value", the value as in JSON:
            `thresher methods NAME` lists them.
        model: "auto", "mlp", "cnn", "resnet18", "preact-resnet18" or "package.module:factory".
        epochs: Passes over the data, restarts included, >= 1.
        limit: Take a stratified sample of so many rows, >= 2.
        seed: Of everything random, in [0, 2^63).
        device: "auto", "cpu", "cuda", …
        augment: "auto", "none", or some of crop, flip, joined by commas.
        batch_size: Samples a batch, of all processes together, >= 2.
        accumulate: Batches a step, >= 1: what does not fit in memory at once is added up.
        sampler: Which rows the batches hold: "shuffled", or a selector that draws what the network
            finds worth seeing, of `thresher.sampling.SELECTORS`.
        sampler_options: Its options and those of the sampler, each "name=value".
        learning_rate: Peak of the schedule, > 0.
        weight_decay: L2 penalty, >= 0.
        precision: "fp32", or "bf16" for the forward pass.
        features: Keep what the last layer sees of every sample, for the audit and the review.
        track: Where metrics are sent as well, of tensorboard, mlflow, wandb, joined by commas.
        save_every: Seconds between two checkpoints, > 0; None = a minute, or as much longer as
            keeps saving at a hundredth of the time.
    """

    data: str | None = None
    label: str | None = None
    image: str | None = None
    longest_side: int = 224
    text: tuple[str, ...] = ()
    encoder: str | None = None
    labels: str | None = None
    decisions: str | None = None
    out_of_distribution: str | None = None
    out_of_distribution_column: str | None = None
    group: str | None = None
    group_report: str | None = None
    test: str | None = None
    auxiliary: str | None = None
    validation: float | None = None
    method: str = "auto"
    noise_rate: float | str | None = None
    method_options: tuple[str, ...] = ()
    model: str = "auto"
    epochs: int | None = None
    limit: int | None = None
    seed: int = 0
    device: str = "auto"
    augment: str = "auto"
    batch_size: int | None = None
    accumulate: int = 1
    sampler: str = "shuffled"
    sampler_options: tuple[str, ...] = ()
    learning_rate: float | None = None
    weight_decay: float | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    features: bool = False
    track: str | None = None
    save_every: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.method, str):
            raise ParameterError(
                f"method must be a name, got {type(self.method).__name__}.",
                'Name it, its settings beside: method="elr", method_options={"beta": 0.9}.',
            )
        if ":" not in self.method and self.method not in METHODS:  # else it is imported later
            raise ParameterError(
                f'There is no method "{self.method}".', nearest(self.method, METHODS)
            )
        if self.noise_rate == "auto":  # as it is written
            object.__setattr__(self, "noise_rate", None)
        check_noise_rate(self.noise_rate)
        check_named("method", self.method_options, "beta=0.9")
        self._check_sampler()
        self._at_least("epochs", 1)
        self._at_least("limit", 2)
        self._at_least("longest_side", 1)
        self._at_least("batch_size", 2)
        self._at_least("accumulate", 1)
        if not 0 <= self.seed < 2**63:
            raise ParameterError(
                f"seed must be in [0, 2^63), got {self.seed}.", "Leave it out to use the default."
            )
        self._at_least("weight_decay", 0)
        check_positive("learning_rate", self.learning_rate)
        check_positive("save_every", self.save_every)
        if self.validation is not None and not 0 <= self.validation <= 0.5:
            raise ParameterError(
                f"validation must be in [0, 0.5], got {self.validation:g}.",
                "It is the share of the rows held out of training, such as 0.1.",
            )
        self._one_of("precision", self.precision, PRECISIONS)
        for tracker in () if self.track is None else self.track.split(","):
            self._one_of("track", tracker, TRACKERS)
        if self.encoder is not None and not self.text:
            raise ParameterError(
                f'encoder "{self.encoder}" is given, but no column of text.',
                "Name the columns with --text.",
            )
        if self.out_of_distribution is not None and self.out_of_distribution_column is not None:
            raise ParameterError(
                "out_of_distribution and out_of_distribution_column are both given.",
                "Leave one of them out.",
            )
        words = {"auto", "none", "crop", "flip"}
        for word in self.augment.split(","):
            if word not in words or (word in ("auto", "none") and self.augment != word):
                raise ParameterError(
                    f'augment must be auto, none, or some of crop,flip, got "{self.augment}".',
                    nearest(word, words),
                )

    def _check_sampler(self) -> None:
        if self.sampler not in SELECTORS:
            raise ParameterError(
                f'There is no sampler "{self.sampler}".', nearest(self.sampler, SELECTORS)
            )
        if self.sampler == "static-weights":
            raise ParameterError(
                'The sampler "static-weights" takes an array of weights.',
                "Use thresher.sampling.AdaptiveBatchSampler in a loop of your own.",
            )
        if self.sampler == "shuffled" and self.sampler_options:
            raise ParameterError(
                f"sampler_options {', '.join(self.sampler_options)} are given, but no sampler.",
                "Name one with --sampler.",
            )
        check_named("sampler", self.sampler_options, "pressure=10")

    def options_of_sampler(self) -> dict[str, Any]:
        """The sampler's options by name; numbers, true and false as such.

        >>> FitSettings(sampler="rs2", sampler_options=("share=0.5",)).options_of_sampler()
        {'share': 0.5}
        """
        return by_name(self.sampler_options)

    def options_of_method(self) -> dict[str, Any]:
        """The method's settings by name; numbers, lists, true and false as such.

        >>> FitSettings(method="elr", method_options=("beta=0.9",)).options_of_method()
        {'beta': 0.9}
        """
        return by_name(self.method_options)

    def _one_of(self, name: str, value: str, allowed: tuple[str, ...]) -> None:
        if value not in allowed:
            raise ParameterError(
                f'{name} must be one of {", ".join(allowed)}, got "{value}".',
                nearest(value, allowed),
            )

    def _at_least(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if name in WHOLE and value is not None and not isinstance(value, Integral):
            raise ParameterError(
                f"{name} must be a whole number, got {value!r}.", f"Example: {name}={least + 8}."
            )
        if value is not None and not value >= least:
            raise ParameterError(
                f"{name} must be at least {least}, got {value:g}.",
                "Leave it out to use the default.",
            )

    def reading(self) -> dict[str, Any]:
        """The arguments of `thresher.data.open_data` that say what the data hold."""
        return {
            "label": self.label,
            "image": self.image,
            "text": self.text,
            "encoder": self.encoder,
            "labels": self.labels,
            "longest_side": self.longest_side,
        }

    def aside(self) -> tuple[str, ...]:
        """The columns that are read and never learned from."""
        named = (self.group_report, self.out_of_distribution_column)
        return tuple(dict.fromkeys(each for each in named if each is not None))

    # ------------------------------------------------------------------ TOML
    def to_table(self, folder: Path) -> dict[str, Any]:
        """The [fit] table of a run.toml in this folder: paths are written relative to it."""
        table = asdict(self)
        for name in PATHS:
            if table[name] is not None and not is_marked(name, table[name]):
                table[name] = os.path.relpath(table[name], folder)
        table["text"] = list(self.text) or None
        table["sampler_options"] = list(self.sampler_options) or None
        table["method_options"] = list(self.method_options) or None
        if table["noise_rate"] is None:
            table["noise_rate"] = "auto"
        return {name: value for name, value in table.items() if value is not None}

    @classmethod
    def from_table(cls, table: Mapping[str, Any], folder: Path) -> FitSettings:
        """Settings from a [fit] table; its paths are relative to the folder it lies in.

        Raises:
            ParameterError: an unknown key, or a value of the wrong type or range.
        """
        kinds = {field.name: str(field.type) for field in fields(cls)}
        values: dict[str, Any] = {}
        for name, value in table.items():
            if name not in kinds:
                raise ParameterError(f'There is no setting "{name}".', nearest(name, kinds))
            if value == "auto" and "None" in kinds[name]:
                continue
            values[name] = _typed(name, value, kinds[name])
        for name in PATHS:
            if name in values and not is_marked(name, values[name]):
                path = os.path.normpath(folder / values[name])
                values[name] = no_word(path) if name == "auxiliary" else path
        return cls(**values)


def check_named(of: str, options: Sequence[str], example: str) -> None:
    """Refuse options that are not "name=value".

    Raises:
        ParameterError: the first such one.
    """
    for option in options:
        if not option.partition("=")[2]:
            raise ParameterError(
                f'The {of} option "{option}" is not name=value.', f"Example: {example}."
            )


def by_name(options: Sequence[str]) -> dict[str, Any]:
    """Options "name=value" by name; what is no JSON is a text."""
    found: dict[str, Any] = {}
    for option in options:
        name, _, value = option.partition("=")
        try:
            found[name.replace("-", "_")] = json.loads(value)
        except ValueError:
            found[name.replace("-", "_")] = value
    return found


def in_words(options: Mapping[str, Any] | Sequence[str]) -> tuple[str, ...]:
    """Options as a run.toml has them, "name=value" each.

    >>> in_words({"beta": 0.9, "later": [["head"], ["head"]]}), in_words(["beta=0.9"])
    (('beta=0.9', 'later=[["head"], ["head"]]'), ('beta=0.9',))
    """
    if isinstance(options, str):
        return (options,)
    if not isinstance(options, Mapping):
        return tuple(options)
    return tuple(f"{name}={json.dumps(value, default=listed)}" for name, value in options.items())


def listed(value: Any) -> Any:
    """An array as a list, or a number of its own kind as a plain one.

    Raises:
        ParameterError: it is neither.
    """
    if not hasattr(value, "tolist"):
        raise ParameterError(
            f"A method option cannot be of the type {type(value).__name__}.",
            "Pass numbers, texts, arrays or lists of them.",
        )
    return value.tolist()


def is_marked(name: str, value: object) -> bool:
    """Whether a setting is the word for the marked samples, and no path."""
    return name == "auxiliary" and value == MARKED


def no_word(path: str) -> str:
    """The path, written so that it is not taken for the word."""
    return f"./{path}" if path == MARKED else path


KINDS = {
    "bool": (bool, "true or false"),
    "str": (str, "a text"),
    "Literal": (str, "a text"),
    "int": (int, "a whole number"),
    "float": (float, "a number"),
}


def _typed(name: str, value: Any, kind: str) -> Any:
    if kind.startswith("tuple"):
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ParameterError(
                f"{name} must be a list of texts, got {value!r}.",
                "Correct it in the settings file.",
            )
        return tuple(value)
    if isinstance(value, str) and "str" in kind.split(" | "):  # whatever else it may be
        return value
    if kind.startswith("float") and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    allowed, words = KINDS[re.split(r"[ \[]", kind)[0]]
    if not isinstance(value, allowed) or isinstance(value, bool) != (allowed is bool):
        raise ParameterError(
            f"{name} must be {words}, got {value!r}.", "Correct it in the settings file."
        )
    return value
