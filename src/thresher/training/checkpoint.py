"""Checkpoints: the whole state of a training in one safetensors file, written aside and renamed.

    save     state → nested dictionary → tensors and JSON → one pass: bytes, and their SHA-256
    restore  file → SHA-256 → tensors and JSON → is it of this training? → model, optimiser, …

Nested dictionaries become flat names; tensors are stored as tensors, everything else as JSON in the
file's metadata. No pickle: a checkpoint can be read by anything that reads safetensors. The last 32
bytes are a tensor too, the digest of all before it.

Two files are kept, so that one that turns out to be damaged costs no training. A file is written
from the tensors where they lie, without a copy of them: a history of millions of samples is not
held twice.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from thresher.errors import RecordError, RunError
from thresher.training.loop import Stateful, Training
from thresher.whole_file import whole_file

__all__ = [
    "Saver",
    "load_checkpoint",
    "load_last_checkpoint",
    "load_tensors",
    "save_checkpoint",
    "save_tensors",
    "stored_bytes",
    "training_state",
]

VERSION = 2
SAVING_SHARE = 0.01  # of the time may go into checkpoints
LEAST_SECONDS = 60.0  # between two of them: what a kill may cost at most, if they cost little
FOUND_SPEED = 256 * 2**20  # bytes a second, of disks that nothing is known about yet
DIGEST = "sha256"
TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


# ---------------------------------------------------------------------- a training
def training_state(training: Training) -> dict[str, Any]:
    """Everything that the rest of a training depends on, while it rests; tensors are shared."""
    sampler = training.batches
    return {
        "of": origin(training),
        "model": training.snapshots.model.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "criterion": training.criterion.state_dict(),
        "snapshots": training.snapshots.state_dict(),
        "batches": sampler.state_dict() if isinstance(sampler, Stateful) else None,
        "position": training.position,
    }


def origin(training: Training) -> dict[str, Any]:
    """What a checkpoint must share with the training that takes it over, by name."""
    labels, settings = training.rows.labels, training.settings
    rows = training.rows.order.numpy(force=True).tobytes()
    fingerprint = hashlib.sha256(rows + labels.numpy(force=True).tobytes()).hexdigest()[:16]
    return {
        "method is": training.criterion.method.name,
        "samples are": len(labels),
        "classes are": training.criterion.plan.classes,
        "labels have the fingerprint": fingerprint,
        "seed is": settings.seed,
        "batch size is": settings.batch_size,
        "batches a step are": settings.accumulate,
    }


def save_checkpoint(path: Path, training: Training, extra: Mapping[str, Any]) -> None:
    """Write everything that the rest of the training depends on.

    Args:
        path: The file; what was there stays until the new one is whole.
        training: Between two steps, or between two epochs.
        extra: JSON values kept beside it.

    Raises:
        RunError: the file cannot be written.
    """
    save_tensors(path, {**training_state(training), "extra": dict(extra)})


def load_last_checkpoint(
    path: Path, before: Path, training: Training, note: Callable[[str], None]
) -> dict[str, Any] | None:
    """Put a training back to its last checkpoint that is whole; returns the extra values.

    Args:
        path: The last file that a `Saver` wrote.
        before: The one before it.
        training: One that has not begun.
        note: Told when a damaged file is passed over. It is removed, so that the next save does
            not put it in the place of the whole one.

    Returns:
        None when nothing was saved.

    Raises:
        RunError: all files are damaged, or of another training.
    """
    if path.is_file() and before.is_file():
        try:
            return load_checkpoint(path, training)
        except DamagedFileError as damage:
            note(f"{damage.cause} The checkpoint before it is used.")
            before.replace(path)
    for each in (path, before):
        if each.is_file():
            return load_checkpoint(each, training)
    return None


def load_checkpoint(path: Path, training: Training) -> dict[str, Any]:
    """Put a training back where `save_checkpoint` found it; returns the extra values.

    Raises:
        RunError: the file is damaged, or of another training.
    """
    state = load_tensors(path)
    for name, here in origin(training).items():
        there = state["of"][name]
        if there != here:
            raise RunError(
                f"The checkpoint {path} is of another training: its {name} {there}, here {here}.",
                "Resume with the data, the method and the settings that the run was started with.",
            )
    sampler = training.batches
    try:
        training.snapshots.model.load_state_dict(state["model"])
        training.optimizer.load_state_dict(state["optimizer"])
        training.criterion.load_state_dict(state["criterion"])
        training.snapshots.load_state_dict(state["snapshots"])
        if isinstance(sampler, Stateful):
            sampler.load_state_dict(state["batches"])
    except (KeyError, RuntimeError, TypeError, ValueError, RecordError) as error:
        raise RunError(
            f"The checkpoint {path} does not fit this training: {str(error).splitlines()[0]}",
            "Resume with the data, model and method that the run was started with.",
        ) from error
    training.position = {
        name: value.to(training.device, copy=True) if isinstance(value, Tensor) else value
        for name, value in state["position"].items()
    }
    extra: dict[str, Any] = state["extra"]
    return extra


class Saver:
    """Saves a training now and then, and when it is stopped. A failure stops no training.

    The last file takes the name of the one before it, and the new one is written then: there are
    never more than two on the disk, and whatever happens meanwhile, one of them is whole.

    Args:
        path: The last file.
        before: The one before it.
        training: What it holds.
        epochs: The metrics of the epochs so far, kept beside it: a list that grows.
        every: Seconds between two checkpoints, > 0. None: a minute, or as much longer as keeps
            saving at a hundredth of the time.
        note: Told once when a checkpoint cannot be written.
    """

    def __init__(
        self,
        path: Path,
        before: Path,
        training: Training,
        epochs: list[dict[str, Any]],
        *,
        every: float | None = None,
        note: Callable[[str], None],
    ) -> None:
        self.path, self.before, self.training = path, before, training
        self.epochs, self.note = epochs, note
        self.every, self.failed = every, False
        cost = stored_bytes(training_state(training)) / FOUND_SPEED
        self.due = time.monotonic() + self._pause(cost)

    def _pause(self, cost: float) -> float:
        return max(LEAST_SECONDS, cost / SAVING_SHARE) if self.every is None else self.every

    def __call__(self) -> None:
        """Between two steps: save when it is time."""
        if time.monotonic() >= self.due:
            self.save()

    def save(self) -> None:
        """Save now, unless the training was stopped in the middle of a step."""
        if not self.training.resting:
            return
        begun = time.monotonic()
        try:
            if self.path.is_file():  # else it is the first one, or the last could not be written
                self.path.replace(self.before)
            save_checkpoint(self.path, self.training, {"epochs": self.epochs})
        except (OSError, RunError) as error:
            if not self.failed:
                cause = getattr(error, "cause", f"Cannot write {self.path}: {error}.")
                kept = "; the checkpoint before stays" if self.before.is_file() else " without one"
                self.note(f"{cause} The training goes on{kept}.")
            self.failed = True
        ended = time.monotonic()
        self.due = ended + self._pause(ended - begun)


# ---------------------------------------------------------------------- a file
class DamagedFileError(RunError):
    """A file that is missing, cut short, or not what was written."""


def save_tensors(path: Path, state: Mapping[str, Any]) -> None:
    """Write a nested dictionary of tensors and JSON values as one safetensors file.

    Raises:
        RunError: the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    plain = _split(state, "", tensors)
    try:
        document = json.dumps({"version": VERSION, "state": plain})
    except (TypeError, ValueError) as error:  # what a user's own module or optimiser keeps
        raise RunError(
            f"Cannot write {path}: {error}.", "Keep tensors, numbers, texts and lists of them."
        ) from error
    with whole_file(path) as aside, aside.open("wb") as file:
        for content in _contents(tensors, document):
            file.write(content)


