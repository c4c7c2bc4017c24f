"""A check finds what is wrong or doubtful in a router before anyone is called, and touches nothing live."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router_plugin import Budget, Deployment, Router, RouterSpec, Score, SpecError
from router_plugin.check import Finding, Report, check, check_document
from router_plugin.check.implication import Conditions
from router_plugin.spec.conditions import parse_conditions
from router_plugin.testing import FakeClock, ScriptedProvider

HI = [{"role": "user", "content": "hello there"}]
PRICE: dict[str, Any] = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}


def deployment(name: str, **more: Any) -> Deployment:
    return Deployment(f"openai/{name}", name=name, **{**PRICE, "quality": 0.8, **more})


def made(*names: str, **options: Any) -> Router:
    clock = FakeClock()
    models = options.pop("models", [deployment(name) for name in names or ("a", "b")])
    return Router(options.pop("name", "r"), models, clock=clock, provider=ScriptedProvider(clock), seed=1, **options)


def rule(name: str, *targets: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "targets": list(targets or ("a",)), **more}


def settings(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"name": "r", "models": ["a"], "rules": list(rules)}


def when(field: str, operator: str = "equals", value: Any = "x") -> dict[str, Any]:
    return {"field": field, "operator": operator} | ({} if operator.endswith("exists") else {"value": value})


def found(report: Report, code: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.code == code]


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def only(report: Report, code: str) -> Finding:
    (finding,) = found(report, code)
    return finding


# --------------------------------------------------------------------------- a good router, and raw settings


def test_a_router_without_faults_has_no_findings() -> None:
    router = made(rules=[rule("first", "a", priority=2, conditions=[when("user")]), rule("rest", "b", priority=1)])
    report = router.check()
    assert report.findings == []
    assert (report.ok, report.errors, report.warnings, report.coverage) == (True, [], [], None)
    assert str(report) == "0 errors, 0 warnings, 0 info"


def test_findings_come_worst_first_and_can_be_dumped() -> None:
    router = made(models=[deployment("a"), Deployment("openai/none-such")], rules=[rule("off", enabled=False)])
    report = router.check()
    levels = [finding.level for finding in report.findings]
    assert levels == sorted(levels, key=("error", "warning", "info").index)
    dumped = json.loads(json.dumps(report.model_dump()))
    assert dumped["findings"][0] == {
        "level": "warning",
        "code": "unknown_model",
        "where": "models 'openai/none-such'",
        "message": dumped["findings"][0]["message"],
    }
    assert "[unknown_model]" in report.text()


@pytest.mark.parametrize(
    ("data", "where", "message"),
    [
        (settings(rule("bad", conditions=[when("user", "regex", "(")])), "rules[0] 'bad'", "does not compile"),
        (settings(rule("s", {"model_name": "a", "weight": 0}, strategy="SPLIT")), "rules[0] 's'", "weights are zero"),
        (settings(*(rule(f"r{i}") for i in range(1_001))), "rules", "at most 1000"),
        ({"name": "r"}, "", "'models' is missing"),
        ({"name": "r", "models": ["a"], "max_cots": 1}, "", "max_cost"),
        ({"name": "no spaces", "models": ["a"]}, "name", "letters, digits"),
        (["a"], "", "must be a mapping"),
        ({"name": "r", "models": [{"model": "a", "quality": 7}]}, "models", "quality"),
    ],
)
def test_settings_that_do_not_load_are_an_error_with_its_message(data: Any, where: str, message: str) -> None:
    report = check_document(data)
    (finding,) = report.findings
    assert (finding.level, finding.code, report.ok) == ("error", "spec", False)
    assert finding.where == where
    assert message in finding.message


def test_settings_that_load_are_checked_like_a_spec() -> None:
    data = {"name": "r", "models": ["openai/gpt-4o"], "rules": [rule("r", "gpt-4o", enabled=False)]}
    assert codes(check_document(data, today="2025-01-01")) == {"disabled_rule", "no_catch_all"}
    spec = RouterSpec(name="r", deployments=["openai/gpt-4o"], rules=data["rules"])
    assert check(spec, today="2025-01-01").findings == check_document(data, today="2025-01-01").findings


def test_names_that_cannot_be_bound_are_an_error_and_the_rules_are_checked_all_the_same() -> None:
    spec = RouterSpec(
        name="r", deployments=["openai/gpt-4o"], exclude_models=["gpt-4p"], rules=[rule("x", enabled=False)]
    )
    report = check(spec)
    assert "gpt-4p" in only(report, "unknown_name").message
    assert found(report, "disabled_rule")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("r",), "give a Router or a RouterSpec"), ((made(), [5]), r"sample\[0\]")],
)
def test_wrong_arguments_are_named(arguments: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        check(*arguments)
    with pytest.raises(SpecError, match="today"):
        made().check(today="soon")


# --------------------------------------------------------------------------- rules beside one another


def test_rules_after_one_without_conditions_are_never_reached() -> None:
    router = made(rules=[rule("all", priority=5), rule("late", priority=1, conditions=[when("user")])])
    finding = only(router.check(), "unreachable_rule")
    assert (finding.level, finding.where) == ("warning", "rules[1] 'late'")
    assert "'all'" in finding.message
    assert "no conditions" in finding.message


def test_a_disabled_rule_hides_nothing_and_order_follows_priority() -> None:
    report = made(
        rules=[rule("all", enabled=False, priority=5), rule("x", priority=1, conditions=[when("user")])]
    ).check()
    assert not found(report, "unreachable_rule")
    assert only(report, "disabled_rule").level == "info"
    report = made(rules=[rule("all", priority=1), rule("x", priority=5, conditions=[when("user")])]).check()
    assert not found(report, "unreachable_rule")


def test_equal_priorities_are_said_once_for_all() -> None:
    rules = [rule("x", conditions=[when("user")]), rule("y"), rule("z", priority=3, conditions=[when("extra.z")])]
    finding = only(made(rules=rules).check(), "equal_priority")
    assert "2 rules have priority 0" in finding.message
    assert "'x', 'y'" in finding.message


IMPLIED = [
    ([when("user")], [when("user")]),
    ([when("a"), when("b")], [when("b"), when("c"), when("a")]),
    ([when("a.0.b")], [when("a[0].b")]),
    ([when("t", "is_in", ["x", "y"])], [when("t", "is_in", ["y", "x"])]),
    ([when("t", "is_in", ["x", "y"])], [when("t")]),
    ([when("t", "is_in", ["x", "y", "z"])], [when("t", "is_in", ["z", "y"])]),
    ([when("n", "greater_than", 5)], [when("n", "greater_than", 10)]),
    ([when("n", "greater_or_equal", 5)], [when("n", "greater_than", 5)]),
    ([when("n", "less_than", 5)], [when("n", "less_or_equal", 4)]),
    ([when("n", "greater_than", 5)], [when("n", "equals", 6)]),
    ([when("n", "exists")], [when("n", "less_than", 4)]),
    ([when("s", "starts_with", "ab")], [when("s", "starts_with", "abc")]),
    ([when("s", "ends_with", "c")], [when("s", "ends_with", "abc")]),
    ([when("s", "contains", "b")], [when("s", "starts_with", "abc")]),
    ([when("s", "regex", "^a+$")], [when("s", "equals", "aaa")]),
    ([when("s", "not_equals", "b")], [when("s", "equals", "a")]),
    ([{"any": [when("a"), when("b")]}], [when("b"), when("c")]),
    ([{"any": [when("a"), when("b")]}], [{"any": [when("b"), when("a")]}]),
    ([{"all": [when("a"), when("b")]}], [when("b"), when("a")]),
    ([when("a", "exists")], [{"any": [when("a"), when("a", "equals", "y")]}]),
    ([{"not": when("a")}], [{"not": when("a")}, when("b")]),
]
NOT_IMPLIED = [
    ([when("user")], [when("extra.user")]),
    ([when("a"), when("b")], [when("a")]),
    ([when("n", "greater_than", 5)], [when("n", "greater_or_equal", 5)]),
    ([when("n", "greater_than", 5)], [when("n", "less_than", 10)]),
    ([when("n", "exists")], [when("n", "not_equals", 4)]),
    ([when("n", "greater_than", 0)], [when("n", "equals", True)]),
    ([when("n", "equals", 1)], [when("n", "equals", "1")]),
    ([when("s", "contains", "b")], [when("s", "contains", "abc")]),  # of a list that is another thing
    ([when("t", "is_in", ["x"])], [when("t", "is_in", ["x", "y"])]),
    ([{"any": [when("a"), when("b")]}], [{"any": [when("a"), when("c")]}]),
    ([{"not": when("a")}], [when("b")]),
    ([when("t", "not_in", [1])], [when("t", "not_in", [True])]),
]


@pytest.mark.parametrize(("earlier", "later"), IMPLIED)
def test_a_rule_whose_conditions_imply_an_earlier_ones_is_unreachable(earlier: Any, later: Any) -> None:
    rules = [rule("early", priority=2, conditions=earlier), rule("late", priority=1, conditions=later)]
    assert only(made(rules=rules).check(), "unreachable_rule").where == "rules[1] 'late'"


@pytest.mark.parametrize(("earlier", "later"), NOT_IMPLIED)
def test_a_rule_that_something_may_reach_is_not_reported(earlier: Any, later: Any) -> None:
    rules = [rule("early", priority=2, conditions=earlier), rule("late", priority=1, conditions=later)]
    assert not found(made(rules=rules).check(), "unreachable_rule")


def test_conditions_that_never_hold_together_are_reported() -> None:
    report = made(rules=[rule("x", conditions=[when("user"), when("user", "equals", "y")])]).check()
    assert only(report, "never_matches").where == "rules[0] 'x'"
    report = made(rules=[rule("x", conditions=[when("user"), when("user", "not_equals", "y")])]).check()
    assert not found(report, "never_matches")


def test_a_thousand_rules_on_one_field_are_compared() -> None:
    rules = [rule(f"r{i}", priority=-i, conditions=[when("user", "regex", f"^{i}a")]) for i in range(1_000)]
    assert not found(made(rules=rules).check(), "unreachable_rule")
    many = parse_conditions([when("user", "not_equals", str(i)) for i in range(900)], "x")
    assert Conditions(many).contradiction() is None


@pytest.mark.parametrize("models", [["a"], "any"])
def test_without_a_rule_for_everything_what_falls_through_is_said(models: Any) -> None:
    report = made(models=models, rules=[rule("x", "openai/a", conditions=[when("user")])]).check()
    finding = only(report, "no_catch_all")
    assert finding.level == ("info" if models == ["a"] else "warning")
    assert not found(made(models=models, rules=[rule("x", "openai/a")]).check(), "no_catch_all")
    assert not found(made("a").check(), "no_catch_all")


def test_weights_and_targets_that_do_nothing_are_said() -> None:
    targets = [{"model_name": "a", "weight": 1}, {"model_name": "b", "weight": 0}, {"model_name": "a", "weight": 2}]
    report = made(rules=[rule("s", *targets, strategy="SPLIT")]).check()
    assert (only(report, "zero_weight").level, only(report, "duplicate_target").level) == ("info", "warning")
    assert only(made(rules=[rule("s", "a", "b")]).check(), "unused_target").level == "info"


@pytest.mark.parametrize("shadow", [{"budget_usd": 0}, {"sample": 0.0}])
def test_a_shadow_that_never_runs_is_said(shadow: dict[str, Any]) -> None:
    report = made(rules=[rule("s", "a", "b", strategy="SHADOW", shadow=shadow)]).check()
    assert only(report, "idle_shadow").level == "warning"
    assert not found(made(rules=[rule("s", "a", "b", strategy="SHADOW")]).check(), "idle_shadow")


# --------------------------------------------------------------------------- deployments


def test_models_that_nobody_knows_and_nobody_prices_are_said() -> None:
    models = [Deployment("openai/gpt-4o"), Deployment("openai/gpt-4oo"), Deployment("openai/own", **PRICE)]
    assert only(made(models=models).check(today="2025-01-01"), "unknown_model").where == "models 'openai/gpt-4oo'"


def test_retired_models_are_an_error_and_soon_retired_ones_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    import litellm

    entry = {**litellm.model_cost["gpt-4o"], "deprecation_date": "2026-06-01"}
    monkeypatch.setitem(litellm.model_cost, "openai/gpt-old", entry)
    spec = RouterSpec(name="r", deployments=["openai/gpt-old"])
    assert only(check(spec, today="2026-06-01"), "deprecated_model").level == "error"
    soon = only(check(spec, today="2026-03-03"), "deprecated_model")
    assert soon.level == "warning"
    assert "in 90 days" in soon.message
    assert not found(check(spec, today="2026-03-02"), "deprecated_model")
    monkeypatch.setitem(litellm.model_cost, "openai/gpt-old", {**entry, "deprecation_date": "some day"})
    assert not found(check(spec, today="2026-06-01"), "deprecated_model")


def test_the_routers_clock_says_what_day_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import litellm

    monkeypatch.setitem(litellm.model_cost, "openai/gpt-old", {"deprecation_date": "2026-01-02"})
    router = made("gpt-old")  # the fake clock stands at 2026-01-01
    assert "in 1 days" in only(router.check(), "deprecated_model").message


@pytest.mark.parametrize(
    "options",
    [
        {"max_cost": 1},
        {"budgets": [Budget(1)]},
        {"weights": {"q": 1, "c": 0.1}},
        {"willingness_to_pay": 0.1},
        {"max_cost_per_million_tokens": 100},
        {"objective": "cost"},
    ],
)
def test_unpriced_deployments_are_said_where_money_matters(options: dict[str, Any]) -> None:
    models = [deployment("a"), Deployment("openai/nobody")]
    finding = only(made(models=models, **options).check(), "unpriced_deployment")
    assert (finding.level, finding.where) == ("warning", "models 'openai/nobody'")
    assert not found(made(models=models).check(), "unpriced_deployment")
    assert not found(made("a", **options).check(), "unpriced_deployment")
    assumed = {"assumed_input_cost_per_token": 1e-6, "assumed_output_cost_per_token": 1e-6}
    assert not found(made(models=models, unpriced="assume", **assumed, **options).check(), "unpriced_deployment")
    report = made(models=models, unpriced="error", **options).check()
    assert only(report, "unpriced_deployment").level == "error"


def test_deployments_that_the_routers_own_bounds_always_leave_out_are_said() -> None:
    models = [deployment("a"), deployment("dear", input_cost_per_token=1e-4, output_cost_per_token=2e-4)]
    for basis in ("request", "blend", "input", "output", "max"):
        report = made(models=models, max_cost_per_million_tokens=50, price_basis=basis).check()
        assert only(report, "never_chosen").where == "models 'dear'", basis
    report = made(models=models, max_cost_per_million_tokens=150, price_basis="request").check()
    assert not found(report, "never_chosen"), "mostly input it costs less than that"
    report = made(models=models, max_cost_per_million_tokens=50, price_basis="max", on_infeasible="cheapest").check()
    assert not found(report, "never_chosen"), "the bound may be set aside"


def test_a_max_cost_that_pays_for_no_answer_is_said_with_its_numbers() -> None:
    models = [deployment("a"), deployment("dear", input_cost_per_token=1e-4, output_cost_per_token=2e-4)]
    finding = only(made(models=models, max_cost=0.001).check(), "never_chosen")
    assert "256 tokens of output ($0.051200)" in finding.message
    assert not found(made(models=models, max_cost=0.001, min_output_tokens=1).check(), "never_chosen")
    report = made(models=models, budgets=[Budget(0.001, key="user", require_key=True)]).check()
    assert only(report, "never_chosen").message.startswith("is never chosen: budget: $0.001000")
    assert only(report, "required_key").level == "info"
    assert found(made(budgets=[Budget(0)]).check(), "empty_budget")


def test_where_no_deployment_is_possible_the_router_is_of_no_use() -> None:
    report = made(min_quality=0.9).check()
    assert only(report, "nothing_possible").level == "error"
    assert made(max_cost=1e-9).check().ok, "a call that caps its output may be answered"
    assert found(made(max_cost=1e-9).check(), "nothing_possible")


def test_declared_quality_below_the_bound_is_said_unless_a_scorer_may_say_otherwise() -> None:
    class Scorer:
        asked = 0

        def score(self, request: Any, models: Any) -> list[Any]:
            self.asked += 1
            return [Score(0.99) for _ in models]

    models = [deployment("a"), deployment("poor", quality=0.3), deployment("b", quality=None)]
    report = made(models=models, min_quality=0.5).check()
    assert only(report, "never_chosen").where == "models 'poor'"
    assert "quality: 0.3, wanted >= 0.5" in only(report, "never_chosen").message
    assert "pass the bound unmeasured" in only(report, "unknown_quality").message
    report = made(models=models, min_quality=0.5, unknown="exclude").check()
    assert {one.where for one in found(report, "never_chosen")} == {"models 'poor'", "models 'b'"}
    scorer = Scorer()
    report = made(models=models, min_quality=0.5, scorer=scorer).check()
    assert not codes(report) & {"never_chosen", "unknown_quality"}
    assert scorer.asked == 0


def test_a_trained_predictor_that_is_not_there_is_said() -> None:
    assert only(made(artefact="nowhere/at-all").check(), "artefact").level == "warning"


def test_limits_on_latency_are_no_reason_before_anything_is_measured() -> None:
    assert not made(max_ttft_ms=1, max_itl_ms=1).check().findings


# --------------------------------------------------------------------------- targets


def test_models_that_rules_alone_name_are_implicit_deployments() -> None:
    report = made(rules=[rule("x", "openai/gpt-4o"), rule("y", "a", priority=1)]).check(today="2025-01-01")
    finding = only(report, "implicit_deployment")
    assert (finding.level, finding.where) == ("info", "rules[0] 'x'")
    assert not found(report, "unknown_model")
    assert found(made(rules=[rule("x", "openai/gpt-4oo")]).check(), "unknown_model")
    assert not found(made(rules=[rule("x", "a@openai"), rule("y", "a", enabled=False)]).check(), "implicit_deployment")


@pytest.mark.parametrize(
    ("target", "options", "why"),
    [
        ("a", {"exclude_models": ["a"]}, "excluded by name"),
        ("a", {"providers": ["mistral"]}, "provider openai is not among"),
        ("router@models:a|skip_models:a", {}, "excluded by name"),
        ("dear", {"max_cost_per_million_tokens": 50, "price_basis": "output"}, "limit $50"),
        ("router@models:dear|c<50", {}, "cost: 125 USD/M, wanted < 50"),
        ("poor", {"min_quality": 0.5}, "quality: 0.2, wanted >= 0.5"),
        ("router@q>0.9|providers:openai", {}, "wanted > 0.9"),
        ("a@lowest-ttft<0.5ic", {}, "input_cost: 1 USD/M"),
        ("router@models:nobody", {}, "unknown model 'nobody'"),
        ("nobody@lowest-ttft", {}, "unknown model 'nobody'"),
        ("openai/unpriced", {"max_cost": 1}, "unpriced"),
    ],
)
def test_a_target_that_can_never_answer_is_an_error(target: str, options: dict[str, Any], why: str) -> None:
    models = [
        deployment("a"),
        deployment("dear", input_cost_per_token=1e-4, output_cost_per_token=2e-4),
        deployment("poor", quality=0.2),
        Deployment("mistral/m", name="m", **PRICE),
    ]
    report = made(models=models, rules=[rule("x", target), rule("rest", "m", priority=-1)], **options).check()
    finding = next(one for one in found(report, "impossible_target") if one.where == "rules[0] 'x'")
    assert finding.level == "error"
    assert why in finding.message
    other = rule("x", target, "m", strategy="FALLBACK")
    report = made(models=models, rules=[other], **{**options, "min_quality": None}).check()
    finding = next((one for one in found(report, "impossible_target") if target in one.message), finding)
    assert "min_quality" in options or finding.level == "warning", "the other target may answer"


def test_targets_that_may_answer_are_not_reported() -> None:
    targets = ["a", "router", "router@models:a", "router@c<5", "a@lowest-ttft", "b->a", "router@models:none->a"]
    rules = [rule(f"r{i}", target, priority=i, conditions=[when("user", "equals", str(i))]) for i, target in
             enumerate(targets)]  # fmt: skip
    assert not found(made(rules=rules).check(), "impossible_target")


def test_a_target_that_max_cost_leaves_out_is_doubtful_only() -> None:
    report = made(rules=[rule("x", "a")], max_cost=1e-6).check()
    assert only(report, "impossible_target").level == "warning"
    assert report.ok


def test_a_shadow_that_cannot_answer_is_a_warning_and_its_primary_an_error() -> None:
    models = [deployment("a"), deployment("poor", quality=0.2)]
    report = made(models=models, min_quality=0.5, rules=[rule("s", "a", "poor", strategy="SHADOW")]).check()
    assert only(report, "impossible_target").level == "warning"
    report = made(models=models, min_quality=0.5, rules=[rule("s", "poor", "a", strategy="SHADOW")]).check()
    assert only(report, "impossible_target").level == "error"


def test_unknown_routers_are_an_error_where_the_others_are_given() -> None:
    router = made(rules=[rule("x", "router/other")])
    assert only(router.check(), "unknown_router").level == "warning"
    report = router.check(others=[made(name="othr")])
    assert only(report, "unknown_router").level == "error"
    assert "did you mean 'othr'" in only(report, "unknown_router").message
    for others in ([made(name="other")], {"other": made(name="other")}, [made(name="other").spec]):
        assert not found(router.check(others=others), "unknown_router")


def test_a_version_that_is_not_there_is_an_error() -> None:
    router = made(rules=[rule("x", "router/r/versions/9")])
    assert only(router.check(), "unknown_version").level == "error"
    router.update(rules=[rule("x", "router/r/versions/1")])
    assert not found(router.check(), "unknown_version")


def test_rules_that_go_round_in_a_circle_are_an_error() -> None:
    a = made(name="a", rules=[rule("to b", "router/b")])
    b = made(name="b", rules=[rule("to c", "router/c", priority=1), rule("off", "router/a", enabled=False)])
    c = made(name="c", rules=[rule("to a", "a", "router/a->b", strategy="FALLBACK")])
    finding = only(a.check(others=[b, c]), "rule_cycle")
    assert (finding.level, finding.where) == ("error", "rules[0] 'to b'")
    assert "a (version 1) -> b (version 1) -> c (version 1) -> a (version 1)" in finding.message
    straight = made(name="c", rules=[rule("end", "a")])
    assert not found(a.check(others=[b, straight]), "rule_cycle")


def test_a_circle_that_only_begins_here_is_found_too() -> None:
    a = made(name="a", rules=[rule("to b", "router/b")])
    b = made(name="b", rules=[rule("to c", "router/c")])
    c = made(name="c", rules=[rule("to b", "router/b")])
    assert "b (version 1) -> c (version 1) -> b (version 1)" in only(a.check(others=[b, c]), "rule_cycle").message


def test_a_circle_through_versions_is_found_and_the_call_that_runs_into_it_fails() -> None:
    router = made(rules=[rule("x", "router/r/versions/2")])
    router.update(rules=[rule("y", "router/r/versions/1")])
    assert found(router.check(), "rule_cycle")
    with pytest.raises(SpecError, match="circle"):
        router.route({"prompt": "x"})


def test_a_rule_that_addresses_its_own_router_is_no_circle_and_is_said() -> None:
    router = made(rules=[rule("x", "router/r@q:1|c:0.01")])
    report = router.check()
    assert only(report, "self_target").level == "info"
    assert not found(report, "rule_cycle")
    assert router.route({"prompt": "x"}).model == "openai/a"


# --------------------------------------------------------------------------- coverage by a sample


def covered(*rules: dict[str, Any], **options: Any) -> Router:
    return made(rules=list(rules), **options)


def test_a_sample_tells_which_rule_takes_how_many() -> None:
    router = covered(
        rule("gold", "a", priority=2, conditions=[when("tier", "equals", "gold")]),
        rule("long", "b", priority=1, conditions=[when("tokens.input", "greater_than", 100)]),
        rule("never", "b", conditions=[when("user", "equals", "nobody")]),
    )
    sample: list[dict[str, Any]] = [
        {"prompt": "x", "tier": "gold"},
        {"messages": HI, "extra": {"tier": "gold"}},
        {"prompt": "x" * 4_000},
        {"prompt": "x"},
        {"prompt": "x", "model": "b", "max_cost": 1},
    ]
    report = router.check(sample)
    coverage = report.coverage
    assert coverage is not None
    assert coverage.fired == {"gold": 2, "long": 1, "never": 0}
    assert (coverage.requests, coverage.fell_through, coverage.direct) == (5, 1, 1)
    assert coverage.never == ["never"]
    assert only(report, "never_fires").where == "rules[2] 'never'"
    assert "sample of 5" in report.text()
    json.dumps(report.model_dump())


def test_a_sample_agrees_with_route() -> None:
    router = covered(
        rule("p", "a", conditions=[when("prompt", "contains", "code")], priority=3),
        rule("s", {"model_name": "a", "weight": 1}, {"model_name": "b", "weight": 1}, strategy="SPLIT",
             split_key="user", conditions=[when("user", "exists")], priority=2),
    )  # fmt: skip
    sample = [{"prompt": p, **u} for p in ("code it", "talk") for u in ({}, {"user": "u"}, {"user": "v"})]
    coverage = router.check(sample).coverage
    assert coverage is not None
    routed = [router.route(one).matched_rule for one in sample]
    assert coverage.fired == {name: sum(r is not None and r.name == name for r in routed) for name in ("p", "s")}
    assert coverage.fell_through == routed.count(None)


def test_requests_that_nothing_may_take_are_listed() -> None:
    router = covered(rule("all", "a"), max_cost=0.001)
    sample = [{"prompt": "x"}, {"prompt": "x", "max_tokens": 50_000}, {"prompt": "x", "routing": {"min_quality": 0.99}}]
    report = router.check(sample)
    assert report.coverage is not None
    assert [one.number for one in report.coverage.refused] == [1, 2]
    assert report.coverage.refused[0].why.startswith("a: max_cost")
    assert "2 of 3 requests" in only(report, "refused_requests").message


def test_conditions_that_could_not_be_evaluated_are_counted_without_what_was_found() -> None:
    router = covered(rule("big", "a", conditions=[when("size", "greater_than", 3)]))
    report = router.check(
        [{"prompt": "x", "size": "secret"}, {"prompt": "x", "size": "other"}, {"prompt": "x", "size": 5}]
    )
    finding = only(report, "not_evaluated")
    assert "2 of 3" in finding.message
    assert "size greater_than 3" in finding.message
    assert "secret" not in report.text()


def test_what_is_no_request_is_counted_and_the_first_is_said() -> None:
    report = made().check([{"messages": 5}, {"prompt": "x", "routing": {"max_cots": 1}}, {"prompt": "x"}, {"model": 5}])
    assert report.coverage is not None
    assert (report.coverage.unreadable, report.coverage.requests) == (3, 4)
    assert only(report, "unreadable_request").where == "sample[0]"


def test_budget_keys_that_no_request_has_are_said() -> None:
    router = made(budgets=[Budget(1, key="extra.team"), Budget(1, per="day", key="user", require_key=True)])
    report = router.check([{"prompt": "x", "user": "u"}, {"prompt": "x"}])
    team, user = found(report, "budget_key")
    assert "no request of 2 has extra.team" in team.message
    assert "1 of 2 requests have no user and are refused" in user.message
    assert not found(router.check([{"prompt": "x", "user": "u", "extra": {"team": "t"}}]), "budget_key")


def test_records_of_the_history_are_a_sample_too() -> None:
    router = covered(rule("u", "a", conditions=[when("user", "equals", "u")], priority=1))
    for user in ("u", "u", "v"):
        router.completion(messages=HI, user=user)
    report = router.check(router.list_requests())
    assert report.coverage is not None
    assert (report.coverage.fired, report.coverage.fell_through) == ({"u": 2}, 1)
    router.update(rules=[rule("p", "a", conditions=[when("prompt", "contains", "hello")])])
    report = router.check(router.list_requests())
    assert report.coverage is not None
    assert (report.coverage.undecidable, report.coverage.fired) == (3, {"p": 0})
    assert not found(report, "never_fires"), "nobody knows"
    assert only(report, "undecidable_records").level == "info"


def test_nothing_live_is_touched_and_nobody_is_called() -> None:
    router = covered(
        rule("s", {"model_name": "a"}, {"model_name": "openai/new"}, strategy="SPLIT"), budgets=[Budget(1)]
    )
    router.completion(messages=HI)
    provider: Any = router.provider

    def live() -> Any:
        kept = router._home.random.getstate(), len(provider.calls), len(router._active().everyone())
        return router.stats(), router.budgets(), router.list_requests(), router.shadows(), kept

    before = live()
    router.check([{"prompt": "x", "model": "openai/unlisted", "max_cost": 1} for _ in range(5)])
    assert live() == before
