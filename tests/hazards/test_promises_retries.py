"""hazards.md 1, "Retries never amplify": one attempt cap a call, and one HTTP request an attempt."""

from __future__ import annotations

from typing import Any

import litellm
import pytest
from stage import HI, MODES, FakeClock, Says, ask, four_modes, four_pairs, let_go, nothing_held, router, scripted

from router_plugin import SpecError, install
from router_plugin.testing import loopback as lb
from router_plugin.testing.loopback import LoopbackProvider

FAULTS: list[tuple[str, Any]] = [
    ("400", lb.Status(400)),
    ("401", lb.Status(401)),
    ("402", lb.Status(402)),
    ("403", lb.Status(403)),
    ("404", lb.Status(404)),
    ("408", lb.Status(408)),
    ("409", lb.Status(409)),
    ("422", lb.Status(422)),
    ("429", lb.RateLimited()),
    ("429 and come back at once", lb.RateLimited(retry_after="0")),
    ("500", lb.Status(500)),
    ("502", lb.Status(502)),
    ("503", lb.Status(503)),
    ("529", lb.Status(529)),
    ("overloaded", lb.Overloaded()),
    ("context window", lb.ContextWindow()),
    ("content policy", lb.ContentPolicy()),
    ("reset before headers", lb.Reset()),
    ("cut in the headers", lb.CutHeaders("fin")),
    ("reset in the headers", lb.CutHeaders("rst")),
    ("cut in the body", lb.CutBody()),
    ("reset in the body", lb.ResetInBody()),
    ("no JSON", lb.RawBody(b"<html>", content_type="text/html")),
    ("null", lb.RawBody(b"null")),
    ("silence", lb.Silent()),
]


