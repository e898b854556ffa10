"""Encoder: a pretrained model that turns texts into vectors, found by name.

    "all-MiniLM-L6-v2", "./my-encoder"   a model of sentence-transformers that lies on the disk
    "package.module:factory"             a function that returns an object with
                                         encode(list of texts) → (N, d) numbers

Nothing is ever downloaded. The name is kept with the model, so that new data go through the same
encoder.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.data.wording import counted
from thresher.errors import MissingPackageError, ModelError

__all__ = ["TextEncoder", "embed_texts", "load_encoder"]

BLOCK_ROWS = 1_024


class TextEncoder(Protocol):
    """What turns texts into vectors."""

    def encode(self, texts: list[str]) -> Any:
        """Vectors (N, d) of N texts, as an array of numbers."""


def load_encoder(name: str) -> TextEncoder:
    """Load an encoder by its name.

    Args:
        name: Of a model of sentence-transformers on this disk, or "package.module:factory"; modules
            in the current directory are found too.

    Raises:
        MissingPackageError: sentence-transformers is not installed.
        ModelError: The model is not on the disk, or the factory cannot be imported or fails.
    """
    if ":" in name:
        return _made_by_factory(name)
    try:
        package: Any = importlib.import_module("sentence_transformers")
    except ImportError as error:
        raise MissingPackageError(
            f'The encoder "{name}" needs the package sentence-transformers.',
            "pip install sentence-transformers, or leave --encoder out to use n-grams.",
        ) from error
    try:
        encoder: TextEncoder = package.SentenceTransformer(name, local_files_only=True)
    except Exception as error:  # each of its layers has errors of its own
        raise ModelError(
            f'The encoder "{name}" is not on this disk, or cannot be read: {_first_line(error)}',
            "Download it first, or give the path of its folder; thresher downloads nothing.",
        ) from error
    return encoder


def _made_by_factory(name: str) -> TextEncoder:
    module_name, _, attribute = name.partition(":")
    with _current_directory_importable():
        try:
            factory: Callable[[], TextEncoder] = getattr(
                importlib.import_module(module_name), attribute
            )
            encoder = factory()
        except Exception as error:  # the user's code may raise anything
            raise ModelError(
                f'The encoder "{name}" cannot be made: '
                f"{type(error).__name__}: {_first_line(error)}",
                "Write package.module:factory; it is called without arguments.",
            ) from error
    if not callable(getattr(encoder, "encode", None)):
        raise ModelError(
            f'The encoder "{name}" is a {type(encoder).__name__} without a method encode.',
            "Return an object whose encode(texts) gives an array (N, d).",
        )
    return encoder


def embed_texts(name: str, encoder: TextEncoder, texts: pa.ChunkedArray) -> NDArray[np.float32]:
    """Encode texts, a thousand at a time.

    Args:
        name: Of the encoder, for errors.
        encoder: As loaded.
        texts: (N,) large strings; null counts as empty.

    Returns:
        (N, d) float32.

    Raises:
        ModelError: The encoder fails, or does not answer with (N, d) finite numbers.
    """
    blocks: list[NDArray[np.float32]] = []
    for start in range(0, len(texts), BLOCK_ROWS):
        block = texts.slice(start, BLOCK_ROWS).fill_null("").to_pylist()
        try:
            vectors = np.asarray(encoder.encode(block), np.float32)
        except Exception as error:  # the user's code may raise anything
            raise ModelError(
                f'The encoder "{name}" fails: {type(error).__name__}: {_first_line(error)}',
                "Its encode must take a list of texts and return an array (N, d).",
            ) from error
        width = blocks[0].shape[1:] if blocks else vectors.shape[1:]
        fits = vectors.ndim == 2 and len(vectors) == len(block) and vectors.size > 0
        if not fits or vectors.shape[1:] != width:
            raise ModelError(
                f'The encoder "{name}" answers {counted(len(block), "text")} with an array of '
                f"shape {vectors.shape}.",
                "Let it return one vector a text, all of one length.",
            )
        if not np.isfinite(vectors).all():
            raise ModelError(
                f'The encoder "{name}" answers with NaN or infinity.', "Correct the encoder."
            )
        blocks.append(vectors)
    return np.concatenate(blocks)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


@contextmanager
def _current_directory_importable() -> Iterator[None]:
    """Let imports find modules in the current directory, as ``python -m`` does."""
    here = str(Path.cwd())
    importlib.invalidate_caches()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
