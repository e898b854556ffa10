"""`thresher export`: the data of a run with the labels that people decided."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from thresher.cli.options import AsJson, FinishedRun
from thresher.cli.output import print_json, say, visible

__all__ = ["export"]


def export(
    run: FinishedRun,
    out: Annotated[
        Path,
        typer.Option(
            help="A folder for images and Parquet in parts, else a file: .csv, .tsv, .jsonl or "
            ".parquet.",
            show_default=False,
        ),
    ],
    apply: Annotated[
        Literal["decisions", "suggestions"],
        typer.Option(help="Suggestions: relabel flagged samples that nobody decided as well."),
    ] = "decisions",
    min_confidence: Annotated[
        float | None,
        typer.Option(help="Apply suggestions only where p_suggested is at least this."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Where the data are now.")] = None,
    changes: Annotated[
        bool, typer.Option("--changes", help="Write a list of the changes, .csv or .jsonl.")
    ] = False,
    link: Annotated[
        bool, typer.Option("--link", help="Hard links to images instead of copies.")
    ] = False,
    include_test: Annotated[
        bool, typer.Option("--include-test", help="Correct rows of a test split as well.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier export.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a corrected copy of the data of a run, in their own form; they are never touched."""
    from thresher.corrected import export as write

    found = write(
        run,
        out,
        apply=apply,
        min_confidence=min_confidence,
        data=data,
        changes=changes,
        link=link,
        include_test=include_test,
        overwrite=overwrite,
    )
    for sentence in found.notes:
        say(f"note: {sentence}")
    if as_json:
        print_json(found.to_json())
    else:
        print(visible(found.sentence()))
