"""A trained model as a folder: weights, and all that new data must go through.

    config.json         the network, and the classes
    preprocess.json     how inputs are made: encoding and preparation
    model.safetensors   weights, and the encoding's arrays where texts are learned from; written
                        last, so that a folder that has it is whole
    README.md           the model card

new data → encoding (columns, medians, categories) → preparation (scaling) → network → classes
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from thresher.data import Encoding, Samples, open_data
from thresher.errors import RunError
from thresher.models import Preparation, build_model
from thresher.models.precision import Precision
from thresher.run_folder import RunFolder
from thresher.training.predict import as_tensor, predict_probabilities
from thresher.whole_file import whole_file

__all__ = ["Predictions", "TrainedModel", "choose_device", "predict"]

SCHEMA = 1
CONFIG, PREPROCESS, WEIGHTS = "config.json", "preprocess.json", "model.safetensors"
ENCODING = "encoding/"  # begins the names of tensors that are the encoding's, not the network's


@dataclass(frozen=True)
class TrainedModel:
    """A network, and all that turns a user's data into its inputs and its answers into names.

    Args:
        network: With logits (B, k) or (J, B, k).
        name: As `build_model` takes it.
        networks: J.
        classes: The k class names.
        encoding: How inputs are read.
        preparation: How they are scaled.
        shape: Of one prepared sample.
        precision: Of the forward pass.
    """

    network: nn.Module
    name: str
    networks: int
    classes: tuple[str, ...]
    encoding: Encoding
    preparation: Preparation
    shape: tuple[int, ...]
    precision: Precision = "fp32"

    def save(self, folder: Path, card: str | None = None) -> None:
        """Write the model folder.

        Args:
            folder: Made if need be.
            card: Text of README.md.
        """
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "schema": SCHEMA,
            "library_name": "thresher",
            "model": self.name,
            "networks": self.networks,
            "shape": list(self.shape),
            "precision": self.precision,
            "id2label": {str(place): name for place, name in enumerate(self.classes)},
            "label2id": {name: place for place, name in enumerate(self.classes)},
        }
        preprocess = {
            "schema": SCHEMA,
            "encoding": self.encoding.to_json(),
            "preparation": self.preparation.to_json(),
        }
        write_json(folder / CONFIG, config)
        write_json(folder / PREPROCESS, preprocess)
        if card is not None:
            with whole_file(folder / "README.md") as aside:
                aside.write_text(card, encoding="utf-8")
        tensors = {
            # tied weights share memory, which the format refuses
            name: value.detach().cpu().contiguous().clone()
            for name, value in self.network.state_dict().items()
        }
        for name, array in self.encoding.arrays().items():
            tensors[ENCODING + name] = torch.from_numpy(array.copy())
        with whole_file(folder / WEIGHTS) as aside:
            save_file(tensors, aside, {"format": "pt"})

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> TrainedModel:
        """Read a model folder. It holds no code and no pickle.

        A network or a sentence encoder of a user's own is imported by the name that the folder
        gives, "package.module:factory": read folders of people you trust.

        Raises:
            RunError: a file is missing, torn, or of another version.
            ModelError: its network is a user's own and cannot be imported.
        """
        found, preprocess = read_json(folder / CONFIG), read_json(folder / PREPROCESS)
        path = folder / WEIGHTS
        try:
            with safe_open(path, "pt") as file:
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, ValueError) as error:
            raise RunError(f"{path} cannot be read: {error}.", "Train again.") from error
        arrays = {
            name.removeprefix(ENCODING): state.pop(name).numpy()
            for name in list(state)
            if name.startswith(ENCODING)
        }
        shape, names = tuple(found["shape"]), found["id2label"]
        classes = tuple(names[str(place)] for place in range(len(names)))
        network = build_model(
            found["model"], shape=shape, classes=len(classes), seed=0, networks=found["networks"]
        )
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise RunError(
                f"The weights in {path} do not fit the model {found['model']}.",
                "Put the model's code back as it was in training, or train again.",
            ) from error
        encoding = Encoding.from_json(preprocess["encoding"], arrays)
        return cls(
            network.to(device).eval(),
            found["model"],
            found["networks"],
            classes,
            encoding,
            Preparation.from_json(preprocess["preparation"]),
            shape,
            found["precision"],
        )

    def read(self, data: Any, *, labelled: bool = False) -> Samples:
        """Read new data the way the training data were read."""
        return open_data(data, encoding=self.encoding, classes=self.classes, labelled=labelled)

    def probabilities(
        self, samples: Samples, device: torch.device | str = "cpu"
    ) -> NDArray[np.float32]:
        """Class probabilities (n, k) float32 of samples from `read`."""
        inputs = as_tensor(samples.inputs)
        return predict_probabilities(
            self.network, inputs, self.preparation, device=device, precision=self.precision
        )

    def accuracy(self, samples: Samples, device: torch.device | str = "cpu") -> float:
        """Share of the labelled samples predicted as they are labelled; NaN when none is."""
        predicted, labels = self.probabilities(samples, device).argmax(1), samples.labels
        known = labels >= 0
        return float((predicted == labels)[known].mean()) if known.any() else float("nan")


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write an object that people may read."""
    with whole_file(path) as aside:
        aside.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read an object of this version.

    Raises:
        RunError: the file is missing, torn, or of another version.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        schema = found["schema"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}.", "Train again.") from error
    if schema != SCHEMA:
        raise RunError(
            f"{path} has schema {schema}; this release reads {SCHEMA}.",
            "Use the release of thresher that wrote it.",
        )
    return found


@dataclass(frozen=True)
class Predictions:
    """What a model says of new data.

    Args:
        sample_id: (n,) names of the rows.
        classes: The k class names.
        probabilities: (n, k) float32.
        notes: What must be said aloud of how the data were read, a sentence each.
    """

    sample_id: Sequence[str]
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> list[str]:
        """The most probable class of every row."""
        return [self.classes[place] for place in self.probabilities.argmax(1)]

    def to_table(self) -> pa.Table:
        """Columns sample_id, predicted_label, probability."""
        return pa.table(
            {
                "sample_id": pa.array(self.sample_id, pa.string()),
                "predicted_label": pa.array(self.labels, pa.string()),
                "probability": pa.array(self.probabilities.max(1)),
            }
        )


def predict(run: str | Path, data: Any, *, device: str = "auto") -> Predictions:
    """Predict the classes of new data with the model of a finished run.

    Args:
        run: A run folder, or a model folder.
        data: A path or arrays, as `thresher.fit` takes them; a label column is not needed.
        device: "auto", "cpu", "cuda", …

    Raises:
        RunError: the run is missing or not finished.
        DataError: the data lack a column that the model was trained on.
    """
    folder = Path(run)
    if not (folder / CONFIG).is_file():
        folder = RunFolder.open(run).require_complete().model
    place = choose_device(device)
    model = TrainedModel.load(folder, place)
    samples = model.read(data)
    return Predictions(
        samples.sample_id.to_pylist(),
        model.classes,
        model.probabilities(samples, place),
        samples.notes,
    )


def choose_device(name: str) -> torch.device:
    """The device of a name; "auto" takes a GPU where there is one.

    Raises:
        RunError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise RunError(
            f'The device "{name}" cannot be used: {str(error).splitlines()[0]}',
            "Use --device cpu, or auto.",
        ) from error
    return device
