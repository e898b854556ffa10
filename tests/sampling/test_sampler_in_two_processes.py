"""Two processes draw the batches of one; set-ups that would lose data are refused."""

import re
from pathlib import Path

import pytest
import torch

from sampler_in_two_processes import BATCH, SAMPLES, Remembering
from small_selectors import CLASSES, run_epoch
from started_together import started_together
from thresher.sampling import AdaptiveBatchSampler

SCRIPT = Path(__file__).parent.parent / "sampler_in_two_processes.py"


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What came of each of the two processes; they are started once."""
    return started_together(SCRIPT, 2, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def one():
    """A single process with the whole batch, and its sampler."""
    sampler = AdaptiveBatchSampler(
        Remembering(warmup=1), SAMPLES, CLASSES, batch_size=2 * BATCH, lag=2
    )
    return [batch for _ in range(3) for batch in run_epoch(sampler)], sampler


@pytest.mark.parametrize("way", ["seen", "prepared"])
def test_two_processes_draw_the_batches_of_one(way, both, one):
    """By the sampler's own cut, and by Accelerate's."""
    steps = zip(both[0][way], both[1][way], strict=True)
    assert one[0] == [first + second for first, second in steps]


def test_both_keep_the_history_of_one(both, one):
    for name, values in one[1].history.state_dict().items():
        for each in both:
            assert torch.equal(values, each["history"][name]), name


def test_both_store_the_state_of_one(both, one):
    """So any number of processes can go on from it."""
    for name, value in one[1].state_dict().items():
        for each in both:
            same = each["state"][name]
            assert torch.equal(value, same) if torch.is_tensor(value) else value == same, name


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        ("cut twice", 'ParameterError: .* twice.*shard="external"'),
        ("never cut", "ParameterError: .* same rows.*accelerator.prepare"),
        ("made too early", "ParameterError: 2 processes train together.* made for 1"),
        ("other seed", "RunError: .* come apart.*seed"),
        ("drift", "RunError: .* come apart"),
    ],
)
def test_what_would_lose_data_is_refused_by_both(setup, message, both):
    """With the setting that has to be changed."""
    for each in both:
        assert re.search(message, each[setup]), each[setup]


def test_indices_beyond_2_to_24_survive_the_exchange(both):
    first = 2**24 + 1
    expected = [first, first + 1, first + 2, first + 1, first + 2, first + 3]
    assert expected == both[0]["large"] == both[1]["large"]
