"""A grid is gone on with, widened, and not stopped by a cell that fails."""

import json
import sys
from dataclasses import replace
from multiprocessing import active_children

import numpy as np
import pyarrow.parquet as pq
import pytest

import thresher
from bench_rows import row
from thresher.bench import cell as cells
from thresher.bench import compare as comparing
from thresher.bench import worker
from thresher.bench.compare import Grid, compare, resumed_grid
from thresher.bench.folder import BenchFolder
from thresher.bench.noise_spec import parse_noise
from thresher.bench.processes import TimeLeft, ending
from thresher.bench.reading import open_source
from thresher.bench.settings import BenchSettings, Cell
from thresher.errors import MissingPackageError, ParameterError, RunError

SETTINGS = BenchSettings(epochs=1, limit=200)


class Watched:
    """Hears everything."""

    def __init__(self):
        self.notes, self.cells, self.began_with = [], [], None

    def note(self, sentence):
        self.notes.append(sentence)

    def begin(self, cells, done):
        self.began_with = (cells, done)

    def began(self, cell):
        pass

    def ended(self, ended, number, total):
        self.cells.append(ended)


@pytest.fixture
def no_cleanlab(monkeypatch):
    """As where it is not installed."""

    def missing():
        raise MissingPackageError("cleanlab is not installed.", "Install it.")

    monkeypatch.setattr(comparing, "require_cleanlab", missing)


def run(out, methods, noise="none", seeds=1, settings=SETTINGS, jobs=2):
    """The summary, and who heard how it went."""
    watcher = Watched()
    grid = Grid.of(methods, noise, seeds, settings)
    return compare(out, settings, grid, jobs=jobs, watcher=watcher), watcher


@pytest.mark.usefixtures("no_cleanlab")
def test_a_grid_is_resumed_and_widened_and_a_failed_cell_stops_nothing(tmp_path):
    """rho-loss cannot fit three trainings into one epoch; cleanlab is not there."""
    out = tmp_path / "bench"
    summary, watcher = run(out, "rho-loss,gce")
    assert (summary["cells"], summary["done"], summary["failed"], summary["skipped"]) == (
        4,
        2,
        1,
        1,
    )
    (failure,) = summary["failures"]
    assert failure["method"] == "rho-loss"
    assert "cannot hold 3 trainings" in failure["reason"]
    assert any("cleanlab is left out" in note for note in watcher.notes)
    rows = pq.read_table(out / "rows.parquet").to_pylist()
    assert sorted((row["method"], row["status"]) for row in rows) == [
        ("cleanlab", "skipped"),
        ("gce", "done"),
        ("rho-loss", "failed"),
        ("standard", "done"),
    ]
    for name in ("report.html", "report.md", "summary.json"):
        assert (out / name).stat().st_size > 500

    folder = BenchFolder(out)
    earlier = folder.file_of(Grid.of("gce", "none", 1, SETTINGS).cells()[1])
    earlier.write_text(earlier.read_text().replace(thresher.__version__, "0.0.1"))
    before = {path: path.stat().st_mtime_ns for path in folder.cells.glob("*seed-0.json")}
    assert len(before) == 2
    settings, _ = resumed_grid(out)
    assert settings == SETTINGS
    summary, watcher = run(out, "gce", "none,pair:0.2")
    assert watcher.began_with == (4, 2)
    assert any("1 finished cell of thresher 0.0.1" in note for note in watcher.notes)
    for name in ("report.html", "report.md"):
        assert f"thresher 0.0.1 and {thresher.__version__}" in (out / name).read_text()
    assert {str(each.cell) for each in watcher.cells} == {
        "standard, pair:0.2, seed 0",
        "gce, pair:0.2, seed 0",
    }
    assert (summary["done"], summary["failed"]) == (4, 0)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not (out / "state").exists()
    assert json.loads((out / "summary.json").read_text())["done"] == 4
    assert len(pq.read_table(out / "rows.parquet")) == 7  # with the failed one of before


@pytest.mark.usefixtures("no_cleanlab")
def test_a_cell_that_is_killed_is_reported_and_the_rest_goes_on(tmp_path):
    """As the system does when memory runs out."""

    class Killing(Watched):
        def began(self, cell):
            if cell.method == "standard":
                (child,) = active_children()
                child.kill()

    watcher = Killing()
    grid = Grid.of("gce", "none", 1, SETTINGS)
    summary = compare(tmp_path / "bench", SETTINGS, grid, jobs=1, watcher=watcher)
    assert (summary["done"], summary["failed"]) == (1, 1)
    (failure,) = summary["failures"]
    assert failure["method"] == "standard"
    assert "was ended by SIGKILL" in failure["reason"]


