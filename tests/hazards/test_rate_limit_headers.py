"""hazards.md 2, "Rate-limit headers and Retry-After", as they come over the wire, and how long a call waits for them."""

from __future__ import annotations

import asyncio
import datetime
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import litellm
import pytest
from stage import PRICE, FakeClock, Says, aask, ask, four_modes, four_pairs, go, let_go, router, scripted

from router_plugin import Budget, Deployment, Router
from router_plugin.provider.limits import rate_windows
from router_plugin.state.headroom import Headroom
from router_plugin.testing import loopback as lb
from router_plugin.testing.exchange import Call, Send, Step
from router_plugin.testing.loopback import LoopbackProvider

GEMINI = {
    "error": {
        "code": 429,
        "message": "Resource has been exhausted.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "52s"}],
    }
}


def soon(seconds: float) -> str:
    at = datetime.datetime.fromtimestamp(time.time() + seconds, datetime.timezone.utc)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


# (what, the fault, seconds it asks for)
WISHES: list[tuple[str, Callable[[], lb.Fault], float]] = [
    ("seconds", lambda: lb.RateLimited("7"), 7),
    ("a fraction", lambda: lb.RateLimited("7.66"), 7.66),
    ("a Go duration", lambda: lb.RateLimited("1m30s"), 90),
    ("Groq's duration", lambda: lb.RateLimited("1m1.5s"), 61.5),
    ("milliseconds", lambda: lb.RateLimited(None, {"retry-after-ms": "9500", "retry-after": "60"}), 9.5),
    ("an HTTP date", lambda: lb.RateLimited(formatdate(time.time() + 40, usegmt=True)), 40),
    ("RFC 3339", lambda: lb.RateLimited(soon(40)), 40),
    ("epoch seconds", lambda: lb.RateLimited(str(int(time.time()) + 40)), 40),
    ("epoch milliseconds", lambda: lb.RateLimited(str(int(time.time() * 1e3) + 40_000)), 40),
    ("only in the message", lambda: lb.Status(429, message="Please retry after 37 seconds."), 37),
    ("above what is waited for", lambda: lb.RateLimited("86400"), 300),
    ("none", lambda: lb.RateLimited(None), 5),
]


@four_pairs
@pytest.mark.parametrize(("make", "seconds"), [w[1:] for w in WISHES], ids=[w[0] for w in WISHES])
def test_a_deployment_rests_for_as_long_as_its_429_asks(
    p: LoopbackProvider, wire: str, mode: str, make: Callable[[], lb.Fault], seconds: float
) -> None:
    p.always("m", make())
    r = router(p, "m", "n", wire=wire, patience_s=0.01)
    ask(mode, r, timeout=5, max_tokens=50).answered()
    assert seconds - 1.6 < r.stats()["m"]["cooling_s"] <= seconds + 0.1
    assert r.stats()["m"]["ejections"] == 0, "capacity, not health"
    let_go(r)


@dataclass(frozen=True)
class Twice(lb.Fault):
    """A 429 whose ``retry-after`` comes in two header lines."""

    first: str
    second: str

    def steps(self, call: Call) -> Iterable[Step]:
        body = b'{"error":{"type":"rate_limit_error","message":"slow down"}}'
        head = call.head(429, {"retry-after": self.first}, length=len(body)).data
        yield Send(head[:-2] + f"retry-after: {self.second}\r\n\r\n".encode(), status=429)
        yield Send(body)


@four_pairs
@pytest.mark.parametrize(("first", "second"), [("7", "7"), ("7", "60"), ("soon", "7"), ("", "")])
def test_retry_after_in_two_lines(p: LoopbackProvider, wire: str, mode: str, first: str, second: str) -> None:
    """One of them, or none: within minutes it is tried again, and the call goes on at once."""
    p.always("m", Twice(first, second))
    p.model("n", "fine")
    r = router(p, "m", "n", wire=wire, patience_s=0.01)
    told = ask(mode, r, timeout=5, max_tokens=50)
    assert told.answered() == "fine"
    assert told.result.attempts[0].error is not None
    assert told.result.attempts[0].error.startswith("rate_limit")
    assert 0 < r.stats()["m"]["cooling_s"] <= 60
    let_go(r)


# --------------------------------------------------------------------------- providers without a header


