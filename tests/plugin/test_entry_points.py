"""Every way into litellm that can name a router is routed, sync, async and streamed, and its answer has a record."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import litellm
import litellm.main
import pytest
from litellm import acompletion as early_acompletion
from litellm import completion as early_completion
from litellm.main import acompletion as early_main_acompletion
from litellm.main import completion as early_main_completion
from plugin_modes import (
    ASYNC,
    ASYNC_STREAM,
    MESSAGES,
    REPLIES,
    SYNC,
    SYNC_STREAM,
    Heard,
    Mode,
    call,
    complete,
    deployment,
    four_modes,
    make_router,
)

from router_plugin import NoCandidateError, Router, RouteResult, SpecError, install
from router_plugin.testing.loopback import LoopbackProvider, Status

# Bound when this module was imported, before any install.
EARLY: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "litellm": (early_completion, early_acompletion),
    "litellm.main": (early_main_completion, early_main_acompletion),
    "partial": (functools.partial(litellm.completion), functools.partial(litellm.acompletion)),
    "partial of main": (functools.partial(litellm.main.completion), functools.partial(litellm.main.acompletion)),
}
early = pytest.mark.parametrize("bound", EARLY)
PARTIAL_WITH_NAME = (
    functools.partial(litellm.completion, "router/support"),
    functools.partial(litellm.acompletion, "router/support"),
)


def routed_to(heard: Heard, model: str, p: LoopbackProvider, path: str = "/v1/chat/completions") -> RouteResult:
    """The answer is the model's, by one request, and its record says so."""
    assert heard.text == REPLIES[model]
    assert [(seen.model, seen.path) for seen in p.requests] == [(model, path)]
    result = heard.result
    assert (result.router, result.deployment, result.model) == ("support", f"openai/{model}", f"openai/{model}")
    assert [(attempt.deployment, attempt.outcome) for attempt in result.attempts] == [(f"openai/{model}", "answered")]
    assert result.cost_usd > 0
    return result


# --------------------------------------------------------------------------- completion


