"""The command that shows a store in a browser: explore."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from crackdask.cli.common import app, beside, examples, out
from crackdask.cli.endings import mistakes
from crackdask.cli.options import StoreName, on_disk
from crackdask.explore.errors import ExploreError
from crackdask.explore.server import PORT, Certificate, Served, serve
from crackdask.storage.locations import place


@app.command(
    epilog=examples(
        "crackdask explore nmc811.zarr",
        "crackdask explore s3://BUCKET/nmc811.zarr --particle 17",
        "crackdask explore nmc811.zarr --no-browser --port 8500",
        "crackdask explore nmc811.zarr --show 'particle=17&solid=all'",
        "crackdask explore nmc811.zarr --host lab7 --certfile me.pem --keyfile me.key",
    )
)
@mistakes
def explore(
    store: StoreName,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="At this port, or the next one if it is taken; 0 for any.")
    ] = PORT,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; by default for programs of this machine alone.")
    ] = "127.0.0.1",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the link, and open no browser.")] = False,
    particle: Annotated[
        int | None, typer.Option(min=1, metavar="LABEL", help="Open the page at this particle.", show_default=False)
    ] = None,
    show: Annotated[
        str,
        typer.Option(
            metavar="WORDS", help="Open the page at this: what a copied link has after #.", show_default=False
        ),
    ] = "",
    certfile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Certificate (PEM), to speak TLS; needed where --host is not this machine alone.",
            show_default=False,
            callback=on_disk,
        ),
    ] = None,
    keyfile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The key of that certificate.", show_default=False, callback=on_disk),
    ] = None,
) -> None:
    """Look at a store in a browser: any plane and state, every particle with its numbers. Ctrl-C ends it."""
    if keyfile and not certfile:
        raise ExploreError("--keyfile belongs to a certificate; give --certfile too")
    certificate = Certificate(certfile, keyfile) if certfile else None
    where = place(store)

    def ready(served: Served) -> None:
        words = "&".join(each for each in (f"particle={particle}" if particle else "", show.lstrip("#")) if each)
        link = f"{served.link}#{words}" if words else served.link
        if port not in (0, served.port):
            out.print(f"[yellow]note[/] port {port} is taken; it listens at {served.port}")
        out.print(escape(f"{store} is shown at\n  {link}\nCtrl-C ends it; the link opens the page for whoever has it"))
        if not no_browser:
            webbrowser.open(link)

    serve(lambda: Served(where, beside(where, "report"), host, port, certificate), ready)
    out.print("closed")
