"""One contender on one set of points, in a process of its own: seconds, memory, what it found.

    python benchmarks/one_clustering.py ORDER

ORDER is a JSON object: the program, the file of the points, the program's settings. Figures are
printed as JSON. The interpreter may be one that has the peers and not thresher, so this file needs
NumPy alone.

Memory is the peak above what is resident just before the call, when the points and the program are
loaded. With `discard` another call is made before, which compiles, or loads what is compiled.
"""

from __future__ import annotations

import ctypes
import gc
import json
import re
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Found = dict[str, NDArray[Any]]
Figures = dict[str, Any]
Call = Callable[[], tuple[Found, Figures]]


# ---------------------------------------------------------------------- contenders
def thresher_dbscan(points: NDArray[Any], settings: dict[str, Any]) -> Call:
    from thresher.cluster import DBSCAN

    def call() -> tuple[Found, Figures]:
        model = DBSCAN(**settings).fit(points)
        core = np.zeros(len(points), np.bool_)
        core[model.core_sample_indices_] = True
        return {"labels": model.labels_, "core": core}, {"statistics": statistics(model)}

    return call


def statistics(model: Any) -> Figures:
    """What the estimator says of its run, as far as JSON holds it."""
    told = getattr(model, "statistics_", {})
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in told.items()
    }


def peer_dbscan(points: NDArray[Any], settings: dict[str, Any]) -> Call:
    from dbscan import DBSCAN

    def call() -> tuple[Found, Figures]:
        labels, core = DBSCAN(points, **settings)
        return {"labels": labels, "core": core}, {}

    return call


def sklearn_dbscan(points: NDArray[Any], settings: dict[str, Any]) -> Call:
    from sklearn.cluster import DBSCAN

    def call() -> tuple[Found, Figures]:
        model = DBSCAN(**settings).fit(points)
        core = np.zeros(len(points), np.bool_)
        core[model.core_sample_indices_] = True
        return {"labels": model.labels_, "core": core}, {}

    return call


def thresher_kmedoids(points: NDArray[Any], settings: dict[str, Any]) -> Call:
    from thresher.cluster import KMedoids

    def call() -> tuple[Found, Figures]:
        model = KMedoids(**settings).fit(points)
        error = {"inertia": model.inertia_, "seeding_inertia": model.seeding_inertia_}
        return {"labels": model.labels_}, {name: float(value) for name, value in error.items()}

    return call


def thresher_medoids(points: NDArray[Any], settings: dict[str, Any]) -> Call:
    """The medoids of every seed, one row a seed."""
    from thresher.cluster import KMedoids

    seeds = settings.pop("seeds")

    def call() -> tuple[Found, Figures]:
        fitted = [KMedoids(random_state=seed, **settings).fit(points) for seed in seeds]
        return {"medoids": np.array([model.medoid_indices_ for model in fitted])}, {}

    return call


def full_fasterpam(points: NDArray[Any], settings: dict[str, Any]) -> Call:
    """FasterPAM on the matrix of all distances, from a random start a seed."""
    from kmedoids import fasterpam

    def call() -> tuple[Found, Figures]:
        between = distances(points)
        return {
            "medoids": np.array(
                [
                    fasterpam(between, settings["n_clusters"], random_state=seed, n_cpu=1).medoids
                    for seed in settings["seeds"]
                ]
            )
        }, {}

    return call


def clara(points: NDArray[Any], settings: dict[str, Any]) -> Call:
    """FasterPAM on five samples, the best over all rows (Kaufman and Rousseeuw 1990)."""
    from kmedoids import fasterpam

    k, size = settings["n_clusters"], settings["sample_size"]

    def best(seed: int) -> NDArray[Any]:
        random = np.random.default_rng(seed)
        candidates = []
        for _ in range(5):
            rows = random.choice(len(points), size, replace=False)
            start = int(random.integers(2**31))
            chosen = fasterpam(distances(points[rows]), k, random_state=start, n_cpu=1).medoids
            candidates.append(rows[chosen])
        return min(candidates, key=lambda medoids: clustering_error(points, medoids))

    def call() -> tuple[Found, Figures]:
        return {"medoids": np.array([best(seed) for seed in settings["seeds"]])}, {}

    return call


def distances(points: NDArray[Any]) -> NDArray[np.float32]:
    """All of them, (n, n), by way of float64."""
    from scipy.spatial.distance import cdist

    between = np.empty((len(points), len(points)), np.float32)
    for start in range(0, len(points), 1000):
        between[start : start + 1000] = cdist(points[start : start + 1000], points)
    return between


def clustering_error(points: NDArray[Any], medoids: NDArray[Any]) -> float:
    """φ: the sum of the distances to the nearest medoid."""
    from scipy.spatial.distance import cdist

    return float(cdist(points, points[medoids]).min(axis=1).sum())


CONTENDERS = {
    "thresher DBSCAN": (thresher_dbscan, "numba"),
    "dbscan": (peer_dbscan, "dbscan"),
    "scikit-learn": (sklearn_dbscan, "scikit-learn"),
    "thresher KMedoids": (thresher_kmedoids, "numba"),
    "thresher medoids": (thresher_medoids, "numba"),
    "FasterPAM": (full_fasterpam, "kmedoids"),
    "CLARA": (clara, "kmedoids"),
}


# ---------------------------------------------------------------------- measuring
def measured(call: Call, *, discard: bool) -> tuple[Found, Figures]:
    """Wall and processor seconds of a call, its memory, and what it told."""
    first: Figures = {}
    if discard:
        started = time.perf_counter()
        call()
        first = {"first_seconds": time.perf_counter() - started}
    before = settled()
    started, used = time.perf_counter(), time.process_time()
    found, told = call()
    used, started = time.process_time() - used, time.perf_counter() - started
    peak = memory("VmHWM") - before
    clocks = {"seconds": started, "cpu_seconds": used}
    return found, {**clocks, **first, "peak_mib": peak / 2**20, **told}


def settled() -> int:
    """Bytes resident, once all that is free went back and the peak starts anew from here."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else what an earlier call left hides what this one takes
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def memory(name: str) -> int:
    """A figure of this process's status, in bytes."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def calls_from_cold(order: dict[str, Any]) -> Figures:
    """Seconds of the import, the first call and the second in this process."""
    points = np.load(order["points"])
    started = time.perf_counter()
    call = CONTENDERS[order["program"]][0](points, dict(order["settings"]))
    seconds = {"import": time.perf_counter() - started}
    for name in ("first", "second"):
        started = time.perf_counter()
        call()
        seconds[name] = time.perf_counter() - started
    return seconds


def main() -> int:
    """Measure, keep what was found in a file, print the figures."""
    order = json.loads(sys.argv[1])
    if limit := order.get("memory_gib"):
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 2**30),) * 2)
    if order.get("cold"):
        print(json.dumps(calls_from_cold(order)))
        return 0
    make, package = CONTENDERS[order["program"]]
    call = make(np.load(order["points"]), dict(order["settings"]))
    found, figures = measured(call, discard=order["discard"])
    np.savez(order["found"], **found)
    print(json.dumps({**figures, "package": f"{package} {version(package)}"}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
