"""The command line: parse, call, print. Heavy imports happen inside the commands."""

from thresher.cli.app import main

__all__ = ["main"]
