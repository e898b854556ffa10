"""`thresher audit`: what is known of the labels of a run, or of predictions made elsewhere.

With `--fail-on` it is a gate for continuous integration. It does not import torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thresher.cli.options import AsJson
from thresher.cli.output import console, print_json, say, visible
from thresher.errors import ParameterError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["audit", "exceeds"]

TEXT = 80  # characters of a text
WIDE = 100  # columns; a narrower terminal is not shown the two probabilities


def audit(
    run: Annotated[Path | None, typer.Argument(help="A finished run.", show_default=False)] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(help="Instead of a run: a .npy of predicted probabilities, (N, classes)."),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            help="Instead of a run: a .npy of embeddings, (N, d), whose nearest rows vote; beside "
            "--probabilities, only outliers and near-duplicates are looked for in them."
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[:COLUMN]",
            help="Their given labels: a .npy, or a column of a .csv or .parquet.",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Their class names in the order of the columns: a,b,c, or a file, one a line.",
        ),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            help="How much to call wrong: high_precision, balanced or high_recall; a run is judged "
            "again."
        ),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            help="What ranks: log_margin; or ensemble, which needs embeddings or a run's features."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the whole table here, a .parquet; never into a run."),
    ] = None,
    top: Annotated[int, typer.Option(help="Suspects to list.", min=0)] = 20,
    fail_on: Annotated[
        str | None,
        typer.Option(help="Exit with 1 when more labels are suspect than this: 25, 2% or 0.02."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the most suspect labels of a run, or of predictions made elsewhere, worst first."""
    check_combination(run, probabilities, embeddings, labels, classes)
    check_out(out)
    if fail_on is not None:
        exceeds(0, 0, fail_on)  # a slip is refused before minutes of work

    import pyarrow.compute as pc

    from thresher.audit.table import table_facts, write_table
    from thresher.audit.verdicts import LEVELS, SCORES

    check_choice("--level", level, LEVELS)
    check_choice("--score", score, SCORES)
    if run is not None:
        table = table_of_run(run, level, score)
    else:
        table = table_of_predictions(probabilities, embeddings, labels, classes, level, score)
    if out is not None:
        write_table(table, out)
        say(f"{table.num_rows:,} rows in {out}")
    facts = table_facts(table)
    issues, labelled = facts["n_label_issues"], int(pc.count(table["given_label"]).as_py())
    unjudged = facts.get("summary", {}).get("n_without_verdict", 0)  # earlier tables have none
    if fail_on is not None and 0 < labelled == unjudged:
        raise ParameterError(
            f"None of the {labelled:,} labels got a verdict, so that --fail-on {fail_on} has "
            "nothing to go by.",
            "Train for at least 3 epochs.",
        )
    failed = fail_on is not None and exceeds(issues, labelled, fail_on)
    suspects = worst(table, top)
    if as_json:
        print_json(
            {
                "schema": 1,
                "run": None if run is None else str(run),
                "out": None if out is None else str(out),
                "n": facts["n"],
                "n_labelled": labelled,
                "n_label_issues": issues,
                "n_without_verdict": unjudged,
                "level": facts["level"],
                "noise_rate": facts["noise_rate"],
                "memorised": facts["memorised"],
                "failed": failed,
                "suspects": suspects,
            }
        )
    else:
        print_suspects(suspects, issues, labelled, unjudged, facts)
    if failed:
        say(f"thresher: {issues:,} suspect labels are more than --fail-on {fail_on} allows.")
        raise typer.Exit(1)


# ---------------------------------------------------------------------- arguments
def check_combination(
    run: Path | None,
    probabilities: Path | None,
    embeddings: Path | None,
    labels: str | None,
    classes: str | None,
) -> None:
    """Refuse a run beside predictions, and either without what it needs.

    Raises:
        ParameterError: names what is too much or missing.
    """
    predictions = {
        "--probabilities": probabilities,
        "--embeddings": embeddings,
        "--labels": labels,
        "--classes": classes,
    }
    passed = [name for name, value in predictions.items() if value is not None]
    if run is not None and passed:
        raise ParameterError(
            f"A run has predictions and labels of its own, but {passed[0]} was passed as well.",
            "Leave out the run, or what is not of it.",
        )
    if run is None and not passed:
        raise ParameterError(
            "There is nothing to audit.",
            "Pass a run, or --probabilities P.npy (or --embeddings E.npy) and --labels L.npy.",
        )
    if run is None and probabilities is None and embeddings is None:
        raise ParameterError(
            f"{passed[0]} was passed without predictions.",
            "Pass --probabilities P.npy or --embeddings E.npy as well.",
        )
    if run is None and labels is None:
        raise ParameterError(
            f"{passed[0]} was passed without the given labels.",
            "Pass --labels L.npy, L.csv:column or L.parquet:column as well.",
        )


