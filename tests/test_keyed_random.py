"""Keyed randomness: a number belongs to its key, whatever the batch; and it is random."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from thresher.errors import ParameterError
from thresher.keyed_random import keyed_seed, keyed_uniform

SAMPLES = torch.arange(20_000)


def splitmix64_of(state: int) -> int:
    """Mix as published, in unsigned arithmetic of Python's unbounded integers."""
    mask = 2**64 - 1
    state &= mask
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & mask
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & mask
    return state ^ (state >> 31)


def test_seeds_never_change():
    assert keyed_seed(0) == 8576289476192638790
    assert keyed_seed(7, "augmentation", 3) == 4876441732750967188
    assert keyed_seed(-1, "é") == 5021543758921687949


def test_uniforms_never_change():
    index = torch.tensor([0, 1, 2, 2**40, -1])
    assert keyed_uniform(123, 7, index, 2).tolist() == [
        0.8174625039100647,
        0.009009361267089844,
        0.337555468082428,
        0.8967226147651672,
        0.22552937269210815,
    ]


@given(seed=st.integers(-(2**70), 2**70), sample=st.integers(-(2**63), 2**63 - 1))
@settings(max_examples=100, deadline=None)
def test_a_uniform_is_splitmix64_of_its_key(seed, sample):
    state = keyed_seed(seed, 3, 1) + sample * 0x9E3779B97F4A7C15
    expected = (splitmix64_of(state) >> 40) / 2**24
    assert keyed_uniform(seed, 3, torch.tensor([sample]), 1).item() == expected


@given(st.lists(st.integers() | st.text(), max_size=4), st.lists(st.integers() | st.text()))
@settings(max_examples=200)
def test_different_keys_have_different_seeds(first, second):
    assert (keyed_seed(0, *first) == keyed_seed(0, *second)) == (first == second)


def test_a_key_is_its_parts_and_not_their_concatenation():
    seeds = {
        keyed_seed(0, "network", 1),
        keyed_seed(0, "network", "1"),
        keyed_seed(0, "network1"),
        keyed_seed(0, "net", "work1"),
        keyed_seed(0, 1, "network"),
        keyed_seed(1, "network", 1),
    }
    assert len(seeds) == 6


def test_a_seed_has_63_bits():
    seeds = [keyed_seed(0, part) for part in range(2000)]
    assert 0 <= min(seeds)
    assert 2**62 < max(seeds) < 2**63


def test_numpy_integers_are_integers():
    assert keyed_seed(np.int64(4), np.int32(2)) == keyed_seed(4, 2)


@pytest.mark.parametrize("part", [0.5, None, b"network", (1, 2)])
def test_a_part_that_is_neither_integer_nor_text_is_refused(part):
    with pytest.raises(ParameterError, match="integers and texts"):
        keyed_seed(0, part)


def test_an_index_of_floats_is_refused():
    with pytest.raises(ParameterError, match=r"must hold integers, got torch\.float32"):
        keyed_uniform(0, 0, torch.zeros(3), 0)


def test_seeds_are_made_without_torch():
    code = "import sys, thresher.keyed_random; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_uniforms_are_float32_in_the_half_open_interval():
    drawn = keyed_uniform(5, 0, torch.arange(1_000_000), 0)
    assert drawn.dtype == torch.float32
    assert drawn.min() >= 0
    assert drawn.max() < 1


def test_no_sample_gives_no_number():
    assert keyed_uniform(0, 0, torch.zeros(0, dtype=torch.int64), 0).shape == (0,)


@given(st.permutations(range(24)), st.integers(0, 24))
@settings(max_examples=50, deadline=None)
def test_order_and_split_of_the_batch_do_not_matter(order, cut):
    index = torch.tensor(order)
    whole = keyed_uniform(9, 4, torch.arange(24), 1)
    parts = [keyed_uniform(9, 4, part, 1) for part in (index[:cut], index[cut:])]
    assert torch.equal(torch.cat(parts), whole[index])


@pytest.mark.parametrize("key", [(0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0), (2**40, 99, 7)])
def test_uniforms_are_uniform(key):
    seed, epoch, stream = key
    drawn = keyed_uniform(seed, epoch, SAMPLES, stream).numpy()
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3
    counts = np.bincount((drawn * 64).astype(int), minlength=64)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_one_sample_over_the_epochs_is_uniform():
    index = torch.tensor([12345])
    drawn = [keyed_uniform(0, epoch, index, 0).item() for epoch in range(4000)]
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    "other",
    [
        keyed_uniform(0, 1, SAMPLES, 0),  # the next epoch
        keyed_uniform(0, 0, SAMPLES, 1),  # another stream
        keyed_uniform(1, 0, SAMPLES, 0),  # another seed
        keyed_uniform(0, 0, SAMPLES + 1, 0),  # the neighbour
        keyed_uniform(0, 0, SAMPLES + 32, 0),
    ],
    ids=["epoch", "stream", "seed", "neighbour", "neighbour-32"],
)
def test_numbers_of_different_keys_are_independent(other):
    drawn = keyed_uniform(0, 0, SAMPLES, 0)
    # 4 standard errors of the correlation of 20 000 independent pairs.
    assert abs(np.corrcoef(drawn, other)[0, 1]) < 4 / np.sqrt(len(SAMPLES))
    cells, _, _ = np.histogram2d(drawn, other, bins=8, range=[[0, 1], [0, 1]])
    assert stats.chisquare(cells.ravel()).pvalue > 1e-3
