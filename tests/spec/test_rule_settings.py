"""Rules as settings: what is accepted, in which one spelling, and what is refused with which words and place."""

from __future__ import annotations

import copy
import json
import pickle
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_plugin.errors import SpecError
from router_plugin.spec.conditions import OPERATORS
from router_plugin.spec.rules import Condition, Group, Rule, Shadow, Target, dump_rule, parse_rules, path_of

EXISTS = {"field": "a", "operator": "exists"}


def one(**fields: Any) -> Rule:
    return parse_rules([{"name": "r", "targets": ["m"], **fields}])[0]


def given_condition(**fields: Any) -> Condition:
    condition = one(conditions=[fields]).conditions[0]
    assert isinstance(condition, Condition)
    return condition


def test_the_smallest_rule_has_all_defaults() -> None:
    rule = one()
    assert (rule.priority, rule.conditions, rule.strategy, rule.enabled) == (0, (), "SINGLE", True)
    assert rule.targets == (Target("m"),)
    assert dump_rule(rule) == {"name": "r", "targets": [{"model_name": "m"}]}


@pytest.mark.parametrize(("alias", "name", "value"), [("in", "is_in", [1]), ("regex", "regex_match", "a")])
def test_aliases_of_operators_have_one_spelling(alias: str, name: str, value: Any) -> None:
    condition = given_condition(field="a", operator=alias, value=value)
    assert condition == given_condition(field="a", operator=name, value=value)
    assert condition.operator == name


def test_other_spellings() -> None:
    assert one(strategy="split").strategy == "SPLIT"
    assert one(targets=[{"model": "x", "weight": 2}]).targets == (Target(model_name="x", weight=2.0),)
    assert one(targets=("a", Target("b"), {"model_name": "c"})).targets == (Target("a"), Target("b"), Target("c"))
    assert one(strategy="SHADOW", targets=["a", "b"]).shadow == Shadow()
    assert Group(any=[EXISTS]) == Group(any=(Condition(**EXISTS),))
    assert Group(not_=EXISTS) == Group(**{"not": EXISTS})


def test_rules_are_rules_or_mappings_in_any_iterable() -> None:
    rule = one(name="x")
    assert parse_rules(iter([rule, {"name": "y", "targets": ["m"]}])) == (rule, one(name="y"))
    assert parse_rules([]) == ()


def test_a_rule_cannot_be_changed_from_outside() -> None:
    value = {"x": [1]}
    rule = one(conditions=[{"field": "a", "operator": "equals", "value": value}])
    value["x"].append(2)
    assert rule.conditions[0].value == {"x": (1,)}  # type: ignore[union-attr]
    with pytest.raises(ValueError):
        rule.name = "y"


def test_a_text_enum_is_its_value_and_a_large_integer_keeps_its_digits() -> None:
    class Tier(str, Enum):
        FREE = "free"

    assert given_condition(field="a", operator="equals", value=Tier.FREE).value == "free"
    assert type(given_condition(field="a", operator="equals", value=Tier.FREE).value) is str
    assert given_condition(field="a", operator="less_than", value=2**60 + 1).value == 2**60 + 1


def test_rules_can_be_copied_and_pickled() -> None:
    rule = one(conditions=[{"any": [EXISTS, {"not": EXISTS}]}], strategy="SHADOW", targets=["a", "b"])
    assert pickle.loads(pickle.dumps(rule)) == copy.deepcopy(rule) == rule


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", ("a",)),
        ("a.b", ("a", "b")),
        ("a.0.b", ("a", 0, "b")),
        ("a[0].b", ("a", 0, "b")),
        ("a[0][1]", ("a", 0, 1)),
        ("0", (0,)),
        ("a.007", ("a", "007")),
        ('stats["openai/gpt-4.1"].ttft_ms', ("stats", "openai/gpt-4.1", "ttft_ms")),
        ("a['b]c'].d", ("a", "b]c", "d")),
        ("budget.day by user.used_fraction", ("budget", "day by user", "used_fraction")),
    ],
)
def test_paths(text: str, path: tuple[Any, ...]) -> None:
    assert path_of(text) == path


NO_PATHS = ["", ".", "a.", ".a", "a..b", "a[", "a]", "a[]", "a[x]", "a[-1]", "a[01]", "a[0]b", "a[9999999999]", 'a[""]']
NO_PATHS += ['a["b]', "a\n", "a\x00", "a" * 513, ".".join("a" * 33)]


@pytest.mark.parametrize("text", [*NO_PATHS, None, 5, ["a"]])
def test_paths_that_are_none(text: Any) -> None:
    with pytest.raises(SpecError, match=r"^rules\[0\] 'r': conditions\[0\]: field: must "):
        one(conditions=[{"field": text, "operator": "exists"}])


