"""hazards.md 3, "Requests": an error of ours that names the field, or the provider's business; nothing is ever held."""

from __future__ import annotations

import asyncio
import copy
import json
import time
import unicodedata
from typing import Any

import litellm
import pytest
from stage import (
    HI,
    MODES,
    PRICE,
    FakeClock,
    Says,
    ask,
    both_wires,
    deployment,
    four_modes,
    go,
    let_go,
    nothing_held,
    router,
    scripted,
    spent,
)

from router_plugin import Budget, BudgetExceededError, Deployment, NoCandidateError, Router, SpecError, install
from router_plugin.testing import loopback as lb
from router_plugin.testing.loopback import LoopbackProvider

KEYED = {"budgets": [Budget(usd=1, key="user")]}


def user(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


# --------------------------------------------------------------------------- messages

NO_MESSAGES: list[Any] = [
    None,
    5,
    "hello",
    b"hello",
    {},
    {"role": "user", "content": "hi"},
    [5],
    [None],
    ["hello"],
    [["user", "hi"]],
    user(5),
    user(5.5),
    user(True),
    user({"type": "text", "text": "hi"}),
    user(b"hi"),
    [*HI, 5],
    (m for m in HI),
]


@pytest.mark.parametrize("messages", NO_MESSAGES, ids=lambda m: repr(m)[:40])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_messages_that_are_none(mode: str, messages: Any) -> None:
    r, provider = scripted(FakeClock())
    error = ask(mode, r, messages=messages).raises(SpecError)
    assert "messages" in str(error)
    assert provider.calls == []
    nothing_held(r)


def test_messages_left_out() -> None:
    r, provider = scripted(FakeClock())
    with pytest.raises(SpecError, match="messages"):
        r.completion()
    with install(r), pytest.raises((SpecError, TypeError)):
        litellm.completion("router")
    assert provider.calls == []


FINE: list[tuple[str, Any]] = [
    ("empty list", []),
    ("empty text", user("")),
    ("None content", [{"role": "assistant", "content": None}]),
    ("no content", [{"role": "user"}]),
    (
        "tool calls without content",
        [
            *HI,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "5"},
        ],
    ),
    ("developer", [{"role": "developer", "content": "Be brief."}, *HI]),
    ("garbage role", [{"role": "wizard", "content": "hi"}]),
    ("no role", [{"content": "hi"}]),
    ("role None", [{"role": None, "content": "hi"}]),
    ("unknown part type", user([{"type": "hologram", "data": "x"}])),
    ("a part that is an int", user([5])),
    ("a part that is None", user([None])),
    ("a text part without text", user([{"type": "text"}])),
    ("a text part with a number", user([{"type": "text", "text": 5}])),
    ("an image part without a url", user([{"type": "image_url"}])),
    ("an audio part without data", user([{"type": "input_audio"}])),
    ("a file part without data", user([{"type": "file", "file": {"file_id": "f"}}])),
    ("no parts", user([])),
    ("lone surrogate", user("a\ud800b")),
    ("emoji", user("👩‍👩‍👧‍👦" * 500)),
    ("combining flood", user("e" + "\u0301" * 10_000)),
    ("CJK", user("漢字" * 5_000)),
    ("control characters", user("".join(map(chr, range(32))))),
    ("NUL", user("a\x00b")),
    ("unknown keys", [{"role": "user", "content": "hi", "bogus": {"a": [1]}}]),
    ("an object in a message", [{"role": "user", "content": "hi", "bogus": object()}]),
    ("a name of 10 kB", [{"role": "user", "content": "hi", "name": "x" * 10_240}]),
]


