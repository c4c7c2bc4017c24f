"""router_plugin: embedded LLM routing middleware for litellm.

The map::

    errors.py     what is raised, as a tree                   redact.py  what is secret is said nowhere
    records.py    frozen values that flow through a call      clock.py, money.py  time, and nano-dollars
    fork.py       what a forked child makes anew
    spec/         what a router is: deployments, rules, budgets, options, router strings, files, foreign
                  configurations; documents and the store of versions (SQLite)
    decide/       which deployment: pure functions; rules.py matches, decision.py reads as the data flow
    snapshot.py   the live figures and scores that deciding reads
    state/        what we have seen: latency, health, headroom, sessions, ledger (money); fleet.py owns the lock
    call/         carrying it out: plan.py (the attempt loop, sans-io), drivers.py, streams.py, verdict.py
    provider/     who answers: litellm behind a port, translation of errors and usage into facts, exact time-outs
    checks.py     answers that are not wanted: functions of the response, samples, judges
    forms.py      what an answer says, and the form in which two are compared; consistency.py  the vote of several
    surface.py    a call's keyword arguments, split into ours and the provider's
    result.py     RouteResult, the record of a call            explain.py  the same for people
    version.py    one version made ready, and what versions share (live state, money)
    layers.py     which versions and policies a name stands for; call_fields.py  what rules read of a call
    shadow.py     targets that are asked beside the answer     history/  one record a call, off the hot path
    shelf.py      where versions are kept                      models.py  sets of litellm's models
    router.py     Router, the façade                           wrap.py  the decorator for other clients
    routers.py    Client and RoutersClient, the collection
    check/        what is doubtful in a spec                   replay/  past requests under another version
    learn/        training and measuring: outcomes/, judges/, jobs/; prompts/ and fitting/ make a predictor, serving/
                  uses it; measure/ and frontier/ say what it is worth. Calls run without this room
    online.py     what feedback teaches live, and predictors as routers load them
    cli/          the command router-plugin
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
        StoreError,
        StreamInterruptedError,
        TrainingError,
        VersionConflictError,
    )
    from .learn.jobs.store import RouterTrainingJob
    from .learn.judges.making import Contains, ExactMatch, JSONEquals, NumericMatch, Pairwise, RubricJudgeSpec
    from .models import ALL_MODELS, ANTHROPIC_MODELS, GEMINI_MODELS, OPENAI_MODELS, TOGETHER_MODELS
    from .plugin import Installation, install
    from .result import RouteResult, SelectedTarget
    from .router import Router
    from .routers import Client, ConstraintValue, CostConstraint, QualityConstraint, RoutersClient, RoutingConstraint
    from .snapshot import Score, Scorer
    from .spec.budget import Budget
    from .spec.deployment import Deployment
    from .spec.foreign import Imported, import_config
    from .spec.options import Routing
    from .spec.router_spec import RouterSpec
    from .spec.rules import Condition, Rule, Shadow, Target
    from .spec.strings import RouterString, Weights, parse_router_string

__version__ = "0.1.0"

# Public name → the module it lives in. Loaded on first use, so that importing the package costs next to nothing.
_HOME = {
    "ALL_MODELS": "models",
    "ANTHROPIC_MODELS": "models",
    "Budget": "spec.budget",
    "BudgetExceededError": "errors",
    "Client": "routers",
    "Condition": "spec.rules",
    "ConstraintValue": "routers",
    "Contains": "learn.judges",
    "CostConstraint": "routers",
    "DeadlineExceededError": "errors",
    "Deployment": "spec.deployment",
    "ExactMatch": "learn.judges",
    "GEMINI_MODELS": "models",
    "Imported": "spec.foreign",
    "Installation": "plugin",
    "JSONEquals": "learn.judges",
    "NoCandidateError": "errors",
    "NumericMatch": "learn.judges",
    "OPENAI_MODELS": "models",
    "Pairwise": "learn.judges",
    "QualityConstraint": "routers",
    "ResourceAlreadyExistsError": "errors",
    "ResourceNotFoundError": "errors",
    "RouteResult": "result",
    "Router": "router",
    "RouterError": "errors",
    "RouterSpec": "spec.router_spec",
    "RouterString": "spec.strings",
    "RouterStringError": "errors",
    "RouterTrainingJob": "learn.jobs.store",
    "RoutersClient": "routers",
    "Routing": "spec.options",
    "RoutingConstraint": "routers",
    "RubricJudgeSpec": "learn.judges",
    "Rule": "spec.rules",
    "Score": "snapshot",
    "Scorer": "snapshot",
    "SelectedTarget": "result",
    "Shadow": "spec.rules",
    "SpecError": "errors",
    "StoreError": "errors",
    "StreamInterruptedError": "errors",
    "TOGETHER_MODELS": "models",
    "Target": "spec.rules",
    "TrainingError": "errors",
    "VersionConflictError": "errors",
    "Weights": "spec.strings",
    "import_config": "spec.foreign",
    "install": "plugin",
    "parse_router_string": "spec.strings",
}
__all__ = [  # a literal list, so that type checkers see it; held equal to _HOME by a test
    "ALL_MODELS", "ANTHROPIC_MODELS", "Budget", "BudgetExceededError", "Client", "Condition", "ConstraintValue",
    "Contains", "CostConstraint", "DeadlineExceededError", "Deployment", "ExactMatch", "GEMINI_MODELS", "Imported",
    "Installation", "JSONEquals", "NoCandidateError", "NumericMatch", "OPENAI_MODELS", "Pairwise",
    "QualityConstraint", "ResourceAlreadyExistsError", "ResourceNotFoundError", "RouteResult", "Router",
    "RouterError", "RouterSpec", "RouterString", "RouterStringError", "RouterTrainingJob", "RoutersClient",
    "Routing", "RoutingConstraint", "RubricJudgeSpec", "Rule", "Score", "Scorer", "SelectedTarget", "Shadow",
    "SpecError", "StoreError", "StreamInterruptedError", "TOGETHER_MODELS", "Target", "TrainingError",
    "VersionConflictError", "Weights", "import_config", "install", "parse_router_string",
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
