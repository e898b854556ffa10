"""Keys: a stable name for a row, computed from what the row holds.

A row's key is a sum of hashes, one for each of its columns, so the order of rows does not matter:

    key = mix(Σ_j mix(word_j XOR key_j))   mod 2^64

where word_j are the bits of the value and key_j belongs to the column (its name in a table, its
position in an array). With 64 bits, a million distinct rows collide with probability 3e-8, and a
collision only costs a suffix. ``mix`` is the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast
splittable pseudorandom number generators", OOPSLA 2014).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = [
    "bytes_key",
    "conflicting",
    "float_words",
    "mix",
    "repeated",
    "row_keys",
    "sample_ids",
    "text_words",
]

Words = NDArray[np.uint64]

BLOCK_BYTES = 1 << 19  # a block and its scratch copy stay in the processor's cache
MISSING = np.uint64(0x9D3E_5A7B_C1F0_2846)  # the word of a missing category


def mix(words: Words) -> Words:
    """Scatter the bits of each word, in place; a bijection on 64 bits."""
    words ^= words >> np.uint64(30)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words


def bytes_key(data: Any) -> int:
    """Hash a bytes-like object to 64 bits."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def text_words(texts: Iterable[str]) -> Words:
    """Hash each text to 64 bits: (number of texts,) uint64."""
    return np.fromiter((bytes_key(text.encode()) for text in texts), np.uint64)


def float_words(values: NDArray[np.float32]) -> Words:
    """Take the bits of (N,) float32 numbers as words; every NaN is alike, and so are 0 and -0."""
    return _canonical(values).view("<u4").astype(np.uint64)


def row_keys(rows: NDArray[Any]) -> Words:
    """Compute the key of each row of an array.

    Args:
        rows: (N, …) float32 or uint8, the rows of one length.

    Returns:
        (N,) uint64.

    Cost: three passes through the cache; extra memory of two blocks.
    """
    length = rows[:1].nbytes
    width = -(-length // 8)
    keys = mix(np.arange(1, width + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    size = max(1, BLOCK_BYTES // max(1, length))
    total = np.empty(len(rows), np.uint64)
    padded = np.zeros((size, 8 * width), np.uint8)  # zeros fill a row up to whole words
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        if block.dtype == np.float32:
            block = _canonical(block)
        flat = np.ascontiguousarray(block).reshape(len(block), -1).view(np.uint8)
        padded[: len(block), :length] = flat
        words = padded[: len(block)].view("<u8") ^ keys
        total[start : start + len(block)] = mix(words).sum(axis=1, dtype=np.uint64)
    return mix(total)


def _canonical(values: NDArray[np.float32]) -> NDArray[np.float32]:
    alike = values.astype("<f4") + np.float32(0)  # -0 + 0 = 0
    alike[np.isnan(alike)] = np.nan
    return alike


def sample_ids(keys: Words, labels: NDArray[np.int64]) -> pa.StringArray:
    """Write keys as 16 hex digits; the 2nd, 3rd, … of identical rows end in "-2", "-3", ….

    Args:
        keys: (N,) uint64.
        labels: (N,) int64. Identical rows are counted in the order of their labels, then of their
            rows, so that reordering rows of different labels does not rename them.

    Returns:
        (N,) Arrow strings, unique.
    """
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    octets = keys.astype(">u8").view(np.uint8).reshape(-1, 8)
    text = np.empty((len(keys), 16), np.uint8)
    text[:, 0::2] = digits[octets >> 4]
    text[:, 1::2] = digits[octets & 15]
    offsets = np.arange(0, 16 * len(keys) + 1, 16, dtype=np.int64)
    ids = pa.LargeStringArray.from_buffers(len(keys), pa.py_buffer(offsets), pa.py_buffer(text))
    copies = _copies(keys, labels)
    if copies.any():
        empty, dash = pa.scalar("", pa.large_string()), pa.scalar("-", pa.large_string())
        number = pa.array(copies + 1).cast(pa.large_string())
        suffix = pc.if_else(
            pa.array(copies > 0), pc.binary_join_element_wise(empty, number, dash), empty
        )
        ids = pc.binary_join_element_wise(ids, suffix, empty)
    return ids.cast(pa.string())


def _copies(keys: Words, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count, for each row, the identical rows that come before it: (N,) int64."""
    order = np.argsort(keys, kind="stable")
    if not (keys[order[1:]] == keys[order[:-1]]).any():
        return np.zeros(len(keys), np.int64)
    order = np.lexsort((labels, keys))
    ordered = keys[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    lengths = np.diff(np.append(first, len(keys)))
    copies = np.empty(len(keys), np.int64)
    copies[order] = np.arange(len(keys)) - np.repeat(first, lengths)
    return copies


def conflicting(
    keys: Words, labels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find rows whose content occurs again under another label.

    Args:
        keys: (N,) uint64, equal for rows of equal content.
        labels: (N,) int64; rows without a label (-1) take no part.

    Returns:
        (M,) rows, ascending, and for each of them (M,) the first row of the same content with the
        lowest other label.

    Cost: one sort.
    """
    labelled = np.flatnonzero(labels >= 0)
    order = labelled[np.lexsort((labels[labelled], keys[labelled]))]  # stable: rows ascend
    key, label = keys[order], labels[order]
    same = key[1:] == key[:-1]
    other = same & (label[1:] != label[:-1])  # where a second, third, … label of a content begins
    if not other.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    content = np.concatenate([[0], np.cumsum(~same)])  # number of the content of each place
    first = np.flatnonzero(np.concatenate([[True], ~same]))  # its first place
    begins = np.flatnonzero(other) + 1
    second = np.full(len(first), -1)
    second[content[begins[::-1]]] = begins[::-1]  # the first that begins is written last
    within = np.flatnonzero(second[content] >= 0)
    lowest = label[within] == label[first[content[within]]]
    place = np.where(lowest, second[content[within]], first[content[within]])
    rows = order[within]
    ascending = np.argsort(rows)
    return rows[ascending], order[place][ascending]


def repeated(keys: Words) -> int:
    """Count the rows whose content occurred in an earlier row."""
    ordered = np.sort(keys)
    return int((ordered[1:] == ordered[:-1]).sum())
