"""What reaches the provider: everything the caller said to it, nothing that was said to us, once for each attempt."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import litellm
import openai
import pytest
from plugin_modes import (
    ASYNC,
    ASYNC_STREAM,
    MESSAGES,
    REPLIES,
    SYNC,
    Heard,
    Mode,
    call,
    complete,
    deployment,
    four_modes,
    make_router,
)
from pydantic import BaseModel

from router_plugin import Deployment, Router, RouteResult, SpecError, install
from router_plugin.testing.loopback import (
    CutBody,
    CutHeaders,
    Fault,
    LoopbackProvider,
    Overloaded,
    RateLimited,
    Redirect,
    Reset,
    Seen,
    Status,
)

OURS: dict[str, Any] = {
    "models": ["big", "small"],
    "max_cost": 0.01,
    "max_cost_per_million_tokens": 50.0,
    "willingness_to_pay": 0.05,
    "extra": {"team": "blue-canary"},
    "routing": {"max_attempts": 3, "patience_s": 0.0},
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "moons",
            "description": "Counts moons.",
            "parameters": {"type": "object", "properties": {"planet": {"type": "string"}}, "required": ["planet"]},
        },
    }
]
SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "moons", "schema": {"type": "object", "properties": {"n": {"type": "integer"}}}},
}


def only(p: LoopbackProvider) -> Seen:
    (seen,) = p.requests
    return seen


async def plain_body(mode: Mode, p: LoopbackProvider, model: str = "openai/big", **kwargs: Any) -> dict[str, Any]:
    """The body litellm alone sends for such a call."""
    base = p.url if model.startswith("anthropic") else p.openai_base
    await complete(mode, model, api_base=base, api_key="sk-loopback", max_retries=0, **kwargs)
    body = only(p).body
    p.forget()
    return body


# --------------------------------------------------------------------------- nothing of ours


@four_modes
@pytest.mark.parametrize("model", ["big", "claude-x"])
async def test_nothing_of_ours_is_in_the_body(p: LoopbackProvider, mode: Mode, model: str) -> None:
    """The whole body is that of a plain litellm call (and asks for usage, in a stream)."""
    usage = {"stream_options": {"include_usage": True}} if mode.stream else {}
    name = deployment(p, model).model
    plain = await plain_body(mode, p, name, max_tokens=50, **usage)
    with install(make_router(p, "support", [model])):
        await complete(mode, max_tokens=50, **{**OURS, "models": [model]})
    assert only(p).body == plain
    assert "canary" not in json.dumps([only(p).body, only(p).headers])


@pytest.mark.parametrize("keyword", OURS)
async def test_each_of_our_keywords_is_taken_out(installed: Router, p: LoopbackProvider, keyword: str) -> None:
    await complete(SYNC, **{keyword: OURS[keyword]})
    await complete(ASYNC_STREAM, **{keyword: OURS[keyword]})
    assert not any(keyword in json.dumps(seen.body) for seen in p.requests)


@four_modes
async def test_our_keywords_given_as_none_are_taken_out_too(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    await complete(mode, **dict.fromkeys(OURS))
    assert not set(OURS) & set(only(p).body)


@four_modes
async def test_prices_and_ids_of_a_deployment_stay_here(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    """litellm is told of them in its metadata, which some providers are sent."""
    await complete(mode, metadata={"trace": "t1"})
    sent = json.dumps(only(p).body)
    assert "model_info" not in sent
    assert "router_plugin" not in sent
    assert "cost_per_token" not in sent


@four_modes
@pytest.mark.parametrize("bridge", ["text_completion", "responses", "litellm.Router"])
async def test_nothing_of_ours_is_in_the_body_of_a_bridged_call(
    installed: Router, p: LoopbackProvider, mode: Mode, bridge: str
) -> None:
    if bridge == "litellm.Router":
        front = litellm.Router(
            model_list=[{"model_name": "front", "litellm_params": {"model": "router/support"}}], num_retries=0
        )
        await call(mode, front.completion, front.acompletion, model="front", messages=MESSAGES, **OURS)
    else:
        asked = {"prompt": "x"} if bridge == "text_completion" else {"input": "x"}
        functions = (getattr(litellm, bridge), getattr(litellm, f"a{bridge}"))
        await call(mode, *functions, model="router/support", **asked, **OURS)
    sent = json.dumps(only(p).body)
    assert only(p).model == "big"
    assert not set(OURS) & set(only(p).body)
    assert "canary" not in sent
    assert "router" not in sent


# --------------------------------------------------------------------------- everything else passes

PASSES: dict[str, dict[str, Any]] = {
    "tools": {"tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": False},
    "response_format": {"response_format": SCHEMA},
    "json mode": {"response_format": {"type": "json_object"}},
    "seed": {"seed": 7},
    "sampling": {"temperature": 0.1, "top_p": 0.9, "presence_penalty": 0.5, "frequency_penalty": 0.25},
    "user": {"user": "ann"},
    "stop": {"stop": ["\n", "END"]},
    "logit_bias": {"logit_bias": {"50256": -100}},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "n": {"n": 2},
    "caps": {"max_tokens": 77},
    "new caps": {"max_completion_tokens": 77},
    "unknown keywords": {"cache_salt": "x1", "beam_width": 3},
    "extra_body": {"extra_body": {"guided_regex": "[0-9]+"}},
    "service tier": {"service_tier": "flex"},
    "functions": {"functions": [TOOLS[0]["function"]], "function_call": "auto"},
    "store": {"store": True, "metadata": {"trace": "t1"}},
}


@pytest.mark.parametrize("mode", [SYNC, ASYNC_STREAM], ids=str)
@pytest.mark.parametrize("what", PASSES)
async def test_what_the_caller_says_to_the_provider_passes_unchanged(
    installed: Router, p: LoopbackProvider, mode: Mode, what: str
) -> None:
    kwargs = PASSES[what]
    usage = {"stream_options": {"include_usage": True}} if mode.stream else {}
    plain = await plain_body(mode, p, **kwargs, **usage)
    await complete(mode, **kwargs, extra={"team": "x"})
    assert only(p).body == plain


@four_modes
async def test_everything_at_once_passes_unchanged(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    kinds = ("tools", "response_format", "seed", "sampling", "user", "stop", "logit_bias", "n", "unknown keywords")
    kwargs = {"max_tokens": 77, **{key: value for kind in kinds for key, value in PASSES[kind].items()}}
    usage = {"stream_options": {"include_usage": True}} if mode.stream else {}
    plain = await plain_body(mode, p, **kwargs, **usage)
    await complete(mode, **kwargs, **OURS)
    assert only(p).body == plain


@four_modes
async def test_what_the_caller_says_passes_to_anthropic_unchanged(p: LoopbackProvider, mode: Mode) -> None:
    kwargs = {
        "tools": TOOLS,
        "stop": ["END"],
        "temperature": 0.1,
        "user": "ann",
        "max_tokens": 77,
        "messages": [{"role": "system", "content": "Be brief."}, *MESSAGES],
    }
    usage = {"stream_options": {"include_usage": True}} if mode.stream else {}
    plain = await plain_body(mode, p, "anthropic/claude-x", **kwargs, **usage)
    with install(make_router(p, "support", ["claude-x"])):
        await complete(mode, **kwargs)
    assert only(p).body == plain


@four_modes
async def test_a_pydantic_response_format_passes_as_its_schema(
    installed: Router, p: LoopbackProvider, mode: Mode
) -> None:
    class Moons(BaseModel):
        n: int

    p.model("big", '{"n": 2}')
    plain = await plain_body(SYNC, p, response_format=Moons)
    await complete(mode, response_format=Moons)
    assert only(p).body["response_format"] == plain["response_format"]


@four_modes
async def test_extra_headers_pass(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    await complete(mode, extra_headers={"X-Trace": "t1", "anthropic-beta": "x"})
    headers = only(p).headers
    assert (headers["x-trace"], headers["anthropic-beta"]) == ("t1", "x")
    assert headers["authorization"] == "Bearer sk-loopback"


async def test_a_deployments_own_headers_and_parameters_are_added(p: LoopbackProvider) -> None:
    own = deployment(p, "big", extra_headers={"X-Tenant": "blue"}, params={"seed": 11})
    with install(Router("support", models=[own])):
        await complete(SYNC, extra_headers={"X-Trace": "t1"})
    assert (only(p).headers["x-tenant"], only(p).headers["x-trace"]) == ("blue", "t1")
    assert only(p).body["seed"] == 11


@four_modes
async def test_messages_reach_the_provider_as_they_were_given(
    installed: Router, p: LoopbackProvider, mode: Mode
) -> None:
    conversation = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Look it up 🌒"}], "name": "ann"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "moons", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
    ]
    given = json.loads(json.dumps(conversation))
    plain = await plain_body(mode, p, messages=conversation)
    await complete(mode, messages=conversation, tools=TOOLS)
    assert only(p).body["messages"] == plain["messages"]
    assert conversation == given


async def test_the_callers_own_objects_are_not_edited(installed: Router, p: LoopbackProvider) -> None:
    ours, metadata = {"max_attempts": 2}, {"trace": "t1"}
    options, headers, tools = {"include_usage": False}, {"X-Trace": "t1"}, json.loads(json.dumps(TOOLS))
    given = {"routing": ours, "metadata": metadata, "stream_options": options, "extra_headers": headers, "tools": tools}
    before = json.dumps(given)
    await complete(Mode(False, True), **given)
    assert json.dumps(given) == before


@four_modes
async def test_litellms_mock_response_answers_without_a_request(
    installed: Router, p: LoopbackProvider, mode: Mode
) -> None:
    """Applications test themselves with it."""
    heard = await complete(mode, mock_response="two, they say")
    assert heard.text == "two, they say"
    assert heard.result.deployment == "openai/big"
    assert p.calls() == 0


# --------------------------------------------------------------------------- streams and their usage


@pytest.mark.parametrize("mode", [Mode(False, True), ASYNC_STREAM], ids=str)
async def test_usage_is_asked_for_and_hidden_from_a_caller_who_did_not_ask(
    installed: Router, p: LoopbackProvider, mode: Mode
) -> None:
    heard = await complete(mode)
    assert only(p).body["stream_options"] == {"include_usage": True}
    assert [getattr(chunk, "usage", None) for chunk in heard.chunks] == [None] * len(heard.chunks)
    assert all(chunk.choices for chunk in heard.chunks)
    assert heard.result.attempts[0].output_tokens == len(REPLIES["big"].split())


@pytest.mark.parametrize("mode", [Mode(False, True), ASYNC_STREAM], ids=str)
async def test_a_caller_who_asks_for_usage_gets_it_once(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    heard = await complete(mode, stream_options={"include_usage": True})
    usages = [chunk.usage for chunk in heard.chunks if getattr(chunk, "usage", None)]
    assert [usage.completion_tokens for usage in usages] == [len(REPLIES["big"].split())]


@pytest.mark.parametrize("mode", [Mode(False, True), ASYNC_STREAM], ids=str)
async def test_other_stream_options_pass(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    await complete(mode, stream_options={"include_obfuscation": False})
    assert only(p).body["stream_options"] == {"include_obfuscation": False, "include_usage": True}


@pytest.mark.parametrize("mode", [SYNC, ASYNC], ids=str)
async def test_a_call_that_is_no_stream_has_no_stream_options(
    installed: Router, p: LoopbackProvider, mode: Mode
) -> None:
    await complete(mode, stream=False)
    assert "stream_options" not in only(p).body


# --------------------------------------------------------------------------- one request for each attempt

ONE_ATTEMPT = {"routing": {"max_attempts": 1}}
FAULTS: dict[str, Fault] = {
    "500": Status(500),
    "503": Overloaded(),
    "429": RateLimited(),
    "429 with a wish": RateLimited(retry_after="0.1"),
    "408": Status(408),
    "409": Status(409),
    "reset": Reset(),
    "cut headers": CutHeaders(),
    "cut body": CutBody(),
}


@four_modes
@pytest.mark.parametrize("model", ["big", "claude-x"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_an_attempt_is_one_request(p: LoopbackProvider, mode: Mode, model: str, fault: str) -> None:
    """Neither the SDKs, nor litellm, nor its HTTP handlers ask again behind our back."""
    p.always(model, FAULTS[fault])
    with install(make_router(p, "support", [model])), pytest.raises(Exception) as caught:
        await complete(mode, **ONE_ATTEMPT)
    result = RouteResult.of(caught.value)
    assert result is not None
    assert p.calls() == len(result.attempts) == 1


@four_modes
@pytest.mark.parametrize("model", ["big", "claude-x"])
async def test_a_reset_before_the_headers_is_retried_once_by_us_and_by_nobody_else(
    p: LoopbackProvider, mode: Mode, model: str
) -> None:
    """litellm's async handler sends such a request again, whatever it was told."""
    p.script(model, [Reset()])
    with install(make_router(p, "support", [model])):
        heard = await complete(mode)
    assert heard.text == REPLIES[model]
    assert [attempt.outcome for attempt in heard.result.attempts] == ["failed", "answered"]
    assert p.calls() == 2


