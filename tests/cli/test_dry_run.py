"""`thresher fit --dry-run`: what a run would take, and nothing is written."""

import json

import numpy as np
import pytest

import shipped
from thresher.cli.fit import duration


@pytest.fixture
def table(tmp_path):
    """iris.csv in the working directory."""
    shipped.iris().to_csv(tmp_path / "iris.csv", index=False)
    return "iris.csv", "--label", "species"


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def test_it_prints_sizes_time_and_memory_and_writes_nothing(call, table, tmp_path):
    """In words a person reads."""
    done = call("fit", *table, "--dry-run", "--epochs", 7)
    assert done.code == 0
    assert names(tmp_path) == ["iris.csv"]
    assert "150 samples of 4, 3 classes; 15 held out" in done.out
    assert "for 7 epochs of 10 steps, batches of 16" in done.out
    assert "Nothing was written." in done.out


def test_json_agrees_with_the_run_it_foresees(call, table, tmp_path):
    """Sizes to the number, memory within a half: the rest belongs to the machine."""
    seen = json.loads(
        call("fit", *table, "--dry-run", "--json", "--epochs", 4, "--test", "iris.csv").out
    )
    assert seen["schema"] == 1
    assert seen["dry_run"] is True
    ran = json.loads(call("fit", *table, "--json", "--epochs", 4, "--out", "run").out)
    assert (seen["n"], seen["classes"], seen["epochs"]) == (ran["n"], ran["classes"], 4)
    assert seen["held_out"] == ran["validation_rows"]
    assert seen["parameters"] == 4 * 256 + 256 + 256 * 128 + 128 + 128 * 3 + 3
    assert seen["seconds"] > 0
    assert 0.5 * ran["peak_mib"] < seen["memory_mib"] < 1.5 * ran["peak_mib"]


@pytest.mark.parametrize("method", ["standard", "prestopping"])
def test_the_disk_has_room_for_two_checkpoints_and_what_stays(method, call, table, tmp_path):
    """With the copy that a method goes back to; of the report, which is not reckoned, nothing."""

    def size(*patterns):
        found = (each for pattern in patterns for each in (tmp_path / "run").glob(pattern))
        return sum(each.stat().st_size for each in found) / 2**20

    def told(self, number, epochs, metrics):
        if number == 5:  # by then prestopping has saved what it may go back to
            raise KeyboardInterrupt

    options = [*table, "--method", method, "--epochs", 6]
    seen = json.loads(call("fit", *options, "--dry-run", "--json").out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thresher.cli.output.Narrator.epoch", told)
        assert call("fit", *options, "--out", "run", "--save-every", 1e-9).code == 130
    assert len(list((tmp_path / "run/state").iterdir())) == 2
    checkpoints = size("state/*")
    assert call("fit", "--resume", "run").code == 0
    stays = size("model/*.safetensors", "history.safetensors")
    rounding, headers = (
        0.05,
        0.02,
    )  # the estimate has one decimal; names and JSON beside the tensors
    assert checkpoints + stays <= seen["disk_mib"] + rounding + headers
    assert seen["disk_mib"] - rounding <= checkpoints + stays + size("audit.parquet") + 200e-6 * 150


def test_more_epochs_take_longer_in_proportion(call, tmp_path):
    """Of one measurement a step, to the noise of a loaded machine."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", X=rng.normal(size=(400, 5)).astype("f4"), y=np.arange(400) % 2)
    found = json.loads(call("fit", "data.npz", "--dry-run", "--json", "--epochs", 50).out)
    assert found["steps_per_epoch"] == -(-400 // found["batch_size"])
    a_step = found["seconds"] / (50 * found["steps_per_epoch"])
    assert 1e-5 < a_step < 1


def test_what_fit_refuses_is_refused(call, table, tmp_path):
    """In the same words, and nothing is left behind."""
    done = call("fit", *table, "--dry-run", "--method", "selfy")
    assert done.code == 2
    assert 'Did you mean "selfie"' in done.err
    assert names(tmp_path) == ["iris.csv"]


def test_a_run_in_the_way_is_kept(call, table, tmp_path):
    """Whether it may be replaced or not."""
    assert call("fit", *table, "--epochs", 1, "--out", "run").code == 0
    before = (tmp_path / "run" / "audit.parquet").read_bytes()
    assert call("fit", *table, "--dry-run", "--out", "run").code == 2
    assert call("fit", *table, "--dry-run", "--out", "run", "--overwrite").code == 0
    assert (tmp_path / "run" / "audit.parquet").read_bytes() == before
    assert names(tmp_path) == ["iris.csv", "run"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0 s"), (99, "99 s"), (150, "2.5 min"), (7200, "2.0 h")]
)
def test_a_length_of_time_is_told_in_its_unit(seconds, words):
    """Not 7200 seconds."""
    assert duration(seconds) == words


def test_steps_of_several_batches_are_counted_as_steps(call, table):
    """Ten batches an epoch, four to a step: the last step has two."""
    done = call("fit", *table, "--dry-run", "--json", "--accumulate", 4)
    found = json.loads(done.out)
    assert (found["steps_per_epoch"], found["batch_size"]) == (3, 16)
    refused = call("fit", *table, "--accumulate", 0)
    assert refused.code == 2
    assert "accumulate must be at least 1, got 0." in refused.err