CONDITIONS: list[tuple[Any, str]] = [
    ({"field": "a", "operator": "equal", "value": 1}, "operator: unknown operator 'equal' (did you mean 'equals'?)"),
    ({"field": "a", "operator": "Equals", "value": 1}, "operator: unknown operator 'Equals' (did you mean 'equals'?)"),
    ({"field": "a", "operator": 5, "value": 1}, "operator: must be one of equals, "),
    ({"field": "a", "operator": "equals"}, "value: equals needs a value"),
    ({"field": "a", "value": 1}, "operator: Field required"),
    ({"field": "a", "operator": "equals", "vaule": 1}, "vaule: unknown field (did you mean 'value'?)"),
    ({"field": "a", "operator": "exists", "value": True}, "value: exists takes no value, got True"),
    ({"field": "a", "operator": "greater_than", "value": "5"}, "value: greater_than needs a number, not '5' (str)"),
    ({"field": "a", "operator": "less_than", "value": True}, "value: less_than needs a number, not True (bool)"),
    ({"field": "a", "operator": "less_than", "value": None}, "value: less_than needs a number, not None"),
    ({"field": "a", "operator": "less_than", "value": float("nan")}, "value: must be finite"),
    ({"field": "a", "operator": "less_than", "value": float("inf")}, "value: must be finite"),
    ({"field": "a", "operator": "less_than", "value": 10**5000}, "value: must be finite"),
    ({"field": "a", "operator": "in", "value": "us"}, "value: is_in needs a list, not 'us' (str)"),
    ({"field": "a", "operator": "not_in", "value": {"us": 1}}, "value: not_in needs a list, not a mapping"),
    ({"field": "a", "operator": "starts_with", "value": 1}, "value: starts_with needs a string"),
    ({"field": "a", "operator": "ends_with", "value": None}, "value: ends_with needs a string"),
    ({"field": "a", "operator": "regex", "value": 1}, "value: regex_match needs a string"),
    ({"field": "a", "operator": "equals", "value": {1: 2}}, "value: must be text, a number"),
    ({"field": "a", "operator": "equals", "value": b"x"}, "value: must be text, a number"),
    ({"field": "a", "operator": "equals", "value": object()}, "value: must be text, a number"),
    ({"field": "a", "operator": "equals", "value": [float("nan")]}, "value: must be finite"),
    ({"field": "a", "operator": "equals", "value": "x" * 100_001}, "value: a text must be at most 100000 characters"),
    ({"field": "a", "operator": "in", "value": list(range(10_001))}, "value: must have at most 10000 entries"),
    ({"all": []}, ".all: must not be empty"),
    ({"any": []}, ".any: must not be empty"),
    ({"any": EXISTS}, ".any: must be a list of conditions"),
    ({"all": [EXISTS], "any": [EXISTS]}, ": a group has exactly one of all, any, not and nothing else"),
    ({"all": [EXISTS], "field": "a"}, ": a group has exactly one of all, any, not and nothing else"),
    ({"not": [EXISTS]}, ".not: must be a condition such as"),
    ({"not": None}, ".not: must be a condition such as"),
    (
        {"any": [EXISTS, {"not": {"field": "a", "operator": "exist"}}]},
        ".any[1].not: operator: unknown operator 'exist'",
    ),
    ("a equals b", ": must be a condition such as"),
    ({1: 2}, ": must be a condition such as"),
]


@pytest.mark.parametrize(("condition", "words"), CONDITIONS)
def test_conditions_that_are_refused(condition: Any, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_rules(
            [{"name": "a", "targets": ["m"]}, {"name": "b", "targets": ["m"], "conditions": [EXISTS, condition]}]
        )
    place = "rules[1] 'b': conditions[1]"
    assert str(caught.value).startswith(place)
    assert words in str(caught.value).removeprefix(place)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("[", "missing ]"),
        ("(?=x)", "no look-arounds"),
        ("(?!x)", "no look-arounds"),
        ("(?<=x)y", "no look-arounds"),
        (r"(a)\1", "back-references"),
        (r"a\Z", r"\z for \Z"),
        ("x" * 10_001, "at most 10000 characters, got 10001"),
        ("x" * 1_000_000, "at most 10000 characters"),
        (r"\pL{1000}", "too large"),
        ("\ud800", "surrogate"),
    ],
)
def test_patterns_that_are_refused(pattern: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SpecError, match=r"^rules\[0\] 'r': conditions\[0\]: value: ") as caught:
        one(conditions=[{"field": "a", "operator": "regex_match", "value": pattern}])
    assert words in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "pattern", ["", "(a+)+$", "(" * 500 + "a" + ")" * 500, "x" * 10_000, "^prod_", r"(?i)\burgent\b"]
)
def test_patterns_that_are_accepted(pattern: str) -> None:
    assert given_condition(field="a", operator="regex_match", value=pattern).value == pattern


