"""Drift: a guard against processes that no longer hold the same.

Every process computes the same decisions from the same gathered rows and the same weights. Where
one comes to hold another bit (other processors, other releases, a loop that leaves a process out),
they would train on, each by its own decisions, and no error would tell.

    every STEPS steps, and after every epoch:   hash of (step, some weights, some of the history)
    the 64-bit hashes of all processes  →  equal, or an error
"""

from __future__ import annotations

from hashlib import blake2b

import torch
from torch import Tensor, nn

from thresher.distributed import gather_rows, processes
from thresher.errors import RunError
from thresher.history import SampleHistory

__all__ = ["STEPS", "fingerprint", "refuse_drift"]

STEPS = 200
PROBED_ROWS = 1024  # of every column of the history
PROBED_NUMBERS = 64  # of every tensor of the network


def fingerprint(step: int, model: nn.Module, history: SampleHistory | None) -> int:
    """A 63-bit hash of where a training stands.

    Args:
        step: Steps taken.
        model: The network; of each of its tensors a few numbers are read, evenly spaced.
        history: The samples' history, of which some rows are read; None leaves it out.
    """
    digest = blake2b(str(step).encode(), digest_size=8)
    for values in model.state_dict().values():
        digest.update(_probed(values.reshape(-1), PROBED_NUMBERS))
    for values in {} if history is None else history.columns().values():
        digest.update(_probed(values, PROBED_ROWS))
    return int.from_bytes(digest.digest(), "little") >> 1


def _probed(values: Tensor, count: int) -> bytes:
    """The bytes of `count` rows at most, evenly spaced."""
    stride = max(1, -(-len(values) // count))
    found = values.detach()[::stride].cpu().contiguous()
    return found.view(-1).view(torch.uint8).numpy().tobytes() if found.numel() else b""


def refuse_drift(step: int, model: nn.Module, history: SampleHistory | None, at: Tensor) -> None:
    """Compare the fingerprints of all processes, which must call it in step; nothing with one.

    Args:
        step, model, history: As `fingerprint` takes them.
        at: Any tensor on the device of the exchange.

    Raises:
        RunError: they differ.
    """
    if processes() == 1:
        return
    own = torch.tensor([fingerprint(step, model, history)], device=at.device)
    found = gather_rows(own, [1] * processes())[0].tolist()
    if len(set(found)) == 1:
        return
    apart = [number for number, each in enumerate(found) if each != found[0]]
    raise RunError(
        f"After {step} steps the processes no longer hold the same training: "
        f"{', '.join(map(str, apart))} of {len(found)} differ from process 0.",
        "Run the same release of Python, torch and thresher on equal processors, and call a "
        "criterion on every process alike.",
    )
