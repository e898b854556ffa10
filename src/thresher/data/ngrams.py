"""Character n-grams: runs of 2 to 5 characters within a word, counted by their hash.

    "An kai"  →  " a" "an" "n " " an" "an " " an "   " k" "ka" "ai" "i " " ka" "kai" "ai " …

A space at either end marks where a word begins or ends; none lies inside. Runs of characters need
no dictionary and no word breaker, share what inflected and misspelt forms have in common, and serve
any language. Each run is hashed to one of 2^20 buckets (the hashing trick of Weinberger et al.,
ICML 2009), so that nothing need be stored to count it.

All positions of a block of texts are hashed at once: the hash of n characters is made from that of
n - 1 by one multiplication.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from thresher.data.keys import mix

__all__ = ["BUCKETS", "count_ngrams", "text_blocks"]

BUCKETS = 1 << 20
SHORTEST, LONGEST = 2, 5
PRIME = np.uint64(0x100000001B3)  # of the hash FNV-1a
BLOCK_CHARACTERS = 1 << 18
SPACE = 32


def text_blocks(texts: pa.ChunkedArray) -> Iterator[tuple[int, pa.LargeStringArray]]:
    """Cut texts into blocks of some 260,000 characters, one row at least.

    Args:
        texts: (N,) large strings; null counts as empty.

    Yields:
        The first row of a block, and its texts in lower case and one Unicode form (NFKC).
    """
    start = 0
    for chunk in texts.chunks:
        filled = chunk.fill_null("")
        ends = np.cumsum(pc.utf8_length(filled).to_numpy(zero_copy_only=False) + 1)
        first = 0
        while first < len(chunk):
            before = ends[first - 1] if first else 0
            last = int(np.searchsorted(ends, before + BLOCK_CHARACTERS, side="right"))
            last = max(last, first + 1)
            block = filled.slice(first, last - first)
            yield start + first, pc.utf8_lower(pc.utf8_normalize(block, "NFKC"))
            first = last
        start += len(chunk)


def count_ngrams(
    texts: pa.LargeStringArray, places: NDArray[np.int32] | None = None, width: int = BUCKETS
) -> csr_matrix:
    """Count the n-grams of each text.

    Args:
        texts: (B,) in lower case, as `text_blocks` gives them.
        places: (2^20,) the column of each bucket, -1 = not counted; None counts every bucket.
        width: Number of columns.

    Returns:
        (B, width) float32 counts, columns of a row in order.
    """
    characters = _characters(texts)
    blank = characters == SPACE
    # the blank before a text belongs to it, so that no n-gram lies in two texts
    row = np.repeat(np.arange(len(texts)), pc.utf8_length(texts).to_numpy() + 1)
    length = len(row)
    found = np.empty((length, LONGEST - SHORTEST + 1), np.int32)
    hashed = characters[:length].copy()
    inside = np.ones(length, bool)  # no blank but at the ends
    for size in range(SHORTEST, LONGEST + 1):
        reach = max(0, length + 2 - size)  # starts from which so many characters follow
        hashed = hashed[:reach] * PRIME + characters[size - 1 :]
        if size > 2:
            inside = inside[:reach] & ~blank[size - 2 : size - 2 + reach]
        whole = inside & ~(blank[:reach] & blank[1 : 1 + reach])
        buckets = (mix(hashed ^ np.uint64(size)) & np.uint64(BUCKETS - 1)).astype(np.int32)
        if places is not None:
            buckets = places[buckets]
        found[:reach, size - SHORTEST] = np.where(whole, buckets, -1)
        found[reach:, size - SHORTEST] = -1
    counted = found >= 0
    ends = np.cumsum(np.bincount(row, weights=counted.sum(axis=1), minlength=len(texts)))
    columns = found[counted]
    counts = csr_matrix(
        (np.ones(len(columns), np.float32), columns, np.append(0, ends).astype(np.int64)),
        shape=(len(texts), width),
    )
    counts.sum_duplicates()
    return counts


def _characters(texts: pa.LargeStringArray) -> NDArray[np.uint64]:
    """Code points of all texts in a row, a space before each and one at the end: (L + 1,)."""
    joined = f" {' '.join(texts.to_pylist())} "
    characters = np.frombuffer(joined.encode("utf-32-le"), "<u4").astype(np.uint64)
    characters[characters < SPACE] = SPACE  # tabs and line ends; NFKC has dealt with the others
    return characters
