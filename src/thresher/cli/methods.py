"""`thresher methods`: what there is to choose from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from thresher.cli.output import console, print_json

__all__ = ["methods"]


def methods(
    as_json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
) -> None:
    """List the methods, what they need, and where they come from."""
    from thresher import noise

    found: list[dict[str, Any]] = []
    for name, kind in noise.METHODS.items():
        method = getattr(noise, kind)
        found.append(
            {
                "name": name,
                "needs": list(method.needs),
                "networks": method.networks,
                "summary": (method.__doc__ or "").strip().splitlines()[0],
                "source": method.source,
            }
        )
    if as_json:
        print_json({"schema": 1, "methods": found})
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("method", "needs", "networks", "what it does"):
        table.add_column(title, no_wrap=title != "what it does")
    for each in found:
        needs = ", ".join(each["needs"]).replace("_", " ")
        table.add_row(each["name"], needs, str(each["networks"]), each["summary"])
    console(stderr=False).print(table, soft_wrap=False)
