"""Images: encoded images become one (N, H, W, C) uint8 array.

Two passes: the first reads only headers and agrees on size and channels, the second decodes, block
by block, into memory or, where that would take more than 256 MiB and there is a folder for it, into
a file that is mapped.
"""

from __future__ import annotations

import io
import os
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from thresher.data.encoded import EncodedImages
from thresher.data.keys import Words, bytes_key
from thresher.data.pixels import is_grey, open_image, upright_pixels, upright_size
from thresher.data.scratch import (
    IN_MEMORY_BYTES,
    RowSink,
    RowsInMemory,
    keep_images,
    kept_images,
)
from thresher.data.wording import counted
from thresher.errors import DataError

__all__ = ["LONGEST_SIDE", "Decoded", "Progress", "decode_images"]

# 10,000 photos of 4000 x 3000 take 360 GB as they are, 1.1 GB with a longer side of 224, the side
# that networks for photos are trained with.
LONGEST_SIDE = 224
BLOCK_PIXELS = 1 << 22  # pixels of the files that are decoded between two reports of progress
MOST_IMAGES = 4096  # images a block
# Below this size Python's share of the work dominates and threads only get in each other's way
# (32 x 32 JPEG on 2 cores: 67 µs an image in one thread, 97 µs in six; even at 128 x 128; 60 and
# 65 µs from files, where reading takes a tenth).
THREADED_PIXELS = 128 * 128
CORRUPT_SHARE = 0.1  # more than this share of broken images is fatal

Progress = Callable[[int, int], None]
Found = TypeVar("Found")
Given = TypeVar("Given")


@dataclass(frozen=True)
class Decoded:
    """Images as read.

    Args:
        images: (M, H, W, C) uint8, C = 1 (grey) or 3 (RGB); in memory, or mapped read-only.
        rows: (M,) int64 rows of the source that these are, ascending.
        errors: What is wrong with each other row.
        keys: (N,) uint64 content keys of the encoded bytes, broken ones included; 0 = no bytes.
        notes: What must be said aloud.
    """

    images: NDArray[np.uint8]
    rows: NDArray[np.int64]
    errors: Mapping[int, str]
    keys: Words
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Headers:
    """What headers say: sizes (N, 2) int32 as height and width after EXIF, grey (N,) bool."""

    sizes: NDArray[np.int32]
    grey: NDArray[np.bool_]
    errors: dict[int, str]

    @property
    def good(self) -> NDArray[np.bool_]:
        """(N,) bool: rows whose header can be read."""
        good = np.ones(len(self.grey), np.bool_)
        good[list(self.errors)] = False
        return good


@dataclass(frozen=True)
class _Block:
    """Some decoded images: pixels (k, H, W, C) uint8 of the good ones, keys (n,) of all."""

    pixels: NDArray[np.uint8]
    keys: Words
    errors: dict[int, str] = field(default_factory=dict)


