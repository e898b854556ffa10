"""evidence.parquet: what was written comes back, one sample without the others."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.audit.evidence_file import Evidence, Neighbour, read_evidence, write_evidence
from thresher.errors import ParameterError, RunError

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    image=st.none() | st.binary(max_size=50),
    cells=st.dictionaries(texts, texts, max_size=4),
    history=st.none() | st.lists(st.integers(0, 255), max_size=30),
    near=st.lists(st.builds(Neighbour, texts, texts), max_size=3),
)
def test_everything_comes_back(tmp_path_factory, image, cells, history, near):
    """Pictures, texts with any character, probabilities in steps of 1/255, neighbours in order."""
    path = tmp_path_factory.getbasetemp() / "one.parquet"
    kept = None if history is None else np.array(history, dtype=np.float32) / 255
    write_evidence(path, [("a", Evidence(image, cells, kept, tuple(near)))])
    found = read_evidence(path, ["a"])["a"]
    assert (image, cells, tuple(near)) == (found.image, found.cells, found.neighbours)
    if history is None:
        assert found.history is None
    else:
        np.testing.assert_array_equal(kept, found.history)


def test_a_history_is_kept_to_half_a_step(tmp_path):
    """One byte an epoch."""
    history = np.random.default_rng(0).random(100).astype(np.float32)
    write_evidence(tmp_path / "e", [("a", Evidence(history=history))])
    found = read_evidence(tmp_path / "e", ["a"])["a"].history
    assert np.abs(found - history).max() <= 0.5 / 255 + 1e-6


def many(rows=100):
    return ((f"s{row}", Evidence(image=bytes([row]) * 1000)) for row in range(rows))


def test_the_samples_asked_for_are_read_and_no_others(tmp_path):
    """In the order of the file; unknown names are left out."""
    write_evidence(tmp_path / "e", many())
    found = read_evidence(tmp_path / "e", ["s70", "nobody", "s3"])
    assert ["s3", "s70"] == list(found)
    assert bytes([70]) * 1000 == found["s70"].image


def test_one_sample_needs_one_small_group_of_pictures(tmp_path, monkeypatch):
    """The groups without it are asked for their identifiers only."""
    write_evidence(tmp_path / "e", many())
    read, groups = pq.ParquetFile.read_row_groups, []
    monkeypatch.setattr(
        pq.ParquetFile,
        "read_row_groups",
        lambda self, chosen: groups.extend(chosen) or read(self, chosen),
    )
    assert ["s40"] == list(read_evidence(tmp_path / "e", ["s40"]))
    assert len(groups) == 1
    assert pq.ParquetFile(tmp_path / "e").metadata.row_group(groups[0]).num_rows <= 32


def test_nothing_written_and_nothing_asked_for_is_nothing(tmp_path):
    """No rows; no file; no names."""
    write_evidence(tmp_path / "e", [])
    assert {} == read_evidence(tmp_path / "e", ["a"])
    assert {} == read_evidence(tmp_path / "missing", ["a"])
    write_evidence(tmp_path / "e", many(2))
    assert {} == read_evidence(tmp_path / "e", [])


def test_other_programs_can_read_it(tmp_path):
    """Plain columns, null for what is not there."""
    near = (Neighbour("b", "dog"),)
    write_evidence(tmp_path / "e", [("a", Evidence(cells={"x": "1"}, neighbours=near))])
    table = pq.read_table(tmp_path / "e")
    assert ["sample_id", "image", "cells", "history", "neighbours"] == table.column_names
    (line,) = table.to_pylist()
    assert (None, None) == (line["image"], line["history"])
    assert {"x": "1"} == json.loads(line["cells"])
    assert [{"sample_id": "b", "label": "dog"}] == json.loads(line["neighbours"])


@pytest.mark.parametrize("history", [[0.5, np.nan], [1.01], [-0.1], [[0.5]]])
def test_what_is_no_probability_is_refused(tmp_path, history):
    """A byte could not tell it apart from one; nothing is written."""
    with pytest.raises(ParameterError, match="history of sample a"):
        write_evidence(tmp_path / "e", [("a", Evidence(history=np.array(history)))])
    assert [] == list(tmp_path.iterdir())


def test_a_damaged_file_is_an_error_of_ours(tmp_path):
    """Cut in half, or another file altogether."""
    path = tmp_path / "e"
    write_evidence(path, many())
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match="cannot be read"):
        read_evidence(path, ["s1"])
    pq.write_table(pa.table({"sample_id": ["a"]}), path)
    with pytest.raises(RunError, match="has schema None"):
        read_evidence(path, ["a"])


def test_a_later_layout_is_refused(tmp_path):
    """Its columns may mean something else."""
    table = pa.table({"sample_id": ["a"]}).replace_schema_metadata({"thresher": '{"schema": 2}'})
    pq.write_table(table, tmp_path / "e")
    with pytest.raises(RunError, match="has schema 2; this release reads 1"):
        read_evidence(tmp_path / "e", ["a"])