def nested(depth: int) -> dict[str, Any]:
    node: dict[str, Any] = EXISTS
    for _ in range(depth):
        node = {"not": node}
    return node


def test_groups_nest_16_deep_and_no_deeper() -> None:
    one(conditions=[nested(16)])
    for depth in (17, 10_000):
        with pytest.raises(SpecError, match="groups must nest at most 16 deep"):
            one(conditions=[nested(depth)])
    group = Group(**nested(16))
    with pytest.raises(SpecError, match="groups must nest at most 16 deep"):
        Group(any=[group])


def test_a_rule_has_at_most_1000_conditions_counted_through_groups() -> None:
    one(conditions=[{"any": [EXISTS] * 500}, {"all": [EXISTS] * 500}])
    for conditions in ([EXISTS] * 1001, [{"any": [EXISTS] * 500}, {"all": [EXISTS] * 500}, EXISTS]):
        with pytest.raises(SpecError, match=r"conditions: a rule must have at most 1000 conditions"):
            one(conditions=conditions)


RULES: list[tuple[Any, str]] = [
    ({"targets": []}, "targets: a rule needs at least one target"),
    ({"targets": "m"}, "targets: must be a list of targets, not 'm'"),
    ({"targets": ["m", 5]}, "targets[1]: must be a model name or"),
    ({"targets": ["m"] * 257}, "targets: must be at most 256, got 257"),
    ({"targets": [{"weight": 1}]}, "targets[0]: model_name: Field required"),
    ({"targets": [{"model": "a", "model_name": "a"}]}, "targets[0]: model_name: given twice"),
    ({"targets": [{"model_name": "a", "wieght": 1}]}, "targets[0]: wieght: unknown field (did you mean 'weight'?)"),
    ({"targets": [{"model_name": "a", "weight": float("nan")}]}, "targets[0]: weight: must be finite"),
    ({"targets": [{"model_name": "a", "weight": float("inf")}]}, "targets[0]: weight: must be finite"),
    ({"targets": [{"model_name": "a", "weight": -1}]}, "targets[0]: weight: must not be negative"),
    ({"targets": [{"model_name": "a", "weight": True}]}, "targets[0]: weight: must be a number"),
    ({"targets": [""]}, "targets[0]: model_name: must be non-empty"),
    ({"targets": [" m"]}, "targets[0]: model_name: must be non-empty printable text without surrounding space"),
    ({"targets": ["m\x00"]}, "targets[0]: model_name: must be non-empty printable"),
    ({"targets": ["x" * 4097]}, "targets[0]: model_name: must be at most 4096 characters"),
    ({"targets": ["router@q:x"]}, "targets[0]: model_name: router string: 'x' is not a finite number"),
    ({"targets": ["a->"]}, "targets[0]: model_name: router string: "),
    ({"targets": [{1: 2}]}, "targets[0]: field names are strings"),
    ({"strategy": "SPLIT", "targets": [{"model": "a", "weight": 0}]}, "targets: all weights are zero"),
    (
        {"strategy": "SPLIT", "targets": [{"model": m, "weight": 1e308} for m in "ab"]},
        "targets: the weights are too large",
    ),
    ({"strategy": "SHADOW"}, "targets: SHADOW needs at least two"),
    ({"strategy": "SPLITT"}, "strategy: unknown strategy 'SPLITT' (did you mean 'SPLIT'?)"),
    ({"strategy": None}, "strategy: unknown strategy None"),
    ({"split_key": "user"}, "split_key: only a SPLIT has one"),
    ({"strategy": "SPLIT", "split_key": "a..b"}, "split_key: must be a field path"),
    ({"shadow": {}}, "shadow: only for the strategy SHADOW"),
    (
        {"strategy": "SHADOW", "targets": ["a", "b"], "shadow": {"sample": 2}},
        "shadow: sample: must lie between 0 and 1",
    ),
    ({"strategy": "SHADOW", "targets": ["a", "b"], "shadow": {"budget": 2}}, "shadow: budget: unknown field"),
    ({"priority": 1.0}, "priority: must be a whole number"),
    ({"priority": True}, "priority: must be a whole number"),
    ({"priority": 10**5000}, "priority: must lie between"),
    ({"enabled": "yes"}, "enabled: must be True or False, not 'yes'"),
    ({"enabled": 1}, "enabled: must be True or False"),
    ({"conditions": EXISTS}, "conditions: must be a list of conditions"),
    ({"conditions": None}, "conditions: must be a list of conditions"),
    ({"description": 5}, "description: "),
    ({"prio": 5}, "prio: unknown field"),
    ({"name": "r\n"}, "name: must be non-empty printable text"),
    ({"name": "x" * 513}, "name: must be at most 512 characters"),
]


