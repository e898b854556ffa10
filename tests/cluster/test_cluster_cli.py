"""`thresher dbscan` and `thresher kmedoids`: from a file of points to a file of clusters."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import types
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.cluster import DBSCAN

from thresher.cli import main
from thresher.cluster.metric import EARTH_RADIUS, euclidean_view
from thresher.cluster.points import Clustered

PROGRAM = (sys.executable, "-c", "from thresher.cli import main; main()")


def engine(points, eps, min_samples, *, metric, rho, algorithm, weights, jobs, phase, tell):
    """scikit-learn in the place of our engines, which have tests of their own."""
    view, radius = euclidean_view(points, metric, eps)
    X = np.concatenate([view.part(number) for number in range(len(view.starts) - 1)])
    phase("core points", 0.0)
    phase("core points", 1.0)
    found = DBSCAN(eps=radius, min_samples=min_samples).fit(X, sample_weight=weights)
    core = np.zeros(len(X), bool)
    core[found.core_sample_indices_] = True
    return Clustered(found.labels_.astype(np.int32), core, {"engine": "grid", "cells": 7})


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run a command in this process, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    stand_in = types.ModuleType("thresher.cluster.dbscan")
    stand_in.cluster_points = engine
    monkeypatch.setitem(sys.modules, "thresher.cluster.dbscan", stand_in)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["thresher", *map(str, arguments)])
        with pytest.raises(SystemExit) as leaving:
            main()
        return Outcome(leaving.value.code, *capsys.readouterr())

    return run


def blobs(count=90):
    """Three blobs and three points of noise, with a name each."""
    random = np.random.default_rng(0)
    X = random.normal(size=(count, 2)) * 0.2 + np.repeat([[0, 0], [5, 0], [0, 5]], count // 3, 0)
    X = np.concatenate([X, [[20, 20], [-20, 20], [20, -20]]])
    return pd.DataFrame(X, columns=["a", "b"]).assign(name=[f"row {i}" for i in range(len(X))])


@pytest.fixture
def points(tmp_path):
    """points.parquet, of two row groups, as a data frame."""
    frame = blobs()
    frame.to_parquet(tmp_path / "points.parquet", row_group_size=50)
    return frame


DBSCAN_BLOBS = (
    "dbscan",
    "points.parquet",
    "--eps",
    "0.5",
    "--columns",
    "a,b",
    "--out",
    "c.parquet",
)
KMEDOIDS_BLOBS = (
    "kmedoids",
    "points.parquet",
    "--k",
    "3",
    "--columns",
    "a,b",
    "--out",
    "c.parquet",
)


def contents(folder):
    return {each.name for each in folder.iterdir()}


# ---------------------------------------------------------------------- dbscan
def test_every_row_gets_its_cluster(call, points, tmp_path):
    """The input's columns in their order and types, then the cluster and whether it is core."""
    done = call(*DBSCAN_BLOBS)
    assert done.code == 0, done.err
    written = pq.read_table("c.parquet")
    assert ["a", "b", "name", "cluster", "is_core"] == written.column_names
    given = pq.read_table("points.parquet")
    assert written.select(["a", "b", "name"]).equals(given)
    right = DBSCAN(eps=0.5).fit(points[["a", "b"]])
    assert right.labels_.tolist() == written["cluster"].to_pylist()
    assert right.core_sample_indices_.tolist() == np.flatnonzero(written["is_core"]).tolist()
    assert [pa.int32(), pa.bool_()] == written.schema.types[-2:]
    facts = json.loads(written.schema.metadata[b"thresher"])
    assert facts["schema"] == 1
    assert facts["method"] == "dbscan"
    assert facts["eps"] == 0.5
    assert {"points.parquet", "c.parquet"} == contents(tmp_path)


