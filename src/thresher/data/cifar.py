"""CIFAR-10 and CIFAR-100 as their authors give them: pickled batches or binary, packed or not.

    cifar-10-batches-py     data_batch_1 … data_batch_5, test_batch, batches.meta
    cifar-10-batches-bin    data_batch_1.bin …, test_batch.bin, batches.meta.txt
    cifar-100-python        train, test, meta
    cifar-100-binary        train.bin, test.bin, fine_label_names.txt, coarse_label_names.txt

The folder, or the .tar.gz it came in, stands for the training images; its test file (in an archive:
archive.tar.gz/test) for the test images. A pickle may ask for any function to be called; here it
gets NumPy arrays and Python's own containers, and is refused when it asks for more.

Source: Krizhevsky, Learning multiple layers of features from tiny images, 2009.
"""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.data.files import one_line, reading
from thresher.data.wording import listed, quoted
from thresher.errors import DataError, nearest

__all__ = ["Cifar", "cifar_splits", "find_cifar", "load_arrays", "read_cifar"]

ARCHIVES = (".tar.gz", ".tgz", ".tar")
PIXELS = 3 * 32 * 32
ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"),  # as NumPy 1 calls it
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}
RECONSTRUCT = np.ndarray(0).__reduce__()[0]  # NumPy's own way to make an empty array


@dataclass(frozen=True)
class Layout:
    """Which files hold what.

    Args:
        train: Of the training images, in order.
        test: Of the test images.
        names: Label → the file (and in a pickle, the key) of its class names.
        labels: What the labels are called, those of the record in order; the first named is used.
    """

    train: tuple[str, ...]
    test: str
    names: Mapping[str, tuple[str, str]]
    labels: tuple[str, ...]

    @property
    def binary(self) -> bool:
        """Records of bytes, not pickles."""
        return self.test.endswith(".bin")

    @property
    def members(self) -> set[str]:
        """Every file."""
        return {*self.train, self.test, *(file for file, _ in self.names.values())}


TEN = tuple(f"data_batch_{number}" for number in range(1, 6))
LAYOUTS = (
    Layout(TEN, "test_batch", {"labels": ("batches.meta", "label_names")}, ("labels",)),
    Layout(
        tuple(f"{name}.bin" for name in TEN),
        "test_batch.bin",
        {"labels": ("batches.meta.txt", "")},
        ("labels",),
    ),
    Layout(
        ("train",),
        "test",
        {
            "fine_labels": ("meta", "fine_label_names"),
            "coarse_labels": ("meta", "coarse_label_names"),
        },
        ("coarse_labels", "fine_labels"),
    ),
    Layout(
        ("train.bin",),
        "test.bin",
        {
            "fine_labels": ("fine_label_names.txt", ""),
            "coarse_labels": ("coarse_label_names.txt", ""),
        },
        ("coarse_labels", "fine_labels"),
    ),
)


@dataclass(frozen=True)
class Place:
    """Where images of CIFAR lie.

    Args:
        home: The folder or archive.
        layout: Of a folder; None for an archive that was not opened yet.
        part: "train", "test", or one file of the layout.
    """

    home: Path
    layout: Layout | None
    part: str


