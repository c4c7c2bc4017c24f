"""router_plugin: embedded LLM routing middleware for litellm.

The map::

    errors.py     what is raised, as a tree                   redact.py  what is secret is said nowhere
    records.py    frozen values that flow through a call      clock.py, money.py  time, and nano-dollars
    fork.py       what a forked child makes anew
    spec/         what a router is: deployments, budgets, options, router strings, files
    decide/       which deployment: pure functions; decision.py reads as the data flow
    snapshot.py   the live figures and scores that deciding reads
    state/        what we have seen: latency, health, headroom, sessions, ledger (money); fleet.py owns the lock
    call/         carrying it out: plan.py (the attempt loop, sans-io), drivers.py, streams.py, verdict.py
    provider/     who answers: litellm behind a port, translation of errors and usage into facts, exact time-outs
    checks.py     answers that are not wanted: functions of the response
    surface.py    a call's keyword arguments, split into ours and the provider's
    result.py     RouteResult, the record of a call            explain.py  the same for people
    router.py     Router, the façade                           wrap.py  the decorator for other clients
    plugin.py     install(): the one door by which litellm calls us
    testing/      fake clock, scripted provider, loopback provider: for our tests and for users'

Importing this package imports none of litellm, numpy, redis, sqlite3 and yaml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import (
        BudgetExceededError,
        DeadlineExceededError,
        NoCandidateError,
        ResourceAlreadyExistsError,
        ResourceNotFoundError,
        RouterError,
        RouterStringError,
        SpecError,
        StreamInterruptedError,
        TrainingError,
    )
    from .plugin import Installation, install
    from .result import RouteResult, SelectedTarget
    from .router import Router
    from .snapshot import Score, Scorer
    from .spec.budget import Budget
    from .spec.deployment import Deployment
    from .spec.options import Routing
    from .spec.router_spec import RouterSpec
    from .spec.strings import RouterString, Weights, parse_router_string

__version__ = "0.1.0"

# Public name → the module it lives in. Loaded on first use, so that importing the package costs next to nothing.
_HOME = {
    "Budget": "spec.budget",
    "BudgetExceededError": "errors",
    "DeadlineExceededError": "errors",
    "Deployment": "spec.deployment",
    "Installation": "plugin",
    "NoCandidateError": "errors",
    "ResourceAlreadyExistsError": "errors",
    "ResourceNotFoundError": "errors",
    "RouteResult": "result",
    "Router": "router",
    "RouterError": "errors",
    "RouterSpec": "spec.router_spec",
    "RouterString": "spec.strings",
    "RouterStringError": "errors",
    "Routing": "spec.options",
    "Score": "snapshot",
    "Scorer": "snapshot",
    "SelectedTarget": "result",
    "SpecError": "errors",
    "StreamInterruptedError": "errors",
    "TrainingError": "errors",
    "Weights": "spec.strings",
    "install": "plugin",
    "parse_router_string": "spec.strings",
}
__all__ = [  # a literal list, so that type checkers see it; held equal to _HOME by a test
    "Budget", "BudgetExceededError", "DeadlineExceededError", "Deployment", "Installation", "NoCandidateError",
    "ResourceAlreadyExistsError", "ResourceNotFoundError", "RouteResult", "Router", "RouterError", "RouterSpec",
    "RouterString", "RouterStringError", "Routing", "Score", "Scorer", "SelectedTarget", "SpecError",
    "StreamInterruptedError", "TrainingError", "Weights", "install", "parse_router_string",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
