"""A user's own litellm callbacks see every attempt once, under the model that served it, with its cost and usage."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import litellm
import pytest
from litellm.litellm_core_utils.litellm_logging import Logging
from plugin_modes import (
    ASYNC,
    ASYNC_STREAM,
    LOGGING,
    MESSAGES,
    PROMPT_TOKENS,
    REPLIES,
    SYNC,
    SYNC_STREAM,
    Event,
    Events,
    Heard,
    Mode,
    call,
    complete,
    cost,
    deployment,
    event_of,
    four_modes,
    make_router,
)

from router_plugin import Deployment, Router, RouteResult, install
from router_plugin.testing.loopback import (
    CutStream,
    EmptyStream,
    Fault,
    LoopbackProvider,
    MalformedEvent,
    NoFinishReason,
    RateLimited,
    RawBody,
    Status,
    StreamError,
)


def answered(events: list[Event], model: str, heard: Heard) -> Event:
    """There is one success, of this model, with the cost and usage of the answer; returns it."""
    (event,) = [event for event in events if event.kind == "success"]
    assert (event.model, event.provider) == (model, "openai")
    assert event.tokens == (PROMPT_TOKENS, len(heard.text.split()))
    assert event.cost == pytest.approx(cost(model, heard))
    return event


def failed(events: list[Event]) -> list[str]:
    """The models of the failures, in the order they were reported."""
    return [event.model for event in events if event.kind == "failure"]


# --------------------------------------------------------------------------- completion


@four_modes
async def test_an_answered_call_is_one_success(
    installed: Router, events: Events, p: LoopbackProvider, mode: Mode
) -> None:
    heard = await complete(mode)
    seen = await events.settled()
    answered(seen, "big", heard)
    assert failed(seen) == []


@four_modes
async def test_a_fallback_is_a_failure_and_a_success(
    installed: Router, events: Events, p: LoopbackProvider, mode: Mode
) -> None:
    p.script("big", [RateLimited()])
    heard = await complete(mode)
    seen = await events.settled()
    answered(seen, "small", heard)
    assert failed(seen) == ["big"]


@four_modes
async def test_a_retry_is_a_failure_and_a_success_of_one_model(
    installed: Router, events: Events, p: LoopbackProvider, mode: Mode
) -> None:
    p.script("big", [Status(500)])
    heard = await complete(mode)
    seen = await events.settled()
    assert [attempt.outcome for attempt in heard.result.attempts] == ["failed", "answered"]
    answered(seen, "big", heard)
    assert failed(seen) == ["big"]


@four_modes
async def test_a_call_that_fails_everywhere_is_a_failure_for_each_attempt(
    installed: Router, events: Events, p: LoopbackProvider, mode: Mode
) -> None:
    p.always("big", Status(401))
    p.always("small", Status(401))
    with pytest.raises(litellm.AuthenticationError):
        await complete(mode)
    seen = await events.settled()
    assert sorted(failed(seen)) == ["big", "small"]
    assert len(seen) == 2


BEFORE_THE_FIRST_TOKEN: dict[str, Fault] = {
    "refused": Status(503),
    "error event": StreamError(0),
    "cut": CutStream(0),
    "reset": CutStream(0, "rst"),
    "malformed": MalformedEvent(0),
    "empty": EmptyStream(),
    "ended": CutStream(0, "end"),
}


@pytest.mark.parametrize("mode", [SYNC_STREAM, ASYNC_STREAM], ids=str)
@pytest.mark.parametrize("fault", BEFORE_THE_FIRST_TOKEN)
async def test_a_stream_that_moves_on_before_its_first_token_is_a_failure_and_a_success(
    installed: Router, events: Events, p: LoopbackProvider, mode: Mode, fault: str
) -> None:
    p.script("big", [BEFORE_THE_FIRST_TOKEN[fault]] * 2)
    heard = await complete(mode)
    seen = await events.settled()
    assert heard.text == REPLIES["small"]
    answered(seen, "small", heard)
    failures = [attempt for attempt in heard.result.attempts if attempt.outcome == "failed"]
    assert failed(seen) == ["big"] * len(failures)


@pytest.mark.parametrize("mode", [SYNC, ASYNC], ids=str)
@pytest.mark.parametrize("body", [b'{"choices": []}', b"null", b"<html>busy</html>", b'{"error": {"message": "no"}}'])
async def test_an_answer_that_is_none_is_a_failure_and_not_a_success(
    installed: Router, events: Events, p: LoopbackProvider, mode: Mode, body: bytes
) -> None:
    p.script("big", [RawBody(200, body)] * 2)
    heard = await complete(mode)
    seen = await events.settled()
    assert heard.text == REPLIES["small"]
    answered(seen, "small", heard)
    failures = [attempt for attempt in heard.result.attempts if attempt.outcome == "failed"]
    assert failed(seen) == ["big"] * len(failures)


@pytest.mark.parametrize("mode", [SYNC_STREAM, ASYNC_STREAM], ids=str)
async def test_a_buffered_stream_without_a_finish_reason_is_a_failure_and_not_a_success(
    installed: Router, events: Events, p: LoopbackProvider, mode: Mode
) -> None:
    """litellm itself makes up a "stop"."""
    p.script("big", [NoFinishReason()])
    heard = await complete(mode, routing={"buffer": True})
    seen = await events.settled()
    assert heard.text == REPLIES["small"]
    answered(seen, "small", heard)
    assert failed(seen) == ["big"]


@pytest.mark.parametrize("mode", [SYNC_STREAM, ASYNC_STREAM], ids=str)
async def test_a_stream_that_breaks_and_restarts_is_a_failure_and_a_success(
    installed: Router, events: Events, p: LoopbackProvider, mode: Mode
) -> None:
    p.script("big", [CutStream(2)])
    heard = await complete(mode, routing={"midstream": "restart"})
    seen = await events.settled()
    (event,) = [event for event in seen if event.kind == "success"]
    assert event.model == "small"
    assert event.tokens == (PROMPT_TOKENS, len(REPLIES["small"].split()))
    assert failed(seen) == ["big"]
    assert [attempt.outcome for attempt in heard.result.attempts] == ["failed", "answered"]


@four_modes
async def test_an_event_says_what_a_plain_call_would_say(
    installed: Router, events: Events, p: LoopbackProvider, mode: Mode
) -> None:
    """The kind of call, its messages, its stream flag, the user and his metadata."""
    asked = {"user": "ann", "metadata": {"trace": "t1"}, "temperature": 0.5}
    heard = await complete(mode, **asked)
    (event,) = await events.settled()
    kwargs = event.kwargs
    assert kwargs["call_type"] == ("acompletion" if mode.asynchronous else "completion")
    assert bool(kwargs["stream"]) == mode.stream
    assert kwargs["messages"] == MESSAGES
    assert kwargs["user"] == "ann"
    assert kwargs["litellm_params"]["metadata"]["trace"] == "t1"
    assert kwargs["standard_logging_object"]["status"] == "success"
    assert kwargs["standard_logging_object"]["response_cost"] == pytest.approx(cost("big", heard))


@four_modes
async def test_a_call_of_the_router_itself_is_one_success(
    router: Router, events: Events, p: LoopbackProvider, mode: Mode
) -> None:
    p.script("big", [Status(401)])
    heard = await call(mode, router.completion, router.acompletion, messages=MESSAGES)
    seen = await events.settled()
    answered(seen, "small", heard)
    assert failed(seen) == ["big"]


@pytest.mark.parametrize("mode", [SYNC, ASYNC, SYNC_STREAM, ASYNC_STREAM], ids=str)
async def test_many_calls_are_as_many_successes(installed: Router, events: Events, mode: Mode) -> None:
    heard = await asyncio.gather(*(complete(mode, models=["small" if i % 2 else "big"]) for i in range(10)))
    seen = await events.settled()
    assert sorted(event.model for event in seen) == ["big"] * 5 + ["small"] * 5
    total = sum(one.result.cost_usd for one in heard)
    assert sum(event.cost or 0 for event in seen) == pytest.approx(total)


# --------------------------------------------------------------------------- functions in litellm's own lists


@four_modes
async def test_functions_in_success_and_failure_callback_see_the_same(
    installed: Router, p: LoopbackProvider, mode: Mode
) -> None:
    """Plain functions for sync calls, coroutine functions for async ones, as with litellm alone."""
    await LOGGING.ended()
    seen: list[Event] = []

    def success(kwargs: Any, answer: Any, start: Any, end: Any) -> None:
        seen.append(event_of("success", kwargs, answer))

    def failure(kwargs: Any, answer: Any, start: Any, end: Any) -> None:
        seen.append(event_of("failure", kwargs, answer))

    async def asuccess(kwargs: Any, answer: Any, start: Any, end: Any) -> None:
        success(kwargs, answer, start, end)

    async def afailure(kwargs: Any, answer: Any, start: Any, end: Any) -> None:
        failure(kwargs, answer, start, end)

    litellm.success_callback = [asuccess if mode.asynchronous else success]
    litellm.failure_callback = [afailure if mode.asynchronous else failure]
    p.script("big", [Status(401)])
    heard = await complete(mode)
    await LOGGING.ended()
    final = [event for event in seen if event.kind == "failure" or event.tokens is not None]  # no chunks
    answered(final, "small", heard)
    assert failed(final) == ["big"]


@four_modes
async def test_a_callback_that_raises_does_not_disturb_a_routed_call(installed: Router, mode: Mode) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    litellm.success_callback = [broken]
    litellm.failure_callback = [broken]
    assert (await complete(mode)).text == REPLIES["big"]
    await LOGGING.ended()


@four_modes
async def test_a_plain_call_is_reported_as_ever_while_a_router_is_installed(
    installed: Router, events: Events, p: LoopbackProvider, mode: Mode
) -> None:
    heard = await complete(mode, "openai/gpt-4o-mini", api_base=p.openai_base, api_key="k", max_retries=0)
    (event,) = await events.settled()
    assert (event.kind, event.model) == ("success", "gpt-4o-mini")
    assert RouteResult.of(heard.answer) is None


# --------------------------------------------------------------------------- bridges and layers


BRIDGES: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = {
    "text_completion": (litellm.text_completion, litellm.atext_completion, {"prompt": MESSAGES[0]["content"]}),
    "responses": (litellm.responses, litellm.aresponses, {"input": MESSAGES[0]["content"]}),
}
bridges = pytest.mark.parametrize("bridge", BRIDGES)


async def through(bridge: str, mode: Mode, **more: Any) -> Heard:
    sync, asynchronous, kwargs = BRIDGES[bridge]
    return await call(mode, sync, asynchronous, model="router/support", **{**kwargs, **more})


@bridges
@four_modes
async def test_an_answered_bridged_call_is_one_success(
    installed: Router, events: Events, mode: Mode, bridge: str
) -> None:
    heard = await through(bridge, mode)
    seen = await events.settled()
    answered(seen, "big", heard)
    assert failed(seen) == []


@bridges
@pytest.mark.parametrize("mode", [SYNC, SYNC_STREAM], ids=str)
async def test_a_bridged_call_is_one_success_even_if_its_two_reports_run_at_once(
    installed: Router, events: Events, monkeypatch: pytest.MonkeyPatch, mode: Mode, bridge: str
) -> None:
    """litellm reports it as a completion and as what was bridged, in two threads that look for each other first."""
    look = Logging.should_run_logging
    both = threading.Barrier(2)

    def slow_look(self: Any, event_type: Any, stream: bool = False) -> bool:
        found = bool(look(self, event_type, stream))
        if event_type == "sync_success" and found and not stream:
            try:
                both.wait(0.3)
            except threading.BrokenBarrierError:
                pass  # alone, as it should be
        return found

    monkeypatch.setattr(Logging, "should_run_logging", slow_look)
    heard = await through(bridge, mode)
    answered(await events.settled(), "big", heard)


@bridges
@four_modes
async def test_a_fallback_of_a_bridged_call_is_a_failure_and_a_success(
    installed: Router, events: Events, p: LoopbackProvider, mode: Mode, bridge: str
) -> None:
    p.script("big", [Status(401)])
    heard = await through(bridge, mode)
    seen = await events.settled()
    answered(seen, "small", heard)
    assert failed(seen) == ["big"]


@bridges
@four_modes
async def test_a_retry_of_a_bridged_call_is_a_failure_and_a_success(
    installed: Router, events: Events, p: LoopbackProvider, mode: Mode, bridge: str
) -> None:
    p.script("big", [Status(500)])
    heard = await through(bridge, mode)
    seen = await events.settled()
    answered(seen, "big", heard)
    assert failed(seen) == ["big"]


@bridges
@four_modes
async def test_a_bridged_call_that_fails_everywhere_is_a_failure_for_each_attempt(
    installed: Router, events: Events, p: LoopbackProvider, mode: Mode, bridge: str
) -> None:
    p.always("big", Status(401))
    p.always("small", Status(401))
    with pytest.raises(litellm.AuthenticationError):
        await through(bridge, mode)
    seen = await events.settled()
    assert sorted(failed(seen)) == ["big", "small"]
    assert len(seen) == 2


async def test_batch_completion_is_one_success_for_each_conversation(installed: Router, events: Events) -> None:
    await call(SYNC, litellm.batch_completion, None, model="router/support", messages=[MESSAGES] * 3)
    seen = await events.settled()
    assert [(event.kind, event.model) for event in seen] == [("success", "big")] * 3


@four_modes
async def test_an_entry_of_litellms_router_is_one_success(
    installed: Router, events: Events, p: LoopbackProvider, mode: Mode
) -> None:
    p.script("big", [Status(401)])
    front = litellm.Router(
        model_list=[{"model_name": "front", "litellm_params": {"model": "router/support"}}], num_retries=0
    )
    heard = await call(mode, front.completion, front.acompletion, model="front", messages=MESSAGES)
    seen = await events.settled()
    answered(seen, "small", heard)
    assert failed(seen) == ["big"]


@pytest.mark.parametrize("mode", [SYNC, ASYNC], ids=str)
async def test_a_router_behind_litellms_fallbacks_is_one_success(
    installed: Router, events: Events, p: LoopbackProvider, mode: Mode
) -> None:
    p.always("broken", Status(401))
    endpoint = {"api_base": p.openai_base, "api_key": "k", "max_retries": 0}
    heard = await complete(mode, "openai/broken", fallbacks=["router/support"], **endpoint)
    seen = await events.settled()
    answered(seen, "big", heard)
    assert failed(seen) == ["broken"]


# --------------------------------------------------------------------------- prices that a deployment declares

KNOWN = "openai/gpt-4o-mini"  # in litellm's price map


def plain_cost(heard: Heard) -> float:
    """What litellm's price map says an answer of KNOWN costs."""
    entry = litellm.model_cost["gpt-4o-mini"]
    tokens = len(heard.text.split())
    return float(PROMPT_TOKENS * entry["input_cost_per_token"] + tokens * entry["output_cost_per_token"])


