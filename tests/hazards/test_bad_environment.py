"""hazards.md 3, "Environment": monotonic for latency and leases, the wall clock only for calendar windows."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import litellm
import pytest
from stage import FakeClock, Says, ask, four_modes, nothing_held, scripted, spent

from router_plugin import Budget, BudgetExceededError

HOUR = 3_600.0
FIVE = [Says(input_tokens=10, output_tokens=249_995)]  # half a dollar each


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


def daily(wall: str, **more: Any) -> tuple[Any, FakeClock]:
    clock = FakeClock(wall=at(wall))
    budget = Budget(usd=0.6, **{"per": "day", **more})
    r, _ = scripted(clock, budgets=[budget], script={"m": FIVE})
    return r, clock


@pytest.mark.parametrize("hour", [HOUR, -HOUR])
@four_modes
def test_a_wall_clock_that_steps_an_hour_changes_no_latency_and_no_cooldown(mode: str, hour: float) -> None:
    clock = FakeClock()
    error = litellm.RateLimitError("slow down", "openai", "m")
    error.litellm_response_headers = {"retry-after": "30"}
    r, provider = scripted(clock, "m", "n", script={"m": [error, Says(latency_s=0.5)], "n": [Says(latency_s=0.5)]})
    ask(mode, r).answered()
    clock.step_wall(hour)
    ask(mode, r).answered()
    assert [name for name, _ in provider.calls] == ["m", "n", "n"]
    assert 25 < r.stats()["m"]["cooling_s"] <= 30
    told = ask(mode, r)
    assert told.result.attempts[-1].latency_ms == pytest.approx(500, abs=1)
    clock.advance(31)
    ask(mode, r).answered()
    assert provider.calls[-1][0] == "m"


@pytest.mark.parametrize("hour", [HOUR, -HOUR])
def test_a_step_during_a_call_neither_ends_it_nor_keeps_it(hour: float) -> None:
    clock = FakeClock()

    class Stepping(Says):
        pass

    r, provider = scripted(clock, "m", "n", script={"m": [TimeoutError("late")], "n": [Says(latency_s=1)]})
    pass_time, provider_next = clock.sleep, provider._next

    def stepped(attempt: Any) -> Any:
        clock.step_wall(hour)
        return provider_next(attempt)

    provider._next = stepped  # type: ignore[method-assign]
    assert ask("sync", r, timeout=5).answered() == "ok"
    assert clock.sleep == pass_time
    nothing_held(r)


def test_a_clock_that_steps_back_refills_no_budget() -> None:
    """Spent just after midnight; the clock then goes back to yesterday, whose budget had been left alone."""
    r, clock = daily("2026-03-10T00:10")
    ask("sync", r, max_tokens=250_000).answered()
    clock.step_wall(-HOUR)
    ask("sync", r, max_tokens=250_000).raises(BudgetExceededError)
    clock.step_wall(2 * HOUR)
    ask("sync", r, max_tokens=250_000).raises(BudgetExceededError)
    clock.step_wall(24 * HOUR)
    ask("sync", r, max_tokens=250_000).answered()


def test_a_clock_that_wobbles_over_midnight_grants_two_days_and_not_three() -> None:
    r, clock = daily("2026-03-10T23:30")
    answered = 0
    for _ in range(6):
        told = ask("sync", r, max_tokens=250_000)
        answered += told.error is None
        clock.step_wall(HOUR)
        told = ask("sync", r, max_tokens=250_000)
        answered += told.error is None
        clock.step_wall(-HOUR)
    assert answered == 2
    nothing_held(r)


@pytest.mark.parametrize("hour", [HOUR, -HOUR])
def test_a_reservation_over_a_step_ends_in_the_window_it_was_made_in(hour: float) -> None:
    """An answer that arrives after midnight (or after the clock went back) is paid from the budget it was held in."""
    r, clock = daily("2026-03-10T23:30" if hour > 0 else "2026-03-10T00:10")

    @r.wrap
    def call(model: str, messages: Any, **kwargs: Any) -> Any:
        clock.step_wall(hour)
        return {
            "choices": [{"message": {"content": "ok"}}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 249_995},
        }

    call("router", [{"role": "user", "content": "hi"}], max_tokens=250_000)
    nothing_held(r)
    told = ask("sync", r, max_tokens=250_000)
    assert (told.error is None) == (hour > 0), "midnight passed: a new day" if hour > 0 else "still the same day"


@pytest.mark.parametrize("hour", [HOUR, -HOUR])
def test_a_rolling_window_over_a_step_never_admits_more_than_its_limit(hour: float) -> None:
    r, clock = daily("2026-03-10T12:00", per="hour", rolling=True)
    ask("sync", r, max_tokens=250_000).answered()
    clock.step_wall(hour / 2)
    ask("sync", r, max_tokens=250_000).raises(BudgetExceededError)
    clock.step_wall(-hour / 2)
    ask("sync", r, max_tokens=250_000).raises(BudgetExceededError)
    clock.advance(62 * 60)
    ask("sync", r, max_tokens=250_000).answered()
    nothing_held(r)


def test_a_glitch_into_the_far_future_does_not_spend_the_budget_for_ever() -> None:
    """NTP corrects a clock that was a year ahead for one call: the day after, the budget is a day's budget again."""
    r, clock = daily("2026-03-10T12:00")
    clock.step_wall(365 * 24 * HOUR)
    ask("sync", r, max_tokens=250_000).answered()
    clock.step_wall(-365 * 24 * HOUR)
    clock.advance(25 * HOUR)
    ask("sync", r, max_tokens=250_000).answered()


