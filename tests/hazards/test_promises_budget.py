"""hazards.md 1, "Budget": settled + reserved <= limit at every instant, over all scopes, under threads and tasks."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import litellm
import pytest
from stage import HI, MODES, PRICE, FakeClock, Says, ask, four_modes, go, nothing_held, router, scripted, spent

from router_plugin import Budget, BudgetExceededError, Deployment, NoCandidateError, Router
from router_plugin.errors import StreamInterruptedError
from router_plugin.testing.loopback import LoopbackProvider, RawBody, UsageOverride

# Every call may cost at most 10 in and 1,000 out: $0.002… of one dollar, so that about 490 of 1,000 fit at a time.
CAP = 1_000


@contextmanager
def watched(*routers: Router) -> Iterator[list[str]]:
    """Another thread looks at the budgets all the time; what it saw over a limit is in the list."""
    seen: list[str] = []
    over, looked = threading.Event(), threading.Event()

    def look() -> None:
        while not over.is_set():
            for r in routers:
                for account in r.budgets():
                    if account["settled_usd"] + account["reserved_usd"] > account["limit_usd"] + 1e-12:
                        seen.append(f"over the limit: {account}")
                    if account["reserved_usd"] < 0 or account["settled_usd"] < 0:
                        seen.append(f"negative: {account}")
            looked.set()

    thread = threading.Thread(target=look)
    thread.start()
    looked.wait()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def answer(out: int) -> dict[str, Any]:
    return {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": out},
    }


def chunk(text: str, finish: str | None = None, usage: Any = None) -> dict[str, Any]:
    made = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}
    return {**made, "usage": usage} if usage else made


def stream(out: int) -> Iterator[dict[str, Any]]:
    for _ in range(4):
        yield chunk("word ")
    yield chunk("", "stop", {"prompt_tokens": 10, "completion_tokens": out})


def stage_router(**more: Any) -> Router:
    budgets = more.pop("budgets", [Budget(usd=1, name="all"), Budget(usd=0.4, name="each", key="user")])
    models = [Deployment("openai/m", **PRICE), Deployment("openai/n", **PRICE)]
    return Router("r", models=models, budgets=budgets, **more)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_thousand_concurrent_calls_in_threads_against_one_dollar(seed: int) -> None:
    """Whole answers, failures of every sort, streams read to the end, closed, and dropped; 32 threads."""
    r = stage_router()
    draw = random.Random(seed)
    fates = [
        draw.choice(["whole", "fails", "late", "stream", "closed", "dropped", "unread", "bug"]) for _ in range(1_000)
    ]
    outs = [draw.randrange(CAP + 1) for _ in fates]

    def one(number: int) -> None:
        fate, out = fates[number], outs[number]

        @r.wrap
        def call(model: str, messages: Any, **kwargs: Any) -> Any:
            if fate == "fails":
                raise ConnectionError("reset")
            if fate == "late":
                raise TimeoutError("late")
            if fate == "bug":
                raise KeyError("in the caller's own function")
            return answer(out) if fate == "whole" else stream(out)

        try:
            got = call("router", HI, user=f"u{number % 5}", max_tokens=CAP)
        except (BudgetExceededError, ConnectionError, TimeoutError, KeyError):
            return
        if fate == "stream":
            list(got)
        elif fate == "closed":
            next(got)
            got.close()
        elif fate == "dropped":
            next(got)
            del got

    with watched(r) as seen, ThreadPoolExecutor(32) as pool:
        list(pool.map(one, range(1_000)))
    assert not seen, seen[:3]
    nothing_held(r)
    assert 0.1 < spent(r) <= 1


@pytest.mark.parametrize("seed", [1, 2])
def test_a_thousand_concurrent_calls_in_tasks_against_one_dollar(seed: int) -> None:
    """The same as tasks of one loop, with a third of them cancelled at some moment."""
    r = stage_router()
    draw = random.Random(seed)
    kinds = ["whole", "fails", "late", "stream", "closed", "dropped", "unread"]
    plans = [(draw.choice(kinds), draw.randrange(CAP + 1), draw.randrange(12)) for _ in range(1_000)]
    doomed = [draw.randrange(30) if draw.random() < 1 / 3 else None for _ in plans]

    async def one(number: int) -> None:
        fate, out, naps = plans[number]

        @r.wrap
        async def call(model: str, messages: Any, **kwargs: Any) -> Any:
            for _ in range(naps):
                await asyncio.sleep(0)
            if fate == "fails":
                raise ConnectionError("reset")
            if fate == "late":
                raise TimeoutError("late")
            return answer(out) if fate == "whole" else chunks()

        async def chunks() -> AsyncIterator[Any]:
            for piece in stream(out):
                await asyncio.sleep(0)
                yield piece

        try:
            got = await call("router", HI, user=f"u{number % 5}", max_tokens=CAP)
        except (BudgetExceededError, ConnectionError, TimeoutError):
            return
        if fate == "stream":
            async for _ in got:
                pass
        elif fate == "closed":
            await got.__anext__()
            await got.aclose()
        elif fate == "dropped":
            await got.__anext__()

    async def main() -> None:
        tasks = [asyncio.ensure_future(one(number)) for number in range(1_000)]
        for step in range(30):
            await asyncio.sleep(0)
            for task, when in zip(tasks, doomed, strict=True):
                if when == step:
                    task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        strange = [d for d in done if d is not None and not isinstance(d, asyncio.CancelledError)]
        assert not strange, strange[:3]

    with watched(r) as seen:
        asyncio.run(main())
    assert not seen, seen[:3]
    nothing_held(r)
    assert 0.1 < spent(r) <= 1


def test_threads_over_http_never_a_cent_over(p: LoopbackProvider) -> None:
    """Real bytes: 80 calls of 16 threads in all sync moods against a budget that about 30 of them use up."""
    p.model("m", "w " * 40)
    r = router(p, usd=0.003)

    def one(number: int) -> None:
        try:
            if number % 3 == 0:
                r.completion(messages=HI, max_tokens=50)
            else:
                got = r.completion(messages=HI, max_tokens=50, stream=True)
                if number % 3 == 1:
                    list(got)
                else:
                    next(got)
                    got.close()
        except BudgetExceededError:
            pass

    with watched(r) as seen, ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(80)))
    assert not seen, seen[:3]
    nothing_held(r)
    assert 0.001 < spent(r) <= 0.003


def test_tasks_over_http_never_a_cent_over(p: LoopbackProvider) -> None:
    """Real bytes: 60 tasks in both async moods, a third of them cancelled."""
    p.model("m", "w " * 40, itl_s=0.001)
    r = router(p, usd=0.003)

    async def one(number: int) -> None:
        try:
            if number % 2:
                await r.acompletion(messages=HI, max_tokens=50)
            else:
                async for _ in await r.acompletion(messages=HI, max_tokens=50, stream=True):
                    pass
        except BudgetExceededError:
            pass

    async def main() -> None:
        for _ in range(2):
            tasks = [asyncio.ensure_future(one(number)) for number in range(30)]
            await asyncio.sleep(0.01)
            for task in tasks[::3]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert not [d for d in done if isinstance(d, Exception)], done

    with watched(r) as seen:
        go(main())
    assert not seen, seen[:3]
    nothing_held(r)
    assert spent(r) <= 0.003


@four_modes
def test_a_refusal_is_immediate_and_names_budget_key_spend_limit_and_reset(mode: str) -> None:
    clock = FakeClock()
    r, provider = scripted(clock, budgets=[Budget(usd=1e-5, per="day", key="user", name="allowance")])
    error = ask(mode, r, user="ann", max_tokens=1_000).raises(BudgetExceededError)
    assert (error.budget, error.key, error.limit_usd) == ("allowance", "ann", 1e-5)
    assert error.resets_at
    assert clock.slept == []
    assert provider.calls == []
    nothing_held(r)


def test_a_settle_above_its_reservation_is_recorded_in_full_and_blocks_new_admissions() -> None:
    """A provider that bills more output than the cap it was given: dishonest, but what it bills is what is owed."""
    r, _ = scripted(FakeClock(), script={"m": [Says(input_tokens=10, output_tokens=700_000)]})
    ask("sync", r, max_tokens=10).answered()
    assert spent(r) == pytest.approx(1.40001)
    ask("sync", r, max_tokens=1).raises(BudgetExceededError)
    nothing_held(r)


@pytest.mark.parametrize("billed", [499_995, 700_000], ids=["to the cent", "overrun"])
def test_free_deployments_stay_usable_when_a_budget_is_spent(billed: int) -> None:
    free = Deployment("openai/free", input_cost_per_token=0, output_cost_per_token=0, quality=0.1)
    paid = Deployment("openai/paid", quality=0.9, **PRICE)
    script = {"openai/paid": [Says(input_tokens=10, output_tokens=billed)]}
    r, _ = scripted(FakeClock(), models=[paid, free], script=script)
    assert ask("sync", r, max_tokens=10).result.deployment == "openai/paid"
    assert ask("sync", r, max_tokens=10).result.deployment == "openai/free"
    nothing_held(r)


@four_modes
@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 0, "completion_tokens": 0}])
def test_an_estimate_is_never_settled_above_what_was_reserved_for_it(
    p: LoopbackProvider, mode: str, usage: Any
) -> None:
    """No usage in the answer: the router guesses from the text. A guess may not overspend a budget that an honest
    provider kept (here 20 tokens as it counts them: long words, many letters to a token)."""
    p.model("m", " ".join(["internationalisation" * 3] * 20))
    p.always("m", UsageOverride(usage))
    r = router(p, usd=5e-4)
    ask(mode, r, max_tokens=20).answered()
    nothing_held(r)
    reserved_at_most = (len(HI[0]["content"]) + 8 + 16) * 1e-6 + 20 * 2e-6
    assert spent(r) <= reserved_at_most + 1e-12


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
@pytest.mark.parametrize("caps", [(10, 300), (300, 10)])
def test_two_spellings_of_the_cap_reserve_for_the_one_the_provider_obeys(
    p: LoopbackProvider, wire: str, caps: tuple[int, int]
) -> None:
    """max_tokens and max_completion_tokens together: whichever litellm hands on, the budget holds."""
    p.model("m", "w " * 400)
    r = router(p, wire=wire, usd=3e-4)
    ask("sync", r, max_tokens=caps[0], max_completion_tokens=caps[1])
    nothing_held(r)
    assert spent(r) <= 3e-4


LETTERS = "x y z " * 2_000
MARK = {"type": "ephemeral"}
MARK_1H = {"type": "ephemeral", "ttl": "1h"}
WORST: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # (what, prices, request, what an honest provider may report for it)
    ("plain", {}, {}, {}),
    ("n=3", {}, {"n": 3}, {"completion_tokens": 300}),
    ("a cached discount above the price", {"cache_read_input_token_cost": 9e-6}, {}, {"read": True}),
    (
        "a cache mark on a message",
        {"cache_creation_input_token_cost": 9e-6},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": LETTERS, "cache_control": MARK}]}]},
        {"written": True},
    ),
    (
        "a cache mark on a tool",
        {"cache_creation_input_token_cost": 9e-6},
        {"tools": [{"type": "function", "function": {"name": "f", "description": LETTERS}, "cache_control": MARK}]},
        {"written": True},
    ),
]


@pytest.mark.parametrize(("prices", "asked", "billed"), [w[1:] for w in WORST], ids=[w[0] for w in WORST])
def test_honest_usage_never_settles_above_the_reservation(
    prices: dict[str, Any], asked: dict[str, Any], billed: dict[str, Any]
) -> None:
    """The dearest usage that an honest provider may report for a request costs no more than what was held for it."""
    r = Router("r", models=[Deployment("anthropic/m", **{**PRICE, **prices})], budgets=[Budget(usd=1)])
    held: list[float] = []

    @r.wrap
    def call(model: str, messages: Any, **kwargs: Any) -> Any:
        held.append(r.budgets()[0]["reserved_usd"])
        tokens = len(LETTERS) + 8  # one a letter: the most that any tokeniser makes of them
        tokens += len(json.dumps(kwargs["tools"])) if "tools" in kwargs else 0
        usage: dict[str, Any] = {"prompt_tokens": tokens, "completion_tokens": billed.get("completion_tokens", 100)}
        if billed.get("read"):
            usage["prompt_tokens_details"] = {"cached_tokens": tokens}
        if billed.get("written"):
            usage["cache_creation_input_tokens"] = tokens
        return {**answer(0), "usage": usage}

    call("router", **{"messages": [{"role": "user", "content": LETTERS}], "max_tokens": 100, **asked})
    assert spent(r) <= held[0] + 1e-12


KNOWN = ["anthropic/claude-sonnet-4-5", "anthropic/claude-haiku-5-5", "gemini/gemini-2.5-pro", "openai/gpt-4o-mini"]


@pytest.mark.parametrize("model", KNOWN)
@pytest.mark.parametrize("tokens", [1_000, 199_000, 250_000, 600_000])
def test_the_dearest_use_of_a_known_model_fits_its_bound(model: str, tokens: int) -> None:
    """Tiers above 200k, cache writes and reads of litellm's price map: litellm's own bill stays within our bound."""
    from litellm.types.utils import CacheCreationTokenDetails, PromptTokensDetailsWrapper, Usage

    entry = litellm.model_cost.get(model.split("/")[1])
    if entry is None or entry.get("max_input_tokens", 0) < tokens:
        pytest.skip("not in this litellm's price map, or beyond the window of this model")
    messages = [{"role": "user", "content": [{"type": "text", "text": "x" * tokens, "cache_control": MARK_1H}]}]
    r = Router("r", models=[model], budgets=[Budget(usd=1_000)])
    held: list[float] = []

    @r.wrap
    def call(model: str, messages: Any, **kwargs: Any) -> Any:
        held.append(r.budgets()[0]["reserved_usd"])
        return answer(1)

    call("router", messages, max_tokens=1_000)
    for written, read in ((0, 0), (tokens, 0), (0, tokens), (tokens // 2, tokens // 2)):
        usage = Usage(
            prompt_tokens=tokens,
            completion_tokens=1_000,
            total_tokens=tokens + 1_000,
            cache_creation_input_tokens=written,
            cache_read_input_tokens=read,
            prompt_tokens_details=PromptTokensDetailsWrapper(
                cached_tokens=read,
                cache_creation_tokens=written,
                cache_creation_token_details=CacheCreationTokenDetails(
                    ephemeral_5m_input_tokens=0, ephemeral_1h_input_tokens=written
                ),
            ),
        )
        bare, provider = litellm.get_llm_provider(model)[:2]
        cost = sum(litellm.cost_per_token(model=bare, custom_llm_provider=provider, usage_object=usage))
        assert cost <= held[0], f"{written} written, {read} read"


@pytest.mark.parametrize(
    "sneaky",
    [
        {"input_cost_per_token": 1e-15, "output_cost_per_token": 1e-15},
        {"base_model": "gpt-4o-mini"},
        {"model_info": {"id": "cheap", "input_cost_per_token": 1e-15, "output_cost_per_token": 1e-15}},
        {"metadata": {"model_info": {"id": "cheap", "input_cost_per_token": 1e-15, "output_cost_per_token": 1e-15}}},
    ],
    ids=["input_cost_per_token", "base_model", "model_info", "metadata.model_info"],
)
def test_a_request_cannot_set_the_prices_it_is_charged_at(
    p: LoopbackProvider, sneaky: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prices are enforced after everything else: a keyword of litellm's that lowers its cost figure does not lower
    what a budget is charged, nor what the next caller's request is thought to cost."""
    monkeypatch.setattr(litellm, "model_cost", dict(litellm.model_cost))
    p.model("gpt-4o", "w " * 100)
    r = Router(
        "r",
        models=[Deployment("openai/gpt-4o", api_base=p.openai_base, api_key="k", max_output_tokens=200)],
        budgets=[Budget(usd=1)],
    )
    before = r.route({"messages": HI}).estimated_cost_usd
    try:
        r.completion(messages=HI, max_tokens=150, **sneaky)
    except Exception:
        assert p.calls() == 0
    else:
        assert spent(r) == pytest.approx(11 * 2.5e-6 + 100 * 1e-5)
    nothing_held(r)
    assert r.route({"messages": HI}).estimated_cost_usd == before