def test_the_summary_says_what_was_found(call, points):
    """A line each on standard output; the phases on standard error."""
    done = call(*DBSCAN_BLOBS)
    lines = dict(re.split(r"  +", line, maxsplit=1) for line in done.out.splitlines())
    assert lines["points"] == "93 in 2 dimensions"
    assert lines["clusters"].startswith("3, the largest of ")
    noise = int((DBSCAN(eps=0.5).fit_predict(points[["a", "b"]]) == -1).sum())
    assert lines["noise"] == f"{noise} ({100 * noise / 93:.1f} %)"
    assert lines["engine"] == "grid"
    assert re.fullmatch(r"[\d.]+ s", lines["time"])
    assert re.fullmatch(r"[\d,]+ MiB at the peak", lines["memory"])
    assert lines["labels"] == "c.parquet"
    assert ["checking", "core points", "writing"] == done.err.splitlines()


def test_json_is_one_object(call, points):
    """With what was asked, what was found, and what it cost."""
    done = call(*DBSCAN_BLOBS, "--json", "--jobs", 1)
    found = json.loads(done.out)
    assert found["schema"] == 1
    labels = DBSCAN(eps=0.5).fit(points[["a", "b"]])
    assert {
        "points": "points.parquet",
        "out": "c.parquet",
        "plot": None,
        "method": "dbscan",
        "columns": ["a", "b"],
        "metric": "euclidean",
        "eps": 0.5,
        "min_samples": 5,
        "rho": 0.0,
        "weight": None,
        "n": 93,
        "dimension": 2,
        "clusters": 3,
        "largest": int(np.bincount(labels.labels_ + 1)[1:].max()),
        "noise": int((labels.labels_ < 0).sum()),
        "core": len(labels.core_sample_indices_),
        "border": int((labels.labels_ >= 0).sum()) - len(labels.core_sample_indices_),
        "engine": "grid",
        "statistics": {"engine": "grid", "cells": 7},
    } == {
        name: each for name, each in found.items() if name not in ("schema", "seconds", "peak_mib")
    }
    assert found["seconds"] > 0
    assert found["peak_mib"] > 10


@pytest.mark.parametrize("kind", ["csv", "npy", "folder"])
def test_every_form_of_points_becomes_a_parquet(kind, call, points, tmp_path):
    """The same clusters of the same points."""
    X = points[["a", "b"]]
    if kind == "csv":
        X.to_csv("points.csv", index=False)
    elif kind == "npy":
        np.save("points.npy", X.to_numpy())
    else:
        (tmp_path / "points.folder").mkdir()
        X[:40].to_parquet("points.folder/0.parquet")
        X[40:].to_parquet("points.folder/1.parquet")
    done = call("dbscan", f"points.{kind}", "--eps", 0.5, "--out", "c.parquet")
    assert done.code == 0, done.err
    written = pq.read_table("c.parquet")
    names = ["x0", "x1"] if kind == "npy" else ["a", "b"]
    assert [*names, "cluster", "is_core"] == written.column_names
    np.testing.assert_array_equal(X, np.column_stack([written[name] for name in names]))
    assert DBSCAN(eps=0.5).fit_predict(X).tolist() == written["cluster"].to_pylist()


@pytest.mark.parametrize("kind", ["csv", "parquet", "npy"])
@pytest.mark.parametrize("command", [DBSCAN_BLOBS, KMEDOIDS_BLOBS])
def test_no_points_make_no_clusters(command, kind, call, points):
    """An empty output, and no error."""
    empty = points[:0]
    empty.to_parquet("points.parquet")
    empty.to_csv("points.csv", index=False)
    np.save("points.npy", np.empty((0, 2)))
    arguments = list(command)
    arguments[1] = f"points.{kind}"
    if kind == "npy":
        arguments[arguments.index("a,b")] = "x0,x1"
    done = call(*arguments, "--plot", "c.png")
    assert done.code == 0, done.err
    written = pq.read_table("c.parquet")
    assert written.num_rows == 0
    assert "cluster" in written.column_names
    with Image.open("c.png") as image:
        assert image.width > 100


