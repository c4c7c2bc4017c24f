"""hazards.md 3, "Provider answers": whatever comes back, the next deployment answers, or the error says what came."""

from __future__ import annotations

import gzip
import json
import resource
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import litellm
import pytest
from stage import HI, MODES, FakeClock, Told, ask, both_wires, four_modes, four_pairs, let_go, router, scripted, spent

from router_plugin import StreamInterruptedError
from router_plugin.provider.retry_after import parse_wait, wait_wanted
from router_plugin.testing import loopback as lb
from router_plugin.testing.exchange import SSE, Call, Send, Step
from router_plugin.testing.loopback import LoopbackProvider

stream_modes = pytest.mark.parametrize("mode", MODES[2:])
whole_modes = pytest.mark.parametrize("mode", MODES[:2])
TEXT = "one two three four five six"


@pytest.fixture(autouse=True)
def models(p: LoopbackProvider) -> None:
    for name in ("m", "n"):
        p.model(name, TEXT)


def falls_over(p: LoopbackProvider, wire: str, mode: str, fault: Any, **more: Any) -> Told:
    """The first deployment answers like that for ever, the second one well: the caller gets a whole good answer."""
    p.always("m", fault)
    r = router(p, "m", "n", wire=wire, patience_s=0.01, **more)
    told = ask(mode, r, timeout=10, max_tokens=50)
    let_go(r)
    assert told.answered() == TEXT
    assert told.result.deployment == "n"
    assert p.calls() == len(told.result.attempts)
    assert spent(r) == pytest.approx(told.result.cost_usd)
    return told


def alone(p: LoopbackProvider, wire: str, mode: str, fault: Any, **more: Any) -> Told:
    """The only deployment answers like that."""
    p.always("m", fault)
    r = router(p, wire=wire, patience_s=0.01, **more)
    told = ask(mode, r, timeout=5, max_tokens=50)
    let_go(r)
    assert p.calls() == len(told.result.attempts)
    return told


# --------------------------------------------------------------------------- whole answers that are none

OPENAI_EMPTY = b"""{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[],
"usage":{"prompt_tokens":9,"completion_tokens":0,"total_tokens":9}}"""
ANTHROPIC_EMPTY = b"""{"id":"x","type":"message","role":"assistant","model":"m","content":[],"stop_reason":"end_turn",
"usage":{"input_tokens":9,"output_tokens":0}}"""
NO_ANSWERS: list[tuple[str, bytes]] = [
    ("null", b"null"),
    ("nothing", b""),
    ("empty object", b"{}"),
    ("a list", b"[]"),
    ("a number", b"5"),
    ("a string", b'"sorry"'),
    ("HTML", b"<html><body>502 Bad Gateway</body></html>"),
    ("truncated JSON", b'{"id":"x","object":"chat.completion","choices":[{"index":0,"mess'),
    ("bytes that are no text", b"\xff\xfe\x00\x01"),
    ("deep JSON", b"[" * 50_000),
    ("an error inside a 200", b'{"error":{"message":"Upstream failed","type":"server_error","code":502}}'),
    ("an error of text inside a 200", b'{"error":"Upstream failed"}'),
    ("choices null", b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":null}'),
    ("choices of null", b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[null]}'),
    ("a choice without a message", b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{}]}'),
]


@both_wires
@whole_modes
@pytest.mark.parametrize("body", [n[1] for n in NO_ANSWERS], ids=[n[0] for n in NO_ANSWERS])
def test_a_200_that_is_no_answer(p: LoopbackProvider, wire: str, mode: str, body: bytes) -> None:
    falls_over(p, wire, mode, lb.RawBody(body))


@both_wires
@stream_modes
@pytest.mark.parametrize("body", [n[1] for n in NO_ANSWERS], ids=[n[0] for n in NO_ANSWERS])
@pytest.mark.parametrize("content_type", ["application/json", SSE])
def test_a_200_that_is_no_stream(p: LoopbackProvider, wire: str, mode: str, body: bytes, content_type: str) -> None:
    falls_over(p, wire, mode, lb.RawBody(body, content_type=content_type))


