"""The loopback provider, seen by litellm, by the OpenAI client and as bare HTTP."""

from __future__ import annotations

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import asyncio
import http.client
import importlib.util
import itertools
import json
import socket
import ssl
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import litellm
import openai
import pytest

from router_plugin.testing import exchange
from router_plugin.testing import loopback as lb
from router_plugin.testing.fixtures import loopback_provider  # noqa: F401  (also found by its entry point)
from router_plugin.testing.loopback import LoopbackProvider
from router_plugin.testing.reply import part, pieces

litellm.suppress_debug_info = True

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Count to four, please"}]
PROMPT_TOKENS = 8 + 8  # 30 characters / 4, rounded up, and 4 for each message
REPLY = "one two three four"
OPENAI, ANTHROPIC = "openai/small", "anthropic/claude-x"
both = pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
PATHS = {OPENAI: "/v1/chat/completions", ANTHROPIC: "/v1/messages"}


@pytest.fixture
def p() -> Iterator[LoopbackProvider]:
    with LoopbackProvider() as provider:
        for name in ("small", "claude-x"):
            provider.model(name, REPLY)
        yield provider


def bare(model: str) -> str:
    return model.partition("/")[2]


def args(p: LoopbackProvider, model: str, **more: Any) -> dict[str, Any]:
    base = p.openai_base if model.startswith(("openai/", "text-completion-openai/")) else p.url
    return {"model": model, "api_base": base, "api_key": "sk-k", "max_retries": 0, "timeout": 5, **more}


def ask(p: LoopbackProvider, model: str, **more: Any) -> Any:
    return litellm.completion(**args(p, model, messages=MESSAGES, **more))


async def aask(p: LoopbackProvider, model: str, **more: Any) -> Any:
    return await litellm.acompletion(**args(p, model, messages=MESSAGES, **more))


