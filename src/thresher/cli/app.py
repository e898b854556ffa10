"""The program `thresher`: its commands, and what becomes of their errors.

Exit codes: 0 done; 1 findings, when `--fail-on` asks; 2 anything that failed; 130 interrupted, the
run can be resumed; 141 whoever read our output went away, as `| head` does; 143 terminated, the run
can be resumed. Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from typing import Annotated

import typer

from thresher.cli import (
    audit,
    bench,
    dbscan,
    demo,
    export,
    fit,
    k_distance,
    kmedoids,
    methods,
    predict,
    report,
    review,
)
from thresher.cli.output import say_error
from thresher.errors import ThresherError
from thresher.process_group import first_to_fail, is_first

__all__ = ["app", "main"]

app = typer.Typer(
    name="thresher",
    help="Train on data with wrong labels, and name the labels that are wrong.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("fit")(fit.fit)
app.command("predict")(predict.predict)
app.command("audit")(audit.audit)
app.command("report")(report.report)
app.command("export")(export.export)
app.command("review")(review.review)
app.command("dbscan")(dbscan.dbscan)
app.command("k-distance")(k_distance.k_distance)
app.command("kmedoids")(kmedoids.kmedoids)
app.command("methods")(methods.methods)
app.add_typer(bench.bench, name="bench")
app.command("demo")(demo.demo)


def _version(asked: bool) -> None:
    if asked:
        from thresher import __version__

        typer.echo(f"thresher {__version__}")
        raise typer.Exit


@app.callback()
def thresher(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Train on data with wrong labels, and name the labels that are wrong."""


def main() -> None:
    """Run the program; every error becomes a cause, a fix and an exit code."""
    _prepare_streams()
    errors = sys.stderr
    if not is_first():  # one of several processes; only the first of them to fail says something
        sys.stdout = sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    debug = "--debug" in sys.argv
    try:
        code = _run([each for each in sys.argv[1:] if each != "--debug"])
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        code = 141
    except KeyboardInterrupt:
        say_error("Interrupted.", "")
        code = 130
    except Exception as error:
        if first_to_fail():
            sys.stderr = errors
            if debug:
                traceback.print_exc()
            say_error(*_explained(error))
        _drop_output()
        code = 2
    sys.exit(code)


def _run(arguments: list[str]) -> str | int | None:
    """Run the commands; returns the exit code."""
    try:
        app(arguments)
    except SystemExit as leaving:
        cause = leaving.__context__
        if isinstance(cause, OSError) and cause.errno == errno.EPIPE:
            raise cause from None  # typer exits with 1, which means findings here
        return leaving.code
    return 0


def _explained(error: Exception) -> tuple[str, str]:
    """The cause and the fix of an error."""
    if isinstance(error, ThresherError):
        return error.cause, error.fix
    if isinstance(error, MemoryError):
        return "There is not enough memory.", "Take a sample of the rows with --limit."
    if isinstance(error, OSError):
        what = f" ({error.filename})" if error.filename else ""
        reason = os.strerror(error.errno) if error.errno else str(error)
        return f"The system refused: {reason}{what}.", "Check the path, its rights and the space."
    return (
        f"Unforeseen {type(error).__name__}: {error}",
        "Please report it with what --debug adds: it is a defect of thresher.",
    )


def _prepare_streams() -> None:
    """Print what an encoding lacks as escapes; print nothing where a stream is closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Let the interpreter flush to nowhere what cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
