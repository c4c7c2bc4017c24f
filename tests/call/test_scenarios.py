"""Call scenarios, each in four modes: attempts made, money settled, nothing left reserved, one record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from router_plugin import (
    Budget,
    BudgetExceededError,
    DeadlineExceededError,
    Deployment,
    NoCandidateError,
    Router,
    RouteResult,
    SpecError,
    StreamInterruptedError,
)
from router_plugin.testing import FakeClock, Reply, ScriptedProvider

MODES = ["sync", "async", "sync stream", "async stream"]
MESSAGES = [{"role": "user", "content": "hello"}]
PRICE = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "max_output_tokens": 1000}


class ProviderError(Exception):
    """A provider's error as litellm's and the SDKs' look: the class name and the status tell what it is."""

    def __init__(self, message: str = "boom", status_code: int | None = None, headers: dict[str, str] | None = None):
        super().__init__(message)
        self.status_code = status_code
        self.litellm_response_headers = headers or {}


def kind(name: str, **fields: Any) -> ProviderError:
    return type(name, (ProviderError,), {})(**fields)


class World:
    """A router over scripted deployments a, b, c, in virtual time."""

    def __init__(self, script: dict[str, Iterable[Any]], names: str = "abc", **options: Any) -> None:
        self.clock = FakeClock()
        self.provider = ScriptedProvider(self.clock, {f"test/{name}": replies for name, replies in script.items()})
        quality = {"a": 0.9, "b": 0.8, "c": 0.7}
        models = [Deployment(f"test/{n}", name=n, quality=quality[n], **PRICE) for n in names]
        options.setdefault("budgets", [Budget(1, key="user"), Budget(5)])
        self.router = Router("w", models, clock=self.clock, provider=self.provider, seed=1, **options)

    def call(self, mode: str, **kwargs: Any) -> tuple[str, Any]:
        """(text, answer or stream) of one call in a mode."""
        kwargs = {"messages": MESSAGES, "user": "ann", **kwargs}
        if mode == "sync":
            answer = self.router.completion(**kwargs)
            return answer["choices"][0]["message"]["content"], answer
        if mode == "async":
            answer = asyncio.run(self.router.acompletion(**kwargs))
            return answer["choices"][0]["message"]["content"], answer
        if mode == "sync stream":
            stream = self.router.completion(stream=True, **kwargs)
            return "".join(_text(chunk) for chunk in stream), stream
        return asyncio.run(self._astream(kwargs))

    async def _astream(self, kwargs: dict[str, Any]) -> tuple[str, Any]:
        stream = await self.router.acompletion(stream=True, **kwargs)
        return "".join([_text(chunk) async for chunk in stream]), stream

    def names_called(self) -> list[str]:
        return [name for name, _ in self.provider.calls]

    def settled(self) -> float:
        rows = {row["name"]: row for row in self.router.budgets()}
        assert all(row["reserved_usd"] == 0 for row in rows.values()), "something is left reserved"
        assert all(seen["in_flight"] == 0 for seen in self.router.stats().values())
        return round(rows["total"]["settled_usd"], 9)


def _text(chunk: dict[str, Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])


OK = 10 * 1e-6 + 5 * 2e-6  # Reply()'s default usage at PRICE


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_best_answers_and_its_cost_is_settled(mode: str) -> None:
    world = World({})
    text, answer = world.call(mode)
    assert text == "ok"
    assert world.names_called() == ["a"]
    assert world.settled() == pytest.approx(OK)
    result = RouteResult.of(answer)
    assert result is not None
    assert (result.deployment, result.model, result.cost_usd) == ("a", "test/a", pytest.approx(OK))
    assert [attempt.outcome for attempt in result.attempts] == ["answered"]


def test_a_single_500_is_retried_once_on_the_same_deployment(mode: str) -> None:
    world = World({"a": [kind("InternalServerError", status_code=500), Reply("again")]})
    assert world.call(mode)[0] == "again"
    assert world.names_called() == ["a", "a"]
    assert world.settled() == pytest.approx(OK), "a 500 is not billed"


def test_a_second_500_moves_on(mode: str) -> None:
    world = World({"a": [kind("InternalServerError", status_code=500)]})
    world.call(mode)
    assert world.names_called() == ["a", "a", "b"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("RateLimitError", 429),
        ("ServiceUnavailableError", 503),
        ("InternalServerError", 529),
        ("ConflictError", 409),
        ("Timeout", 408),
        ("AuthenticationError", 401),
        ("PermissionDeniedError", 403),
        ("NotFoundError", 404),
        ("PaymentRequired", 402),
        ("UnsupportedParamsError", 400),
    ],
)
def test_failures_that_move_on_at_once(mode: str, error: str, status: int) -> None:
    world = World({"a": [kind(error, status_code=status)]})
    text, answer = world.call(mode)
    assert text == "ok"
    assert world.names_called() == ["a", "b"]
    result = RouteResult.of(answer)
    assert result is not None
    assert [attempt.outcome for attempt in result.attempts] == ["failed", "answered"]
    world.settled()