@four_modes
@pytest.mark.parametrize("model", ["big", "claude-x"])
async def test_a_provider_that_always_resets_is_asked_twice(p: LoopbackProvider, mode: Mode, model: str) -> None:
    p.always(model, Reset())
    with install(make_router(p, "support", [model])), pytest.raises(openai.APIError) as caught:
        await complete(mode)
    result = RouteResult.of(caught.value)
    assert result is not None
    assert p.calls() == len(result.attempts) == 2


@four_modes
async def test_retries_set_for_all_of_litellm_do_not_multiply_attempts(
    installed: Router, p: LoopbackProvider, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm, "num_retries", 3)
    p.always("big", Status(500))
    with pytest.raises(litellm.InternalServerError):
        await complete(mode, models=["big"], **ONE_ATTEMPT)
    assert not [key for key in only(p).body if "retr" in key]


@four_modes
@pytest.mark.parametrize("keyword", ["num_retries", "max_retries"])
async def test_the_callers_retries_are_those_of_one_deployment(
    installed: Router, p: LoopbackProvider, mode: Mode, keyword: str
) -> None:
    """Retry is not fallback: without retries the next deployment is asked all the same."""
    p.always("big", Status(500))
    heard = await complete(mode, **{keyword: 0})
    assert heard.text == REPLIES["small"]
    assert p.calls("big") == 1
    await complete(mode, **{keyword: 2})
    assert p.calls("big") == 1 + 3
    assert keyword not in p.requests[-1].body