@four_modes
async def test_completion_by_keyword(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    routed_to(await complete(mode), "big", p)


@four_modes
async def test_completion_by_position(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    heard = await call(mode, litellm.completion, litellm.acompletion, "router/support", MESSAGES)
    routed_to(heard, "big", p)


@four_modes
async def test_completion_with_the_model_alone_by_position(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    heard = await call(mode, litellm.completion, litellm.acompletion, "router/support", messages=MESSAGES)
    routed_to(heard, "big", p)


async def test_further_arguments_by_position_keep_their_meaning(installed: Router, p: LoopbackProvider) -> None:
    """litellm.completion(model, messages, timeout, temperature, …): what stands where is litellm's business."""
    names = list(inspect.signature(litellm.completion).parameters)[2:4]
    values = {"timeout": 20.0, "temperature": 0.3}
    await call(SYNC, litellm.completion, None, "router/support", MESSAGES, *(values[name] for name in names))
    assert p.requests[0].body["temperature"] == 0.3


@four_modes
@early
async def test_names_bound_before_the_install(installed: Router, p: LoopbackProvider, mode: Mode, bound: str) -> None:
    routed_to(await call(mode, *EARLY[bound], model="router/support", messages=MESSAGES), "big", p)


@early
async def test_names_bound_before_the_install_by_position(installed: Router, p: LoopbackProvider, bound: str) -> None:
    routed_to(await call(SYNC, *EARLY[bound], "router/support", MESSAGES), "big", p)


@four_modes
async def test_a_partial_that_holds_the_name(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    routed_to(await call(mode, *PARTIAL_WITH_NAME, MESSAGES), "big", p)


@four_modes
async def test_the_answer_is_litellms_own_object(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    heard = await complete(mode)
    assert isinstance(heard.answer, litellm.CustomStreamWrapper if mode.stream else litellm.ModelResponse)
    if not mode.stream:
        assert heard.answer.model == "big"
        assert heard.answer._hidden_params["response_cost"] == pytest.approx(heard.result.cost_usd)


@four_modes
async def test_the_record_of_a_failed_call_is_on_its_exception(
    installed: Router, p: LoopbackProvider, mode: Mode
) -> None:
    p.always("big", Status(401))
    p.always("small", Status(404))
    with pytest.raises(litellm.NotFoundError) as caught:
        await complete(mode)
    result = RouteResult.of(caught.value)
    assert result is not None
    assert [attempt.deployment for attempt in result.attempts] == ["openai/big", "openai/small"]


# --------------------------------------------------------------------------- text completion


@four_modes
async def test_text_completion(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    heard = await call(
        mode, litellm.text_completion, litellm.atext_completion, model="router/support", prompt="How many?"
    )
    routed_to(heard, "big", p)
    kind = litellm.utils.TextCompletionStreamWrapper if mode.stream else litellm.TextCompletionResponse
    assert isinstance(heard.answer, kind)


@four_modes
async def test_text_completion_takes_our_keywords(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    functions = (litellm.text_completion, litellm.atext_completion)
    heard = await call(mode, *functions, model="router/support", prompt="How many?", models=["small"], extra={"a": 1})
    routed_to(heard, "small", p)


@four_modes
async def test_text_completion_of_a_router_string(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    functions = (litellm.text_completion, litellm.atext_completion)
    routed_to(await call(mode, *functions, model="router@c:1", prompt="How many?"), "small", p)


@pytest.mark.parametrize("mode", [SYNC, SYNC_STREAM], ids=str)
async def test_text_completion_by_position(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    """Its first argument is the prompt. (litellm.atext_completion cannot be called so, routed or not.)"""
    routed_to(await call(mode, litellm.text_completion, None, "How many?", "router/support"), "big", p)


# --------------------------------------------------------------------------- responses


@four_modes
async def test_responses(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    heard = await call(mode, litellm.responses, litellm.aresponses, model="router/support", input="How many?")
    routed_to(heard, "big", p)


@four_modes
async def test_responses_by_position(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    """Their first argument is the input."""
    routed_to(await call(mode, litellm.responses, litellm.aresponses, "How many?", "router/support"), "big", p)


@four_modes
async def test_responses_take_our_keywords(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    functions = (litellm.responses, litellm.aresponses)
    heard = await call(mode, *functions, model="router/support", input="How many?", models=["small"], extra={"a": 1})
    routed_to(heard, "small", p)


@four_modes
async def test_responses_of_a_router_string(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    functions = (litellm.responses, litellm.aresponses)
    routed_to(await call(mode, *functions, model="router@c:1", input="How many?"), "small", p)


# --------------------------------------------------------------------------- the bridges' errors


BRIDGES: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = {
    "text_completion": (litellm.text_completion, litellm.atext_completion, {"prompt": "How many?"}),
    "responses": (litellm.responses, litellm.aresponses, {"input": "How many?"}),
}
bridges = pytest.mark.parametrize("bridge", BRIDGES)


@bridges
@four_modes
async def test_a_providers_exception_comes_through_a_bridge_with_its_record(
    installed: Router, p: LoopbackProvider, mode: Mode, bridge: str
) -> None:
    sync, asynchronous, kwargs = BRIDGES[bridge]
    p.always("big", Status(401))
    p.always("small", Status(401))
    with pytest.raises(litellm.AuthenticationError) as caught:
        await call(mode, sync, asynchronous, model="router/support", **kwargs)
    result = RouteResult.of(caught.value)
    assert result is not None
    assert [attempt.deployment for attempt in result.attempts] == ["openai/big", "openai/small"]


@bridges
@four_modes
async def test_our_own_errors_come_through_a_bridge_as_themselves(
    installed: Router, p: LoopbackProvider, mode: Mode, bridge: str
) -> None:
    sync, asynchronous, kwargs = BRIDGES[bridge]
    with pytest.raises(NoCandidateError) as caught:
        await call(mode, sync, asynchronous, model="router/support", max_cost=1e-12, **kwargs)
    assert set(caught.value.rejected) == {"openai/small", "openai/big"}
    with pytest.raises(SpecError, match="routing: unknown key 'max_attemps'"):
        await call(mode, sync, asynchronous, model="router/support", routing={"max_attemps": 1}, **kwargs)
    assert p.calls() == 0


@bridges
@four_modes
async def test_a_plain_bridged_call_fails_with_its_own_error_whatever_went_wrong_before(
    installed: Router, p: LoopbackProvider, mode: Mode, bridge: str
) -> None:
    """Falling back to a plain call where the router has nothing is a common pattern."""
    sync, asynchronous, kwargs = BRIDGES[bridge]
    p.always("broken", Status(401))
    try:
        await complete(SYNC, max_cost=1e-12)
    except NoCandidateError:
        with pytest.raises(litellm.AuthenticationError) as caught:
            await call(mode, sync, asynchronous, **broken(p), **kwargs)
    assert RouteResult.of(caught.value) is None


@bridges
@four_modes
async def test_a_providers_error_of_a_routed_bridge_is_not_hidden_by_an_error_of_ours_before(
    installed: Router, p: LoopbackProvider, mode: Mode, bridge: str
) -> None:
    sync, asynchronous, kwargs = BRIDGES[bridge]
    p.always("big", Status(401))
    p.always("small", Status(401))
    try:
        await complete(SYNC, max_cost=1e-12)
    except NoCandidateError:
        with pytest.raises(litellm.AuthenticationError):
            await call(mode, sync, asynchronous, model="router/support", **kwargs)


@bridges
@four_modes
async def test_the_exception_of_a_plain_bridged_call_is_as_it_is_without_an_install(
    router: Router, p: LoopbackProvider, mode: Mode, bridge: str
) -> None:
    """Its cause and context are what error trackers show."""
    sync, asynchronous, kwargs = BRIDGES[bridge]

    async def chain() -> list[Any]:
        with pytest.raises(litellm.AuthenticationError) as caught:
            await call(mode, sync, asynchronous, **broken(p), **kwargs)
        error = caught.value
        return [type(error), type(error.__cause__), type(error.__context__), error.__suppress_context__]

    before = await chain()
    with install(router):
        assert await chain() == before


# --------------------------------------------------------------------------- other ways in


async def test_batch_completion_routes_each_conversation(installed: Router, p: LoopbackProvider) -> None:
    heard = await call(SYNC, litellm.batch_completion, None, model="router/support", messages=[MESSAGES, MESSAGES])
    answers = heard.answer
    assert [answer.choices[0].message.content for answer in answers] == [REPLIES["big"]] * 2
    results = [RouteResult.of(answer) for answer in answers]
    assert [result and result.deployment for result in results] == ["openai/big"] * 2
    assert len({result.request_id for result in results if result}) == 2
    assert p.calls("big") == p.calls() == 2


@pytest.mark.parametrize("mode", [SYNC, SYNC_STREAM], ids=str)
async def test_the_openai_like_client(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    create = litellm.LiteLLM().chat.completions.create
    heard = await call(mode, create, None, messages=MESSAGES, model="router/support")
    routed_to(heard, "big", p)
    assert "self" not in p.requests[0].body


def litellm_router(model: str = "router/support", **more: Any) -> litellm.Router:
    entry = {"model_name": "front", "litellm_params": {"model": model}}
    return litellm.Router(model_list=[entry, *more.pop("entries", [])], num_retries=0, **more)


@four_modes
async def test_an_entry_of_litellms_router(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    front = litellm_router()
    routed_to(await call(mode, front.completion, front.acompletion, model="front", messages=MESSAGES), "big", p)


@four_modes
async def test_an_entry_of_litellms_router_takes_our_keywords(
    installed: Router, p: LoopbackProvider, mode: Mode
) -> None:
    front = litellm_router()
    ours = {"models": ["small"], "max_cost": 0.01, "extra": {"team": "x"}, "routing": {"max_attempts": 1}}
    heard = await call(mode, front.completion, front.acompletion, model="front", messages=MESSAGES, **ours)
    routed_to(heard, "small", p)


async def test_text_completion_of_a_litellm_router_entry(installed: Router, p: LoopbackProvider) -> None:
    """(Its sync text_completion never looks up an entry, routed or not.)"""
    heard = await call(ASYNC, None, litellm_router().atext_completion, model="front", prompt="How many?")
    routed_to(heard, "big", p)


@pytest.mark.parametrize("mode", [ASYNC, ASYNC_STREAM], ids=str)
async def test_responses_of_a_litellm_router_entry(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    front = litellm_router()
    routed_to(await call(mode, None, front.aresponses, model="front", input="How many?"), "big", p)


SPELLINGS = ["router", "router_support", "router@c:1e-9", "router_support@q:1", "router/support@q:1", "router->router"]
ENTRIES: dict[str, Callable[[str], Any]] = {
    "text_completion": lambda name: litellm.text_completion(model=name, prompt="How many?"),
    "responses": lambda name: litellm.responses(model=name, input="How many?"),
    "litellm.Router": lambda name: litellm_router(name).completion("front", MESSAGES),
    "batch_completion": lambda name: litellm.batch_completion(model=name, messages=[MESSAGES])[0],
    "fallbacks": lambda name: litellm.completion(model="openai/broken", messages=MESSAGES, fallbacks=[name]),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_of_a_name_is_routed_through_every_layer(p: LoopbackProvider, entry: str, name: str) -> None:
    with install(make_router(p, "support", ["big"])):
        routed_to(Heard(ENTRIES[entry](name)), "big", p)


@pytest.mark.parametrize("mode", [SYNC, ASYNC], ids=str)
async def test_litellms_router_falls_back_from_a_routed_entry_to_a_plain_one(
    installed: Router, p: LoopbackProvider, mode: Mode
) -> None:
    p.always("big", Status(401))
    p.always("small", Status(401))
    plain = {"model": "openai/plain", "api_base": p.openai_base, "api_key": "k"}
    entries = [{"model_name": "plain", "litellm_params": plain}]
    front = litellm_router(entries=entries, fallbacks=[{"front": ["plain"]}])
    heard = await call(mode, front.completion, front.acompletion, model="front", messages=MESSAGES)
    assert heard.text == MESSAGES[0]["content"]
    assert [seen.model for seen in p.requests] == ["big", "small", "plain"]


# --------------------------------------------------------------------------- litellm's own fallbacks=


def broken(p: LoopbackProvider) -> dict[str, Any]:
    """A concrete call that fails, with the endpoint it needs."""
    p.always("broken", Status(401))
    return {"model": "openai/broken", "api_base": p.openai_base, "api_key": "k", "max_retries": 0}


@pytest.mark.parametrize("mode", [SYNC, ASYNC, ASYNC_STREAM], ids=str)
async def test_a_router_as_the_fallback_of_a_concrete_model(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    """(litellm's own fallbacks are broken in sync streams, routed or not.)"""
    functions = (litellm.completion, litellm.acompletion)
    heard = await call(mode, *functions, messages=MESSAGES, fallbacks=["router/support"], **broken(p))
    assert heard.text == REPLIES["big"]
    assert heard.result.deployment == "openai/big"
    assert [seen.model for seen in p.requests] == ["broken", "big"]


@four_modes
async def test_a_concrete_fallback_of_a_router(p: LoopbackProvider, mode: Mode) -> None:
    """It is asked once everything the router may use has failed."""
    router = make_router(p)
    p.always("big", Status(401))
    with install(router):
        heard = await complete(mode, "router@models:big", fallbacks=["openai/small"])
    assert heard.text == REPLIES["small"]
    assert heard.result.deployment == "openai/small"
    assert [seen.model for seen in p.requests] == ["big", "small"]


@four_modes
async def test_a_router_as_the_fallback_of_another_router(p: LoopbackProvider, mode: Mode) -> None:
    first, second = make_router(p, "first", ["big"]), make_router(p, "second", ["small"])
    p.always("big", Status(401))
    with install(first, second):
        heard = await complete(mode, "router/first", fallbacks=["router/second"])
    assert heard.text == REPLIES["small"]
    assert [seen.model for seen in p.requests] == ["big", "small"]


async def test_a_fallback_the_router_does_not_know_is_an_error_that_lists_what_it_knows(
    installed: Router, p: LoopbackProvider
) -> None:
    with pytest.raises(SpecError, match=r"openai/tiny.*openai/small.*openai/big"):
        await complete(SYNC, fallbacks=["openai/tiny"])
    assert p.calls() == 0


# --------------------------------------------------------------------------- without installing anything


@four_modes
async def test_a_router_calls_without_an_install(router: Router, p: LoopbackProvider, mode: Mode) -> None:
    routed_to(await call(mode, router.completion, router.acompletion, messages=MESSAGES), "big", p)


@four_modes
async def test_a_router_called_by_position(router: Router, p: LoopbackProvider, mode: Mode) -> None:
    routed_to(await call(mode, router.completion, router.acompletion, "router@c:1", MESSAGES), "small", p)


@four_modes
async def test_a_router_called_with_the_messages_alone(router: Router, p: LoopbackProvider, mode: Mode) -> None:
    routed_to(await call(mode, router.completion, router.acompletion, MESSAGES), "big", p)


@pytest.mark.parametrize("name", ["router", "router/support", "support", "router_support@q:1", "big", "openai/big"])
async def test_names_a_router_answers_to_when_it_is_called_itself(
    router: Router, p: LoopbackProvider, name: str
) -> None:
    routed_to(await call(SYNC, router.completion, None, name, MESSAGES), "big", p)


async def test_the_record_of_a_decision_is_its_own_record(router: Router) -> None:
    result = router.route({"messages": MESSAGES})
    assert RouteResult.of(result) is result


async def test_answers_that_were_not_routed_have_no_record(installed: Router, p: LoopbackProvider) -> None:
    plain = await complete(SYNC, "openai/plain", api_base=p.openai_base, api_key="k")
    assert RouteResult.of(plain.answer) is None
    assert RouteResult.of(ValueError("x")) is None
    assert RouteResult.of(None) is None


async def test_a_record_after_a_routed_call_is_not_given_to_a_plain_bridge_call(
    installed: Router, p: LoopbackProvider
) -> None:
    """text_completion finds its record through the context: an earlier one must not stick there."""
    await call(SYNC, litellm.text_completion, None, model="router/support", prompt="hi")
    endpoint = {"api_base": p.openai_base, "api_key": "k"}
    plain = await call(SYNC, litellm.text_completion, None, model="openai/plain", prompt="hi", **endpoint)
    assert RouteResult.of(plain.answer) is None


async def test_two_answers_at_once_keep_their_own_records(p: LoopbackProvider) -> None:
    import asyncio

    router = make_router(p)
    with install(router):
        heard = await asyncio.gather(
            *(complete(ASYNC, models=["small" if i % 2 else "big"]) for i in range(8)),
            *(
                call(ASYNC, None, litellm.atext_completion, model="router/support", prompt="x", models=[name])
                for name in ("small", "big")
            ),
        )
    assert [one.result.deployment for one in heard] == [
        *["openai/big", "openai/small"] * 4,
        "openai/small",
        "openai/big",
    ]
    assert len({one.result.request_id for one in heard}) == len(heard)


def test_deployments_of_the_tests_are_not_in_litellms_price_map(p: LoopbackProvider) -> None:
    """The prices the tests reckon with are the deployments' own."""
    assert not [
        name for name in REPLIES if name in litellm.model_cost or deployment(p, name).model in litellm.model_cost
    ]
