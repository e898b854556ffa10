"""Card of a method: all that is known of it, read from its own docstrings and attributes.

    module docstring    first line, idea (paragraphs), formula (what is indented)
    class docstring     summary, Args → settings, Cost, Hurts when, Source, Deviations
    attributes          name, family, the survey's properties, needs, networks

Nothing is written twice: a method that is documented as the others are has its card.
"""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from thresher.noise.families import FAMILIES, PROPERTIES

if TYPE_CHECKING:
    from thresher.noise.method import Method

__all__ = ["ANSWERS", "Card", "Setting", "card_of", "read_args", "read_class", "read_module"]

#: What the signs of the survey mean.
ANSWERS = {"+": "yes", "~": "in part", "-": "no"}

PARTS = ("Args", "Shapes", "Raises", "Cost", "Hurts when", "Source", "Deviations")
MARK = re.compile(rf"(?:^|(?<=[.:)] )|(?<=\n))({'|'.join(PARTS)})( from [^:.]*| of [^:.]*)?:\s")
RANGE = re.compile(r"in [\[(][^\])]*[\])]|(?:>=|<=|>|<) -?\w+(?:\.\d+)?")
EQUATION = re.compile(r"^\S+(?: \S+)? *(?:=|←) ")


@dataclass(frozen=True)
class Setting:
    """One argument of a method.

    Attributes:
        name: As it is passed.
        default: As it is left.
        range: What is allowed, where the description says so with signs; else None.
        description: What the docstring says of it.
    """

    name: str
    default: Any
    range: str | None
    description: str


@dataclass(frozen=True)
class Card:
    """What `thresher methods NAME` prints.

    Attributes:
        name: On the command line.
        made_by: The class, as it is imported.
        summary: What it does, a line.
        idea: Why that helps, paragraphs.
        formula: Lines; empty where there is none.
        settings: In the order of the signature.
        family: A key of `families.FAMILIES`.
        family_means: What its members have in common; empty for one that is none of ours.
        properties: Question of the survey → yes, in part or no; None where it has no such row.
        needs: What has to be known, held out, or drawn beside the batches.
        networks: How many are trained.
        sample_bytes: Bytes a sample, a sum of numbers, k classes and q remembered predictions,
            where what could be told is estimated.
        sample_bytes_told: The same where it is told.
        cost: Of memory and time.
        hurts_when: The known failure.
        source: In short.
        reference: In full.
        deviations: From the source.
    """

    name: str
    made_by: str
    summary: str
    idea: tuple[str, ...]
    formula: tuple[str, ...]
    settings: tuple[Setting, ...]
    family: str
    family_means: str
    properties: dict[str, str] | None
    needs: tuple[str, ...]
    networks: int
    sample_bytes: str
    sample_bytes_told: str
    cost: str
    hurts_when: str
    source: str
    reference: str
    deviations: str

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        return asdict(self)


def card_of(method: type[Method]) -> Card:
    """Make the card of a method from its class."""
    idea, formula = read_module(sys.modules[method.__module__].__doc__ or "")
    parts = read_class(method.__doc__ or "")
    described = read_args(parts["Args"])
    arguments = list(inspect.signature(method).parameters.values())
    signs = method.properties
    ours = method.__module__.startswith("thresher.noise.")
    says = ours or any("sample_bytes" in vars(kind) for kind in method.__mro__[:-2])
    said = method.sample_bytes if says else "not said"
    return Card(
        name=method.name,
        made_by=f"{'thresher.noise' if ours else method.__module__}.{method.__name__}",
        summary=parts["summary"],
        idea=idea,
        formula=formula,
        settings=tuple(
            Setting(each.name, plain(each.default), *described.get(each.name, (None, "")))
            for each in arguments
        ),
        family=method.family,
        family_means=FAMILIES.get(method.family, ""),  # a user's own may have none
        properties={
            question: ANSWERS[sign] for question, sign in zip(PROPERTIES, signs, strict=True)
        }
        if signs
        else None,
        needs=(*method.needs, *streams_of(method)),
        networks=method.networks,
        sample_bytes=said,
        sample_bytes_told=method.sample_bytes_told or said,
        cost=parts["Cost"],
        hurts_when=parts["Hurts when"],
        source=method.source,
        reference=parts["Source"] or method.source,
        deviations=parts["Deviations"],
    )


