"""Processes that train together, each running a script that writes what it came to."""

import subprocess
import sys

import torch


def started_together(script, count, folder, *arguments, told=()):
    """What each of them saved.

    Args:
        script: Called with its rank, `told`, a file to meet by, one for its result, `arguments`.
        count: How many processes.
        folder: For the files.
    """
    results = [folder / f"{rank}.pt" for rank in range(count)]
    running = [
        subprocess.Popen(
            [sys.executable, script, str(rank), *told, folder / "meeting", result, *arguments],
            stderr=subprocess.PIPE,
        )
        for rank, result in enumerate(results)
    ]
    ended = [(process.communicate(timeout=300)[1], process.returncode) for process in running]
    for errors, code in ended:
        assert code == 0, errors.decode()
    return [torch.load(result, weights_only=False) for result in results]
