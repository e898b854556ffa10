"""`thresher demo`: the main job on digits, shortened; in full in the slow suite."""

import json

import pyarrow.parquet as pq
import pytest

import thresher.demonstration


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(thresher.demonstration, "EPOCHS", 3)


@pytest.mark.usefixtures("short")
def test_the_demo_leaves_a_run_and_tells_what_it_came_to(call, tmp_path):
    """The summary of the run, and the figures that need the true labels."""
    done = call("demo", "--json")
    assert done.code == 0
    found = json.loads(done.out)
    assert {
        "noise_rate",
        "standard_test_accuracy",
        "test_accuracy",
        "average_precision",
        "precision",
        "recall",
    } <= set(found)
    assert found["run"] == "runs/demo"
    assert found["n"] == 1347
    assert found["noise_rate"] == pytest.approx(0.4, abs=0.005)
    assert found["noise_rate"] < found["average_precision"] <= 1
    assert pq.read_metadata("runs/demo/audit.parquet").num_rows == 1347
    assert ["runs"] == [each.name for each in tmp_path.iterdir()]
    assert ["demo"] == [each.name for each in (tmp_path / "runs").iterdir()]


@pytest.mark.usefixtures("short")
def test_a_demo_without_wrong_labels_is_told_too(call):
    """There is nothing to rank then."""
    done = call("demo", "--noise-rate", 0)
    assert done.code == 0, done.err
    assert "0 % of their labels made wrong" in done.out
    assert "no label is wrong" in done.out


@pytest.mark.usefixtures("short")
def test_people_read_the_gap_in_a_few_lines(call):
    """Two accuracies, the ranking, the noise rate, and where to look."""
    lines = call("demo", "--noise-rate", 0.2, "--out", "shown").out.splitlines()
    titles = [each[:20].strip() for each in lines]
    assert ["standard training", "thresher", "labels called wrong", "average precision"] == [
        each for each in titles[3:8] if each
    ]
    assert lines[-1].endswith("shown/report.html")


@pytest.mark.usefixtures("short")
def test_the_demo_is_not_overwritten_unasked(call, tmp_path):
    """It is before the first training that it says so."""
    (tmp_path / "runs/demo").mkdir(parents=True)
    done = call("demo")
    assert done.code == 2
    assert "runs/demo exists" in done.complaint[0]
    assert "epoch" not in done.err


def test_a_demo_that_is_stopped_says_how_to_begin_again(call, monkeypatch, tmp_path):
    """Its data lie in memory, so that it cannot be resumed from the shell."""

    def told(self, number, epochs, metrics):
        raise KeyboardInterrupt

    monkeypatch.setattr("thresher.cli.output.Narrator.epoch", told)
    done = call("demo")
    assert done.code == 130
    assert "--overwrite" in done.err
    assert "--resume" not in done.err


@pytest.mark.slow
def test_the_demo_shows_the_gap(call):
    """With 40 % wrong labels: ten points of accuracy, and nearly every wrong label ranked first."""
    found = json.loads(call("demo", "--json").out)
    assert found["standard_test_accuracy"] + 0.1 < found["test_accuracy"]
    assert 0.9 < found["average_precision"]
    assert 0.9 < found["precision"]
