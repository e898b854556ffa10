"""Options and arguments that several commands have in the same words.

One that a command says in words of its own stands in that command; those of all clustering commands
stand in clustering.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "AsJson",
    "BatchSize",
    "Device",
    "FinishedRun",
    "LearningRate",
    "Limit",
    "LongestSide",
    "WeightDecay",
]

FinishedRun = Annotated[Path, typer.Argument(help="A finished run.", show_default=False)]

# ---------------------------------------------------------------------- of the data
LongestSide = Annotated[
    int | None, typer.Option(help="Scale larger images down to so many pixels. Default: 224.")
]
Limit = Annotated[int | None, typer.Option(help="Take a stratified sample of so many rows.")]

# ---------------------------------------------------------------------- of a training
Device = Annotated[str | None, typer.Option(help="cpu, cuda, … Default: auto.")]
BatchSize = Annotated[
    int | None, typer.Option(help="Samples a batch. Default: from the number of rows.")
]
LearningRate = Annotated[
    float | None, typer.Option(help="Peak of the schedule. Default: 0.05, images 0.1.")
]
WeightDecay = Annotated[float | None, typer.Option(help="L2 penalty. Default: 1e-4, images 5e-4.")]

# ---------------------------------------------------------------------- of the output
AsJson = Annotated[bool, typer.Option("--json", help="Print one object.")]