def test_labels_can_stand_alone(call, points):
    """Even where the input has a column of that name, which else is refused."""
    points.assign(cluster=1).to_parquet("points.parquet")
    done = call(*DBSCAN_BLOBS)
    assert done.code == 2
    assert done.err.splitlines()[-2:] == [
        'thresher: The input has a column "cluster" already.',
        "          Rename it, or write the labels alone with --only-labels.",
    ]
    assert call(*DBSCAN_BLOBS, "--only-labels").code == 0
    assert ["cluster", "is_core"] == pq.read_table("c.parquet").column_names


def test_weights_count_as_neighbours(call, points):
    """Their column is no coordinate; a heavy point is core by itself."""
    weighted = points[["a", "b"]].assign(w=[1] * 90 + [5, 4, 5])
    weighted.to_parquet("points.parquet")
    done = call("dbscan", "points.parquet", "--eps", 0.5, "--weight", "w", "--out", "c.parquet")
    assert done.code == 0, done.err
    assert [True, False, True] == pq.read_table("c.parquet")["is_core"].to_pylist()[-3:]
    weighted.assign(w=-1).to_parquet("points.parquet")
    done = call("dbscan", "points.parquet", "--eps", 0.5, "--weight", "w", "--out", "d.parquet")
    assert done.code == 2
    assert 'row 0 (counting from 0) is -1, in "w".' in done.err


PLACES = pd.DataFrame(
    {
        "place": ["port", "quay", "fort", "inn", "far", "date line", "across"],
        "lat": [48.0, 48.0001, 48.0002, 48.0003, 10.0, 0.0, 0.0],
        "lon": [2.0, 2.0, 2.0, 2.0, 10.0, 180.0, -179.9999],
    }
)


def test_haversine_takes_degrees_and_metres(call, tmp_path):
    """Latitude first; 0.0001 degrees are 11 metres, also across the date line."""
    PLACES.to_csv("places.csv", index=False)
    common = ("--metric", "haversine", "--columns", "lat,lon", "--min-samples", 2)
    done = call(
        "dbscan", "places.csv", "--eps", 12, *common, "--out", "c.parquet", "--plot", "c.png"
    )
    assert done.code == 0, done.err
    written = pq.read_table("c.parquet")
    assert [0, 0, 0, 0, -1, 1, 1] == written["cluster"].to_pylist()
    assert PLACES["lat"].to_list() == written["lat"].to_pylist()
    assert call("dbscan", "places.csv", "--eps", 11, *common, "--out", "d.parquet").code == 0
    assert set(pq.read_table("d.parquet")["cluster"].to_pylist()) == {-1}


def test_swapped_and_scaled_positions_are_guessed(call, tmp_path):
    """And nothing is written."""
    moved = PLACES.assign(lon=[122.4] * 7)
    moved.to_csv("places.csv", index=False)
    arguments = ("dbscan", "places.csv", "--eps", 12, "--metric", "haversine", "--out", "c.parquet")
    done = call(*arguments, "--columns", "lon,lat")
    assert done.code == 2
    assert "Row 0 (counting from 0) has a latitude of 122.4 degrees, beyond ±90." in done.err
    assert "The columns are probably swapped: latitude comes first" in done.err
    (moved[["lat", "lon"]] * 1e5).astype(int).to_csv("places.csv", index=False)
    assert "degrees × 100,000" in call(*arguments, "--columns", "lat,lon").err
    assert {"places.csv"} == contents(tmp_path)


def test_the_picture_is_of_the_columns(call, points):
    """A PNG beside the labels."""
    assert call(*DBSCAN_BLOBS, "--plot", "c.png").code == 0
    with Image.open("c.png") as image:
        assert image.format == "PNG"


