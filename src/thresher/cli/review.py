"""`thresher review`: a local page on which people decide what is right of the suspect labels."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from thresher.cli.options import FinishedRun
from thresher.cli.output import print_json, say
from thresher.errors import ParameterError

__all__ = ["review"]


def review(
    run: FinishedRun,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the images, if it has moved since the run.")
    ] = None,
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 0,
    host: Annotated[
        str, typer.Option(help="Where to listen; anything but this machine needs --allow-remote.")
    ] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let other machines reach the page, unencrypted.")
    ] = False,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address, and open nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help='Print {"url": …} first, and the count at the end.')
    ] = False,
) -> None:
    """Open a page on which one key decides one suspect label; Ctrl+C ends it."""
    from thresher.review.server import LOOPBACKS, ReviewServer
    from thresher.run_folder import RunFolder

    if host not in LOOPBACKS and not allow_remote:
        raise ParameterError(
            f"--host {host} would let other machines reach the page, unencrypted.",
            "Leave it out and use a tunnel (ssh -L PORT:127.0.0.1:PORT), or add --allow-remote.",
        )
    server = ReviewServer(RunFolder.open(run), data=data, host=host, port=port)
    if as_json:
        print_json({"url": server.url})
    else:
        print(f"review  {server.url}", flush=True)
        say("Ctrl+C ends the review; what is decided is saved at once.")
    if host not in LOOPBACKS:
        say(
            "thresher: the page can be reached from other machines, unencrypted. A tunnel is safer:"
            f" ssh -L {server.port}:{server.named}:{server.port} THIS-MACHINE, then"
            f" http://127.0.0.1:{server.port}/ in the place of {server.address}"
        )
    if not no_browser:
        open_browser(server.url)
    with suppress(KeyboardInterrupt):
        server.serve()
    count = server.decided
    if as_json:
        print_json({"decided": count})
    else:
        print(f"{count:,} decisions are saved in {server.review.folder.decisions}")
        if count:
            print(f"next    thresher export {shlex.quote(str(run))} --out corrected")


def open_browser(url: str) -> None:
    """Open the page in the user's browser, if there is one."""
    import webbrowser

    try:
        opened = webbrowser.open(url)
    except webbrowser.Error:
        opened = False
    if not opened:
        say("thresher: no browser could be opened; open the address above.")