def decode_images(
    encoded: EncodedImages,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    *,
    longest_side: int = LONGEST_SIDE,
    scratch: Path | None = None,
    in_memory: int | None = None,
    progress: Progress | None = None,
) -> Decoded:
    """Decode encoded images with Pillow, once.

    EXIF orientation is applied; of moving pictures the first frame is taken. Images that are all
    grey (1, 8 or 16 bits, the latter scaled to 8) have one channel, else all are RGB; transparency
    is laid over white. All get one size, bilinear with antialiasing: the one that half of them or
    more have, else the median height and width; scaled down where its longer side is too long.

    Args:
        encoded: N ≥ 1 images.
        size: Height and width to use; None = choose them.
        channels: 1 or 3; None = 1 if all are grey.
        longest_side: Most pixels of the longer side of a size that is chosen, >= 1.
        scratch: A folder for a copy of more than 256 MiB of pixels; a copy of the same images that
            an earlier run left there is mapped instead of decoding again. None = in memory.
        in_memory: Bytes of pixels up to which there is no copy, >= 0; None = 256 MiB.
        progress: Told (images done, images in all) after every block.

    Raises:
        DataError: More than a tenth of the images cannot be decoded, or memory is short.
        RunError: The copy cannot be written.
    """
    copy = None
    if scratch is not None:
        wanted = f"{size}-{channels}-{longest_side}"
        copy = scratch / f"images-{bytes_key(f'{encoded.state()} {wanted}'.encode()):016x}"
        if found := kept_images(copy):
            return _kept(found.pixels, found.keys, found.facts)
    with _pillow_warnings():
        headers = _read_headers(encoded)
        _refuse_rubbish(headers.errors, encoded)
        sizes = headers.sizes[headers.good]
        size, why = (size, WHY_GIVEN) if size else _common_size(sizes, longest_side)
        if channels is None:
            channels = 1 if headers.grey[headers.good].all() else 3
        shape = (*size, channels)
        notes = _notes(sizes, headers.grey[headers.good], shape, why)
        blocks = _decoded_blocks(encoded, headers, shape)
        count = int(headers.good.sum())
        most = IN_MEMORY_BYTES if in_memory is None else in_memory
        if copy is None or count * np.prod(shape) <= most:
            rows = RowsInMemory(count, shape)
            keys, errors = _fill(rows, blocks, encoded, headers, progress)
            return _decoded(rows.array(), keys, errors, notes)
        with keep_images(copy, count, shape) as made:
            keys, errors = _fill(made, blocks, encoded, headers, progress)
            facts = {"errors": {str(row): errors[row] for row in errors}, "notes": notes}
            made.describe(keys, facts)
    found = kept_images(copy)
    assert found is not None
    return _kept(found.pixels, found.keys, found.facts)


def _kept(pixels: NDArray[np.uint8], keys: Words, facts: Mapping[str, Any]) -> Decoded:
    errors = {int(row): str(text) for row, text in facts["errors"].items()}
    return _decoded(pixels, keys, errors, tuple(facts["notes"]))


def _decoded(
    pixels: NDArray[np.uint8], keys: Words, errors: Mapping[int, str], notes: tuple[str, ...]
) -> Decoded:
    good = np.ones(len(keys), np.bool_)
    good[list(errors)] = False
    return Decoded(pixels, np.flatnonzero(good), errors, keys, notes)


# ---------------------------------------------------------------------- headers
def _read_headers(encoded: EncodedImages) -> _Headers:
    headers = _Headers(np.zeros((len(encoded), 2), np.int32), np.zeros(len(encoded), np.bool_), {})
    for row in range(len(encoded)):
        found = _attempt(partial(_measure, encoded, row))
        if isinstance(found, str):
            headers.errors[row] = found
        else:
            headers.sizes[row], headers.grey[row] = found
    return headers


def _measure(encoded: EncodedImages, row: int) -> tuple[tuple[int, int], bool]:
    with encoded.open(row) as file, open_image(file) as image:
        return upright_size(image), is_grey(image)


WHY_GIVEN = "the size of the training data"


def _common_size(sizes: NDArray[np.int32], longest_side: int) -> tuple[tuple[int, int], str]:
    """Choose height and width for images of these sizes, and say why."""
    counts = Counter(map(tuple, sizes.tolist()))
    # of equally frequent ones, the smallest
    height, width = min(counts, key=lambda size: (-counts[size], size[0] * size[1], size))
    why = "the most common size of the training data"
    if 2 * counts[height, width] < len(sizes):
        height, width = np.median(sizes, axis=0).astype(int).tolist()
        why = "the median height and width of the training data"
    longer = max(height, width)
    if longer <= longest_side:
        return (height, width), why
    why += (
        f" ({width:,} x {height:,}) scaled down to {longest_side} pixels on the longer side; "
        "--longest-side sets another limit"
    )
    scale = longest_side / longer
    return (max(1, round(height * scale)), max(1, round(width * scale))), why


def _notes(
    sizes: NDArray[np.int32], grey: NDArray[np.bool_], shape: tuple[int, ...], why: str
) -> tuple[str, ...]:
    height, width, channels = shape
    notes = []
    resized = int((sizes != (height, width)).any(axis=1).sum())
    if resized:
        notes.append(
            f"{counted(resized, 'image')} of {len(sizes):,} resized to {width} x {height} "
            f"pixels (width x height), {why}."
        )
    changed = int((grey != (channels == 1)).sum())
    if changed:
        notes.append(
            f"{counted(changed, 'image')} of {len(sizes):,} turned from "
            + ("colour to grey." if channels == 1 else "grey to RGB.")
        )
    return tuple(notes)


