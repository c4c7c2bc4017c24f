"""What the tests of cascades share: a cheap and a dear model, asked in four modes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from router_plugin import Budget, Deployment, NoCandidateError, Router, RouteResult
from router_plugin.testing import FakeClock, ScriptedProvider

HI = [{"role": "user", "content": "hello there"}]
PRICE: dict[str, Any] = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
MODES = ["sync", "async", "sync stream", "async stream"]


def rule(**more: Any) -> dict[str, Any]:
    return {"name": "c", "strategy": "CASCADE", "targets": ["cheap", "dear"], **more}


def made(
    a_rule: dict[str, Any], script: Any, *others: Deployment, budget: float = 1.0, dearer: float = 1.0, **options: Any
) -> tuple[Router, ScriptedProvider]:
    """A router of ``cheap``, ``dear`` (``dearer`` times its price) and others, over a scripted provider."""
    clock = FakeClock()
    provider = ScriptedProvider(clock, script)
    price = {name: value * dearer for name, value in PRICE.items()}
    models = [
        Deployment("openai/cheap", name="cheap", quality=0.5, **PRICE),
        Deployment("openai/dear", name="dear", quality=0.9, **price),
        *others,
    ]
    budgets = [Budget(budget)]
    return Router(
        "r", models=models, rules=[a_rule], budgets=budgets, clock=clock, provider=provider, **options
    ), provider


def obey_caps(provider: ScriptedProvider) -> None:
    """Answers are no longer than they may be, as a provider's are."""
    answer = provider._next

    def capped(attempt: Any) -> Any:
        reply = answer(attempt)
        cap = attempt.cap or attempt.kwargs.get("max_tokens") or reply.output_tokens
        return replace(reply, output_tokens=min(cap, reply.output_tokens))

    provider._next = capped  # type: ignore[method-assign]


def keeps_within(
    router: Router, provider: ScriptedProvider, mode: str, max_cost: float, cap: int | None, budget: float
) -> None:
    """A call under these bounds keeps them, or was refused as too dear for every deployment."""
    obey_caps(provider)
    try:
        result = ask(router, mode, max_cost=max_cost, **({} if cap is None else {"max_tokens": cap}))[1]
    except NoCandidateError:
        return
    assert result.cost_usd <= max_cost + 1e-12
    assert router.budgets()[0]["settled_usd"] <= budget + 1e-12


def _text(chunk: Any) -> str:
    return (chunk["choices"][0].get("delta") or {}).get("content") or "" if chunk["choices"] else ""


def ask(router: Router, mode: str, **kwargs: Any) -> tuple[str, RouteResult]:
    """The answer's text and record. Nothing stays reserved, and the budget has settled what the record says."""

    async def awaited() -> Any:
        got = await router.acompletion(messages=HI, stream="stream" in mode, **kwargs)
        return ("".join([_text(c) async for c in got]) if "stream" in mode else None), got

    before = router.budgets()[0]["settled_usd"]
    if mode.startswith("async"):
        said, got = asyncio.run(awaited())
    else:
        got = router.completion(messages=HI, stream="stream" in mode, **kwargs)
        said = "".join(map(_text, got)) if "stream" in mode else None
    result = RouteResult.of(got)
    assert result is not None
    settled(router, result, before)
    assert router.get_request(result.request_id)["cost_usd"] == result.cost_usd
    return said if said is not None else got["choices"][0]["message"]["content"], result


def settled(router: Router, result: RouteResult, before: float = 0.0) -> None:
    (account,) = router.budgets()
    assert account["reserved_usd"] == 0
    assert abs(account["settled_usd"] - before - result.cost_usd) < 1e-12
    assert abs(sum(attempt.cost_usd for attempt in result.attempts) - result.cost_usd) < 1e-12


def outcomes(result: RouteResult) -> list[tuple[str, str]]:
    return [(attempt.deployment, attempt.outcome) for attempt in result.attempts]