@pytest.mark.parametrize("error", ["BadRequestError", "ContentPolicyViolationError"])
def test_failures_that_are_raised_at_once(mode: str, error: str) -> None:
    broken = kind(error, status_code=400)
    world = World({"a": [broken]})
    with pytest.raises(ProviderError) as caught:
        world.call(mode)
    assert caught.value is broken
    assert world.names_called() == ["a"]
    result = RouteResult.of(caught.value)
    assert result is not None
    assert result.attempts[0].outcome == "failed"
    assert world.settled() == 0


def test_content_policy_moves_on_where_asked(mode: str) -> None:
    world = World({"a": [kind("ContentPolicyViolationError", status_code=400)]})
    world.call(mode, routing={"content_policy_fallback": True})
    assert world.names_called() == ["a", "b"]


def test_a_full_window_goes_only_to_a_larger_one(mode: str) -> None:
    world = World({"a": [kind("ContextWindowExceededError", status_code=400)]})
    with pytest.raises(ProviderError):
        world.call(mode)
    assert world.names_called() == ["a"], "b and c have the same window"


def test_when_all_fail_the_last_error_is_raised_as_itself_with_notes(mode: str) -> None:
    last = kind("RateLimitError", status_code=429)
    world = World(
        {"a": [kind("Timeout", status_code=408)], "b": [kind("AuthenticationError", status_code=401)], "c": [last]}
    )
    with pytest.raises(ProviderError) as caught:
        world.call(mode, routing={"patience_s": 0, "max_attempts": 3})
    assert caught.value is last
    assert "a: timeout" in caught.value.__notes__[0]
    assert "b: credential" in caught.value.__notes__[0]
    result = RouteResult.of(caught.value)
    assert result is not None
    assert len(result.attempts) == 3
    assert world.settled() > 0, "a time-out may have been billed: its input is settled"


def test_attempts_are_capped(mode: str) -> None:
    world = World({name: [kind("InternalServerError", status_code=500)] for name in "abc"})
    with pytest.raises(ProviderError):
        world.call(mode, routing={"max_attempts": 3})
    assert world.names_called() == ["a", "a", "b"]


def test_a_limited_deployment_is_waited_for_when_nothing_else_is_left(mode: str) -> None:
    limited = kind("RateLimitError", status_code=429, headers={"retry-after": "2"})
    world = World({"a": [limited, Reply("late")]}, names="a")
    assert world.call(mode)[0] == "late"
    assert world.clock.slept == [2.0]


def test_but_not_beyond_patience(mode: str) -> None:
    limited = kind("RateLimitError", status_code=429, headers={"retry-after": "9"})
    world = World({"a": [limited, Reply("late")]}, names="a")
    with pytest.raises(ProviderError):
        world.call(mode)
    assert world.clock.slept == []


def test_on_rate_limit_wait_waits_though_others_are_there(mode: str) -> None:
    limited = kind("RateLimitError", status_code=429, headers={"retry-after": "1"})
    world = World({"a": [limited, Reply("late")]})
    assert world.call(mode, routing={"on_rate_limit": "wait"})[0] == "late"
    assert world.names_called() == ["a", "a"]


def test_a_slow_attempt_is_cut_at_its_time_and_the_next_one_gets_the_rest(mode: str) -> None:
    world = World({"a": [Reply(latency_s=100)]})
    started = world.clock.monotonic()
    world.call(mode, timeout=9)
    assert world.names_called() == ["a", "b"]
    assert world.clock.monotonic() - started == pytest.approx(3), "an even share of what remains"


def test_the_deadline_covers_everything(mode: str) -> None:
    world = World({name: [Reply(latency_s=100)] for name in "abc"})
    started = world.clock.monotonic()
    with pytest.raises(TimeoutError):
        world.call(mode, timeout=6)
    assert world.clock.monotonic() - started <= 6.0001


def test_a_cooling_deployment_is_passed_over(mode: str) -> None:
    world = World({"a": [kind("RateLimitError", status_code=429, headers={"retry-after": "30"}), Reply()]})
    world.call(mode)
    world.call(mode)
    assert world.names_called() == ["a", "b", "b"]
    world.clock.advance(31)
    world.call(mode)
    assert world.names_called()[-1] == "a"


