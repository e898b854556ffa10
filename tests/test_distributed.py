"""Two processes on halves of every batch come to the decisions of one."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from two_processes import train

SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.mark.parametrize("name", ["auto", "co-teaching", "elr", "selfie"])
def test_two_processes_keep_the_history_and_the_weights_of_one(name, tmp_path):
    """Uneven halves included; the order of rows within a batch is the processes' one."""
    results = [tmp_path / f"{rank}.pt" for rank in range(2)]
    running = [
        subprocess.Popen(
            [sys.executable, SCRIPT, str(rank), tmp_path / "meeting", name, results[rank]],
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    first, second = (torch.load(path) for path in results)
    alone = train(name, lambda batch: torch.cat([batch[0::2], batch[1::2]]))
    for key, values in alone["history"].items():
        assert torch.equal(first["history"][key], second["history"][key]), key
        if values.is_floating_point():
            torch.testing.assert_close(first["history"][key], values, rtol=1e-4, atol=1e-5)
        else:
            assert torch.equal(first["history"][key], values), key
    for key, values in alone["model"].items():
        torch.testing.assert_close(first["model"][key], values, rtol=1e-4, atol=1e-5)
