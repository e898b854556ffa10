"""RobustClassifier: training on wrong labels, and the audit of them, behind scikit-learn's door.

fit      X, y → Samples → Job.plan → train_epochs → audited
predict  X → the encoding of training → network → classes

Nothing is written to disk: what `thresher.fit` puts into a run folder is in the attributes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    assert_all_finite,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from thresher.auditing import audited
from thresher.auxiliary_data import check_auxiliary, read_auxiliary
from thresher.data import Samples, open_data
from thresher.data.arrays import is_image_array
from thresher.epochs import train_epochs
from thresher.errors import DataError, LabelError, ParameterError
from thresher.foreign_marks import marked, read_marks
from thresher.job import Job
from thresher.models import build_model
from thresher.noise import make_method
from thresher.settings import FitSettings, in_words
from thresher.trained_model import TrainedModel, choose_device

__all__ = ["RobustClassifier"]


class RobustClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # untyped bases
    """Train a classifier that wrong labels do not fool, and say which labels are wrong.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> classifier = RobustClassifier(epochs=10, random_state=0).fit(X, y)
    >>> classifier.score(X, y) > 0.9
    True
    >>> suspects = classifier.audit_.query("is_label_issue").sort_values("rank")

    Args:
        method: A name of `thresher methods`.
        noise_rate: Share of wrong labels, in [0, 1), for methods that need one, or what estimates
            it, of `thresher.noise.ESTIMATORS`; None = what the method estimates it by.
        method_options: Settings of the method by name, such as {"beta": 0.9}: those that
            `thresher methods NAME` lists.
        model: "auto", "mlp", "cnn", "resnet18", "preact-resnet18" or "package.module:factory".
        epochs: Passes over the data, >= 1; None = 30.
        batch_size: Samples a step, >= 2; None chooses by the number of samples.
        learning_rate: Peak of the schedule, > 0; None chooses by the kind of data.
        weight_decay: L2 penalty, >= 0; None chooses by the kind of data.
        augment: "auto", "none", or some of crop, flip, joined by commas; for images.
        validation: Share of the rows held out of training, in [0, 0.5]; None = a tenth, 2,000 rows
            at most, where the method needs them, and else none: scikit-learn's users validate
            themselves.
        precision: "fp32", or "bf16" for the forward pass.
        text: Columns of free text in a data frame.
        encoder: What turns texts into vectors, a sentence encoder on this machine or
            "package.module:factory"; None = character n-grams.
        device: "auto", "cpu", "cuda", …
        random_state: A number gives the classifier that `thresher.fit` trains with this seed; a
            `RandomState`, or None for NumPy's own, draws a seed at every fit.

    Attributes:
        classes_: (k,) the classes, sorted, of y's dtype.
        audit_: One row a sample, in the order of X, with the columns of audit.parquet; classes are
            texts. A data frame of the library that X came from (a pandas one with X's index), else
            an Arrow table.
        noise_rate_: Estimated share of wrong labels, in [0, 1].
        transition_: (k, k) float64, how often each true class (row) is given each label (column),
            where the method was told, estimated or learned it; else None.
        model_: The trained model, a `thresher.trained_model.TrainedModel`.
        notes_: What must be said of the data and of the run, a sentence each.
        n_features_in_: Columns of X; for images, numbers a picture.
        feature_names_in_: (n_features_in_,) names of the columns, where X names them.

    Raises:
        ParameterError: fit, where a setting is out of its range.
        DataError: fit and the predictions, where the data cannot be used; it is a ValueError, as
            are those that scikit-learn's own checks raise.
    """

    def __init__(
        self,
        *,
        method: str = "auto",
        noise_rate: float | str | None = None,
        method_options: Mapping[str, Any] | Sequence[str] = (),
        model: str = "auto",
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        augment: str = "auto",
        validation: float | None = None,
        precision: Literal["fp32", "bf16"] = "fp32",
        text: Sequence[str] = (),
        encoder: str | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.method = method
        self.noise_rate = noise_rate
        self.method_options = method_options
        self.model = model
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.augment = augment
        self.validation = validation
        self.precision = precision
        self.text = text
        self.encoder = encoder
        self.device = device
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any, *, auxiliary: Any = None, out_of_distribution: Any = None
    ) -> Self:
        """Train on X and y, and audit y.

        Args:
            X: (N, d) numbers, NaN = missing; (N, H, W) or (N, H, W, C) uint8 images; or a data
                frame (pandas, polars, Arrow) of numbers and categories, missing ones included.
            y: (N,) given labels, texts or whole numbers; each class at least twice.
            auxiliary: (M, …) samples of none of the classes, like X and without labels, for methods
                that learn from them: taufe, oat, odnl.
            out_of_distribution: (N,) bool, samples of X known to be of none of the classes: no
                method gives them another label.
        """
        settings = FitSettings(
            method=self.method,
            noise_rate=self.noise_rate,
            method_options=in_words(self.method_options),
            model=self.model,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            augment=self.augment,
            validation=self.validation,
            precision=self.precision,
            text=(self.text,) if isinstance(self.text, str) else tuple(self.text),
            encoder=self.encoder,
            device=self.device,
            seed=drawn_seed(self.random_state),
        )
        method = make_method(settings.method, options=settings.options_of_method())
        if settings.validation is None and "held_out" not in method.needs:
            settings = replace(settings, validation=0.0)
        check_auxiliary(method, given=auxiliary is not None)
        marks = None if out_of_distribution is None else read_marks(out_of_distribution)
        inputs, given = self._checked(X, y)
        if settings.text and self._fitted_to != "table":
            raise ParameterError(
                f"text names the column {settings.text[0]}, and X has no names.",
                "Pass X as a data frame, or leave text out.",
            )
        known = LabelEncoder().fit(given)
        notes = Notes()
        samples = labelled_samples(
            inputs,
            known.transform(given),
            known.classes_,
            text=settings.text,
            encoder=settings.encoder,
        )
        notes.sentences += samples.notes
        if marks is not None:
            samples, sentence = marked(samples, marks)
            notes.note(sentence)
        further = None if auxiliary is None else self._read_auxiliary(auxiliary, samples, notes)
        job = Job.plan(settings, samples, None, notes, audit=True, auxiliary=further)
        train_epochs(job)
        found = audited(job)
        self.classes_: NDArray[Any] = known.classes_
        self.model_ = job.model
        self.audit_ = framed_like(X, found.table)
        self.noise_rate_ = found.summary.noise_rate.estimate
        self.transition_ = job.known_transition()
        self.notes_ = (*notes.sentences, *found.summary.warnings)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Class probabilities (n, k), in the order of `classes_`, of n rows like those of fit."""
        check_is_fitted(self)
        inputs = self._checked_again(X)
        device = choose_device(self.device)
        self.model_.network.to(device)
        samples = self.model_.read(inputs)
        refuse_skipped(samples)
        probability = self.model_.probabilities(samples, device).astype(np.float64)
        # a sum of 1 to the last digit of float64, which scikit-learn's metrics insist on
        found: NDArray[np.float64] = probability / probability.sum(axis=1, keepdims=True)
        return found

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class (n,) of each of n rows like those of fit."""
        places = self.predict_proba(X).argmax(axis=1)
        found: NDArray[Any] = self.classes_[places]
        return found

    # ------------------------------------------------------------------ checks
    def _checked(self, X: Any, y: Any) -> tuple[Any, NDArray[Any]]:
        """Check X and y as scikit-learn does, and keep the number and names of the features."""
        kind = kind_of(X)
        if kind == "array":
            X, y = validate_data(self, X, y, dtype=np.float32, ensure_all_finite="allow-nan")
        else:
            validate_data(self, as_rows(X, kind), y, skip_check_array=True)
            y = column_or_1d(y, warn=True)
            check_consistent_length(X, y)
            assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        self._fitted_to = kind
        return without_index(X), y

    def _checked_again(self, X: Any) -> Any:
        """Check that X has the features of fit."""
        kind = kind_of(X)
        if kind == "array" or (kind == "table" and self._fitted_to == "array"):
            return validate_data(
                self, X, reset=False, dtype=np.float32, ensure_all_finite="allow-nan"
            )
        validate_data(self, as_rows(X, kind), reset=False, skip_check_array=True)
        return without_index(X)

    def _read_auxiliary(self, auxiliary: Any, training: Samples, notes: Notes) -> Samples:
        """Read auxiliary data as X was; rows of an image that is broken are not missed."""
        if kind_of(auxiliary) == "array":
            auxiliary = check_array(
                auxiliary,
                dtype=np.float32,
                ensure_all_finite="allow-nan",
                input_name="auxiliary",
            )
        found = read_auxiliary(without_index(auxiliary), training)
        for sentence in found.notes:
            notes.note(f"auxiliary data: {sentence}")
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True  # images
        return tags

    # ------------------------------------------------------------------ pickle
    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = packed(self.model_)
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        state = dict(state)
        if "model_" in state:
            state["model_"] = unpacked(state["model_"])
        super().__setstate__(state)


class Notes:
    """A listener that keeps what is said.

    Attributes:
        sentences: All of it so far.
    """

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def note(self, sentence: str) -> None:
        """Something that must be said."""
        self.sentences.append(sentence)

    def reading(self, done: int, total: int) -> None:
        """Nothing."""

    def epoch(self, number: int, epochs: int, metrics: Mapping[str, Any]) -> None:
        """Nothing."""


def drawn_seed(random_state: int | np.random.RandomState | None) -> int:
    """A whole number as it is; a generator, or NumPy's own for None, draws one."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))


# ---------------------------------------------------------------------- X and y
def kind_of(X: Any) -> Literal["array", "images", "table"]:
    """What X is: rows of numbers, uint8 images (N, H, W[, C]), or a data frame."""
    if hasattr(X, "__arrow_c_stream__"):
        return "table"
    # anything else of two dimensions is not looked at: it may be sparse, or a list of lists
    if getattr(X, "ndim", 2) > 2 and is_image_array(np.asarray(X)):
        return "images"
    return "array"


def as_rows(X: Any, kind: str) -> Any:
    """Two dimensions, in which scikit-learn counts features: each number of an image is one."""
    return np.asarray(X).reshape(len(X), -1) if kind == "images" else X


def without_index(X: Any) -> Any:
    """A pandas frame without its index, which Arrow would take for a column; all else as it is."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(X, pandas.DataFrame):
        return X.reset_index(drop=True)
    return X


def framed_like(X: Any, table: pa.Table) -> Any:
    """A table as a data frame of the library that X is of; an Arrow table for anything else."""
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None and isinstance(X, pandas.DataFrame):
        frame = table.to_pandas()
        frame.index = X.index
        return frame
    if polars is not None and isinstance(X, polars.DataFrame):
        return polars.from_arrow(table)
    return table


def labelled_samples(
    X: Any,
    codes: NDArray[np.int64],
    classes: NDArray[Any],
    *,
    text: tuple[str, ...] = (),
    encoder: str | None = None,
) -> Samples:
    """Read X with its labels.

    Args:
        X: As `open_data` takes it.
        codes: (N,) places in the classes, each of which occurs.
        classes: (k,) sorted.
        text: Columns of free text.
        encoder: What turns them into vectors.

    Raises:
        LabelError: fewer than two classes, or a class of one sample.
        DataError: X cannot be read.
    """
    if len(classes) < 2:
        raise LabelError(
            f'y holds one class only: "{classes[0]}".', "A classifier needs two or more classes."
        )
    single = np.flatnonzero(np.bincount(codes) == 1)
    if len(single):
        raise LabelError(
            f'The class "{classes[single[0]]}" has one sample only.',
            "Merge it with another class, or remove it; a class needs two samples or more.",
        )
    # open_data sorts texts by their letters: as numbers of one length they keep their order
    digits = len(str(len(classes)))
    names = np.array([f"class {code:0{digits}}" for code in range(len(classes))])
    samples = open_data((X, names[codes]), text=text, encoder=encoder)
    refuse_skipped(samples)
    return replace(samples, classes=tuple(str(each) for each in classes))


def refuse_skipped(samples: Samples) -> None:
    """Refuse images that could not be read: every row of X needs an answer.

    Raises:
        DataError: names the first of them.
    """
    if len(samples.skipped):
        first = samples.skipped.slice(0, 1).to_pylist()[0]
        raise DataError(
            f"{len(samples.skipped):,} images cannot be read, the first in row {first['row']} "
            f"(counting from 0): {first['error']}",
            "Remove these rows.",
        )


# ---------------------------------------------------------------------- pickle
def packed(model: TrainedModel) -> dict[str, Any]:
    """A model as tensors and plain values, so that a pickle holds no code of a network."""
    weights = {
        name: value.detach().cpu().clone() for name, value in model.network.state_dict().items()
    }
    rest = {each.name: getattr(model, each.name) for each in fields(model)}
    return {**rest, "network": weights}


def unpacked(state: Mapping[str, Any]) -> TrainedModel:
    """Build the network by its name, on the CPU, and give it the weights that `packed` took.

    Raises:
        ModelError: it is a network of a user's own that cannot be imported.
    """
    network = build_model(
        state["name"],
        shape=state["shape"],
        classes=len(state["classes"]),
        seed=0,
        networks=state["networks"],
    )
    network.load_state_dict(state["network"])
    return TrainedModel(**{**state, "network": network.eval()})