@dataclass(frozen=True)
class Cifar:
    """Images as read.

    Args:
        images: (N, 32, 32, 3) uint8.
        labels: (N,) int64 from 0.
        classes: Names of the labels; empty if the files do not give them.
        label: What the labels are called there.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    label: str


def find_cifar(path: Path) -> Place | None:
    """Recognise one of the layouts by its names, without reading; None for anything else.

    Raises:
        DataError: The folder cannot be looked into.
    """
    with reading(path, "a folder"):
        return _place(path)


def _place(path: Path) -> Place | None:
    if path.is_file() and path.name.endswith(ARCHIVES):
        return Place(path, None, "train")
    if path.parent.is_file() and path.parent.name.endswith(ARCHIVES):
        return Place(path.parent, None, path.name)
    home, part = (path, "train") if path.is_dir() else (path.parent, path.name)
    for layout in LAYOUTS:
        whole = all((home / file).is_file() for file in (layout.test, *_name_files(layout)))
        if whole and (path.is_dir() or part in (layout.test, *layout.train)):
            return Place(home, layout, part)
    return None


def cifar_splits(path: Path) -> dict[str, Path]:
    """Name the training and the test images of a folder or archive; empty for anything else."""
    place = find_cifar(path)
    if place is None or place.home != path:
        return {}
    return {"train": path, "test": path / (place.layout.test if place.layout else "test")}


def read_cifar(place: Place, label: str | None = None) -> Cifar:
    """Read the images and labels of a place.

    Args:
        place: From `find_cifar`.
        label: "fine_labels" or "coarse_labels" for CIFAR-100 (short: fine, coarse); None = fine.

    Raises:
        DataError: A file is missing, damaged, or asks for more than arrays; or no such label.
    """
    wanted = None if place.layout is None else _files_of(place.layout, place.part)
    found = _contents(place.home, wanted)
    layout = place.layout or _recognised(place.home, found)
    files = _files_of(layout, place.part)
    label = _label_name(layout, label)
    missing = [quoted(name) for name in files if name not in found]
    if missing:
        raise DataError(
            f"{place.home} lacks {listed(missing)}.", "Fetch and unpack the whole archive again."
        )
    batches = []
    for name in files:
        with reading(place.home / name, "a batch of CIFAR"):
            batches.append(_batch(found[name], layout, label, place.home / name))
    rows = np.concatenate([pixels for pixels, _ in batches])
    return Cifar(
        np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)),
        np.concatenate([labels for _, labels in batches]),
        _class_names(found, layout, label, place.home),
        label,
    )


# ---------------------------------------------------------------------- files
def _name_files(layout: Layout) -> list[str]:
    return sorted({file for file, _ in layout.names.values()})


def _files_of(layout: Layout, part: str) -> tuple[str, ...]:
    if part == "train":
        return layout.train
    return (layout.test,) if part == "test" else (part,)


def _contents(home: Path, files: Sequence[str] | None) -> dict[str, bytes]:
    """Read files of a folder, or all that belong to CIFAR from an archive, which is not unpacked.

    Names in an archive lose their folder.
    """
    known = set().union(*(layout.members for layout in LAYOUTS))
    found: dict[str, bytes] = {}
    if home.is_dir():
        names = known if files is None else {*files, *_all_name_files()}
        for name in names:
            if (home / name).is_file():
                with reading(home / name, "a batch of CIFAR"):
                    found[name] = (home / name).read_bytes()
        return found
    try:
        with reading(home, "an archive"), tarfile.open(home) as archive:
            for member in archive:
                name = Path(member.name).name
                wanted = name in known and member.isfile()  # links may lead to what is not there
                content = archive.extractfile(member) if wanted else None
                if content is not None:
                    found[name] = content.read()
    except tarfile.TarError as error:
        raise DataError(
            f"{home} cannot be read as an archive: {one_line(error)}.", "Fetch it again, whole."
        ) from error
    return found


def _all_name_files() -> Iterable[str]:
    return {name for layout in LAYOUTS for name in _name_files(layout)}


def _recognised(home: Path, found: Mapping[str, bytes]) -> Layout:
    for layout in LAYOUTS:
        if {layout.test, *_name_files(layout)} <= set(found):
            return layout
    raise DataError(
        f"{home} is not an archive of CIFAR-10 or CIFAR-100, the only archives that are read.",
        "Unpack it, and name the folder.",
    )


# ---------------------------------------------------------------------- contents
def _label_name(layout: Layout, label: str | None) -> str:
    names = list(layout.names)
    if label is None:
        return names[0]
    for name in names:
        if label in (name, name.removesuffix("_labels")):
            return name
    raise DataError(f"CIFAR has no labels {quoted(label)} here.", nearest(label, names))


def _batch(
    content: bytes, layout: Layout, label: str, path: Path
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels (n, 3072) uint8, channel by channel, and labels (n,) int64."""
    if layout.binary:
        record = len(layout.labels) + PIXELS
        if len(content) % record:
            raise ValueError(f"{len(content):,} bytes are no whole records of {record:,}")
        rows = np.frombuffer(content, np.uint8).reshape(-1, record)
        return rows[:, -PIXELS:], rows[:, layout.labels.index(label)].astype(np.int64)
    batch = load_arrays(content, path)
    if not {"data", label} <= batch.keys():
        raise ValueError(f"it holds {listed(map(quoted, batch))}, not data and {label}")
    pixels, labels = np.asarray(batch["data"]), np.asarray(batch[label])
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != PIXELS:
        raise ValueError(f"data of shape {pixels.shape} and type {pixels.dtype}")
    if labels.shape != (len(pixels),):
        raise ValueError(f"{label} of shape {labels.shape} for {len(pixels):,} images")
    return pixels, labels.astype(np.int64)


def _class_names(
    found: Mapping[str, bytes], layout: Layout, label: str, home: Path
) -> tuple[str, ...]:
    file, key = layout.names[label]
    if file not in found:
        return ()
    with reading(home / file, "class names of CIFAR"):
        if layout.binary:
            return tuple(found[file].decode().split())
        names = load_arrays(found[file], home / file).get(key)
        if not isinstance(names, list):
            raise ValueError(f"it holds no list {key}")
        return tuple(each.decode() if isinstance(each, bytes) else str(each) for each in names)


class _Refused(pickle.UnpicklingError):
    """A pickle asks for what is not admitted."""


class _ArraysOnly(pickle.Unpickler):
    """Reads NumPy arrays and Python's own containers, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise _Refused(f"it asks for {module}.{name}")
        if name == "_reconstruct":
            return RECONSTRUCT
        return {"ndarray": np.ndarray, "dtype": np.dtype}[name]


def load_arrays(content: bytes, path: Path) -> dict[str, Any]:
    """Unpickle a dictionary of arrays, lists, numbers and texts; nothing in it is executed.

    Args:
        content: The pickle, of Python 2 or 3.
        path: What errors call it.

    Raises:
        DataError: It asks for anything else, or is damaged.
    """
    try:
        found = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    except _Refused as error:
        raise DataError(
            f"{path} is refused: {error}. A batch of CIFAR holds arrays, lists and texts; anything "
            "else in a pickle could run a program. Nothing was run.",
            "Fetch the archive from its authors again.",
        ) from error
    except Exception as error:  # bytes that are no pickle raise nearly anything
        raise DataError(
            f"{path} cannot be read as a batch of CIFAR: {one_line(error)}.",
            "Fetch the archive from its authors again.",
        ) from error
    if not isinstance(found, dict):
        raise DataError(
            f"{path} holds a {type(found).__name__}, expected a dictionary.",
            "Fetch the archive from its authors again.",
        )
    return {
        key.decode("latin-1") if isinstance(key, bytes) else str(key): value
        for key, value in found.items()
    }
