"""Findings on rules as they stand beside one another: order, reach, weights."""

from __future__ import annotations

from collections import defaultdict

from ..redact import shown
from ..spec.rules import Rule
from .implication import Conditions
from .subject import Subject, place


def check_rules(subject: Subject) -> None:
    spec = subject.spec
    for index, rule in enumerate(spec.rules):
        if not rule.enabled:
            subject.say("info", "disabled_rule", place(index, rule), "is disabled")
        else:
            _targets(subject, place(index, rule), rule)
    _priorities(subject)
    _reach(subject)
    if spec.rules and not any(not rule.conditions for _, rule in subject.rules()):
        if spec.deployments:
            subject.say(
                "info",
                "no_catch_all",
                "rules",
                "no enabled rule is without conditions: what none takes goes by the router's own objective over all "
                "its models",
            )
        else:
            subject.say(
                "warning",
                "no_catch_all",
                "rules",
                "no enabled rule is without conditions, and models='any' lists none: what no rule takes is refused "
                "unless the call names its models",
            )


def _priorities(subject: Subject) -> None:
    groups: dict[int, list[str]] = defaultdict(list)
    for _, rule in subject.rules():
        groups[rule.priority].append(shown(rule.name))
    for priority, names in groups.items():
        if len(names) > 1:
            listed = ", ".join(names[:8]) + (f" … and {len(names) - 8} more" if len(names) > 8 else "")
            subject.say(
                "warning",
                "equal_priority",
                "rules",
                f"{len(names)} rules have priority {priority}, so the order of their definition decides: {listed}",
            )


def _reach(subject: Subject) -> None:
    """Rules that an earlier one leaves nothing to, and rules whose conditions never hold together."""
    earlier: list[tuple[Rule, Conditions]] = []
    for where, rule in sorted(subject.rules(), key=lambda one: -one[1].priority):
        conditions = Conditions(rule.conditions)
        against = conditions.contradiction()
        if against is not None:
            one, other = against
            subject.say(
                "warning",
                "never_matches",
                where,
                f"{one.field} {one.operator} and {other.field} {other.operator} never hold together",
            )
        for before, its in earlier:
            if not its.follow_from(conditions):
                continue
            why = "has no conditions" if not its.nodes else "holds wherever this one does"
            if its.nodes and its.keys == conditions.keys:
                why = "has the same conditions"
            subject.say(
                "warning",
                "unreachable_rule",
                where,
                f"is never reached: rule {shown(before.name)} is tried before it and {why}",
            )
            break
        else:
            earlier.append((rule, conditions))


def _targets(subject: Subject, where: str, rule: Rule) -> None:
    names = [target.model_name for target in rule.targets]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            subject.say(
                "warning", "duplicate_target", where, f"names the target {shown(name)} {names.count(name)} times"
            )
    if rule.strategy == "SPLIT":
        for target in rule.targets:
            if not target.weight:
                subject.say("info", "zero_weight", where, f"never picks {shown(target.model_name)}: its weight is 0")
    if rule.strategy == "SINGLE" and len(names) > 1:
        subject.say(
            "info", "unused_target", where, f"is SINGLE and uses {shown(names[0])} alone, of {len(names)} targets"
        )
    if rule.shadow is not None and (not rule.shadow.budget_usd or not rule.shadow.sample):
        what = "budget_usd" if not rule.shadow.budget_usd else "sample"
        subject.say(
            "warning", "idle_shadow", where, f"has a shadow {what} of 0: its shadows never run"
            + (" unless they are free" if what == "budget_usd" else "")
        )  # fmt: skip
