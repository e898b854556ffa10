"""Snapshots: carry out what a method asks of model and optimiser at the end of an epoch.

change = criterion.end_epoch()
Snapshots(model, optimizer, criterion).apply(change)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from thresher.errors import ModelError, RecordError
from thresher.keyed_random import keyed_seed
from thresher.noise.criterion import Criterion
from thresher.noise.method import Change

__all__ = ["Snapshots", "reset_modules"]


@dataclass
class Snapshots:
    """Named copies of a training, and the four things a `Change` may ask for.

    Args:
        model: The network, or the module that holds several.
        optimizer: Its optimiser.
        criterion: The criterion of the same training.

    Raises:
        RecordError: nothing was saved under the name to be restored.
        ModelError: a module to be reset cannot initialise itself anew.
    """

    model: nn.Module
    optimizer: Optimizer
    criterion: Criterion

    def __post_init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.resets = 0

    def apply(self, change: Change | None) -> None:
        """Save, restore, reset and freeze, in this order; nothing for None."""
        if change is None:
            return
        if change.save is not None:
            history = self.criterion.history
            self.kept[change.save] = copy.deepcopy(
                {
                    "model": self.model.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "columns": {name: history[name] for name in self.criterion.method.rolled_back},
                }
            )
        if change.restore is not None:
            self._restore(change.restore)
        if change.reset:
            self.resets += 1
            seed = keyed_seed(self.criterion.plan.seed, "reset", self.resets)
            reset = reset_modules(self.model, change.reset, seed)
            for parameter in reset:
                self.optimizer.state.pop(parameter, None)
        for name, parameter in self.model.named_parameters():
            if change.freeze and _under(name, change.freeze):
                parameter.requires_grad_(False)
                parameter.grad = None
        self.criterion.applied(change)

    def state_dict(self) -> dict[str, Any]:
        """What is kept, how often the network began anew, and what is frozen."""
        frozen = [
            name for name, parameter in self.model.named_parameters() if not parameter.requires_grad
        ]
        return {"kept": self.kept, "resets": self.resets, "frozen": frozen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; model, optimiser and criterion load their own."""
        self.kept, self.resets = copy.deepcopy(state["kept"]), state["resets"]
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in state["frozen"])

    def _restore(self, name: str) -> None:
        if name not in self.kept:
            raise RecordError(
                f'Nothing was saved under "{name}"; there are: {sorted(self.kept) or "none"}.',
                "Keep one Snapshots object for the training, and load its state_dict to resume.",
            )
        kept = self.kept[name]
        self.model.load_state_dict(kept["model"])
        self.optimizer.load_state_dict(copy.deepcopy(kept["optimizer"]))
        for column, values in kept["columns"].items():
            self.criterion.history[column].copy_(values)


def _under(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(not prefix or name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def reset_modules(model: nn.Module, prefixes: tuple[str, ...], seed: int) -> list[nn.Parameter]:
    """Initialise the modules under these name prefixes anew; ("",) means all.

    Returns:
        Their parameters.

    Raises:
        ModelError: a module holds parameters and has no `reset_parameters`.
    """
    reset: list[nn.Parameter] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, module in model.named_modules():
            own = list(module.parameters(recurse=False))
            buffers = list(module.buffers(recurse=False))
            if not (own or buffers) or not _under(name, prefixes):
                continue
            renew = getattr(module, "reset_parameters", None)
            if renew is None:
                raise ModelError(
                    f'The module "{name}" ({type(module).__name__}) cannot be initialised anew.',
                    "Give it a method reset_parameters(), or use a method without restarts.",
                )
            renew()
            reset.extend(own)
    return reset
