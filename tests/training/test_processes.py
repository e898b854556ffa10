"""Three processes that train together come to what one comes to; started once for all tests."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from started_together import started_together
from thresher.distributed import gather_columns, processes, shares, sum_gradients
from thresher.models.batch_norm import joined_moments
from thresher.noise import make_method
from thresher.training.drift import fingerprint
from trainings_in_processes import (
    CASES,
    CUTS,
    EPOCHS,
    LAYERS,
    gathered,
    layer_and_data,
    normalised,
    trained,
)

SCRIPT = Path(__file__).parent.parent / "trainings_in_processes.py"
PROCESSES = 3


def trained_on_further_data(case):
    """Whether the method of a case learns from a stream."""
    make, *_ = CASES[case]
    return bool(make().streams())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of three processes came to."""
    folder = tmp_path_factory.mktemp("three")
    return started_together(SCRIPT, PROCESSES, folder, told=[str(PROCESSES)])


@pytest.mark.parametrize("case", list(CASES))
def test_processes_keep_the_history_and_the_weights_of_one(case, found):
    """Uneven parts, and one without a row; phases, rollback, restart, own passes, accumulation."""
    first, *others = (each["trained"][case] for each in found)
    alone = trained(case)
    for other in others:
        assert first["method"] == other["method"]
        for part in ("history", "model"):
            for key, values in first[part].items():
                assert torch.equal(values, other[part][key]), key
    # bfloat16 keeps 8 bits: what rounds apart differs in the third digit
    slack = 0.05 if case.endswith("bf16") else 2e-3
    assert alone["method"].keys() == first["method"].keys()
    for name, value in alone["method"].items():
        assert value == pytest.approx(first["method"][name], abs=slack), name
    torch.testing.assert_close(first["losses"], alone["losses"], rtol=slack, atol=slack)
    for key, values in alone["history"].items():
        if values.is_floating_point() or key == "given_trace":
            torch.testing.assert_close(
                first["history"][key].float(), values.float(), rtol=slack, atol=slack, msg=key
            )
        elif not case.endswith("bf16"):
            assert torch.equal(first["history"][key], values), key
    for key, values in alone["model"].items():
        torch.testing.assert_close(first["model"][key], values, rtol=slack, atol=slack, msg=key)


def test_the_trainings_went_through_their_phases(found):
    """Else nothing was said of rollback, restart and evolution."""
    method = {case: each["method"] for case, each in found[0]["trained"].items()}
    assert method["prestopping"]["lowest_at"] < method["prestopping"]["stopped_at"] < EPOCHS
    assert 0 < method["prestopping-plus"]["frozen_at"] < EPOCHS
    assert method["selfie, restarted"]["round_start"] == EPOCHS // 2
    assert 0 < method["morph, two views"]["switched_at"] < EPOCHS
    assert len(set(method["pes"]["class_weights"])) > 1  # of samples that were confident
    for case in ("dividemix, two views", "dividemix, recency-bias"):
        clean = found[0]["trained"][case]["history"]["clean_probability"]
        assert (clean < 0.5).any(), case
        assert (clean > 0.5).any(), case


@pytest.mark.parametrize("case", [case for case in CASES if trained_on_further_data(case)])
def test_processes_draw_the_further_rows_that_one_draws(case, found):
    """Joined in their order they are those of one, step by step; also of a step of two rows."""
    alone = trained(case)["drawn"]
    parts = [each["trained"][case]["drawn"] for each in found]
    assert min(len(each) for each in alone) < PROCESSES < max(len(each) for each in alone)
    for whole, *rows in zip(alone, *parts, strict=True):
        assert whole.tolist() == torch.cat(rows).tolist()


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", list(LAYERS))
def test_batch_norm_over_processes_is_that_of_the_whole_batch(name, cut, found):
    """Outputs, all gradients, running averages; parts of unequal size, and empty ones."""
    alone = normalised(*layer_and_data(name))
    parts = [slice(0, cut[0]), slice(*cut), slice(cut[1], 9)]
    for each, part in zip(found, parts, strict=True):
        for key, values in alone.items():
            wanted = values[part] if key in ("outputs", "inputs") else values
            torch.testing.assert_close(
                each[name, *cut][key], wanted, rtol=1e-4, atol=1e-4, msg=f"{key} of {part}"
            )