SEARCHES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    (
        "openai",
        "gpt-4o-search-preview",
        {"web_search_options": {"search_context_size": "high"}},
        {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4o-search-preview",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {
                        "role": "assistant",
                        "content": "found",
                        "annotations": [
                            {
                                "type": "url_citation",
                                "url_citation": {"url": "http://a", "title": "a", "start_index": 0, "end_index": 1},
                            }
                        ],
                    },
                }
            ],
            "usage": {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11},
        },
    ),
    (
        "anthropic",
        "claude-sonnet-4-5",
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 5}]},
        {
            "id": "x",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": [{"type": "text", "text": "found"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 10, "output_tokens": 1, "server_tool_use": {"web_search_requests": 5}},
        },
    ),
]


@pytest.mark.parametrize(("wire", "model", "asked", "answered"), SEARCHES, ids=["openai", "anthropic"])
def test_what_a_web_search_costs_is_part_of_the_bound(
    p: LoopbackProvider, wire: str, model: str, asked: dict[str, Any], answered: dict[str, Any]
) -> None:
    """litellm's cost of an answer has the price of its searches in it (a cent each, or 3.5): the reservation must have
    them too, or the deployment is not used where it could overspend."""
    p.always(model, RawBody(json.dumps(answered).encode()))
    base = p.openai_base if wire == "openai" else p.url
    r = Router("r", models=[Deployment(f"{wire}/{model}", api_base=base, api_key="k")], budgets=[Budget(usd=0.02)])
    told = ask("sync", r, max_tokens=10, **asked)
    nothing_held(r)
    assert spent(r) <= 0.02, told.result.attempts