# ---------------------------------------------------------------------- pixels
def _decoded_blocks(
    encoded: EncodedImages, headers: _Headers, shape: tuple[int, ...]
) -> Iterator[_Block]:
    """Decode everything in order; large images in threads, a few blocks ahead."""
    pixels = int(headers.sizes.astype(np.int64).prod(axis=1).mean())
    size = int(np.clip(BLOCK_PIXELS // max(1, pixels), 1, MOST_IMAGES))
    starts = range(0, len(encoded), size)
    blocks = [range(start, min(start + size, len(encoded))) for start in starts]
    decode = partial(_decode_block, encoded, headers.errors, shape)
    if pixels < THREADED_PIXELS:
        return map(decode, blocks)
    return _in_threads(decode, blocks)


def _in_threads(work: Callable[[Given], Found], items: list[Given]) -> Iterator[Found]:
    """Map in threads and in order, so few items ahead that results never pile up."""
    waiting: deque[Future[Found]] = deque()
    workers = min(32, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _decode_block(
    encoded: EncodedImages, broken: Mapping[int, str], shape: tuple[int, ...], rows: range
) -> _Block:
    pixels = np.empty((len(rows), *shape), np.uint8)
    keys = np.zeros(len(rows), np.uint64)
    errors: dict[int, str] = {}
    filled = 0
    for place, row in enumerate(rows):
        data = _attempt(partial(encoded.read, row))
        if isinstance(data, str):
            errors[row] = data
            continue
        keys[place] = bytes_key(data)
        if row in broken:
            continue
        found = _attempt(partial(_pixels, io.BytesIO(data), shape))
        if isinstance(found, str):
            errors[row] = found
        else:
            pixels[filled] = found
            filled += 1
    return _Block(pixels[:filled], keys, errors)


def _fill(
    rows: RowSink,
    blocks: Iterator[_Block],
    encoded: EncodedImages,
    headers: _Headers,
    progress: Progress | None,
) -> tuple[Words, dict[int, str]]:
    """Append all blocks; return the keys of all rows and the errors by row."""
    keys = np.empty(len(headers.grey), np.uint64)
    late: dict[int, str] = {}
    done = 0
    for block in blocks:
        rows.append(block.pixels)
        keys[done : done + len(block.keys)] = block.keys
        done += len(block.keys)
        late |= block.errors
        if progress is not None:
            progress(done, len(keys))
    errors = late | headers.errors
    _refuse_rubbish(errors, encoded)
    return keys, dict(sorted(errors.items()))


def _pixels(file: BinaryIO, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Decode one image to (H, W, C) uint8."""
    with open_image(file) as image:
        return upright_pixels(image, shape)


# ---------------------------------------------------------------------- broken images
@contextmanager
def _pillow_warnings() -> Iterator[None]:
    """Make Pillow's guard against decompression bombs an error, and hush its remarks.

    Set once, around the threads, as warning filters belong to the process.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _attempt(read: Callable[[], Found]) -> Found | str:
    """Return what ``read`` returns, or one line on why it could not.

    Pillow's readers meet arbitrary bytes and raise nearly anything (OSError, SyntaxError,
    struct.error, DecompressionBombError, …); every one means that this image is broken.
    """
    try:
        return read()
    except UnidentifiedImageError:
        return "not an image, or of an unknown format"
    except OSError as error:
        return (error.strerror or " ".join(str(error).split()))[:200]  # without the path
    except Exception as error:
        return (" ".join(str(error).split()) or type(error).__name__)[:200]


def _refuse_rubbish(errors: Mapping[int, str], encoded: EncodedImages) -> None:
    if len(errors) > CORRUPT_SHARE * len(encoded):
        row = min(errors)
        raise DataError(
            f"{counted(len(errors), 'image')} of {len(encoded):,} cannot be decoded, more than a "
            f"tenth; the first {encoded.where(row)}: {errors[row]}.",
            "Check that they are there, and are whole encoded images (PNG, JPEG, …), not paths or "
            "pixels.",
        )