@whole_modes
def test_empty_choices(p: LoopbackProvider, mode: str) -> None:
    told = falls_over(p, "openai", mode, lb.RawBody(OPENAI_EMPTY))
    assert told.result.attempts[0].cost_usd == pytest.approx(9e-6)


@both_wires
@whole_modes
def test_null_content_is_an_answer(p: LoopbackProvider, wire: str, mode: str) -> None:
    """A refusal, a filter, a model that only thought: whole and paid for; what it is worth is the caller's business."""
    body = ANTHROPIC_EMPTY
    if wire == "openai":
        body = OPENAI_EMPTY.replace(
            b"[]", b'[{"index":0,"message":{"role":"assistant","content":null},"finish_reason":"stop"}]'
        )
    told = alone(p, wire, mode, lb.RawBody(body))
    assert told.answered() == ""
    assert len(told.result.attempts) == 1


# --------------------------------------------------------------------------- usage

USAGES: list[tuple[str, Any, float | None]] = [
    # (what, what is reported, tokens that are paid for; None: an estimate within what was reserved)
    ("missing", None, None),
    ("empty", {}, None),
    ("zero", {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None),
    ("negative", {"prompt_tokens": -5, "completion_tokens": -7, "total_tokens": -12}, None),
    ("strings", {"prompt_tokens": "11", "completion_tokens": "6", "total_tokens": "17"}, None),
    ("null", {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}, None),
    ("half", {"prompt_tokens": 11}, None),
    ("fractions", {"prompt_tokens": 11.0, "completion_tokens": 6.0, "total_tokens": 17.0}, 23e-6),
    ("above the reservation", {"prompt_tokens": 9_000, "completion_tokens": 9_000, "total_tokens": 18_000}, 0.027),
    ("astronomical", {"prompt_tokens": 10**30, "completion_tokens": 10**30, "total_tokens": 10**30}, None),
    ("a list", [1, 2, 3], None),
    ("a string", "lots", None),
]


@four_pairs
@pytest.mark.parametrize(("usage", "paid"), [u[1:] for u in USAGES], ids=[u[0] for u in USAGES])
def test_usage(p: LoopbackProvider, wire: str, mode: str, usage: Any, paid: float | None) -> None:
    """The answer is the caller's in any case where litellm can read it; the money is what can be believed."""
    if not isinstance(usage, dict | None):
        pytest.skip("the loopback reports mappings only")
    told = alone(p, wire, mode, lb.UsageOverride(usage))
    if told.error is not None:
        told.raises(litellm.APIError, litellm.APIConnectionError, litellm.InternalServerError, StreamInterruptedError)
        assert usage not in (None, {}) or wire == "anthropic", "litellm cannot read an Anthropic answer without usage"
        return
    assert told.text == TEXT
    attempt = told.result.attempts[-1]
    assert 0 < attempt.cost_usd < 1, attempt
    if paid is not None:
        assert attempt.cost_usd == pytest.approx(paid)
    else:
        assert attempt.cost_usd <= (24 + 8 + 16) * 1e-6 + 50 * 2e-6


# --------------------------------------------------------------------------- refusals

RETRY_AFTERS = [
    None,
    "",
    "0",
    "-1",
    "inf",
    "nan",
    "1e999",
    "86400",
    "999999999999",
    "soon",
    "1, 2",
    "٣",
    "6m0s",
    "7.66",
    "Wed, 21 Oct 2015 07:28:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "0001-01-01T00:00:00Z",
    "9" * 400,
]


@pytest.mark.parametrize(("wire", "mode"), [("openai", "async stream"), ("anthropic", "sync")])
@pytest.mark.parametrize("wished", [w for w in RETRY_AFTERS if w is None or w.isascii()], ids=repr)
def test_429_with_any_retry_after(p: LoopbackProvider, wire: str, mode: str, wished: str | None) -> None:
    """The next deployment answers at once; the limited one comes back within minutes, whatever it asked for."""
    told = falls_over(p, wire, mode, lb.RateLimited(retry_after=wished))
    assert told.seconds < 1.5
    assert told.result.attempts[0].cost_usd == 0
    assert told.result.attempts[0].error is not None
    assert told.result.attempts[0].error.startswith("rate_limit")


@pytest.mark.parametrize("wished", RETRY_AFTERS, ids=lambda w: repr(w)[:30])
def test_no_retry_after_cools_for_longer_than_minutes(wished: str | None) -> None:
    clock = FakeClock()
    error = litellm.RateLimitError("slow down", "openai", "m")
    error.litellm_response_headers = {} if wished is None else {"retry-after": wished}
    r, provider = scripted(clock, "m", "n", script={"m": [error]})
    ask("sync", r).answered()
    cooling = r.stats()["m"]["cooling_s"]
    assert cooling is None or 0 < cooling <= 300
    clock.advance(300)
    provider.calls.clear()
    ask("sync", r).answered()
    assert provider.calls[0][0] == "m"


def test_a_parser_of_waits_never_raises() -> None:
    wall = 1_767_225_600.0
    odd = [
        *RETRY_AFTERS,
        5,
        5.5,
        b"5",
        [],
        {},
        "T",
        "2026-13-45T99:99:99Z",
        "2026-01-01T00:00:00+99:99",
        "0001-01-01T00:00:00+23:59",
    ]
    odd += [
        "Mon, 99 Jan 2026 00:00:00 GMT",
        ",",
        "GMT",
        "1h2m3s4ms",
        "ms",
        "h",
        "5 s",
        "½",
        "１２",
        "\x00",
        "1_000",
        "0x10",
        "+5",
        "5.",
    ]
    for value in odd:
        for found in (
            parse_wait(value, wall),
            wait_wanted({"Retry-After": value, "retry-after-ms": value}, f"retry after {value} seconds", wall),
        ):
            assert found is None or 0 <= found < float("inf"), (value, found)


STATUSES = [401, 402, 403, 404, 408, 409, 429, 500, 502, 503, 504, 520, 529]


@four_pairs
@pytest.mark.parametrize("status", STATUSES)
def test_a_status_of_one_deployment_moves_on(p: LoopbackProvider, wire: str, mode: str, status: int) -> None:
    told = falls_over(p, wire, mode, lb.Status(status))
    expected = 2 if status in (500, 502, 504, 520) else 1
    assert len([a for a in told.result.attempts if a.deployment == "m"]) <= expected


@four_pairs
@pytest.mark.parametrize("status", [500, 503, 529])
def test_a_status_that_comes_once(p: LoopbackProvider, wire: str, mode: str, status: int) -> None:
    p.script("m", [lb.Status(status)])
    r = router(p, "m", "n", wire=wire)
    assert ask(mode, r, timeout=10).answered() == TEXT
    assert p.calls() == 2
    let_go(r)


@four_pairs
@pytest.mark.parametrize(
    "body", [b"", b"null", b"<html>", b"{}", b"\xff", b'{"error":null}', b'{"error":[1]}', b"[" * 9_000]
)
def test_an_error_with_any_body(p: LoopbackProvider, wire: str, mode: str, body: bytes) -> None:
    falls_over(p, wire, mode, lb.Status(503, body=body))


@both_wires
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_remaining_below_zero_in_the_headers_of_an_answer(p: LoopbackProvider, wire: str, mode: str) -> None:
    odd = {"x-ratelimit-remaining-requests": "-1", "x-ratelimit-limit-tokens": "0", "x-ratelimit-reset-tokens": "inf"}
    p.model("m", TEXT, headers={**odd, "anthropic-ratelimit-requests-remaining": "-1", "retry-after": "never"})
    r = router(p, wire=wire)
    for _ in range(3):
        assert ask(mode, r, timeout=5).answered() == TEXT
    assert r.stats()["m"]["state"] == "ok"


# --------------------------------------------------------------------------- connections


@both_wires
@four_modes
@pytest.mark.parametrize(
    "fault",
    [lb.Reset(), lb.CutHeaders("fin"), lb.CutHeaders("rst"), lb.CutBody(), lb.ResetInBody()],
    ids=["reset before headers", "cut headers", "reset in the headers", "cut in the body", "reset in the body"],
)
def test_a_connection_that_breaks_before_any_content(p: LoopbackProvider, wire: str, mode: str, fault: Any) -> None:
    if mode.endswith("stream") and isinstance(fault, lb.CutBody):
        pytest.skip("content has been handed over by then: tested below")
    told = falls_over(p, wire, mode, fault)
    for attempt in told.result.attempts[:-1]:
        assert attempt.error is not None
        assert attempt.error.split(":")[0] in ("connection", "server", "bad_answer"), attempt


@both_wires
@four_modes
def test_nobody_listens(p: LoopbackProvider, wire: str, mode: str) -> None:
    with LoopbackProvider() as gone:
        made = router(gone, "m", wire=wire).spec.deployments[0]
    from router_plugin import Budget, Router

    r = Router("r", models=[made, *router(p, "n", wire=wire).spec.deployments], budgets=[Budget(1)])
    told = ask(mode, r, timeout=10)
    assert told.answered() == TEXT
    assert told.result.attempts[0].cost_usd == 0, "nothing was sent"
    let_go(r)


# --------------------------------------------------------------------------- streams

BREAKS: list[tuple[str, Any]] = [
    ("cut", lb.CutStream(2, "fin")),
    ("reset", lb.CutStream(2, "rst")),
    ("ends early", lb.CutStream(2, "end")),
    ("stalls", lb.StallStream(2, None)),
    ("malformed line", lb.MalformedEvent(2)),
    ("error event", lb.StreamError(2)),
    ("overloaded error event", lb.StreamError(2, status=529)),
    ("rate limit error event", lb.StreamError(2, status=429)),
    ("no finish reason", lb.NoFinishReason()),
]
FIRST = [
    ("cut", lb.CutStream(0, "fin")),
    ("reset", lb.CutStream(0, "rst")),
    ("ends at once", lb.CutStream(0, "end")),
    ("stalls", lb.StallStream(0, None)),
    ("malformed line", lb.MalformedEvent(0)),
    ("error event", lb.StreamError(0)),
    ("overloaded error event", lb.StreamError(0, status=529)),
    ("empty stream", lb.EmptyStream()),
]


@both_wires
@stream_modes
@pytest.mark.parametrize("fault", [f[1] for f in FIRST], ids=[f[0] for f in FIRST])
def test_a_stream_that_breaks_before_its_first_content_moves_on_unnoticed(
    p: LoopbackProvider, wire: str, mode: str, fault: Any
) -> None:
    told = falls_over(p, wire, mode, fault, ttft_timeout_s=0.3)
    assert not [chunk for chunk in told.chunks if getattr(chunk, "router_event", None)]


@both_wires
@stream_modes
@pytest.mark.parametrize("fault", [b[1] for b in BREAKS], ids=[b[0] for b in BREAKS])
def test_a_stream_that_breaks_is_raised_with_what_came(p: LoopbackProvider, wire: str, mode: str, fault: Any) -> None:
    """A short answer is never passed off as a whole one."""
    if wire == "anthropic" and isinstance(fault, lb.NoFinishReason):
        pytest.skip("Anthropic's end mark has come: litellm takes that for a stop")
    told = alone(p, wire, mode, fault, stall_timeout_s=0.2)
    error = told.raises(StreamInterruptedError)
    assert error.partial_text.startswith("one two")
    assert error.partial_text == told.text
    assert told.result.attempts[-1].outcome == "failed"
    assert told.result.attempts[-1].cost_usd > 0


@both_wires
@stream_modes
@pytest.mark.parametrize("fault", [b[1] for b in BREAKS], ids=[b[0] for b in BREAKS])
@pytest.mark.parametrize("buffer", [False, True])
def test_a_stream_that_breaks_is_restarted(p: LoopbackProvider, wire: str, mode: str, fault: Any, buffer: bool) -> None:
    if wire == "anthropic" and isinstance(fault, lb.NoFinishReason):
        pytest.skip("Anthropic's end mark has come: litellm takes that for a stop")
    p.always("m", fault)
    r = router(p, "m", "n", wire=wire, stall_timeout_s=0.2, midstream="restart", buffer=buffer)
    told = ask(mode, r, timeout=10, max_tokens=50)
    let_go(r)
    if told.error is not None:
        raise AssertionError(repr(told.error)) from told.error
    marks = [place for place, c in enumerate(told.chunks) if getattr(c, "router_event", None) == "restart"]
    assert len(marks) == (0 if buffer else 1)
    after = told.chunks[marks[0] + 1 :] if marks else told.chunks
    assert "".join(c.choices[0].delta.content or "" for c in after if c.choices) == TEXT
    assert told.result.deployment == "n"


HARMLESS: list[tuple[str, Any]] = [
    ("no [DONE]", lb.NoDone()),
    ("twice [DONE]", lb.DoubleDone()),
    ("role-only first chunk", lb.RoleOnlyFirst()),
    ("stalls shortly", lb.StallStream(2, 0.05)),
]


@both_wires
@stream_modes
@pytest.mark.parametrize("fault", [h[1] for h in HARMLESS], ids=[h[0] for h in HARMLESS])
def test_a_complete_stream_that_is_merely_odd_is_fine(p: LoopbackProvider, wire: str, mode: str, fault: Any) -> None:
    told = alone(p, wire, mode, fault, stall_timeout_s=1)
    assert told.answered() == TEXT
    assert len(told.result.attempts) == 1
    assert told.result.cost_usd == pytest.approx(11e-6 + 6 * 2e-6)


@dataclass(frozen=True)
class RawStream(lb.Fault):
    """Exactly these server-sent events, in pieces of ``size`` bytes (0: as one)."""

    body: bytes
    size: int = 0

    def steps(self, call: Call) -> Iterable[Step]:
        yield call.head(200, content_type=SSE, length=len(self.body))
        for at in range(0, len(self.body), self.size or len(self.body) or 1):
            yield Send(self.body[at : at + (self.size or len(self.body))])


def openai_events(*choices: Any, usage: Any = None, done: bool = True) -> bytes:
    head = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    events = [{**head, "choices": c} for c in choices]
    if usage is not None:
        events[-1] = {**events[-1], "usage": usage}
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    return (text + ("data: [DONE]\n\n" if done else "")).encode()


def delta(text: str | None, finish: str | None = None, **more: Any) -> list[Any]:
    return [{"index": 0, "delta": {"content": text, **more}, "finish_reason": finish}]


USAGE = {"prompt_tokens": 11, "completion_tokens": 6, "total_tokens": 17}
ODD: list[tuple[str, bytes]] = [
    ("usage chunk with choices", openai_events(delta("one two three "), delta("four five six", "stop"), usage=USAGE)),
    ("usage with every chunk", openai_events(delta("one two three "), delta("four five six", "stop"), [], usage=USAGE)),
    ("comments and blank lines", b": ping\n\n\n\n" + openai_events(delta(TEXT), delta(None, "stop"), [], usage=USAGE)),
    ("CRLF", openai_events(delta(TEXT), delta(None, "stop"), [], usage=USAGE).replace(b"\n", b"\r\n")),
    (
        "no space after data:",
        openai_events(delta(TEXT), delta(None, "stop"), [], usage=USAGE).replace(b"data: ", b"data:"),
    ),
    (
        "an event name",
        openai_events(delta(TEXT), delta(None, "stop"), [], usage=USAGE).replace(b"data: {", b"event: x\ndata: {"),
    ),
    ("bytes after [DONE]", openai_events(delta(TEXT), delta(None, "stop"), [], usage=USAGE) + b"data: garbage\n\n"),
    ("chunks without choices first", openai_events([], [], delta(TEXT), delta(None, "stop"), [], usage=USAGE)),
    ("null deltas", openai_events(delta(None), delta(TEXT), delta(None), delta(None, "stop"), [], usage=USAGE)),
    ("the finish reason twice", openai_events(delta(TEXT), delta(None, "stop"), delta(None, "stop"), [], usage=USAGE)),
    ("content with the finish reason", openai_events(delta(TEXT, "stop"), [], usage=USAGE)),
    ("no usage at all", openai_events(delta(TEXT), delta(None, "stop"))),
]


@stream_modes
@pytest.mark.parametrize("size", [0, 7])
@pytest.mark.parametrize("body", [o[1] for o in ODD], ids=[o[0] for o in ODD])
def test_a_stream_with_odd_events(p: LoopbackProvider, mode: str, body: bytes, size: int) -> None:
    told = alone(p, "openai", mode, RawStream(body, size))
    assert told.answered() == TEXT
    assert len(told.result.attempts) == 1
    assert told.result.cost_usd == pytest.approx(11e-6 + 6 * 2e-6, rel=0.6)


@stream_modes
@both_wires
def test_an_event_over_1_mb(p: LoopbackProvider, mode: str, wire: str) -> None:
    long = "x" * 1_500_000
    p.model("m", long, chunks=1)
    r = router(p, wire=wire, usd=10)
    told = ask(mode, r, timeout=10)
    assert told.answered() == long
    let_go(r)


@stream_modes
@pytest.mark.parametrize(
    "what", ["null", "5", "[]", '{"choices":[null]}', '{"choices":[{}]}', '{"choices":[{"delta":null}]}']
)
def test_an_event_that_is_no_chunk(p: LoopbackProvider, mode: str, what: str) -> None:
    """Skipped, or a break: never a crash of another kind, and never half an answer as a whole one."""
    body = openai_events(delta("one "), done=False) + f"data: {what}\n\n".encode()
    body += openai_events(delta("two three four five six"), delta(None, "stop"), [], usage=USAGE)
    told = alone(p, "openai", mode, RawStream(body))
    if told.error is None:
        assert told.text == TEXT
    else:
        told.raises(StreamInterruptedError)


# --------------------------------------------------------------------------- and the rest


@four_pairs
def test_a_redirect_to_another_host_is_not_followed(p: LoopbackProvider, wire: str, mode: str) -> None:
    with LoopbackProvider() as elsewhere:
        path = "/v1/chat/completions" if wire == "openai" else "/v1/messages"
        for status in (301, 302, 307, 308):
            p.always("m", lb.Redirect(elsewhere.url + path, status))
            r = router(p, "m", "n", wire=wire)
            told = ask(mode, r, timeout=5)
            assert elsewhere.calls() == 0
            if told.error is None:
                assert told.text == TEXT
            let_go(r)


@both_wires
@whole_modes
def test_a_redirect_that_goes_round_in_circles(p: LoopbackProvider, wire: str, mode: str) -> None:
    path = "/v1/chat/completions" if wire == "openai" else "/v1/messages"
    p.always("m", lb.Redirect(p.url + path, 307))
    r = router(p, wire=wire)
    told = ask(mode, r, timeout=5)
    told.raises(Exception)
    assert p.calls() <= 16
    let_go(r)


@whole_modes
def test_a_gzip_bomb(p: LoopbackProvider, mode: str) -> None:
    """30 kB that are 30 MB: no answer, and the next deployment's turn; the process lives."""
    bomb = gzip.compress(b" " * 30_000_000, 9)
    assert len(bomb) < 40_000
    falls_over(p, "openai", mode, lb.RawBody(bomb, headers={"content-encoding": "gzip"}))


@both_wires
@whole_modes
def test_a_gzip_bomb_is_unfolded_no_further_than_an_answer_goes(p: LoopbackProvider, wire: str, mode: str) -> None:
    """400 MB out of 400 kB: memory grows by less than half of it."""
    bomb, piece, packer = b"", bytes(1_000_000), zlib.compressobj(9, wbits=31)
    for _ in range(400):
        bomb += packer.compress(piece)
    bomb += packer.flush()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    falls_over(p, wire, mode, lb.RawBody(bomb, headers={"content-encoding": "gzip"}))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 250_000


@both_wires
@whole_modes
def test_a_long_page_instead_of_an_answer_keeps_nobody_past_the_deadline(
    p: LoopbackProvider, wire: str, mode: str
) -> None:
    """litellm puts an Anthropic body it cannot read into its error, whole, and searches that for secrets at 4 s a
    megabyte, on the event loop (60 MB out of a gzip bomb took minutes and all memory)."""
    p.always("m", lb.RawBody(b"<html>" + b"x" * 600_000, content_type="text/html"))
    r = router(p, "m", "n", wire=wire)
    told = ask(mode, r, timeout=1, max_tokens=50)
    assert told.seconds < 1.25
    assert told.answered() == TEXT
    let_go(r)


@both_wires
@four_modes
def test_a_body_that_is_not_gzip_as_it_says(p: LoopbackProvider, wire: str, mode: str) -> None:
    falls_over(p, wire, mode, lb.RawBody(b"not gzip at all", headers={"content-encoding": "gzip"}))


@pytest.mark.parametrize("mode", ["sync", "async stream"])
def test_an_image_behind_a_redirect_is_still_fetched(p: LoopbackProvider, mode: str) -> None:
    """litellm downloads a prompt's images for some providers, inside the attempt: those requests carry no key and no
    prompt, and are none of ours to cut short."""
    with LoopbackProvider() as pictures, LoopbackProvider() as storage:
        pictures.always(lb.EVERY_MODEL, lb.Fault())
        png = bytes.fromhex("89504e470d0a1a0a") + b"\0" * 40
        storage_url = storage.url + "/v1/chat/completions"
        served = _Pictures(png, storage_url)
        url = served.start()
        try:
            messages = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
            bare = None
            try:
                litellm.completion(
                    "anthropic/m", messages, api_base=p.url, api_key="k", max_tokens=5, max_retries=0, timeout=5
                )
            except Exception as error:
                bare = error
            from router_plugin import Budget, Deployment, Router

            made = Deployment(
                "anthropic/m",
                api_base=p.url,
                api_key="k",
                supports={"vision": True},
                input_cost_per_token=1e-9,
                output_cost_per_token=1e-9,
            )
            told = ask(
                mode, Router("r", models=[made], budgets=[Budget(1)]), messages=messages, max_tokens=5, timeout=5
            )
            assert (told.error is None) == (bare is None), (told.error, bare)
        finally:
            served.stop()


class _Pictures:
    """A plain web server: ``/a`` redirects to the same picture on another port."""

    def __init__(self, png: bytes, _: str) -> None:
        import http.server
        import threading

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/a":
                    self.send_response(302)
                    self.send_header("location", f"http://localhost:{self.server.server_address[1]}/b.png")
                    self.send_header("content-length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("content-type", "image/png")
                self.send_header("content-length", str(len(png)))
                self.end_headers()
                self.wfile.write(png)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def start(self) -> str:
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_address[1]}/a"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_the_callers_own_messages_are_in_no_other_answer(p: LoopbackProvider) -> None:
    """Twenty threads at once: everybody gets the echo of his own prompt."""
    from concurrent.futures import ThreadPoolExecutor

    p.model("echo", None)
    r = router(p, "echo", usd=100)

    def one(number: int) -> bool:
        said = f"prompt number {number}"
        told = ask(MODES[number % 2 * 2], r, messages=[{"role": "user", "content": said}], timeout=10)
        return told.answered() == said

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(one, range(100)))
    assert len(HI) == 1