SEARCH_TOOL = {"type": "web_search_20250305", "name": "web_search"}


@pytest.mark.parametrize(
    ("model", "asked", "taken"),
    [
        ("anthropic/claude-sonnet-4-5", {"tools": [SEARCH_TOOL]}, False),
        ("anthropic/claude-sonnet-4-5", {"tools": [{**SEARCH_TOOL, "max_uses": 2}]}, True),
        ("anthropic/claude-sonnet-4-5", {"web_search_options": {}}, False),
        ("anthropic/claude-sonnet-4-5", {"web_search_options": {"search_context_size": "low"}}, True),
        ("openai/gpt-4o-search-preview", {"web_search_options": {}}, True),
        ("gemini/gemini-2.5-flash", {"tools": [{"googleSearch": {}}]}, True),
        ("openai/gpt-4o", {"tools": [{"type": "code_interpreter"}]}, False),
        ("anthropic/claude-sonnet-4-5", {"tools": [{"type": "code_execution_20250522"}]}, False),
    ],
)
def test_searches_that_nothing_bounds_are_not_made_with_money_at_stake(
    model: str, asked: dict[str, Any], taken: bool
) -> None:
    r = Router("r", models=[model], budgets=[Budget(usd=100)])
    if taken:
        assert r.route({"messages": HI, **asked}).deployment == model
    else:
        with pytest.raises(NoCandidateError, match="searches: nothing bounds"):
            r.route({"messages": HI, **asked})
    assert Router("r", models=[model]).route({"messages": HI, **asked}).deployment == model


