"""Images: a column of encoded images becomes one (N, H, W, C) uint8 array.

Two passes over the bytes: the first reads only headers and agrees on size and channels, the second
decodes straight into the array, so that no image is held twice.
"""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from thresher.data.keys import Words, bytes_key
from thresher.data.wording import counted
from thresher.errors import DataError

__all__ = ["Decoded", "decode_images"]

CHUNK = 256  # images a thread takes at a time
# Below this size Python's share of the work dominates and threads only get in each other's way
# (32 x 32 JPEG on 2 cores: 67 µs an image in one thread, 97 µs in six; even at 128 x 128).
THREADED_PIXELS = 128 * 128
CORRUPT_SHARE = 0.1  # more than this share of broken images is fatal
ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
GREY_MODES = frozenset(["1", "L", "I", "I;16", "I;16B", "I;16L"])
ALPHA_MODES = frozenset(["RGBA", "RGBa", "LA", "La", "PA"])

Found = TypeVar("Found")


@dataclass(frozen=True)
class Decoded:
    """Images as read.

    Args:
        images: (M, H, W, C) uint8, C = 1 (grey) or 3 (RGB).
        rows: (M,) int64 rows of the column that these are, ascending.
        errors: What is wrong with each other row.
        keys: (N,) uint64 content keys of the encoded bytes, broken ones included.
        notes: What must be said aloud.
    """

    images: NDArray[np.uint8]
    rows: NDArray[np.int64]
    errors: dict[int, str]
    keys: Words
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Header:
    key: int
    size: tuple[int, int] = (0, 0)  # height, width after EXIF orientation
    grey: bool = False
    error: str | None = None


def decode_images(
    column: pa.ChunkedArray, size: tuple[int, int] | None = None, channels: int | None = None
) -> Decoded:
    """Decode encoded images with Pillow.

    EXIF orientation is applied. Images that are all grey (1, 8 or 16 bits, the latter scaled to 8)
    have one channel, else all are RGB; transparency is laid over white. Images of another size than
    the most common one are resized to it, bilinear with antialiasing.

    Args:
        column: (N,) large_binary, N ≥ 1.
        size: Height and width to use; None = the most common.
        channels: 1 or 3; None = 1 if all are grey.

    Raises:
        DataError: More than a tenth of the images cannot be decoded.
    """
    chunks = list(_chunks(column))
    with _pillow_warnings():
        headers = [each for chunk in chunks for each in _read_headers(chunk)]
        errors = {row: each.error for row, each in enumerate(headers) if each.error}
        _refuse_rubbish(errors, len(headers))
        good = [each for each in headers if not each.error]
        if size is None:
            size = _most_common([each.size for each in good])
        if channels is None:
            channels = 1 if all(each.grey for each in good) else 3
        images = _allocate(len(headers), size, channels)

        decode = partial(_decode_chunk, images=images, known=frozenset(errors))
        if size[0] * size[1] < THREADED_PIXELS:
            late = [decode(chunk) for chunk in chunks]
        else:
            with ThreadPoolExecutor() as pool:
                late = list(pool.map(decode, chunks))
    for found in late:
        errors.update(found)
    _refuse_rubbish(errors, len(headers))
    rows = np.array([row for row in range(len(headers)) if row not in errors], np.int64)
    return Decoded(
        _compact(images, rows),
        rows,
        errors,
        np.array([each.key for each in headers], np.uint64),
        _notes([headers[row] for row in rows], size, channels),
    )


def _chunks(column: pa.ChunkedArray) -> Iterator[tuple[int, Any]]:
    """Yield (first row, up to 256 cells)."""
    row = 0
    for chunk in column.chunks:
        for start in range(0, len(chunk), CHUNK):
            part = chunk.slice(start, CHUNK)
            yield row, part
            row += len(part)


