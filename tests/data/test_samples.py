import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from thresher.data import Encoding, open_data
from thresher.data.encoding import CategoryColumn, NumberColumn
from thresher.errors import DataError

X = np.arange(12, dtype=np.float32).reshape(6, 2)
Y = np.array([0, 1, 0, 1, 0, 1])


def test_the_fingerprint_is_the_same_on_every_machine():
    # little-endian bytes of the inputs and the labels behind a JSON line of shape, type, classes
    assert "7080bed977cb8f5045e27801d9991d4f" == open_data((X, Y)).fingerprint


def test_the_fingerprint_sees_inputs_labels_and_class_names():
    changed = X.copy()
    changed[5, 1] += 1
    prints = {
        open_data(data).fingerprint
        for data in [(X, Y), (changed, Y), (X, 1 - Y), (X, Y + 1), (X[:, ::-1], Y), (X[:4], Y[:4])]
    }
    assert 6 == len(prints)


def test_the_fingerprint_does_not_depend_on_blocks(monkeypatch):
    whole = open_data((X, Y)).fingerprint
    monkeypatch.setattr("thresher.data.samples.HASHED_BYTES", 20)
    assert whole == open_data((X, Y)).fingerprint


def test_take_selects_rows_in_the_order_asked_for():
    samples = open_data((X, Y))
    taken = samples.take(np.array([5, 0, 2]))
    np.testing.assert_array_equal(X[[5, 0, 2]], taken.inputs)
    assert [1, 0, 0] == taken.labels.tolist()
    assert samples.sample_id.take(pa.array([5, 0, 2])) == taken.sample_id
    assert samples.fingerprint != taken.fingerprint
    assert samples.classes == taken.classes
    assert 3 == len(taken)


def test_take_accepts_a_mask():
    assert [1, 1, 1] == open_data((X, Y)).take(Y == 1).labels.tolist()


def test_labels_and_inputs_can_be_handed_to_pytorch_without_a_warning():
    import torch

    samples = open_data((X, Y))
    assert torch.from_numpy(samples.labels).dtype == torch.int64
    assert torch.from_numpy(samples.inputs).dtype == torch.float32


@pytest.mark.parametrize(
    "encoding",
    [
        Encoding("images", size=(28, 32), channels=3, image="image", label="y"),
        Encoding(
            "features",
            (NumberColumn("a", 0.1, flagged=True), CategoryColumn("c", ("x", "ü"))),
            class_codes=("cat", "dog"),
        ),
    ],
)
def test_an_encoding_survives_its_json(encoding):
    assert encoding == Encoding.from_json(encoding.to_json())


def test_an_encoding_of_another_version_or_torn_is_refused():
    stored = Encoding("images", size=(2, 2), channels=1).to_json()
    with pytest.raises(DataError, match="schema version 99"):
        Encoding.from_json({**stored, "schema": 99})
    with pytest.raises(DataError, match="incomplete"):
        Encoding.from_json({"schema": 1, "kind": "images"})


def test_starts_are_the_first_features_of_each_column():
    encoding = Encoding(
        "features", (NumberColumn("a", 0.0, flagged=True), CategoryColumn("c", ("x", "y", "z")))
    )
    assert [0, 2, 5] == encoding.starts.tolist()
    assert 5 == len(encoding.features)


def test_importing_the_package_does_not_import_arrow():
    code = "import sys, thresher.data; sys.exit('pyarrow' in sys.modules or 'torch' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


def test_the_package_offers_what_it_lists():
    import thresher.data

    assert all(hasattr(thresher.data, name) for name in thresher.data.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = thresher.data.nothing


def test_rows_of_equal_content_and_other_labels_are_listed():
    doubled = np.concatenate([X, X[:2]])
    samples = open_data((doubled, [0, 1, 0, 1, 0, 1, 1, 1]))
    ids = samples.sample_id.to_pylist()
    assert [ids[0], ids[6]] == samples.conflicts["sample_id"].to_pylist()
    assert [ids[6], ids[0]] == samples.conflicts["duplicate_of"].to_pylist()
    assert ["0", "1"] == samples.conflicts["given_label"].to_pylist()
    assert ["1", "0"] == samples.conflicts["other_label"].to_pylist()
    notes = [note for note in samples.notes if "equal another one of a different label" in note]
    assert [f'such as "{ids[0]}" ("0") and "{ids[6]}" ("1")' in note for note in notes] == [True]
    assert any("2 samples of 8 repeat an earlier one" in note for note in samples.notes)
    assert 2 == len(samples.take(np.array([6, 0])).conflicts)
    assert 0 == len(samples.take(np.array([0, 1, 2])).conflicts)


def test_columns_that_are_not_learned_from_do_not_hide_conflicts():
    table = pa.table({"id": ["p", "q", "r", "s"], "a": [1.0, 1, 2, 3], "label": list("xyxy")})
    encoding = open_data(table.drop_columns("id")).encoding
    samples = open_data(table, encoding=encoding, classes=("x", "y"))
    assert 2 == len(samples.conflicts)


def test_rows_are_handed_out_as_copies():
    samples = open_data((X, Y))
    inputs, label = samples[3]
    inputs[:] = -1
    np.testing.assert_array_equal([6, 7], samples.inputs[3])
    assert 1 == label
    assert 6 == len(list(samples))
