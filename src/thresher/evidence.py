"""Evidence: what a person is shown of a sample to judge its label by.

samples, audit table → the most suspect rows → thumbnails or cells, history, neighbours
                     → evidence.parquet

It is kept in the run, so that a report or a review needs the data no more, nor their place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.audit import Verdicts
from thresher.audit.evidence_file import Evidence, Neighbour, write_evidence
from thresher.audit.features import nearest_neighbours
from thresher.data import Samples

__all__ = ["cells", "evidence_of", "keep_evidence", "most_suspect", "nearest_trusted", "thumbnail"]

LONGEST_SIDE = 128
FEWEST = 200  # rows, whether they are flagged or not
MOST = {"images": 5_000, "features": 20_000}  # some 20 MB, some seconds
NEIGHBOURS = 3
WITH_NEIGHBOURS = 1500  # rows at most
PRODUCTS = 2e11  # multiplications that neighbours may cost: some seconds
PNG_SIDE = 64  # smaller pictures are kept exactly


def keep_evidence(
    path: Path,
    samples: Samples,
    table: pa.Table,
    verdicts: Verdicts,
    trace: NDArray[np.uint8] | None,
    features: NDArray[np.float16] | None,
) -> None:
    """Write evidence.parquet: of the most suspect samples and, with features, of their neighbours.

    Args:
        path: The file.
        samples: The data.
        table: The audit table.
        verdicts: What it was made from.
        trace: (N, E) uint8, probability of the given label in each epoch × 255.
        features: (N, d), what the last layer saw.

    Raises:
        RunError: the file cannot be written.
    """
    rows = most_suspect(table, MOST[samples.kind])
    neighbours = None
    if features is not None:
        trusted = verdicts.judged & ~verdicts.is_label_issue & (verdicts.label_score > 0.5)
        if samples.trusted is not None:
            trusted |= samples.trusted
        neighbours = nearest_trusted(features, rows, trusted)
    write_evidence(path, evidence_of(samples, rows, trace=trace, neighbours=neighbours))


def thumbnail(samples: Samples, row: int) -> bytes:
    """An image of 128 pixels at most on the longer side, as a PNG, or a JPEG if it is larger.

    Args:
        samples: Images.
        row: In 0..N-1.
    """
    from PIL import Image

    pixels = samples.inputs[row]
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    buffer = BytesIO()
    if max(picture.size) <= PNG_SIDE:
        picture.save(buffer, "PNG")
    else:
        picture.save(buffer, "JPEG", quality=85)
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


def most_suspect(table: pa.Table, most: int) -> NDArray[np.int64]:
    """The flagged rows of an audit table, then the next in rank until there are some to look at.

    Args:
        table: An audit table.
        most: Rows at most, >= 1.

    Returns:
        Row numbers, most suspect first.
    """
    flagged = table["is_label_issue"].to_numpy()
    rank = table["rank"].fill_null(np.iinfo(np.int32).max).to_numpy()
    order = np.lexsort((rank, ~flagged))
    order = order[table["rank"].is_valid().to_numpy()[order]].astype(np.int64)
    chosen: NDArray[np.int64] = order[: min(most, max(FEWEST, int(flagged.sum())))]
    return chosen


def nearest_trusted(
    features: NDArray[np.float16], rows: NDArray[np.int64], trusted: NDArray[np.bool_]
) -> dict[int, list[int]]:
    """The three trusted samples that the network sees as most alike, by cosine.

    Args:
        features: (N, d), what the last layer saw.
        rows: Whose; where they would cost too much, those in front.
        trusted: (N,) bool, samples whose label is believed.

    Returns:
        Rows of the neighbours, the nearest first, by row.
    """
    most = int(PRODUCTS / max(1, trusted.sum() * features.shape[1]))
    rows = rows[: min(WITH_NEIGHBOURS, max(FEWEST, most))]
    near = nearest_neighbours(features, NEIGHBOURS, rows=rows, among=trusted).rows.tolist()
    return {
        row: [each for each in found if each >= 0]
        for row, found in zip(rows.tolist(), near, strict=True)
    }


def evidence_of(
    samples: Samples,
    rows: NDArray[np.int64],
    *,
    trace: NDArray[np.uint8] | None = None,
    neighbours: Mapping[int, Sequence[int]] | None = None,
) -> Iterator[tuple[str, Evidence]]:
    """Evidence of some samples, one after the other, and then of their neighbours.

    Args:
        samples: The data.
        rows: Row numbers.
        trace: (N, E) uint8, probability of the given label in each epoch × 255.
        neighbours: Row number → rows of the nearest trusted samples.

    Yields:
        Pairs of sample_id and evidence.
    """
    images = samples.kind == "images"
    shown = rows.tolist()
    among = {near for each in (neighbours or {}).values() for near in each}
    for row in [*shown, *sorted(among.difference(shown))]:
        near = [] if neighbours is None else neighbours.get(row, [])
        yield (
            samples.sample_id[row].as_py(),
            Evidence(
                image=thumbnail(samples, row) if images else None,
                cells={} if images else cells(samples, row),
                history=None if trace is None else trace[row].astype(np.float32) / np.float32(255),
                neighbours=tuple(
                    Neighbour(
                        samples.sample_id[each].as_py(), samples.classes[samples.labels[each]]
                    )
                    for each in near
                ),
            ),
        )