def test_a_spent_budget_refuses_and_says_which(mode: str) -> None:
    world = World({}, budgets=[Budget(0.00004, key="user", name="per user"), Budget(5)])
    world.call(mode, max_tokens=5)
    with pytest.raises(BudgetExceededError) as caught:
        world.call(mode, max_tokens=5)
    assert caught.value.budget == "per user"
    assert caught.value.key == "ann"
    assert "left $" in caught.value.rejected["a"]
    assert caught.value.spent_usd == pytest.approx(OK)
    world.call(mode, max_tokens=5, user="bob")


def test_a_tight_budget_caps_the_output(mode: str) -> None:
    world = World({}, budgets=[Budget(0.001), Budget(5, name="other")])
    _, answer = world.call(mode)
    result = RouteResult.of(answer)
    assert result is not None
    assert 256 <= (result.output_cap or 0) < 500
    assert world.provider.calls[0][1]["output_cap"] == result.output_cap


def test_failed_attempts_that_may_be_billed_count_against_max_cost(mode: str) -> None:
    world = World({"a": [Reply(latency_s=100)]}, budgets=[Budget(5)])
    _, answer = world.call(mode, timeout=9, max_cost=0.00006, max_tokens=10)
    result = RouteResult.of(answer)
    assert result is not None
    assert result.cost_usd <= 0.00006
    assert result.attempts[0].cost_usd > 0


def test_nothing_may_take_it_names_every_model_and_reason(mode: str) -> None:
    world = World({})
    with pytest.raises(NoCandidateError) as caught:
        world.call(mode, max_cost=1e-9)
    assert set(caught.value.rejected) == {"a", "b", "c"}
    assert world.provider.calls == []


def test_an_impossible_deadline_is_ours_to_raise(mode: str) -> None:
    world = World({})
    world.router._clock = world.clock
    call = world.router.prepare(None, {"messages": MESSAGES, "timeout": 1})
    world.clock.advance(2)
    from router_plugin.call.drivers import run
    from router_plugin.call.plan import plan

    with pytest.raises(DeadlineExceededError):
        run(plan(call), world.provider, world.clock)


def test_fallback_on_takes_types_and_functions_of_the_exception(mode: str) -> None:
    world = World({"a": [kind("BadRequestError", status_code=400)]}, fallback_on=[lambda e: "boom" in str(e)])
    world.call(mode)
    assert world.names_called() == ["a", "b"]
    world = World({"a": [kind("BadRequestError", status_code=400)]}, fallback_on=ProviderError)
    world.call(mode)
    assert world.names_called() == ["a", "b"]


def test_usage_that_is_missing_is_estimated_and_settled(mode: str) -> None:
    world = World({"a": [Reply("four words of text", usage=False)]})
    world.call(mode)
    assert 0 < world.settled() < 0.001