@pytest.mark.parametrize("messages", [f[1] for f in FINE], ids=[f[0] for f in FINE])
@pytest.mark.parametrize("mode", ["sync", "async stream"])
@both_wires
def test_messages_that_are_the_providers_business(p: LoopbackProvider, wire: str, mode: str, messages: Any) -> None:
    """Whatever litellm and the provider make of them: an answer, a litellm error or ours, and nothing held. What
    cannot even be sent is no fault of a deployment: it is not asked of one after the other, and none of them rests."""
    p.model("m", "fine")
    p.model("n", "fine")
    r = router(p, "m", "n", wire=wire)
    told = ask(mode, r, messages=messages, max_tokens=20, timeout=10)
    let_go(r)
    if told.error is not None:
        ours = (TypeError, AttributeError, KeyError, IndexError, UnicodeError, RecursionError, NameError)
        assert not isinstance(told.error, ours), repr(told.error)
        tried = [f"{a.deployment}: {a.error}" for a in told.result.attempts]
        assert len(tried) == len(set(tried)), tried
    if p.calls() == 0:
        assert spent(r) == 0, "nothing was sent, and something is paid for"
    assert all(seen["state"] == "ok" for seen in r.stats().values())


POISON: list[tuple[str, dict[str, Any]]] = [
    ("a lone surrogate", {"messages": user("a\ud800b")}),
    (
        "an object in a tool",
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"x": object()}}}]},
    ),
    ("a set in a tool", {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"x": {1, 2}}}}]}),
    ("a header with a newline", {"extra_headers": {"x-trace": "a\nb"}}),
    ("a header that is no text", {"extra_headers": {"x-trace": object()}}),
    ("NaN", {"temperature": float("nan")}),
    ("an object as a parameter", {"seed": object()}),
]


@pytest.mark.parametrize("asked", [x[1] for x in POISON], ids=[x[0] for x in POISON])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_request_that_cannot_be_sent_takes_no_deployment_from_the_others(
    p: LoopbackProvider, mode: str, asked: dict[str, Any]
) -> None:
    """One caller with a poisoned request, over and over: it fails for him, at once, and for nobody else."""
    r = router(p, "m", "n")
    for _ in range(8):
        told = ask(mode, r, timeout=10, **asked)
        if told.error is None:
            return
        tried = [f"{a.deployment}: {a.error}" for a in told.result.attempts]
        assert len(tried) == len(set(tried)), tried
    assert p.calls() == 0
    assert spent(r) == 0
    assert {name: seen["state"] for name, seen in r.stats().items()} == {"m": "ok", "n": "ok"}
    nothing_held(r)


# --------------------------------------------------------------------------- size


def test_a_20_mb_prompt() -> None:
    r = Router("r", models=["openai/gpt-4o", "anthropic/claude-sonnet-4-5"], max_cost=0.1)
    for text in ("x" * 20_000_000, "漢" * 7_000_000):
        started = time.monotonic()
        with pytest.raises(NoCandidateError):
            r.route({"messages": user(text)})
        assert time.monotonic() - started < 2


def test_two_million_one_character_messages() -> None:
    r = Router("r", models=["openai/gpt-4o"], max_cost=0.1)
    started = time.monotonic()
    with pytest.raises(NoCandidateError, match="context_window"):
        r.route({"messages": [{"role": "user", "content": "x"}] * 2_000_000})
    assert time.monotonic() - started < 6


def test_a_1_mb_tool_schema_counts() -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": "d " * 1_000_000}}]
    r = Router("r", models=[Deployment("openai/gpt-4o")])
    with pytest.raises(NoCandidateError, match="context_window"):
        r.route({"messages": HI, "tools": tools})
    dear = Router("r", models=[Deployment("openai/gpt-4.1")], max_cost=0.01)
    with pytest.raises(NoCandidateError):
        dear.route({"messages": HI, "tools": tools})


def test_a_tool_schema_that_holds_itself_or_is_very_deep() -> None:
    """Its size is unknown: it fits no bound, and is an error of nobody's where there is none."""
    cyclic: dict[str, Any] = {"name": "f"}
    cyclic["parameters"] = cyclic
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    for schema in (cyclic, {"name": "f", "parameters": deep}):
        tools = [{"type": "function", "function": schema}]
        r, provider = scripted(FakeClock(), max_cost=0.01)
        ask("sync", r, tools=tools).raises(NoCandidateError, SpecError)
        assert provider.calls == []
        nothing_held(r)
        free, _ = scripted(FakeClock(), budgets=[])
        ask("sync", free, tools=tools)
    while isinstance(deep, list):  # taken apart here: freeing it whole would go as deep
        deep = deep.pop()


