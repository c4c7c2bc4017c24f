"""Shadow traffic never touches the answer; it has its own money, number and time; what becomes of it is seen."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import litellm
import pytest

from router_plugin import Budget, Deployment, Router, RouteResult, install
from router_plugin.testing import FakeClock, LoopbackProvider, Reply, ScriptedProvider
from router_plugin.testing import loopback as lb

HI = [{"role": "user", "content": "hello there"}]
PRICE: dict[str, Any] = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
MODES = ["sync", "async", "sync stream", "async stream"]
four_modes = pytest.mark.parametrize("mode", MODES)


@pytest.fixture
def p() -> Iterator[LoopbackProvider]:
    with LoopbackProvider() as provider:
        for name in "abc":
            provider.model(name, f"from {name}")
        yield provider


def rule(**shadow: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"name": "sh", "strategy": "SHADOW", "targets": ["a", "b"]}
    return {**found, "shadow": shadow} if shadow else found


def router(p: LoopbackProvider, *rules: Any, **options: Any) -> Router:
    made = [Deployment(f"openai/{n}", name=n, api_base=p.openai_base, api_key="k", **PRICE) for n in "abc"]
    return Router("r", models=made, rules=rules or [rule()], budgets=[Budget(1)], **options)


def ask(r: Router, mode: str, **kwargs: Any) -> tuple[str, RouteResult]:
    async def awaited() -> Any:
        got = await litellm.acompletion(model="router", messages=HI, stream="stream" in mode, **kwargs)
        if "stream" in mode:
            return "".join([c.choices[0].delta.content or "" async for c in got if c.choices]), got
        return got.choices[0].message.content, got

    with install(r):
        if mode.startswith("async"):
            text, got = asyncio.run(awaited())
        else:
            got = litellm.completion(model="router", messages=HI, stream="stream" in mode, **kwargs)
            if "stream" in mode:
                text = "".join(c.choices[0].delta.content or "" for c in got if c.choices)
            else:
                text = got.choices[0].message.content
    result = RouteResult.of(got)
    assert result is not None
    return text, result


def over(r: Router, within_s: float = 5.0) -> dict[str, Any]:
    assert r._home.shadows.wait(within_s)
    return r.shadows()


@four_modes
def test_the_first_target_answers_and_the_others_are_recorded_beside_it(p: LoopbackProvider, mode: str) -> None:
    r = router(p)
    text, result = ask(r, mode)
    assert text == "from a"
    counts = over(r)["sh"]["b"]
    assert (counts["runs"], counts["answered"], counts["failed"]) == (1, 1, 0)
    assert counts["cost_usd"] > 0
    assert counts["latency_ms"] > 0
    (record,) = r.list_requests()
    (beside,) = record["shadows"]
    assert (beside["target"], beside["outcome"], beside["deployment"]) == ("b", "answered", "b")
    assert beside["cost_usd"] > 0
    assert [one["target"] for one in result.shadows] == ["b"]
    assert record["cost_usd"] == pytest.approx(result.cost_usd)


@four_modes
@pytest.mark.parametrize("fault", [lb.Status(500), lb.Status(401), lb.Reset(), lb.RawBody(b"<html>")], ids=repr)
def test_a_shadow_that_fails_changes_nothing_and_is_counted(p: LoopbackProvider, mode: str, fault: Any) -> None:
    p.always("b", fault)
    r = router(p)
    assert ask(r, mode)[0] == "from a"
    counts = over(r)["sh"]["b"]
    assert counts["failed"] == 1
    assert counts["last_error"]
    stats = r.stats()["b"]
    assert (stats["attempts"], stats["failures"], stats["state"]) == (0, 0, "ok"), "left out of what chooses"


def test_a_shadow_that_hangs_delays_nobody_and_ends_at_its_own_time(p: LoopbackProvider) -> None:
    p.always("b", lb.Silent())
    r = router(p, rule(timeout_s=0.3))
    began = time.monotonic()
    assert ask(r, "sync")[0] == "from a"
    assert time.monotonic() - began < 2.0
    assert over(r)["sh"]["b"]["failed"] == 1


def test_shadows_spend_their_own_money_and_stop_when_it_is_spent(p: LoopbackProvider) -> None:
    r = router(p, rule(budget_usd=1e-4))
    for _ in range(4):
        ask(r, "sync", max_tokens=30)
        over(r)
    counts = over(r)["sh"]["b"]
    assert counts["refused"] > 0
    assert counts["cost_usd"] <= 1e-4
    assert r.budgets()[0]["settled_usd"] == pytest.approx(sum(q["cost_usd"] for q in r.list_requests()))


def test_a_spent_budget_of_the_router_takes_no_shadow(p: LoopbackProvider) -> None:
    r = router(p)
    ask(r, "sync")
    over(r)
    (account,) = r.budgets()
    assert account["settled_usd"] == pytest.approx(r.list_requests()[0]["cost_usd"]), "the shadow is not in it"


def test_beyond_its_number_at_a_time_shadows_are_dropped_first() -> None:
    gate = threading.Event()

    class Held(ScriptedProvider):
        def _answer(self, attempt: Any, reply: Reply, **kwargs: Any) -> Any:
            if attempt.candidate.name == "b":
                gate.wait(10)
            return super()._answer(attempt, reply, **kwargs)

    clock = FakeClock()
    models = [Deployment(f"openai/{n}", name=n, **PRICE) for n in "ab"]
    r = Router("r", models=models, rules=[rule(max_concurrency=2)], clock=clock, provider=Held(clock))
    for _ in range(5):
        assert r.completion(messages=HI)["choices"][0]["message"]["content"]
    gate.set()
    counts = over(r)["sh"]["b"]
    assert (counts["runs"], counts["dropped"]) == (2, 3)


def test_a_sample_of_none_shadows_nothing() -> None:
    clock = FakeClock()
    provider = ScriptedProvider(clock)
    models = [Deployment(f"openai/{n}", name=n, **PRICE) for n in "ab"]
    r = Router("r", models=models, rules=[rule(sample=0.0)], clock=clock, provider=provider)
    for _ in range(5):
        r.completion(messages=HI)
    over(r)
    assert {name for name, _ in provider.calls} == {"a"}


def test_a_cancelled_call_has_no_shadow(p: LoopbackProvider) -> None:
    p.always("a", lb.Silent())
    r = router(p)

    async def main() -> None:
        task = asyncio.ensure_future(r.acompletion(messages=HI))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert over(r) == {}
    assert [q["status"] for q in r.list_requests()] == ["cancelled"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_wrapped_functions_are_shadowed_by_themselves(asynchronous: bool) -> None:
    seen: list[str] = []
    r = Router("r", models=[Deployment(f"openai/{n}", name=n, **PRICE) for n in "ab"], rules=[rule()])

    def answer(model: str) -> dict[str, Any]:
        seen.append(model)
        message = {"role": "assistant", "content": model}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}

    if asynchronous:

        @r.wrap
        async def acall(model: str, messages: Any, **kwargs: Any) -> Any:
            return answer(model)

        got = asyncio.run(acall("router", HI))
    else:
        got = r.wrap(lambda model, messages, **kwargs: answer(model))("router", HI)
    assert got["choices"][0]["message"]["content"] == "openai/a"
    assert over(r)["sh"]["b"]["answered"] == 1
    assert seen == ["openai/a", "openai/b"]


@pytest.mark.parametrize("fault", [None, "budget", "dropped", "unknown router"])
def test_whatever_becomes_of_a_shadow_stands_in_the_primarys_record(fault: str | None) -> None:
    clock = FakeClock()
    models = [Deployment(f"openai/{n}", name=n, **PRICE) for n in "ab"]
    made = rule(budget_usd=1e-9) if fault == "budget" else rule()
    if fault == "unknown router":
        made["targets"] = ["a", "router/nowhere"]
    r = Router("r", models=models, rules=[made], clock=clock, provider=ScriptedProvider(clock))
    if fault == "dropped":
        r._home.shadows._running["sh"] = 99
    for _ in range(30):
        r.completion(messages=HI)
    if fault == "dropped":
        r._home.shadows._running["sh"] = 0
    over(r)
    wanted = {None: {"answered", "dropped"}, "budget": {"refused", "dropped"}, "dropped": {"dropped"}}
    for record in r.list_requests():
        (beside,) = record["shadows"]
        assert beside["outcome"] in wanted.get(fault, {"refused", "dropped"})
