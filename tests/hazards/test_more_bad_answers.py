"""hazards.md 3, "Provider answers": bombs and long lines in streams, ends without a reason, odd events of Anthropic."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import litellm
import pytest
from stage import MODES, FakeClock, Says, ask, both_wires, four_modes, let_go, router, scripted, spent

from router_plugin import StreamInterruptedError
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


@cache
def bomb(kilobytes: int, piece: bytes) -> bytes:
    """So many kilobytes of this piece over and over, in a thousandth of that."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(piece * (1_000 // len(piece))) for _ in range(kilobytes))
    return packed + packer.flush()


def packed(kilobytes: int, piece: bytes) -> lb.RawBody:
    return lb.RawBody(bomb(kilobytes, piece), content_type=SSE, headers={"content-encoding": "gzip"})


@both_wires
@stream_modes
def test_a_gzip_bomb_where_a_stream_should_be(p: LoopbackProvider, wire: str, mode: str) -> None:
    """10 kB that are 10 MB of nothing: the next deployment's turn; the process lives."""
    p.always("m", packed(10_000, b" "))
    r = router(p, "m", "n", wire=wire)
    told = ask(mode, r, timeout=5, max_tokens=50)
    assert told.answered() == TEXT
    assert [a.deployment for a in told.result.attempts] == ["m", "n"]
    let_go(r)


@both_wires
@stream_modes
def test_a_gzip_bomb_in_a_stream_is_unfolded_no_further_than_an_answer_goes(
    p: LoopbackProvider, monkeypatch: pytest.MonkeyPatch, wire: str, mode: str
) -> None:
    """100 MB out of 100 kB: no more than the 64 MB that a compressed whole answer may have."""
    unfold, unfolded = httpx._decoders.GZipDecoder.decode, []

    def counting(self: Any, data: bytes) -> bytes:
        made = unfold(self, data)
        unfolded.append(len(made))
        return made

    monkeypatch.setattr(httpx._decoders.GZipDecoder, "decode", counting)
    p.always("m", packed(100_000, b" "))
    r = router(p, "m", "n", wire=wire)
    told = ask(mode, r, timeout=5, max_tokens=50)
    assert told.answered() == TEXT
    assert sum(unfolded) < 80_000_000
    let_go(r)


@pytest.mark.parametrize(
    "wire",
    [
        "openai",
        "anthropic",
    ],
)
@stream_modes
def test_lines_that_say_nothing_keep_nobody_past_the_deadline(p: LoopbackProvider, wire: str, mode: str) -> None:
    """Comments, a thousand in a byte: what one read of the socket unfolds to is no licence to forget the time (or, in
    async calls, to keep the event loop from everybody else)."""
    p.always("m", packed(120, b": ping\n\n"))
    r = router(p, "m", "n", wire=wire)
    told = ask(mode, r, timeout=0.3, max_tokens=50)
    assert told.seconds < 0.55
    let_go(r)


@dataclass(frozen=True)
class BadLine(lb.StreamError):
    """One event of this many bytes that is no JSON, after some content."""

    size: int = 1_500_000

    def events(self, call: Call, normal: Any) -> Any:
        sent = 0
        for event in normal:
            if sent == self.after_chunks:
                broken = call.wire.malformed_event()
                yield event._replace(data=broken[:-2] + b"x" * self.size + b"\n\n")
                return
            yield event
            sent += event.content


@both_wires
@stream_modes
@pytest.mark.parametrize("after", [0, 2])
def test_a_malformed_event_over_1_mb_keeps_nobody_past_the_deadline(
    p: LoopbackProvider, wire: str, mode: str, after: int
) -> None:
    p.always("m", BadLine(after))
    r = router(p, "m", "n", wire=wire)
    told = ask(mode, r, timeout=2, max_tokens=50)
    assert told.seconds < 2.25
    if after:
        error = told.raises(StreamInterruptedError)
        assert error.partial_text == told.text == "one two"
        assert len(str(error)) < 5_000
    else:
        assert told.answered() == TEXT
    let_go(r)


@both_wires
@whole_modes
def test_a_whole_answer_without_a_finish_reason_is_an_answer(p: LoopbackProvider, wire: str, mode: str) -> None:
    p.always("m", lb.NoFinishReason())
    r = router(p, "m", "n", wire=wire)
    told = ask(mode, r, timeout=5, max_tokens=50)
    assert told.answered() == TEXT
    assert [a.deployment for a in told.result.attempts] == ["m"]
    assert spent(r) == pytest.approx(11e-6 + 6 * 2e-6)
    let_go(r)


