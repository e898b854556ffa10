"""Items: the rows of a map-style data set, read once, in their order, become one array.

data[row] = (x, y) or {"image": x, "label": y}   Pillow images, arrays or tensors
_form                                            decides by the first row what all become
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from thresher.data.files import one_line
from thresher.data.images import LONGEST_SIDE, Progress
from thresher.data.keys import bytes_key
from thresher.data.pixels import is_grey, upright_pixels, upright_size
from thresher.data.roles import LABEL_NAMES
from thresher.data.scratch import IN_MEMORY_BYTES, RowsInMemory, keep_images, kept_images
from thresher.data.wording import counted, listed, quoted
from thresher.errors import DataError

__all__ = ["Items", "read_items"]

INPUT_NAMES = ("image", "img", "pixel_values", "x", "input", "inputs", "features", "data")
BLOCK = 256  # rows between two reports of progress

Found = TypeVar("Found")


@dataclass(frozen=True)
class Items:
    """A data set as read.

    Args:
        inputs: (N, H, W, C) uint8 images, or (N, d) numbers.
        labels: One per row as the data set gives them; None = it gives none.
        codes: Class names of the integer labels, if the data set names them.
        notes: What must be said aloud.
    """

    inputs: NDArray[Any]
    labels: list[Any] | None
    codes: tuple[str, ...]
    notes: tuple[str, ...]


def read_items(
    data: Any,
    *,
    image: str | None = None,
    label: str | None = None,
    labelled: bool = True,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    longest_side: int = LONGEST_SIDE,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> Items:
    """Read every row of a map-style data set once, in order.

    Pillow images and uint8 arrays are images, and so are floats of three dimensions in [0, 1],
    which become uint8; channels may come first, as PyTorch has them. Other numbers are features.

    Args:
        data: N ≥ 1 rows (x, y), or dictionaries.
        image: The key of the inputs in a dictionary; None = a usual one.
        label: The key of the labels; None = a usual one.
        labelled: False: rows may be x alone, and labels are dropped.
        size: Height and width of images to predict; None = those of the first.
        channels: 1 or 3; None = as the first has them.
        longest_side: Most pixels of the longer side of Pillow images, >= 1.
        scratch: A folder for a copy of more than 256 MiB of pixels.
        progress: Told (rows done, rows in all) now and then.

    Raises:
        DataError: A row cannot be read, or is of another shape than the first.
    """
    count = _asked(data, "The length", lambda: len(data))
    if count == 0:
        raise DataError(f"The {type(data).__name__} is empty.", "Give at least two samples.")
    roles = partial(_parts, image=image, label=label, labelled=labelled)
    first, _ = roles(_row(data, 0), 0)
    form = _form(first, size, channels, longest_side)
    codes = _asked(data, "The attribute classes", lambda: _codes(data))
    labels: list[Any] = []
    notes: list[str] = []

    def fill(sink: Callable[[NDArray[Any]], None]) -> None:
        block = np.empty((min(BLOCK, count), *form.shape), form.dtype)
        resized = 0
        for row in range(count):
            x, y = roles(_row(data, row), row)
            try:
                block[row % BLOCK] = form.convert(x)
            except Exception as error:  # Pillow reads late, and raises nearly anything
                raise DataError(
                    f"Row {row} of the {type(data).__name__} (counting from 0) cannot be used: "
                    f"{one_line(error)}.",
                    "Give every row the shape and type of the first, by a transform for instance.",
                ) from error
            resized += form.resizes(x)
            labels.append(y)
            if (row + 1) % BLOCK == 0 or row + 1 == count:
                sink(block[: row % BLOCK + 1])
                if progress is not None:
                    progress(row + 1, count)
        if resized:
            height, width = form.shape[:2]
            notes.append(
                f"{counted(resized, 'image')} of {count:,} resized to {width} x {height} pixels "
                "(width x height)."
            )

    inputs = _inputs(fill, form, first, count, scratch)
    notes.append(
        "The rows are read once, in their order: random transforms of the data set stay as they "
        "fell; augmentation during training is thresher's own."
    )
    if form.note:
        notes.append(form.note)
    given = None if all(each is None for each in labels) else labels
    return Items(inputs, given, codes, tuple(notes))


def _inputs(
    fill: Callable[[Callable[[NDArray[Any]], None]], None],
    form: _Form,
    first: Any,
    count: int,
    scratch: Path | None,
) -> NDArray[Any]:
    """Collect the blocks in memory, or in a copy on the disk that is mapped."""
    if form.dtype != np.uint8:
        blocks: list[NDArray[Any]] = []
        fill(lambda block: blocks.append(block.copy()))
        return np.concatenate(blocks)
    if scratch is None or count * np.prod(form.shape) <= IN_MEMORY_BYTES:
        rows = RowsInMemory(count, form.shape)
        fill(rows.append)
        return rows.array()
    # by its first row: a run's training and test data differ there, and a resumed run's do not
    key = bytes_key(np.ascontiguousarray(form.convert(first)).tobytes() + b"%d" % count)
    copy = scratch / f"rows-{key:016x}"
    with keep_images(copy, count, form.shape) as made:
        fill(made.append)
        made.describe(np.zeros(0, np.uint64), {})
    found = kept_images(copy)
    assert found is not None
    return found.pixels


def _asked(data: Any, what: str, ask: Callable[[], Found]) -> Found:
    """What a data set answers when it is asked for something of its own."""
    try:
        return ask()
    except Exception as error:  # a user's code may raise anything
        raise DataError(
            f"{what} of the {type(data).__name__} cannot be read: "
            f"{type(error).__name__}: {one_line(error)}.",
            "Correct the data set: every row from 0 to len(data) - 1 must be there.",
        ) from error


def _row(data: Any, row: int) -> Any:
    return _asked(data, f"Row {row} (counting from 0)", lambda: data[row])


def _parts(
    item: Any, row: int, image: str | None, label: str | None, labelled: bool
) -> tuple[Any, Any]:
    """Inputs and label of a row; the label is None where there is none."""
    if isinstance(item, Mapping):
        inputs = _key(item, image, INPUT_NAMES, "inputs")
        given = label if label in item or labelled else None
        known = given is not None or any(str(key).lower() in LABEL_NAMES for key in item)
        if not labelled:
            return item[inputs], None
        if not known:
            return item[inputs], None
        return item[inputs], _plain(item[_key(item, given, LABEL_NAMES, "labels")])
    if isinstance(item, tuple | list):
        if len(item) == 2:
            return item[0], _plain(item[1]) if labelled else None
        if len(item) == 1:
            return item[0], None
        raise DataError(
            f"Row {row} is a {type(item).__name__} of {len(item)}, expected a pair (x, y).",
            "Let the data set return (x, y) or a dictionary.",
        )
    return item, None


def _key(item: Mapping[Any, Any], named: str | None, usual: Sequence[str], what: str) -> Any:
    if named is not None and named in item:
        return named
    found = [key for key in item if str(key).lower() in usual] if named is None else []
    if len(found) != 1:
        raise DataError(
            f"Which key holds the {what}? The rows have {listed(map(quoted, item))}.",
            f"Name it, or call it {usual[0]}.",
        )
    return found[0]


def _plain(label: Any) -> Any:
    """A number out of an array or tensor of one element."""
    if hasattr(label, "item") and getattr(label, "ndim", 0) == 0:
        return label.item()
    return label


def _codes(data: Any) -> tuple[str, ...]:
    """Class names as torchvision's data sets keep them."""
    names = getattr(data, "classes", None)
    if isinstance(names, list | tuple) and all(isinstance(each, str) for each in names):
        return tuple(names) if len(set(names)) == len(names) else ()
    return ()


