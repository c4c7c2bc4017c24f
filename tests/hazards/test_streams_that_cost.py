"""What streams that broke have cost, held back or continued; and what wrapped functions' streams are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import litellm
import pytest
from stage import HI, PRICE, LoopbackProvider, ask, deployment, four_modes, let_go, nothing_held, router, spent

from router_plugin import Budget, Deployment, Router, RouteResult, install
from router_plugin.testing import loopback as lb

LONG = " ".join(f"w{i:03d}" for i in range(3_000))
streams = pytest.mark.parametrize("mode", ["sync stream", "async stream"])


@streams
def test_a_stream_that_breaks_while_it_is_held_back_is_paid_for(p: LoopbackProvider, mode: str) -> None:
    for name in "abc":
        p.model(name, LONG)
        p.always(name, lb.CutStream(1_400))
    r = router(p, "a", "b", "c")
    options = {"midstream": "restart", "buffer": True, "max_attempts": 6}
    told = ask(mode, r, max_cost=0.003, routing=options)
    told.raises(Exception)
    let_go(r)
    assert 1_000e-6 < spent(r) <= 0.003
    assert told.result.attempts[0].output_tokens >= 1_000


@streams
def test_what_is_sent_again_to_be_continued_is_inside_the_bound(p: LoopbackProvider, mode: str) -> None:
    """The partial answer comes back as input, at the price of input."""
    price = {"input_cost_per_token": 1e-5, "output_cost_per_token": 1e-7, "supports": {"prefill": True}}
    p.model("a", LONG)
    p.script("a", [lb.CutStream(900)])
    p.model("c", "the rest")
    made = [Deployment(f"anthropic/{n}", name=n, api_base=p.url, api_key="k", **price) for n in "ac"]
    r = Router("r", models=made, budgets=[Budget(usd=0.0105)])
    told = ask(mode, r, max_cost=0.0105, max_tokens=4_000, routing={"midstream": "continue"})
    let_go(r)
    assert spent(r) <= 0.0105
    assert told.result.cost_usd <= 0.0105


@streams
def test_who_cannot_continue_answers_from_the_beginning(p: LoopbackProvider, mode: str) -> None:
    for name in "ac":
        p.model(name, "one two three four")
        p.always(name, lb.CutStream(2))
    p.model("d", "all of it")
    made = [
        Deployment(f"anthropic/{n}", name=n, api_base=p.url, api_key="k", supports={"prefill": n != "d"}, **PRICE)
        for n in "acd"
    ]
    r = Router("r", models=made, budgets=[Budget(usd=1)])
    told = ask(mode, r, routing={"midstream": "continue"})
    assert told.text.endswith("all of it")
    assert any(getattr(chunk, "router_event", None) == "restart" for chunk in told.chunks)
    bodies = [seen.body["messages"] for seen in p.requests]
    assert [len(messages) for messages in bodies] == [1, 2, 1]
    let_go(r)


@four_modes
@pytest.mark.parametrize("model", ["openai/gpt-4o", "gemini/gemini-2.5-flash", "anthropic/claude-haiku-4-5", "azure/x"])
def test_a_missing_credential_fails_like_any_401(
    p: LoopbackProvider, mode: str, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_API_BASE", "_TOKEN")):
            monkeypatch.delenv(name)
    p.model("b", "fine")
    r = Router("r", models=[Deployment(model, name="x", quality=0.9), deployment(p, "b", quality=0.1)])
    told = ask(mode, r, timeout=10)
    assert told.answered() == "fine"
    assert [attempt.deployment for attempt in told.result.attempts] == ["x", "b"]
    assert r.stats()["x"]["state"] == "cooling"


def chunk(text: str, end: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": end}]}


def of(*models: str, **more: Any) -> Router:
    made = [Deployment(f"openai/{n}", name=n, quality=0.9 - i / 100, **PRICE) for i, n in enumerate(models)]
    return Router("r", models=made, budgets=[Budget(usd=1)], **more)


def test_a_wrapped_stream_is_held_back_where_that_is_asked() -> None:
    r = of("a", "b")

    @r.wrap(buffer=True, midstream="restart")
    def call(model: str, messages: Any, **kwargs: Any) -> Iterator[Any]:
        yield chunk("one ")
        if model == "openai/a":
            raise ConnectionError("cut")
        yield chunk("two", "stop")

    assert [c["choices"][0]["delta"]["content"] for c in call("router", HI, stream=True)] == ["one ", "two"]
    nothing_held(r)


@pytest.mark.parametrize(
    "bad", [[chunk("one "), chunk("two")], [], [{"choices": []}]], ids=["no end", "nothing", "no choices"]
)
def test_a_short_or_empty_answer_of_a_function_is_none(bad: list[Any]) -> None:
    r = of("a", "b", midstream="restart")

    @r.wrap
    def call(model: str, messages: Any, **kwargs: Any) -> Any:
        return iter(bad if model == "openai/a" else [chunk("fine", "stop")])

    told = list(call("router", HI, stream=True))
    assert told[-1] == chunk("fine", "stop")
    nothing_held(r)


def test_text_chunks_are_handed_over_as_they_come() -> None:
    r, made = of("a"), []

    @r.wrap
    def call(model: str, messages: Any, **kwargs: Any) -> Iterator[str]:
        for word in ("one ", "two ", "three "):
            made.append(word)
            yield word

    stream = call("router", HI, stream=True)
    assert next(stream) == "one "
    assert made == ["one "]
    assert list(stream) == ["two ", "three "]
    nothing_held(r)


def test_usage_of_anthropics_own_events_is_read() -> None:
    r = of("a")
    events = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1}}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hello"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
    ]
    assert len(list(r.wrap(lambda model, messages, **kw: iter(events))("router", HI, stream=True))) == 3
    assert spent(r) == pytest.approx(10e-6 + 7 * 2e-6)


def test_input_that_anthropics_first_event_reports_is_paid_for_where_the_stream_breaks_before_any_content() -> None:
    r = of("a")

    def broken(model: str, messages: Any, **kwargs: Any) -> Iterator[Any]:
        yield {"type": "message_start", "message": {"usage": {"input_tokens": 5_000, "output_tokens": 1}}}
        raise ConnectionError("reset")

    with pytest.raises(ConnectionError) as caught:
        list(r.wrap(broken)("router", HI, stream=True))
    result = RouteResult.of(caught.value)
    assert result is not None
    assert result.attempts[0].input_tokens == 5_000
    assert 0 < spent(r) == pytest.approx(sum(attempt.cost_usd for attempt in result.attempts))
    nothing_held(r)


def test_metadata_of_a_response_reaches_the_budgets(p: LoopbackProvider) -> None:
    p.model("m", "fine")
    r = router(p, budgets=[Budget(usd=1, key="metadata.tenant", require_key=True)])
    with install(r):
        litellm.responses(model="router", input="x", metadata={"tenant": "acme"})
        with pytest.raises(ValueError, match="one prompt"):
            litellm.text_completion(model="router", prompt=["one two", "three four"])
    assert [account["key"] for account in r.budgets()] == ["acme"]


def test_a_stall_is_said_as_such(p: LoopbackProvider) -> None:
    p.model("m", "one two three")
    p.always("m", lb.StallStream(1, 5))
    told = ask("sync stream", router(p), timeout=3, routing={"stall_timeout_s": 0.2})
    assert "nothing came for 0.2 s" in str(told.raises(Exception))
    assert RouteResult.of(told.error) is not None