@four_modes
def test_503_for_ever_is_raised_as_itself(p: LoopbackProvider, mode: str) -> None:
    """Of every deployment: a handful of requests, the provider's own exception, nothing paid."""
    p.always(lb.EVERY_MODEL, lb.Status(503))
    r = router(p, "m", "n", patience_s=0.01)
    told = ask(mode, r, timeout=5, max_tokens=50)
    told.raises(litellm.ServiceUnavailableError)
    assert p.calls() == len(told.result.attempts) <= 4
    assert spent(r) == 0
    let_go(r)


@four_modes
@pytest.mark.parametrize("status", [402, 401])
def test_a_deployment_without_money_or_key_rests_long_and_is_asked_when_nothing_else_is_left(
    mode: str, status: int
) -> None:
    clock = FakeClock()
    kind = {401: litellm.AuthenticationError("bad key", "openai", "m")}
    error = kind.get(status) or litellm.APIError(402, "payment required", "openai", "m")
    r, provider = scripted(clock, "m", "n", script={"m": [error, Says("m")], "n": [Says("n")]})
    for _ in range(3):
        assert ask(mode, r).answered() == "n"
        clock.advance(30)
    assert [name for name, _ in provider.calls] == ["m", "n", "n", "n"]
    assert ask(mode, r, models=["m"]).answered() == "m"


# --------------------------------------------------------------------------- Anthropic's events


@dataclass(frozen=True)
class Events(lb.Fault):
    """Exactly these server-sent events, in pieces of ``size`` bytes."""

    body: bytes
    size: int

    def steps(self, call: Call) -> Iterable[Step]:
        yield call.head(200, content_type=SSE, length=len(self.body))
        for at in range(0, len(self.body), self.size):
            yield Send(self.body[at : at + self.size])


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


START = event(
    "message_start",
    message={
        "id": "x",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 11, "output_tokens": 1},
    },
)
OPEN = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
SAID = [
    event("content_block_delta", index=0, delta={"type": "text_delta", "text": t})
    for t in ("one two three ", TEXT[14:])
]
CLOSE = event("content_block_stop", index=0)
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 6})
STOP = event("message_stop")
PING = event("ping")
ODD: list[tuple[str, bytes]] = [
    ("as it should be", START + OPEN + b"".join(SAID) + CLOSE + END + STOP),
    ("pings everywhere", PING + START + PING + OPEN + PING.join(SAID) + PING + CLOSE + PING + END + STOP),
    ("comments", b": hi\n\n" + START + OPEN + b": hi\n\n".join(SAID) + CLOSE + END + STOP),
    ("CRLF", (START + OPEN + b"".join(SAID) + CLOSE + END + STOP).replace(b"\n", b"\r\n")),
    ("an empty delta", START + OPEN + SAID[0] + SAID[0].replace(b"one two three ", b"") + SAID[1] + CLOSE + END + STOP),
    ("bytes after the end", START + OPEN + b"".join(SAID) + CLOSE + END + STOP + b"data: garbage\n\n"),
    ("no event names", b"".join(x.split(b"\n", 1)[1] for x in (START, OPEN, *SAID, CLOSE, END, STOP))),
]


@stream_modes
@pytest.mark.parametrize("size", [7, 100_000])
@pytest.mark.parametrize("body", [o[1] for o in ODD], ids=[o[0] for o in ODD])
def test_a_stream_of_anthropic_with_odd_events(p: LoopbackProvider, mode: str, body: bytes, size: int) -> None:
    p.always("m", Events(body, size))
    r = router(p, wire="anthropic")
    told = ask(mode, r, timeout=5, max_tokens=50)
    assert told.answered() == TEXT
    assert len(told.result.attempts) == 1
    assert spent(r) == pytest.approx(11e-6 + 6 * 2e-6)
    let_go(r)


@stream_modes
@pytest.mark.parametrize(
    "what", ["null", "5", "[]", "{}", '{"type":"content_block_delta"}', '{"type":"message_delta"}']
)
def test_an_event_of_anthropic_that_is_none(p: LoopbackProvider, mode: str, what: str) -> None:
    """Skipped, or a break: never a crash of another kind, and never half an answer as a whole one."""
    body = START + OPEN + SAID[0] + f"data: {what}\n\n".encode() + SAID[1] + CLOSE + END + STOP
    p.always("m", Events(body, 100_000))
    r = router(p, wire="anthropic")
    told = ask(mode, r, timeout=5, max_tokens=50)
    if told.error is None:
        assert told.text == TEXT
    else:
        told.raises(StreamInterruptedError)
    let_go(r)