@pytest.mark.parametrize(("fields", "words"), RULES)
def test_rules_that_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        one(**fields)
    assert str(caught.value).startswith("rules[0] '")
    assert f": {words}" in str(caught.value)


@pytest.mark.parametrize("value", ["rules", b"x", {}, {"name": "r"}, None, 5])
def test_rules_that_are_no_list_are_refused(value: Any) -> None:
    with pytest.raises(SpecError, match=r"^rules: must be a list of rules"):
        parse_rules(value)


@pytest.mark.parametrize(
    ("item", "words"), [(5, "must be a rule, not 5"), ("r", "must be a rule"), ({}, "name: Field")]
)
def test_items_that_are_no_rules_are_refused(item: Any, words: str) -> None:
    with pytest.raises(SpecError, match=rf"^rules\[0\]: {words}"):
        parse_rules([item])


def test_every_fault_of_a_part_is_named_with_its_place() -> None:
    with pytest.raises(SpecError) as caught:
        one(conditions=[{"filed": "a", "operator": "equal"}])
    lines = str(caught.value).split("\n")
    assert len(lines) == 3
    assert all(line.startswith("rules[0] 'r': conditions[0]: ") for line in lines)


def test_a_router_string_keeps_its_caret() -> None:
    with pytest.raises(SpecError) as caught:
        one(targets=["router@q:x"])
    assert str(caught.value).split("\n")[1:] == ["  router@q:x", "           ^"]


def test_two_rules_of_one_name_are_refused_even_if_one_is_off() -> None:
    with pytest.raises(SpecError, match=r"^rules\[1\]: two rules are named 'r' \(the other is rules\[0\]\)"):
        parse_rules([{"name": "r", "targets": ["m"]}, {"name": "r", "targets": ["m"], "enabled": False}])


def test_there_are_at_most_1000_rules() -> None:
    rules = [{"name": str(i), "targets": ["m"]} for i in range(1001)]
    assert len(parse_rules(rules[:1000])) == 1000
    with pytest.raises(SpecError, match=r"^rules: must be at most 1000"):
        parse_rules(rules)


NAMES = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def condition_of(operator: str) -> st.SearchStrategy[dict[str, Any]]:
    values: dict[str, st.SearchStrategy[Any]] = {
        "is_in": st.lists(VALUES, max_size=4),
        "not_in": st.lists(VALUES, max_size=4),
        "starts_with": st.text(max_size=5),
        "ends_with": st.text(max_size=5),
        "regex_match": st.sampled_from(["a", "^b", r"\d+"]),
    }
    if operator in ("exists", "not_exists"):
        return st.fixed_dictionaries({"field": NAMES, "operator": st.just(operator)})
    number = st.integers(-9, 9) | st.floats(-9, 9)
    value = number if operator.startswith(("greater", "less")) else values.get(operator, VALUES)
    return st.fixed_dictionaries({"field": NAMES, "operator": st.just(operator), "value": value})


NODES = st.recursive(
    st.sampled_from(OPERATORS).flatmap(condition_of),
    lambda inner: (
        st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"not": inner})
    ),
    max_leaves=6,
)
TARGETS = st.lists(
    NAMES | st.fixed_dictionaries({"model_name": NAMES, "weight": st.floats(0.5, 9)}), min_size=2, max_size=4
)
RULE = st.fixed_dictionaries(
    {"name": NAMES, "targets": TARGETS},
    optional={
        "priority": st.integers(-9, 9),
        "conditions": st.lists(NODES, max_size=3),
        "strategy": st.sampled_from(["SINGLE", "split", "Shadow", "FALLBACK"]),
        "enabled": st.booleans(),
        "description": st.none() | st.text(max_size=9),
    },
)


@given(RULE)
def test_what_is_dumped_parses_to_the_same_rule_and_dumps_alike(fields: dict[str, Any]) -> None:
    rule = parse_rules([fields])[0]
    dumped = json.loads(json.dumps(dump_rule(rule)))
    again = parse_rules([dumped])[0]
    assert again == rule
    assert json.dumps(dump_rule(again)) == json.dumps(dumped)


def test_a_dump_holds_what_differs_from_the_defaults() -> None:
    fields = {
        "name": "r",
        "priority": 3,
        "strategy": "SHADOW",
        "enabled": False,
        "description": "why",
        "conditions": [{"not": {"field": "a", "operator": "is_in", "value": ["x", [1]]}}, EXISTS],
        "targets": [{"model_name": "a"}, {"model_name": "b", "weight": 2.0}],
        "shadow": {"budget_usd": 5.0},
    }
    assert dump_rule(one(**fields)) == fields
    split = {"name": "r", "strategy": "SPLIT", "split_key": "user", "targets": [{"model_name": "a"}]}
    assert dump_rule(one(**split)) == split