# ---------------------------------------------------------------------- kmedoids
def test_every_row_gets_the_nearest_medoid(call, points):
    """The distance to it stands beside; the summary says their sum."""
    done = call(*KMEDOIDS_BLOBS, "--json", "--plot", "c.png")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    written = pq.read_table("c.parquet")
    assert ["a", "b", "name", "cluster", "distance"] == written.column_names
    assert [pa.int32(), pa.float64()] == written.schema.types[-2:]
    X = points[["a", "b"]].to_numpy()
    to_medoids = np.linalg.norm(X[:, None] - X[found["medoids"]], axis=2)
    np.testing.assert_allclose(to_medoids.min(axis=1), written["distance"], rtol=1e-12)
    assert to_medoids.argmin(axis=1).tolist() == written["cluster"].to_pylist()
    assert found["inertia"] == pytest.approx(to_medoids.min(axis=1).sum())
    assert (found["schema"], found["k"], found["clusters"], found["n"]) == (1, 3, 3, 93)


def test_the_same_seed_gives_the_same_file(call, points):
    """Whatever the number of threads."""
    sampled = ("--sample-size", 20, "--samples", 2, "--seed", 7)
    assert call(*KMEDOIDS_BLOBS, *sampled, "--jobs", 1).code == 0
    first = pq.read_table("c.parquet")
    assert call(*KMEDOIDS_BLOBS, *sampled, "--jobs", 2, "--overwrite").code == 0
    assert first.equals(pq.read_table("c.parquet"))


def test_distances_on_the_earth_are_metres(call):
    """Between places in degrees."""
    PLACES[:2].to_csv("places.csv", index=False)
    done = call(
        *("kmedoids", "places.csv", "--k", 1, "--metric", "haversine", "--columns", "lat,lon"),
        *("--out", "c.parquet", "--json"),
    )
    assert done.code == 0, done.err
    metres = np.deg2rad(0.0001) * EARTH_RADIUS
    assert sorted(pq.read_table("c.parquet")["distance"].to_pylist()) == pytest.approx([0, metres])
    assert json.loads(done.out)["inertia"] == pytest.approx(metres)


def test_more_clusters_than_points_are_said_aloud(call):
    """Each distinct point is one."""
    np.save("x.npy", np.array([[0.0], [0.0], [3.0]]))
    done = call("kmedoids", "x.npy", "--k", 5, "--out", "c.parquet")
    assert done.code == 0, done.err
    assert "note: There are 2 distinct points, fewer than --k 5" in done.err
    assert [0, 0, 1] == pq.read_table("c.parquet")["cluster"].to_pylist()


# ---------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("arguments", "cause", "fix"),
    [
        (["--eps", 0], "--eps must be above 0 and finite, got 0.", "Example: --eps 0.5"),
        (["--eps", "nan"], "--eps must be above 0 and finite, got nan.", "Example"),
        (["--min-samples", 0], "--min-samples must be above 0 and finite, got 0.", "Example"),
        (["--rho", 1], "--rho must be in [0, 1), got 1.", "0 is exact."),
        (["--algorithm", "tre"], '--algorithm "tre" is unknown.', 'Did you mean "tree"?'),
        (["--metric", "cosin"], '--metric "cosin" is unknown.', 'Did you mean "cosine"?'),
        (["--out", "c.csv"], '--out must end in .parquet, got "c.csv".', "--out clusters.parquet"),
        (["--plot", "c.jpg"], '--plot must end in .png, got "c.jpg".', "--plot clusters.png"),
        (["--out", "points.parquet"], "--out points.parquet and the points in points", "outside"),
        (["--out", "no/c.parquet"], "There is no folder no for --out.", "Make it first."),
        (["--columns", "a,c"], 'There is no column "c".', "Allowed: a, b, name."),
        (["--columns", "a,name"], 'Column "name" holds text', "Leave it out"),
        (["--weight", "w"], 'There is no column "w".', "Allowed: a, b, name."),
    ],
)
def test_what_cannot_be_done_is_refused(arguments, cause, fix, call, points, tmp_path):
    """A line of cause, a line of fix, exit 2; nothing is written."""
    done = call(*DBSCAN_BLOBS, *arguments)
    assert done.code == 2
    told = [line for line in done.err.splitlines() if line.startswith(("thresher: ", "   "))]
    assert cause in told[0]
    assert fix in told[1]
    assert {"points.parquet"} == contents(tmp_path)


