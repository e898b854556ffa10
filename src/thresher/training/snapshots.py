"""Snapshots: carry out what a method asks of model and optimiser at the end of an epoch.

change = criterion.end_epoch()
Snapshots(model, optimizer, criterion).apply(change)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from thresher.errors import ModelError, RecordError
from thresher.keyed_random import keyed_seed
from thresher.models.blocks import under
from thresher.noise.criterion import Criterion
from thresher.noise.method import Change, Names

__all__ = ["Snapshots", "reset_modules"]


@dataclass
class Snapshots:
    """Named copies of a training, and the five things a `Change` may ask for.

    Args:
        model: The network, or the module that holds several.
        optimizer: Its optimiser.
        criterion: The criterion of the same training.

    Raises:
        ModelError: a module that the method may reset cannot initialise itself anew.
        RecordError: nothing was saved under the name to be restored.
    """

    model: nn.Module
    optimizer: Optimizer
    criterion: Criterion

    def __post_init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.resets = 0
        self.frozen: set[str] = set()  # parameters that learned before they were frozen here
        may_reset = found_names(self.criterion.method.may_reset(), self.model)
        refuse_without_reset(self.model, may_reset)  # now, rather than when a warm-up is over

    def apply(self, change: Change | None) -> Change | None:
        """Save, restore, reset, thaw and freeze, in this order; nothing for None.

        Returns:
            What was carried out: the change, with the names that it left to be found.
        """
        if change is None:
            return None
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
        reset, thawed, frozen = (
            found_names(names, self.model) for names in (change.reset, change.thaw, change.freeze)
        )
        if reset:
            self.resets += 1
            seed = keyed_seed(self.criterion.plan.seed, "reset", self.resets)
            for parameter in reset_modules(self.model, reset, seed):
                self.optimizer.state.pop(parameter, None)
        self._thaw(thawed)
        self._freeze(frozen)
        self.criterion.applied(change)
        return replace(change, reset=reset, thaw=thawed, freeze=frozen)

    def state_dict(self) -> dict[str, Any]:
        """What is kept, how often the network began anew, and what is frozen."""
        return {"kept": self.kept, "resets": self.resets, "frozen": sorted(self.frozen)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; model, optimiser and criterion load their own."""
        self.kept, self.resets = copy.deepcopy(state["kept"]), state["resets"]
        self._thaw(("",))
        self._freeze(tuple(state["frozen"]))

    def _thaw(self, prefixes: tuple[str, ...]) -> None:
        """Let learn what was frozen here; what a user keeps from learning stays so."""
        for name, parameter in self.model.named_parameters():
            if name in self.frozen and under(name, prefixes):
                parameter.requires_grad_(True)
                self.frozen.remove(name)

    def _freeze(self, prefixes: tuple[str, ...]) -> None:
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and under(name, prefixes):
                parameter.requires_grad_(False)
                parameter.grad = None
                self.frozen.add(name)

    def _restore(self, name: str) -> None:
        if name not in self.kept:
            raise RecordError(
                f'Nothing was saved under "{name}"; there are: {sorted(self.kept) or "none"}.',
                "Keep one Snapshots object for the training, and load its state_dict to resume.",
            )
        kept = self.kept[name]
        self.model.load_state_dict(kept["model"])
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(copy.deepcopy(kept["optimizer"]))
        # the schedule goes on: one that steps from the rate at hand must find the one it left
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        for column, values in kept["columns"].items():
            self.criterion.history[column].copy_(values)


def found_names(names: Names, model: nn.Module) -> tuple[str, ...]:
    """The prefixes themselves, where they were left to be found in the network."""
    return names(model) if callable(names) else names


def refuse_without_reset(model: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Refuse a network of which a part cannot be initialised anew.

    Args:
        model: The network.
        prefixes: Module name prefixes of what is to be reset; ("",) means all, () nothing.

    Raises:
        ModelError: a module there holds parameters and has no `reset_parameters`.
    """
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if own and under(name, prefixes) and not hasattr(module, "reset_parameters"):
            raise ModelError(
                f'The module "{name}" ({type(module).__name__}) cannot be initialised anew.',
                "Give it a method reset_parameters(), or use a method without restarts.",
            )


def reset_modules(model: nn.Module, prefixes: tuple[str, ...], seed: int) -> list[nn.Parameter]:
    """Initialise the modules under these name prefixes anew; ("",) means all.

    Returns:
        Their parameters.

    Raises:
        ModelError: a module holds parameters and has no `reset_parameters`.
    """
    refuse_without_reset(model, prefixes)
    reset: list[nn.Parameter] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, module in model.named_modules():
            own = list(module.parameters(recurse=False))
            buffers = list(module.buffers(recurse=False))
            renew = getattr(module, "reset_parameters", None)
            if not (own or buffers) or renew is None or not under(name, prefixes):
                continue  # a constant, which has buffers alone, stays as it is
            renew()
            reset.extend(own)
    return reset