def test_a_prompt_of_one_token_a_character_stays_within_its_bound() -> None:
    """CJK, emoji and combining marks: the estimate is bytes/3, the bound every byte."""
    for text in ("漢字かな" * 200, "👩‍👩‍👧‍👦" * 100, "e" + "\u0301" * 800, "\ud800" * 300):
        r, provider = scripted(FakeClock())
        provider.script("m", [Says(input_tokens=len(text.encode("utf-8", "surrogatepass")), output_tokens=10)])
        limit = len(text.encode("utf-8", "surrogatepass")) * 1e-6 + 10 * 2e-6
        ask("sync", r, messages=user(text), max_tokens=10, max_cost=2 * limit + 1e-4).answered()
        assert spent(r) <= 2 * limit + 1e-4
        nothing_held(r)


# --------------------------------------------------------------------------- numbers of a request


@pytest.mark.parametrize("cap", [0, -1, None, 1e9, 10**9, 10**30, "100", 2.5, True, float("nan"), [], "lots"], ids=repr)
@pytest.mark.parametrize("spelling", ["max_tokens", "max_completion_tokens"])
def test_an_output_cap_that_is_none_never_widens_a_budget(p: LoopbackProvider, cap: Any, spelling: str) -> None:
    """The provider of this test takes whole numbers for a cap and knows no other: it talks on without one."""
    p.model("m", "w " * 6_000)
    r = Router("r", models=[deployment(p)], budgets=[Budget(usd=0.005)])
    ask("sync", r, timeout=10, **{spelling: cap})
    nothing_held(r)
    assert spent(r) <= 0.005


@pytest.mark.parametrize("n", [100, 2, "3", 2.0, True, 0, -5, None, 1e9, [2]], ids=repr)
def test_n_multiplies_what_is_reserved(p: LoopbackProvider, n: Any) -> None:
    p.model("m", "w " * 50)
    r = Router("r", models=[deployment(p)], budgets=[Budget(usd=0.002)])
    told = ask("sync", r, n=n, max_tokens=50, timeout=10)
    nothing_held(r)
    assert spent(r) <= 0.002, told.answer
    if n == 100:
        told.raises(BudgetExceededError)


@pytest.mark.parametrize("mode", MODES[2:])
def test_a_stream_with_n_above_one(p: LoopbackProvider, mode: str) -> None:
    p.model("m", "one two")
    told = ask(mode, router(p), n=3, max_tokens=10, timeout=10)
    told.answered()
    by_choice: dict[int, str] = {}
    for chunk in told.chunks:
        for choice in chunk.choices:
            by_choice[choice.index] = by_choice.get(choice.index, "") + (choice.delta.content or "")
    assert by_choice == {0: "one two", 1: "one two", 2: "one two"}
    assert told.result.cost_usd == pytest.approx(11e-6 + 6 * 2e-6)


@pytest.mark.parametrize("stream", [None, 0, 1, "yes", "", "false", []], ids=repr)
def test_a_stream_flag_that_is_no_bool(p: LoopbackProvider, stream: Any) -> None:
    """litellm's business what it makes of it (a whole answer, mostly); ours that nothing stays held."""
    p.model("m", "one two")
    r = router(p)
    try:
        got = r.completion(messages=HI, stream=stream, timeout=10)
        text = "".join(c.choices[0].delta.content or "" for c in got) if hasattr(got, "__next__") else None
        assert (text or got.choices[0].message.content) == "one two"
    except (SpecError, litellm.BadRequestError, litellm.InternalServerError):
        pass
    got = None
    let_go(r)


def image(detail: str = "high") -> Any:
    return user([{"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": detail}}])