# A bare context: nothing here is encrypted, and loading certificates for every call would be most of the time.
CLIENT: dict[str, Any] = {"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "trust_env": False}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def post(p: LoopbackProvider, model: str = OPENAI, *, timeout: Any = 5, **more: Any) -> httpx.Response:
    """One bare HTTP call with nothing between the test and the wire."""
    body = {"model": bare(model), "messages": MESSAGES, "max_tokens": 100, **more}
    return httpx.post(p.url + PATHS[model], json=body, timeout=timeout, **CLIENT)


def data_of(response: httpx.Response) -> list[Any]:
    """The data of all events, parsed where it is JSON."""
    lines = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
    return [json.loads(line) if line.startswith("{") else line for line in lines]


def said(chunks: list[Any]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


async def collect(stream: Any, chunks: list[Any]) -> None:
    """Take what comes, and keep it when the stream breaks."""
    async for chunk in stream:
        chunks.append(chunk)


# --------------------------------------------------------------------------- normal answers through litellm


@both
async def test_whole_answer(p: LoopbackProvider, model: str) -> None:
    answers = [ask(p, model), await aask(p, model)]
    for answer in answers:
        assert answer.choices[0].message.content == REPLY
        assert answer.choices[0].finish_reason == "stop"
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (PROMPT_TOKENS, 4)
        assert answer.usage.total_tokens == PROMPT_TOKENS + 4
        assert answer.model == bare(model)
    assert len({answer.id for answer in answers}) == 2
    assert p.calls(bare(model)) == p.calls() == 2
    assert (p.in_flight, p.max_in_flight) == (0, 1)


@both
async def test_stream(p: LoopbackProvider, model: str) -> None:
    streams = [list(ask(p, model, **STREAM)), [chunk async for chunk in await aask(p, model, **STREAM)]]
    for chunks in streams:
        assert said(chunks) == REPLY
        assert [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content] == pieces(REPLY)
        assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
        built = litellm.stream_chunk_builder(chunks)
        assert (built.usage.prompt_tokens, built.usage.completion_tokens) == (PROMPT_TOKENS, 4)
    for seen in p.requests:
        assert (seen.streamed, seen.chunks_sent, seen.status, seen.done, seen.aborted) == (True, 4, 200, True, False)


@both
@pytest.mark.parametrize("stream", [False, True])
def test_max_tokens_cuts(p: LoopbackProvider, model: str, stream: bool) -> None:
    answer = ask(p, model, max_tokens=3, **(STREAM if stream else {}))
    if stream:
        answer = litellm.stream_chunk_builder(list(answer))
    assert answer.choices[0].message.content == "one two three"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3
    assert ask(p, model, max_tokens=4).choices[0].finish_reason == "stop"


def test_other_names_of_the_cap(p: LoopbackProvider) -> None:
    assert post(p, max_tokens=4, max_completion_tokens=2).json()["usage"]["completion_tokens"] == 2
    stop = post(p, ANTHROPIC, max_tokens=2).json()
    assert (stop["stop_reason"], stop["usage"]["output_tokens"]) == ("max_tokens", 2)
    assert post(p, max_tokens="many").json()["choices"][0]["finish_reason"] == "stop"


def test_output_tokens_is_what_usage_says(p: LoopbackProvider) -> None:
    p.model("small", REPLY, output_tokens=400)
    assert ask(p, OPENAI).usage.completion_tokens == 400
    capped = ask(p, OPENAI, max_tokens=100)
    assert (capped.usage.completion_tokens, capped.choices[0].message.content) == (100, "one")
    assert capped.choices[0].finish_reason == "length"


def test_several_choices(p: LoopbackProvider) -> None:
    answer = ask(p, OPENAI, n=3)
    assert [choice.message.content for choice in answer.choices] == [REPLY] * 3
    assert answer.usage.completion_tokens == 12
    events = data_of(post(p, stream=True, n=2))
    assert [e["choices"][0]["index"] for e in events[:-1]] == [0, 1] * 5
    assert p.requests[-1].chunks_sent == 8


@both
@pytest.mark.parametrize("stream", [False, True])
def test_tool_calls_and_reasoning(p: LoopbackProvider, model: str, stream: bool) -> None:
    calls = [{"name": "f", "arguments": '{"a": 1, "b": "x y"}'}, {"name": "g", "arguments": {"k": None}}]
    p.model(bare(model), "let me", tool_calls=calls, reasoning="hm, think first")
    answer = ask(p, model, **(STREAM if stream else {}))
    if stream:
        answer = litellm.stream_chunk_builder(list(answer))
    message = answer.choices[0].message
    assert (message.content, message.reasoning_content) == ("let me", "hm, think first")
    assert [call.function.name for call in message.tool_calls] == ["f", "g"]
    assert [json.loads(call.function.arguments) for call in message.tool_calls] == [{"a": 1, "b": "x y"}, {"k": None}]
    assert len({call.id for call in message.tool_calls}) == 2
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.usage.completion_tokens == 3 + 2 + (1 + 5) + (1 + 2)


def test_tool_calls_alone_have_no_text(p: LoopbackProvider) -> None:
    p.model("small", tool_calls=[{"name": "f", "arguments": "{}"}])
    p.model("claude-x", tool_calls=[{"name": "f", "arguments": "{}"}])
    assert post(p).json()["choices"][0]["message"]["content"] is None
    content = post(p, ANTHROPIC).json()["content"]
    assert [(block["type"], block["input"]) for block in content] == [("tool_use", {})]


def test_text_completion(p: LoopbackProvider) -> None:
    call = args(p, "text-completion-openai/small", prompt="Count to four")
    answer = litellm.text_completion(**call)
    assert answer.choices[0].text == REPLY
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4 + 4, 4)
    assert "".join(c.choices[0].text or "" for c in litellm.text_completion(**call, stream=True)) == REPLY
    assert [seen.path for seen in p.requests] == ["/v1/completions"] * 2
    many = httpx.post(p.url + "/completions", json={"model": "small", "prompt": ["a", "b"], "n": 2}, **CLIENT).json()
    assert [choice["index"] for choice in many["choices"]] == [0, 1, 2, 3]


def test_responses_with_the_openai_client(p: LoopbackProvider) -> None:
    p.model("small", REPLY, reasoning="hm", tool_calls=[{"name": "f", "arguments": '{"a": 1}'}])
    with openai.OpenAI(base_url=p.openai_base, api_key="k", max_retries=0) as client:
        answer = client.responses.create(model="small", input="Count to four", instructions="Be brief.")
        assert (answer.output_text, answer.status) == (REPLY, "completed")
        assert [item.type for item in answer.output] == ["reasoning", "message", "function_call"]
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (6 + 8, 1 + 4 + 3)
        short = client.responses.create(model="small", input="Count to four", max_output_tokens=3)
        assert (short.output_text, short.status) == ("one two", "incomplete")
        assert short.incomplete_details.reason == "max_output_tokens"
        with client.responses.stream(model="small", input="Count to four") as stream:
            kinds = [event.type for event in stream]
            assert stream.get_final_response().output_text == REPLY
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert kinds.count("response.output_text.delta") == 4


async def test_responses_through_litellm(p: LoopbackProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("mcp") is None:  # litellm.responses imports it even for calls without tools
        name = "litellm.responses.mcp.litellm_proxy_mcp_handler"
        handler = types.SimpleNamespace(should_use_litellm_mcp_gateway=lambda tools: False)
        stand_in = types.ModuleType(name)
        stand_in.LiteLLM_Proxy_MCP_Handler = handler  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, stand_in)
    call = args(p, OPENAI, input="Count to four")
    for answer in (litellm.responses(**call), await litellm.aresponses(**call)):
        assert answer.output[0].content[0].text == REPLY
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (4 + 4, 4)
    sync = [event.type.value for event in litellm.responses(**call, stream=True)]
    late = [event.type.value async for event in await litellm.aresponses(**call, stream=True)]
    assert sync == late
    assert sync.count("response.output_text.delta") == 4
    assert sync[-1] == "response.completed"


# --------------------------------------------------------------------------- what a model says


def test_unknown_models_echo(p: LoopbackProvider) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "say"}, {"type": "text", "text": " this"}]}]
    assert post(p, model="openai/small").json()["model"] == "small"
    answer = httpx.post(p.openai_base + "/chat/completions", json={"model": "new", "messages": parts}, **CLIENT).json()
    assert answer["choices"][0]["message"]["content"] == "say this"
    assert answer["usage"]["prompt_tokens"] == 2 + 4