@four_modes
async def test_a_redirect_to_another_host_takes_neither_prompt_nor_key_along(
    installed: Router, p: LoopbackProvider, mode: Mode
) -> None:
    with LoopbackProvider() as elsewhere:
        p.script("big", [Redirect(f"{elsewhere.openai_base}/chat/completions")])
        heard = await complete(mode)
        assert heard.text == REPLIES["small"]
        assert elsewhere.calls() == 0


# --------------------------------------------------------------------------- where a call goes is configuration

ENDPOINTS: dict[str, Any] = {
    "api_base": "http://127.0.0.1:9",
    "base_url": "http://127.0.0.1:9",
    "api_key": "sk-canary",
    "api_version": "2024-01-01",
    "custom_llm_provider": "anthropic",
    "organization": "org-canary",
    "ssl_verify": False,
    "proxy": "http://127.0.0.1:9",
    "extra_headers": {"Authorization": "Bearer sk-canary"},
    "headers": {"api-key": "sk-canary"},
    "client": httpx.Client,
}


@four_modes
@pytest.mark.parametrize("keyword", ENDPOINTS)
async def test_endpoints_and_credentials_in_a_routed_call_are_refused(
    installed: Router, p: LoopbackProvider, mode: Mode, keyword: str
) -> None:
    with pytest.raises(SpecError, match=keyword) as caught:
        await complete(mode, **{keyword: ENDPOINTS[keyword]})
    assert "canary" not in str(caught.value)
    assert p.calls() == 0