def test_other_settings_or_data_are_refused_and_leave_all_as_it_is(tmp_path):
    """Cells that differ in more than method, noise and seed cannot be compared."""
    out = tmp_path / "bench"
    folder = BenchFolder(out)
    folder.make()
    source = comparing.open_source(SETTINGS)
    comparing.begin(folder, SETTINGS, Grid.of("elr", "none", 1, SETTINGS), source)
    before = folder.settings.read_bytes()
    with pytest.raises(RunError, match="measured with epochs 1, now it is 5"):
        run(out, "elr", settings=BenchSettings(epochs=5, limit=200))
    assert [each.name for each in out.iterdir()] == ["bench.toml"]  # nothing empty is left
    tables = folder.read_settings()
    tables["data"]["fingerprint"] = "other"
    tables.pop("schema")
    folder.write_settings(tables)
    with pytest.raises(RunError, match="data are not those"):
        run(out, "elr")
    assert before != folder.settings.read_bytes()
    assert folder.all_rows() == []


@pytest.mark.parametrize(
    ("noise", "settings", "match"),
    [
        ("asymmetric:0.4", SETTINGS, "does not say which"),
        ("none", BenchSettings(data="missing.csv"), "missing.csv"),
    ],
)
def test_bad_input_leaves_nothing_behind(tmp_path, noise, settings, match):
    """It is refused before a folder is left."""
    with pytest.raises(Exception, match=match):
        run(tmp_path / "bench", "elr", noise, settings=settings)
    assert not (tmp_path / "bench").exists()
    with pytest.raises(ParameterError, match="jobs must be at least 1"):
        run(tmp_path / "bench", "elr", jobs=0)


