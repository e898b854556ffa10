"""`thresher audit`: what a finished run says of the labels; a gate for continuous integration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thresher.cli.output import console, print_json, say, visible
from thresher.errors import ParameterError, RunError

if TYPE_CHECKING:
    from thresher.run_folder import RunFolder

__all__ = ["audit", "exceeds"]

TEXT = 80  # characters of a text
WIDE = 100  # columns; a narrower terminal is not shown the two probabilities


def audit(
    run: Annotated[Path, typer.Argument(help="A finished run.", show_default=False)],
    top: Annotated[int, typer.Option(help="Suspects to list.", min=0)] = 20,
    fail_on: Annotated[
        str | None,
        typer.Option(help="Exit with 1 when more labels are suspect than this: 25, 2% or 0.02."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
) -> None:
    """List the most suspect labels of a run, worst first."""
    import pyarrow.compute as pc

    from thresher.audit.table import table_facts
    from thresher.run_folder import RunFolder

    table = read_audit(RunFolder.open(run).require_complete())
    facts = table_facts(table)
    issues, labelled = facts["n_label_issues"], int(pc.count(table["given_label"]).as_py())
    failed = fail_on is not None and exceeds(issues, labelled, fail_on)
    suspects = (
        table.filter(table["is_label_issue"])
        .sort_by("rank")
        .slice(0, top)
        .select(
            [
                "rank",
                "sample_id",
                "given_label",
                "suggested_label",
                "label_score",
                "p_given",
                "p_suggested",
                "reason",
                *(name for name in ("text",) if name in table.column_names),
            ]
        )
        .to_pylist()
    )
    if as_json:
        print_json(
            {
                "schema": 1,
                "run": str(run),
                "n": facts["n"],
                "n_labelled": labelled,
                "n_label_issues": issues,
                "noise_rate": facts["noise_rate"],
                "memorised": facts["memorised"],
                "failed": failed,
                "suspects": suspects,
            }
        )
    else:
        print_suspects(suspects, issues, labelled, facts)
    if failed:
        say(f"thresher: {issues:,} suspect labels are more than --fail-on {fail_on} allows.")
        raise typer.Exit(1)


def read_audit(folder: RunFolder) -> Any:
    """The audit table of a finished run.

    Raises:
        RunError: the run was made without one, or the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not folder.audit.is_file():
        raise RunError(
            f"The run in {folder.path} holds no audit.parquet.", "Train again with an audit."
        )
    try:
        return pq.read_table(folder.audit)
    except (OSError, pa.ArrowException) as error:
        raise RunError(
            f"{folder.audit} cannot be read: it is damaged.", "Copy it again, or train again."
        ) from error


def exceeds(issues: int, labelled: int, limit: str) -> bool:
    """Whether the suspects are more than a count ("25") or a share ("2%", "0.02") allows.

    >>> exceeds(30, 1000, "25"), exceeds(30, 1000, "5%"), exceeds(30, 1000, "0.02")
    (True, False, True)

    Raises:
        ParameterError: the limit is neither.
    """
    try:
        if limit.endswith("%"):
            allowed = float(limit[:-1]) / 100 * labelled
        elif "." in limit:
            allowed = float(limit) * labelled
        else:
            allowed = int(limit)
    except ValueError:
        allowed = -1
    if not allowed >= 0 or ("." in limit and not limit.endswith("%") and float(limit) > 1):
        raise ParameterError(
            f'--fail-on must be a count or a share, got "{limit}".', "Examples: 25, 2%, 0.02."
        )
    return issues > allowed


def print_suspects(
    suspects: list[dict[str, Any]], issues: int, labelled: int, facts: dict[str, Any]
) -> None:
    """The same for people."""
    from rich.table import Table

    rate = facts["noise_rate"]
    print(f"{issues:,} of {labelled:,} labels are suspect; {describe_rate(rate)}")
    if not suspects:
        return
    out = console(stderr=False)
    titles = ["rank", "sample", "given", "suggested", "score", "p given", "p suggested", "why"]
    if out.width < WIDE:
        titles.remove("p given")
        titles.remove("p suggested")
    if "text" in suspects[0]:
        titles.insert(2, "text")
    table = Table(box=None, pad_edge=False)
    for title in titles:
        right = title in ("rank", "score", "p given", "p suggested")
        # folded where there is no space, never cut: people search for what they read
        table.add_column(title, justify="right" if right else "left", overflow="fold")
    for each in suspects:
        cells = {
            "rank": str(each["rank"]),
            "sample": visible(each["sample_id"]),
            "text": shortened(visible(each.get("text") or "")),
            "given": visible(each["given_label"]),
            "suggested": visible(each["suggested_label"]),
            "score": f"{each['label_score']:.3f}",
            "p given": f"{each['p_given']:.3f}",
            "p suggested": f"{each['p_suggested']:.3f}",
            "why": (each["reason"] or "").replace("_", " "),
        }
        table.add_row(*(cells[title] for title in titles))
    out.print(table, soft_wrap=False)


def shortened(text: str) -> str:
    """The beginning of a text.

    >>> shortened("a" * 100)[-2:], len(shortened("a" * 100))
    ('a…', 80)
    """
    return text if len(text) <= TEXT else text[: TEXT - 1] + "…"


def describe_rate(rate: dict[str, Any]) -> str:
    """The noise rate in words.

    >>> describe_rate({"estimate": 0.2, "low": 0.18, "high": 0.25})
    'estimated noise rate 20.0 % (18.0 to 25.0 %)'
    """
    if rate["estimate"] is None:
        return "too few visits to estimate a noise rate"
    words = f"estimated noise rate {100 * rate['estimate']:.1f} %"
    if rate.get("low") is None or rate.get("high") is None:
        return words
    return f"{words} ({100 * rate['low']:.1f} to {100 * rate['high']:.1f} %)"
