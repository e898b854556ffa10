"""`thresher fit`: one training run, a classifier and an audit."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from thresher.cli.options import BatchSize, Device, LearningRate, Limit, LongestSide, WeightDecay
from thresher.cli.output import Narrator, print_json, say, visible
from thresher.errors import ParameterError, nearest
from thresher.process_group import is_first
from thresher.stop_signals import termination

__all__ = ["fit"]


def fit(
    data: Annotated[
        str | None,
        typer.Argument(
            help="Training data: a table (.csv, .parquet, .jsonl), arrays (.npz, .npy), or a "
            "folder of images with a folder for each class.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Column with the labels. Default: the one called so.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Column with encoded images. Default: the only such one.")
    ] = None,
    longest_side: LongestSide = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="Column of free text to learn from; may be given several times."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Sentence encoder for the text: its name, or package.module:factory. Default: "
            "character n-grams."
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="File with the labels of the rows in their order: FILE or FILE:NAME."),
    ] = None,
    decisions: Annotated[
        str | None,
        typer.Option(help="A reviewed run: its decided labels are used, and trusted."),
    ] = None,
    out_of_distribution: Annotated[
        str | None,
        typer.Option(
            help="Samples known to be of none of the classes, never relabelled: a run with "
            "--features, or a file of their sample_ids."
        ),
    ] = None,
    out_of_distribution_column: Annotated[
        str | None,
        typer.Option(help="Column that marks such samples. It is never learned from."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Column whose groups stay together when rows are held out."),
    ] = None,
    group_report: Annotated[
        str | None,
        typer.Option(
            help="Column whose groups the report compares: who is trusted, who is predicted well. "
            "It is never learned from."
        ),
    ] = None,
    test: Annotated[str | None, typer.Option(help="Test data, to report an accuracy on.")] = None,
    auxiliary: Annotated[
        str | None,
        typer.Option(
            help="Further data of none of the classes, for the methods that learn from them: "
            "taufe, oat, odnl. out-of-distribution: the samples that are marked so."
        ),
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(
            help="Share of the rows held out of training. Default: 0.1 (2,000 rows at most) "
            "without --test or where the method needs them, else 0."
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="One of `thresher methods`. Default: auto.")
    ] = None,
    noise_rate: Annotated[
        str | None,
        typer.Option(
            help="Share of wrong labels, for methods that need it, or what estimates it: settled, "
            "gaussian-mean, beta-mean, … Default: auto."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="mlp, cnn, resnet18, preact-resnet18 or package.module:factory. Default: mlp, for "
            "images cnn."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the data, restarts included. Default: 30.")
    ] = None,
    limit: Limit = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random. Default: 0.")] = None,
    device: Device = None,
    augment: Annotated[
        str | None,
        typer.Option(help="Random views of images: none, crop, flip or crop,flip. Default: auto."),
    ] = None,
    batch_size: BatchSize = None,
    accumulate: Annotated[
        int | None, typer.Option(help="Batches a step, of which only one is in memory. Default: 1.")
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="Draw batches of what is worth seeing: recency-bias, ada-boundary, info-batch, … "
            "Default: shuffled."
        ),
    ] = None,
    method_options: Annotated[
        list[str] | None,
        typer.Option(
            "--method-option",
            help="A setting of the method, name=value, of those that `thresher methods NAME` "
            "lists; may be given several times.",
        ),
    ] = None,
    sampler_options: Annotated[
        list[str] | None,
        typer.Option(
            "--sampler-option",
            help="An option of the sampler, name=value; may be given several times.",
        ),
    ] = None,
    learning_rate: LearningRate = None,
    weight_decay: WeightDecay = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32, or bf16 for the forward pass. Default: fp32.")
    ] = None,
    features: Annotated[
        bool | None,
        typer.Option(
            "--features",
            help="Keep what the last layer sees of every sample: the audit finds outliers and "
            "near-duplicates, the review shows neighbours.",
        ),
    ] = None,
    track: Annotated[
        str | None,
        typer.Option(help="Send metrics to tensorboard, mlflow or wandb as well. Default: none."),
    ] = None,
    save_every: Annotated[
        float | None,
        typer.Option(
            help="Seconds between two checkpoints. Default: a minute, or as much longer as keeps "
            "saving at a hundredth of the time."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder. Default: runs/<date>-<data>.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a run that is there.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="A run.toml to take settings from; options override it.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Finish the interrupted run in this folder.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Read the data, estimate time and memory, and stop."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one object.")
    ] = False,
) -> None:
    """Train a classifier that wrong labels do not fool, and name the labels that are wrong."""
    given: dict[str, Any] = {
        "label": label,
        "image": image,
        "longest_side": longest_side,
        "text": tuple(text) if text else None,
        "encoder": encoder,
        "labels": labels,
        "decisions": decisions,
        "out_of_distribution": out_of_distribution,
        "out_of_distribution_column": out_of_distribution_column,
        "group": group,
        "group_report": group_report,
        "test": test,
        "auxiliary": auxiliary,
        "validation": validation,
        "method": method,
        "method_options": tuple(method_options) if method_options else None,
        "model": model,
        "epochs": epochs,
        "limit": limit,
        "seed": seed,
        "device": device,
        "augment": augment,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "sampler": sampler,
        "sampler_options": tuple(sampler_options) if sampler_options else None,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "precision": precision,
        "features": features,
        "track": track,
        "save_every": save_every,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if noise_rate is not None:
        given["noise_rate"] = parsed_rate(noise_rate)  # "auto" overrides the number in a file
    narrator = Narrator()
    with termination() as terminated:
        try:
            if dry_run and not is_first():
                return
            if dry_run:
                print_estimate(
                    started(data, given, out, overwrite, config, narrator, "estimate"), as_json
                )
                return
            if resume is not None:
                result = resumed(resume, data, given, out, config, narrator)
            else:
                result = started(data, given, out, overwrite, config, narrator, "fit")
        except KeyboardInterrupt:
            say("thresher: Interrupted.")  # a run that has begun has said how to go on
            raise typer.Exit(143 if terminated.received else 130) from None
        finally:
            narrator.close()
    if not is_first():  # it has trained its share; the first process has audited and tells
        return
    if as_json:
        print_json(result.summary)
    else:
        print(describe(result.summary, result.run))


def parsed_rate(text: str) -> float | str | None:
    """A noise rate as written on the command line: a number, "auto" for None, or a name.

    >>> parsed_rate("0.2"), parsed_rate("auto"), parsed_rate("gaussian-mean")
    (0.2, None, 'gaussian-mean')
    """
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        return text  # a name, or refused with the settings


def started(
    data: str | None,
    given: dict[str, Any],
    out: Path | None,
    overwrite: bool,
    config: Path | None,
    narrator: Narrator,
    work: Literal["fit", "estimate"],
) -> Any:
    """A new run, or an estimate of it: defaults, then the file, then the options."""
    from dataclasses import asdict

    from thresher.settings import FitSettings

    if config is not None:
        written = asdict(FitSettings.from_table(fit_table(config), config.parent))
        data = data or written.pop("data")
        written.pop("data", None)
        given = written | given
    FitSettings(**given)  # settings are refused before anything heavy is imported
    if data is None:
        raise ParameterError(
            "There are no data to fit.", "Example: thresher fit data.csv --label species"
        )
    from thresher import fitting

    run = getattr(fitting, work)
    return run(data, out=out, overwrite=overwrite, listener=narrator, **given)


def resumed(
    run: Path,
    data: str | None,
    given: dict[str, Any],
    out: Path | None,
    config: Path | None,
    narrator: Narrator,
) -> Any:
    """An interrupted run, with the settings it was started with."""
    if set(given) - {"test", "auxiliary"} or out is not None or config is not None:
        raise ParameterError(
            "--resume goes on with the settings of the run; other settings cannot be given.",
            f"Use thresher fit --resume {shlex.quote(str(run))} alone, or start a new run.",
        )
    from thresher.fitting import resume

    moved = {name: given.get(name) for name in ("test", "auxiliary")}
    return resume(run, data=data, **moved, listener=narrator)


def print_estimate(estimate: dict[str, Any], as_json: bool) -> None:
    """What a run would take, as an object or in lines.

    Args:
        estimate: As `thresher.fitting.estimate` gives it.
        as_json: Print the object.
    """
    if as_json:
        print_json(estimate)
        return
    shape = " x ".join(map(str, estimate["shape"]))
    print(
        f"{estimate['n']:,} samples of {shape}, {len(estimate['classes'])} classes; "
        f"{estimate['held_out']:,} held out\n"
        f"model   {estimate['model']}, {estimate['parameters']:,} parameters; method "
        f"{estimate['method']}\n"
        f"time    {duration(estimate['seconds'])} for {estimate['epochs']} epochs of "
        f"{estimate['steps_per_epoch']:,} steps, batches of {estimate['batch_size']}\n"
        f"memory  {estimate['memory_mib']:,.0f} MiB at the peak, {estimate['history_mib']:,.0f} of "
        f"them to remember the samples\n"
        f"disk    {estimate['disk_mib']:,.0f} MiB in the run folder\n"
        "Nothing was written."
    )


def duration(seconds: float) -> str:
    """A length of time in the unit people would use.

    >>> duration(4.2), duration(250), duration(9000)
    ('4 s', '4.2 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def fit_table(path: Path) -> dict[str, Any]:
    """The [fit] table of a settings file."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ParameterError(
            f"The settings file {path} cannot be read: {reason}.",
            "Pass the run.toml of an earlier run.",
        ) from error
    known = ("schema", "fit", "run")
    for name in table:
        if name not in known:
            raise ParameterError(
                f'{path} holds "{name}", which is no table of settings.', nearest(name, known)
            )
    found = table.get("fit")
    if not isinstance(found, dict):
        raise ParameterError(f"{path} has no table [fit].", "Pass the run.toml of an earlier run.")
    return found


def describe_issues(summary: dict[str, Any]) -> str:
    """How many labels are suspect.

    >>> describe_issues({"n": 1000, "n_label_issues": 30, "noise_rate_estimate": 0.04})
    '30 of 1,000 labels are suspect; about 4.0 % of the labels are wrong'
    """
    rate = summary["noise_rate_estimate"]
    if rate is None and summary.get("n_without_verdict"):
        return "no label got a verdict: train for at least 3 epochs"
    estimate = "" if rate is None else f"; about {100 * rate:.1f} % of the labels are wrong"
    return f"{summary['n_label_issues']:,} of {summary['n']:,} labels are suspect{estimate}"


def describe_groups(groups: dict[str, Any]) -> str:
    """How the groups differ, in a line.

    >>> describe_groups({"column": "town", "worst_group": "u", "worst_group_accuracy": 0.81,
    ...     "demographic_parity_gap": 0.1, "equalised_odds_gap": None})
    'by town: worst group u with 81.0 %, demographic parity gap 10.0 %'
    """
    if groups.get("worst_group") is None:
        return f"by {visible(groups['column'])}: too few rows of known labels to compare groups"
    words = f"worst group {visible(groups['worst_group'])} with "
    words += f"{100 * groups['worst_group_accuracy']:.1f} %"
    for name, title in (
        ("demographic_parity_gap", "demographic parity gap"),
        ("equalised_odds_gap", "equalised odds gap"),
    ):
        if groups[name] is not None:
            words += f", {title} {100 * groups[name]:.1f} %"
    return f"by {visible(groups['column'])}: {words}"


def describe(summary: dict[str, Any], run: Any) -> str:
    """The result in a few lines.

    Args:
        summary: The object of `--json`.
        run: The run folder.
    """
    lines = []
    before = summary.get("decisions", {}).get("before", {})
    if "n_label_issues" in summary:
        lines.append(describe_issues(summary))
    if "n_label_issues" in before:
        lines.append(f"before the decisions: {describe_issues(before)}")
    if "test_accuracy" in summary:
        line = f"test accuracy {100 * summary['test_accuracy']:.1f} %"
        if "test_accuracy" in before:
            line += f", before the decisions {100 * before['test_accuracy']:.1f} %"
        lines.append(line)
    if "validation_accuracy" in summary:
        until = (
            f" (until epoch {summary['validation_epoch']}; trained with the others since)"
            if "validation_epoch" in summary
            else ""
        )
        lines.append(
            f"agrees with {100 * summary['validation_accuracy']:.1f} % of the given labels of "
            f"{summary['validation_rows']:,} held-out rows{until}"
        )
    if "groups" in summary:
        lines.append(describe_groups(summary["groups"]))
    lines.append(f"{summary['seconds']:.1f} s, {summary['peak_mib']:.0f} MiB")
    if "n_label_issues" in summary:
        lines.append(f"report  {run.report}")
        lines.append(f"next    thresher audit {shlex.quote(str(run.path))}")
    return "\n".join(lines)