def streams_of(method: type[Method]) -> tuple[str, ...]:
    """Names of the data that it draws beside the batches; of one with its settings at default."""
    arguments = inspect.signature(method).parameters.values()
    if any(each.default is inspect.Parameter.empty for each in arguments):
        return ()
    return method().streams()


def plain(default: object) -> Any:
    """A default as JSON knows it; what it does not know, as text."""
    if default is None or isinstance(default, bool | int | float | str):
        return default
    return str(default)


def read_module(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Take a module's docstring apart.

    >>> read_module("Name: what it does.\\n\\nWhy it helps,\\nand when.\\n\\n    loss = a + b\\n")
    (('Why it helps, and when.',), ('loss = a + b',))

    Args:
        text: As it stands: title, paragraphs, and an indented block of formulas.

    Returns:
        The idea, a text a paragraph, without the first line; and the lines of the formulas.
    """
    idea: list[str] = []
    formula: list[str] = []
    _, _, body = inspect.cleandoc(text).partition("\n\n")
    # cleandoc takes the indent away where there is nothing but formulas
    for block in re.split(r"\n\s*\n", text.partition("\n\n")[2] or body):
        lines = [line.rstrip() for line in block.splitlines() if line.strip()]
        if not lines:
            continue
        if lines[0].startswith(" ") or EQUATION.match(lines[0]):
            formula += inspect.cleandoc("\n" + "\n".join(lines)).splitlines()
        elif not lines[0].startswith("Source:"):
            idea.append(" ".join(line.strip() for line in lines))
    return tuple(idea), tuple(formula)


def read_class(text: str) -> dict[str, str]:
    """Take a class's docstring apart: "summary", and a text for each of `PARTS`, "" if it lacks.

    >>> parts = read_class("Do it.\\n\\n    Cost: none. Hurts when: long.\\n    Source: A, B 2020.")
    >>> parts["summary"], parts["Cost"], parts["Hurts when"], parts["Source"], parts["Deviations"]
    ('Do it.', 'none.', 'long.', 'A, B 2020.', '')
    """
    whole = inspect.cleandoc(text)
    found = {"summary": whole.partition("\n")[0], **dict.fromkeys(PARTS, "")}
    marks = list(MARK.finditer(whole))
    ends = [*(mark.start() for mark in marks), len(whole)][1:]
    for mark, end in zip(marks, ends, strict=True):
        body = whole[mark.end() : end]
        name, qualifier = mark[1], (mark[2] or "").strip()
        if name == "Args":
            found[name] = " " * 4 + body.strip("\n") if not body.startswith(" ") else body
        elif not found[name]:
            words = " ".join(body.partition("\n\n")[0].split())
            found[name] = f"{qualifier}: {words}" if qualifier else words
    return found


def read_args(text: str) -> dict[str, tuple[str | None, str]]:
    """Take the body of "Args:" apart: name → range, and description.

    >>> read_args("    keep: Share,\\n        in (0, 1]. Default 0.5.\\n    end: Last.")
    {'keep': ('in (0, 1]', 'Share, in (0, 1]. Default 0.5.'), 'end': (None, 'Last.')}
    """
    found: dict[str, tuple[str | None, str]] = {}
    for part in re.split(r"(?m)^ {4}(?=\w+: )", text):
        name, _, body = part.partition(": ")
        description = " ".join(body.partition("\n\n")[0].split())
        if name.strip():
            limits = RANGE.search(description)
            found[name.strip()] = (limits[0] if limits else None, description)
    return found
