"""What is public is named, documented and there."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import thresher

ROOT = Path(thresher.__file__).parent


def module_names():
    """thresher and every module below it."""
    below = pkgutil.walk_packages(thresher.__path__, "thresher.")
    return ["thresher", *(each.name for each in below)]


MODULES = module_names()
PACKAGES = [name for name in MODULES if hasattr(importlib.import_module(name), "__path__")]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is(name):
    """In its first line."""
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_exports_is_there_once_and_in_order(name):
    """`__all__` names nothing that is missing."""
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert len(exported) == len(set(exported))
    for each in exported:
        assert getattr(module, each) is not None
    assert all(not each.startswith("_") or each == "__version__" for each in exported)


@pytest.mark.parametrize("name", [each for each in MODULES if each not in PACKAGES])
def test_every_module_exports_something(name):
    """What it is for is in `__all__`."""
    assert importlib.import_module(name).__all__


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_shows_what_it_exports_and_nothing_else(name):
    """What is defined in it and stands in its namespace is in `__all__`."""
    module = importlib.import_module(name)
    exported = set(getattr(module, "__all__", []))
    shown = {
        each
        for each, value in vars(module).items()
        if not each.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__.startswith(name)
    }
    assert shown <= exported


def late_names(name):
    """The names that a package loads when they are first asked for, from its imports for typing."""
    path = ROOT.joinpath(*name.split(".")[1:], "__init__.py")
    return {
        alias.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
        for each in node.body
        if isinstance(each, ast.ImportFrom)
        for alias in each.names
    }


LATE = {name: late_names(name) for name in PACKAGES}


@pytest.mark.parametrize("name", [each for each in PACKAGES if LATE[each]])
def test_a_late_name_is_loaded_when_asked_for(name):
    """And an unknown one is an error as of any module."""
    module = importlib.import_module(name)
    for each in LATE[name]:
        assert getattr(module, each).__name__ == each
    with pytest.raises(AttributeError, match="has no attribute 'surely_not'"):
        _ = module.surely_not


def public_objects():
    """Every class and function that some `__all__` names, where it is defined."""
    for name in MODULES:
        module = importlib.import_module(name)
        for each in getattr(module, "__all__", []):
            value = getattr(module, each)
            if getattr(value, "__module__", None) == name and (
                inspect.isclass(value) or inspect.isfunction(value)
            ):
                yield pytest.param(value, id=f"{name}.{each}")


@pytest.mark.parametrize("value", list(public_objects()))
def test_everything_public_is_documented(value):
    """A first line that is a sentence; of a class, every method as well."""
    assert value.__doc__
    assert value.__doc__.strip().splitlines()[0].rstrip().endswith((".", ":", "?"))
    if inspect.isclass(value):
        for name, member in vars(value).items():
            if not name.startswith("_") and inspect.isfunction(member):
                assert inspect.getdoc(getattr(value, name)), name


def test_the_front_door_is_small():
    """A newcomer finds four verbs' worth of names."""
    assert [
        "Exported",
        "FitResult",
        "Predictions",
        "RobustClassifier",
        "RunFolder",
        "__version__",
        "export",
        "fit",
        "predict",
        "resume",
    ] == sorted(thresher.__all__, key=lambda each: (each.islower(), each))
    assert sorted(thresher.__all__) == dir(thresher)


def test_the_version_is_that_of_the_package():
    """Written in two places, the same in both."""
    from importlib.metadata import version

    assert version("thresher") == thresher.__version__


def test_types_are_shipped():
    """For whoever checks theirs."""
    assert (ROOT / "py.typed").is_file()
