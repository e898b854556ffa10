"""A user's own network: import ``package.module:factory`` and call it with what it takes."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from torch import nn

from thresher.errors import ModelError, nearest

__all__ = ["Build", "current_directory_importable", "first_line", "import_factory"]

Build: TypeAlias = Callable[[tuple[int, ...], int], nn.Module]  # from shape and classes


def import_factory(name: str) -> Build:
    """Import a factory and give a function of shape and number of classes that calls it.

    Modules in the current directory are found, during the import and during the calls.

    Args:
        name: ``package.module:factory``.

    Raises:
        ModelError: The module cannot be imported or has no such callable. The returned function
            raises it when the factory fails or does not return an ``nn.Module``.
    """
    module_name, _, attribute = name.partition(":")
    with current_directory_importable():
        factory = _find(module_name, attribute)

    def build(shape: tuple[int, ...], classes: int) -> nn.Module:
        with current_directory_importable():
            built = _call(name, factory, {"shape": shape, "classes": classes})
        if not isinstance(built, nn.Module):
            raise ModelError(
                f'The factory "{name}" made a {type(built).__name__}, not a torch.nn.Module.',
                "Let it return the network.",
            )
        return built

    return build


def first_line(error: Exception) -> str:
    """Give the first line of an error's text, for messages of one line."""
    return (str(error).splitlines() or [""])[0]


def _find(module_name: str, attribute: str) -> Callable[..., object]:
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the user's code may raise anything
        raise ModelError(
            f'The module "{module_name}" of the model cannot be imported: '
            f"{type(error).__name__}: {first_line(error)}.",
            _nearest_module(module_name),
        ) from error
    found: object = getattr(module, attribute, None)
    if callable(found):
        return found
    public = [each for each, value in vars(module).items() if callable(value) and each[0] != "_"]
    raise ModelError(
        f'The module "{module_name}" has no callable "{attribute}".',
        nearest(attribute, public) if public else "Define a function that returns the network.",
    )


def _call(name: str, factory: Callable[..., object], offered: dict[str, object]) -> object:
    try:
        return factory(**_accepted(factory, offered))
    except Exception as error:  # the user's code may raise anything
        raise ModelError(
            f'The factory "{name}" failed: {type(error).__name__}: {first_line(error)}.',
            "It is called with shape=… and classes=…, or without what it does not take.",
        ) from error


def _accepted(factory: Callable[..., object], offered: dict[str, object]) -> dict[str, object]:
    """Keep those arguments that the factory takes by name."""
    parameters = inspect.signature(factory).parameters.values()
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return offered
    by_name = {
        each.name for each in parameters if each.kind is not inspect.Parameter.POSITIONAL_ONLY
    }
    return {name: value for name, value in offered.items() if name in by_name}


def _nearest_module(name: str) -> str:
    """Name a module that is meant, among the neighbours of the one that is missing."""
    parent, _, last = name.rpartition(".")
    try:
        paths = list(importlib.import_module(parent).__path__) if parent else [str(Path.cwd())]
    except Exception:  # the parent cannot be imported either; there are no neighbours to name
        paths = []
    neighbours = [each.name for each in pkgutil.iter_modules(paths) if each.name != last]
    if neighbours:
        return nearest(last, neighbours)
    return "Write package.module:factory, importable from the current directory."


@contextmanager
def current_directory_importable() -> Iterator[None]:
    """Let imports find modules in the current directory, as ``python -m`` does."""
    here = str(Path.cwd())
    importlib.invalidate_caches()  # the module may have been written a moment ago
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
