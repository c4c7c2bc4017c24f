"""One command: the options that every one has, the store it works on, and what becomes of its errors.

A command is a function of a ``Session`` that returns its exit code (None: 0). ``@command`` makes of it the function
that typer is given: it adds ``--json``, ``--store`` and ``--debug``, keeps what libraries print off stdout, closes the
store, and turns exceptions into one line on stderr and an exit code.
"""

from __future__ import annotations

import errno
import functools
import inspect
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from ..errors import (
    BudgetExceededError,
    NoCandidateError,
    ResourceAlreadyExistsError,
    ResourceNotFoundError,
    RouterError,
    StoreError,
    VersionConflictError,
)
from ..redact import redact
from ..router import Router
from ..routers import Client
from .screen import Screen, as_json, terminal

OK, NO, USAGE, NOT_FOUND, CONFLICT, BAD_INPUT, STORE, FAULT = 0, 1, 2, 3, 4, 5, 6, 70
EXIT_CODES = """Exit codes: 0 ok; 1 the answer is no (check found errors, diff --exit-code found changes, nothing may \
take the request); 2 wrong usage; 3 not found (router, version, request, file); 4 conflict, or it exists already; \
5 bad input; 6 the store cannot be used; 70 a fault of this program."""
# The first that fits. (exception, kind as --json says it, exit code)
_KINDS: tuple[tuple[type[Exception], str, int], ...] = (
    (BudgetExceededError, "budget", NO),
    (NoCandidateError, "no_candidate", NO),
    (ResourceNotFoundError, "not_found", NOT_FOUND),
    (VersionConflictError, "conflict", CONFLICT),
    (ResourceAlreadyExistsError, "exists", CONFLICT),
    (StoreError, "store", STORE),
    (RouterError, "bad_input", BAD_INPUT),
    (FileNotFoundError, "not_found", NOT_FOUND),
    (OSError, "bad_input", BAD_INPUT),
)
_EVERYWHERE = "Everywhere"
Json = Annotated[
    bool, typer.Option("--json", help="JSON on stdout and nothing else there.", rich_help_panel=_EVERYWHERE)
]
Store = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="PATH",
        help="The file or folder of routers; by default ROUTER_PLUGIN_HOME, or the user's data folder.",
        rich_help_panel=_EVERYWHERE,
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the trace of an error.", rich_help_panel=_EVERYWHERE)]
_SHARED: dict[str, tuple[Any, Any]] = {"json": (Json, False), "store": (Store, None), "debug": (Debug, False)}


@dataclass
class Session:
    """One run of one command."""

    store: Path | None = None
    json: bool = False
    debug: bool = False
    screen: Screen = field(default_factory=terminal)

    @functools.cached_property
    def client(self) -> Client:
        return Client(self.store)

    def router(self, name: str, version: int | None = None) -> Router:
        """A stored router, or one version of it.

        Raises: ResourceNotFoundError.
        """
        router = Router(name, client=self.client)
        _ = router.version
        router.pin(version)
        return router

    def router_of_old(self, name: str) -> Router:
        """A router for its requests, which outlive it.

        Raises: ResourceNotFoundError where there is neither a router of that name nor a request.
        """
        router = Router(name, client=self.client)
        if not self.client.store.latest(name) and not router.list_requests(1):
            _ = router.version
        return router

    def run(self, function: Callable[..., int | None], given: dict[str, Any]) -> int:
        """What a command does, to its exit code."""
        try:
            with redirect_stdout(sys.stderr):
                try:
                    return function(self, **given) or OK
                finally:
                    if "client" in self.__dict__:
                        self.client.close()
        except Exception as error:
            if isinstance(error, typer.BadParameter) or getattr(error, "errno", None) == errno.EPIPE:
                raise
            return self.failed(error)

    def failed(self, error: Exception) -> int:
        kind, code = next(((kind, code) for known, kind, code in _KINDS if isinstance(error, known)), ("fault", FAULT))
        if self.debug:
            self.screen.error(redact("".join(traceback.format_exception(error))).rstrip())
        self.say_error(_sentence(error, kind), kind)
        return code

    def say_error(self, text: str, kind: str) -> None:
        self.screen.error(as_json({"error": text, "kind": kind}, None) if self.json else f"error: {text}")


def _sentence(error: Exception, kind: str) -> str:
    """An error in one line."""
    if isinstance(error, OSError):
        place = f"{Path(str(error.filename)).name}: " if error.filename is not None else ""
        return redact(f"{place}{error.strerror or error}")
    lines = [line.strip() for line in str(error).splitlines()]
    text = redact("; ".join(line for line in lines if line and line != "^").replace(":; ", ": "))
    return text if kind != "fault" else f"unexpected {type(error).__name__}: {text} (--debug shows the trace)"


def command(function: Callable[..., int | None]) -> Callable[..., None]:
    """What typer is given for a command."""
    hints = get_type_hints(function, include_extras=True)
    own = list(inspect.signature(function).parameters.values())[1:]

    def run(ctx: typer.Context, json: bool, store: Path | None, debug: bool, **given: Any) -> None:
        before: Session = ctx.obj
        session = Session(store or before.store, json or before.json, debug or before.debug, before.screen)
        raise typer.Exit(session.run(function, given))

    kinds = {
        "ctx": typer.Context,
        **{one.name: hints[one.name] for one in own},
        **{name: kind for name, (kind, _) in _SHARED.items()},
    }
    defaults = {one.name: one.default for one in own} | {name: default for name, (_, default) in _SHARED.items()}
    parameter = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            parameter(name, annotation=kind, default=defaults.get(name, inspect.Parameter.empty))
            for name, kind in kinds.items()
        ]
    )
    run.__annotations__ = kinds
    run.__doc__, run.__name__ = function.__doc__, function.__name__
    return run
