"""The queue: its order, and that every sample is found by its place and by its name."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reviewed import CLASSES, audit_table
from thresher.audit.table import write_table
from thresher.errors import RunError
from thresher.review.queue import Queue


@pytest.fixture
def queue(tmp_path):
    write_table(audit_table(), tmp_path / "audit.parquet")
    return Queue(tmp_path / "audit.parquet")


def test_the_flagged_come_first_each_part_by_rank(queue):
    """Rows without a label are no part of it."""
    rows = audit_table().to_pylist()
    expected = sorted(
        (row for row in rows if row["given_label"] is not None),
        key=lambda row: (not row["is_label_issue"], row["rank"]),
    )
    found = [queue.item(place) for place in range(len(queue))]
    assert [row["sample_id"] for row in expected] == [item.sample_id for item in found]
    assert 12 == queue.flagged
    for row, item in zip(expected, found, strict=True):
        assert row["given_label"] == CLASSES[item.given]
        assert row["suggested_label"] == CLASSES[item.suggested]
        assert row["label_score"] == item.score
        assert row["text"] == item.text
        assert row["split"] == item.split
        assert item.path is None
    with pytest.raises(IndexError):
        queue.item(len(queue))


def test_a_sample_is_found_by_its_name(queue):
    """In the audit table and, if it has a label, in the queue."""
    for place in range(len(queue)):
        assert place == queue.place_of(queue.item(place).sample_id)
    assert 39 == queue.row_of("sample/39")
    assert queue.place_of("sample/39") is None
    assert queue.place_of("stranger") is None


def test_names_with_equal_hashes_are_told_apart(queue, monkeypatch):
    """However many there are."""
    import thresher.review.queue as module

    monkeypatch.setattr(module, "_hash", lambda name: 7)
    queue._hashes, queue._hashed = module._by_hash(queue._ids)
    assert 39 == queue.row_of("sample/39")
    assert queue.row_of("stranger") is None


def test_pairs_are_those_of_the_flagged(queue):
    """The most frequent first; together they are all of them."""
    pairs = queue.pairs()
    assert sorted(range(12)) == sorted(np.concatenate([places for *_, places in pairs]).tolist())
    sizes = [len(places) for *_, places in pairs]
    assert sizes == sorted(sizes, reverse=True)
    for given, suggested, places in pairs:
        for place in places.tolist():
            item = queue.item(place)
            assert (given, suggested) == (item.given, item.suggested)


def test_texts_are_read_a_group_at_a_time(tmp_path):
    """From whichever group of rows a sample is in."""
    table = audit_table(rows=500, flagged=100)
    pq.write_table(table, tmp_path / "audit.parquet", row_group_size=16)
    queue = Queue(tmp_path / "audit.parquet")
    for place in np.random.default_rng(0).permutation(len(queue))[:200].tolist():
        item = queue.item(place)
        assert f"text of {item.row} <script>alert(1)</script>" == item.text
    assert 200 == len(queue._words)


def test_words_asked_for_together_are_those_asked_for_one_by_one(tmp_path, monkeypatch):
    """In row groups of several batches as well; only so many stay in memory."""
    import thresher.review.queue as module

    monkeypatch.setattr(module, "BATCH", 7)
    monkeypatch.setattr(module, "WORDS_KEPT", 10)
    pq.write_table(audit_table(rows=90, flagged=9), tmp_path / "audit.parquet", row_group_size=40)
    queue = Queue(tmp_path / "audit.parquet")
    rows = [89, 0, 6, 7, 39, 40, 41, 60]
    together = queue.words(rows)
    assert rows == list(together)
    for row in rows:
        assert f"text of {row} <script>alert(1)</script>" == together[row]["text"]
    assert 90 == len(queue.words(range(90)))
    assert 10 == len(queue._words)
    assert together == queue.words(rows)


def test_labels_are_known_without_reading_words(queue):
    """A batch of decisions reads nothing from the disk."""
    for place in range(len(queue)):
        row, sample_id = queue.name_of(place)
        assert f"sample/{row}" == sample_id
        assert (CLASSES[row % 4], CLASSES[(row + 1) % 4]) == queue.labels(place)
    assert 0 == len(queue._words)


def test_an_audit_without_suspects_or_without_rows_is_a_queue(tmp_path):
    """Nothing to decide."""
    for rows, flagged in ((10, 0), (0, 0)):
        write_table(audit_table(rows=rows, flagged=flagged, unlabelled=0), tmp_path / "audit")
        queue = Queue(tmp_path / "audit")
        assert (rows, 0) == (len(queue), queue.flagged)
        assert [] == queue.pairs()


@pytest.mark.parametrize("damage", ["torn", "foreign", "missing"])
def test_a_damaged_audit_is_said(tmp_path, damage):
    """With what to do."""
    path = tmp_path / "audit.parquet"
    if damage == "torn":
        path.write_bytes(b"PAR1 torn")
    if damage == "foreign":
        metadata = audit_table().schema.metadata
        pq.write_table(pa.table({"a": [1]}).replace_schema_metadata(metadata), path)
    with pytest.raises(RunError, match="cannot be read"):
        Queue(path)
