"""Bounds of several layers all hold, unpriced is never $0, what yields and what does not, settings from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router_plugin import Deployment, NoCandidateError, Router, SpecError
from router_plugin.testing import FakeClock, ScriptedProvider

HI = [{"role": "user", "content": "hello there"}]


def made(name: str, price: float | None, quality: float | None = 0.9, **more: Any) -> Deployment:
    prices = {} if price is None else {"input_cost_per_token": price * 1e-6, "output_cost_per_token": 2e-6 * price}
    return Deployment(f"openai/{name}", name=name, quality=quality, **prices, **more)


def router(*models: Deployment, **options: Any) -> Router:
    clock = FakeClock()
    return Router("r", models=list(models), clock=clock, provider=ScriptedProvider(clock), **options)


def test_unpriced_sorts_behind_what_has_a_price() -> None:
    assert router(made("free?", None), made("dear", 5)).route({"messages": HI}).ranking == ["dear", "free?"]


def test_a_bound_relative_to_an_unpriced_model_says_so() -> None:
    with pytest.raises(SpecError, match="price is not known"):
        router(made("a", None), made("b", 1)).route({"messages": HI, "routing": {"max_cost_of_model": "a"}})


def test_a_call_cannot_loosen_a_routers_relative_bound() -> None:
    r = router(made("cheap", 1), made("mid", 3), made("dear", 9), max_cost_of_model="cheap")
    assert r.route({"messages": HI, "routing": {"max_cost_of_model": "dear"}}).ranking == ["cheap"]


def test_a_call_cannot_loosen_a_price_bound_by_another_basis() -> None:
    r = router(Deployment("openai/a", name="a", input_cost_per_token=1e-6, output_cost_per_token=8e-6))
    r = router(*r.spec.deployments, max_cost_per_million_tokens=5, price_basis="max")
    for routing in ({"price_basis": "input"}, {"max_cost_per_million_tokens": 10, "price_basis": "input"}):
        with pytest.raises(NoCandidateError, match="max_cost_per_million_tokens"):
            r.route({"messages": HI, "routing": routing})


def test_a_bound_may_be_relative_to_a_model_that_is_not_asked_for() -> None:
    r = router(made("cheap", 1), made("mid", 3), made("dear", 9))
    got = r.route({"messages": HI, "models": ["mid", "dear"], "routing": {"max_cost_of_model": "mid"}})
    assert got.ranking == ["mid"]


def test_a_guessed_quality_is_no_ground_to_be_left_out_and_none_to_pass_where_unknown_is_excluded() -> None:
    r = router(made("scored", 1, 0.8), made("guessed", 1, None))
    assert "guessed" in r.route({"messages": HI, "routing": {"min_quality": 0.7}}).ranking
    got = r.route({"messages": HI, "routing": {"min_quality": 0.7, "unknown": "exclude"}})
    assert got.ranking == ["scored"]


def test_what_rests_is_not_first_where_soft_bounds_are_set_aside() -> None:
    r = router(made("a", 1), made("b", 2))
    r._home.fleet._guess("a", r.clock.monotonic() + 60, "credential")
    got = r.route({"messages": HI, "routing": {"min_quality": 0.99, "on_infeasible": "cheapest"}})
    assert got.ranking == ["b"]
    assert "cooldown" in got.rejected["a"]


def test_falling_back_to_a_base_model_needs_one() -> None:
    with pytest.raises(SpecError, match="needs base_model"):
        router(made("a", 1)).route({"messages": HI, "routing": {"min_quality": 0.99, "on_infeasible": "base_model"}})


def test_latency_limits_yield_last_and_say_so() -> None:
    r = router(made("a", 1), made("b", 2))
    r._home.fleet._ttft.update(a=900.0, b=800.0)
    got = r.route({"messages": HI, "routing": {"max_ttft_ms": 100}})
    assert got.ranking == ["a", "b"]
    assert got.waived == ["panic"]
    with pytest.raises(NoCandidateError):
        r.route({"messages": HI, "routing": {"max_ttft_ms": 100, "unknown": "exclude"}})


@pytest.mark.parametrize("keyword", ["max_cost", "sed"])
def test_settings_beside_a_file_are_an_error(tmp_path: Path, keyword: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "name: r\nmodels:\n- model: openai/a\n  input_cost_per_token: 1e-06\n  output_cost_per_token: 2e-6\n"
    )
    with pytest.raises(SpecError, match="from_file: unknown keyword"):
        Router.from_file(path, **{keyword: 1})
    assert Router.from_file(path, seed=3).spec.deployments[0].input_cost_per_token == 1e-6


def test_a_request_that_is_no_mapping_is_an_error() -> None:
    with pytest.raises(SpecError, match="route: give"):
        router(made("a", 1)).route("hi")  # type: ignore[arg-type]
