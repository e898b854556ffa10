"""Benchmark of exact clustering: DBSCAN and k-medoids against their peers, time and memory.

    python benchmarks/cluster.py all           every case below
    python benchmarks/cluster.py CASE…         some: spreader2d varying2d gaussians2d spreader3d
                                               gaussians3d spreader5d gaussians5d spreader7d
                                               gaussians7d clicks embeddings taxi50 taxi200
                                               taxi-part shoreline cube fine-cube spots cold
                                               medoids medoids-plane medoids-counters
    python benchmarks/cluster.py table         results/cluster.jsonl → results/cluster.md

Every contender runs in a process of its own, one after the other, three rounds of it, and the best
time counts. Our first call in a process is discarded, as it compiles or loads what is compiled: the
case `cold` measures that. Memory is the peak above input and imports, the largest of the rounds.
Peers that are missing are skipped, and so is a round of a contender that took a minute before.

The peers are no dependencies: `pip install dbscan kmedoids`, here or in the environment that
--peer-python names. Every call measures anew and appends its lines; the newest line of a case
counts. `--rows` makes small cases to try the program with, which the table passes over.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cluster_data as data
import numpy as np
from cells import keep
from numpy.typing import NDArray
from one_clustering import clustering_error

RESULTS = Path(__file__).parent / "results" / "cluster.jsonl"
ROUNDS, SLOW_SECONDS = 3, 60.0
MILLION = 1_000_000
OUT_OF_MEMORY = ("MemoryError", "bad_alloc", "Cannot allocate memory", "Unable to allocate")

Figures = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Contender:
    """A program with its settings.

    Args:
        name: As the table calls it.
        program: As one_clustering.py calls it.
        threads: How many it may use.
        settings: Beside eps and min_samples (or in place of them).
        points: Which of the case's arrays it is given.
    """

    name: str
    program: str
    threads: int = 2
    settings: Mapping[str, Any] = field(default_factory=dict)
    points: str = "points"

    @property
    def ours(self) -> bool:
        return self.program.startswith("thresher")


OURS = Contender("thresher", "thresher DBSCAN", 2, {"n_jobs": 2})
ALONE = Contender("thresher, 1 thread", "thresher DBSCAN", 1, {"n_jobs": 1})
PEER = Contender("dbscan", "dbscan")
SKLEARN = Contender("scikit-learn", "scikit-learn", 2, {"n_jobs": 2})
BRUTE = Contender("scikit-learn", "scikit-learn", 2, {"n_jobs": 2, "algorithm": "brute"})


@dataclass(frozen=True)
class Case:
    """Points, eps and the number of neighbours.

    Args:
        title: As the table calls it.
        rows: How many, unless there are fewer.
        make: The number of rows → the arrays.
        eps: Radius, in the unit of the points.
        min_samples: Neighbours that make a core point.
        contenders: In the order in which they run.
    """

    title: str
    rows: int
    make: Callable[[int], Arrays]
    eps: float
    min_samples: int
    contenders: tuple[Contender, ...] = (OURS, ALONE, PEER)


# ---------------------------------------------------------------------- the points
def generated(points: Callable[..., NDArray[Any]], *arguments: Any) -> Callable[[int], Arrays]:
    """From seed 0."""
    return lambda rows: {"points": points(rows, *arguments)}


def taxi_positions(rows: int) -> Arrays:
    """Angles on the sphere, and metres on a plane for the peer that knows no sphere."""
    degrees = data.taxi(folder_of_data())[:rows]
    return {"points": np.radians(degrees), "plane": data.projected(degrees)}


def shores(path: Path | None, rows: int) -> Arrays:
    """The file that --shoreline names."""
    if path is None:
        raise SystemExit(
            "Name the shoreline's file: --shoreline /usr/share/gmt-gshhg/binned_GSHHS_f.nc "
            "(apt install gmt-gshhg-full; pip install h5py)."
        )
    return {"points": data.shoreline(path)[:rows]}


def folder_of_data() -> Path:
    """Of the data sets."""
    folder = os.environ.get("THRESHER_DATA")
    if folder is None:
        raise SystemExit("Set THRESHER_DATA to the folder of the data sets.")
    return Path(folder)


def cases(shoreline: Path | None) -> dict[str, Case]:
    """All of DBSCAN's, by name."""
    spreader, gaussians = data.seed_spreader, data.gaussian_mixture
    everyone = (OURS, ALONE, PEER, SKLEARN)
    metres = 1 / data.EARTH_RADIUS
    sphere = {"metric": "haversine", "eps": 20 * metres}
    on_sphere = (
        Contender("thresher", "thresher DBSCAN", 2, {"n_jobs": 2} | sphere),
        Contender("thresher, 1 thread", "thresher DBSCAN", 1, {"n_jobs": 1} | sphere),
    )
    taxi = (
        *on_sphere,
        Contender("thresher, on the plane", "thresher DBSCAN", 2, {"n_jobs": 2}, "plane"),
        Contender("dbscan", "dbscan", points="plane"),
    )
    tree = {"n_jobs": 2, "algorithm": "ball_tree"} | sphere
    part = (*on_sphere, Contender("scikit-learn", "scikit-learn", 2, tree))
    return {
        "spreader2d": Case(
            "seed spreader, 2-D", MILLION, generated(spreader, 2), 200, 100, everyone
        ),
        "varying2d": Case(
            "seed spreader, varying density, 2-D",
            MILLION,
            generated(spreader, 2, "varying"),
            1000,
            100,
        ),
        "gaussians2d": Case(
            "Gaussian mixture, 2-D", MILLION, generated(gaussians, 2), 0.05, 50, everyone
        ),
        "spreader3d": Case("seed spreader, 3-D", MILLION, generated(spreader, 3), 300, 10),
        "gaussians3d": Case(
            "Gaussian mixture, 3-D", MILLION, generated(gaussians, 3), 0.15, 50, everyone
        ),
        "spreader5d": Case("seed spreader, 5-D", MILLION, generated(spreader, 5), 1000, 100),
        "gaussians5d": Case(
            "Gaussian mixture, 5-D", MILLION, generated(gaussians, 5), 0.5, 100, everyone
        ),
        "spreader7d": Case("seed spreader, 7-D", MILLION, generated(spreader, 7), 2000, 10),
        "gaussians7d": Case("Gaussian mixture, 7-D", MILLION, generated(gaussians, 7), 0.8, 100),
        "clicks": Case(
            "counters of a click log, 13-D", 100_000, generated(data.click_log), 0.8, 20, everyone
        ),
        "embeddings": Case(
            "unit embeddings, 64-D float32",
            100_000,
            generated(data.unit_embeddings),
            0.5,
            10,
            (OURS, ALONE, BRUTE),
        ),
        "taxi50": Case("taxis of San Francisco, 20 m", 2 * MILLION, taxi_positions, 20, 50, taxi),
        "taxi200": Case("taxis of San Francisco, 20 m", 2 * MILLION, taxi_positions, 20, 200, taxi),
        "taxi-part": Case(
            "taxis of San Francisco, 20 m, a part", 200_000, taxi_positions, 20, 50, part
        ),
        "shoreline": Case(
            "shores of the world, degrees", 11 * MILLION, partial(shores, shoreline), 0.01, 10
        ),
        "cube": Case("unit cube, 3-D", 10 * MILLION, generated(data.cube), 1, 2),
        "fine-cube": Case("unit cube, 3-D", 10 * MILLION, generated(data.cube), 0.01, 5),
        "spots": Case("twelve spots, 2-D", 180_000, generated(data.twelve_spots), 40, 10, everyone),
    }


