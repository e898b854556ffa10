"""Build a network by name, seeded, and check that it fits the data.

name → the class of a built-in name, or a factory imported from "package.module:factory"
     → seeded start → check_model → one network, or several in Networks
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Literal

import torch
from torch import nn

from thresher.errors import ModelError, nearest
from thresher.keyed_random import keyed_seed
from thresher.models.cnn import SmallCnn
from thresher.models.factory import Build, first_line, import_factory
from thresher.models.logits import logits_of
from thresher.models.mlp import Mlp
from thresher.models.networks import Networks
from thresher.models.resnet import PreActResNet18, ResNet18

__all__ = ["build_model", "check_model", "default_model"]


def default_model(kind: Literal["features", "images"]) -> str:
    """Name the network for a kind of data: ``mlp`` for features, ``cnn`` for images."""
    return "cnn" if kind == "images" else "mlp"


def build_model(
    name: str, *, shape: tuple[int, ...], classes: int, seed: int, networks: int = 1
) -> nn.Module:
    """Build a network with a seeded start and check that it fits the data.

    The same seed gives the same weights whatever was drawn before, and leaves torch's global
    generator as it was. Network j of several starts from a seed of its own; the first of them
    equals the single network. The weights of a network for images lie channels last, as images are
    stored: that saves a fifth of a step.

    Args:
        name: ``mlp``, ``cnn``, ``resnet18``, ``preact-resnet18``, or ``package.module:factory`` for
            a callable that returns an ``nn.Module``. It is given those of the arguments ``shape``
            and ``classes`` that it takes. Modules in the current directory are found too.
        shape: Shape of one prepared sample: (d,) for features, (C, H, W) for images.
        classes: Number of classes k, >= 1.
        seed: The run's seed.
        networks: Number of independent networks J, >= 1.

    Returns:
        A network with logits (B, k), or for J > 1 a `Networks` with logits (J, B, k).

    Raises:
        ModelError: The name is unknown, the factory cannot be imported or fails, or the network
            does not fit the data.
    """
    with _seeded(seed):  # code that runs on import may draw numbers, but only the first time
        build = import_factory(name) if ":" in name else _built_in(name)
    members = []
    for member in range(networks):
        with _seeded(keyed_seed(seed, "network", member)):
            built = build(shape, classes)
        check_model(built, shape=shape, classes=classes)
        members.append(built)
    model = members[0] if networks == 1 else Networks(members)
    if len(shape) == 3:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def check_model(model: nn.Module, *, shape: tuple[int, ...], classes: int) -> None:
    """Pass two samples of noise through a network and look at what it answers.

    The network is in evaluation mode meanwhile; modes and random state are as before afterwards.

    Args:
        model: A network that answers with logits (B, k), in any of the forms that
            `thresher.models.logits.logits_of` reads, or a `Networks`, whose members are checked in
            turn.
        shape: Shape of one prepared sample: (d,) for features, (C, H, W) for images.
        classes: Number of classes k.

    Raises:
        ModelError: The network fails, or its logits are not (2, k) finite numbers.
    """
    if isinstance(model, Networks):
        for member in model.members:
            check_model(member, shape=shape, classes=classes)
        return
    logits = logits_of(_answer_to_noise(model, shape))
    if logits.ndim == 2 and len(logits) == 2 and logits.shape[1] != classes:
        raise ModelError(
            f"The network's last layer is {logits.shape[1]} wide, the data have {classes} classes.",
            f"Give it {classes} outputs; a factory may take the argument classes.",
        )
    if logits.shape != (2, classes):
        raise ModelError(
            f"The network answers two samples with the shape {tuple(logits.shape)}, "
            f"not (2, {classes}).",
            "Let it return one row of logits per sample.",
        )
    if not bool(torch.isfinite(logits).all()):
        raise ModelError(
            "The network answers standard normal inputs with NaN or infinity.",
            "Check how its weights are initialised.",
        )


def _answer_to_noise(model: nn.Module, shape: tuple[int, ...]) -> object:
    modes = {module: module.training for module in model.modules()}
    device = next((each.device for each in model.parameters()), torch.device("cpu"))
    try:
        model.eval()
        with _seeded(0), torch.no_grad():
            answer: object = model(torch.randn(2, *shape).to(device))
    except Exception as error:  # the user's code may raise anything
        sizes = ", ".join(map(str, shape))
        raise ModelError(
            f"The network fails on inputs of shape (B, {sizes}): {first_line(error)}",
            "Build it for inputs of this shape; a factory may take the argument shape.",
        ) from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    return answer


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the CPU generator, which initialises weights, and put its state back afterwards."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would reset the generators of all other devices as well.
        torch.default_generator.manual_seed(seed)
        yield


def _built_in(name: str) -> Build:
    """Find a network of our own by its name."""
    builders: dict[str, Build] = {
        "mlp": lambda shape, classes: Mlp(prod(shape), classes),
        "cnn": lambda shape, classes: SmallCnn(_image_shape(name, shape), classes),
        "resnet18": lambda shape, classes: ResNet18(_image_shape(name, shape), classes),
        "preact-resnet18": lambda shape, classes: PreActResNet18(
            _image_shape(name, shape), classes
        ),
    }
    if name not in builders:
        raise ModelError(
            f'There is no model "{name}".',
            nearest(name, builders) + " A network of your own: package.module:factory.",
        )
    return builders[name]


def _image_shape(name: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ModelError(
            f'The model "{name}" needs images, the data have the shape {shape}.',
            'Use the model "mlp".',
        )
    channels, height, width = shape
    return channels, height, width