def load_tensors(path: Path) -> dict[str, Any]:
    """Read what `save_tensors` wrote.

    Raises:
        RunError: the file is missing, damaged, or of an unknown version.
    """
    try:
        with path.open("rb") as file:
            whole = _ends_with_its_digest(file)
        if not whole:
            raise ValueError("it is cut short, or not what was written")
        with safe_open(path, "pt") as stored:
            document = json.loads(stored.metadata()["thresher"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(
            f"The file {path} cannot be read: {error}.", "Start the run again with --overwrite."
        ) from error
    if document["version"] != VERSION:
        raise RunError(
            f"The file {path} has version {document['version']}; this release reads {VERSION}.",
            "Finish the run with the release that started it.",
        )
    state: dict[str, Any] = _join(document["state"], tensors)
    return state


def stored_bytes(state: Any) -> int:
    """How large the tensors of a nested value are in a file."""
    if isinstance(state, Tensor):
        return state.nbytes
    if isinstance(state, Mapping):
        return sum(map(stored_bytes, state.values()))
    return sum(map(stored_bytes, state)) if isinstance(state, list | tuple) else 0


def _contents(tensors: Mapping[str, Tensor], document: str) -> Iterator[bytes | memoryview]:
    """The bytes of a safetensors file, piece by piece; the digest of all pieces is the last.

    The package's own writer copies all tensors into one buffer before it writes.
    """
    # the widest numbers first, so that all of them lie at multiples of their size
    names = sorted(tensors, key=lambda name: -tensors[name].element_size())
    header: dict[str, Any] = {"__metadata__": {"thresher": document}}
    offset = 0
    for name in names:
        each = tensors[name]
        if each.dtype not in TYPES:
            raise RunError(
                f"Cannot save {name}: the format knows no {each.dtype}.",
                f"Give it one of {', '.join(map(str, TYPES))}.",
            )
        header[name] = {
            "dtype": TYPES[each.dtype],
            "shape": list(each.shape),
            "data_offsets": [offset, offset := offset + each.nbytes],
        }
    size = hashlib.sha256().digest_size
    header[DIGEST] = {"dtype": "U8", "shape": [size], "data_offsets": [offset, offset + size]}
    written = json.dumps(header).encode()
    written += b" " * (-len(written) % 8)
    head = len(written).to_bytes(8, "little") + written
    digest = hashlib.sha256(head)
    yield head
    for name in names:
        flat = tensors[name].flatten()
        if len(flat) < 2:  # one number, or none, may have any stride; bytes want a step of one
            flat = flat.clone(memory_format=torch.contiguous_format)
        content = flat.view(torch.uint8).numpy().data
        digest.update(content)
        yield content
    yield digest.digest()


def _ends_with_its_digest(file: BinaryIO) -> bool:
    digest = hashlib.sha256()
    left = file.seek(0, 2) - digest.digest_size
    file.seek(0)
    while left > 0:
        block = file.read(min(left, 2**20))
        digest.update(block)
        left -= len(block)
    return left == 0 and file.read() == digest.digest()


def _split(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Move tensors out of a nested value, leaving their names."""
    if isinstance(value, Tensor):
        # sums over pixels first or channels first differ in their last bits: keep the order
        pixels_first = (
            value.dim() == 4
            and not value.is_contiguous()
            and value.is_contiguous(memory_format=torch.channels_last)
        )
        stored = value.detach().movedim(1, 3) if pixels_first else value.detach()
        tensors[name] = stored.to("cpu").contiguous()
        return {"tensor": name, "pixels_first": pixels_first}
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
            stored = tensors[value["tensor"]]
            return stored.movedim(3, 1) if value["pixels_first"] else stored
        return {key: _join(each, tensors) for key, each in value["keys"]}
    if isinstance(value, list):
        return [_join(each, tensors) for each in value]
    return value
