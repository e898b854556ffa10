"""Evidence: what a person is shown of a sample to judge its label by."""

from __future__ import annotations

from io import BytesIO

from thresher.data import Samples

__all__ = ["cells", "thumbnail"]

LONGEST_SIDE = 128


def thumbnail(samples: Samples, row: int) -> bytes:
    """An image as a PNG of 128 pixels at most on the longer side.

    Args:
        samples: Images.
        row: In 0..N-1.
    """
    from PIL import Image

    pixels = samples.inputs[row]
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def cells(samples: Samples, row: int) -> dict[str, str]:
    """Texts as read, then the features that tell a person something, by name.

    Args:
        samples: Features.
        row: In 0..N-1.
    """
    texts = {} if samples.texts is None else samples.texts.slice(row, 1).to_pylist()[0]
    numbers = samples.inputs[row]
    return {
        **{name: text or "" for name, text in texts.items()},
        **{name: f"{numbers[place]:.4g}" for name, place in samples.encoding.readable.items()},
    }
