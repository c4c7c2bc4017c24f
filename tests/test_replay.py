"""Replay decides past requests again and touches nothing live, guesses nothing, and its estimates cover the truth."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from router_plugin import Budget, Deployment, ResourceNotFoundError, Router, RouterSpec, Score, SpecError
from router_plugin.replay import Replay
from router_plugin.replay.off_policy import Quality, Scored, evaluate
from router_plugin.testing import FakeClock, ScriptedProvider

HI = [{"role": "user", "content": "hello there"}]
PRICES = {"cheap": 1e-7, "mid": 1e-6, "dear": 1e-5}
QUALITY = {"cheap": 0.5, "mid": 0.7, "dear": 0.9}


def deployment(name: str, model: str | None = None, **more: Any) -> Deployment:
    price = PRICES.get(name, 1e-6)
    given = {"input_cost_per_token": price, "output_cost_per_token": 2 * price, "quality": QUALITY.get(name, 0.6)}
    return Deployment(f"openai/{model or name}", name=name, **{**given, **more})


def made(*names: str, **options: Any) -> Router:
    clock = FakeClock()
    options.setdefault("provider", ScriptedProvider(clock))
    models = [deployment(name) for name in names or ("cheap", "mid", "dear")]
    return Router("r", options.pop("models", models), clock=clock, seed=3, history_rows=20_000, **options)


def rule(name: str, *targets: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "targets": list(targets), **more}


def when(field: str, operator: str, value: Any) -> list[dict[str, Any]]:
    return [{"field": field, "operator": operator, "value": value}]


def split(a: str, weight_a: float, b: str, weight_b: float, **more: Any) -> dict[str, Any]:
    targets = [{"model_name": a, "weight": weight_a}, {"model_name": b, "weight": weight_b}]
    return {"name": "split", "strategy": "SPLIT", "targets": targets, **more}


def moved(found: Replay) -> dict[tuple[str | None, str | None], float]:
    return {(move.from_model, move.to_model): move.count for move in found.moves}


# --------------------------------------------------------------------------- what changes


def test_under_its_own_version_nothing_changes_and_everything_is_reproduced() -> None:
    router = made(rules=[rule("long", "cheap", conditions=when("tokens.input", "greater_than", 100))])
    for size in (10, 2_000, 30):
        router.completion(messages=[{"role": "user", "content": "x" * size}])
    found = router.replay()
    assert (found.requests, found.decided, found.changed, found.reproduced) == (3, 3, 0.0, 1.0)
    assert found.moves == found.warnings == found.undecided == []
    assert found.estimated_cost_usd_difference == pytest.approx(0.0, abs=1e-12)


def test_changed_settings_move_requests_and_their_cost() -> None:
    router = made()
    for user in ("a", "b"):
        router.completion(messages=HI, user=user)
    found = router.replay(spec={"rules": [rule("b", "cheap", conditions=when("user", "equals", "b"))]})
    assert moved(found) == {("openai/dear", "openai/cheap"): 1}
    assert (found.changed, found.changed_share) == (1, 0.5)
    assert found.moves[0].request_ids == [router.list_requests(user="b")[0]["request_id"]]
    tokens = router.list_requests()[0]["request"]["input_tokens"]
    assert found.estimated_cost_usd_before == pytest.approx(2 * (tokens * 1e-5 + 300 * 2e-5))
    assert found.estimated_cost_usd_after == pytest.approx((tokens + 600) * (1e-5 + 1e-7))
    assert found.estimated_cost_usd_difference == pytest.approx(-(tokens + 600) * (1e-5 - 1e-7))
    assert found.recorded_cost_usd == pytest.approx(sum(one["cost_usd"] for one in router.list_requests()))


def test_the_old_choice_is_estimated_anew_under_the_version_that_made_it() -> None:
    router = made()
    router.route({"prompt": "x"})
    record = {**router.list_requests()[0], "estimated_cost_usd": 99.0}
    assert router.replay([record]).estimated_cost_usd_before == pytest.approx(router.replay().estimated_cost_usd_after)
    other = made("mid")  # has no such version: the record's own figure is all there is
    assert other.replay([{**record, "hash": "other"}]).estimated_cost_usd_before == 99.0


def test_every_kind_of_spec_is_taken() -> None:
    router = made()
    router.route({"prompt": "x"})
    router.update(max_cost_per_million_tokens=2.0, price_basis="input")
    router.update(max_cost_per_million_tokens=None)
    to_mid = {("openai/dear", "openai/mid"): 1.0}
    assert moved(router.replay(spec=1)) == {}
    assert moved(router.replay(spec=2)) == to_mid
    assert moved(router.replay(spec={"max_cost_per_million_tokens": 2.0, "price_basis": "input"})) == to_mid
    assert moved(router.replay(spec={"models": [deployment("mid")]})) == to_mid
    assert moved(router.replay(spec=RouterSpec(name="other", deployments=[deployment("mid")]))) == to_mid
    assert moved(router.replay(spec=made("mid"))) == to_mid
    assert router.replay(spec=2).version == "version 2"


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"spec": 1.5}, "replay: spec: must be"),
        ({"spec": {"max_cots": 1}}, "max_cost"),
        ({"requests": 5}, "replay: requests: must be"),
        ({"requests": [5]}, r"replay: requests\[0\]: must be a record"),
        ({"limit": 0}, "replay: limit"),
        ({"confidence": 1.0}, "replay: confidence"),
        ({"confidence": True}, "replay: confidence"),
    ],
)
def test_what_is_none_of_these_is_named(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        made().replay(**keywords)


def test_a_version_that_is_not_there_is_said() -> None:
    with pytest.raises(ResourceNotFoundError):
        made().replay(spec=7)


def test_a_file_of_records_is_read_up_to_the_limit(tmp_path: Path) -> None:
    router = made()
    for _ in range(5):
        router.route({"prompt": "x"})
    path = tmp_path / "requests.jsonl"
    assert router.export_requests(path) == 5
    assert router.replay(path).requests == router.replay(str(path)).requests == 5
    assert router.replay(path, limit=2).requests == router.replay(limit=2).requests == 2
    path.write_text(path.read_text() + "{half")
    with pytest.raises(SpecError, match="line 6"):
        router.replay(path)


def test_what_nothing_may_take_is_counted_apart() -> None:
    router = made()
    router.route({"prompt": "x", "max_tokens": 500})
    router.route({"prompt": "x", "max_tokens": 5})
    found = router.replay(spec={"max_cost": 0.0001})
    assert (found.decided, found.unroutable) == (1, 1)
    assert moved(found) == {("openai/dear", None): 1, ("openai/dear", "openai/mid"): 1}
    assert found.changed == 1


def test_a_request_that_was_refused_may_be_taken_now() -> None:
    router = made(max_cost=1e-9)
    with pytest.raises(Exception, match="max_cost"):
        router.completion(messages=HI)
    found = router.replay(spec={"max_cost": None})
    assert moved(found) == {(None, "openai/dear"): 1}


def test_needs_of_a_recorded_request_are_kept() -> None:
    router = made(models=[deployment("cheap"), deployment("dear", supports={"vision": False})])
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    router.route({"messages": [{"role": "user", "content": [picture]}]})
    router.route({"messages": HI})
    assert {one["model"] for one in router.list_requests()} == {"openai/cheap", "openai/dear"}
    assert router.replay().changed == 0


# --------------------------------------------------------------------------- nothing live, nobody called


def test_nothing_live_is_touched_and_nobody_is_called() -> None:
    router = made(budgets=[Budget(1, per="day")])
    for _ in range(3):
        router.completion(messages=HI)
    provider: Any = router.provider
    router.update(rules=[split("cheap", 1, "mid", 1)], deploy=False)

    def live() -> Any:
        home = router._home
        kept = list(home.versions), home.random.getstate(), len(provider.calls)
        return router.stats(), router.budgets(), router.list_requests(), router.versions, router.shadows(), kept

    before = live()
    router.replay(spec=2)
    router.replay(spec={"rules": [rule("s", "cheap", "mid", strategy="SHADOW"), rule("n", "openai/new")]})
    assert live() == before


def test_budgets_count_as_unspent_and_still_make_prices_matter() -> None:
    router = made(
        models=[deployment("cheap"), Deployment("openai/nobody", name="nobody", quality=0.99)],
        budgets=[Budget(0.001, key="user", require_key=True)],
    )
    router.completion(messages=HI, user="u", max_tokens=1000)
    assert router.budgets()[0]["settled_usd"] > 0
    found = router.replay()
    assert (found.changed, found.decided) == (0, 1)
    assert moved(router.replay(spec={"budgets": None})) == {("openai/cheap", "openai/nobody"): 1}


def test_what_live_state_decided_is_told_by_reproduced() -> None:
    router = made("cheap", "dear")
    provider: Any = router.provider
    provider.script("dear", [TimeoutError("scripted")])
    for _ in range(12):
        router.completion(messages=HI)
    provider.script("dear", ["never asked"])
    found = router.replay()
    assert found.reproduced is not None
    assert found.reproduced < 0.95
    assert any("live" in warning for warning in found.warnings)


# --------------------------------------------------------------------------- what a record does not hold


@pytest.mark.parametrize(
    ("field", "request_", "why"),
    [
        ("prompt", {}, "prompt"),
        ("messages[0].role", {}, "messages"),
        ("metadata.team", {}, "metadata"),
        ("model", {}, "model"),
        ("budget.day.used_fraction", {}, "budgets"),
        ("stats.dear.ttft_ms", {}, "statistics"),
        ("tier", {"tier": "gold"}, r"tier, which route\(\)"),
        ("tools", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ("extra.note", {"extra": {"note": "api_key=abcdefghijkl"}}, "extra"),
    ],
)
def test_what_is_not_in_the_record_is_never_guessed(field: str, request_: dict[str, Any], why: str) -> None:
    router = made(budgets=[Budget(1, per="day")])
    router.route({"messages": HI, **request_})
    found = router.replay(spec={"rules": [rule("reads", "cheap", conditions=when(field, "exists", None))]})
    assert (found.undecidable, found.decided, found.moves) == (1, 0, [])
    assert found.undecided[0].request_id == router.list_requests()[0]["request_id"]
    assert re.search(why, found.undecided[0].why)
    assert any("undecidable" in warning for warning in found.warnings)


def test_rules_that_are_not_reached_make_nothing_undecidable() -> None:
    router = made()
    router.completion(messages=HI, user="u", extra={"team": "x"})
    rules = [rule("u", "cheap", conditions=when("user", "equals", "u"), priority=1)]
    rules.append(rule("p", "mid", conditions=when("prompt", "contains", "hello")))
    found = router.replay(spec={"rules": rules})
    assert moved(found) == {("openai/dear", "openai/cheap"): 1}
    fields = [("extra.team", "x"), ("team", "x"), ("stream", False), ("has_image", False)]
    for field, value in fields:
        found = router.replay(spec={"rules": [rule("f", "cheap", conditions=when(field, "equals", value))]})
        assert (field, found.changed, found.undecidable) == (field, 1, 0)
    found = router.replay(spec={"rules": [rule("f", "cheap", conditions=[{"field": "tools", "operator": "exists"}])]})
    assert (found.changed, found.undecidable) == (0, 0), "there were no tools: that is known"


def test_logged_content_is_read() -> None:
    router = made(log_content=True)
    router.completion(messages=HI)
    router.completion(messages=[{"role": "user", "content": "other"}])
    found = router.replay(spec={"rules": [rule("p", "cheap", conditions=when("prompt", "contains", "hello"))]})
    assert (found.changed, found.undecidable) == (1, 0)


def test_content_that_redaction_has_taken_away_counts_as_not_logged() -> None:
    router = made(log_content=True, redaction=lambda value: "gone")
    router.completion(messages=HI)
    found = router.replay(spec={"rules": [rule("p", "cheap", conditions=when("prompt", "contains", "hello"))]})
    assert found.undecidable == 1


@pytest.mark.parametrize(
    "change",
    [
        {"request": None},
        {"request": {"input_tokens": "many"}},
        {"request": {"needs": ["wings"]}},
        {"request": {"needs": 3}},
        {"request": {"n": 0}},
        {"request": {"max_tokens": True}},
    ],
)
def test_a_record_without_its_figures_is_undecidable(change: dict[str, Any]) -> None:
    router = made()
    router.route({"prompt": "x"})
    found = router.replay([{**router.list_requests()[0], **change}])
    assert (found.undecidable, found.requests) == (1, 1)


def test_odd_values_in_a_record_break_nothing() -> None:
    router = made()
    router.route({"prompt": "x"})
    record = router.list_requests()[0]
    names = ["ranking", "attempts", "extra", "user", "qualities", "version", "hash", "router", "cost_usd", "feedback"]
    for name in [*names, "propensity", "estimated_cost_usd", "input_tokens", "status", "messages", "request_id"]:
        for value in (None, "x", 7, -1, [], [1], {"a": 1}, True, float("inf")):
            found = router.replay([{**record, name: value, **({"feedback": 1.0} if name == "propensity" else {})}])
            assert found.requests == 1
            json.dumps(found.model_dump())
            assert found.text()


def test_a_scorer_reads_the_prompt_or_what_it_said_then_stands() -> None:
    class Reads:
        asked = 0

        def score(self, request: Any, models: Any) -> list[Any]:
            self.asked += 1
            good = "cheap" if "easy" in str(request.messages) else "dear"
            return [Score(0.9 if model.endswith(good) else 0.1) for model in models]

    scorer = Reads()
    router = made(scorer=scorer)
    router.completion(messages=[{"role": "user", "content": "easy"}])
    router.completion(messages=[{"role": "user", "content": "hard"}])
    assert scorer.asked == 2
    found = router.replay()
    assert (found.changed, found.decided, found.reproduced, scorer.asked) == (0, 2, 1.0, 2)
    found = router.replay(spec={"models": [deployment("new"), deployment("dear")]})
    assert found.undecidable == 2, "nobody has said anything of the new one"
    other = made(scorer=Reads())
    assert router.replay(spec=other).undecidable == 2, "another scorer has said nothing of these"
    assert scorer.asked == 2
    logged = made(scorer=scorer, log_content=True)
    logged.completion(messages=[{"role": "user", "content": "easy"}])
    assert logged.replay(spec={"models": [deployment("dear"), deployment("cheap")]}).changed == 0


# --------------------------------------------------------------------------- splits


def test_a_random_split_counts_each_arm_by_its_probability() -> None:
    router = made()
    for _ in range(10):
        router.route({"prompt": "x"})
    found = router.replay(spec={"rules": [split("dear", 3, "cheap", 1)]})
    assert moved(found) == {("openai/dear", "openai/cheap"): 2.5}
    assert (found.changed, found.changed_share) == (2.5, 0.25)
    assert any("at random" in warning for warning in found.warnings)
    before, after = found.estimated_cost_usd_before, found.estimated_cost_usd_after
    assert before is not None
    assert after == pytest.approx(before * (0.75 + 0.25 * 0.01))


def test_splits_within_splits_are_gone_through() -> None:
    router = made()
    router.update(rules=[split("cheap", 1, "mid", 1)])
    router.update(rules=[])
    router.route({"prompt": "x"})
    found = router.replay(spec={"rules": [split("dear", 1, "router/r/versions/2", 3)]})
    assert moved(found) == {("openai/dear", "openai/cheap"): 0.375, ("openai/dear", "openai/mid"): 0.375}


def test_a_sticky_split_is_the_arm_of_its_key() -> None:
    router = made(rules=[split("cheap", 1, "dear", 1, split_key="user")])
    for user in range(40):
        router.completion(messages=HI, user=f"u{user}")
    found = router.replay()
    assert (found.changed, found.reproduced) == (0, 1.0)
    heavier = router.replay(spec={"rules": [split("cheap", 1, "dear", 3, split_key="user")]})
    assert set(moved(heavier)) == {("openai/cheap", "openai/dear")}
    assert heavier.changed == int(heavier.changed)


def test_a_split_by_a_key_that_is_not_in_the_record_has_its_weights() -> None:
    router = made()
    router.completion(messages=HI, metadata={"session": "s"})
    found = router.replay(spec={"rules": [split("dear", 4, "cheap", 1, split_key="metadata.session")]})
    assert moved(found) == {("openai/dear", "openai/cheap"): pytest.approx(0.2)}


def test_deployments_of_one_model_are_one_choice() -> None:
    models = [deployment("a", "same"), deployment("b", "same"), deployment("c")]
    router = made(models=models, rules=[split("a", 1, "b", 1)])
    for _ in range(8):
        router.completion(messages=HI)
    for record in router.list_requests():
        router.feedback(record["request_id"], 1.0)
    found = router.replay(spec={"rules": [rule("b", "b")]})
    assert found.changed == 0
    assert found.quality is not None
    assert found.quality.ips is not None
    assert found.quality.ips.value == pytest.approx(1.0), "each arm's propensity is 1/2, the model's is 1"


# --------------------------------------------------------------------------- quality

TRUE = {"cheap": 0.4, "mid": 0.6, "dear": 0.8}


def judged(router: Router, count: int, seed: int, **more: Any) -> None:
    """Scores of 0 or 1 for routed requests, by each model's true mean."""
    rng = random.Random(seed)
    for number in range(count):
        result = router.route({"messages": HI, "user": f"u{number}", **more})
        router.feedback(result.request_id, float(rng.random() < TRUE[str(result.deployment)]))


