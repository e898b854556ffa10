"""Blocks: the parts of a network in order, by name, for methods that renew the later ones.

    children of the network, in order → of Sequential and ModuleList their own children instead
    → those with parameters → scales and shifts alone (normalisation) join the block before

The order is that in which a network's `__init__` makes its parts, which is nearly always that of
its forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

__all__ = ["blocks", "later_blocks", "parameters_outside", "under"]

CONTAINERS = (nn.Sequential, nn.ModuleList)
MIDDLE_SHARE = 4  # one block in four of those before the last; of ResNet-18 its fourth stage


def blocks(model: nn.Module) -> list[tuple[str, ...]]:
    """Name the parts of a network from its inputs to its outputs.

    Returns:
        Module name prefixes of each block; none for a network that is a single layer.

    >>> blocks(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2)))
    [('0', '1'), ('3',)]
    """
    found: list[tuple[str, ...]] = []
    for name, module in _parts(model, ""):
        shifts = all(parameter.dim() < 2 for parameter in module.parameters())
        if found and shifts:
            found[-1] += (name,)
        else:
            found.append((name,))
    return found


def _parts(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    children = [each for each in module.named_children() if any(True for _ in each[1].parameters())]
    wraps = len(children) == 1 and not any(True for _ in module.parameters(recurse=False))
    for name, child in children:
        # what wraps a network for several processes, or compiles it, has it as its only child
        inside = isinstance(child, CONTAINERS) or (wraps and any(True for _ in child.children()))
        if inside:
            yield from _parts(child, f"{prefix}{name}.")
        else:
            yield prefix + name, child


def later_blocks(model: nn.Module, parts: int) -> tuple[str, ...]:
    """Prefixes of the last block (parts = 1), or of it and the middle ones before it (parts = 2).

    The middle is a quarter of the blocks before the last, rounded down, at least one; the first
    block belongs to neither.

    >>> layers = [nn.Linear(2, 2) for _ in range(9)]
    >>> later_blocks(nn.Sequential(*layers), 1), later_blocks(nn.Sequential(*layers), 2)
    (('8',), ('6', '7', '8'))
    """
    found = blocks(model)
    before = len(found) - 1
    if before < 1:
        return ()
    middle = min(max(1, before // MIDDLE_SHARE), before - 1) if parts > 1 else 0
    return tuple(name for block in found[before - middle :] for name in block)


def parameters_outside(model: nn.Module, prefixes: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the parameters that lie under none of these prefixes; none where there are none."""
    if not prefixes:
        return ()
    return tuple(name for name, _ in model.named_parameters() if not under(name, prefixes))


def under(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a name is one of the prefixes or lies under one; "" holds everything.

    >>> under("body.10.weight", ("body.1",)), under("body.1.weight", ("body.1",))
    (False, True)
    """
    return any(not prefix or name == prefix or name.startswith(prefix + ".") for prefix in prefixes)