@pytest.mark.parametrize("header", ["authorization", "AUTHORIZATION", "api-key", "X-Api-Key", "x-goog-api-key"])
async def test_credential_headers_are_refused_in_any_spelling(
    installed: Router, p: LoopbackProvider, header: str
) -> None:
    with pytest.raises(SpecError, match="credential") as caught:
        await complete(SYNC, extra_headers={"X-Trace": "1", header: "canary"})
    assert "canary" not in str(caught.value)
    assert p.calls() == 0


@pytest.mark.parametrize("keyword", ["api_base", "api_key", "ssl_verify"])
async def test_endpoints_are_refused_through_extra_body_and_litellms_other_doors(
    installed: Router, p: LoopbackProvider, keyword: str
) -> None:
    """…also for calls of the router itself, concrete names with our keywords, and intercepted ones."""
    given = {keyword: ENDPOINTS[keyword]}
    with pytest.raises(SpecError, match=keyword):
        installed.completion(messages=MESSAGES, **given)
    with pytest.raises(SpecError, match=keyword):
        await complete(SYNC, "openai/small", max_cost=0.01, **given)
    with install(installed, intercept="all"), pytest.raises(SpecError, match=keyword):
        await complete(SYNC, "openai/small", **given)
    assert p.calls() == 0


@four_modes
@pytest.mark.parametrize("bridge", ["text_completion", "responses"])
@pytest.mark.parametrize("keyword", ["api_base", "api_key"])
async def test_an_endpoint_given_to_a_bridge_is_not_where_the_call_goes(
    installed: Router, p: LoopbackProvider, mode: Mode, bridge: str, keyword: str
) -> None:
    """Refused or dropped, whichever: neither prompt nor key leave for it."""
    asked = {"prompt": "x"} if bridge == "text_completion" else {"input": "x"}
    functions = (getattr(litellm, bridge), getattr(litellm, f"a{bridge}"))
    with LoopbackProvider() as elsewhere:
        given = elsewhere.openai_base if keyword == "api_base" else "sk-canary"
        try:
            await call(mode, *functions, model="router/support", **{keyword: given}, **asked)
        except Exception as error:
            assert keyword in str(error)  # noqa: PT017
        assert elsewhere.calls() == 0
    assert [seen.headers["authorization"] for seen in p.requests] in ([], ["Bearer sk-loopback"])


