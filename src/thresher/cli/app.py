"""The program `thresher`: its commands, and what becomes of their errors.

Exit codes: 0 done; 1 findings, when `--fail-on` asks; 2 anything that failed; 130 interrupted, the
run can be resumed. Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from thresher.cli import audit, demo, fit, methods, predict
from thresher.cli.output import say_error
from thresher.errors import ThresherError

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
app.command("methods")(methods.methods)
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
    try:
        app(standalone_mode=True)
    except ThresherError as error:
        if "--debug" in sys.argv:
            raise
        say_error(error.cause, error.fix)
        sys.exit(2)
    except KeyboardInterrupt:
        say_error("Interrupted.", "")
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