# ---------------------------------------------------------------------- DBSCAN
def dbscan(name: str, options: argparse.Namespace) -> Iterator[Figures]:
    """Every contender of a case, in turns."""
    case = cases(options.shoreline)[name]
    rows = min(case.rows, options.rows or case.rows)
    with tempfile.TemporaryDirectory() as folder:
        arrays = case.make(rows)
        shape, size = arrays["points"].shape, arrays["points"].nbytes / 2**20
        store(arrays, Path(folder))
        del arrays  # the contenders' memory is needed more
        neighbours = {"eps": case.eps, "min_samples": case.min_samples}
        runs = in_turns(case.contenders, neighbours, Path(folder), options)
        for contender in case.contenders:
            if "seconds" in runs[contender.name]:
                runs[contender.name] |= agreement(contender, case.contenders, Path(folder), shape)
    yield {
        "case": name,
        "title": case.title,
        "rows": shape[0],
        "dimension": shape[1],
        "input_mib": round(size, 1),
        **neighbours,
        **({"small": True} if options.rows else {}),
        "runs": runs,
    }


def store(arrays: Arrays, folder: Path) -> None:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def in_turns(
    contenders: tuple[Contender, ...],
    neighbours: Mapping[str, Any],
    folder: Path,
    options: argparse.Namespace,
) -> dict[str, Figures]:
    """The best seconds and the largest memory of each; why, where there are none."""
    rounds: dict[str, list[Figures]] = {contender.name: [] for contender in contenders}
    for _ in range(options.rounds):
        for contender in contenders:
            done = rounds[contender.name]
            if done and ("failed" in done[-1] or done[-1]["seconds"] > SLOW_SECONDS):
                continue
            order = {
                "program": contender.program,
                "points": str(folder / f"{contender.points}.npy"),
                "settings": {**neighbours, **contender.settings},
                "found": str(folder / f"{contender.name}.npz"),
                "discard": contender.ours,
            }
            done.append(in_its_own_process(order, contender.threads, options))
    return {name: best(done) for name, done in rounds.items()}


