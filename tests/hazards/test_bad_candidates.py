"""hazards.md 3, "Candidates": none left, one, too many, twice the same; an answer, or an error that says why."""

from __future__ import annotations

import time
from typing import Any

import litellm
import pytest
from stage import HI, PRICE, FakeClock, Says, ask, four_modes, nothing_held, router, scripted

from router_plugin import Budget, BudgetExceededError, Deployment, NoCandidateError, Router, RouteResult, SpecError
from router_plugin.testing import loopback as lb
from router_plugin.testing.loopback import LoopbackProvider

NONE_LEFT: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("max_cost", {}, {"max_cost": 1e-6}, "max_cost"),
    ("price cap", {}, {"max_cost_per_million_tokens": 1e-6}, "max_cost_per_million_tokens"),
    ("budget", {"budgets": [Budget(usd=1e-6)]}, {}, "budget"),
    ("quality", {}, {"routing": {"min_quality": 1}}, "quality"),
    ("context", {}, {"messages": [{"role": "user", "content": "x " * 20_000}]}, "context_window"),
    (
        "capability",
        {},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]},
        "vision",
    ),
    ("ttft", {"unknown": "exclude"}, {"routing": {"max_ttft_ms": 1}}, "ttft"),
]


@pytest.mark.parametrize(("settings", "asked", "why"), [n[1:] for n in NONE_LEFT], ids=[n[0] for n in NONE_LEFT])
@four_modes
def test_none_left(mode: str, settings: dict[str, Any], asked: dict[str, Any], why: str) -> None:
    """The error lists every deployment with its reason, and the record says the same."""
    made = [
        Deployment(f"openai/{name}", quality=0.5, context_window=4_000, supports={"vision": False}, **PRICE)
        for name in "ab"
    ]
    r, provider = scripted(FakeClock(), models=made, **settings)
    error = ask(mode, r, **asked).raises(NoCandidateError)
    assert set(error.rejected) == {"openai/a", "openai/b"}
    assert all(why in reason for reason in error.rejected.values()), error.rejected
    assert "openai/a" in str(error)
    result = RouteResult.of(error)
    assert result is not None
    assert result.ranking == []
    assert set(result.rejected) == {"openai/a", "openai/b"}
    assert r.explain(error)
    assert provider.calls == []
    nothing_held(r)


def test_none_left_after_everything_at_once() -> None:
    r, _ = scripted(FakeClock(), "a", "b", "c")
    with pytest.raises(NoCandidateError) as caught:
        r.route({"messages": HI, "models": ["a", "b"], "max_cost": 1e-9, "routing": {"exclude_models": ["a"]}})
    assert set(caught.value.rejected) == {"a", "b", "c"}


@four_modes
def test_all_cooling(mode: str) -> None:
    """Everything rests: the limit yields (``panic``), and whoever is well again answers."""
    clock = FakeClock()
    errors = {name: [litellm.RateLimitError("slow down", "openai", name)] for name in "ab"}
    r, provider = scripted(clock, "a", "b", script=errors, patience_s=0)
    ask(mode, r).raises(litellm.RateLimitError)
    assert {seen["state"] for seen in r.stats().values()} == {"cooling"}
    provider.script("b", [Says("well again")])
    told = ask(mode, r)
    assert told.answered() == "well again"
    assert "panic" in told.result.waived
    nothing_held(r)


@four_modes
def test_all_rate_limited(mode: str) -> None:
    """A bounded wait, then the provider's own error."""
    clock = FakeClock()
    errors = {}
    for name in "ab":
        error = litellm.RateLimitError("slow down", "openai", name)
        error.litellm_response_headers = {"retry-after": "2"}
        errors[name] = [error]
    r, provider = scripted(clock, "a", "b", script=errors)
    began = clock.monotonic()
    ask(mode, r).raises(litellm.RateLimitError)
    assert clock.monotonic() - began <= 3 * 4
    assert len(provider.calls) <= 4
    nothing_held(r)


@four_modes
def test_exactly_one_and_it_cools(mode: str) -> None:
    clock = FakeClock()
    r, provider = scripted(clock, script={"m": [litellm.AuthenticationError("bad key", "openai", "m"), Says("mended")]})
    ask(mode, r).raises(litellm.AuthenticationError)
    assert r.stats()["m"]["state"] == "cooling"
    assert ask(mode, r).answered() == "mended"
    assert r.stats()["m"]["state"] == "ok"
    assert len(provider.calls) == 2


def test_401_on_one_key_rests_that_deployment_and_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    r, provider = scripted(clock, "m", "n", script={"m": [litellm.AuthenticationError("bad key", "openai", "m")]})
    with caplog.at_level("WARNING", logger="router_plugin"):
        for _ in range(5):
            ask("sync", r).answered()
    assert [name for name, _ in provider.calls] == ["m", "n", "n", "n", "n", "n"]
    assert len([record for record in caplog.records if record.name.startswith("router_plugin")]) == 1