class TestStreams:
    """What happens after the first content has been handed over."""

    @pytest.fixture(params=["sync stream", "async stream"])
    def mode(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def broken(self, after: int = 2, **options: Any) -> World:
        reply = Reply("one two three four", error=ConnectionError("cut"), break_after=after)
        return World({"a": [reply], "b": [Reply("five six")]}, **options)

    def test_a_break_before_the_first_content_falls_back(self, mode: str) -> None:
        world = self.broken(after=0)
        assert world.call(mode)[0] == "one two three four" or world.names_called()[-1] == "b"
        assert world.names_called() == ["a", "a", "b"]

    def test_raise_carries_the_partial_text(self, mode: str) -> None:
        world = self.broken()
        with pytest.raises(StreamInterruptedError) as caught:
            world.call(mode)
        assert caught.value.partial_text == "one two"
        assert isinstance(caught.value.__cause__, ConnectionError)
        assert RouteResult.of(caught.value) is not None
        assert world.settled() > 0, "what was received is settled"

    def test_restart_marks_the_point_and_answers_from_the_beginning(self, mode: str) -> None:
        world = self.broken(midstream="restart")
        chunks = []

        async def collect() -> None:
            stream = await world.router.acompletion(messages=MESSAGES, stream=True)
            chunks.extend([chunk async for chunk in stream])

        if mode == "sync stream":
            chunks.extend(world.router.completion(messages=MESSAGES, stream=True))
        else:
            asyncio.run(collect())
        events = [index for index, chunk in enumerate(chunks) if chunk.get("router_event") == "restart"]
        assert len(events) == 1
        assert chunks[events[0]]["choices"] == []
        assert "".join(_text(chunk) for chunk in chunks[events[0] :]) == "five six"
        world.settled()

    def test_a_stream_closed_early_settles_what_was_received(self, mode: str) -> None:
        world = World({"a": [Reply("one two three four five six", output_tokens=600)]})

        async def leave() -> None:
            stream = await world.router.acompletion(messages=MESSAGES, stream=True)
            await stream.__anext__()
            await stream.aclose()

        if mode == "sync stream":
            stream = world.router.completion(messages=MESSAGES, stream=True)
            next(stream)
            stream.close()
        else:
            asyncio.run(leave())
        assert 0 < world.settled() < 100 * 2e-6, "input and the words received, not the whole answer"

    def test_a_stream_dropped_before_its_first_next_settles_too(self, mode: str) -> None:
        world = World({})

        async def drop() -> None:
            await world.router.acompletion(messages=MESSAGES, stream=True)

        if mode == "sync stream":
            world.router.completion(messages=MESSAGES, stream=True)
        else:
            asyncio.run(drop())
        assert world.settled() > 0


def test_a_cancelled_call_holds_nothing() -> None:
    class Slow(ScriptedProvider):
        async def _aanswer(self, attempt: Any, reply: Reply, **kwargs: Any) -> Any:
            await asyncio.Event().wait()

    world = World({})
    world.router._home.provider = world.provider = Slow(world.clock)

    async def cancelled() -> None:
        task = asyncio.ensure_future(world.router.acompletion(messages=MESSAGES))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert world.settled() > 0, "it was sent: its input is settled"


def test_a_keyboard_interrupt_passes_and_holds_nothing() -> None:
    world = World({"a": [KeyboardInterrupt()]})
    with pytest.raises(KeyboardInterrupt):
        world.call("sync")
    world.settled()


def test_a_chain_goes_through_its_tags_in_order() -> None:
    world = World({"c": [kind("Timeout", status_code=408)]})
    world.call("sync", model="c->b")
    assert world.names_called() == ["c", "b"]


def test_bounds_of_several_layers_combine_to_the_tighter() -> None:
    world = World({}, max_cost=0.00001)
    with pytest.raises(NoCandidateError, match=r"limit \$0.000010"):
        world.call("sync", max_cost=1)


def test_a_misspelt_option_names_the_nearest() -> None:
    world = World({})
    with pytest.raises(SpecError, match="max_attempts"):
        world.call("sync", routing={"max_attemps": 2})


def test_the_estimate_learns_a_deployments_tokeniser_and_the_bound_does_not() -> None:
    world = World({"a": [Reply(input_tokens=200)]})
    long = [{"role": "user", "content": "word " * 80}]  # 100 tokens by our estimate
    before = world.router.route({"messages": long, "max_cost": 1})
    for _ in range(60):
        world.call("sync", messages=long)
    after = world.router.route({"messages": long, "max_cost": 1})
    assert (after.estimated_cost_usd or 0) > (before.estimated_cost_usd or 0) * 1.1


def test_route_decides_without_calling_anyone_and_dumps_to_json() -> None:
    import json

    world = World({})
    result = world.router.route({"prompt": "hi", "user": "ann"})
    assert world.provider.calls == []
    dumped = json.loads(result.model_dump_json())
    assert dumped["ranking"] == ["a", "b", "c"]
    assert dumped["selected_targets"] == [{"model_name": "a", "weight": 1.0}]
    assert dumped["attempts"] == []
    assert "1." in world.router.explain(result)


def test_a_budget_may_wait_for_the_reservations_of_others(mode: str) -> None:
    world = World({}, budgets=[Budget(0.00005, name="total", wait_s=1)])
    held = world.router._active().ledger.reserve((None,), 45_000)
    sleep = world.clock.sleep

    def release_then_sleep(seconds: float) -> None:
        world.router._active().ledger.end(held, 0)
        sleep(seconds)

    world.clock.sleep = release_then_sleep  # type: ignore[method-assign]
    assert world.call(mode, max_tokens=5)[0] == "ok"
    assert world.settled() == pytest.approx(OK)


def test_and_refuses_when_they_do_not_come_back_in_time(mode: str) -> None:
    world = World({}, budgets=[Budget(0.00005, name="total", wait_s=1)])
    world.router._active().ledger.reserve((None,), 45_000)
    started = world.clock.monotonic()
    with pytest.raises(BudgetExceededError, match="total"):
        world.call(mode, max_tokens=5)
    assert 1 <= world.clock.monotonic() - started < 1.1
    assert world.provider.calls == []


def test_a_pickled_record_holds_neither_keys_nor_prompts() -> None:
    import copy
    import pickle

    model = Deployment("test/a", name="a", api_key="sk-canary", **PRICE)
    clock = FakeClock()
    router = Router("w", [model], clock=clock, provider=ScriptedProvider(clock))
    result = router.route({"prompt": "canary words"})
    assert b"canary" not in pickle.dumps(result)
    assert pickle.loads(pickle.dumps(result))["ranking"] == ["a"]
    assert copy.deepcopy(result) is result
