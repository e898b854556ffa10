"""Pixels: one opened image, of whatever mode and orientation, becomes (H, W, C) uint8."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["is_grey", "open_image", "upright_pixels", "upright_size"]

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
GREY_MODES = frozenset(["1", "L", "I", "I;16", "I;16B", "I;16L", "F"])
ALPHA_MODES = frozenset(["RGBA", "RGBa", "LA", "La", "PA"])


def open_image(file: BinaryIO) -> Image.Image:
    """Open an encoded image of any format but PostScript, for which Pillow starts a program.

    Raises:
        UnidentifiedImageError: It is none.
    """
    Image.init()  # at the first call
    return Image.open(file, formats=[name for name in Image.ID if name != "EPS"])


def is_grey(image: Image.Image) -> bool:
    """Whether an image has one channel."""
    return image.mode in GREY_MODES


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width of an image once its EXIF orientation is applied."""
    width, height = image.size
    return (width, height) if _orientation(image) >= 5 else (height, width)  # 5 to 8 swap the axes


def upright_pixels(image: Image.Image, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Bring an opened image to (H, W, C) uint8, upright, without transparency.

    Raises:
        OSError: The image is broken; Pillow raises other errors too.
        ValueError: Its pixels are floats.
    """
    height, width, channels = shape
    orientation = _orientation(image)
    upright = UPRIGHT.get(orientation)
    # a JPEG can be decoded at an eighth of its size, eight times as fast; as Pillow's thumbnails
    # do, keep twice the size that is wanted (4000 x 3000 to 224 x 168: 11 ms, not 91; no pixel
    # differs by more than 3)
    image.draft(None, (2 * height, 2 * width) if orientation >= 5 else (2 * width, 2 * height))
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    elif image.mode == "F":
        raise ValueError("pixels are 32-bit floats, which have no fixed range")
    elif image.mode in ALPHA_MODES or "transparency" in image.info:
        image = _over_white(image)
    image = image.convert("L" if channels == 1 else "RGB")
    if upright is not None:
        image = image.transpose(upright)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(shape)


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1  # Pillow turns these itself
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # asking a PNG for it would decode the whole image
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a broken EXIF block does not make the pixels unreadable
        return 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16 bits of grey to 8; Pillow's own conversion clips them."""
    return Image.fromarray(np.clip(np.asarray(image) >> 8, 0, 255).astype(np.uint8))


def _over_white(image: Image.Image) -> Image.Image:
    """Lay transparency over white: what lies under it is often arbitrary."""
    above = image.convert("RGBA")
    below = Image.new("RGBA", above.size, "white")
    below.alpha_composite(above)
    return below
