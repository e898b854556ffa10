"""`thresher report`: the report of a run made again, as after a review."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from thresher.cli.options import AsJson, FinishedRun
from thresher.cli.output import print_json

__all__ = ["report"]


def report(
    run: FinishedRun,
    out: Annotated[
        Path | None, typer.Option(help="Write here instead of replacing RUN/report.html.")
    ] = None,
    top: Annotated[int, typer.Option(help="Suspects to show, at most 300.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Make the report of a run again, with what people decided since."""
    from thresher.audit.report import write_report
    from thresher.audit.run_report import report_of_run
    from thresher.run_folder import RunFolder

    folder = RunFolder.open(run).require_complete()
    made = report_of_run(folder, method=described(folder), top=top)
    path = folder.report if out is None else out
    write_report(path, made.page)
    if as_json:
        print_json(
            {
                "schema": 1,
                "run": str(run),
                "report": str(path),
                "n_label_issues": made.summary.n_label_issues,
                "suggestion_precision": made.suggestion_precision,
                "decided": made.review.decided,
                "suggestions_decided": made.review.suggestions,
                "suggestions_right": made.review.suggestions_right,
            }
        )
        return
    print(path)


def described(folder: Any) -> dict[str, str]:
    """What the report says of the training method of a run.

    Raises:
        RunError: run.toml names a method that this release does not have.
    """
    from thresher import noise
    from thresher.errors import ParameterError, RunError

    name = str(folder.read_settings()["fit"].get("method"))
    try:
        method = noise.method_class(name)
    except ParameterError as error:
        raise RunError(f'{folder.settings} names the method "{name}".', error.fix) from error
    return {
        "name": name,
        "summary": (method.__doc__ or "").strip().splitlines()[0],
        "source": method.source,
    }
