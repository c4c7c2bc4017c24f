"""The command ``router-plugin``: the stored routers from a shell.

::

    app.py        the commands in order, the options that stand before them
    command.py    one command: its options for all, its errors and exit codes
    screen.py     what is written: tables for people, JSON for programs
    arguments.py  the arguments that commands share; completion of names
    inputs.py     files, data and settings that are read
    records.py    a decision or a stored request as tables
    versions.py   list, show, update, deploy, rollback, diff, delete
    decisions.py  check, route, replay
    requests.py   history, explain, feedback
    exchange.py   export, import
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """The entry point. typer and rich come with the extra ``cli``: without them it says what to install."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # litellm downloads its prices when it is imported
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError as error:
        sys.stderr.write(
            f"error: router-plugin needs the extra 'cli', and {error.name or 'a part of it'} is missing: "
            'pip install "router-plugin[cli]"\n'
        )
        raise SystemExit(70) from None
    from .app import start

    start(sys.argv[1:])
