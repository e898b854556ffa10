"""`thresher methods`: what there is to choose from, and the card of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from thresher.cli.options import AsJson
from thresher.cli.output import console, print_json

if TYPE_CHECKING:
    from thresher.noise.card import Card

__all__ = ["methods"]

#: What a method may need, as the list says it.
NEEDS = {"noise_rate": "noise rate", "held_out": "held out", "auxiliary": "further data"}

REFERENCE_WIDTH = 34  # keeps the list within 120 columns

SIGNS = {"yes": "+", "in part": "~", "no": "-"}


def methods(
    name: Annotated[
        str | None, typer.Argument(help="Print all that is known of one.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the methods, or print the card of one: idea, formula, settings, cost, source."""
    from thresher import noise
    from thresher.noise.card import card_of

    if name is not None:
        card = card_of(noise.method_class(name))
        if as_json:
            print_json({"schema": 1, "method": card.to_json()})
        else:
            print_card(card)
        return
    cards = [card_of(getattr(noise, kind)) for kind in noise.METHODS.values()]
    if as_json:
        print_json({"schema": 1, "methods": [in_short(card) for card in cards]})
        return
    from rich.table import Table
    from rich.text import Text

    from thresher.noise.families import PROPERTIES

    table = Table(box=None, pad_edge=False)
    for title in ("method", "family", "P1–P6", "needs", "nets", "bytes", "reference"):
        wraps = title == "reference"
        table.add_column(title, no_wrap=not wraps, max_width=REFERENCE_WIDTH if wraps else None)
    for card in cards:
        signs = "".join(SIGNS[answer] for answer in (card.properties or {}).values())
        needs = ", ".join(NEEDS[each] for each in card.needs)
        table.add_row(
            card.name, card.family, signs, needs, str(card.networks), card.sample_bytes, card.source
        )
    out = console(stderr=False)
    out.print(table, soft_wrap=False)
    out.print()
    questions = [f"P{place} {each}" for place, each in enumerate(PROPERTIES, 1)]
    for line in (
        ", ".join(questions[:4]),
        ", ".join(questions[4:]),
        "in the survey (TNNLS 2022): + yes, ~ in part, - no; empty where it has no such row.",
        "bytes: remembered of a sample, of k classes and q predictions, where a rate is estimated.",
        "thresher methods NAME: idea, formula, settings and limits of one.",
    ):
        out.print(Text(line), soft_wrap=False)


def in_short(card: Card) -> dict[str, Any]:
    """What the list says of a method."""
    return {
        "name": card.name,
        "family": card.family,
        "needs": list(card.needs),
        "networks": card.networks,
        "properties": card.properties,
        "sample_bytes": card.sample_bytes,
        "sample_bytes_told": card.sample_bytes_told,
        "summary": card.summary,
        "source": card.source,
    }


def print_card(card: Card) -> None:
    """The card for people."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    out = console(stderr=False)

    def section(title: str, *paragraphs: str) -> None:
        if any(paragraphs):
            out.print()
            out.print(Text(title, style="bold"))
            for each in paragraphs:
                out.print(Padding(Text(each), (0, 0, 0, 2), expand=False), soft_wrap=False)

    out.print(Text(f"{card.name} ({card.made_by})", style="bold"))
    out.print(Text(card.summary), soft_wrap=False)
    section("idea", *card.idea)
    section("formula", *card.formula)
    if card.settings:
        out.print()
        out.print(Text("settings (--method-option NAME=VALUE)", style="bold"))
        table = Table(box=None, pad_edge=False, show_header=True, padding=(0, 2, 0, 0))
        for title in ("name", "default", "range", "what it is"):
            table.add_column(title, no_wrap=title != "what it is")
        for each in card.settings:
            default = "none" if each.default is None else str(each.default)
            table.add_row(each.name, default, each.range or "", each.description)
        out.print(Padding(table, (0, 0, 0, 2), expand=False), soft_wrap=False)
    section("family", ": ".join(each for each in (card.family, card.family_means) if each))
    answers = card.properties or {}
    section(
        "in the survey (TNNLS 2022)",
        *(f"{question}: {answer}" for question, answer in answers.items()),
    )
    needs = ", ".join(NEEDS.get(each, each) for each in card.needs) or "nothing"
    section("needs", f"{needs}; {card.networks} network{'s' if card.networks > 1 else ''}")
    told = card.sample_bytes_told
    section(
        "bytes a sample",
        card.sample_bytes + (f"; {told} where it is told" if told != card.sample_bytes else ""),
    )
    section("cost", card.cost)
    section("hurts when", card.hurts_when)
    section("source", card.reference)
    section("deviations", card.deviations)