@pytest.mark.usefixtures("no_cleanlab")
def test_a_folder_in_which_nothing_began_is_gone_on_with(tmp_path):
    """An empty one after a slip, and what a process leaves that is killed while it reads data."""
    out = tmp_path / "bench"
    out.mkdir()
    with pytest.raises(ParameterError, match="does not say which"):
        run(out, "elr", "asymmetric:0.4")
    assert list(out.iterdir()) == []
    folder = BenchFolder(out)
    folder.make()
    (folder.state / ".images-0123456789abcdef.partial").mkdir()
    folder.settings.with_name(".bench.toml.partial").write_text("sch")
    folder.refuse_other()
    source = open_source(SETTINGS)
    comparing.begin(folder, SETTINGS, Grid.of("elr", "none", 1, SETTINGS), source)
    assert folder.begun


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A benchmark on a table, with a method of one's own; no cell is done."""
    random = np.random.default_rng(0)
    lines = [f"{each % 3 + x:.4f},{'abc'[each % 3]}" for each, x in enumerate(random.random(60))]
    (tmp_path / "data.csv").write_text("\n".join(["x,label", *lines]))
    (tmp_path / "grid_method.py").write_text(
        "from thresher.noise import Standard\n\n\nclass Mine(Standard):\n    name = 'mine'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "grid_method", raising=False)
    monkeypatch.setattr(worker, "warm_up", lambda: None)
    settings = BenchSettings(data=str(tmp_path / "data.csv"), epochs=1)
    grid = Grid.of("grid_method:Mine", "none", 1, settings)
    folder = BenchFolder(tmp_path / "bench")
    folder.make()
    comparing.begin(folder, settings, grid, open_source(settings))
    return folder, settings, grid


def test_a_cell_whose_data_have_changed_fails(begun, tmp_path):
    """Each compares what it reads with what the benchmark was begun on."""
    folder, settings, grid = begun
    data = tmp_path / "data.csv"
    data.write_text(data.read_text().replace(",a", ",b", 1))
    with pytest.raises(RunError, match="data have changed since the benchmark was begun"):
        worker.warmed(settings, grid.cells()[0], folder)
    data.write_text(data.read_text().replace(",b", ",a", 1))
    cells.opened.cache_clear()
    assert worker.warmed(settings, grid.cells()[0], folder)["last"] >= 0


def test_a_method_of_ones_own_whose_source_has_changed_is_not_mixed(begun, tmp_path):
    """Figures of both would stand under one name; one that has none yet may be mended."""
    folder, settings, grid = begun
    source = tmp_path / "grid_method.py"
    cell = grid.cells()[1]
    before = folder.read_settings()["methods"]["grid_method:Mine"]
    source.write_text(source.read_text() + "# mended\n")
    with pytest.raises(RunError, match='source of the method "grid_method:Mine" is not that'):
        worker.warmed(settings, cell, folder)
    comparing.begin(folder, settings, grid, open_source(settings))
    after = folder.read_settings()["methods"]["grid_method:Mine"]
    assert after != before
    folder.keep(cell, {"method": cell.method, "noise": "none", "seed": 0})
    source.write_text(source.read_text() + "# changed\n")
    with pytest.raises(RunError, match="is not that of the cells"):
        comparing.begin(folder, settings, grid, open_source(settings))
    others = Grid.of("gce", "none", 1, settings)
    comparing.begin(folder, settings, others, open_source(settings))
    assert folder.read_settings()["methods"] == {"grid_method:Mine": after}


def test_a_folder_without_a_benchmark_cannot_be_gone_on_with(tmp_path):
    """Nothing says what to compare."""
    with pytest.raises(RunError, match="holds no benchmark"):
        resumed_grid(tmp_path)


def test_time_left_is_that_of_the_methods_to_come():
    """Two of 3 s, one of 9 s that has run for 4 s, in two processes."""
    grid = Grid.of("elr", "none", 2, SETTINGS)
    cells = {(each.method, each.seed): each for each in grid.cells()}
    times = TimeLeft({"standard": [2.0, 4.0], "cleanlab": [9.0]})
    waiting = [cells["standard", 0], cells["standard", 1]]
    assert times.left(waiting, {cells["cleanlab", 0]: 4.0}, 2) == (3 + 3 + 5) / 2
    assert times.left([], {cells["cleanlab", 0]: 20.0}, 2) == 0
    assert TimeLeft().left(waiting, {}, 1) == 0


def test_how_a_process_ended_is_said():
    """By a signal or with a code."""
    assert ending(-9).endswith("as it is when memory runs out")
    assert ending(-11) == "its process was ended by SIGSEGV"
    assert ending(3) == "its process ended with exit code 3"


def test_the_command_of_a_report_makes_the_same_grid(tmp_path):
    """Every option that is not left at its default."""
    settings = BenchSettings(data="a b.csv", label="y", told="true", text=("t",), epochs=4)
    grid = Grid.of("elr", "pair:0.4", 2, SETTINGS)
    written = comparing.command(tmp_path / "out", settings, grid)
    assert written == (
        "thresher bench noise --data 'a b.csv' --label y --epochs 4 --noise-rate true --text t "
        f"--methods standard,elr,cleanlab --noise pair:0.4 --seeds 2 --out {tmp_path}/out"
    )
    assert Cell("elr", grid.noises[0], 1) in grid.cells()


def further_data(folder):
    """Noise of the shape of the digits."""
    path = folder / "noise.npy"
    np.save(path, np.random.default_rng(0).uniform(0, 16, size=(60, 64)).astype(np.float32))
    return str(path)


def test_methods_with_a_second_stream_are_refused_without_one(tmp_path):
    """Before a folder is made."""
    with pytest.raises(ParameterError, match=r"taufe, odnl\. .*with --auxiliary"):
        run(tmp_path / "bench", "taufe,gce,odnl")
    assert not (tmp_path / "bench").exists()


def test_further_data_bring_their_methods_into_the_comparison(tmp_path):
    """And nothing else; they are part of what the cells were measured on."""
    settings = replace(SETTINGS, auxiliary=further_data(tmp_path))
    with_them = Grid.of(None, None, 1, settings).methods
    assert set(with_them) - set(Grid.of(None, None, 1, SETTINGS).methods) == {
        "taufe",
        "oat",
        "odnl",
    }
    assert open_source(settings).fingerprint != open_source(SETTINGS).fingerprint


def test_a_report_names_what_was_not_come_to_and_the_command_that_makes_all_it_shows(tmp_path):
    """Also the methods, kinds of noise and seeds of former calls."""
    folder = BenchFolder(tmp_path / "out")
    folder.make()
    for method, noise, seed in (
        ("standard", "none", 0),
        ("gce", "pair:0.2", 2),
        ("standard", "pair:0.2", 2),
    ):
        folder.keep(
            Cell(method, parse_noise(noise), seed), row(method, noise, seed, noise_rate=0.2)
        )
    grid = Grid.of("mae", "none", 2, SETTINGS)
    peer = {cell: "not there" for cell in grid.cells() if cell.method == "cleanlab"}
    summary = comparing.write_results(folder, SETTINGS, grid, peer)
    assert (summary["cells"], summary["done"], summary["skipped"]) == (6, 1, 2)
    text = folder.markdown.read_text()
    for line in (
        "- standard, none, seed 1: not computed, the benchmark was ended before",
        "- mae, none, seeds 0, 1: not computed, the benchmark was ended before",
        "- cleanlab, none, seeds 0, 1: skipped, not there",
    ):
        assert line in text
    assert "--methods standard,mae,gce,cleanlab --noise none,pair:0.2 --seeds 3 --out" in text
    assert len(pq.read_table(folder.rows)) == 5