async def plain(mode: Mode, p: LoopbackProvider, events: Events) -> float | None:
    """The cost litellm reports of a plain call of KNOWN."""
    before = len(await events.settled())
    asked = {"stream_options": {"include_usage": True}} if mode.stream else {}
    await complete(mode, KNOWN, api_base=p.openai_base, api_key="k", max_retries=0, **asked)
    return (await events.settled())[before].cost


@four_modes
async def test_a_deployments_own_prices_do_not_leak_into_plain_calls_of_its_model(
    p: LoopbackProvider, events: Events, mode: Mode
) -> None:
    dear = deployment(p, "gpt-4o-mini", quality=0.9, input_cost_per_token=1e-3, output_cost_per_token=2e-3)
    entry = dict(litellm.model_cost["gpt-4o-mini"])
    before = await plain(mode, p, events)
    with install(Router("support", models=[dear])):
        heard = await complete(mode)
        own = (await events.settled())[-1]
        during = await plain(mode, p, events)
        info = litellm.get_model_info(KNOWN)
    after = await plain(mode, p, events)
    assert own.cost == pytest.approx(PROMPT_TOKENS * 1e-3 + len(heard.text.split()) * 2e-3)
    assert own.cost == pytest.approx(heard.result.cost_usd)
    assert before == during == after == pytest.approx(plain_cost(heard))
    assert info["input_cost_per_token"] == entry["input_cost_per_token"]
    assert litellm.model_cost["gpt-4o-mini"] == entry


