"""litellm's real HTTP path against a real server: failures translated, time kept, money settled, in four modes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import litellm
import pytest

from router_plugin import Budget, Deployment, Router, RouteResult, StreamInterruptedError
from router_plugin.testing import LoopbackProvider
from router_plugin.testing import loopback as f

MODES = ["sync", "async", "sync stream", "async stream"]
MESSAGES = [{"role": "user", "content": "hello"}]
PRICE = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["openai", "anthropic"])
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server() -> Any:
    with LoopbackProvider() as provider:
        provider.model("one", reply="first model speaking here")
        provider.model("two", reply="second model speaking here")
        yield provider


def router_of(server: LoopbackProvider, wire: str = "openai", **options: Any) -> Router:
    base = server.openai_base if wire == "openai" else server.url
    options.setdefault("budgets", [Budget(10)])
    models = [
        Deployment(f"{wire}/{name}", name=name, quality=quality, api_base=base, api_key="k", **PRICE)
        for name, quality in (("one", 0.9), ("two", 0.5))
    ]
    return Router("loop", models, **options)


def ask(router: Router, mode: str, **kwargs: Any) -> tuple[str, Any]:
    kwargs = {"messages": MESSAGES, **kwargs}
    if mode == "sync":
        answer = router.completion(**kwargs)
        return answer.choices[0].message.content, answer
    if mode == "sync stream":
        stream = router.completion(stream=True, **kwargs)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices), stream

    async def run() -> tuple[str, Any]:
        if mode == "async":
            answer = await router.acompletion(**kwargs)
            return answer.choices[0].message.content, answer
        stream = await router.acompletion(stream=True, **kwargs)
        return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices]), stream

    return asyncio.run(run())


def nothing_held(router: Router) -> None:
    assert all(row["reserved_usd"] == 0 for row in router.budgets())
    assert all(seen["in_flight"] == 0 for seen in router.stats().values())


def test_an_answer_is_litellms_own_object_and_its_usage_is_what_was_settled(
    server: LoopbackProvider, mode: str, wire: str
) -> None:
    router = router_of(server, wire)
    text, answer = ask(router, mode)
    assert text == "first model speaking here"
    assert isinstance(answer, litellm.CustomStreamWrapper if "stream" in mode else litellm.ModelResponse)
    result = RouteResult.of(answer)
    assert result is not None
    (attempt,) = result.attempts
    assert attempt.output_tokens == 4
    assert attempt.cost_usd == pytest.approx(attempt.input_tokens * 1e-6 + 4 * 2e-6)
    assert router.budgets()[0]["settled_usd"] == pytest.approx(attempt.cost_usd)
    nothing_held(router)


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        (f.Status(500), ["one", "one", "two"]),
        (f.RateLimited(retry_after="7"), ["one", "two"]),
        (f.Overloaded(), ["one", "two"]),
        (f.Status(401), ["one", "two"]),
        (f.Status(403), ["one", "two"]),
        (f.Status(404), ["one", "two"]),
        (f.Status(402), ["one", "two"]),
        (f.Status(408), ["one", "two"]),
        (f.Status(409), ["one", "two"]),
        (f.RawBody(b"<html>oops</html>", content_type="text/html"), ["one", "two"]),
        (f.RawBody(b"null"), ["one", "two"]),
        (f.RawBody(b'{"choices": []}'), ["one", "two"]),
        (f.RawBody(b'{"choices": [{"mess'), ["one", "two"]),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else "-".join(value),
)
def test_failures_and_what_follows(
    server: LoopbackProvider, mode: str, wire: str, fault: Any, calls: list[str]
) -> None:
    if isinstance(fault, f.RawBody) and "stream" in mode:
        fault = f.EmptyStream()
    server.always("one", fault)
    router = router_of(server, wire)
    text, answer = ask(router, mode)
    assert text == "second model speaking here"
    assert [seen.model for seen in server.requests] == calls
    result = RouteResult.of(answer)
    assert result is not None
    assert result.deployment == "two"
    nothing_held(router)


@pytest.mark.parametrize("fault", [f.Reset(), f.ResetInBody()], ids=["reset", "reset in body"])
def test_a_reset_is_one_request_a_try(server: LoopbackProvider, mode: str, wire: str, fault: Any) -> None:
    if "stream" in mode:
        fault = f.CutHeaders("rst")
    server.always("one", fault)
    router = router_of(server, wire)
    assert ask(router, mode)[0] == "second model speaking here"
    assert server.calls("one") <= 2
    nothing_held(router)


@pytest.mark.parametrize("fault", [f.Silent(), f.HeadersThenSilence()], ids=["silent", "headers then silence"])
def test_silence_is_cut_at_the_attempts_time(server: LoopbackProvider, mode: str, wire: str, fault: Any) -> None:
    server.always("one", fault)
    router = router_of(server, wire)
    ask(router, mode, routing={"attempt_timeout_s": 5, "models": ["two"]})  # warm up
    started = time.monotonic()
    text, answer = ask(router, mode, routing={"attempt_timeout_s": 0.3})
    assert text == "second model speaking here"
    assert time.monotonic() - started < 2.5
    result = RouteResult.of(answer)
    assert result is not None
    assert result.attempts[0].error == "timeout: Timeout"
    assert server.calls("one") == 1, "a silent route is not asked twice"
    nothing_held(router)


def test_a_trickling_body_is_cut(server: LoopbackProvider, wire: str) -> None:
    server.always("one", f.Trickle(0.05))
    router = router_of(server, wire)
    for mode in ("sync", "async"):
        started = time.monotonic()
        text, _ = ask(router, mode, routing={"attempt_timeout_s": 0.4})
        assert text == "second model speaking here"
        assert time.monotonic() - started < 3
    nothing_held(router)


def test_the_deadline_ends_a_call_that_nobody_answers(server: LoopbackProvider, mode: str) -> None:
    server.always("one", f.Silent())
    server.always("two", f.Silent())
    router = router_of(server)
    started = time.monotonic()
    with pytest.raises(litellm.Timeout):
        ask(router, mode, timeout=0.6)
    assert time.monotonic() - started < 1.5
    nothing_held(router)


class TestBrokenStreams:
    @pytest.fixture(params=["sync stream", "async stream"])
    def mode(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.mark.parametrize(
        "fault",
        [f.CutStream(2), f.CutStream(2, "rst"), f.StreamError(2), f.CutStream(3, "end"), f.MalformedEvent(2)],
        ids=["cut", "reset", "error event", "no finish reason", "malformed"],
    )
    def test_a_break_after_content_is_raised_with_what_came(
        self, server: LoopbackProvider, mode: str, wire: str, fault: Any
    ) -> None:
        server.always("one", fault)
        router = router_of(server, wire)
        with pytest.raises(StreamInterruptedError) as caught:
            ask(router, mode)
        assert "first".startswith(caught.value.partial_text[:5])
        assert RouteResult.of(caught.value) is not None
        nothing_held(router)
        assert router.budgets()[0]["settled_usd"] > 0

    @pytest.mark.parametrize("fault", [f.CutStream(0), f.StreamError(0)], ids=["cut", "error event"])
    def test_a_break_before_content_falls_back(
        self, server: LoopbackProvider, mode: str, wire: str, fault: Any
    ) -> None:
        server.always("one", fault)
        router = router_of(server, wire)
        assert ask(router, mode)[0] == "second model speaking here"
        nothing_held(router)

    def test_a_stalled_stream_breaks_at_the_stall_limit(self, server: LoopbackProvider, mode: str, wire: str) -> None:
        server.always("one", f.StallStream(2, 30))
        router = router_of(server, wire)
        started = time.monotonic()
        with pytest.raises(StreamInterruptedError):
            ask(router, mode, routing={"stall_timeout_s": 0.3})
        assert time.monotonic() - started < 3
        nothing_held(router)

    def test_midstream_restart_answers_again_from_the_beginning(
        self, server: LoopbackProvider, mode: str, wire: str
    ) -> None:
        server.always("one", f.CutStream(2))
        router = router_of(server, wire, midstream="restart")

        async def collect() -> list[Any]:
            return [c async for c in await router.acompletion(messages=MESSAGES, stream=True)]

        if mode == "sync stream":
            chunks = list(router.completion(messages=MESSAGES, stream=True))
        else:
            chunks = asyncio.run(collect())
        marks = [i for i, chunk in enumerate(chunks) if getattr(chunk, "router_event", None) == "restart"]
        assert len(marks) == 1
        rest = chunks[marks[0] + 1 :]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in rest if chunk.choices)
        assert text == "second model speaking here"
        nothing_held(router)

    def test_buffer_hands_nothing_over_until_the_answer_is_whole(
        self, server: LoopbackProvider, mode: str, wire: str
    ) -> None:
        server.always("one", f.CutStream(2))
        router = router_of(server, wire, buffer=True)
        assert ask(router, mode)[0] == "second model speaking here"
        nothing_held(router)

    def test_usage_is_asked_for_and_hidden_again(self, server: LoopbackProvider, mode: str) -> None:
        router = router_of(server)
        seen: list[Any] = []

        async def collect(**kwargs: Any) -> None:
            seen.extend([c async for c in await router.acompletion(messages=MESSAGES, stream=True, **kwargs)])

        def run(**kwargs: Any) -> None:
            seen.clear()
            if mode == "sync stream":
                seen.extend(router.completion(messages=MESSAGES, stream=True, **kwargs))
            else:
                asyncio.run(collect(**kwargs))

        run()
        assert server.requests[-1].body["stream_options"] == {"include_usage": True}
        assert not any(getattr(chunk, "usage", None) for chunk in seen)
        run(stream_options={"include_usage": True})
        assert [chunk.usage.completion_tokens for chunk in seen if getattr(chunk, "usage", None)] == [4]

    def test_a_stream_closed_early_gives_the_connection_back(
        self, server: LoopbackProvider, mode: str, wire: str
    ) -> None:
        server.model("one", reply=" ".join(["word"] * 2000), itl_s=0.01)
        router = router_of(server, wire)

        async def leave() -> None:
            stream = await router.acompletion(messages=MESSAGES, stream=True)
            await stream.__anext__()
            await stream.aclose()
            await asyncio.to_thread(server.wait_until, lambda: server.in_flight == 0, 5)

        if mode == "sync stream":
            stream = router.completion(messages=MESSAGES, stream=True)
            next(stream)
            stream.close()
            server.wait_until(lambda: server.in_flight == 0, 5)
        else:
            asyncio.run(leave())
        assert server.in_flight == 0
        nothing_held(router)
        assert 0 < router.budgets()[0]["settled_usd"] < 0.001


def test_a_redirect_to_another_host_carries_neither_prompt_nor_key(
    server: LoopbackProvider, mode: str, wire: str
) -> None:
    with LoopbackProvider() as thief:
        server.always("one", f.Redirect(f"{thief.url}/v1/chat/completions"))
        router = router_of(server, wire)
        assert ask(router, mode)[0] == "second model speaking here"
        assert thief.requests == []


def test_n_answers_pass_and_are_paid_for(server: LoopbackProvider) -> None:
    router = router_of(server)
    answer = router.completion(messages=MESSAGES, n=3)
    assert len(answer.choices) == 3
    result = RouteResult.of(answer)
    assert result is not None
    assert result.attempts[0].output_tokens == 12


def test_the_output_cap_that_was_set_reaches_the_provider(server: LoopbackProvider, mode: str) -> None:
    server.model("one", reply=" ".join(f"word{number}" for number in range(5000)))
    router = router_of(server, max_cost=0.002)
    _, answer = ask(router, mode)
    result = RouteResult.of(answer)
    assert result is not None
    assert server.requests[0].body["max_tokens"] == result.output_cap
    assert 256 <= (result.output_cap or 0) < 1000
    assert result.cost_usd <= 0.002