def best(rounds: list[Figures]) -> Figures:
    """One contender's rounds in one: the fastest, with the largest memory of all."""
    rounds = [figures for figures in rounds if "failed" not in figures] or rounds
    if "failed" in rounds[-1]:
        return rounds[-1]
    fastest = min(rounds, key=lambda figures: figures["seconds"])
    return rounded(fastest) | {
        "all_seconds": [round(figures["seconds"], 4) for figures in rounds],
        "peak_mib": round(max(figures["peak_mib"] for figures in rounds), 1),
    }


def rounded(figures: Figures) -> Figures:
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in figures.items()
    }


def agreement(
    contender: Contender, all_of_them: tuple[Contender, ...], folder: Path, shape: tuple[int, ...]
) -> Figures:
    """What was found, and how far it is from ours on the same points."""
    found = np.load(folder / f"{contender.name}.npz")
    labels, core = found["labels"], found["core"]
    figures = {
        "clusters": int(labels.max(initial=-1)) + 1,
        "noise": int((labels < 0).sum()),
        "core": int(core.sum()),
    }
    judges = [other for other in all_of_them if other.ours and other.points == contender.points]
    path = folder / f"{judges[0].name}.npz"
    if judges[0] is contender or not path.exists():
        return figures
    judge = np.load(path)
    both = core & judge["core"]
    return figures | {
        "core_lost": int((judge["core"] & ~core).sum()),
        "core_gained": int((core & ~judge["core"]).sum()),
        "noise_differs": int(((labels < 0) != (judge["labels"] < 0)).sum()),
        "same_partition": same_partition(labels[both], judge["labels"][both]),
        "same_core_labels": bool((labels[both] == judge["labels"][both]).all()),
    }