async def test_two_deployments_of_one_model_are_billed_each_at_its_own_price(
    p: LoopbackProvider, events: Events
) -> None:
    models = [
        deployment(p, "gpt-4o-mini", name="dear", input_cost_per_token=1e-3, output_cost_per_token=1e-3),
        deployment(p, "gpt-4o-mini", name="cheap", input_cost_per_token=1e-6, output_cost_per_token=1e-6),
        deployment(p, "gpt-4o-mini", name="listed"),
    ]
    with install(Router("support", models=models)):
        for mode in (SYNC, ASYNC, SYNC_STREAM, ASYNC_STREAM):
            heard = {d.name: await complete(mode, models=[d.name]) for d in models}
            tokens = PROMPT_TOKENS + len(heard["dear"].text.split())
            want = [tokens * 1e-3, tokens * 1e-6, plain_cost(heard["listed"])]
            assert [heard[name].result.cost_usd for name in heard] == pytest.approx(want)
            assert sorted(event.cost or 0.0 for event in (await events.settled())[-3:]) == pytest.approx(sorted(want))


@four_modes
async def test_one_declared_price_leaves_the_other_to_the_price_map(
    p: LoopbackProvider, events: Events, mode: Mode
) -> None:
    with install(Router("support", models=[deployment(p, "gpt-4o-mini", output_cost_per_token=5e-3)])):
        heard = await complete(mode)
        (event,) = await events.settled()
    listed = litellm.model_cost["gpt-4o-mini"]["input_cost_per_token"]
    want = PROMPT_TOKENS * listed + len(heard.text.split()) * 5e-3
    assert event.cost == pytest.approx(want)
    assert heard.result.cost_usd == pytest.approx(want)


