"""Checkpoints: the whole state of a training in one safetensors file, written aside and renamed.

Nested dictionaries become flat names; tensors are stored as tensors, everything else as JSON in the
file's metadata. No pickle: a checkpoint can be read by anything that reads safetensors.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from thresher.errors import RunError
from thresher.training.loop import Training
from thresher.whole_file import whole_file

__all__ = ["Saver", "load_checkpoint", "load_tensors", "save_checkpoint", "save_tensors"]

VERSION = 1
SAVING_SHARE = 0.02  # of the time may go into checkpoints


def save_checkpoint(path: Path, training: Training, extra: Mapping[str, Any]) -> None:
    """Write everything that the rest of the training depends on.

    Args:
        path: The file; what was there stays until the new one is whole.
        training: Between two epochs.
        extra: JSON values kept beside it.
    """
    state = {
        "model": training.snapshots.model.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "criterion": training.criterion.state_dict(),
        "snapshots": training.snapshots.state_dict(),
        "position": training.position,
        "extra": dict(extra),
    }
    save_tensors(path, state)


class Saver:
    """Writes a checkpoint after an epoch when the last one cost little of the time since.

    Args:
        path: The file.
        training: What it holds.
    """

    def __init__(self, path: Path, training: Training) -> None:
        self.path, self.training = path, training
        self.saved, self.cost = float("-inf"), 0.0

    def __call__(self, epochs: list[dict[str, Any]]) -> None:
        """After an epoch; `epochs` are the metrics so far."""
        now = time.perf_counter()
        if now - self.saved > self.cost / SAVING_SHARE:
            save_checkpoint(self.path, self.training, {"epochs": epochs})
            self.saved = time.perf_counter()
            self.cost = self.saved - now


def load_checkpoint(path: Path, training: Training) -> dict[str, Any]:
    """Put a training back where `save_checkpoint` found it; returns the extra values.

    Raises:
        RunError: the file is torn, or of another training.
    """
    state = load_tensors(path)
    try:
        training.snapshots.model.load_state_dict(state["model"])
        training.optimizer.load_state_dict(state["optimizer"])
        training.criterion.load_state_dict(state["criterion"])
        training.snapshots.load_state_dict(state["snapshots"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise RunError(
            f"The checkpoint {path} does not fit this training: {str(error).splitlines()[0]}",
            "Resume with the data, model and method that the run was started with.",
        ) from error
    training.position = state["position"]
    extra: dict[str, Any] = state["extra"]
    return extra


def save_tensors(path: Path, state: Mapping[str, Any]) -> None:
    """Write a nested dictionary of tensors and JSON values as one safetensors file."""
    tensors: dict[str, Tensor] = {}
    plain = _split(state, "", tensors)
    document = {"version": VERSION, "state": plain}
    with whole_file(path) as aside:
        save_file(tensors, aside, {"thresher": json.dumps(document)})


def load_tensors(path: Path) -> dict[str, Any]:
    """Read what `save_tensors` wrote.

    Raises:
        RunError: the file is missing, torn, or of an unknown version.
    """
    try:
        with safe_open(path, "pt") as file:
            document = json.loads(file.metadata()["thresher"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"The file {path} cannot be read: {error}.", "Start the run again with --overwrite."
        ) from error
    if document["version"] != VERSION:
        raise RunError(
            f"The file {path} has version {document['version']}; this release reads {VERSION}.",
            "Finish the run with the release that started it.",
        )
    state: dict[str, Any] = _join(document["state"], tensors)
    return state


def _split(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Move tensors out of a nested value, leaving their names."""
    if isinstance(value, Tensor):
        stored = value.detach().to("cpu").contiguous()
        # tied weights share memory, which the format refuses: store them twice
        pointers = {each.data_ptr() for each in tensors.values()}
        tensors[name] = stored.clone() if stored.data_ptr() in pointers else stored
        return {"tensor": name}
    if isinstance(value, Mapping):
        # optimiser states have integer keys, which JSON would turn into text
        return {
            "keys": [[key, _split(each, f"{name}/{key}", tensors)] for key, each in value.items()]
        }
    if isinstance(value, list | tuple):
        return [_split(each, f"{name}/{place}", tensors) for place, each in enumerate(value)]
    return value


def _join(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: _join(each, tensors) for key, each in value["keys"]}
    if isinstance(value, list):
        return [_join(each, tensors) for each in value]
    return value
