"""Rules: JSON cases of one behaviour each (tests/cases/rules), and what holds of every rule."""

from __future__ import annotations

import copy
import json
import math
import pickle
import random
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from router_plugin.decide import regexes
from router_plugin.decide.rules import MISSING, Match, compile_rules, lookup, pick_split
from router_plugin.spec.rules import Rule, parse_rules, path_of

FILES = sorted((Path(__file__).parent.parent / "cases/rules").glob("*.json"))
CASES = [(f"{path.stem}: {case['name']}", case) for path in FILES for case in json.loads(path.read_text())]


class Data:
    """Fields of one mapping; ``asked`` counts how often each path was asked for."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self.asked: Counter[Any] = Counter()

    def get(self, path: Any) -> Any:
        self.asked[path] += 1
        return lookup(self.data, path)


def matched(rules: list[dict[str, Any]], data: Any) -> Match:
    return compile_rules(parse_rules(rules)).match(Data(data))


def rule(*conditions: Any, **fields: Any) -> dict[str, Any]:
    return {"name": "r", "targets": ["m"], "conditions": list(conditions), **fields}


def condition(field: str, operator: str, *value: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, **({"value": value[0]} if value else {})}


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_case(case: dict[str, Any]) -> None:
    match = matched(case["rules"], case["data"])
    assert (match.rule.name if match.rule else None) == case["matched"]
    assert [tried.matched for tried in match.trace] == [False] * (len(match.trace) - 1) + [
        match.rule is not None
    ] * bool(match.trace)
    if "why_contains" in case:
        assert case["why_contains"] in match.trace[-1].why


def test_a_trace_names_every_rule_that_was_tried_and_ends_with_the_match() -> None:
    rules = [
        rule(condition("tier", "equals", "premium"), name="premium", priority=9),
        rule(name="off", priority=8, enabled=False),
        rule(condition("credits", "greater_than", 100), name="rich", priority=7),
        rule(condition("user.age", "exists"), name="aged", priority=6),
        rule(condition("tier", "is_in", ["free", "trial"]), name="free", priority=5),
        rule(name="rest"),
    ]
    match = matched(rules, {"tier": "free", "credits": "many"})
    assert [(t.rule_name, t.matched, t.why) for t in match.trace] == [
        ("premium", False, "tier equals 'premium': found 'free'"),
        ("off", False, "disabled"),
        ("rich", False, "credits greater_than 100: cannot be evaluated: it needs a number, found 'many'"),
        ("aged", False, "user.age exists: the field is missing"),
        ("free", True, "its condition holds"),
    ]


@pytest.mark.parametrize("value", [math.nan, -math.nan, Decimal("NaN")])
def test_not_a_number_compares_with_nothing(value: Any) -> None:
    for operator in ("greater_than", "less_than", "greater_or_equal", "less_or_equal"):
        match = matched([rule(condition("x", operator, 1))], {"x": value})
        assert match.rule is None
        assert "cannot be evaluated: it needs a number that compares" in match.trace[0].why
    assert matched([rule(condition("x", "is_in", [1]))], {"x": value}).rule is None


def test_decimals_and_huge_integers_are_numbers() -> None:
    assert matched([rule(condition("x", "less_than", 1))], {"x": Decimal("0.5")}).rule
    assert matched([rule(condition("x", "greater_than", 1e308))], {"x": 10**5000}).rule
    match = matched([rule(condition("x", "less_than", 1e308))], {"x": 10**5000})
    assert "found a number of 16610 bits" in match.trace[0].why


def test_sets_are_lists_to_contains() -> None:
    assert matched([rule(condition("x", "contains", "a"))], {"x": {"a", "b"}}).rule
    assert not matched([rule(condition("x", "contains", "a"))], {"x": frozenset("b")}).rule


def test_what_is_too_large_to_go_through_is_a_reported_non_match() -> None:
    for operator in ("contains", "not_contains"):
        match = matched([rule(condition("x", operator, "a"))], {"x": ["a"] * 100_001})
        assert match.rule is None
        assert "too large" in match.trace[0].why


def test_a_text_too_long_for_its_pattern_is_a_reported_non_match(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regexes, "MAX_WORK", 100_000)
    match = matched([rule(condition("x", "regex_match", "[ab]*a.{50}x"))], {"x": "a" * 50_000})
    assert match.rule is None
    assert "cannot be evaluated: that is too large" in match.trace[0].why
    assert "50000 characters" in match.trace[0].why


def test_a_long_prompt_is_searched_to_its_end() -> None:
    text = "lorem ipsum " * 500_000 + "URGENT"
    assert matched([rule(condition("prompt", "regex_match", r"(?i)\burgent\z"))], {"prompt": text}).rule


def test_half_a_surrogate_pair_hides_nothing_around_it() -> None:
    for patterns in (["urgent"], ["a", "b", "c", "urgent"]):
        rules = [rule(condition("x", "regex_match", p), name=p) for p in patterns]
        assert matched(rules, {"x": "\ud800 urg\udc00 URG urgent \ud83d"}).rule
    assert matched([rule(condition("x", "regex_match", "^.$"))], {"x": "\ud800"}).rule


class Hostile(dict[str, Any]):
    def get(self, *_: Any) -> Any:
        raise RuntimeError("no")


class Model(BaseModel):
    tier: str = "premium"


@pytest.mark.parametrize(
    ("data", "path", "expected"),
    [
        ({"a": {"b": 1}}, "a.b", 1),
        ({"a": None}, "a", None),
        ({"a": Model()}, "a.tier", "premium"),
        ({"a": Hostile()}, "a.b", MISSING),
        ({"a": Model}, "a.b", MISSING),
        ({"a": object()}, "a.__class__", MISSING),
        (None, "a", MISSING),
        ("text", "a", MISSING),
        ("text", "0", MISSING),
        ({"a": (1, 2)}, "a[1]", 2),
        ({"a": {1: "x"}}, "a[1]", MISSING),
    ],
)
def test_lookup_never_raises(data: Any, path: str, expected: Any) -> None:
    assert lookup(data, path_of(path)) == expected


def test_looking_a_field_up_adds_nothing_to_the_data() -> None:
    data = Counter({"a": 1})
    assert lookup(data, ("b",)) is MISSING
    assert data == {"a": 1}


def test_each_field_is_asked_for_once_a_match_and_only_if_needed() -> None:
    rules = [rule(condition("a", "equals", i), condition("b", "equals", 1), name=str(i)) for i in range(20)]
    fields = Data({"a": -1})
    compile_rules(parse_rules(rules)).match(fields)
    assert fields.asked == {("a",): 1}


def test_a_trace_holds_on_to_no_prompt_and_shows_what_was_found_then() -> None:
    data: dict[str, Any] = {"prompt": "very secret " * 100, "tags": {"x": 1}}
    rules = [rule(condition("prompt", "equals", "a")), rule(condition("tags", "equals", {}), name="s")]
    match = matched(rules, data)
    data["tags"]["y"] = 2
    assert "secret" not in repr(match.trace)
    assert "'y'" not in match.trace[1].why
    trace = match.trace
    assert pickle.loads(pickle.dumps(trace)) == copy.deepcopy(trace) == trace
    assert len({*trace, *match.trace}) == 2


@pytest.mark.parametrize("count", [2, 3, 60])
def test_patterns_that_share_a_pass_decide_like_each_alone(count: int) -> None:
    rules = [rule(condition("x", "regex_match", rf"^a.*{i}$"), name=str(i)) for i in range(count)]
    rules.append(rule({"not": condition("x", "regex_match", "a")}, name="no a"))
    for text, expected in (("a 1", "1"), ("a", None), ("x", "no a"), ("", "no a")):
        match = matched(rules, {"x": text})
        assert (match.rule.name if match.rule else None) == expected
    assert matched(rules, {"x": 5}).rule is None
    assert matched(rules, {}).rule.name == "no a"  # type: ignore[union-attr]


def test_patterns_too_large_to_share_a_pass_are_searched_one_by_one() -> None:
    rules = [rule(condition("x", "regex_match", rf"{i}[\pL]{{90}}"), name=str(i)) for i in range(5)]
    assert matched(rules, {"x": "4" + "é" * 90}).rule.name == "4"  # type: ignore[union-attr]


def test_texts_too_long_to_share_a_pass_are_searched_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regexes, "_MAX_SHARED_WORK", 1)
    rules = [rule(condition("x", "regex_match", f"{i}$"), name=str(i)) for i in range(9)]
    assert matched(rules, {"x": "number 7"}).rule.name == "7"  # type: ignore[union-attr]


def test_a_pass_that_fails_is_not_taken_for_no_match(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [rule(condition("x", "regex_match", f"{i}$"), name=str(i)) for i in range(9)]
    compiled = compile_rules(parse_rules(rules))

    class OutOfMemory:
        def Match(self, _: bytes) -> None:
            return None  # what a set says when its memory is used up, and when nothing matches

    for _, nodes in compiled._compiled:
        nodes[0].shared._set = OutOfMemory()  # type: ignore[union-attr]
    assert compiled.match(Data({"x": "number 7"})).rule.name == "7"  # type: ignore[union-attr]


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.booleans()), max_size=12))
def test_the_enabled_match_of_highest_priority_defined_first_wins(drawn: list[tuple[int, bool, bool]]) -> None:
    rules = [
        rule(condition("x", "equals", holds), name=str(i), priority=priority, enabled=enabled)
        for i, (priority, enabled, holds) in enumerate(drawn)
    ]
    match = matched(rules, {"x": True})
    able = [(-p, i) for i, (p, enabled, holds) in enumerate(drawn) if enabled and holds]
    assert (match.rule.name if match.rule else None) == (str(min(able)[1]) if able else None)
    order = [str(i) for _, i in sorted((-p, i) for i, (p, _, _) in enumerate(drawn))]
    assert [tried.rule_name for tried in match.trace] == order[: len(match.trace)]
    assert match.rule is not None or len(match.trace) == len(drawn)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=5,
)
OPERATORS = st.sampled_from(
    [
        ("equals", 1),
        ("is_in", ["a", 1, [1]]),
        ("contains", "a"),
        ("greater_than", 0),
        ("starts_with", "a"),
        ("regex_match", "a"),
        ("exists",),
    ]
)


@given(VALUES, OPERATORS)
def test_a_condition_and_its_negation_never_both_hold_and_say_why_not(value: Any, operator: tuple[Any, ...]) -> None:
    plain = condition("x", *operator)
    one, other = (matched([rule(c)], {"x": value}) for c in (plain, {"not": plain}))
    assert not (one.rule and other.rule)
    if not one.rule and not other.rule:
        assert "cannot be evaluated" in one.trace[0].why
        assert "cannot be evaluated" in other.trace[0].why


def split(*weights: float, **fields: Any) -> Rule:
    targets = [{"model_name": f"m{i}", "weight": weight} for i, weight in enumerate(weights)]
    return parse_rules([rule(strategy="SPLIT", targets=targets, **fields)])[0]


def never() -> float:
    raise AssertionError("a sticky split draws nothing")


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8).filter(any), st.floats(0, 1, exclude_max=True))
def test_a_split_picks_no_target_of_weight_0_and_says_its_propensity(weights: list[float], draw: float) -> None:
    target, propensity = pick_split(split(*weights), None, lambda: draw, "s")
    assert target.weight > 0
    assert propensity == pytest.approx(target.weight / math.fsum(weights))


@pytest.mark.parametrize("sticky", [True, False])
def test_a_split_follows_its_weights(sticky: bool) -> None:
    rng, arms, count = random.Random(5), split(6, 0, 3, 1), 20_000
    keys = [f"user {i}" if sticky else None for i in range(count)]
    picked = Counter(pick_split(arms, key, never if sticky else rng.random, "s")[0].model_name for key in keys)
    for name, share in (("m0", 0.6), ("m1", 0.0), ("m2", 0.3), ("m3", 0.1)):
        # five standard deviations of a binomial
        assert abs(picked[name] / count - share) <= 5 * math.sqrt(share * (1 - share) / count)


@given(st.text() | st.integers() | st.booleans() | st.lists(st.text(max_size=3), max_size=3), st.text())
def test_the_same_key_gets_the_same_target(key: Any, salt: str) -> None:
    assert pick_split(split(1, 1, 1), key, never, salt) == pick_split(split(1, 1, 1), key, never, salt)


def test_key_salt_and_rule_name_are_told_apart() -> None:
    def picks(name: str, salt: str, keys: list[Any]) -> list[str]:
        arms = split(*[1] * 100, name=name)
        return [pick_split(arms, key, never, salt)[0].model_name for key in keys]

    keys = [str(i) for i in range(50)]
    base = picks("r", "s", keys)
    assert picks("r", "s2", keys) != base
    assert picks("r2", "s", keys) != base
    assert picks("r", "s", list(range(50))) != base
    assert picks("r", "s", [float(i) for i in range(50)]) == picks("r", "s", list(range(50)))
    assert picks("ra", "s", ["x"] * 2) + picks("r", "sa", ["x"] * 2) != picks("r", "sar", ["x"] * 2) * 2


@pytest.mark.parametrize("key", [None, MISSING, object(), b"bytes"])
def test_without_a_key_the_draw_decides(key: Any) -> None:
    assert [pick_split(split(1, 1), key, lambda x=x: x, "s")[0].model_name for x in (0.0, 0.49, 0.5, 0.99)] == [  # type: ignore[misc]
        "m0",
        "m0",
        "m1",
        "m1",
    ]


def test_a_sticky_split_does_not_depend_on_the_hash_seed() -> None:
    code = (
        "from router_plugin.spec.rules import Rule, Target\nfrom router_plugin.decide.rules import pick_split\n"
        "r = Rule(name='r', strategy='SPLIT', targets=[Target(str(i)) for i in range(50)])\n"
        "print([pick_split(r, k, float, 's')[0].model_name for k in ('a', 'b', 1, 2, True, {'x': 1, 'y': 2})])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert said != {""}