def test_quality_of_another_split_is_estimated_from_feedback() -> None:
    router = made(rules=[split("dear", 1, "cheap", 3)])
    judged(router, 1_500, seed=1)
    found = router.replay(spec={"rules": [split("dear", 3, "cheap", 1)]})
    truth = 0.75 * TRUE["dear"] + 0.25 * TRUE["cheap"]
    quality = found.quality
    assert quality is not None
    for estimate in (quality.ips, quality.snips, quality.dr):
        assert estimate is not None
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low < truth < estimate.high
        assert estimate.high - estimate.low < 0.2
    assert quality.logged_mean.value == pytest.approx(0.25 * 0.8 + 0.75 * 0.4, abs=0.04)
    assert quality.matches == quality.scored == 1_500
    assert quality.mean_weight == pytest.approx(1.0, abs=0.1)
    assert not any("effective" in warning or "weights are" in warning for warning in found.warnings)
    assert "SNIPS" in found.text()


def test_a_sticky_log_is_weighed_by_its_weights_also_where_the_same_hash_would_choose() -> None:
    router = made(rules=[split("dear", 1, "cheap", 3, split_key="user")])
    judged(router, 800, seed=2)
    own = router.replay().quality
    assert own is not None
    assert own.ips is not None
    assert own.ips.value == pytest.approx(own.logged_mean.value)
    other = router.replay(spec={"rules": [split("dear", 3, "cheap", 1, split_key="user")]}).quality
    assert other is not None
    assert other.snips is not None
    assert other.snips.value == pytest.approx(0.7, abs=0.08)