def test_text_is_refused_unless_columns_are_chosen(call, points):
    """The repair is an option to paste."""
    done = call("dbscan", "points.parquet", "--eps", 1, "--out", "c.parquet")
    assert done.code == 2
    assert 'Column "name" holds text' in done.err
    assert "--columns a,b" in done.err


def test_a_missing_number_is_named_by_its_place(call, points):
    """Row, column, file and row group."""
    points.loc[77, "b"] = np.nan
    points.to_parquet("points.parquet", row_group_size=50)
    done = call(*DBSCAN_BLOBS)
    assert done.code == 2
    assert 'Row 77 (counting from 0) has NaN (or missing) in column "b"' in done.err
    assert "(row 27 of row group 1 in " in done.err


@pytest.mark.parametrize("name", ["c.parquet", "c.png"])
def test_what_stands_there_is_replaced_on_request_only(name, call, points, tmp_path):
    """Refused before the work."""
    (tmp_path / name).write_text("precious")
    done = call(*DBSCAN_BLOBS, "--plot", "c.png")
    assert done.code == 2
    assert f"{name} exists already." in done.err
    assert "--overwrite to replace it" in done.err
    assert (tmp_path / name).read_text() == "precious"
    assert call(*DBSCAN_BLOBS, "--plot", "c.png", "--overwrite").code == 0
    assert (tmp_path / name).read_bytes() != b"precious"


def test_nothing_is_written_into_the_folder_of_the_points(call, points, tmp_path):
    """The next run would read it."""
    (tmp_path / "in").mkdir()
    (tmp_path / "points.parquet").rename(tmp_path / "in/0.parquet")
    done = call("dbscan", "in", "--eps", 1, "--columns", "a,b", "--out", "in/c.parquet")
    assert done.code == 2
    assert "are not apart" in done.err
    assert {"0.parquet"} == contents(tmp_path / "in")


def test_all_weights_zero_have_no_medoid(call, points):
    """Which is said before the search."""
    points[["a", "b"]].assign(w=0).to_parquet("points.parquet")
    done = call("kmedoids", "points.parquet", "--k", 2, "--weight", "w", "--out", "c.parquet")
    assert done.code == 2
    assert "All weights are zero" in done.err


# ---------------------------------------------------------------------- the program
@pytest.mark.parametrize("command", ["dbscan", "kmedoids"])
def test_help_answers_at_once(command, tmp_path):
    """Nothing heavy is loaded, every option has words, and the program lists the command."""
    code = (
        "import sys; from thresher.cli import main\n"
        f"sys.argv = ['thresher', *{[command, '--help']}]\n"
        "try: main()\n"
        "finally: print([n for n in ('numba', 'pyarrow', 'numpy', 'torch', 'scipy', 'PIL') "
        "if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    for option in ("--columns", "--metric", "--out", "--only-labels", "--plot", "--json"):
        assert option in done.stdout
    listed = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, check=True)
    assert f" {command} " in listed.stdout


WITHOUT_ENGINES = (
    "import os, signal, sys, types, numpy as np\n"
    "from thresher.cli import main\n"
    "from thresher.cluster import labels_file\n"
    "from thresher.cluster.points import Clustered\n"
    "def one_cluster(points, *arguments, phase, **options):\n"
    "    phase('core points', 0.5)\n"
    "    n = points.rows\n"
    "    return Clustered(np.zeros(n, np.int32), np.ones(n, bool), {'engine': 'none'})\n"
    "name = 'thresher.cluster.dbscan'\n"
    "sys.modules[name] = types.ModuleType(name)\n"
    "sys.modules[name].cluster_points = one_cluster\n"
    f"sys.argv = ['thresher', *{DBSCAN_BLOBS}]\n"
)
KILLED = (
    "real = labels_file.pq.ParquetWriter.write_table\n"
    "def write(self, *rest, **more):\n"
    "    real(self, *rest, **more)\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\n"
    "labels_file.pq.ParquetWriter.write_table = write\n"
)