@four_modes
def test_bedrocks_throttling_says_nothing_and_rests_for_seconds(mode: str) -> None:
    clock = FakeClock()
    throttled = litellm.RateLimitError(
        "BedrockException: Rate Limit Error - ThrottlingException: Too many requests", "bedrock", "m"
    )
    r, provider = scripted(clock, "m", "n", script={"m": [throttled, Says("m")]})
    for _ in range(10):
        ask(mode, r).answered()
    assert [name for name, _ in provider.calls] == ["m"] + ["n"] * 10
    assert 0 < r.stats()["m"]["cooling_s"] <= 30
    assert r.stats()["m"]["ejections"] == 0
    clock.advance(30)
    assert ask(mode, r).answered() == "m"


@pytest.fixture
def exhausted() -> Iterator[str]:
    """The address of a Gemini that answers every request with 429 and a delay in its body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            body = json.dumps(GEMINI).encode()
            self.send_response(429)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@four_modes
def test_geminis_delay_stands_in_the_body(p: LoopbackProvider, exhausted: str, mode: str) -> None:
    p.model("n", "fine")
    gemini = Deployment("gemini/gemini-x", name="m", quality=0.99, api_base=exhausted, api_key="k", **PRICE)
    r = Router("r", models=[gemini, *router(p, "n").spec.deployments], budgets=[Budget(1)])
    told = ask(mode, r, timeout=5, max_tokens=50)
    assert told.answered() == "fine"
    assert [a.error for a in told.result.attempts] == ["rate_limit: RateLimitError", None]
    assert 50 < r.stats()["m"]["cooling_s"] <= 52
    let_go(r)


def test_geminis_delay_as_litellm_words_it() -> None:
    clock = FakeClock()
    error = litellm.RateLimitError(f"GeminiException - {json.dumps(GEMINI, indent=2)}", "gemini", "m")
    r, _ = scripted(clock, "m", "n", script={"m": [error]})
    ask("sync", r).answered()
    assert r.stats()["m"]["cooling_s"] == pytest.approx(52)


@four_pairs
def test_429_over_and_over_ejects_nobody(p: LoopbackProvider, wire: str, mode: str) -> None:
    p.always("m", lb.RateLimited())
    p.model("n", "fine")
    r = router(p, "m", "n", wire=wire)
    for _ in range(8):
        r._home.fleet._cooling = {}  # its rest is over
        assert ask(mode, r, timeout=5, max_tokens=50).answered() == "fine"
    assert p.calls("m") > 5
    assert r.stats()["m"]["ejections"] == 0
    let_go(r)


# --------------------------------------------------------------------------- nobody sleeps for a quota


def asks_for(seconds: float) -> litellm.RateLimitError:
    error = litellm.RateLimitError("slow down", "openai", "m")
    error.litellm_response_headers = {"retry-after": str(seconds)}
    return error


@four_modes
@pytest.mark.parametrize("asked", [{}, {"routing": {"on_rate_limit": "wait"}}], ids=["alone", "on_rate_limit=wait"])
def test_a_wait_beyond_two_minutes_is_a_quota_that_nobody_sleeps_for(mode: str, asked: dict[str, Any]) -> None:
    """However patient a router is told to be."""
    clock = FakeClock()
    r, _ = scripted(clock, script={"m": [asks_for(400), Says("back")]}, patience_s=1_000, timeout_s=5_000)
    ask(mode, r, **asked)
    assert sum(clock.slept) <= 120


@four_modes
def test_a_wait_within_two_minutes_is_slept_by_the_patient(mode: str) -> None:
    clock = FakeClock()
    r, provider = scripted(clock, script={"m": [asks_for(100), Says("back")]}, patience_s=1_000, timeout_s=5_000)
    assert ask(mode, r).answered() == "back"
    assert 100 <= sum(clock.slept) <= 101
    assert len(provider.calls) == 2


@four_modes
@pytest.mark.parametrize("wished", [121, 86_400, 99_999_999])
def test_a_quota_is_probed_where_nothing_else_is_left(mode: str, wished: float) -> None:
    """A day is asked for; the next call tries all the same, and nobody has slept."""
    clock = FakeClock()
    r, provider = scripted(clock, script={"m": [asks_for(wished), Says("back")]})
    ask(mode, r).raises(litellm.RateLimitError)
    assert clock.slept == []
    assert r.stats()["m"]["state"] == "cooling"
    told = ask(mode, r)
    assert told.answered() == "back"
    assert len(provider.calls) == 2
    assert clock.slept == []


# --------------------------------------------------------------------------- windows


def windows(headers: dict[str, str], wall: float) -> dict[str, Any]:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {window.kind: window for window in rate_windows(raw, wall)}


def test_anthropics_resets_may_be_epoch_seconds() -> None:
    now = 1_767_225_600.0
    headers = {
        "anthropic-ratelimit-tokens-limit": "1000",
        "anthropic-ratelimit-tokens-remaining": "7",
        "anthropic-ratelimit-tokens-reset": "1767225630",
        "anthropic-ratelimit-unified-status": "allowed",
        "anthropic-ratelimit-unified-reset": "1767225900",
        "anthropic-ratelimit-unified-fallback-percentage": "0.5",
    }
    found = windows(headers, now)
    assert set(found) == {"tokens"}
    assert found["tokens"].reset_s == pytest.approx(30)


def test_groqs_requests_are_a_day_s_and_its_tokens_a_minutes() -> None:
    """A spent day is not refilled within a minute; a spent minute is."""
    told = {
        "x-ratelimit-limit-requests": "1000",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "23h59m59s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "59.56s",
    }
    found = windows(told, 0.0)
    day, minute = Headroom(), Headroom()
    day.told([found["requests"]], 0.0)
    minute.told([found["tokens"]], 0.0)
    assert day.wait_s(60.0, 10) > 10
    assert minute.wait_s(60.0, 6_000) == 0.0
    assert day.wait_s(90.0, 10) == 0.0, "one in 86 s comes back"
    day.sent(90.0, 10)
    assert day.wait_s(90.0, 10) > 60


@pytest.mark.parametrize("mode", ["sync", "async stream"])
@pytest.mark.parametrize(
    "headers",
    [
        {"x-ratelimit-limit-requests": "-1", "x-ratelimit-remaining-requests": "-1", "x-ratelimit-reset-requests": "0"},
        {"x-ratelimit-limit-requests": "0", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "0"},
        {"x-ratelimit-remaining-requests": "0"},
        {"x-ratelimit-limit-tokens": "0", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1s"},
        {"x-ratelimit-limit-requests": "nan", "x-ratelimit-remaining-requests": "1e9", "retry-after": "86400"},
    ],
    ids=str,
)
def test_azures_unknown_figures_hold_nobody_back(p: LoopbackProvider, mode: str, headers: dict[str, str]) -> None:
    p.model("m", "fine", headers=headers)
    r = router(p, "m", "n")
    for _ in range(3):
        assert ask(mode, r, timeout=5, max_tokens=50).result.deployment == "m"
    let_go(r)


def test_what_is_in_flight_counts_against_what_the_headers_left(p: LoopbackProvider) -> None:
    """Three are left; of twelve calls at once three go there, and no 429 has to say so."""
    left = {"limit": "1000", "remaining": "3", "reset": "1000s"}
    p.model("m", "from m", ttft_s=0.15, headers={f"x-ratelimit-{part}-requests": left[part] for part in left})
    p.model("n", "from n")
    r = router(p, "m", "n", usd=10)
    ask("sync", r, timeout=5, max_tokens=50).answered()
    p.forget()

    async def main() -> list[Any]:
        return await asyncio.gather(*(aask(r, timeout=5, max_tokens=50) for _ in range(12)))

    for told in go(main()):
        told.answered()
    assert p.calls("m") == 3
    assert p.calls("n") == 9
    let_go(r)


def test_one_credential_that_fails_rests_with_all_its_deployments(p: LoopbackProvider) -> None:
    """401 on one key: whoever shares the key at that address rests, whoever has another one does not."""
    p.always("a", lb.Status(401))
    p.model("c", "fine")
    keys = {"a": "sk-shared", "b": "sk-shared", "c": "sk-own"}
    made = [
        Deployment(f"openai/{n}", name=n, api_base=p.openai_base, api_key=key, quality=q, **PRICE)
        for (n, key), q in zip(keys.items(), (0.9, 0.8, 0.7), strict=True)
    ]
    r = Router("r", models=made, budgets=[Budget(1)])
    ask("sync", r, timeout=5, max_tokens=50).answered()
    p.forget()
    assert ask("sync", r, timeout=5, max_tokens=50).answered() == "fine"
    assert {name: seen["state"] for name, seen in r.stats().items()} == {"a": "cooling", "b": "cooling", "c": "ok"}
    assert [seen.model for seen in p.requests] == ["c"]
