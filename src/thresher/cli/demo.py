"""`thresher demo`: the main job on handwritten digits that ship with scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from thresher.cli.options import AsJson
from thresher.cli.output import Narrator, print_json, say

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option(help="The run folder.")] = Path("runs/demo"),
    noise_rate: Annotated[
        float, typer.Option(help="Share of training labels to make wrong.", min=0, max=0.8)
    ] = 0.4,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier demo.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make 40 % of the labels of 1,347 digits wrong, and train without being fooled by them."""
    from thresher.run_folder import RunFolder

    RunFolder.vacant(out, overwrite=overwrite)  # before the first of two trainings
    from thresher.demonstration import demonstrate

    narrator = Narrator("demo")
    try:
        found = demonstrate(
            out, noise_rate=noise_rate, seed=seed, overwrite=overwrite, listener=narrator
        )
    except KeyboardInterrupt:
        say("thresher: Interrupted. Run the demo again with --overwrite.")
        raise typer.Exit(130) from None
    finally:
        narrator.close()
    if as_json:
        print_json(found)
        return
    print(
        f"{found['n']:,} handwritten digits, {100 * noise_rate:.0f} % of their labels made wrong\n"
        f"\n"
        f"                     accuracy on clean test labels\n"
        f"standard training    {100 * found['standard_test_accuracy']:5.1f} %\n"
        f"thresher             {100 * found['test_accuracy']:5.1f} %\n"
        f"\n"
        f"labels called wrong  {found['n_label_issues']:,} of {found['n']:,}: "
        f"{100 * found['precision']:.0f} % of them are, "
        f"{100 * found['recall']:.0f} % of all wrong ones\n"
        f"average precision    {describe_ranking(found)}\n"
        f"noise rate found     {100 * found['noise_rate_estimate']:.1f} % "
        f"(true: {100 * found['noise_rate']:.1f} %)\n"
        f"\n"
        f"look at it           {found['run']}/report.html"
    )


def describe_ranking(found: dict[str, Any]) -> str:
    """How well the ranking finds wrong labels, if there are any.

    >>> describe_ranking({"average_precision": 0.98, "noise_rate": 0.4})
    '0.980 of the ranking (by chance 0.40)'
    """
    if found["average_precision"] is None:
        return "– (no label is wrong)"
    return f"{found['average_precision']:.3f} of the ranking (by chance {found['noise_rate']:.2f})"
