"""What cuts tails and keeps calls together: hedging, retry budget, sessions, balance, waits, checks, histories."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import litellm
import pytest

from router_plugin import Budget, Deployment, NoCandidateError, Router, RouteResult, SpecError, checks
from router_plugin.testing import FakeClock, LoopbackProvider, Reply, ScriptedProvider
from router_plugin.testing import loopback as lb

HI = [{"role": "user", "content": "hello there"}]
PRICE: dict[str, Any] = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
MODES = ["sync", "async", "sync stream", "async stream"]
four_modes = pytest.mark.parametrize("mode", MODES)


def scripted(clock: Any, script: Any, *names: str, quality: float | None = None, **more: Any) -> tuple[Any, Any]:
    provider = ScriptedProvider(clock, script)
    made = [
        Deployment(f"openai/{n}", name=n, quality=quality or 0.9 - i / 100, **{**PRICE, **more.pop(f"_{n}", {})})
        for i, n in enumerate(names)
    ]
    return Router("r", models=made, budgets=[Budget(1)], clock=clock, provider=provider, seed=1, **more), provider


def ask(router: Router, mode: str, **kwargs: Any) -> tuple[str, RouteResult]:
    kwargs = {"messages": HI, **kwargs}

    async def awaited() -> Any:
        got = await router.acompletion(stream="stream" in mode, **kwargs)
        return ("".join([_text(c) async for c in got]), got) if "stream" in mode else (_text(got), got)

    if mode.startswith("async"):
        text, got = asyncio.run(awaited())
    else:
        got = router.completion(stream="stream" in mode, **kwargs)
        text = "".join(map(_text, got)) if "stream" in mode else _text(got)
    result = RouteResult.of(got)
    assert result is not None
    return text, result


def _text(part: Any) -> str:
    choice = part["choices"][0] if isinstance(part, dict) else part.choices[0] if part.choices else {}
    for name in ("delta", "message"):
        inner = choice.get(name) if isinstance(choice, dict) else getattr(choice, name, None)
        if inner:
            return (inner.get("content") if isinstance(inner, dict) else inner.content) or ""
    return ""


def nothing_held(router: Router, within_s: float = 2.0) -> None:
    ends = time.monotonic() + within_s
    while True:
        held = [b for b in router.budgets() if b["reserved_usd"]] + [
            s for s in router.stats().values() if s["in_flight"]
        ]
        if not held:
            return
        assert time.monotonic() < ends, held


# --------------------------------------------------------------------------- hedging


@pytest.fixture
def p() -> Any:
    with LoopbackProvider() as provider:
        yield provider


def on(p: LoopbackProvider, *names: str, **more: Any) -> Router:
    made = [
        Deployment(f"openai/{n}", name=n, api_base=p.openai_base, api_key="k", quality=0.9 - i / 100, **PRICE)
        for i, n in enumerate(names)
    ]
    return Router("r", models=made, budgets=[Budget(1)], **more)


@four_modes
def test_a_late_deployment_is_raced_and_the_loser_is_paid_for(p: LoopbackProvider, mode: str) -> None:
    p.model("slow", "too late", ttft_s=5.0)
    p.model("quick", "in time")
    router = on(p, "slow", "quick", hedge_after=0.15)
    began = time.monotonic()
    text, result = ask(router, mode, timeout=10)
    assert text == "in time"
    assert time.monotonic() - began < 3
    assert [a.deployment for a in result.attempts] == ["slow", "quick"]
    assert result.deployment == "quick"
    nothing_held(router)
    assert result.attempts[0].outcome == "hedged"
    assert result.attempts[0].cost_usd > 0
    assert p.wait_until(lambda: p.in_flight == 0, 3), "the loser is cancelled"


@four_modes
def test_an_answer_in_time_is_not_raced(p: LoopbackProvider, mode: str) -> None:
    p.model("quick", "in time")
    text, result = ask(on(p, "quick", "other", hedge_after=2.0), mode, timeout=10)
    assert text == "in time"
    assert len(result.attempts) == 1


@four_modes
def test_the_first_may_still_win_its_race(p: LoopbackProvider, mode: str) -> None:
    p.model("slow", "after all", ttft_s=0.4)
    p.model("slower", "too late", ttft_s=5.0)
    router = on(p, "slow", "slower", hedge_after=0.1)
    text, result = ask(router, mode, timeout=10)
    assert text == "after all"
    assert result.deployment == "slow"
    nothing_held(router)


@four_modes
def test_when_the_second_fails_the_first_goes_on(p: LoopbackProvider, mode: str) -> None:
    p.model("slow", "after all", ttft_s=0.5)
    p.always("broken", lb.Status(500))
    router = on(p, "slow", "broken", hedge_after=0.1)
    text, result = ask(router, mode, timeout=10)
    assert text == "after all"
    assert {a.deployment: a.outcome for a in result.attempts} == {"slow": "answered", "broken": "failed"}
    nothing_held(router)


@four_modes
def test_both_must_fit_the_bound(p: LoopbackProvider, mode: str) -> None:
    """The worst case of two attempts is more than the call may cost: it is not raced."""
    p.model("slow", "after all", ttft_s=0.4)
    text, result = ask(on(p, "slow", "quick", hedge_after=0.1), mode, timeout=10, max_cost=3e-4, max_tokens=100)
    assert text == "after all"
    assert len(result.attempts) == 1


def test_tools_in_a_stream_are_never_raced(p: LoopbackProvider) -> None:
    p.model("slow", "after all", ttft_s=0.3)
    tools = [{"type": "function", "function": {"name": "pay", "parameters": {"type": "object", "properties": {}}}}]
    _, result = ask(on(p, "slow", "quick", hedge_after=0.05), "async stream", timeout=10, tools=tools)
    assert len(result.attempts) == 1


def test_hedges_stay_inside_the_retry_budget(p: LoopbackProvider) -> None:
    p.model("slow", "after all", ttft_s=0.12)
    p.model("slower", "too late", ttft_s=1.0)
    router = on(p, "slow", "slower", hedge_after=0.03)
    hedged = sum(len(ask(router, "async", timeout=10)[1].attempts) - 1 for _ in range(30))
    assert 0 < hedged < 30


def test_a_cancelled_race_holds_nothing(p: LoopbackProvider) -> None:
    for name in ("slow", "slower"):
        p.model(name, "late", ttft_s=5.0)
    router = on(p, "slow", "slower", hedge_after=0.05)

    async def main() -> None:
        task = asyncio.ensure_future(router.acompletion(messages=HI, timeout=10))
        await asyncio.sleep(0.4)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.1)

    asyncio.run(main())
    nothing_held(router)


@pytest.mark.parametrize("wrong", ["95", "p100", "p0", True, -1, 0, [], float("nan")], ids=repr)
def test_a_hedge_that_is_none_is_an_error(wrong: Any) -> None:
    with pytest.raises(SpecError, match="hedge_after"):
        Router("r", models=["openai/gpt-4o"], hedge_after=wrong)


# --------------------------------------------------------------------------- retry budget


def test_an_outage_is_not_amplified_by_retries() -> None:
    clock = FakeClock()
    router, provider = scripted(clock, {"a": [litellm.InternalServerError("x", "openai", "a")]}, "a")
    for _ in range(200):
        with pytest.raises((litellm.InternalServerError, NoCandidateError)):
            ask(router, "sync")
    assert len(provider.calls) < 230


# --------------------------------------------------------------------------- balance


def test_equals_share_the_load() -> None:
    clock = FakeClock()
    router, provider = scripted(clock, {n: [Reply(latency_s=1.0)] for n in "abc"}, *"abc", quality=0.8)
    for _ in range(300):
        ask(router, "sync")
    shares = Counter(name for name, _ in provider.calls)
    assert set(shares) == set("abc")
    assert min(shares.values()) > 60


def test_the_objective_comes_before_the_load() -> None:
    clock = FakeClock()
    router, provider = scripted(clock, {n: [Reply(latency_s=1.0)] for n in "ab"}, *"ab")
    for _ in range(20):
        ask(router, "sync")
    assert {name for name, _ in provider.calls} == {"a"}


def test_simultaneous_calls_spread_over_equals() -> None:
    """The choice and the count of what is in flight happen with no await between."""
    seen: Counter[str] = Counter()
    made = [Deployment(f"openai/{n}", name=n, quality=0.8, **PRICE) for n in "ab"]
    router = Router("r", models=made, seed=2)

    @router.wrap
    async def call(model: str, messages: Any, **kwargs: Any) -> Any:
        seen[model] += 1
        await asyncio.sleep(0.05)
        return {"choices": [{"message": {"content": "ok"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}

    async def main() -> None:
        await call("router", HI)
        seen.clear()
        await asyncio.gather(*(call("router", HI) for _ in range(50)))

    asyncio.run(main())
    assert 15 <= seen["openai/a"] <= 35, seen


# --------------------------------------------------------------------------- rate limits


@four_modes
def test_what_a_limit_leaves_goes_to_the_next_before_it_is_refused(mode: str) -> None:
    clock = FakeClock()
    router, provider = scripted(clock, {}, "a", "b", _a={"rpm": 3})
    for _ in range(5):
        ask(router, mode)
    assert [name for name, _ in provider.calls] == ["a", "a", "a", "b", "b"]


@four_modes
def test_all_limited_waits_for_the_first_that_frees_within_the_patience(mode: str) -> None:
    clock = FakeClock()
    router, provider = scripted(clock, {}, "a", _a={"rpm": 2}, patience_s=100)
    for _ in range(3):
        ask(router, mode)
    assert len(provider.calls) == 3
    assert 59 <= sum(clock.slept) <= 62


@four_modes
def test_beyond_the_patience_the_error_says_when_to_come_back(mode: str) -> None:
    clock = FakeClock()
    router, provider = scripted(clock, {}, "a", _a={"rpm": 2}, patience_s=1)
    for _ in range(2):
        ask(router, mode)
    with pytest.raises(NoCandidateError) as caught:
        ask(router, mode)
    assert 50 < (caught.value.retry_after_s or 0) <= 61
    assert len(provider.calls) == 2
    nothing_held(router)


def test_waiting_counts_into_the_first_token_where_time_has_a_weight() -> None:
    clock = FakeClock()
    router, _ = scripted(clock, {}, "a", "b", _a={"rpm": 1}, patience_s=100)
    ask(router, "sync")
    result = router.route({"messages": HI}, model="router@q:1|t:1e-9")
    assert result.ranking == ["a", "b"], "a wait that costs next to nothing is taken"
    assert router.route({"messages": HI}, model="router@q:1|t:1e-3").ranking == ["b", "a"]
    assert router.route({"messages": HI}).ranking == ["b"]
    assert "headroom" in router.route({"messages": HI}).rejected["a"]


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
@four_modes
def test_headers_stop_a_429_before_it_happens(p: LoopbackProvider, mode: str, wire: str) -> None:
    prefix = "x-ratelimit-{part}-requests" if wire == "openai" else "anthropic-ratelimit-requests-{part}"
    told = {"limit": "100", "remaining": "0", "reset": "30s" if wire == "openai" else "2099-01-01T00:00:00Z"}
    p.model("a", "from a", headers={prefix.format(part=part): value for part, value in told.items()})
    p.model("b", "from b")
    base = p.openai_base if wire == "openai" else p.url
    made = [
        Deployment(f"{wire}/{n}", name=n, api_base=base, api_key="k", quality=q, **PRICE)
        for n, q in (("a", 0.9), ("b", 0.8))
    ]
    router = Router("r", models=made)
    assert ask(router, mode, timeout=5)[0] == "from a"
    assert ask(router, mode, timeout=5)[0] == "from b"
    assert router.stats()["a"]["requests_left"] in (0.0, 1.0)


# --------------------------------------------------------------------------- sessions


CACHED: dict[str, Any] = {"cache_read_input_token_cost": 1e-7}


def test_a_conversation_stays_while_its_cache_is_warm() -> None:
    clock = FakeClock()
    router, provider = scripted(clock, {}, "a", "b", quality=0.8)
    talk = [{"role": "system", "content": "x" * 8_000}, *HI]
    for _ in range(6):
        ask(router, "sync", messages=talk, routing={"session": "s1"})
    assert len({name for name, _ in provider.calls}) == 1
    first = provider.calls[0][0]
    provider.script(first, [litellm.AuthenticationError("x", "openai", first)])
    assert ask(router, "sync", messages=talk, routing={"session": "s1"})[1].deployment != first, "not eligible"
    clock.advance(301)


def test_a_session_can_be_made_of_the_opening() -> None:
    clock = FakeClock()
    router, _ = scripted(clock, {}, "a", "b", _a={"rpm": 1})
    ask(router, "sync", routing={"session": True})
    longer = [*HI, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "more"}]
    second = ask(router, "sync", messages=longer, routing={"session": True})[1]
    assert second.deployment == "b", "a is limited"
    clock.advance(61)
    assert ask(router, "sync", messages=longer, routing={"session": True})[1].deployment == "b", "it is there now"
    assert ask(router, "sync", messages=longer)[1].deployment == "a"
    clock.advance(301)
    assert ask(router, "sync", messages=longer, routing={"session": True})[1].deployment == "a", "the cache is cold"


def test_a_warm_cache_is_in_the_estimate() -> None:
    clock = FakeClock()
    router, _ = scripted(clock, {"a": [Reply(input_tokens=2_000)]}, "a", "b", _a=CACHED)
    talk = [{"role": "user", "content": "y " * 4_000}]
    cold = router.route({"messages": talk}).estimated_cost_usd or 0
    ask(router, "sync", messages=talk, routing={"session": "s"})
    warm = router.route({"messages": talk, "routing": {"session": "s"}}).estimated_cost_usd or 0
    assert warm < 0.5 * cold


# --------------------------------------------------------------------------- answers that are not wanted


def says(text: str | None, end: str = "stop", **more: Any) -> Any:
    return {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, **more}, "finish_reason": end}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5},
    }


SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "s",
        "schema": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}},
    },
}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
UNWANTED: list[tuple[Any, Any, dict[str, Any]]] = [
    (checks.empty_answer, says(""), {}),
    (checks.empty_answer, says(None), {}),
    (checks.refusal, says("I", "content_filter"), {}),
    (checks.refusal, says(None, refusal="I cannot help with that"), {}),
    (checks.tool_call_as_text, says('{"name": "f", "arguments": {}}'), {"tools": TOOLS}),
    (checks.tool_call_as_text, says("<tool_call>{}</tool_call>"), {"tools": TOOLS}),
    (checks.json_mismatch, says("no json"), {"response_format": {"type": "json_object"}}),
    (checks.json_mismatch, says('{"a": "text"}'), {"response_format": SCHEMA}),
]


@pytest.mark.parametrize(("check", "bad", "kwargs"), UNWANTED, ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_answer_that_a_check_does_not_want_goes_to_the_next(
    check: Any, bad: Any, kwargs: dict[str, Any], asynchronous: bool
) -> None:
    made = [Deployment(f"openai/{n}", name=n, quality=0.9 - i / 100, **PRICE) for i, n in enumerate("ab")]
    router = Router("r", models=made, budgets=[Budget(1)], fallback_on=[check])
    good = says('{"a": 1}')

    def answer(model: str, messages: Any, **_: Any) -> Any:
        return bad if model == "openai/a" else good

    async def awaited(model: str, messages: Any, **_: Any) -> Any:
        return answer(model, messages)

    function = router.wrap(awaited if asynchronous else answer)
    got = function("router", HI, **kwargs)
    got = asyncio.run(got) if asynchronous else got
    assert got is good
    result = RouteResult.of(got)
    assert result is not None
    assert result.attempts[0].error == f"unwanted_answer: {check.__name__}"
    assert result.attempts[0].cost_usd == pytest.approx(20e-6), "it stays paid for"
    nothing_held(router)


@pytest.mark.parametrize(("check", "bad", "kwargs"), UNWANTED, ids=lambda v: getattr(v, "__name__", ""))
def test_checks_want_good_answers(check: Any, bad: Any, kwargs: dict[str, Any]) -> None:
    assert checks.unwanted((check,), bad, kwargs) == check.__name__
    assert checks.unwanted((check,), says('{"a": 1}'), kwargs) is None


@four_modes
def test_checks_hold_a_stream_back_until_its_end(p: LoopbackProvider, mode: str) -> None:
    p.model("a", "no")
    p.model("b", "yes")

    def is_no(response: Any) -> bool:
        return bool(response.choices[0].message.content == "no")

    router = on(p, "a", "b", fallback_on=[is_no])
    text, result = ask(router, mode, timeout=5)
    assert text == "yes"
    assert [a.deployment for a in result.attempts] == ["a", "b"]
    nothing_held(router)


def test_where_nothing_else_is_left_the_answer_is_returned_as_it_is() -> None:
    router = Router("r", models=[Deployment("openai/a", **PRICE)], fallback_on=checks.READY)
    bad = says("")
    assert router.wrap(lambda model, messages, **_: bad)("router", HI) is bad


# --------------------------------------------------------------------------- histories


SIGNED = [
    *HI,
    {
        "role": "assistant",
        "content": "hm",
        "thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": "sig"}],
    },
    *HI,
]


def with_id(name: str) -> list[dict[str, Any]]:
    call = {"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    return [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": name, "content": "1"},
    ]


THOUGHT = [
    *HI,
    {
        "role": "assistant",
        "content": "hm",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "f", "arguments": "{}"},
                "provider_specific_fields": {"thought_signature": "xx"},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "1"},
]


@pytest.mark.parametrize(
    ("messages", "able"),
    [
        (SIGNED, {"claude"}),
        (THOUGHT, {"gemini"}),
        (with_id("call_1"), {"gpt", "claude", "gemini"}),
        (with_id("a" * 41), {"claude", "gemini"}),
        (with_id("a:b c"), {"gpt", "gemini"}),
        (with_id("abcdefgh9"), {"gpt", "claude", "gemini", "mistral"}),
    ],
    ids=["signed by Claude", "signed by Gemini", "an OpenAI id", "a long id", "an odd id", "nine characters"],
)
def test_who_can_go_on_with_a_history(messages: Any, able: set[str]) -> None:
    supports = {"tools": True, "reasoning": True}
    made = [
        Deployment("openai/x", name="gpt", supports=supports),
        Deployment("anthropic/x", name="claude", supports=supports),
        Deployment("gemini/x", name="gemini", supports=supports),
        Deployment("mistral/x", name="mistral", supports=supports),
    ]
    router = Router("r", models=made)
    result = router.route({"messages": messages})
    assert set(result.ranking) == able
    assert all("history:" in why for why in result.rejected.values())
    assert set(router.route({"messages": messages, "routing": {"sanitise": True}}).ranking) == {d.name for d in made}


@four_modes
def test_a_sanitised_history_is_sent(p: LoopbackProvider, mode: str) -> None:
    p.model("m", "fine")
    router = on(p, "m", sanitise=True)
    messages = [*SIGNED, *with_id("b" * 60)[1:]]
    assert ask(router, mode, messages=messages, timeout=5)[0] == "fine"
    sent = p.requests[-1].body["messages"]
    assert "thinking_blocks" not in str(sent)
    (made,) = sent[-2]["tool_calls"]
    assert made["id"] == sent[-1]["tool_call_id"]
    assert len(made["id"]) <= 40
    assert messages[1]["thinking_blocks"], "the caller's own messages are his"


# --------------------------------------------------------------------------- what fresh eyes found


def _run(function: Any) -> Any:
    got = function("router", HI)
    return asyncio.run(got) if asyncio.iscoroutine(got) else got


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_check_that_raises_is_the_callers_error_and_the_answer_is_paid_for(asynchronous: bool) -> None:
    def bad(response: Any) -> bool:
        raise KeyError("in the caller's own check")

    made = [Deployment(f"openai/{n}", name=n, **PRICE) for n in "ab"]
    router = Router("r", models=made, budgets=[Budget(1)], fallback_on=[bad])

    async def awaited(model: str, messages: Any, **_: Any) -> Any:
        return says("fine")

    function = router.wrap(awaited if asynchronous else lambda model, messages, **_: says("fine"))
    with pytest.raises(KeyError):
        _run(function)
    nothing_held(router)
    assert router.budgets()[0]["settled_usd"] == pytest.approx(20e-6)


def test_an_async_check_is_an_error_that_says_so() -> None:
    async def check(response: Any) -> bool:
        return True

    router = Router("r", models=["openai/a", "openai/b"], fallback_on=[check])
    with pytest.raises(SpecError, match="async"):
        router.wrap(lambda model, messages, **_: says("fine"))("router", HI)


def test_an_unwanted_answer_is_better_than_none() -> None:
    clock = FakeClock()
    script = {"a": [Reply("")], "b": [litellm.AuthenticationError("x", "openai", "b")]}
    router, _ = scripted(clock, script, "a", "b", fallback_on=[checks.empty_answer])
    answer = router.completion(messages=HI)
    assert answer["choices"][0]["message"]["content"] == ""
    nothing_held(router)


def virtual(main: Any) -> Any:
    from router_plugin.testing.virtual_time import run

    return run(main)


def test_a_rival_that_is_too_dear_beside_the_first_is_asked_after_it() -> None:
    async def main(clock: Any) -> tuple[str, list[str]]:
        script = {"a": [Reply(latency_s=9.0)], "b": [Reply("from b")]}
        router, provider = scripted(clock, script, "a", "b", hedge_after=0.1, attempt_timeout_s=0.5)
        answer = await router.acompletion(messages=HI, max_tokens=100, max_cost=3e-4, timeout=5)
        return answer["choices"][0]["message"]["content"], [name for name, _ in provider.calls]

    assert virtual(main) == ("from b", ["a", "b"])


def test_a_race_waits_for_no_budget() -> None:
    async def main(clock: Any) -> float:
        router, _ = scripted(clock, {"a": [Reply("from a", latency_s=0.5)]}, "a", "b", hedge_after=0.1)
        router = Router(
            "r",
            models=list(router.spec.deployments),
            budgets=[Budget(3e-4, wait_s=20)],
            clock=clock,
            provider=router.provider,
            hedge_after=0.1,
        )
        began = clock.monotonic()
        await router.acompletion(messages=HI, max_tokens=100)
        return float(clock.monotonic() - began)

    assert virtual(main) == pytest.approx(0.5, abs=0.01)


def test_the_deadline_holds_where_money_was_waited_for() -> None:
    async def main(clock: Any) -> float:
        provider = ScriptedProvider(clock, {"a": [Reply(latency_s=1.4), Reply(latency_s=99.0)]})
        made = [Deployment("openai/a", name="a", **PRICE)]
        router = Router("r", models=made, budgets=[Budget(3e-4, wait_s=20)], clock=clock, provider=provider)
        first = asyncio.ensure_future(router.acompletion(messages=HI, max_tokens=100, timeout=5))
        await asyncio.sleep(0)
        began = clock.monotonic()
        with pytest.raises(Exception):  # noqa: B017
            await router.acompletion(messages=HI, max_tokens=100, timeout=2)
        await first
        return float(clock.monotonic() - began)

    assert virtual(main) <= 2.05


def test_both_fail_and_the_retry_is_not_anothers() -> None:
    async def main(clock: Any) -> list[str]:
        script = {
            "a": [Reply(latency_s=0.3, error=litellm.AuthenticationError("x", "openai", "a"))],
            "b": [Reply(latency_s=0.4, error=litellm.InternalServerError("x", "openai", "b"))],
            "c": [Reply("from c")],
        }
        router, provider = scripted(clock, script, "a", "b", "c", hedge_after=0.1)
        await router.acompletion(messages=HI, timeout=9)
        return [name for name, _ in provider.calls]

    assert virtual(main) == ["a", "b", "c"]


def test_what_must_be_raised_at_once_ends_a_race() -> None:
    async def main(clock: Any) -> float:
        bad = litellm.BadRequestError("no", "a", "openai")
        script = {"a": [Reply(latency_s=0.2, error=bad)], "b": [Reply(latency_s=30.0)]}
        router, _ = scripted(clock, script, "a", "b", hedge_after=0.1)
        began = clock.monotonic()
        with pytest.raises(litellm.BadRequestError):
            await router.acompletion(messages=HI)
        nothing_held(router)
        return float(clock.monotonic() - began)

    assert virtual(main) < 0.3


def test_steady_deployments_are_not_raced() -> None:
    async def main(clock: Any) -> int:
        script = {n: [Reply(latency_s=0.5)] for n in "ab"}
        router, provider = scripted(clock, script, "a", "b", hedge_after="p95")
        for _ in range(100):
            await router.acompletion(messages=HI, timeout=9)
        return sum(name == "b" for name, _ in provider.calls)

    assert virtual(main) == 0


@pytest.mark.parametrize("hedge", [None, "p95"])
def test_a_deployment_that_falls_silent_is_asked_little_until_it_is_back(hedge: str | None) -> None:
    async def main(clock: Any) -> tuple[int, float]:
        ends = 120.0  # it answers for 20 s, is silent for 100 s, then answers again

        def answer(now: float) -> Reply:
            return Reply(latency_s=0.3 if now < 20.0 or now >= ends else 3_600.0)

        began = clock.monotonic()
        router, provider = scripted(clock, {}, "a", "b", hedge_after=hedge)
        reply = {"a": lambda: answer(clock.monotonic() - began), "b": lambda: Reply(latency_s=0.4)}
        provider._next = lambda attempt: reply[attempt.candidate.name]()
        times: list[float] = []
        back: list[float] = []

        async def one() -> None:
            at = clock.monotonic() - began
            answer = await router.acompletion(messages=HI, timeout=30)
            result = RouteResult.of(answer)
            assert result is not None
            times.extend([at] * any(attempt.deployment == "a" for attempt in result.attempts))
            if at >= ends and result.attempts[-1].deployment == "a":
                back.append(at - ends)

        calls = []
        for _ in range(600):
            calls.append(asyncio.create_task(one()))
            await asyncio.sleep(0.25)
        await asyncio.gather(*calls)
        nothing_held(router)
        return sum(20.0 <= at < ends for at in times), min(back)

    asked, recovery = virtual(main)
    assert asked <= 24, "what was under way when it fell silent, and one probe an interval"
    assert recovery <= 15.0


def test_one_429_throttles_nobody_for_long() -> None:
    clock = FakeClock()
    router, provider = scripted(clock, {"a": [litellm.RateLimitError("slow", "openai", "a"), Reply()]}, "a")
    for _ in range(20):
        clock.advance(6)
        ask(router, "sync")
    assert len(provider.calls) == 21


@pytest.mark.parametrize("header", ["X-Ratelimit-{}-Requests", "x-ratelimit-{}-requests", "X-RateLimit-{}-Requests"])
def test_headers_are_read_however_they_are_spelt(header: str) -> None:
    from router_plugin.provider.limits import rate_windows

    parts = {"Limit": b"9", "Remaining": b"3", "Reset": b"1s"}
    raw = [(header.format(name).encode(), value) for name, value in parts.items()]
    assert [(w.limit, w.remaining) for w in rate_windows(raw, 0.0)] == [(9, 3)]
