"""Text: free texts become vectors, by the words that the training texts have in common.

    n-grams   t = characters in runs of 2 to 5 within a word (`thresher.data.ngrams`)
    weights   (1 + ln count(t)) · (1 + ln((1 + n) / (1 + n_t))),  n_t of n texts hold t
    vector    its projection on the d leading singular vectors of the training texts, of length 1

Latent semantic analysis: texts that share no n-gram still come near each other when both share some
with third ones. Only the 32,768 n-grams that most texts hold are counted, those of a single text
never. Fitted on the training rows alone, on 20,000 of them or 8 million characters at most; the
others are transformed block by block.

The d directions are turned by one fixed rotation. The training scales every feature by itself: that
would give the last direction, mostly noise, the weight of the first. Turned, every feature holds a
bit of each direction, and distances outlast the scaling. Several columns are read as one text,
which took less time and did better than each on its own (AG news, 2.5 points).

Runs of 2 to 5 and d = 128 were chosen by `benchmarks/hausa.py choose`: on the development titles of
Hausa news 2–4, 3–5, 3–6, d = 64 and d = 256 are within the error of three seeds; on AG news, 64
loses 2.6 points of accuracy.

Sources: Salton & Buckley, Term-weighting approaches in automatic text retrieval, 1988; Deerwester
et al., Indexing by latent semantic analysis, JASIS 1990; the decomposition is that of Halko,
Martinsson & Tropp, Finding structure with randomness, SIAM Review 2011.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from thresher.data.columns import dense, type_of
from thresher.data.encoding import TextColumn
from thresher.data.ngrams import BUCKETS, count_ngrams, text_blocks
from thresher.data.wording import quoted
from thresher.errors import DataError
from thresher.keyed_random import keyed_seed

__all__ = ["fit_text", "joined_texts", "looks_like_text", "read_free_texts", "text_vectors"]

DIMENSIONS = 128
MOST_NGRAMS = 1 << 15
MOST_ROWS, MOST_CHARACTERS = 20_000, 1 << 23  # looked at by the fit
ITERATIONS = 4  # of the decomposition
NEGLIGIBLE = 1e-6  # singular values below this share of the first one are rounding


def read_free_texts(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Read a column of free text: (N,) large strings; blank ones are null.

    Raises:
        DataError: The column holds no text.
    """
    kind = type_of(column.type)
    if kind == "empty":
        return column.cast(pa.large_string())
    texts = dense(column)
    if kind != "text" or not pa.types.is_large_string(texts.type):
        raise DataError(
            f"Column {quoted(name)} holds values of type {column.type}, expected text.",
            "Name columns of text only; others are used without being named.",
        )
    return _blank_as_null(texts)