@pytest.mark.parametrize("how", ["asked", "always", "declared"])
def test_a_stream_that_searched_settles_its_search(p: LoopbackProvider, how: str) -> None:
    """litellm says nothing of what a search cost in a stream."""
    model = "gpt-4o" if how == "declared" else "gpt-4o-search-preview"
    p.model(model, "found")
    more = {"search_cost_per_query": 0.5} if how == "declared" else {}
    made = Deployment(f"openai/{model}", api_base=p.openai_base, api_key="k", **more)
    r = Router("r", models=[made], budgets=[Budget(usd=1)])
    asked = {} if how == "always" else {"web_search_options": {"search_context_size": "low"}}
    ask("sync stream", r, max_tokens=10, **asked).answered()
    nothing_held(r)
    assert spent(r) > (0.5 if how == "declared" else 0.02)


@pytest.mark.parametrize("body", [{"n": 40}, {"max_tokens": 2_000, "max_completion_tokens": 2_000}])
def test_extra_body_cannot_widen_a_bound(p: LoopbackProvider, body: dict[str, Any]) -> None:
    """extra_body is laid over what litellm sends: what multiplies the cost there counts, or is refused."""
    p.model("m", "w " * 2_000)
    r = router(p, usd=1e-3)
    ask("sync", r, max_tokens=100, extra_body=body)
    nothing_held(r)
    assert spent(r) <= 1e-3