@pytest.mark.parametrize("wall", [0.0, -1.0, 32_503_680_000.0])
@pytest.mark.parametrize("per", ["minute", "hour", "day", "week", "month", "total"])
def test_a_wall_clock_at_the_edge_of_time(per: str, wall: float) -> None:
    """A machine without a battery starts in 1970; no window's end is beyond what a date can say."""
    clock = FakeClock(wall=wall)
    r, _ = scripted(clock, budgets=[Budget(usd=0.6, per=per)], script={"m": FIVE})
    ask("sync", r, max_tokens=250_000).answered()
    error = ask("sync", r, max_tokens=250_000).raises(BudgetExceededError)
    assert str(error)
    assert r.budgets()
    nothing_held(r)


DST = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]


@pytest.mark.parametrize("zone", DST)
def test_daylight_saving_moves_no_window(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows are those of UTC, whatever the machine's zone does that night."""
    import time

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for night in ("2026-03-29T00:30", "2026-10-25T00:30", "2026-03-08T06:30", "2026-11-01T05:30"):
            r, clock = daily(night)
            ask("sync", r, max_tokens=250_000).answered()
            (account,) = r.budgets()
            assert account["resets_at"] == (night[:8] + f"{int(night[8:10]) + 1:02}T00:00:00+00:00")
            clock.advance(3 * HOUR)
            ask("sync", r, max_tokens=250_000).raises(BudgetExceededError)
    finally:
        monkeypatch.undo()
        time.tzset()


WINDOWS = [
    ("minute", "2026-02-28T23:59:30", "2026-03-01T00:00:00+00:00"),
    ("hour", "2026-02-28T23:30:00", "2026-03-01T00:00:00+00:00"),
    ("day", "2024-02-28T12:00:00", "2024-02-29T00:00:00+00:00"),
    ("week", "2026-03-01T12:00:00", "2026-03-02T00:00:00+00:00"),
    ("month", "2024-02-29T12:00:00", "2024-03-01T00:00:00+00:00"),
    ("month", "2026-12-31T23:59:59", "2027-01-01T00:00:00+00:00"),
    ("total", "2026-12-31T23:59:59", None),
]


@pytest.mark.parametrize(("per", "now", "resets"), WINDOWS)
def test_calendar_windows_end_where_the_calendar_says(per: str, now: str, resets: str | None) -> None:
    clock = FakeClock(wall=at(now))
    r, _ = scripted(clock, budgets=[Budget(usd=0.6, per=per)], script={"m": FIVE})
    ask("sync", r, max_tokens=250_000).answered()
    error = ask("sync", r, max_tokens=250_000).raises(BudgetExceededError)
    assert error.resets_at == r.budgets()[0]["resets_at"] == resets
    if resets is not None:
        clock.advance(at(resets[:19]) - at(now) - 0.001)
        ask("sync", r, max_tokens=250_000).raises(BudgetExceededError)
        clock.advance(0.002)
        ask("sync", r, max_tokens=250_000).answered()
        assert spent(r) == pytest.approx(0.5)


def test_no_environment_variable_of_a_key_is_read_before_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    from router_plugin import Deployment, Router

    monkeypatch.delenv("HAZARD_KEY", raising=False)
    r = Router("r", models=[Deployment("openai/gpt-4o", api_key="os.environ/HAZARD_KEY")], budgets=[Budget(1)])
    assert r.route({"messages": [{"role": "user", "content": "hi"}]}).ranking == ["openai/gpt-4o"]
    error = ask("sync", r, timeout=5).raises(litellm.AuthenticationError)
    assert "HAZARD_KEY" in str(error)
    assert spent(r) == 0
    nothing_held(r)
