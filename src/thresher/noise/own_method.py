"""A user's own method: import ``package.module:Class``."""

from __future__ import annotations

import importlib

from thresher.errors import ParameterError, nearest
from thresher.models.factory import current_directory_importable, first_line
from thresher.noise.method import Method

__all__ = ["import_method"]


def import_method(name: str) -> type[Method]:
    """Import the class of a method; modules in the current directory are found.

    Args:
        name: ``package.module:Class``.

    Raises:
        ParameterError: the module cannot be imported, or has no such class.
    """
    module_name, _, attribute = name.partition(":")
    try:
        with current_directory_importable():
            module = importlib.import_module(module_name)
    except Exception as error:  # the user's code may raise anything
        raise ParameterError(
            f'The module "{module_name}" of the method cannot be imported: '
            f"{type(error).__name__}: {first_line(error)}.",
            "Write package.module:Class, importable from the current directory.",
        ) from error
    found = getattr(module, attribute, None)
    if isinstance(found, type) and issubclass(found, Method):
        return found
    methods = [
        each
        for each, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module_name
    ]
    raise ParameterError(
        f'The module "{module_name}" has no method "{attribute}".',
        nearest(attribute, methods) if methods else "Define a subclass of thresher.noise.Method.",
    )