def test_the_tightest_of_several_budgets_is_named_with_the_figures_of_this_window() -> None:
    """A minute budget that was spent in an earlier minute is no reason to refuse anything now."""
    clock = FakeClock()
    budgets = [Budget(usd=0.5, per="minute", name="burst"), Budget(usd=0.9, per="day", name="daily")]
    r, _ = scripted(clock, budgets=budgets, script={"m": [Says(output_tokens=249_000)]})
    ask("sync", r, max_tokens=249_000).answered()
    clock.advance(120)
    error = ask("sync", r, max_tokens=249_000).raises(BudgetExceededError)
    assert error.budget == "daily", str(error)


def test_a_chain_of_routers_keeps_each_routers_own_bound() -> None:
    """ "router/a->router/b": falling over never widens what b may cost, whatever a still had left."""
    from router_plugin import install

    clock = FakeClock()
    _, provider = scripted(clock, script={"openai/m": [TimeoutError("late")]})
    wide = Router("a", models=[Deployment("openai/m", **PRICE)], max_cost=0.02, clock=clock, provider=provider)
    tight = Router("b", models=[Deployment("openai/b", **PRICE)], max_cost=0.005, clock=clock, provider=provider)
    with install(wide, tight):
        litellm.completion("router/a->router/b", HI)
    asked = dict(provider.calls)
    assert asked["openai/b"]["output_cap"] * 2e-6 <= 0.005


