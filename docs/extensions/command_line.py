"""`{command} fit`: the arguments and options of a command, from the program itself."""

from __future__ import annotations

from typing import Any

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from thresher.cli.app import app as program

__all__ = ["command_names", "described", "setup"]


def commands() -> dict[str, Any]:
    """The commands of the program, as click knows them; "" is the program without one."""
    group: Any = typer.main.get_command(program)
    found = {"": group}
    for name, command in group.commands.items():
        within = getattr(command, "commands", None)
        if within is None:
            found[name] = command
        else:  # such as `bench`, which is a command only together with one of its own
            found |= {f"{name} {each}": inner for each, inner in within.items()}
    return found


def command_names() -> list[str]:
    """What can stand after `thresher`."""
    return [name for name in commands() if name]


def described(name: str) -> str:
    """A command in MyST Markdown: what it does, how it is called, each argument and option.

    Args:
        name: Of the command; "" for the options before a command.
    """
    command = commands()[name]
    program_name = f"thresher {name}".strip()
    context = command.make_context(program_name, [], resilient_parsing=True)
    pieces = " ".join(command.collect_usage_pieces(context))
    parts = [] if not name else [command.help or ""]
    parts += [f"```console\n$ {program_name} {pieces}\n```", f"```{{program}} {program_name}\n```"]
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:  # else it is hidden
            usage, text = record
            parts.append(f"```{{option}} {usage}\n{escaped(text)}\n```")
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Help text as Markdown: what looks like HTML is meant literally."""
    return text.replace("<", "&lt;").replace("*", "\\*").replace("[", "\\[")


class Command(SphinxDirective):
    """The directive; without an argument it shows the options before a command."""

    optional_arguments = 1
    final_argument_whitespace = True  # "bench noise" is one name

    def run(self) -> list[nodes.Node]:
        """Parse what `described` says."""
        name = self.arguments[0] if self.arguments else ""
        if name not in commands():
            raise self.error(f'thresher has no command "{name}"')
        return self.parse_text_to_nodes(described(name))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command", Command)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