def _blank_as_null(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    blank = pc.equal(pc.utf8_trim_whitespace(texts), "")
    return pc.if_else(blank, pa.scalar(None, texts.type), texts)


def joined_texts(table: pa.Table, names: Sequence[str]) -> pa.ChunkedArray:
    """Read columns of free text as one: (N,) large strings; null where all of them are blank.

    Raises:
        DataError: A column holds no text.
    """
    columns = [read_free_texts(table[name], name) for name in names]
    if len(columns) == 1:
        return columns[0]
    filled = [column.fill_null("") for column in columns]
    gap = pa.scalar(" ", pa.large_string())
    return _blank_as_null(pc.binary_join_element_wise(*filled, gap))


def looks_like_text(column: pa.ChunkedArray) -> bool:
    """Tell free text from ids and names: three words a cell, or five signs of a script without.

    Args:
        column: (N,) texts; the first thousand are looked at.
    """
    head = dense(column.slice(0, 1_000)).drop_null()
    if not len(head):
        return False
    spaces = pc.mean(pc.count_substring(pc.utf8_trim_whitespace(head), " ")).as_py()
    signs = pc.mean(pc.count_substring_regex(head, WITHOUT_SPACES)).as_py()
    return bool(spaces >= 2 or signs >= 5)


WITHOUT_SPACES = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"


def fit_text(names: Sequence[str], texts: pa.ChunkedArray) -> TextColumn:
    """Find the n-grams that count, their weights, and the directions to project on.

    Args:
        names: The columns' that the texts come from.
        texts: (N,) as `read_free_texts` or `joined_texts` gives them, one at least not null.

    Cost: some 10 µs a text of 50 characters, at most 20,000 texts; memory of their counts.
    """
    sample = _sampled(texts.drop_null())
    counts = vstack([count_ngrams(block) for _, block in text_blocks(sample)], format="csr")
    holding = np.bincount(counts.indices, minlength=BUCKETS)  # texts that hold an n-gram
    common = holding[holding > 1]
    order = np.argsort(-holding, kind="stable")[: min(MOST_NGRAMS, len(common) or BUCKETS)]
    buckets = np.sort(order[holding[order] > 0]).astype(np.int32)
    idf = (1 + np.log((1 + len(sample)) / (1 + holding[buckets]))).astype(np.float32)
    weighted = _weighted(counts[:, buckets], idf).astype(np.float64)
    lengths = np.sqrt(weighted.multiply(weighted).sum(axis=1)).A1
    weighted.data /= np.repeat(lengths, np.diff(weighted.indptr))
    components = _directions(weighted).astype(np.float16)
    return TextColumn(tuple(names), buckets, idf, components, flagged=texts.null_count > 0)


def _sampled(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Draw the texts that the fit looks at: always the same ones of the same column."""
    random = np.random.default_rng(keyed_seed(0, "texts"))
    order = random.permutation(len(texts))[:MOST_ROWS]
    lengths = pc.utf8_length(texts).to_numpy()[order]
    enough = int(np.searchsorted(np.cumsum(lengths), MOST_CHARACTERS)) + 1
    return texts.take(pa.array(np.sort(order[:enough])))


def _weighted(counts: csr_matrix, idf: NDArray[np.float32]) -> csr_matrix:
    weighted = counts.copy()
    weighted.data = (1 + np.log(counts.data)) * idf[counts.indices]
    return weighted


def _directions(weighted: csr_matrix) -> NDArray[np.float64]:
    """Find an orthonormal basis (d, V), d <= 128, of what (n, V) texts have most in common."""
    from sklearn.utils.extmath import randomized_svd  # half a second to import
    from threadpoolctl import threadpool_limits

    random = np.random.default_rng(keyed_seed(0, "directions"))
    with threadpool_limits(1):  # sums round alike, whatever the number of threads
        _, values, directions = randomized_svd(
            weighted,
            n_components=min(DIMENSIONS, *weighted.shape),
            n_iter=ITERATIONS,
            random_state=int(random.integers(2**31)),
        )
        directions = directions[values > NEGLIGIBLE * values[0]]
        rotation, _ = np.linalg.qr(random.normal(size=(len(directions), len(directions))))
        turned: NDArray[np.float64] = rotation @ directions
    return turned


def text_vectors(column: TextColumn, texts: pa.ChunkedArray, into: NDArray[np.float32]) -> None:
    """Write the vector of each text, block by block; that of an empty or unknown text is zero.

    Args:
        column: As fitted on the training texts.
        texts: (N,) as `read_free_texts` gives them.
        into: (N, d) float32, written to.
    """
    places = np.full(BUCKETS, -1, np.int32)
    places[column.buckets] = np.arange(len(column.buckets), dtype=np.int32)
    components = np.ascontiguousarray(column.components.T, np.float32)  # (V, d)
    for start, block in text_blocks(texts):
        counts = count_ngrams(block, places, len(column.buckets))
        vectors = _weighted(counts, column.idf) @ components
        lengths = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
        into[start : start + len(block)] = vectors / np.where(lengths > 0, lengths, 1)