@four_modes
def test_a_stream_that_breaks_settles_what_was_received_and_falls_over_within_the_same_budget(mode: str) -> None:
    broken = Says("one two three four", break_after=2, error=ConnectionError("cut"))
    r, _ = scripted(FakeClock(), "m", "n", script={"m": [broken]}, midstream="restart", budgets=[Budget(usd=0.001)])
    with watched(r) as seen:
        told = ask(mode, r, max_tokens=100)
    assert not seen
    if mode.endswith("stream"):
        assert [a.outcome for a in told.result.attempts] == ["failed", "answered"], told.error
    nothing_held(r)
    assert 0 < spent(r) <= 0.001


def test_the_ledger_refuses_new_keys_at_its_cap_and_forgets_none() -> None:
    r, _ = scripted(FakeClock(), budgets=[Budget(usd=1, key="user", max_keys=3)])
    for user in ("a", "b", "c"):
        ask("sync", r, user=user, max_tokens=5).answered()
    error = ask("sync", r, user="d", max_tokens=5).raises(BudgetExceededError)
    ask("sync", r, user="a", max_tokens=5).answered()
    assert {account["key"] for account in r.budgets()} == {"a", "b", "c"}
    assert "d" in str(error)
    nothing_held(r)


def test_interrupted_streams_are_raised_as_such() -> None:
    broken = Says("one two three", break_after=1, error=ConnectionError("cut"))
    r, _ = scripted(FakeClock(), script={"m": [broken]})
    for mode in MODES[2:]:
        ask(mode, r, max_tokens=10).raises(StreamInterruptedError)
    nothing_held(r)