PDF = "data:application/pdf;base64," + "QUJD" * 20_000
MEDIA: list[tuple[str, Any, int]] = [
    # (what, messages, input tokens that gpt-4o-mini honestly bills for it)
    ("a high-detail image", image(), 25_501),
    ("a low-detail image", image("low"), 2_833),
    ("four images", [*image(), *image(), *image(), *image()], 4 * 25_501),
    ("a PDF", user([{"type": "file", "file": {"file_data": PDF}}]), 20_000),
    ("a file by its id", user([{"type": "file", "file": {"file_id": "file-1"}}]), 100_000),
    ("a file by its url", user([{"type": "file", "file": {"file_id": "https://example.com/a.pdf"}}]), 100_000),
    ("an unknown part", user([{"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}]), 50_000),
]


@pytest.mark.parametrize(("messages", "tokens"), [m[1:] for m in MEDIA], ids=[m[0] for m in MEDIA])
@pytest.mark.parametrize("bound", ["max_cost", "budget"])
def test_what_cannot_be_counted_is_not_taken_for_little(messages: Any, tokens: int, bound: str) -> None:
    """Images, PDFs and files that are only referred to: text tokenisers know nothing of them, so no exact count of
    theirs may stand for the bound."""
    supports = {"vision": True, "files": True}
    settings: dict[str, Any] = {"max_cost": 4e-4} if bound == "max_cost" else {"budgets": [Budget(usd=4e-4)]}
    r = Router("r", models=[Deployment("openai/gpt-4o-mini", supports=supports)], **settings)
    cost = tokens * 0.15e-6

    @r.wrap
    def call(model: str, messages: Any, **kwargs: Any) -> Any:
        return {"choices": [{"message": {"content": "ok"}}], "usage": {"prompt_tokens": tokens, "completion_tokens": 1}}

    try:
        call("router", messages, max_tokens=10)
    except NoCandidateError:
        return
    assert cost <= 4e-4, f"accepted under a bound of $0.0004, and billed ${cost:.5f}"


# --------------------------------------------------------------------------- who asks


@pytest.mark.parametrize("who", ["", None])
def test_a_user_that_is_nobody_counts_under_none(who: Any) -> None:
    r, _ = scripted(FakeClock(), **KEYED)
    ask("sync", r, user=who).answered()
    assert [account["key"] for account in r.budgets()] == ["(none)"]
    strict, provider = scripted(FakeClock(), budgets=[Budget(usd=1, key="user", require_key=True)])
    ask("sync", strict, user=who).raises(SpecError)
    assert provider.calls == []


NOBODY: list[Any] = ["x" * 10_240, True, 1.5, ["ann"], {"id": 5}, b"ann", object(), 10**5_000, float("nan")]


@pytest.mark.parametrize("who", NOBODY, ids=lambda v: type(v).__name__)
def test_a_user_that_is_no_key(who: Any) -> None:
    r, provider = scripted(FakeClock(), **KEYED)
    error = ask("sync", r, user=who).raises(SpecError)
    assert "user" in str(error)
    assert len(str(error)) < 500
    assert provider.calls == []


def test_users_that_look_alike_share_nothing() -> None:
    """Text and numbers, separators, case, full-width and look-alike letters; a person called "(none)"."""
    users: list[Any] = [
        "1",
        1,
        "a:b",
        "a",
        "b",
        "a:b:c",
        "A",
        "ａ",
        "\u0430",
        "(none)",
        None,
        "None",
        "a\x00",
        "a ",
        "\ud800",
    ]
    r, _ = scripted(FakeClock(), budgets=[Budget(usd=1.5e-4, key="user")], script={"m": [Says(output_tokens=40)]})
    for who in users:
        ask("sync", r, user=who, max_tokens=40).answered()
    assert len(r.budgets()) == len(users)
    for who in users:
        error = ask("sync", r, user=who, max_tokens=40).raises(BudgetExceededError)
        assert str(error)
    assert sum(account["settled_usd"] for account in r.budgets()) == pytest.approx(len(users) * 90e-6)


def test_the_same_user_but_for_the_unicode_normal_form_is_one() -> None:
    r, _ = scripted(FakeClock(), **KEYED)
    for form in ("NFC", "NFD"):
        ask("sync", r, user=unicodedata.normalize(form, "Zoë-Å")).answered()
    assert len(r.budgets()) == 1


def test_keys_of_two_parts_are_not_joined() -> None:
    """`a:b` + `c` is not `a` + `b:c`."""
    budgets = [Budget(usd=1, key="extra.team", name="t"), Budget(usd=1, key="metadata.tenant", name="m")]
    r, _ = scripted(FakeClock(), budgets=budgets)
    ask("sync", r, extra={"team": "a:b"}, metadata={"tenant": "c"}).answered()
    ask("sync", r, extra={"team": "a"}, metadata={"tenant": "b:c"}).answered()
    assert sorted((a["name"], a["key"]) for a in r.budgets()) == [("m", "b:c"), ("m", "c"), ("t", "a"), ("t", "a:b")]


@pytest.mark.parametrize(
    "metadata", [None, "tenant", 5, ["tenant"], [("tenant", "x")], True, {}, {5: 6}, {"tenant": None}]
)
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_metadata_that_is_no_dict(p: LoopbackProvider, mode: str, metadata: Any) -> None:
    p.model("m", "fine")
    r = router(p, budgets=[Budget(usd=1, key="metadata.tenant")])
    told = ask(mode, r, metadata=metadata, timeout=10)
    if metadata is None or (isinstance(metadata, dict) and all(isinstance(key, str) for key in metadata)):
        assert told.answered() == "fine"
    elif told.error is not None:
        told.raises(SpecError, litellm.BadRequestError, litellm.APIError, litellm.APIConnectionError)
        assert len(told.result.attempts) <= 1 if not isinstance(told.error, SpecError) else True
    nothing_held(r)


@pytest.mark.parametrize("extra", [5, "team", ["team"], True, [("team", "x")], b"x"])
def test_extra_that_is_no_mapping(extra: Any) -> None:
    r, provider = scripted(FakeClock())
    error = ask("sync", r, extra=extra).raises(SpecError)
    assert "extra" in str(error)
    assert provider.calls == []


# --------------------------------------------------------------------------- litellm's own keywords


def test_mock_response_calls_nobody(p: LoopbackProvider) -> None:
    r = router(p)
    for mode in MODES:
        assert ask(mode, r, mock_response="made up", timeout=10).answered() == "made up"
    assert p.calls() == 0
    nothing_held(r)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_mock_error_is_raised_as_litellm_raises_it(p: LoopbackProvider, mode: str) -> None:
    r = router(p, patience_s=0)
    told = ask(mode, r, mock_response=litellm.RateLimitError("mocked", "openai", "m"), timeout=3)
    told.raises(litellm.RateLimitError)
    nothing_held(r)


@four_modes
def test_caching_gives_the_second_call_its_answer_for_nothing(
    p: LoopbackProvider, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hit of litellm's cache was sent to nobody: nothing is paid for it."""
    from litellm.caching import caching_handler

    monkeypatch.setattr(litellm, "cache", litellm.Cache(type="local"))
    # This question imports litellm's proxy, which is not installed where litellm is a library.
    monkeypatch.setattr(caching_handler, "_should_defer_streaming_cache_hit_callbacks", lambda **kwargs: False)
    p.model("m", "one two three")
    r = router(p)
    assert ask(mode, r, caching=True, timeout=10).answered() == "one two three"
    first = spent(r)

    async def settle_down() -> None:  # the cache is written behind the answer
        await asyncio.sleep(0.3)

    go(settle_down())
    assert ask(mode, r, caching=True, timeout=10).answered() == "one two three"
    let_go(r)
    if p.calls() == 1:
        assert spent(r) == first
    else:
        assert mode == "sync stream", "litellm's cache did not take the first answer"


@four_modes
def test_fallbacks_of_litellm_are_ours_to_follow(p: LoopbackProvider, mode: str) -> None:
    p.always("m", lb.Status(500))
    p.model("n", "fine")
    r = router(p, "m", "n")
    told = ask(mode, r, model="m", fallbacks=["n"], timeout=10)
    assert told.answered() == "fine"
    assert p.calls() <= 4


@pytest.mark.parametrize(
    "fallbacks", [5, "n", [5], [{"model": "n"}], [None], {"m": ["n"]}, ["no-such"], [["n"]]], ids=repr
)
def test_fallbacks_that_are_none(fallbacks: Any) -> None:
    r, provider = scripted(FakeClock(), "m", "n")
    ask("sync", r, model="m", fallbacks=fallbacks).raises(SpecError)
    assert provider.calls == []


def test_keywords_we_do_not_know_pass_through_untouched(p: LoopbackProvider) -> None:
    p.model("m", "fine")
    r = router(p)
    sent = {
        "seed": 7,
        "temperature": 0.25,
        "stop": ["END"],
        "response_format": {"type": "json_object"},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "logit_bias": {"5": 1},
        "zz_unknown": {"a": [1, None, "ü"]},
    }
    for mode in MODES:
        p.forget()
        ask(mode, r, timeout=10, extra={"team": "x"}, max_cost=0.5, **copy.deepcopy(sent)).answered()
        (seen,) = p.requests
        for name, value in sent.items():
            assert seen.body.get(name) == value, name
        for name in ("extra", "max_cost", "models", "routing", "willingness_to_pay", "timeout", "metadata"):
            assert name not in seen.body
        assert "team" not in json.dumps(seen.body)


def test_what_the_caller_gave_is_not_changed(p: LoopbackProvider) -> None:
    """litellm takes system messages out of a list for Anthropic, and writes into metadata: not into the caller's."""
    for name in ("m", "n"):
        p.model(name, "fine")
    p.always("m", lb.Status(500))
    made = [deployment(p, "m", "anthropic", quality=0.9), deployment(p, "n", "openai", quality=0.8)]
    r = Router("r", models=made, budgets=[Budget(1)])
    given: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": "Never swear."},
            {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]},
            {"role": "assistant", "content": "hello"},
            {"role": "user", "content": "again"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
        "extra": {"team": "x"},
        "routing": {"max_attempts": 3},
        "extra_headers": {"x-trace": "1"},
        "stop": ["END"],
        "models": ["m", "n"],
        "stream_options": {"include_usage": True},
    }
    for mode in MODES:
        before = copy.deepcopy(given)
        kwargs = dict(given) if mode.endswith("stream") else {k: v for k, v in given.items() if k != "stream_options"}
        told = ask(mode, r, timeout=10, **kwargs)
        assert told.answered() == "fine"
        assert given == before
    for seen in p.requests:
        text = json.dumps(seen.body)
        assert "Never swear." in text, f"{seen.model} never saw the system message"


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_messages_changed_by_the_caller_during_the_call(p: LoopbackProvider, wire: str) -> None:
    """An async caller goes on appending to his conversation: every attempt sends what was asked, and what was
    reserved for."""
    p.always("m", lb.Delay(0.15, then=lb.Status(500)))
    p.model("n", "fine")
    r = router(p, "m", "n", wire=wire)
    messages = [{"role": "user", "content": "short"}]

    async def main() -> None:
        task = asyncio.ensure_future(r.acompletion(messages=messages, max_tokens=10, timeout=10))
        await asyncio.sleep(0.05)
        messages.append({"role": "user", "content": "LATER " * 5_000})
        messages[0]["content"] = "CHANGED"
        await task

    go(main())
    for seen in p.requests:
        text = json.dumps(seen.body)
        assert "LATER" not in text
        assert "CHANGED" not in text
    nothing_held(r)


@pytest.mark.parametrize("position", [(HI,), ("router", HI), ("m", HI)])
def test_positional_arguments(position: tuple[Any, ...]) -> None:
    r, _ = scripted(FakeClock())
    assert r.completion(*position)["choices"]


def test_too_many_positional_arguments() -> None:
    r, provider = scripted(FakeClock())
    with pytest.raises(TypeError, match="position"):
        r.completion("router", HI, 0.5)
    assert provider.calls == []


def test_a_request_given_to_route_may_be_anything_that_is_a_request() -> None:
    r, _ = scripted(FakeClock())
    assert r.route({"prompt": "hi"}).ranking == ["m"]
    assert r.route().ranking == ["m"]
    for wrong in (5, "hi", [HI]):
        with pytest.raises((SpecError, TypeError)):
            r.route(wrong)  # type: ignore[arg-type]


def test_prices_of_plain_deployments_are_the_declared_ones() -> None:
    """The counter-check of this file: an ordinary request costs what its usage says."""
    r, _ = scripted(FakeClock(), models=[Deployment("openai/m", **PRICE)])
    ask("sync", r).answered()
    assert spent(r) == pytest.approx(10e-6 + 5 * 2e-6)
