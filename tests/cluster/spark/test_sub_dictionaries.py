"""How a dictionary in parts is dealt out among tasks; no Spark is started."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thresher.cluster.kernels.disjoint import (
    find,
    find_sparse,
    keep_forest,
    keep_sparse_forest,
    unite,
    unite_sparse,
)
from thresher.cluster.spark import arrays
from thresher.cluster.spark.pieces import Piece
from thresher.cluster.spark.sub_dictionaries import in_order, owners_of, subdictionary


def cells_of(n: int, radius: float, part: int, tasks: int):
    random = np.random.default_rng(n + part)
    rows = random.normal(size=(n, 2)) * random.choice([0.01, 1.0], size=(n, 1))
    piece = Piece(rows, random.integers(1, 9, n), np.arange(n))
    return subdictionary(in_order([piece], radius, part, tasks))


@pytest.mark.parametrize(("n", "tasks"), [(1, 1), (1, 7), (700, 3), (5_000, 16), (300, 1_000)])
def test_every_cell_is_asked_about_once_and_balls_stay_together(n, tasks):
    held = cells_of(n, 0.02, 5, tasks)
    own = [held.of_task(task) for task in range(tasks)]
    assert np.array_equal(np.sort(np.concatenate(own)), np.arange(n))
    assert all((np.diff(cells) > 0).all() for cells in own)
    owners = np.empty(n, np.int64)
    for task, cells in enumerate(own):
        owners[cells] = task
    for ball in np.unique(held.balls):
        assert len(np.unique(owners[held.balls == ball])) == 1


def test_tasks_have_about_as_much_whatever_the_size_of_balls():
    random = np.random.default_rng(0)
    sizes = random.pareto(1.2, 60_000).astype(int).clip(0, 200) + 1
    balls = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    loads = np.zeros(16)
    for part in range(8):
        loads += np.bincount(owners_of(balls, part, 16), minlength=16)
    assert loads.max() / loads.mean() < 1.2


def test_arrays_of_parts_come_back_from_one_file(tmp_path):
    whole = [{"a": np.arange(n), "b": np.full((n, 2), n / 3)} for n in (3, 0, 50)]
    file, start = tmp_path / "file", 0
    rows = [next(arrays.packed(n, 0, held)).to_pylist()[0] for n, held in enumerate(whole)]
    file.write_bytes(b"".join(row["bytes"] for row in rows))
    for row, held in zip(rows, whole, strict=True):
        size = len(row["bytes"])
        if size:
            found = arrays.mapped(file, row["layout"], start, size)
            assert all(np.array_equal(found[name], held[name]) for name in held)
        start += size


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=80))
@settings(max_examples=60, deadline=None)
def test_sparse_sets_are_those_of_parents(pairs):
    dense, sparse = np.arange(31, dtype=np.int64), np.zeros(31, np.uint32)
    for one, other in pairs:
        roots = find(dense, one), find(dense, other)
        assert roots == (find_sparse(sparse, one), find_sparse(sparse, other))
        if roots[0] != roots[1]:
            unite(dense, *roots)
            unite_sparse(sparse, *roots)
    touched = {each for pair in pairs for each in pair}
    assert all(sparse[each] == 0 for each in range(31) if each not in touched)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=80), st.integers(0, 80))
@settings(max_examples=60, deadline=None)
def test_sparse_forests_are_those_of_parents_in_one_go_or_two(pairs, cut):
    edges = np.array(pairs, np.int64).reshape(-1, 2)
    kept = np.empty_like(edges)
    kept = kept[: keep_forest(np.arange(31), edges, kept)]
    parent, found, count = np.zeros(31, np.uint32), np.empty((31, 2), np.uint32), 0
    for part in (edges[:cut], edges[cut:]):
        count = keep_sparse_forest(parent, part.astype(np.uint32), found, count)
    assert np.array_equal(found[:count], kept)


def test_stages_that_spark_has_forgotten_count_nothing():
    from types import SimpleNamespace as Plain

    from py4j.protocol import Py4JJavaError

    from thresher.cluster.spark.measured import Phases

    class Store:
        def lastStageAttempt(self, number):  # noqa: N802 - its name in Java
            if number == 1:
                raise Py4JJavaError("no such stage", Plain(_target_id="o1"))
            return Plain(shuffleWriteBytes=lambda: 10 * number, numFailedTasks=lambda: number)

    tracker = Plain(
        getJobIdsForGroup=lambda group: [7], getJobInfo=lambda job: Plain(stageIds=[1, 2, 3])
    )
    context = Plain(
        uiWebUrl=None,
        setJobGroup=lambda group, name: None,
        setLocalProperty=lambda name, value: None,
        statusTracker=lambda: tracker,
        _jsc=Plain(sc=lambda: Plain(statusStore=Store)),
    )
    phases = Phases(Plain(sparkContext=context))
    with phases.phase("counting"):
        pass
    assert (50, 5) == (phases.figures()["shuffle_bytes"], phases.failed_tasks)
