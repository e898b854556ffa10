"""Small pictures on the disk, for the tests of sources."""

import numpy as np
from PIL import Image


def picture(seed, height=6, width=4):
    """(H, W, 3) uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(path, pixels, **settings):
    """Save pixels, or a Pillow image, with the folders above."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **settings)


def class_folders(root, names=("cat", "dog"), each=3):
    """root/<class>/<number>.png; returns the relative paths in their order."""
    paths = [f"{name}/{number}.png" for name in names for number in range(each)]
    for seed, path in enumerate(paths):
        write(root / path, picture(seed))
    return paths
