"""Rules: which targets a request goes to, by conditions on its fields.

::

    {"name": "premium", "priority": 10, "strategy": "SPLIT", "split_key": "user",
     "conditions": [{"field": "extra.tier", "operator": "equals", "value": "premium"}],
     "targets": [{"model_name": "openai/gpt-4o", "weight": 9}, {"model_name": "openai/o3", "weight": 1}]}

The shape is that of Mixtrain's router: enabled rules are tried by priority, highest first, equal ones in the order
they are defined; the first whose conditions all hold is taken. What rules mean is in ``router_plugin.decide.rules``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from ..checks import agree_fault, judge_document, judge_of, reads_response, samples_fault
from ..errors import SpecError, did_you_mean
from ..redact import shown
from .budget import Window
from .conditions import Condition, Group, dump_condition, parse_conditions, placed
from .fields import Count, Fraction, NonNegative, Positive, Spec, Text, Usd
from .options import condition_name, conditions_of
from .paths import FieldPath, path_of
from .strings import MAX_LENGTH, parse_router_string, routes

__all__ = ["Condition", "Group", "Rule", "Shadow", "Strategy", "Target", "dump_rule", "parse_rules", "path_of"]

Strategy = Literal["SINGLE", "SPLIT", "SHADOW", "FALLBACK", "CASCADE"]
MAX_RULES = 1_000
MAX_TARGETS = 256  # as many as a router has deployments
MAX_PRIORITY = 1_000_000_000


def _target_name(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {shown(value)} ({type(value).__name__})")
    if not value or value != value.strip() or not value.isprintable():
        raise ValueError(f"must be non-empty printable text without surrounding space, got {shown(value)}")
    if len(value) > MAX_LENGTH:
        raise ValueError(f"must be at most {MAX_LENGTH} characters, got {len(value)}")
    if routes(value):
        parse_router_string(value)
    return value


def _priority(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be a whole number, not {shown(value)} ({type(value).__name__})")
    if abs(value) > MAX_PRIORITY:
        raise ValueError(f"must lie between -{MAX_PRIORITY} and {MAX_PRIORITY}")
    return value


def _strategy(value: Any) -> Any:
    known: tuple[str, ...] = get_args(Strategy)
    name = value.upper() if isinstance(value, str) else value
    if name not in known:
        near = did_you_mean(name, known) if isinstance(name, str) else ""
        raise ValueError(f"unknown strategy {shown(value)}{near}; known strategies: {', '.join(known)}")
    return name


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be True or False, not {shown(value)}")
    return value


class Target(Spec):
    """Where a request goes: a deployment, a model or a router string. ``Target("openai/gpt-4o", weight=3)``.

    ``weight`` (0 or more) is its share in a SPLIT; weights need not sum to 1. ``model`` is another spelling of
    ``model_name``. Names are bound when a router is made; here a router string is checked for its syntax.
    """

    model_name: Annotated[str, BeforeValidator(_target_name)]
    weight: NonNegative = 1.0

    def __init__(self, model_name: Any = None, /, **data: Any) -> None:
        given = [model_name] if model_name is not None else []
        given += [data.pop(name) for name in ("model_name", "model") if name in data]
        if len(given) > 1:
            raise SpecError("Target: model_name: given twice; model is another spelling of model_name")
        super().__init__(**(data | ({"model_name": given[0]} if given else {})))


class Shadow(Spec):
    """What the targets that only run beside the answer may use: ``budget_usd`` per window ``per``, so many at a time,
    ``timeout_s`` seconds each, for the fraction ``sample`` of requests."""

    budget_usd: Usd = 1.0
    per: Window = "day"
    max_concurrency: Count = 4
    timeout_s: Positive = 60.0
    sample: Fraction = 1.0


def _escalations(value: Any) -> Any:
    """Conditions, and judges by their documents."""
    items = value if isinstance(value, (list, tuple)) else (value,)
    return conditions_of([judge_of(item) if isinstance(item, dict) else item for item in items])


def _samples(value: Any) -> int:
    fault = samples_fault(value)
    if fault is not None:
        raise ValueError(fault.removeprefix("samples: "))
    return int(value)


def _agree(value: Any) -> float:
    fault = agree_fault(value)
    if fault is not None:
        raise ValueError(fault.removeprefix("agree: "))
    return float(value)


class SelfConsistency(Spec):
    """How often the same model is asked at most, and the share of its answers that has to say the same (to two
    decimals: 0.67 is two of three). See ``router_plugin.checks.self_consistent``."""

    samples: Annotated[int, BeforeValidator(_samples)] = 3
    agree: Annotated[float, BeforeValidator(_agree)] = 0.67


class Rule(Spec):
    """If all ``conditions`` hold (none: always), the request goes to ``targets`` by ``strategy``:

    SINGLE the first target; SPLIT one by weight (for the same value of ``split_key``, a field path, the same one);
    SHADOW the first, the others run beside it within ``shadow`` and never touch the answer; FALLBACK one after another;
    CASCADE one after another too, the cheap one first, and on to the next also where an answer is not good enough:
    where a function of the response in ``escalate_on`` says so (see ``router_plugin.checks``; a judge is one), the mean
    probability of its tokens is below ``min_confidence`` (0..1; logprobs are asked for), or further answers of the same
    model do not agree (``self_consistency``: ``{"samples": 3, "agree": 0.67}``). All that is paid for, samples and
    judges too, counts against ``max_cost`` and budgets. Rules of higher ``priority`` are tried first.
    """

    name: Text
    priority: Annotated[int, BeforeValidator(_priority)] = 0
    conditions: tuple[Condition | Group, ...] = ()
    strategy: Annotated[Strategy, BeforeValidator(_strategy)] = "SINGLE"
    targets: tuple[Target, ...]
    enabled: Annotated[bool, BeforeValidator(_flag)] = True
    description: str | None = Field(default=None, max_length=10_000)
    split_key: FieldPath | None = None
    shadow: Shadow | None = None
    escalate_on: Annotated[tuple[Any, ...], BeforeValidator(_escalations)] = ()
    min_confidence: Fraction | None = None
    self_consistency: SelfConsistency | None = None

    def __init__(self, /, **data: Any) -> None:
        # Parts are built here rather than by pydantic, so that a fault is named by its path within the rule.
        if "conditions" in data:
            data["conditions"] = parse_conditions(data["conditions"], "Rule: conditions")
        if "targets" in data:
            data["targets"] = _targets(data["targets"])
        for name, kind in (("shadow", Shadow), ("self_consistency", SelfConsistency)):
            if isinstance(data.get(name), dict):
                with placed(f"Rule: {name}", kind.__name__):
                    data[name] = _made(kind, data[name])
        if data.get("shadow") is None and _is_shadow(data.get("strategy")):
            data["shadow"] = Shadow()
        super().__init__(**data)
        _check(self)


def _made(kind: type[Any], data: dict[Any, Any]) -> Any:
    if not all(isinstance(key, str) for key in data):
        raise SpecError(f"{kind.__name__}: field names are strings, got {shown(data)}")
    return kind(**data)


def _is_shadow(strategy: Any) -> bool:
    return isinstance(strategy, str) and strategy.upper() == "SHADOW"


def _targets(value: Any) -> tuple[Target, ...]:
    if not isinstance(value, (list, tuple)):
        raise SpecError(f"Rule: targets: must be a list of targets, not {shown(value)}")
    if len(value) > MAX_TARGETS:
        raise SpecError(f"Rule: targets: must be at most {MAX_TARGETS}, got {len(value)}")
    made = []
    for index, item in enumerate(value):
        with placed(f"Rule: targets[{index}]", "Target"):
            if isinstance(item, Target):
                made.append(item)
            elif isinstance(item, dict):
                made.append(_made(Target, item))
            elif isinstance(item, str):
                made.append(Target(item))
            else:
                raise SpecError(f"Target: must be a model name or {{'model_name': …, 'weight': …}}, not {shown(item)}")
    return tuple(made)


def _check(rule: Rule) -> None:
    """What no field can see alone."""
    if not rule.targets:
        raise SpecError("Rule: targets: a rule needs at least one target")
    if rule.strategy == "SPLIT":
        total = sum(target.weight for target in rule.targets)
        if total == 0:
            raise SpecError("Rule: targets: all weights are zero; a SPLIT needs one above 0")
        if not math.isfinite(total):
            raise SpecError("Rule: targets: the weights are too large to add up; scale them down")
    elif rule.split_key is not None:
        raise SpecError(f"Rule: split_key: only a SPLIT has one, and the strategy is {rule.strategy}")
    if rule.strategy == "CASCADE":
        _check_cascade(rule)
    elif rule.escalate_on or rule.min_confidence is not None or rule.self_consistency is not None:
        raise SpecError(
            "Rule: escalate_on, min_confidence and self_consistency are of a CASCADE, and the strategy is "
            f"{rule.strategy}"
        )
    if rule.strategy == "SHADOW":
        if len(rule.targets) < 2:
            raise SpecError("Rule: targets: SHADOW needs at least two, the one that answers first")
    elif rule.shadow is not None:
        raise SpecError(f"Rule: shadow: only for the strategy SHADOW, and this is {rule.strategy}")


def _check_cascade(rule: Rule) -> None:
    if len(rule.targets) < 2:
        raise SpecError("Rule: targets: a CASCADE needs at least two, the cheapest first")
    if not rule.escalate_on and rule.min_confidence is None and rule.self_consistency is None:
        raise SpecError(
            "Rule: escalate_on: a CASCADE needs it, or min_confidence or self_consistency, to know when to go on"
        )
    strangers = [one for one in rule.escalate_on if not reads_response(one)]
    if strangers:
        raise SpecError(
            "Rule: escalate_on: must hold judges and functions of the response (whose first parameter is called "
            f"'response', or that stand under router_plugin.checks.on_response), not {shown(strangers[0])}"
        )


def parse_rules(value: Any) -> tuple[Rule, ...]:
    """Rules from rules and dicts, in their order.

    Raises: SpecError that names the place: ``rules[3] 'premium': conditions[1]: operator: …``.
    """
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        raise SpecError(f"rules: must be a list of rules, not {shown(value)}")
    items = list(islice(value, MAX_RULES + 1))
    if len(items) > MAX_RULES:
        raise SpecError(f"rules: must be at most {MAX_RULES}")
    first: dict[str, int] = {}
    rules = []
    for index, item in enumerate(items):
        name = item.get("name") if isinstance(item, dict) else None
        at = f"rules[{index}] {shown(name)}" if isinstance(name, str) else f"rules[{index}]"
        with placed(at, "Rule"):
            if not isinstance(item, (Rule, dict)):
                raise SpecError(f"Rule: must be a rule, not {shown(item)}")
            rule = item if isinstance(item, Rule) else _made(Rule, item)
        if rule.name in first:
            raise SpecError(
                f"rules[{index}]: two rules are named {shown(rule.name)} (the other is rules[{first[rule.name]}]); "
                "give each its own name"
            )
        first[rule.name] = index
        rules.append(rule)
    return tuple(rules)


def dump_rule(rule: Rule) -> dict[str, Any]:
    """Plain JSON values: what differs from the defaults, in one spelling. They parse to the same rule."""
    dumped: dict[str, Any] = {"name": rule.name}
    for name in ("priority", "strategy", "enabled", "description", "split_key", "min_confidence"):
        if getattr(rule, name) != Rule.model_fields[name].default:
            dumped[name] = getattr(rule, name)
    if rule.conditions:
        dumped["conditions"] = [dump_condition(node) for node in rule.conditions]
    dumped["targets"] = [target.model_dump(exclude_defaults=True) for target in rule.targets]
    if rule.escalate_on:
        dumped["escalate_on"] = [judge_document(one) or condition_name(one) for one in rule.escalate_on]
    if rule.self_consistency is not None:
        dumped["self_consistency"] = rule.self_consistency.model_dump()
    if rule.shadow is not None and rule.shadow != Shadow():
        dumped["shadow"] = rule.shadow.model_dump(exclude_defaults=True)
    return dumped
