"""Kinds of label noise, as a benchmark names them and as it injects them.

    none                     true labels
    symmetric:0.4            every other class equally likely
    pair:0.4                 the next class
    asymmetric:0.4           classes of CIFAR that are easily confused; elsewhere with the pairs,
                             asymmetric:0.4:cat>dog;dog>cat
    class-dependent:0.2      classes differ in how often, and into what, they are mistaken
    instance:0.3             similar samples are mistaken alike
    given                    the labels that the data come with; the true ones are elsewhere

Symmetric and pair noise hit exactly as many samples of every class as the rate says, asymmetric
noise of every confused class; the rate of class-dependent noise is the mean over classes. Which
samples are hit, the seed says. Instance-dependent noise draws every label on its own.
What is injected: `thresher.data.corruption`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from thresher.data.corruption import (
    CIFAR10_PAIRS,
    CIFAR100_SUPER_CLASSES,
    asymmetric_transition,
    class_dependent_transition,
    corrupt,
    cyclic_pairs,
    instance_dependent,
    pair_transition,
    symmetric_transition,
)
from thresher.errors import ParameterError, nearest

__all__ = ["KINDS", "Kind", "NoiseSpec", "confused_pairs", "given_labels", "parse_noise"]

Kind = Literal["none", "symmetric", "pair", "asymmetric", "class-dependent", "instance", "given"]
KINDS: tuple[str, ...] = get_args(Kind)
WITHOUT_RATE = ("none", "given")
HIGHEST_RATE = 7 / 4  # of a class under class-dependent noise, as a multiple of the mean

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class NoiseSpec:
    """One kind of noise.

    Args:
        kind: Which.
        rate: Share of wrong labels, in [0, 1); of asymmetric noise, among the confused classes.
        pairs: Of asymmetric noise, (true class, mistaken for), by name; none = CIFAR's.
    """

    kind: Kind
    rate: float = 0.0
    pairs: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        if self.kind in WITHOUT_RATE:
            return self.kind
        words = f"{self.kind}:{exact(self.rate)}"
        if self.pairs:
            words += ":" + ";".join(f"{true}>{mistaken}" for true, mistaken in self.pairs)
        return words


def exact(rate: float) -> str:
    """A rate that is read back as the same number: rates that differ never share a name.

    >>> exact(0.4), exact(0.0), exact(0.123456789)
    ('0.4', '0', '0.123456789')
    """
    short = f"{rate:g}"
    return short if float(short) == rate else repr(rate)


def parse_noise(text: str) -> NoiseSpec:
    """Read a kind of noise as it is written on the command line.

    >>> parse_noise("pair:0.40"), str(parse_noise("asymmetric:0.2:7>1;2>7"))
    (NoiseSpec(kind='pair', rate=0.4, pairs=()), 'asymmetric:0.2:7>1;2>7')

    Raises:
        ParameterError: an unknown kind, a rate that is missing or out of range, no pairs, or a
            class that is to be mistaken for itself or for two others.
    """
    kind, _, rest = text.strip().partition(":")
    if kind not in KINDS:
        raise ParameterError(f'There is no noise "{kind}".', nearest(kind, KINDS))
    if kind in WITHOUT_RATE:
        if rest:
            raise ParameterError(f'The noise "{kind}" takes no rate, got "{text}".', f"Use {kind}.")
        return NoiseSpec(kind)  # type: ignore[arg-type]
    share, _, written = rest.partition(":")
    try:
        rate = float(share)
    except ValueError:
        rate = -1.0
    if not 0 <= rate < 1:
        raise ParameterError(f'The noise "{text}" has no rate in [0, 1).', f"Example: {kind}:0.4.")
    if written and kind != "asymmetric":
        raise ParameterError(
            f'The noise "{text}" has more than a rate.', f"Example: {kind}:{rate:g}."
        )
    return NoiseSpec(kind, rate, _pairs(written, text))  # type: ignore[arg-type]


def _pairs(written: str, text: str) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    for part in written.split(";") if written else ():
        true, arrow, mistaken = (each.strip() for each in part.partition(">"))
        if not arrow or not true or not mistaken:
            raise ParameterError(
                f'"{part}" of the noise "{text}" is no pair of classes.',
                'Example: "asymmetric:0.4:cat>dog;dog>cat".',
            )
        if true == mistaken:
            raise ParameterError(
                f'The noise "{text}" mistakes the class "{true}" for itself.',
                "Name another class behind the arrow, or leave the pair out.",
            )
        if true in (each for each, _ in pairs):
            raise ParameterError(
                f'The noise "{text}" names the class "{true}" twice as the true one.',
                "A class is mistaken for one other: leave the second pair out.",
            )
        pairs.append((true, mistaken))
    return tuple(pairs)


def confused_pairs(spec: NoiseSpec, names: Sequence[str]) -> dict[int, int]:
    """Which class asymmetric noise takes for which, by number.

    Args:
        spec: Of asymmetric noise.
        names: The k class names.

    Raises:
        ParameterError: a pair names no class, or none is given and the data are not CIFAR's.
    """
    if spec.pairs:
        for name in (each for pair in spec.pairs for each in pair):
            if name not in names:
                raise ParameterError(
                    f'There is no class "{name}" for the noise "{spec}".', nearest(name, names)
                )
        return {names.index(true): names.index(mistaken) for true, mistaken in spec.pairs}
    if len(names) == 10 and {"airplane", "truck"} <= set(names):
        return CIFAR10_PAIRS
    if len(names) == 100 and {"aquarium_fish", "worm"} <= set(names):
        return cyclic_pairs(CIFAR100_SUPER_CLASSES)
    raise ParameterError(
        f'The noise "{spec}" does not say which classes are mistaken for which.',
        f'Example: "{spec}:{names[0]}>{names[-1]};{names[-1]}>{names[0]}".',
    )


def refuse_class_dependent(spec: NoiseSpec, classes: int) -> None:
    """Refuse class-dependent noise that the classes cannot have.

    Raises:
        ParameterError: there are two of them, or all labels of one would be wrong.
    """
    if classes < 3:
        raise ParameterError(
            f'The noise "{spec}" mistakes a class for two others, and there are {classes} classes.',
            f'Take another noise, such as "symmetric:{exact(spec.rate)}".',
        )
    if HIGHEST_RATE * spec.rate >= 1:
        raise ParameterError(
            f'The noise "{spec}" makes all labels of a class wrong: the rates of the classes reach '
            f"{HIGHEST_RATE:g} times {exact(spec.rate)}.",
            f"Take a rate below {1 / HIGHEST_RATE:.3f}.",
        )


def given_labels(
    spec: NoiseSpec,
    inputs: NDArray[Any],
    true: Labels,
    classes: int,
    seed: int,
    *,
    names: Sequence[str] = (),
    parts: Sequence[Labels] | None = None,
) -> Labels:
    """Draw given labels from true ones.

    Args:
        spec: Any but "given".
        inputs: (N, …), for instance-dependent noise, which gets them standardised.
        true: (N,) true labels.
        classes: k.
        seed: Of the draw.
        names: The k class names, for asymmetric noise.
        parts: Rows whose wrong labels are counted by themselves, such as those of training and of
            validation; None = all together.

    Returns:
        (N,) int64, a new array.

    Raises:
        ParameterError: the noise does not fit these classes.
    """
    if spec.kind == "none":
        return true.copy()
    random = np.random.default_rng(seed)
    if spec.kind == "instance":
        flat = inputs.reshape(len(inputs), -1).astype(np.float32)
        scaled = (flat - flat.mean(axis=0)) / np.maximum(flat.std(axis=0), 1e-6)
        return instance_dependent(scaled, true, spec.rate, classes, random)
    if spec.kind == "class-dependent":
        refuse_class_dependent(spec, classes)
        transition = class_dependent_transition(classes, random, spec.rate)
    elif spec.kind == "asymmetric":
        transition = asymmetric_transition(classes, spec.rate, confused_pairs(spec, names))
    else:
        make = {"symmetric": symmetric_transition, "pair": pair_transition}[spec.kind]
        transition = make(classes, spec.rate)
    given = true.copy()
    for rows in [np.arange(len(true))] if parts is None else parts:
        given[rows] = corrupt(true[rows], transition, random)
    return given
