"""The commands in their order, and the options that stand before them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from .. import __version__
from . import decisions, exchange, learning, requests, versions
from .command import EXIT_CODES, USAGE, Debug, Json, Session, Store

app = typer.Typer(
    name="router-plugin",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"router-plugin {__version__}")
        raise typer.Exit()


@app.callback()
def everywhere(
    ctx: typer.Context,
    store: Store = None,
    json: Json = False,
    debug: Debug = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Say the version of the program.")
    ] = False,
) -> None:
    """The stored routers of router_plugin: look at them, change them, try them. Only train and judge call models."""
    ctx.obj = Session(store, json, debug)


for name, function in (
    ("list", versions.list_),
    ("show", versions.show),
    ("check", decisions.check),
    ("route", decisions.route),
    ("explain", requests.explain),
    ("update", versions.update),
    ("deploy", versions.deploy),
    ("rollback", versions.rollback),
    ("diff", versions.diff),
    ("history", requests.history),
    ("replay", decisions.replay),
    ("export", exchange.export),
    ("import", exchange.import_),
    ("feedback", requests.feedback),
    ("delete", versions.delete),
    ("train", learning.train),
    ("fit", learning.fit),
    ("eval", learning.evaluate),
    ("frontier", learning.frontier),
    ("judge", learning.judge),
):
    app.command(name)(function)


def start(arguments: Sequence[str]) -> None:
    """Run it and exit."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that is not UTF-8
    if "--json" not in arguments:
        app(args=list(arguments), prog_name="router-plugin")
        return
    try:  # wrong usage is said as JSON too
        code = app(args=list(arguments), prog_name="router-plugin", standalone_mode=False)
    except typer.Abort:
        code = 130
    except Exception as error:
        said = getattr(error, "format_message", None)
        if said is None:
            raise
        Session(json=True).say_error(said(), "usage")
        code = USAGE
    raise SystemExit(code if isinstance(code, int) else 0)