def test_reply_may_be_a_function(p: LoopbackProvider) -> None:
    p.model("small", lambda body: f"{len(body['messages'])} messages")
    assert ask(p, OPENAI).choices[0].message.content == "2 messages"


def test_every_model(p: LoopbackProvider) -> None:
    p.model(lb.EVERY_MODEL, "all the same")
    p.script(lb.EVERY_MODEL, [lb.Status(500)])
    p.script("small", [lb.Status(400)])
    assert [post(p).status_code, post(p).status_code, post(p).status_code] == [400, 500, 200]
    answer = httpx.post(
        p.openai_base + "/chat/completions", json={"model": "new", "messages": MESSAGES}, **CLIENT
    ).json()
    assert answer["choices"][0]["message"]["content"] == "all the same"


def test_headers_go_with_every_answer(p: LoopbackProvider) -> None:
    p.model("small", REPLY, headers={"X-RateLimit-Remaining-Requests": "41"})
    p.script("small", [None, lb.RateLimited("7", headers={"x-ratelimit-remaining-requests": "0"}), lb.Status(500)])
    limits = [post(p).headers["x-ratelimit-remaining-requests"] for _ in range(3)]
    assert limits == ["41", "0", "41"]
    assert ask(p, OPENAI)._hidden_params["additional_headers"]["x-ratelimit-remaining-requests"] == "41"


@pytest.mark.parametrize("text", ["", " ", "a", "a b", "  lead", "trail \n", "a\n\nb\tc", "héllo wörld ✓", "x" * 50])
@pytest.mark.parametrize("chunks", [None, 1, 2, 7])
def test_parts_are_the_text(text: str, chunks: int | None) -> None:
    assert "".join(pieces(text)) == text
    parts = part(pieces(text), chunks)
    assert "".join(parts) == text
    assert all(parts)
    assert chunks is None or len(parts) <= chunks


@both
def test_chunks(p: LoopbackProvider, model: str) -> None:
    p.model(bare(model), REPLY, chunks=2)
    texts = [c.choices[0].delta.content for c in ask(p, model, stream=True) if c.choices[0].delta.content]
    assert texts == ["one two", " three four"]


def test_any_text_survives(p: LoopbackProvider) -> None:
    text = 'quotes " and \\ back\u2028lines\n\u0000 ✓ 𝄞 \ud800 end'
    p.model("small", text)
    p.model("claude-x", text)
    assert post(p).json()["choices"][0]["message"]["content"] == text
    assert post(p, ANTHROPIC).json()["content"][0]["text"] == text
    assert "".join(e["choices"][0]["delta"].get("content") or "" for e in data_of(post(p, stream=True))[:-1]) == text


def test_pace(p: LoopbackProvider) -> None:
    p.model("small", REPLY, ttft_s=0.04, itl_s=0.02)
    started = time.monotonic()
    arrivals = [time.monotonic() - started for c in ask(p, OPENAI, stream=True) if c.choices[0].delta.content]
    assert arrivals[0] >= 0.04
    assert arrivals[-1] >= 0.04 + 3 * 0.02
    started = time.monotonic()
    post(p)
    assert time.monotonic() - started >= 0.04 + 3 * 0.02


def test_wrong_settings_are_refused(p: LoopbackProvider) -> None:
    for wrong in ({"ttft_s": -1}, {"itl_s": -0.1}, {"chunks": 0}, {"output_tokens": -1}):
        with pytest.raises(ValueError):
            p.model("small", REPLY, **wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"write Silent\(\)"):
        p.script("small", [lb.Silent])  # type: ignore[list-item]
    with pytest.raises(RuntimeError, match="never started"):
        _ = LoopbackProvider().url


# --------------------------------------------------------------------------- scripts and the log


def test_scripts_always_and_clear(p: LoopbackProvider) -> None:
    def statuses(count: int) -> list[int]:
        return [post(p).status_code for _ in range(count)]

    p.script("small", [lb.Status(500), None, lb.Status(503)])
    assert statuses(4) == [500, 200, 503, 200]
    p.always("small", lb.Status(401))
    p.script("small", [lb.Status(404)])
    assert statuses(3) == [404, 401, 401]
    assert post(p, ANTHROPIC).status_code == 200
    p.clear("other")
    assert statuses(1) == [401]
    p.clear()
    assert statuses(1) == [200]
    assert p.calls("small") == 9