def test_columns_of_any_type_arrive_as_they_were(found):
    """Indices beyond 2^53, booleans, scores with an axis moved; with sizes told or exchanged."""
    wanted = [torch.cat(columns) for columns in zip(*map(gathered, range(3)), strict=True)]
    for rank, each in enumerate(found):
        for columns, here in each["gathered"]:
            for column, values in zip(columns, wanted, strict=True):
                assert column.dtype == values.dtype
                assert torch.equal(column, values)
            assert here == [slice(0, 2), slice(2, 5), slice(5, 5)][rank]


def test_gradients_are_added_up_and_none_stays_none(found):
    """A process without a gradient counts as 0."""
    for each in found:
        first, second, third, frozen = each["summed"]
        assert torch.equal(first, torch.full((2, 3), 6.0))
        assert torch.equal(second, torch.arange(6.0).view(3, 2).T)
        assert third is None
        assert frozen is None


def test_a_process_that_drifts_off_is_named_on_every_process(found):
    """One weight of one process, by 1e-7."""
    for each in found:
        assert "2 of 3 differ from process 0" in each["drift"]


def test_batches_of_a_users_own_loop_may_differ_in_size(found):
    """Also between steps; a process may have none."""
    for rank, each in enumerate(found):
        index, labels, shape, here = each["unequal"]
        assert index.tolist() == list(range(8))
        assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
        assert shape == (2, 8, 3)
        assert here == [slice(0, 8), slice(8, 8), slice(8, 8)][rank]


# ---------------------------------------------------------------- without other processes
@given(st.integers(0, 10_000), st.integers(1, 70))
def test_shares_cut_rows_evenly_and_in_order(rows, parts):
    """Every row once; no part larger than another by more than one."""
    cut = shares(rows, parts)
    assert len(cut) == parts
    assert [row for part in cut for row in range(rows)[part]] == list(range(rows))
    sizes = [part.stop - part.start for part in cut]
    assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any), st.integers(0, 99))
def test_joined_moments_are_those_of_all_values(counts, seed):
    """Far from 0, where sums of squares would lose all digits."""
    random = torch.Generator().manual_seed(seed)
    parts = [1e6 + torch.randn(n, 3, generator=random, dtype=torch.float64) for n in counts]
    means = torch.stack([each.mean(0) if len(each) else torch.zeros(3) for each in parts])
    variances = torch.stack(
        [each.var(0, correction=0) if len(each) else torch.zeros(3) for each in parts]
    )
    whole = torch.cat(parts)
    mean, variance = joined_moments(
        means.double(), variances.double(), torch.tensor(counts, dtype=torch.float64)[:, None]
    )
    torch.testing.assert_close(mean, whole.mean(0))
    torch.testing.assert_close(variance, whole.var(0, correction=0), rtol=1e-8, atol=1e-8)


def test_one_process_exchanges_nothing():
    """What was given comes back: the same memory, detached."""
    rows = torch.zeros(3, requires_grad=True)
    (column,), here = gather_columns([rows])
    assert processes() == 1
    assert column.data_ptr() == rows.data_ptr()
    assert not column.requires_grad
    assert here == slice(0, 3)
    parameter = torch.nn.Parameter(torch.zeros(2))
    sum_gradients([parameter], torch.zeros(1))
    assert parameter.grad is None


def test_the_fingerprint_sees_step_weights_and_history():
    """Each of them alone changes it, and nothing else does."""
    criterion = make_method("selfie").start(9, 3, epochs=4)
    model = torch.nn.Linear(4, 3)
    history = criterion.history
    before = fingerprint(1, model, history)
    assert before == fingerprint(1, model, history)
    assert 0 <= before < 2**63
    assert before != fingerprint(2, model, history)
    history["refurbished"][5] = 2
    after = fingerprint(1, model, history)
    assert after != before
    with torch.no_grad():
        model.weight[2, 3] += 1
    assert after != fingerprint(1, model, history)