def test_a_killed_command_leaves_no_half_written_output(points, tmp_path):
    """Killed while it writes: no file of that name; the next run replaces what it left."""
    program = [sys.executable, "-c", WITHOUT_ENGINES + KILLED + "main()"]
    killed = subprocess.run(program, cwd=tmp_path, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "c.parquet" not in contents(tmp_path)
    program[-1] = WITHOUT_ENGINES + "main()"
    subprocess.run(program, cwd=tmp_path, check=True, capture_output=True)
    assert {"points.parquet", "c.parquet"} == contents(tmp_path)


def test_an_interrupted_command_ends_with_130(call, points, monkeypatch, tmp_path):
    """And leaves nothing."""

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("thresher.cluster.labels_file.pq.ParquetWriter.write_table", stop)
    assert call(*DBSCAN_BLOBS).code == 130
    assert {"points.parquet"} == contents(tmp_path)


def test_a_terminal_shows_a_bar_with_the_phases(points, tmp_path):
    """And the summary afterwards, without the bar's remains."""
    inner, outer = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_ENGINES + "main()"],
        stdin=outer,
        stdout=outer,
        stderr=outer,
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"},
    )
    os.close(outer)
    shown = b""
    with suppress(OSError):  # how Linux says that the last writer has gone
        while part := os.read(inner, 65536):
            shown += part
    os.close(inner)
    assert running.wait(60) == 0, shown
    text = shown.decode()
    assert "checking" in text
    assert "\x1b[" in text
    assert "clusters  1, the largest of 93" in text


def test_lasting_phases_are_told_again_but_not_often(monkeypatch, capsys):
    """In a pipe: a line when a phase begins, and one every five seconds."""
    from thresher.cli.clustering import Phases

    clock = iter(np.arange(0, 100, 2.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    phases = Phases()
    for share in (0.0, 0.1, 0.2, 0.3, 0.4, 1.0):
        phases("sorting", share)
    phases("joining", 0.0)
    assert ["sorting", "sorting 30 %", "joining"] == capsys.readouterr().err.splitlines()


def test_the_commands_know_the_words_of_the_library():
    """They are written where nothing heavy is loaded, and mean something there."""
    from thresher.cli import dbscan, kmedoids
    from thresher.cluster import medoid_space, metric
    from thresher.cluster.dbscan import ALGORITHMS

    assert dbscan.METRICS == metric.METRICS
    assert dbscan.ALGORITHMS == ALGORITHMS
    assert list(kmedoids.MEDOID_METRICS) == list(medoid_space.METRICS)


@pytest.mark.slow
def test_the_engines_of_the_library_do_the_work(points, tmp_path):
    """The real thing, in a process of its own; it has one signature with the stand-in."""
    done = subprocess.run(
        [*PROGRAM, *DBSCAN_BLOBS, "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    right = DBSCAN(eps=0.5).fit_predict(points[["a", "b"]])
    assert right.tolist() == pq.read_table(tmp_path / "c.parquet")["cluster"].to_pylist()
    assert (found["clusters"], found["noise"]) == (3, int((right < 0).sum()))


def test_compiling_is_said_once(capsys):
    """However many kernels are compiled; a kernel from the cache is not told of."""
    from numba.core.event import Event, EventStatus

    from thresher.cli.clustering import Phases
    from thresher.cluster.kernels.compiled import Told

    phases = Phases()
    told = Told(phases.compiling)
    for _ in range(2):
        told.on_start(Event("numba:compile", EventStatus.START))
        told.on_end(Event("numba:compile", EventStatus.END))
    assert capsys.readouterr().err == "compiling (once)\n"