def check_choice(option: str, word: str | None, allowed: tuple[str, ...]) -> None:
    """Refuse an unknown word.

    Raises:
        ParameterError: names the nearest one.
    """
    if word is not None and word not in allowed:
        raise ParameterError(f'{option} "{word}" is unknown.', nearest(word, allowed))


def check_out(out: Path | None) -> None:
    """Refuse a table that is no .parquet or would replace a file of a run.

    Raises:
        ParameterError: names what is allowed.
    """
    if out is None:
        return
    if out.suffix != ".parquet":
        raise ParameterError(
            f'--out must end in .parquet, got "{out.name}".', "Example: --out audit.parquet"
        )
    if (out.resolve().parent / "run.toml").exists():
        raise ParameterError(
            f"--out {out} lies in a run, whose files stay as they are.", "Choose another folder."
        )


# ---------------------------------------------------------------------- tables
def table_of_run(run: Path, level: str | None, score: str | None) -> pa.Table:
    """The run's own table, or the run judged again."""
    from thresher.audit.table import read_table
    from thresher.run_folder import RunFolder

    folder = RunFolder.open(run).require_complete()
    if level is None and score is None:
        return read_table(folder.audit)
    from thresher.audit.run_record import judge_again

    return judge_again(folder, level or "balanced", score or "log_margin")  # type: ignore[arg-type]


def table_of_predictions(
    probabilities: Path | None,
    embeddings: Path | None,
    labels: str | None,
    classes: str | None,
    level: str | None,
    score: str | None,
) -> pa.Table:
    """The table of predictions made elsewhere.

    Raises:
        ParameterError: an ensemble without embeddings.
    """
    from thresher.audit.label_file import read_classes, read_labels
    from thresher.audit.predictions import from_embeddings, from_probabilities
    from thresher.audit.stored_matrix import stored_array

    if score == "ensemble" and embeddings is None:
        raise ParameterError(
            "--score ensemble needs embeddings.",
            "Pass --embeddings E.npy as well, or choose another score.",
        )
    assert labels is not None
    names = None if classes is None else read_classes(classes)
    given = read_labels(labels)
    features = None if embeddings is None else stored_array(embeddings)
    options: dict[str, Any] = {"level": level or "balanced", "score": score or "log_margin"}
    if probabilities is not None:
        found = from_probabilities(probabilities, given, names, features=features, **options)
    else:
        assert features is not None
        found = from_embeddings(features, given, classes=names, **options)
    return found.table


def worst(table: pa.Table, top: int) -> list[dict[str, Any]]:
    """The first suspects, in the columns that people see."""
    shown = [
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
    suspects = table.filter(table["is_label_issue"]).sort_by("rank").slice(0, top)
    rows: list[dict[str, Any]] = suspects.select(shown).to_pylist()
    return rows


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
    suspects: list[dict[str, Any]],
    issues: int,
    labelled: int,
    unjudged: int,
    facts: dict[str, Any],
) -> None:
    """The same for people."""
    from rich.table import Table

    if 0 < labelled == unjudged:
        print(f"None of {labelled:,} labels got a verdict: train for at least 3 epochs.")
        return
    print(f"{issues:,} of {labelled:,} labels are suspect; {describe_rate(facts['noise_rate'])}")
    if unjudged:
        print(f"{unjudged:,} got no verdict: seen fewer than 3 times, or without a prediction")
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
            "suggested": visible(each["suggested_label"] or "–"),
            "score": f"{each['label_score']:.3f}",
            "p given": f"{each['p_given']:.3f}",
            "p suggested": "–" if each["p_suggested"] is None else f"{each['p_suggested']:.3f}",
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