@four_modes
async def test_a_deployment_that_is_free_costs_nothing_in_callbacks(
    p: LoopbackProvider, events: Events, mode: Mode
) -> None:
    free = deployment(p, "gpt-4o-mini", input_cost_per_token=0, output_cost_per_token=0)
    with install(Router("support", models=[free])):
        heard = await complete(mode)
        (event,) = await events.settled()
    assert event.cost == 0.0
    assert heard.result.cost_usd == 0.0


@four_modes
async def test_declared_prices_come_through_a_bridge(p: LoopbackProvider, events: Events, mode: Mode) -> None:
    dear = deployment(p, "gpt-4o-mini", input_cost_per_token=1e-3, output_cost_per_token=2e-3)
    with install(Router("support", models=[dear])):
        heard = [await through(bridge, mode) for bridge in BRIDGES]
        seen = await events.settled()
    want = [PROMPT_TOKENS * 1e-3 + len(one.text.split()) * 2e-3 for one in heard]
    assert [event.cost for event in seen] == pytest.approx(want)
    assert [one.result.cost_usd for one in heard] == pytest.approx(want)


@four_modes
async def test_an_anthropic_deployment_is_billed_at_its_own_price(
    p: LoopbackProvider, events: Events, mode: Mode
) -> None:
    with install(make_router(p, "support", ["claude-x"])):
        heard = await complete(mode)
        (event,) = await events.settled()
    assert (event.model, event.provider) == ("claude-x", "anthropic")
    assert event.cost == pytest.approx(cost("claude-x", heard))
    assert heard.result.cost_usd == pytest.approx(cost("claude-x", heard))