def test_the_log(p: LoopbackProvider) -> None:
    before = time.monotonic()
    ask(p, ANTHROPIC, user="someone")
    post(p)
    first, second = p.requests
    assert (first.model, first.path, first.authorized) == ("claude-x", "/v1/messages", True)
    assert first.body["messages"][0]["role"] == "user"
    assert first.headers["x-api-key"] == "sk-k"
    assert "sk-k" not in repr(first)
    assert before <= first.at <= second.at <= time.monotonic()
    assert (second.model, second.authorized, second.error) == ("small", False, "")
    p.forget()
    assert (p.requests, p.calls(), p.max_in_flight) == ([], 0, 0)


def test_keep_bounds_the_log_not_the_counts() -> None:
    with LoopbackProvider(keep=2) as provider:
        for _ in range(5):
            post(provider)
        assert (len(provider.requests), provider.calls("small")) == (2, 5)


async def test_in_flight(p: LoopbackProvider) -> None:
    gate = threading.Event()
    p.model("small", lambda body: REPLY if gate.wait(5) else "late")
    tasks = [asyncio.create_task(aask(p, OPENAI)) for _ in range(8)]
    assert await asyncio.to_thread(p.wait_until, lambda: p.in_flight == 8)
    gate.set()
    await asyncio.gather(*tasks)
    assert (p.in_flight, p.max_in_flight, p.calls("small")) == (0, 8, 8)
    assert p.wait_until(lambda: p.calls() == 9, timeout_s=0.01) is False


@both
def test_a_client_that_leaves_is_noticed(p: LoopbackProvider, model: str) -> None:
    p.model(bare(model), "word " * 1000, itl_s=0.005)
    body = {"model": bare(model), "messages": MESSAGES, "stream": True}
    with httpx.stream("POST", p.url + PATHS[model], json=body, **CLIENT) as response:
        next(response.iter_lines())
    assert p.wait_until(lambda: p.requests[0].aborted)
    assert 1 <= p.requests[0].chunks_sent < 1000
    assert p.in_flight == 0


# --------------------------------------------------------------------------- faults: answers


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 418, 429, 500, 502, 503, 529])
def test_status_has_the_providers_shape(p: LoopbackProvider, status: int) -> None:
    p.always("small", lb.Status(status, message="told you"))
    p.always("claude-x", lb.Status(status))
    answer = post(p)
    assert (answer.status_code, answer.json()["error"]["message"]) == (status, "told you")
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    answer = post(p, ANTHROPIC, stream=True)
    assert (answer.status_code, answer.json()["type"]) == (status, "error")
    assert set(answer.json()["error"]) == {"type", "message"}
    assert answer.headers["content-type"] == "application/json"


def test_status_with_a_body(p: LoopbackProvider) -> None:
    p.script("small", [lb.Status(500, b"\xff"), lb.Status(500, "plain"), lb.Status(500, {"a": 1}, {"x-a": "b"})])
    assert post(p).content == b"\xff"
    assert post(p).text == "plain"
    last = post(p)
    assert (last.json(), last.headers["x-a"]) == ({"a": 1}, "b")


LITELLM_ERRORS: list[tuple[lb.Fault, str, str]] = [
    (lb.Status(500), "InternalServerError", "InternalServerError"),
    (lb.Status(401), "AuthenticationError", "AuthenticationError"),
    (lb.Status(404), "NotFoundError", "NotFoundError"),
    (lb.RateLimited(7), "RateLimitError", "RateLimitError"),
    (lb.Overloaded(), "ServiceUnavailableError", "InternalServerError"),
    (lb.ContextWindow(), "ContextWindowExceededError", "ContextWindowExceededError"),
    (lb.ContentPolicy(), "ContentPolicyViolationError", "ContentPolicyViolationError"),
    (lb.RawBody(b"<html>", content_type="text/html"), "InternalServerError", "APIConnectionError"),
    (lb.RawBody(b'{"id":'), "InternalServerError", "APIConnectionError"),
    (lb.RawBody(b"null"), "InternalServerError", "APIConnectionError"),
    (lb.CutBody(), "InternalServerError", "InternalServerError"),
    (lb.ResetInBody(), "InternalServerError", "InternalServerError"),
    (lb.CutHeaders(), "InternalServerError", "InternalServerError"),
]


@pytest.mark.parametrize(("fault", "for_openai", "for_anthropic"), LITELLM_ERRORS, ids=lambda v: str(v)[:24])
async def test_litellm_maps_the_faults(
    p: LoopbackProvider, fault: lb.Fault, for_openai: str, for_anthropic: str
) -> None:
    p.always(lb.EVERY_MODEL, fault)
    for model, expected in ((OPENAI, for_openai), (ANTHROPIC, for_anthropic)):
        with pytest.raises(Exception) as caught:
            ask(p, model)
        assert _is(caught.value, expected)
        with pytest.raises(Exception) as caught:
            await aask(p, model)
        assert _is(caught.value, expected)


def _is(error: Exception, expected: str) -> bool:
    """litellm's versions differ in how closely they read a message: a more general class will do."""
    return expected in {type(error).__name__, *(kind.__name__ for kind in type(error).__mro__)} or (
        expected == "ContentPolicyViolationError" and type(error).__name__ == "BadRequestError"
    )