def same_partition(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Whether two labellings differ in nothing but the clusters' numbers."""
    pairs = len(np.unique(first.astype(np.int64) << 32 | second.astype(np.int64)))
    return len(np.unique(first)) == len(np.unique(second)) == pairs


# ---------------------------------------------------------------------- cold start
def cold(options: argparse.Namespace) -> Iterator[Figures]:
    """What the first call costs beyond the second: nothing compiled yet, or all of it cached."""
    rows = min(100_000, options.rows or 100_000)
    neighbours = {"n_jobs": 2, "min_samples": 50}
    for title, program, points, settings in (
        ("DBSCAN, 2-D", "DBSCAN", data.gaussian_mixture(rows, 2), neighbours | {"eps": 0.1}),
        ("DBSCAN, 5-D", "DBSCAN", data.gaussian_mixture(rows, 5), neighbours | {"eps": 0.5}),
        (
            "DBSCAN, 64-D",
            "DBSCAN",
            data.unit_embeddings(min(rows, 20_000)),
            neighbours | {"eps": 0.5},
        ),
        (
            "KMedoids, 13-D",
            "KMedoids",
            data.click_log(rows),
            {"n_clusters": 10, "random_state": 0, "n_jobs": 2},
        ),
    ):
        with tempfile.TemporaryDirectory() as folder:
            store({"points": points}, Path(folder))
            order = {
                "program": f"thresher {program}",
                "points": f"{folder}/points.npy",
                "settings": settings,
                "cold": True,
            }
            environment = {"NUMBA_CACHE_DIR": f"{folder}/compiled"}
            starts = [in_its_own_process(order, 2, options, environment) for _ in range(1 + ROUNDS)]
        yield {
            "case": title,
            "rows": len(points),
            **({"small": True} if options.rows else {}),
            "compiling": rounded(starts[0]),
            "cached": rounded(min(starts[1:], key=first_beyond_second)),
        }


def first_beyond_second(start: Figures) -> float:
    """Seconds; infinitely many of a start that failed."""
    return float(start["first"] - start["second"]) if "first" in start else float("inf")


# ---------------------------------------------------------------------- k-medoids
def medoids(options: argparse.Namespace) -> Iterator[Figures]:
    """A million counters, 50 medoids: time and memory."""
    rows, settings = min(MILLION, options.rows or MILLION), {"n_clusters": 50, "random_state": 0}
    contenders = (
        Contender("thresher", "thresher KMedoids", 2, {"n_jobs": 2}),
        Contender("thresher, 1 thread", "thresher KMedoids", 1, {"n_jobs": 1}),
    )
    with tempfile.TemporaryDirectory() as folder:
        points = data.click_log(rows, dispersion=1)
        store({"points": points}, Path(folder))
        runs = in_turns(contenders, settings, Path(folder), options)
    yield {
        "case": "medoids",
        "title": "counters of a click log, blurred, 13-D, k = 50",
        "rows": rows,
        "dimension": 13,
        "input_mib": round(points.nbytes / 2**20, 1),
        **({"small": True} if options.rows else {}),
        "runs": runs,
    }


def medoid_quality(name: str, options: argparse.Namespace) -> Iterator[Figures]:
    """φ over that of the best of five full FasterPAM runs, mean of ten seeds."""
    rows = min(10_000, options.rows or 10_000)
    points, numbers = {
        "medoids-plane": (data.small_gaussians(rows), (10,)),
        "medoids-counters": (data.click_log(rows, dispersion=1), (10, 25, 50)),
    }[name]
    for k in numbers:
        seeds = list(range(10))
        contenders: dict[str, tuple[str, Figures]] = {
            "reference": ("FasterPAM", {"seeds": seeds[:5]}),
            "thresher": ("thresher medoids", {"seeds": seeds, "n_jobs": 2}),
            "CLARA 40 + 2k": ("CLARA", {"seeds": seeds, "sample_size": 40 + 2 * k}),
            "CLARA 100 + 5k": ("CLARA", {"seeds": seeds, "sample_size": 100 + 5 * k}),
        }
        runs: dict[str, Figures] = {}
        with tempfile.TemporaryDirectory() as folder:
            store({"points": points}, Path(folder))
            for contender, (program, settings) in contenders.items():
                order: Figures = {
                    "program": program,
                    "points": f"{folder}/points.npy",
                    "settings": {"n_clusters": k, **settings},
                    "found": f"{folder}/found.npz",
                    "discard": False,
                }
                figures = rounded(in_its_own_process(order, 2, options))
                if "failed" not in figures:
                    rows_found = np.load(order["found"])["medoids"]
                    figures["errors"] = [clustering_error(points, rows) for rows in rows_found]
                runs[contender] = figures
        yield {
            "case": f"{name}, k = {k}",
            "rows": len(points),
            "dimension": points.shape[1],
            "k": k,
            **({"small": True} if options.rows else {}),
            "ratios": ratios(runs),
            "runs": runs,
        }


def ratios(runs: Mapping[str, Figures]) -> dict[str, float]:
    """Mean φ of every contender over the smallest φ of the reference."""
    if "errors" not in runs["reference"]:
        return {}
    least = min(runs["reference"]["errors"])
    return {
        name: round(float(np.mean(figures["errors"])) / least, 5)
        for name, figures in runs.items()
        if "errors" in figures
    }


# ---------------------------------------------------------------------- processes
def in_its_own_process(
    order: Figures,
    threads: int,
    options: argparse.Namespace,
    environment: Mapping[str, str] | None = None,
) -> Figures:
    """Figures of one contender; {"failed": why} where it gives none."""
    ours = order["program"].startswith("thresher")
    python = sys.executable if ours else options.peer_python
    package = {"dbscan": "dbscan", "scikit-learn": "sklearn"}.get(order["program"], "kmedoids")
    if (
        not ours
        and subprocess.run([python, "-c", f"import {package}"], capture_output=True).returncode
    ):
        return {"failed": f"{package} is not installed"}
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PARLAY_NUM_THREADS")
    limits = dict.fromkeys(variables, str(threads))
    program = Path(__file__).with_name("one_clustering.py")
    try:
        done = subprocess.run(
            [python, str(program), json.dumps(order | {"memory_gib": options.memory_gib})],
            env={**os.environ, **limits, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=options.timeout,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"> {options.timeout:.0f} s"}
    if done.returncode == 0:
        figures: Figures = json.loads(done.stdout.splitlines()[-1])
        return figures
    if done.returncode == -9 or any(words in done.stderr for words in OUT_OF_MEMORY):
        return {"failed": f"> {options.memory_gib:g} GiB"}
    print(done.stderr, file=sys.stderr)
    ended = f"ended by signal {-done.returncode}" if done.returncode < 0 else "no reason given"
    last = (done.stderr.splitlines() or [ended])[-1]
    return {"failed": last}


# ---------------------------------------------------------------------- the command
OTHERS: dict[str, Callable[[argparse.Namespace], Iterator[Figures]]] = {
    "cold": cold,
    "medoids": medoids,
    "medoids-plane": partial(medoid_quality, "medoids-plane"),
    "medoids-counters": partial(medoid_quality, "medoids-counters"),
}


def main() -> int:
    """Measure, print and keep; or write the table."""
    options = parse()
    if options.cases == ["table"]:
        from cluster_table import write_table

        write_table(options.results)
        return 0
    known = [*cases(None), *OTHERS]
    wanted = known if options.cases == ["all"] else options.cases
    for name in wanted:
        measure = OTHERS.get(name, partial(dbscan, name))
        task = name.partition("-")[0] if name in OTHERS else "dbscan"
        load = {"load": round(os.getloadavg()[0], 2)}  # of other work, before ours
        keep(task, measure(options), load, options.results)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "cases", nargs="+", metavar="CASE", choices=["all", "table", *cases(None), *OTHERS]
    )
    parser.add_argument("--peer-python", default=sys.executable, help="the interpreter with peers")
    parser.add_argument("--shoreline", type=Path, help="binned_GSHHS_f.nc, or .npy made of it")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of every case ({ROUNDS})")
    parser.add_argument("--rows", type=int, help="at most, to try the program with")
    parser.add_argument("--timeout", type=float, default=600, help="seconds a run may take (600)")
    parser.add_argument("--memory-gib", type=float, default=8, help="GiB a run may take (8)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSONL file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