@four_pairs
@pytest.mark.parametrize("fault", [f[1] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_one_http_request_an_attempt_and_never_more_than_max_attempts(
    p: LoopbackProvider, fault: Any, mode: str, wire: str
) -> None:
    """Everything always fails, of three deployments: what the SDK and litellm do below is switched off."""
    p.always(lb.EVERY_MODEL, fault)
    r = router(p, "a", "b", "c", wire=wire, patience_s=0.01)
    told = ask(mode, r, timeout=0.3 if fault == lb.Silent() else 2, max_tokens=50)
    told.raises(Exception)
    attempts = told.result.attempts
    assert p.calls() == len(attempts)
    assert [seen.model for seen in p.requests] == [attempt.deployment for attempt in attempts]
    assert 1 <= len(attempts) <= 4
    let_go(r)


@four_modes
@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_max_attempts_counts_retries_and_fallbacks_together(mode: str, most: int) -> None:
    errors = [litellm.InternalServerError("oops", "openai", "m")]
    r, provider = scripted(FakeClock(), *"abcdefgh", script=dict.fromkeys("abcdefgh", errors))
    told = ask(mode, r, routing={"max_attempts": most})
    told.raises(litellm.InternalServerError)
    assert len(provider.calls) == len(told.result.attempts) == most
    nothing_held(r)


@four_modes
def test_the_default_is_four(mode: str) -> None:
    errors = [litellm.InternalServerError("oops", "openai", "m")]
    r, provider = scripted(FakeClock(), *"abcdefgh", script=dict.fromkeys("abcdefgh", errors))
    ask(mode, r).raises(litellm.InternalServerError)
    assert len(provider.calls) == 4


@pytest.mark.parametrize("mode", MODES[2:])
def test_streams_that_break_count_too(mode: str) -> None:
    """Each deployment breaks in mid-stream for ever: the restarts share the call's attempts."""
    broken = [Says("one two three", break_after=2, error=ConnectionError("cut"))]
    r, provider = scripted(FakeClock(), *"abcdefgh", script=dict.fromkeys("abcdefgh", broken), midstream="restart")
    told = ask(mode, r)
    told.raises(Exception)
    assert len(provider.calls) == 4
    nothing_held(r)


@four_modes
@pytest.mark.parametrize(
    "retries", [{"num_retries": 3}, {"max_retries": 3}, {"num_retries": 0}, {"max_retries": 2, "num_retries": 1}]
)
def test_litellms_own_retries_are_switched_off_whatever_the_caller_asks_for(
    p: LoopbackProvider, mode: str, retries: dict[str, int]
) -> None:
    """They mean retries of ours then, of one deployment, inside the cap of attempts."""
    p.always(lb.EVERY_MODEL, lb.Status(500))
    r = router(p, "a", "b", "c", "d")
    told = ask(mode, r, timeout=5, **retries)
    assert p.calls() == len(told.result.attempts) <= 4
    assert p.calls("a") <= max(retries.values()) + 1


@pytest.mark.parametrize("retries", [True, "3", 2.5, -1, None, 10**9])
def test_nonsense_retries_do_not_amplify(retries: Any) -> None:
    errors = [litellm.InternalServerError("oops", "openai", "m")]
    r, provider = scripted(FakeClock(), "a", "b", "c", script=dict.fromkeys("abc", errors))
    told = ask("sync", r, num_retries=retries)
    told.raises(litellm.InternalServerError, SpecError)
    assert len(provider.calls) <= 6


@four_modes
def test_settings_of_litellm_as_a_whole_add_no_attempt(
    p: LoopbackProvider, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm, "num_retries", 3)
    monkeypatch.setattr(litellm, "default_fallbacks", ["openai/other"])
    monkeypatch.setattr(litellm, "allowed_fails", 5)
    p.always(lb.EVERY_MODEL, lb.Status(500))
    r = router(p, "a", "b")
    with install(r):
        told = ask(mode, r, timeout=5)
    assert p.calls() == len(told.result.attempts) <= 4
    assert "other" not in {seen.model for seen in p.requests}


@four_modes
def test_a_silent_deployment_is_not_asked_twice(p: LoopbackProvider, mode: str) -> None:
    p.always("m", lb.Silent())
    r = router(p)
    told = ask(mode, r, timeout=2, routing={"attempt_timeout_s": 0.2})
    told.raises(Exception)
    assert p.calls("m") == 1
    assert told.seconds < 1


@four_modes
def test_a_bad_request_is_raised_at_once(p: LoopbackProvider, mode: str) -> None:
    p.always("a", lb.Status(400))
    told = ask(mode, router(p, "a", "b"), timeout=5)
    told.raises(litellm.BadRequestError)
    assert p.calls() == 1


def test_base_and_jitter_of_the_backoff() -> None:
    """1 s for throttling, 0.05 s otherwise, each half to one and a half times; never the same for all callers."""
    waits: dict[str, set[float]] = {"throttled": set(), "fault": set()}
    for seed in range(20):
        for kind, error in (
            ("throttled", litellm.RateLimitError("slow down", "openai", "m")),
            ("fault", litellm.InternalServerError("oops", "openai", "m")),
        ):
            clock = FakeClock()
            r, _ = scripted(clock, script={"m": [error]}, seed=seed)
            ask("sync", r)
            assert clock.slept
            waits[kind].update(clock.slept)
    assert len(waits["throttled"]) > 10
    assert all(0.5 <= wait <= 1.5 for wait in waits["throttled"]), waits
    assert all(0.025 <= wait <= 0.075 for wait in waits["fault"]), waits


@four_modes
def test_429_is_capacity_not_health(mode: str) -> None:
    """A limited deployment cools for as long as it asked, and is back then with nothing held against it."""
    clock = FakeClock()
    error = litellm.RateLimitError("slow down", "openai", "m")
    error.litellm_response_headers = {"retry-after": "7"}
    r, provider = scripted(clock, "m", "n", script={"m": [error, Says("m")], "n": [Says("n")]})
    assert ask(mode, r).answered() == "n"
    assert ask(mode, r).answered() == "n"
    clock.advance(7.01)
    assert ask(mode, r).answered() == "m"
    assert [name for name, _ in provider.calls] == ["m", "n", "n", "m"]


def test_consecutive_failures_rest_a_deployment_and_success_clears_it() -> None:
    clock = FakeClock()
    r, provider = scripted(clock, "m", "n", script={"m": [TimeoutError("late")]})
    for _ in range(5):
        ask("sync", r).answered()
    provider.calls.clear()
    ask("sync", r).answered()
    assert [name for name, _ in provider.calls] == ["n"]
    clock.advance(301)
    provider.script("m", [Says("back")])
    assert ask("sync", r).answered() == "back"


def test_a_request_that_is_itself_at_fault_rests_nobody() -> None:
    """A caller who sends nonsense over and over takes no deployment from the others."""
    clock = FakeClock()
    bad = litellm.BadRequestError("bad", "m", "openai")
    r, provider = scripted(clock, "m", "n", script={"m": [bad]})
    for _ in range(30):
        ask("sync", r).raises(litellm.BadRequestError)
    assert r.stats()["m"]["state"] == "ok"
    provider.script("m", [Says("fine")])
    assert ask("sync", r).answered() == "fine"


def test_the_last_candidate_is_never_ejected() -> None:
    clock = FakeClock()
    r, provider = scripted(clock, script={"m": [TimeoutError("late")]})
    for _ in range(12):
        ask("sync", r).raises(TimeoutError)
    provider.script("m", [Says("back")])
    clock.advance(301)
    assert ask("sync", r).answered() == "back"


def test_two_deployments_of_one_call_never_overlap(p: LoopbackProvider) -> None:
    """Attempts follow each other: what was given up is not still running on a connection of ours."""
    p.always("a", lb.Silent())
    r = router(p, "a", "b")
    assert ask("async", r, timeout=0.6).answered()
    assert p.wait_until(lambda: p.in_flight == 0, 2)
    seen = next(seen for seen in p.requests if seen.model == "a")
    assert seen.aborted


def test_nested_calls_are_not_routed_again(p: LoopbackProvider) -> None:
    r = router(p)
    inner: list[Any] = []

    @r.wrap
    def call(model: str, messages: Any, **kwargs: Any) -> Any:
        try:
            litellm.completion("router", HI)
        except Exception as error:
            inner.append(error)
        return litellm.completion(model, messages, api_base=p.openai_base, api_key="k")

    with install(r):
        call("router", HI)
    assert len(inner) == 1
    assert p.calls() == 1
    nothing_held(r)
