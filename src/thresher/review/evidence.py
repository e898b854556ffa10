"""Evidence: what is shown of a sample, from what the run kept, else from the data themselves.

evidence.parquet → picture, cells, history, neighbours
else the file that the audit table names, in the folder of the data → picture
history.safetensors → the most probable classes
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.audit.evidence_file import Evidence, EvidenceReader, picture_type
from thresher.data.splits import folder_splits
from thresher.errors import DataError
from thresher.review.queue import Item, Queue
from thresher.run_folder import RunFolder

__all__ = ["Picture", "Shown"]

LONGEST_SIDE = 512  # pixels of a picture from the data
PICTURES_KEPT = 256
LIKELY = 9  # classes that have a key of their own

#: Content type and bytes.
Picture = tuple[str, bytes]


class Shown:
    """What can be shown of the samples of a run.

    Args:
        folder: A finished run.
        queue: Its samples.
        data: Folder of the images, when they have moved; None = where the run found them.
    """

    def __init__(self, folder: RunFolder, queue: Queue, data: Path | None = None) -> None:
        self._queue = queue
        self._kept = EvidenceReader(folder.evidence)
        self._root = source_folder(folder, data)
        self._means = ClassMeans(folder.history, len(queue.classes))
        self._pictures: OrderedDict[str, Picture] = OrderedDict()
        self._lock = Lock()

    def evidence(self, sample_id: str) -> Evidence:
        """What the run kept; empty for a sample that it kept nothing of."""
        with self._lock:
            return self._kept.get(sample_id) or Evidence()

    def has_picture(self, item: Item, evidence: Evidence) -> bool:
        """Whether there is a picture to ask for, which may yet turn out to be damaged."""
        return evidence.image is not None or (item.path is not None and self._root is not None)

    def picture(self, sample_id: str) -> Picture | None:
        """The picture of a sample; None where there is none.

        Raises:
            DataError: the file is missing or damaged.
        """
        with self._lock:
            if sample_id in self._pictures:
                self._pictures.move_to_end(sample_id)
                return self._pictures[sample_id]
        found = self._picture(sample_id)
        if found is not None:
            with self._lock:
                self._pictures[sample_id] = found
                if len(self._pictures) > PICTURES_KEPT:
                    self._pictures.popitem(last=False)
        return found

    def _picture(self, sample_id: str) -> Picture | None:
        row = self._queue.row_of(sample_id)
        if row is None:
            return None
        path = self._queue.path_of(row)
        if path is not None and self._root is not None and (self._root / path).is_file():
            return scaled_picture(self._root, path)
        kept = self.evidence(sample_id).image
        if kept is not None:
            return picture_type(kept) or "image/png", kept
        if path is not None and self._root is not None:
            raise DataError(
                f"There is no file {path} in {self._root}.",
                "Put it back, or name the folder with --data.",
            )
        return None

    def likely(self, item: Item) -> list[int]:
        """The most probable classes, most probable first; the suggestion and the given one lead."""
        with self._lock:
            ranked = self._means.ranked(item.row)
        first = [each for each in (item.suggested, item.given) if each is not None]
        rest = [each for each in ranked if each not in first]
        return (first + rest)[:LIKELY]


class ClassMeans:
    """The mean probabilities that a run kept, one row at a time; nothing of it is held in memory.

    Args:
        path: A history.safetensors; may be missing.
        classes: Number of classes k.
    """

    def __init__(self, path: Path, classes: int) -> None:
        from safetensors import SafetensorError, safe_open

        self._classes = classes
        self._file: Any = None
        try:
            if path.is_file():
                self._file = safe_open(path, framework="np")
                self._names = set(self._file.keys())
        except (OSError, SafetensorError):
            self._file = None

    def ranked(self, row: int) -> list[int]:
        """Classes by probability, most probable first; then the others, by number."""
        found: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        if self._file is not None and "probability_sum" in self._names:
            sums = self._file.get_slice("probability_sum")[row : row + 1][0]
            found = np.argsort(-sums, kind="stable")[:LIKELY]
        elif self._file is not None and "top_sums" in self._names:
            sums = self._file.get_slice("top_sums")[row : row + 1][0]
            top = self._file.get_slice("top_classes")[row : row + 1][0]
            order = np.argsort(-sums, kind="stable")
            found = top[order][top[order] >= 0]
        ranked: list[int] = found.tolist()
        known = set(ranked)
        others = (each for each in range(self._classes) if each not in known)
        for each in others:
            if len(ranked) >= LIKELY:
                break
            ranked.append(each)
        return ranked


def source_folder(folder: RunFolder, data: Path | None = None) -> Path | None:
    """Where the images of a run are; None if that is no folder, or not there any more.

    Args:
        folder: A run.
        data: Folder of its data, when they have moved; None = where the run found them.
    """
    named = folder.read_settings()["fit"].get("data") if data is None else data
    if named is None:
        return None
    path = Path(folder.path / named) if data is None else data
    with suppress(DataError):  # what cannot be listed is said of each picture
        path = folder_splits(path).get("train", path)  # as the training did
    return path if path.is_dir() else None


def scaled_picture(root: Path, path: str) -> Picture:
    """A file as a picture of 512 pixels at most, upright.

    Raises:
        DataError: the file lies outside the folder, or is no picture.
    """
    from PIL import Image, ImageOps

    place = (root / path).resolve()
    if not place.is_relative_to(root.resolve()):
        raise DataError(f"{path} lies outside {root}.", "Name the folder of the data with --data.")
    try:
        with Image.open(place) as opened:
            opened.draft("RGB", (2 * LONGEST_SIDE, 2 * LONGEST_SIDE))
            picture = ImageOps.exif_transpose(opened)
            if picture.mode not in ("L", "RGB"):
                picture = picture.convert("RGB")
            picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            buffer = BytesIO()
            small = max(picture.size) <= 64
            if small:
                picture.save(buffer, "PNG")
            else:
                picture.save(buffer, "JPEG", quality=88)
    except Exception as error:  # Pillow's decoders raise anything
        raise DataError(
            f"{path} cannot be shown: {error}.", "Decide by what else is known, or exclude it."
        ) from error
    return "image/png" if small else "image/jpeg", buffer.getvalue()
