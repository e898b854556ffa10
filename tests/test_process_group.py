"""Who is launched with whom, and who speaks; without other processes."""

import subprocess
import sys

import pytest

from thresher import planning, process_group
from thresher.errors import ParameterError
from thresher.process_group import ALONE, first_to_fail, is_first, joined, launched

LAUNCHED = {"RANK": "1", "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture
def environment(monkeypatch):
    """Sets the variables of a launcher; first_to_fail has not been asked."""
    first_to_fail.cache_clear()

    def enter(**variables):
        for name in LAUNCHED:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    yield enter
    first_to_fail.cache_clear()


@pytest.mark.parametrize(
    ("variables", "count", "first"),
    [
        ({}, 1, True),
        (LAUNCHED, 3, False),
        (LAUNCHED | {"RANK": "0"}, 3, True),
        (LAUNCHED | {"WORLD_SIZE": "1"}, 1, True),
        ({"WORLD_SIZE": "4"}, 1, True),  # some batch systems set it for themselves
        (LAUNCHED | {"WORLD_SIZE": "many"}, 1, True),
    ],
)
def test_a_launcher_is_known_by_its_variables(environment, variables, count, first):
    """All of them, as torchrun and accelerate launch set them."""
    environment(**variables)
    assert (launched(), is_first()) == (count, first)


def test_before_they_meet_the_first_process_speaks(environment):
    """What fails then, fails alike on all."""
    environment(**LAUNCHED)
    assert not first_to_fail()
    first_to_fail.cache_clear()
    environment(**(LAUNCHED | {"RANK": "0"}))
    assert first_to_fail()


def test_of_processes_that_have_met_the_first_to_report_speaks(environment, monkeypatch):
    """It is asked twice and answers once; the others hear that somebody spoke."""
    import torch.distributed as dist

    monkeypatch.setattr(process_group, "_STORES", [dist.HashStore()])
    environment(**LAUNCHED)
    assert first_to_fail()
    assert first_to_fail()
    first_to_fail.cache_clear()  # as another process
    assert not first_to_fail()


def test_one_process_is_alone(environment):
    """It is first, tells itself, takes every turn and has nobody to leave."""
    environment()
    with joined("auto") as together:
        assert together is ALONE
        assert together.first
        assert together.exchange(3) == [3]
        assert together.from_first(lambda: "made") == "made"
        assert together.in_turns(0, 1, lambda: 7) == 7
        together.leave()


def test_whoever_speaks_is_asked_without_torch():
    """The command line does, before it knows what to do."""
    code = (
        "import sys, thresher.process_group as group\n"
        "group.is_first(), group.first_to_fail()\n"
        "with group.joined('cpu'): pass\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_batches_that_cannot_be_shared_are_refused(monkeypatch):
    """Too few rows for the processes; for a user's own network, too few in the last batch too."""
    planning.refuse_small_parts("cnn", 100, 3)  # one process takes anything
    monkeypatch.setattr(planning, "processes", lambda: 4)
    with pytest.raises(ParameterError, match="batch of 3 samples cannot be shared by 4"):
        planning.refuse_small_parts("cnn", 100, 3)
    planning.refuse_small_parts("cnn", 102, 50)
    with pytest.raises(ParameterError, match="last batch of an epoch has 2 samples"):
        planning.refuse_small_parts("package.module:factory", 102, 50)
    planning.refuse_small_parts("package.module:factory", 101, 50)  # the one joins the batch before


def test_one_gpu_for_all_and_more_processes_than_gpus_are_refused():
    """Every process needs its own."""
    with pytest.raises(ParameterError, match="one for all processes"):
        process_group._refuse_shared_gpu("cuda:1", 0, 4)
    with pytest.raises(ParameterError, match="Process 2 of this machine finds 2 GPUs"):
        process_group._refuse_shared_gpu("cuda", 2, 2)