def test_without_feedback_there_is_no_quality_and_no_word_of_it() -> None:
    router = made()
    router.route({"prompt": "x"})
    found = router.replay()
    assert found.quality is None
    assert "quality" not in found.text()


def test_a_certain_log_is_warned_of_and_so_are_few_scores() -> None:
    router = made(rules=[rule("u", "cheap", conditions=when("user", "ends_with", "0"))])
    judged(router, 20, seed=1)
    warnings = router.replay(spec={"rules": None}).warnings
    assert any("certain" in warning for warning in warnings)
    assert any("only 20" in warning for warning in warnings)


def test_without_overlap_nothing_is_estimated() -> None:
    router = made()
    judged(router, 40, seed=1)
    found = router.replay(spec={"rules": [rule("m", "mid")]})
    assert found.quality is not None
    assert (found.quality.ips, found.quality.snips, found.quality.dr, found.quality.matches) == (None, None, None, 0)
    assert any("no overlap" in warning for warning in found.warnings)
    json.dumps(found.model_dump())


def test_scores_without_a_propensity_are_left_out_and_said() -> None:
    router = made()
    judged(router, 3, seed=1)
    records = [{**record, "propensity": None} for record in router.list_requests()]
    found = router.replay(records)
    assert found.quality is None
    assert any("3 scored requests have no propensity" in warning for warning in found.warnings)