async def test_none_for_an_endpoint_is_no_endpoint(installed: Router, p: LoopbackProvider) -> None:
    """Frameworks pass what they were not given."""
    heard = await complete(SYNC, api_base=None, api_key=None, base_url=None, api_version=None, organization=None)
    assert heard.text == REPLIES["big"]


@four_modes
async def test_a_router_may_allow_endpoints_in_requests(p: LoopbackProvider, mode: Mode) -> None:
    open_router = Router("open", models=[Deployment("openai/big")], allow_request_endpoints=True)
    with install(open_router):
        heard = await complete(mode, "router/open", api_base=p.openai_base, api_key="sk-own")
    assert heard.text == REPLIES["big"]
    assert only(p).headers["authorization"] == "Bearer sk-own"


async def test_a_deployments_own_endpoint_wins_over_an_allowed_one(p: LoopbackProvider) -> None:
    router = make_router(p, allow_request_endpoints=True)
    with install(router):
        await complete(SYNC, api_base="http://127.0.0.1:9", api_key="sk-own")
    assert only(p).headers["authorization"] == "Bearer sk-loopback"


@four_modes
async def test_the_endpoint_of_a_litellm_router_entry_is_dropped(
    installed: Router, p: LoopbackProvider, mode: Mode
) -> None:
    """It was not the application's call that brought it."""
    entry = {
        "model": "router/support",
        "api_base": "http://127.0.0.1:9",
        "api_key": "sk-canary",
        "extra_headers": {"Authorization": "Bearer sk-canary", "X-Trace": "t1"},
        "max_retries": 5,
        "timeout": 20,
    }
    front = litellm.Router(model_list=[{"model_name": "front", "litellm_params": entry}], num_retries=0)
    heard = await call(mode, front.completion, front.acompletion, model="front", messages=MESSAGES)
    assert heard.text == REPLIES["big"]
    assert only(p).headers["authorization"] == "Bearer sk-loopback"
    assert only(p).headers["x-trace"] == "t1"
    assert "canary" not in json.dumps([only(p).body, only(p).headers])


async def test_keys_of_one_deployment_do_not_reach_another(p: LoopbackProvider) -> None:
    models = [deployment(p, "big", api_key="sk-of-big"), deployment(p, "small", api_key="sk-of-small")]
    p.script("big", [Status(401)])
    with install(Router("support", models=models)):
        await complete(ASYNC)
    assert [(s.model, s.headers["authorization"]) for s in p.requests] == [
        ("big", "Bearer sk-of-big"),
        ("small", "Bearer sk-of-small"),
    ]


async def test_a_key_read_from_the_environment_is_read_when_the_call_is_made(
    p: LoopbackProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = Router("support", models=[deployment(p, "big", api_key="os.environ/THE_KEY"), deployment(p, "small")])
    monkeypatch.setenv("THE_KEY", "sk-from-env")
    with install(router):
        await complete(SYNC)
        monkeypatch.delenv("THE_KEY")
        fallen = await complete(SYNC)
    assert p.requests[0].headers["authorization"] == "Bearer sk-from-env"
    assert fallen.text == REPLIES["small"]


@four_modes
async def test_a_timeout_is_not_sent_and_not_multiplied(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    heards: list[Heard] = list(await asyncio.gather(*(complete(mode, timeout=20 + i / 7) for i in range(3))))
    assert [heard.text for heard in heards] == [REPLIES["big"]] * 3
    assert not any("timeout" in seen.body for seen in p.requests)