def test_messages_and_codes(p: LoopbackProvider) -> None:
    p.script("small", [lb.ContextWindow(100), lb.ContentPolicy(), lb.Overloaded(), lb.RateLimited("Wed, 21 Oct")])
    answer = post(p).json()["error"]
    assert (answer["code"], answer["param"]) == ("context_length_exceeded", "messages")
    assert answer["message"].startswith("This model's maximum context length is 100 tokens. However, your messages")
    assert post(p).json()["error"]["code"] == "content_policy_violation"
    assert post(p).status_code == 503
    limited = post(p)
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "Wed, 21 Oct")
    p.script("claude-x", [lb.ContextWindow(100), lb.Overloaded(), lb.RateLimited()])
    message = post(p, ANTHROPIC).json()["error"]["message"]
    assert message == "prompt is too long: 101 tokens > 100 maximum"
    overloaded = post(p, ANTHROPIC)
    assert (overloaded.status_code, overloaded.json()["error"]["type"]) == (529, "overloaded_error")
    assert "retry-after" not in post(p, ANTHROPIC).headers


def test_raw_body_and_redirect(p: LoopbackProvider) -> None:
    p.script("small", [lb.RawBody(b"\x00\xff", 202, "text/html", {"x-a": "b"}), lb.Redirect("/chat/completions")])
    raw = post(p)
    assert (raw.status_code, raw.content, raw.headers["content-type"]) == (202, b"\x00\xff", "text/html")
    assert ask(p, OPENAI).choices[0].message.content == REPLY  # the client follows
    assert [seen.status for seen in p.requests] == [202, 307, 200]


# --------------------------------------------------------------------------- faults: time and the connection


def test_delay(p: LoopbackProvider) -> None:
    p.script("small", [lb.Delay(0.05), lb.Delay(0.05, then=lb.Status(500))])
    started = time.monotonic()
    assert [post(p).status_code, post(p).status_code] == [200, 500]
    assert time.monotonic() - started >= 0.1


@pytest.mark.parametrize(("fault", "status"), [(lb.Silent(), 0), (lb.HeadersThenSilence(), 200), (lb.Delay(60), 0)])
@pytest.mark.parametrize("stream", [False, True])
def test_silence(p: LoopbackProvider, fault: lb.Fault, status: int, stream: bool) -> None:
    p.always("small", fault)
    with pytest.raises(httpx.ReadTimeout):
        post(p, timeout=httpx.Timeout(5, read=0.05), stream=stream)
    assert p.wait_until(lambda: p.requests[0].aborted)
    assert (p.requests[0].status, p.requests[0].chunks_sent, p.in_flight) == (status, 0, 0)


@both
async def test_silence_is_a_timeout_for_litellm(p: LoopbackProvider, model: str) -> None:
    p.always(bare(model), lb.Silent())
    with pytest.raises(litellm.Timeout):
        ask(p, model, timeout=0.25)
    with pytest.raises(litellm.Timeout):
        await aask(p, model, timeout=0.25)
    assert await asyncio.to_thread(p.wait_until, lambda: [s.aborted for s in p.requests] == [True, True])


@pytest.mark.parametrize("stream", [False, True])
def test_broken_connections(p: LoopbackProvider, stream: bool) -> None:
    expected: list[tuple[lb.Fault, type[Exception]]] = [
        (lb.Reset(), httpx.ReadError),
        (lb.CutHeaders(), httpx.RemoteProtocolError),
        (lb.CutHeaders("rst"), httpx.ReadError),
        (lb.CutBody(), httpx.RemoteProtocolError),
        (lb.ResetInBody(), httpx.ReadError),
    ]
    for fault, error in expected:
        p.script("small", [fault])
        with pytest.raises(error):
            post(p, stream=stream)
        assert (p.in_flight, p.requests[-1].aborted) == (0, False)


def test_half_a_body_arrives(p: LoopbackProvider) -> None:
    whole = len(post(p).content)
    p.script("small", [lb.CutBody()])
    received = b""
    body = {"model": "small", "messages": MESSAGES}
    with httpx.stream("POST", p.url + PATHS[OPENAI], json=body, **CLIENT) as response:
        assert int(response.headers["content-length"]) == whole
        try:
            for data in response.iter_raw():
                received += data
        except httpx.RemoteProtocolError:
            received += b"."
    assert len(received) == whole // 2 + 1


@both
def test_trickle(p: LoopbackProvider, model: str) -> None:
    p.model(bare(model), "one")
    p.always(bare(model), lb.Trickle(0.0001))
    body = {"model": bare(model), "messages": MESSAGES}
    with httpx.stream("POST", p.url + PATHS[model], json=body, **CLIENT) as response:
        sizes = [len(data) for data in response.iter_raw()]
    assert sizes.count(1) > len(sizes) * 0.9
    p.always(bare(model), lb.Trickle(0.0))
    assert said(list(ask(p, model, stream=True))) == "one"
    assert p.requests[-1].chunks_sent == 1