# --------------------------------------------------------------------------- the estimators, with a known truth


def simulated(seed: int, count: int, log: dict[str, float], new: dict[str, float]) -> Quality:
    """Contexts of two kinds, whose scores differ by model: chosen by ``log``, evaluated for ``new``."""
    rng = random.Random(seed)
    samples = []
    for number in range(count):
        hard = rng.random() < 0.5
        chosen = rng.choices(list(log), list(log.values()))[0]
        mean = TRUE[chosen] - (0.3 if hard and chosen != "dear" else 0.0)
        samples.append(Scored(f"{seed}-{number}", chosen, float(rng.random() < mean), log[chosen], new))
    quality, _ = evaluate(samples, 0.95)
    assert quality is not None
    return quality


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
def test_intervals_of_95_percent_hold_the_truth_about_so_often(name: str) -> None:
    log, new = {"cheap": 0.6, "mid": 0.3, "dear": 0.1}, {"dear": 0.7, "mid": 0.3}
    truth = 0.7 * 0.8 + 0.3 * (0.6 - 0.15)
    held, values = 0, []
    for seed in range(300):
        estimate = getattr(simulated(seed, 400, log, new), name)
        held += estimate.low <= truth <= estimate.high
        values.append(estimate.value)
    assert 0.91 <= held / 300 <= 0.985
    assert sum(values) / 300 == pytest.approx(truth, abs=0.015), "no bias to speak of"


