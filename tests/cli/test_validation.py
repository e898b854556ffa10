"""Rows that `thresher fit` holds out when there are no test data, and groups it keeps together."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

import shipped


@pytest.fixture
def patients(tmp_path):
    """patients.csv: three rows of each person, the person's level in a column of its own."""
    rng = np.random.default_rng(5)
    frame = shipped.iris(share=0)
    frame = frame.assign(patient=[f"p{each}" for each in np.arange(150) // 3])
    frame.sample(frac=1, random_state=rng.integers(99)).to_csv(
        tmp_path / "patients.csv", index=False
    )
    return "patients.csv", "--label", "species", "--epochs", "12"


def audit(tmp_path):
    return pq.read_table(tmp_path / "run" / "audit.parquet").to_pandas()


def test_without_test_data_a_tenth_is_held_out(call, patients, tmp_path):
    """Seen in the audit, and reported on its given labels."""
    done = call("fit", *patients, "--method", "standard", "--out", "run", "--json")
    found = json.loads(done.out)
    assert found["validation_rows"] == 15
    held = audit(tmp_path)["split"] == "held-out"
    assert held.sum() == 15
    assert found["validation_accuracy"] > 0.6


def test_the_reported_accuracy_is_that_of_the_model_on_these_rows(call, patients, tmp_path):
    """As `thresher predict` gives it."""
    found = json.loads(call("fit", *patients, "--validation", 0.1, "--out", "run", "--json").out)
    assert "validation_epoch" not in found
    predicted = json.loads(call("predict", "run", "patients.csv", "--json").out)["predictions"]
    labels = {each["sample_id"]: each["predicted_label"] for each in predicted}
    rows = audit(tmp_path)
    rows = rows[rows["split"] == "held-out"]
    right = [labels[row.sample_id] == row.given_label for row in rows.itertuples()]
    assert found["validation_accuracy"] == pytest.approx(np.mean(right))


def test_rows_that_auto_holds_out_by_itself_are_trained_in_the_end(call, patients, tmp_path):
    """The accuracy is that of what was predicted of them until then."""
    done = call("fit", *patients, "--out", "run", "--json")
    found = json.loads(done.out)
    kept = load_file(tmp_path / "run" / "history.safetensors")
    given = kept["given"][kept["held_out_rows"]]
    right = kept["held_out_average"].argmax(1) == given
    assert 15 == found["validation_rows"] == len(right)
    assert right.mean() == pytest.approx(found["validation_accuracy"])
    assert 8 == found["validation_epoch"]  # 70 % of twelve
    assert not (audit(tmp_path)["split"] == "held-out").any()


def test_with_test_data_every_row_is_learned_from(call, patients, tmp_path):
    """Unless the method needs held-out rows, or the user asks for them."""
    shipped.iris(share=0).assign(patient="p0").to_csv(tmp_path / "test.csv", index=False)
    tested = (*patients, "--test", "test.csv", "--out", "run", "--overwrite", "--json")
    assert "validation_rows" not in json.loads(call("fit", *tested, "--method", "standard").out)
    assert json.loads(call("fit", *tested).out)["validation_rows"] == 15
    asked = json.loads(call("fit", *tested, "--method", "standard", "--validation", 0.3).out)
    assert asked["validation_rows"] == 45


def test_a_method_that_needs_them_gets_them(call, patients):
    """Or the contradiction is refused."""
    done = call("fit", *patients, "--method", "auto", "--validation", 0)
    assert done.code == 2
    assert 'The method "auto" needs rows held out of training.' in done.err


def test_groups_stay_together_and_teach_nothing(call, patients, tmp_path):
    """The column is no feature, and no patient stands on both sides."""
    asked = ("--group", "patient", "--validation", 0.1, "--out", "run", "--json")
    found = json.loads(call("fit", *patients, *asked).out)
    assert found["validation_rows"] % 3 == 0
    assert 9 <= found["validation_rows"] <= 21
    columns = json.loads((tmp_path / "run" / "model" / "preprocess.json").read_text())
    assert "patient" not in json.dumps(columns)
    import pandas as pd

    split = audit(tmp_path)["split"].to_numpy()
    patient = pd.read_csv(tmp_path / "patients.csv")["patient"].to_numpy()
    assert all(len(set(split[patient == each])) == 1 for each in set(patient))


def test_a_group_column_that_is_not_there_is_refused(call, patients):
    """With the nearest name."""
    done = call("fit", *patients, "--group", "patients")
    assert done.code == 2
    assert 'Did you mean "patient"' in done.err


@pytest.mark.parametrize("share", ["0.6", "-0.1", "nan"])
def test_a_share_out_of_range_is_refused(call, patients, share):
    """Before anything is read."""
    done = call("fit", *patients, f"--validation={share}")
    assert done.code == 2
    assert "validation must be in [0, 0.5]" in done.err