@four_modes
async def test_a_deployment_without_prices_costs_what_litellm_says(
    p: LoopbackProvider, events: Events, mode: Mode
) -> None:
    listed = Deployment(KNOWN, api_base=p.openai_base, api_key="k")
    with install(Router("support", models=[listed])):
        heard = await complete(mode)
    (event,) = await events.settled()
    assert event.cost == pytest.approx(plain_cost(heard))
    assert heard.result.cost_usd == pytest.approx(plain_cost(heard))


@four_modes
@pytest.mark.parametrize("price", [1e-3, 0.0])
async def test_callbacks_that_run_after_the_uninstall_get_the_declared_price(
    p: LoopbackProvider, events: Events, mode: Mode, price: float
) -> None:
    """litellm reports late, in threads and from a queue."""
    own = deployment(p, "gpt-4o-mini", input_cost_per_token=price, output_cost_per_token=price)
    with install(Router("support", models=[own])):
        heard = await complete(mode)
    (event,) = await events.settled()
    assert event.cost == pytest.approx((PROMPT_TOKENS + len(heard.text.split())) * price)


@four_modes
async def test_the_price_of_a_call_in_flight_outlives_the_uninstall(
    p: LoopbackProvider, events: Events, mode: Mode
) -> None:
    opened = threading.Event()

    def reply(body: Any) -> str:
        assert opened.wait(10)
        return REPLIES["big"]

    p.model("big", reply)
    installation = install(make_router(p))
    task = asyncio.create_task(complete(mode))
    assert await asyncio.to_thread(p.wait_until, lambda: p.in_flight == 1)
    installation.uninstall()
    opened.set()
    heard = await task
    (event,) = await events.settled()
    assert event.cost == pytest.approx(cost("big", heard))
    assert heard.result.cost_usd == pytest.approx(cost("big", heard))


async def test_calls_of_a_router_that_is_not_installed_are_billed_right_side_by_side(
    p: LoopbackProvider, events: Events
) -> None:
    """Each call brings its price to litellm and takes it away again, while others still need it."""
    router = Router(
        "support", models=[deployment(p, "gpt-4o-mini", input_cost_per_token=1e-3, output_cost_per_token=2e-3)]
    )
    functions = (router.completion, router.acompletion)
    heard = [
        one
        for mode in (SYNC, ASYNC, SYNC_STREAM, ASYNC_STREAM)
        for one in await asyncio.gather(*(call(mode, *functions, messages=MESSAGES) for _ in range(5)))
    ]
    want = PROMPT_TOKENS * 1e-3 + len(heard[0].text.split()) * 2e-3
    assert [one.result.cost_usd for one in heard] == pytest.approx([want] * 20)
    assert [event.cost for event in await events.settled()] == pytest.approx([want] * 20)
    assert not [name for name in litellm.model_cost if name.startswith("router_plugin")]