# ---------------------------------------------------------------------- forms of inputs
@dataclass(frozen=True)
class _Form:
    """How the inputs of a row become a row of the array.

    Args:
        shape: Of the row.
        dtype: Of its numbers.
        convert: Input → row.
        resizes: Whether an input is brought to another size.
        note: What must be said aloud.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    convert: Callable[[Any], NDArray[Any]]
    resizes: Callable[[Any], bool] = lambda _: False
    note: str = ""


def _form(
    first: Any, size: tuple[int, int] | None, channels: int | None, longest_side: int
) -> _Form:
    """Decide by the first row."""
    if _is_pillow(first):
        return _pillow_form(first, size, channels, longest_side)
    try:
        array = _array(first)
    except (TypeError, ValueError, RuntimeError):  # ragged lists, numbers that NumPy lacks
        array = np.empty(0, object)
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"The inputs are of type {type(first).__name__}, expected images or numbers.",
            "Let the data set return Pillow images, or arrays or tensors of numbers.",
        )
    tensor = hasattr(first, "detach")
    if array.dtype == np.uint8 and array.ndim in (2, 3):
        shape = _channels_last(array, tensor).shape
        return _Form(shape, array.dtype, lambda x: _channels_last(_same(x, array), tensor))
    if array.dtype.kind == "f" and array.ndim == 3:
        shape = _channels_last(array, tensor).shape
        return _Form(
            shape,
            np.dtype(np.uint8),
            lambda x: _bytes_of(_channels_last(_same(x, array), tensor)),
            note="Images of floats in [0, 1] are kept as whole numbers from 0 to 255.",
        )
    return _Form((array.size,), np.dtype(np.float32), lambda x: _same(x, array).reshape(-1))


def _pillow_form(
    first: Any, size: tuple[int, int] | None, channels: int | None, longest_side: int
) -> _Form:
    if size is None:
        height, width = upright_size(first)
        scale = min(1.0, longest_side / max(width, height))
        size = max(1, round(height * scale)), max(1, round(width * scale))
    if channels is None:
        channels = 1 if is_grey(first) else 3
    shape = (*size, channels)
    return _Form(
        shape,
        np.dtype(np.uint8),
        lambda x: upright_pixels(_pillow(x), shape),
        lambda x: upright_size(x) != size,
    )


def _pillow(x: Any) -> Any:
    if not _is_pillow(x):
        raise ValueError(f"a {type(x).__name__}, the first is a Pillow image")
    return x


def _is_pillow(x: Any) -> bool:
    return hasattr(x, "convert") and hasattr(x, "getexif")


def _array(x: Any) -> NDArray[Any]:
    """Numbers as an array, wherever a tensor of them lies."""
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)


def _same(x: Any, first: NDArray[Any]) -> NDArray[Any]:
    array = _array(x)
    if array.shape != first.shape or array.dtype.kind != first.dtype.kind:
        raise ValueError(
            f"shape {array.shape} of {array.dtype}, the first has {first.shape} of {first.dtype}"
        )
    return array


def _channels_last(array: NDArray[Any], tensor: bool) -> NDArray[Any]:
    """(H, W), (H, W, C) or PyTorch's (C, H, W) → (H, W, C)."""
    if array.ndim == 2:
        return array[..., None]
    first, last = array.shape[0] in (1, 3), array.shape[2] in (1, 3)
    if first and (tensor or not last):
        return array.transpose(1, 2, 0)
    if last:
        return array
    raise DataError(
        f"The images have shape {array.shape}: neither the first nor the last part is a number of "
        "channels, 1 (grey) or 3 (RGB).",
        "Convert the images to grey or RGB in the data set.",
    )


def _bytes_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = float(array.min()), float(array.max())
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise ValueError(
            f"pixels from {low:.3g} to {high:.3g}, expected [0, 1]; leave out the transform that "
            "normalises them, as thresher scales its inputs itself"
        )
    pixels: NDArray[np.uint8] = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    return pixels
