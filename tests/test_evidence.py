"""Evidence: which samples are kept for people to look at, and what is shown of them."""

import json
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import shipped
import thresher
from thresher.data import open_data
from thresher.evidence import FEWEST, evidence_of, most_suspect, nearest_trusted, thumbnail


def table(flagged, rank):
    """The two columns that say who is suspect; rank 0 = none."""
    rank = np.asarray(rank, dtype=np.int32)
    return pa.table({"is_label_issue": pa.array(flagged), "rank": pa.array(rank, mask=rank == 0)})


def test_the_flagged_ones_come_first_then_the_next_in_rank():
    """Until there are two hundred; one without a rank is never shown."""
    rows = 300
    rank = np.arange(1, rows + 1)
    rank[7] = 0
    flagged = np.zeros(rows, dtype=bool)
    flagged[[50, 20]] = True
    found = most_suspect(table(flagged, rank), most=1000).tolist()
    assert [20, 50, 0, 1] == found[:4]
    assert FEWEST == len(found)
    assert 7 not in found
    assert [20] == most_suspect(table(flagged, rank), most=1).tolist()
    assert rows - 1 == len(most_suspect(table(rank > 0, rank), most=1000))


@given(
    rows=st.integers(2, 30),
    trusted=st.integers(0, 29),
    seed=st.integers(0, 99),
)
def test_neighbours_are_those_of_a_plain_search(rows, trusted, seed):
    """By cosine, trusted ones only, never the sample itself."""
    random = np.random.default_rng(seed)
    features = random.standard_normal((rows, 4)).astype(np.float16)
    believed = np.arange(rows) < trusted
    asked = np.arange(rows)[::2]
    found = nearest_trusted(features, asked, believed)
    unit = features.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for row in asked.tolist() if believed.any() else []:
        others = [each for each in np.flatnonzero(believed) if each != row]
        best = sorted(others, key=lambda each: -float(unit[row] @ unit[each]))[:3]
        cosines = [float(unit[row] @ unit[each]) for each in found[row]]
        assert cosines == pytest.approx([float(unit[row] @ unit[each]) for each in best], abs=1e-5)
        assert set(found[row]) <= set(others)


def test_small_pictures_are_kept_exactly_and_large_ones_made_small():
    """128 pixels at most, as JPEG."""
    images, labels = shipped.digits()
    samples = open_data((images, labels))
    with Image.open(BytesIO(thumbnail(samples, 3))) as picture:
        assert "PNG" == picture.format
        assert np.array_equal(np.asarray(picture), images[3])
    large = np.random.default_rng(0).integers(0, 255, (4, 300, 200, 3)).astype(np.uint8)
    samples = open_data((large, ["a", "b", "a", "b"]))
    with Image.open(BytesIO(thumbnail(samples, 0))) as picture:
        assert "JPEG" == picture.format
        assert (85, 128) == picture.size


def test_the_history_is_that_of_each_row():
    """In steps of 1/255."""
    samples = open_data(shipped.iris().reset_index(drop=True), label="species")
    trace = np.arange(300, dtype=np.uint16).reshape(150, 2).clip(max=255).astype(np.uint8)
    (name, found), *_ = evidence_of(samples, np.array([3, 5]), trace=trace, neighbours={3: [0]})
    assert samples.sample_id[3].as_py() == name
    assert [6 / 255, 7 / 255] == pytest.approx(found.history.tolist())
    assert samples.sample_id[0].as_py() == found.neighbours[0].sample_id
    assert {"sepal length", "petal width"} < set(found.cells)
    assert found.image is None


def test_a_run_keeps_evidence_features_and_what_they_say(tmp_path):
    """Features give neighbours, outliers and near-duplicates; without them there are none."""
    images, labels = shipped.digits(300)
    images = np.concatenate([images, images[:5]])  # five twice, one of them with another label
    labels = np.concatenate([labels, [(labels[0] + 1) % 10, *labels[1:5]]])
    thresher.fit((images, labels), epochs=4, features=True, model="mlp", out=tmp_path / "run")
    features = np.load(tmp_path / "run" / "features.npy")
    assert (305, np.float16) == (len(features), features.dtype)
    kept = pq.read_table(tmp_path / "run" / "evidence.parquet").to_pylist()
    assert FEWEST <= len(kept)
    assert all(len(each["history"]) == 4 for each in kept)
    near = [one for each in kept for one in json.loads(each["neighbours"] or "[]")]
    assert near
    assert {one["sample_id"] for one in near} <= {each["sample_id"] for each in kept}
    audit = pq.read_table(tmp_path / "run" / "audit.parquet").to_pandas()
    assert audit["is_near_duplicate_issue"][[0, 300, 1, 301]].all()
    assert ["near_duplicate", "near_duplicate"] == audit["reason"][[0, 300]].tolist()
    page = (tmp_path / "run" / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert "Similar samples" in page
    thresher.fit((images, labels), epochs=2, model="mlp", out=tmp_path / "plain")
    assert not (tmp_path / "plain" / "features.npy").exists()
    assert "outlier_score" not in pq.read_schema(tmp_path / "plain" / "audit.parquet").names