async def test_the_hidden_second_try_of_litellm(p: LoopbackProvider) -> None:
    """A connection lost before an answer: some of litellm's versions send the request again by themselves on some of
    their async paths; both are seen here as they are."""
    for model, name in ((OPENAI, "small"), (ANTHROPIC, "claude-x")):
        p.script(name, [lb.Reset()])
        try:
            answered = (await aask(p, model)).choices[0].message.content == REPLY
        except litellm.InternalServerError:
            answered = False
        assert p.calls(name) == 1 + answered


# --------------------------------------------------------------------------- faults: streams


def test_openai_stream_on_the_wire(p: LoopbackProvider) -> None:
    plain = post(p, stream=True)
    assert plain.headers["content-type"].startswith("text/event-stream")
    events = data_of(plain)
    assert events[-1] == "[DONE]"
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": "one"}
    assert [e["choices"][0]["finish_reason"] for e in events[:-1]] == [None] * 4 + ["stop"]
    assert not any("usage" in e for e in events[:-1])
    assert len({e["id"] for e in events[:-1]}) == 1
    counted = data_of(post(p, **STREAM))
    assert (counted[-1], counted[-2]["choices"]) == ("[DONE]", [])
    assert counted[-2]["usage"]["total_tokens"] == PROMPT_TOKENS + 4
    assert [e["usage"] for e in counted[:-2]] == [None] * 5


def test_anthropic_stream_on_the_wire(p: LoopbackProvider) -> None:
    response = post(p, ANTHROPIC, stream=True)
    names = [line[7:] for line in response.text.split("\n") if line.startswith("event: ")]
    events = data_of(response)
    assert names == [e["type"] for e in events]
    deltas = ["content_block_delta"] * 4
    assert names == ["message_start", "ping", "content_block_start", *deltas, "content_block_stop", *names[-2:]]
    assert names[-2:] == ["message_delta", "message_stop"]
    assert (
        events[0]["message"]["usage"] | {"input_tokens": PROMPT_TOKENS, "output_tokens": 1}
        == (events[0]["message"]["usage"])
    )
    assert (events[-2]["delta"]["stop_reason"], events[-2]["usage"]["output_tokens"]) == ("end_turn", 4)


@both
@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("after", [0, 2])
async def test_cut_stream(p: LoopbackProvider, model: str, how: Any, after: int) -> None:
    p.always(bare(model), lb.CutStream(after, how))
    chunks: list[Any] = []
    with pytest.raises(litellm.exceptions.MidStreamFallbackError):
        chunks.extend(chunk for chunk in ask(p, model, stream=True))
    assert said(chunks) == "one two"[: after * 4]
    chunks = []
    with pytest.raises(litellm.exceptions.MidStreamFallbackError):
        await collect(await aask(p, model, stream=True), chunks)
    assert said(chunks) == "one two"[: after * 4]
    assert [seen.chunks_sent for seen in p.requests] == [after, after]


@both
def test_a_stream_that_just_ends_looks_complete(p: LoopbackProvider, model: str) -> None:
    p.always(bare(model), lb.CutStream(2, "end"))
    response = post(p, model, stream=True)
    assert response.status_code == 200
    assert "three" not in response.text
    assert "[DONE]" not in response.text
    assert "message_stop" not in response.text


@both
def test_stall_stream(p: LoopbackProvider, model: str) -> None:
    p.script(bare(model), [lb.StallStream(2, 0.05), lb.StallStream(2, None)])
    started = time.monotonic()
    assert said(list(ask(p, model, stream=True))) == REPLY
    assert time.monotonic() - started >= 0.05
    got: list[Any] = []
    with pytest.raises(Exception, match=r"(?i)time"):
        got.extend(chunk for chunk in ask(p, model, stream=True, timeout=0.25))
    assert p.wait_until(lambda: p.requests[1].aborted)
    assert p.requests[1].chunks_sent == 2


@both
async def test_stream_error(p: LoopbackProvider, model: str) -> None:
    p.always(bare(model), lb.StreamError(2, 529, message="too much"))
    last = data_of(post(p, model, stream=True))[-1]
    assert last["error"]["message"] == "too much"
    if model == ANTHROPIC:
        assert (last["type"], last["error"]["type"]) == ("error", "overloaded_error")
    chunks: list[Any] = []
    with pytest.raises(litellm.exceptions.MidStreamFallbackError, match="too much"):
        await collect(await aask(p, model, stream=True), chunks)
    assert said(chunks) == "one two"


@both
def test_malformed_event(p: LoopbackProvider, model: str) -> None:
    p.always(bare(model), lb.MalformedEvent(1))
    lines = [line[6:] for line in post(p, model, stream=True).text.split("\n") if line.startswith("data: {")]
    broken = [i for i, line in enumerate(lines) if not line.endswith("}")]
    assert len(broken) == 1
    assert '"two' not in "".join(lines[: broken[0]])
    assert "two" in lines[broken[0] + 1]
    with pytest.raises(ValueError):
        json.loads(lines[broken[0]])


