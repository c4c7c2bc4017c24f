"""The arguments that commands share, and what a shell completes them to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..routers import Client


def names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of stored routers. A shell that completes is told nothing rather than an error."""
    try:
        given = ctx.params.get("store") or ctx.find_root().params.get("store")
        client = Client(given)
        if not client.path.exists():
            return []
        with client:
            return [name for name in client.store.names() if name.startswith(incomplete)]
    except Exception:
        return []


Name = Annotated[str, typer.Argument(metavar="NAME", help="The router.", autocompletion=names)]
Target = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="A router, or a file of settings.", autocompletion=names)
]
RequestId = Annotated[str, typer.Argument(metavar="REQUEST_ID", help="As `history` shows it.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A .yaml, .json or .toml file, or - for stdin.")]
OfVersion = Annotated[int | None, typer.Option("--version", metavar="N", help="This version, not the active one.")]
Note = Annotated[str | None, typer.Option("--note", metavar="TEXT", help="What to remember of this version.")]