@pytest.mark.parametrize(
    "models",
    [
        ["openai/a", "openai/a"],
        [Deployment("openai/a"), "openai/a"],
        [Deployment("openai/a", name="x"), Deployment("openai/b", name="x")],
    ],
    ids=str,
)
def test_the_same_twice(models: Any) -> None:
    with pytest.raises(SpecError, match=r"twice|name"):
        Router("r", models=models)


def test_one_model_at_two_endpoints_is_two_candidates() -> None:
    models = [Deployment("openai/a", api_base="http://one/v1"), Deployment("openai/a", api_base="http://two/v1")]
    r = Router("r", models=models)
    assert r.route({"messages": HI}).ranking == ["openai/a", "openai/a#2"]


@four_modes
def test_256(mode: str) -> None:
    names = [f"m{number}" for number in range(256)]
    errors = {name: [TimeoutError("late")] for name in names[:3]}
    r, provider = scripted(FakeClock(), *names, script=errors)
    told = ask(mode, r)
    assert told.answered() == "ok"
    assert [name for name, _ in provider.calls] == names[:4]
    assert len(told.result.ranking) == 256
    assert len(r.explain(told.answer).splitlines()) < 400


def test_256_in_an_error_are_not_256_lines() -> None:
    r, _ = scripted(FakeClock(), *[f"m{number}" for number in range(256)])
    with pytest.raises(NoCandidateError) as caught:
        r.route({"messages": HI, "max_cost": 0})
    assert len(str(caught.value).splitlines()) < 30
    assert len(caught.value.rejected) == 256


def test_five_thousand_are_made_quickly() -> None:
    started = time.monotonic()
    made = [Deployment(f"openai/m{number}", **PRICE) for number in range(5_000)]
    r, _ = scripted(FakeClock(), models=made)
    assert len(r.route({"messages": HI}).ranking) == 5_000
    assert time.monotonic() - started < 5


def test_two_routers_share_no_state() -> None:
    clock = FakeClock()
    one, provider = scripted(clock, script={"m": [litellm.AuthenticationError("bad", "openai", "m")]})
    other, _ = scripted(clock)
    ask("sync", one).raises(litellm.AuthenticationError)
    assert other.stats()["m"]["state"] == "ok"
    assert other.budgets()[0]["settled_usd"] == 0
    assert len(provider.calls) == 1


def test_a_larger_window_is_the_only_fallback_from_one_that_was_too_small(p: LoopbackProvider) -> None:
    """The provider counts more than we thought: never the same window again, and never a smaller one."""
    for name in ("mid", "low"):
        p.always(name, lb.ContextWindow())
    p.model("big", "fine")
    made = [
        Deployment(
            f"openai/{name}", name=name, api_base=p.openai_base, api_key="k", quality=q, context_window=w, **PRICE
        )
        for name, q, w in (("mid", 0.9, 8_000), ("low", 0.8, 4_000), ("same", 0.7, 8_000), ("big", 0.1, 100_000))
    ]
    r = Router("r", models=made, budgets=[Budget(1)])
    told = ask("sync", r, timeout=5)
    assert told.answered() == "fine"
    assert [a.deployment for a in told.result.attempts] == ["mid", "big"]


def test_a_spent_budget_is_said_as_such_and_not_as_no_candidate() -> None:
    r, _ = scripted(FakeClock(), "a", "b", budgets=[Budget(usd=1e-6, per="day", key="user")])
    error = ask("sync", r, user="ann").raises(BudgetExceededError)
    assert error.key == "ann"
    assert set(error.rejected) == {"a", "b"}


def test_candidates_follow_a_price_map_that_is_replaced_in_mid_flight(
    p: LoopbackProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """litellm's background fetch lands between two calls, and between two attempts of one."""
    entry = {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
    monkeypatch.setattr(litellm, "model_cost", {**litellm.model_cost, "zz-a": entry, "zz-b": entry})
    made = [Deployment(f"openai/zz-{n}", api_base=p.openai_base, api_key="k", max_output_tokens=50) for n in "ab"]
    r = Router("r", models=made, budgets=[Budget(1)])

    def replaced(body: Any) -> str:
        dear = {**entry, "input_cost_per_token": 1e-3, "output_cost_per_token": 1e-3}
        litellm.model_cost = {**litellm.model_cost, "zz-a": dear, "zz-b": dear}
        return "fine"

    p.model("zz-a", replaced)
    ask("sync", r, timeout=5).answered()
    nothing_held(r)
    estimated = r.route({"messages": HI}).estimated_cost_usd
    assert estimated is not None
    assert estimated > 1e-3 * 50
    for name in ("zz-a", "zz-b"):
        p.model(name, "fine")
    ask("sync", router(p, "zz-b"), timeout=5).answered()
