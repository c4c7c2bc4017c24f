"""How a judge asks its model: through a router made for it, so that every call is priced, bounded and budgeted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ...clock import SYSTEM_CLOCK, Clock
from ...errors import DeadlineExceededError, NoCandidateError, RouterError
from ...provider.port import CataloguedProvider
from ...provider.translate import failed
from ...provider.usage import field
from ...redact import redact
from ...result import RouteResult
from ...router import Router
from ...spec.budget import Budget
from ...spec.deployment import Deployment

TRANSIENT = frozenset({"rate_limit", "overloaded", "server", "timeout", "connection", "conflict", "bad_answer"})
# What is wrong with a model (or its account) and not with one request: asking for another prompt does not help.
OF_THE_MODEL = frozenset({"credential", "not_found", "quota"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer: its text, what it cost, how it ended."""

    text: str
    cost_usd: float = 0.0
    finish: str | None = None


class Ask(Protocol):
    """Asks a model. Raises what the router raises."""

    def __call__(self, model: str, messages: Sequence[Mapping[str, Any]], **kwargs: Any) -> Asked: ...


class RouterAsk:
    """Asks through one router."""

    def __init__(self, router: Router) -> None:
        self.router = router

    def __call__(self, model: str, messages: Sequence[Mapping[str, Any]], **kwargs: Any) -> Asked:
        response = self.router.completion(messages=list(messages), models=[model], **kwargs)
        return Asked(answer_text(response), cost_of(response), finish_of(response))


def asker(
    models: Sequence[str | Deployment],
    provider: CataloguedProvider | None = None,
    clock: Clock = SYSTEM_CLOCK,
    budget_usd: float | None = None,
) -> RouterAsk:
    """A router of judges' models and nothing else."""
    budgets = [] if budget_usd is None else [Budget(budget_usd, name="judging")]
    return RouterAsk(
        Router("judging", models=list(models), budgets=budgets, provider=provider, clock=clock, history_rows=1)
    )


def answer_text(response: Any) -> str:
    """What an answer says: its text and its tool calls, not its reasoning."""
    if isinstance(response, str):
        return response
    choices = field(response, "choices")
    message = field(choices[0], "message") if isinstance(choices, (list, tuple)) and choices else None
    content = field(message, "content")
    if isinstance(content, (list, tuple)):
        content = "".join(text for part in content if isinstance(text := field(part, "text"), str))
    parts = [content] if isinstance(content, str) else []
    calls = field(message, "tool_calls")
    for call in calls if isinstance(calls, (list, tuple)) else ():
        function = field(call, "function")
        parts.append(f"[tool call] {field(function, 'name')}({field(function, 'arguments')})")
    return "\n".join(parts)


def finish_of(response: Any) -> str | None:
    choices = field(response, "choices")
    found = field(choices[0], "finish_reason") if isinstance(choices, (list, tuple)) and choices else None
    return found if isinstance(found, str) else None


def cost_of(source: Any) -> float:
    """What a call has cost, from its answer or its error."""
    result = RouteResult.of(source)
    return 0.0 if result is None else result.cost_usd


def kind_of(error: BaseException, wall: float = 0.0) -> tuple[str, float | None]:
    """What kind of failure an error is, and the seconds after which asking again may help, where that is known."""
    if isinstance(error, DeadlineExceededError):
        return "timeout", None
    if isinstance(error, NoCandidateError):
        return ("rate_limit" if error.retry_after_s is not None else "bad_request"), error.retry_after_s
    if isinstance(error, RouterError):
        return "bad_request", None
    facts, result = failed(error, wall), RouteResult.of(error)
    # The router knows more than the error says: whether anything was sent, what the provider really answered.
    found = (result.attempts[-1].error or "").partition(":")[0] if result is not None and result.attempts else ""
    return found or facts.kind, facts.retry_after_s


def said(error: BaseException) -> str:
    """An error in one line, without secrets."""
    return redact(f"{type(error).__name__}: {error}"[:2_000]).replace("\n", " ")[:300]