def test_snips_and_dr_are_less_noisy_than_ips() -> None:
    log, new = {"cheap": 0.6, "mid": 0.3, "dear": 0.1}, {"dear": 1.0}
    widths = {"ips": 0.0, "snips": 0.0, "dr": 0.0}
    for seed in range(30):
        quality = simulated(seed, 400, log, new)
        for name in widths:
            estimate = getattr(quality, name)
            widths[name] += estimate.high - estimate.low
    assert widths["snips"] < 0.8 * widths["ips"]
    assert widths["dr"] < 0.8 * widths["ips"]


def test_a_wider_confidence_has_wider_intervals() -> None:
    samples = [Scored(str(i), "a", float(i % 2), 0.5, {"a": 0.5, "b": 0.5}) for i in range(50)]
    narrow, wide = evaluate(samples, 0.5)[0], evaluate(samples, 0.99)[0]
    assert narrow is not None
    assert wide is not None
    assert narrow.logged_mean.low is not None
    assert wide.logged_mean.low is not None
    assert wide.logged_mean.low < narrow.logged_mean.low


def doubts(samples: list[Scored]) -> str:
    return " | ".join(evaluate(samples, 0.95)[1])


def test_the_data_is_doubted_where_it_cannot_bear_the_estimate() -> None:
    both = {"a": 0.5, "b": 0.5}
    steady = [Scored(str(i), "ab"[i % 2], 1.0, 0.5, both) for i in range(100)]
    assert doubts(steady) == ""
    heavy = [*steady, Scored("x", "a", 1.0, 0.0001, {"a": 1.0})]
    assert "of all weight" in doubts(heavy)
    assert "effective sample size" in doubts(heavy)
    assert "without a score: c" in doubts([Scored(str(i), "a", 1.0, 0.5, {"a": 0.5, "c": 0.5}) for i in range(100)])
    assert "should be 1" in doubts([Scored(str(i), "ab"[i % 2], 1.0, 0.25, both) for i in range(100)])
    assert doubts(steady[:1]).startswith("only 1 requests")


def test_one_score_has_no_interval() -> None:
    quality, _ = evaluate([Scored("1", "a", 1.0, 1.0, {"a": 1.0})], 0.95)
    assert quality is not None
    assert quality.snips is not None
    assert (quality.snips.value, quality.snips.low, quality.snips.high) == (1.0, None, None)


# --------------------------------------------------------------------------- as text


def test_the_text_shows_what_the_values_are() -> None:
    router = made()
    router.completion(messages=HI)
    reads = rule("p", "mid", conditions=when("prompt", "exists", None), priority=1)
    assert "content was not logged" in str(router.replay(spec={"rules": [rule("c", "cheap"), reads]}))
    found = router.replay(spec={"rules": [rule("c", "cheap")]})
    text = str(found)
    for part in ("replay of router r", "openai/dear", "openai/cheap", "changed", "1 (100.0%)", "-$0.00", "really cost"):
        assert part in text
    assert found.model_dump()["moves"][0]["to_model"] == "openai/cheap"
    json.dumps(found.model_dump(), allow_nan=False)