def test_end_marks(p: LoopbackProvider) -> None:
    marks = {OPENAI: "[DONE]", ANTHROPIC: "event: message_stop"}
    for model, mark in marks.items():
        p.script(bare(model), [lb.NoDone(), lb.DoubleDone(), lb.EmptyStream(), lb.NoDone()])
        assert [post(p, model, stream=True).text.count(mark) for _ in range(2)] == [0, 2]
        assert post(p, model, stream=True).text == ("data: [DONE]\n\n" if model == OPENAI else "")
        assert said(list(ask(p, model, stream=True))) == REPLY


@both
@pytest.mark.parametrize("stream", [False, True])
def test_no_finish_reason(p: LoopbackProvider, model: str, stream: bool) -> None:
    p.always(bare(model), lb.NoFinishReason())
    text = post(p, model, stream=stream).text
    assert "stop_sequence" in text if model == ANTHROPIC else "finish_reason" in text
    assert '"stop"' not in text
    assert "end_turn" not in text


def test_role_only_first(p: LoopbackProvider) -> None:
    p.script("small", [lb.RoleOnlyFirst()])
    deltas = [e["choices"][0]["delta"] for e in data_of(post(p, stream=True))[:-1]]
    assert deltas[:2] == [{"role": "assistant", "content": ""}, {"content": "one"}]
    assert p.requests[0].chunks_sent == 4


@pytest.mark.parametrize(
    "fault",
    [lb.CutStream(0), lb.StallStream(0, None), lb.StreamError(0), lb.MalformedEvent(0), lb.NoDone(), lb.EmptyStream()],
)
@both
def test_stream_faults_leave_whole_answers_alone(p: LoopbackProvider, model: str, fault: lb.Fault) -> None:
    p.always(bare(model), fault)
    assert ask(p, model).choices[0].message.content == REPLY


USAGES = [None, {}, {"prompt_tokens": 0, "completion_tokens": 0}, {"prompt_tokens": -5, "completion_tokens": "12"}]


@pytest.mark.parametrize("usage", USAGES)
def test_usage_override(p: LoopbackProvider, usage: dict[str, Any] | None) -> None:
    p.always(lb.EVERY_MODEL, lb.UsageOverride(usage))
    streamed = data_of(post(p, **STREAM))
    assert post(p).json().get("usage") == usage
    assert [e["usage"] for e in streamed[:-1] if e.get("usage") is not None] == ([] if usage is None else [usage])
    names = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
    renamed = None if usage is None else {names[key]: value for key, value in usage.items()}
    assert post(p, ANTHROPIC).json().get("usage") == renamed
    assert data_of(post(p, ANTHROPIC, stream=True))[-2].get("usage") == renamed


def test_usage_override_understands_both_families(p: LoopbackProvider) -> None:
    p.always(lb.EVERY_MODEL, lb.UsageOverride({"input_tokens": 9999, "output_tokens": 8888}))
    for model in (OPENAI, ANTHROPIC):
        usage = ask(p, model).usage
        assert (usage.prompt_tokens, usage.completion_tokens) == (9999, 8888)


# --------------------------------------------------------------------------- the test's own code


def test_own_fault(p: LoopbackProvider) -> None:
    class Teapot(lb.Fault):
        def steps(self, call: exchange.Call) -> Iterator[exchange.Step]:
            yield exchange.Wait(0.01)
            yield from call.respond(418, json.dumps(call.ask.prompt_tokens).encode())

    p.script("small", [Teapot()])
    answer = post(p)
    assert (answer.status_code, answer.json()) == (418, PROMPT_TOKENS)


def test_what_the_tests_code_raises_is_told(p: LoopbackProvider) -> None:
    class Breaks(lb.Fault):
        def steps(self, call: exchange.Call) -> Iterator[exchange.Step]:
            yield from itertools.islice(call.answer(), 3)
            raise KeyError("late")

    p.model("small", lambda body: body["nothing"])
    answer = post(p)
    assert (answer.status_code, p.requests[0].error) == (500, "KeyError('nothing')")
    assert "KeyError" in answer.json()["error"]["message"]
    p.model("small", REPLY)
    p.script("small", [Breaks()])
    with pytest.raises(httpx.ReadError):
        post(p, stream=True)
    assert p.requests[1].error == "KeyError('late')"


# --------------------------------------------------------------------------- HTTP itself


def test_keep_alive_and_paths(p: LoopbackProvider) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(p.url.rpartition(":")[2]), timeout=5)
    body = json.dumps({"model": "small", "messages": MESSAGES})
    p.script("small", [None, None, None, lb.Status(500)])
    statuses = []
    for method, path in (
        ("POST", "/v1/chat/completions"),
        ("POST", "/chat/completions?api-version=1"),
        ("POST", "/messages"),
        ("POST", "/v1/v1/messages"),
        ("GET", "/v1/chat/completions"),
    ):
        connection.request(method, path, body)
        sock = connection.sock
        answer = connection.getresponse()
        answer.read()
        assert connection.sock is sock  # not closed by the answer
        statuses.append(answer.status)
    assert statuses == [200, 200, 200, 404, 405]
    connection.request("POST", "/v1/chat/completions", b"not json")
    assert connection.getresponse().status == 400
    assert post(p).status_code == 500  # what no model could answer took nothing from the script
    connection.close()


