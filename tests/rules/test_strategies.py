"""Rules in real calls: what is matched, what the four strategies do, and that bounds and budgets hold whatever a rule
says. Every call runs in four modes."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from router_plugin import Budget, BudgetExceededError, Deployment, NoCandidateError, Router, RouteResult, SpecError
from router_plugin.testing import FakeClock, Reply, ScriptedProvider

HI = [{"role": "user", "content": "hello there"}]
PRICE: dict[str, Any] = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
four_modes = pytest.mark.parametrize("mode", ["sync", "async", "sync stream", "async stream"])


def made(rules: list[Any], script: Any = None, names: str = "abc", **options: Any) -> tuple[Router, ScriptedProvider]:
    clock = FakeClock()
    provider = ScriptedProvider(clock, script)
    models = [Deployment(f"openai/{n}", name=n, quality=0.9 - i / 10, **PRICE) for i, n in enumerate(names)]
    options = {"budgets": [Budget(1)], "seed": 1, **options}
    return Router("r", models=models, rules=rules, clock=clock, provider=provider, **options), provider


def ask(router: Router, mode: str, messages: Any = HI, **kwargs: Any) -> RouteResult:
    async def awaited() -> Any:
        got = await router.acompletion(messages=messages, stream="stream" in mode, **kwargs)
        if "stream" in mode:
            async for _ in got:
                pass
        return got

    if mode.startswith("async"):
        got = asyncio.run(awaited())
    else:
        got = router.completion(messages=messages, stream="stream" in mode, **kwargs)
        if "stream" in mode:
            for _ in got:
                pass
    result = RouteResult.of(got)
    assert result is not None
    assert all(account["reserved_usd"] == 0 for account in router.budgets())
    return result


def rule(name: str, *targets: Any, strategy: str = "SINGLE", **more: Any) -> dict[str, Any]:
    return {"name": name, "strategy": strategy, "targets": list(targets), **more}


def when(field: str, operator: str, value: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


# --------------------------------------------------------------------------- which rule


@four_modes
def test_the_first_match_by_priority_decides_and_no_match_is_the_default_objective(mode: str) -> None:
    ann = when("user", "equals", "ann")
    router, _ = made(
        [
            rule("low", "c", priority=1, conditions=[ann]),
            rule("high", "b", priority=2, conditions=[when("extra.team", "equals", "x"), ann]),
        ]
    )
    assert ask(router, mode, user="ann", extra={"team": "x"}).deployment == "b"
    second = ask(router, mode, user="ann")
    assert (second.deployment, second.matched_rule.name) == ("c", "low")
    assert [one["rule"] for one in second.rule_trace] == ["high", "low"]
    assert "extra.team" in second.rule_trace[0]["why"]
    nobody = ask(router, mode)
    assert (nobody.deployment, nobody.matched_rule) == ("a", None)
    assert any("no rule matched" in note for note in nobody.notes)


@pytest.mark.parametrize(
    ("condition", "kwargs"),
    [
        (when("prompt", "contains", "there"), {}),
        (when("messages.0.role", "equals", "user"), {}),
        (when("model", "equals", "router/r"), {"model": "router/r"}),
        (when("tokens.input", "less_than", 100), {}),
        (when("tools", "contains", "look_up"), {"tools": [{"type": "function", "function": {"name": "look_up"}}]}),
        (when("stream", "equals", False), {}),
        (when("has_image", "equals", False), {}),
        (when("user", "starts_with", "an"), {"user": "ann"}),
        (when("extra.region", "is_in", ["eu"]), {"extra": {"region": "eu"}}),
        (when("region", "is_in", ["eu"]), {"extra": {"region": "eu"}}),
        (when("metadata.tenant", "exists", None), {"metadata": {"tenant": "t"}}),
        (when("budget.total.used_fraction", "less_than", 0.5), {}),
        (when("stats.a.attempts", "equals", 0), {}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_every_namespace_can_be_read(condition: dict[str, Any], kwargs: dict[str, Any]) -> None:
    if condition["operator"] == "exists":
        condition = {"field": condition["field"], "operator": "exists"}
    router, _ = made([rule("it", "c", conditions=[condition])])
    assert ask(router, "sync", **kwargs).deployment == "c"


def test_in_live_calls_the_namespaces_win_over_extra_and_in_route_the_data_wins() -> None:
    router, _ = made([rule("it", "c", conditions=[when("user", "equals", "extra")])])
    assert ask(router, "sync", user="ann", extra={"user": "extra"}).matched_rule is None
    assert router.route({"prompt": "x", "user": "extra"}).matched_rule.name == "it"


def test_a_spent_budget_can_move_traffic() -> None:
    router, _ = made(
        [rule("spent", "c", conditions=[when("budget.all.used_fraction", "greater_than", 0.4)])],
        budgets=[Budget(0.001, name="all")],
        script={"a": [Reply(input_tokens=300, output_tokens=100)]},
    )
    assert ask(router, "sync", max_tokens=200).deployment == "a"
    assert ask(router, "sync", max_tokens=100).deployment == "c"


# --------------------------------------------------------------------------- SINGLE, FALLBACK, what a target may be


@four_modes
def test_fallback_goes_through_its_targets_in_order(mode: str) -> None:
    router, provider = made(
        [rule("f", "c", "b", "a", strategy="FALLBACK")], {"c": [TimeoutError("slow")], "b": [TimeoutError("slow")]}
    )
    result = ask(router, mode)
    assert [name for name, _ in provider.calls] == ["c", "b", "a"]
    assert [target.model_name for target in result.selected_targets] == ["c", "b", "a"]


@four_modes
def test_single_asks_its_target_alone(mode: str) -> None:
    router, provider = made([rule("s", "b", "a")], {"b": [TimeoutError("slow")]})
    with pytest.raises(TimeoutError):
        ask(router, mode)
    assert {name for name, _ in provider.calls} == {"b"}


def test_a_target_may_be_a_model_that_is_not_listed() -> None:
    router, _ = made([rule("s", "openai/gpt-4o-mini", conditions=[when("user", "equals", "ann")])], budgets=[])
    assert ask(router, "sync", user="ann").model == "openai/gpt-4o-mini"
    assert ask(router, "sync").deployment == "a", "it is no choice of any other call"


@pytest.mark.parametrize(
    ("target", "served"),
    [
        ("router@models:b,c", "b"),
        ("router@q:1|c:1|models:c", "c"),
        ("b@openai", "b"),
        ("router@skip_models:a", "b"),
        ("c->b", "c"),
    ],
)
def test_a_target_may_be_a_router_string(target: str, served: str) -> None:
    router, _ = made([rule("s", target)])
    assert ask(router, "sync").deployment == served


def test_the_callers_string_is_nearer_than_the_rules() -> None:
    router, _ = made([rule("s", "router@models:a,b")])
    assert ask(router, "sync", model="router@skip_models:a").deployment == "b"


def test_a_concrete_name_is_routed_over_that_model_alone_whatever_rules_say() -> None:
    router, _ = made([rule("s", "a")])
    assert ask(router, "sync", model="c", max_cost=1).deployment == "c"


# --------------------------------------------------------------------------- SPLIT


def split(**more: Any) -> dict[str, Any]:
    targets = [{"model_name": n, "weight": w} for n, w in (("a", 7), ("b", 2), ("c", 1))]
    return rule("split", *targets, strategy="SPLIT", **more)


def test_a_split_honours_its_weights_and_tells_the_propensity() -> None:
    router, _ = made([split()])
    results = [router.route({"prompt": "x"}) for _ in range(4_000)]
    shares = Counter(result.selected_targets[0].model_name for result in results)
    for name, wanted in (("a", 0.7), ("b", 0.2), ("c", 0.1)):
        assert abs(shares[name] / 4_000 - wanted) < 0.03
    for result in results[:50]:
        assert result.propensity == pytest.approx({"a": 0.7, "b": 0.2, "c": 0.1}[result.deployment or ""])


def test_an_arm_that_cannot_answer_leaves_its_share_to_the_heaviest() -> None:
    router, _ = made([split()])
    results = [router.route({"prompt": "x", "routing": {"exclude_models": ["a"]}}) for _ in range(400)]
    told = {result.deployment: result.propensity for result in results}
    assert told == {"b": pytest.approx(0.9), "c": pytest.approx(0.1)}
    assert abs(sum(result.deployment == "b" for result in results) / 400 - 0.9) < 0.06


def test_a_split_inside_a_split_multiplies_along_the_way_that_was_taken() -> None:
    inner, _ = made([rule("in", "b", "c", strategy="SPLIT")])
    clock = FakeClock()
    models = [Deployment(f"openai/{n}", name=n, **PRICE) for n in "abc"]
    rules = [rule("out", "a", "router/r", strategy="SPLIT")]
    outer = Router("o", models=models, rules=rules, clock=clock, provider=ScriptedProvider(clock), seed=1)
    told: dict[Any, set[float]] = {}
    for _ in range(60):
        answer = outer._completion({"messages": HI, "model": "router/o"}, {"r": inner, "o": outer})
        result = RouteResult.of(answer)
        assert result is not None
        told.setdefault(result.deployment, set()).add(round(result.propensity, 3))
    assert told == {"a": {0.5}, "b": {0.25}, "c": {0.25}}


def test_the_same_seed_splits_the_same_way() -> None:
    def run() -> list[Any]:
        router, _ = made([split()], seed=7)
        return [router.route({"prompt": "x"}).deployment for _ in range(50)]

    assert run() == run()


@four_modes
def test_a_split_by_key_is_sticky_over_calls_and_routers(mode: str) -> None:
    one, _ = made([split(split_key="user")], seed=1)
    two, _ = made([split(split_key="user")], seed=2)
    for user in ("ann", "bob", "cleo"):
        assert len({ask(r, mode, user=user).deployment for r in (one, two, one)}) == 1
    users = Counter(one.route({"prompt": "x", "user": f"u{n}"}).deployment for n in range(2_000))
    assert abs(users["a"] / 2_000 - 0.7) < 0.04


@four_modes
def test_an_arm_that_is_down_does_not_fail_its_share_of_the_calls(mode: str) -> None:
    router, provider = made([split(split_key="user")], {"a": [TimeoutError("down")]})
    user = next(f"u{n}" for n in range(99) if router.route({"prompt": "x", "user": f"u{n}"}).deployment == "a")
    result = ask(router, mode, user=user)
    assert [name for name, _ in provider.calls] == ["a", "b"]
    assert result.selected_targets[0].model_name == "a", "what was chosen is recorded as chosen"


# --------------------------------------------------------------------------- bounds hold


def test_bounds_hold_whatever_a_rule_says() -> None:
    router, provider = made([rule("s", "a")], max_cost=1e-6)
    with pytest.raises(NoCandidateError):
        ask(router, "sync", max_tokens=1_000)
    assert provider.calls == []


def test_budgets_hold_whatever_a_rule_says() -> None:
    router, provider = made([rule("s", "c")], budgets=[Budget(1e-9)])
    with pytest.raises(BudgetExceededError):
        ask(router, "sync", max_tokens=1_000)
    assert provider.calls == []


# --------------------------------------------------------------------------- other routers, circles


def test_a_target_may_be_another_router_with_rules_of_its_own() -> None:
    inner, _ = made([rule("in", "c")])
    inner.name  # noqa: B018
    clock = FakeClock()
    provider = ScriptedProvider(clock)
    models = [Deployment("openai/x", **PRICE)]
    outer = Router("outer", models=models, rules=[rule("out", "router/r")], clock=clock, provider=provider)
    result = RouteResult.of(outer._completion({"messages": HI, "model": "router/outer"}, {"r": inner, "outer": outer}))
    assert result is not None
    assert (result.deployment, result.matched_rule.name) == ("c", "out")
    assert [one["rule"] for one in result.rule_trace] == ["out", "in"]


def test_rules_that_go_round_are_an_error() -> None:
    one, _ = made([rule("there", "router/two")])
    clock = FakeClock()
    two = Router(
        "two", models=["openai/x"], rules=[rule("back", "router/r")], clock=clock, provider=ScriptedProvider(clock)
    )
    with pytest.raises(SpecError, match=r"circle: r \(version 1\) -> two \(version 1\) -> r"):
        one._completion({"messages": HI, "model": "router/r"}, {"r": one, "two": two})


def test_a_rule_to_an_unknown_router_says_which_are_known() -> None:
    router, _ = made([rule("s", "router/nobody")])
    with pytest.raises(SpecError, match="unknown router 'nobody'"):
        ask(router, "sync")


def test_an_explanation_shows_the_rules() -> None:
    router, _ = made([rule("vip", "b", conditions=[when("user", "equals", "ann")]), split(priority=-1)])
    text = router.explain(ask(router, "sync"))
    assert "rule: split (SPLIT), targets: " in text
    assert "not vip: user equals 'ann'" in text