@contextmanager
def _pillow_warnings() -> Iterator[None]:
    """Make Pillow's guard against decompression bombs an error, and hush its remarks.

    Set once, around the threads, as warning filters belong to the process.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _read_headers(chunk: tuple[int, Any]) -> list[_Header]:
    headers = []
    for cell in chunk[1]:
        data = cell.as_buffer()
        if data is None:
            headers.append(_Header(key=0, error="no image"))
            continue
        key = bytes_key(data)
        found = _attempt(partial(_measure, data))
        headers.append(
            _Header(key, error=found) if isinstance(found, str) else _Header(key, *found)
        )
    return headers


def _measure(data: Any) -> tuple[tuple[int, int], bool]:
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        turned = _orientation(image) >= 5  # 5 to 8 swap the axes
        return (width, height) if turned else (height, width), image.mode in GREY_MODES


def _attempt(read: Callable[[], Found]) -> Found | str:
    """Return what ``read`` returns, or one line on why it could not.

    Pillow's readers meet arbitrary bytes and raise nearly anything (OSError, SyntaxError,
    struct.error, DecompressionBombError, …); every one means that this image is broken.
    """
    try:
        return read()
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            text = "not an image, or of an unknown format"
        return text[:200]


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1  # Pillow turns these itself
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # asking a PNG for it would decode the whole image
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a broken EXIF block does not make the pixels unreadable
        return 1


def _decode_chunk(
    chunk: tuple[int, Any], images: NDArray[np.uint8], known: frozenset[int]
) -> dict[int, str]:
    """Decode the images of a chunk into their rows; return the errors by row."""
    errors: dict[int, str] = {}
    for row, cell in enumerate(chunk[1], start=chunk[0]):
        if row not in known:
            found = _attempt(partial(_pixels, cell.as_buffer(), images.shape[1:]))
            if isinstance(found, str):
                errors[row] = found
            else:
                images[row] = found
    return errors


def _pixels(data: Any, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Decode one image to (H, W, C) uint8."""
    height, width, channels = shape
    with Image.open(io.BytesIO(data)) as opened:
        upright = UPRIGHT.get(_orientation(opened))
        image: Image.Image = opened
        if opened.mode.startswith("I"):
            image = _eight_bits(opened)
        elif opened.mode == "F":
            raise ValueError("pixels are 32-bit floats, which have no fixed range")
        elif opened.mode in ALPHA_MODES or "transparency" in opened.info:
            image = _over_white(opened)
        image = image.convert("L" if channels == 1 else "RGB")
        if upright is not None:
            image = image.transpose(upright)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(shape)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16 bits of grey to 8; Pillow's own conversion clips them."""
    return Image.fromarray(np.clip(np.asarray(image) >> 8, 0, 255).astype(np.uint8))


def _over_white(image: Image.Image) -> Image.Image:
    """Lay transparency over white: what lies under it is often arbitrary."""
    above = image.convert("RGBA")
    below = Image.new("RGBA", above.size, "white")
    below.alpha_composite(above)
    return below


def _refuse_rubbish(errors: dict[int, str], count: int) -> None:
    if len(errors) > CORRUPT_SHARE * count:
        row = min(errors)
        raise DataError(
            f"{counted(len(errors), 'image')} of {count:,} cannot be decoded, more than a tenth; "
            f"the first in row {row} (counting from 0): {errors[row]}.",
            "Check that the column holds whole encoded images (PNG, JPEG, …), not paths or pixels.",
        )


def _most_common(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """Find the most frequent size; of equally frequent ones, the smallest."""
    counts = Counter(sizes)
    return min(counts, key=lambda size: (-counts[size], size[0] * size[1], size))


def _allocate(count: int, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    shape = (count, *size, channels)
    try:
        return np.empty(shape, np.uint8)
    except MemoryError as error:
        gigabytes = count * size[0] * size[1] * channels / 1e9
        raise DataError(
            f"{counted(count, 'image')} of {size[1]} x {size[0]} pixels need {gigabytes:,.0f} GB "
            "of memory.",
            "Make the images smaller first.",
        ) from error


def _compact(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Move the given rows to the front, in place and in blocks, and return them."""
    if len(rows) < len(images):
        for start in range(0, len(rows), CHUNK):
            block = rows[start : start + CHUNK]
            images[start : start + len(block)] = images[block]
    return images[: len(rows)]


def _notes(headers: list[_Header], size: tuple[int, int], channels: int) -> tuple[str, ...]:
    notes = []
    resized = sum(each.size != size for each in headers)
    if resized:
        notes.append(
            f"{counted(resized, 'image')} of {len(headers):,} resized to {size[1]} x {size[0]} "
            "pixels (width x height), the most common size of the training data."
        )
    changed = sum(each.grey != (channels == 1) for each in headers)
    if changed:
        notes.append(
            f"{counted(changed, 'image')} of {len(headers):,} turned from "
            + ("colour to grey." if channels == 1 else "grey to RGB.")
        )
    return tuple(notes)