def test_bodies_of_every_framing(p: LoopbackProvider) -> None:
    body = json.dumps({"model": "small", "messages": [{"role": "user", "content": "x" * 200_000}]}).encode()
    pieces_of_it = (body[i : i + 7000] for i in range(0, len(body), 7000))
    assert httpx.post(p.openai_base + "/chat/completions", content=pieces_of_it, **CLIENT).status_code == 200
    assert p.requests[0].headers["transfer-encoding"] == "chunked"
    assert p.requests[0].body == json.loads(body)
    with socket.create_connection(("127.0.0.1", int(p.url.rpartition(":")[2])), timeout=5) as sock:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\n"
        sock.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
        assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
        sock.sendall(body)
        with sock.makefile("rb") as answer:
            assert answer.read().startswith(b"HTTP/1.1 200 OK\r\n")  # and the end: it was asked to close


def test_a_second_request_in_one_write(p: LoopbackProvider) -> None:
    p.model("small", REPLY, ttft_s=0.02)
    body = json.dumps({"model": "small", "messages": MESSAGES}).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n%b\r\n%b"
    with socket.create_connection(("127.0.0.1", int(p.url.rpartition(":")[2])), timeout=5) as sock:
        sock.sendall(request % (len(body), b"", body) + request % (len(body), b"Connection: close\r\n", body))
        with sock.makefile("rb") as answers:
            assert answers.read().count(b"HTTP/1.1 200 OK") == 2


def test_overhead_is_small(p: LoopbackProvider) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(p.url.rpartition(":")[2]), timeout=5)
    body = json.dumps({"model": "small", "messages": MESSAGES})
    started = time.monotonic()
    for _ in range(300):
        connection.request("POST", "/v1/chat/completions", body)
        connection.getresponse().read()
    connection.close()
    assert time.monotonic() - started < 3  # client included; usual is a twentieth of it


# --------------------------------------------------------------------------- life


@pytest.mark.parametrize(
    "fault",
    [
        lb.Silent(),
        lb.HeadersThenSilence(),
        lb.Delay(60),
        lb.StallStream(1, 60),
        lb.Trickle(60),
        lb.StallStream(0, None),
    ],
)
def test_stop_is_prompt(fault: lb.Fault) -> None:
    before = threading.active_count()
    earlier = set(threading.enumerate())
    provider = LoopbackProvider().start()
    provider.always("small", fault)

    def outcome() -> type[Exception]:
        with pytest.raises(httpx.TransportError) as caught:
            post(provider, stream=True, timeout=30)
        return caught.type

    with ThreadPoolExecutor(5) as pool:
        clients = [pool.submit(outcome) for _ in range(5)]
        assert provider.wait_until(lambda: provider.in_flight == 5)
        started = time.monotonic()
        provider.stop()
        assert time.monotonic() - started < 1
        left = {thread for thread in threading.enumerate() if thread.name.startswith("loopback-")} - earlier
        assert not left
        assert all(issubclass(client.result(5), httpx.TransportError) for client in clients)
    provider.stop()
    assert threading.active_count() == before
    assert provider.in_flight == 0
    assert not any(seen.aborted for seen in provider.requests)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
def test_stop_leaves_no_sockets() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    for _ in range(3):
        with LoopbackProvider() as provider, httpx.Client(**CLIENT) as client:
            client.post(provider.openai_base + "/chat/completions", json={"model": "small"})
            assert descriptors() > before
    assert descriptors() == before


def test_an_outage_and_a_recovery(p: LoopbackProvider) -> None:
    url = p.url
    assert post(p).status_code == 200
    p.stop()
    assert p.url == url
    with pytest.raises(httpx.ConnectError):
        post(p)
    assert p.start() is p
    assert p.start() is p
    assert (p.url, post(p).status_code, p.calls("small")) == (url, 200, 2)


def test_two_providers_do_not_mix() -> None:
    with LoopbackProvider() as a, LoopbackProvider() as b:
        assert a.url != b.url
        ids = {post(a).json()["id"], post(b).json()["id"], post(b).json()["id"]}
        assert (len(ids), a.calls(), b.calls()) == (3, 1, 2)


def test_the_fixture(loopback_provider: LoopbackProvider) -> None:  # noqa: F811
    assert post(loopback_provider).status_code == 200


def test_stop_from_a_reply_function() -> None:
    """A provider that dies while it answers."""
    provider = LoopbackProvider().start()

    def die(body: dict[str, Any]) -> str:
        provider.stop()
        return "never read"

    reply: Callable[[dict[str, Any]], str] = die
    provider.model("small", reply)
    with pytest.raises(httpx.TransportError):
        post(provider)
    with pytest.raises(httpx.ConnectError):
        post(provider)
