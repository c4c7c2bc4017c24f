"""A Mixtrain router: a list of rules, or a mapping with ``name``, ``description``, ``rules`` (and ``metadata``).

A rule that uses what does not exist here (a regular expression beyond RE2's, a list operator without a list) is carried
over switched off: without that condition it would match more than was meant.
"""

from __future__ import annotations

from typing import Any

from ...errors import SpecError
from ...redact import shown
from ..strings import ModelTag, RouterTag, parse_router_string, routes
from .imported import DEFAULT_NAME, MAX_RULES, Draft, Fields, Imported, plain

STRATEGIES = ("SINGLE", "SPLIT", "SHADOW", "FALLBACK")
OPERATORS = (
    *("equals", "not_equals", "greater_than", "less_than", "greater_or_equal", "less_or_equal", "is_in", "not_in"),
    *("contains", "not_contains", "starts_with", "ends_with", "regex_match", "exists", "not_exists"),
)
_SPELT = {"in": "is_in", "regex": "regex_match"}  # the SDK's spellings
_CALLED_BY_MODEL = "a target is named by its model; what is called, and how, is said by a Deployment of that model"
_WHY = {
    "label": "a target has no label beside its name",
    "timeout_ms": "time limits are set for all of a router (attempt_timeout_s)",
    "retry_count": "retries are set for all of a router (max_retries)",
    "headers": "headers belong to a Deployment (extra_headers), credentials to its api_key",
}


def from_mixtrain(data: Any, name: str = DEFAULT_NAME) -> Imported:
    """Mixtrain's router JSON as a settings document; its ``models`` are all concrete targets, in order.

    Raises: SpecError naming the place of the fault.
    """
    data = plain(data)
    data = {"rules": data} if isinstance(data, list) else data
    draft = Draft(data)
    source = Fields(draft, "", data)
    draft.named(name, source.text("name"), "name")
    if "description" in source and source.data["description"] != "":
        draft.document["description"] = source.text("description")
    source.take("description")
    rules = source.each("rules")
    if not rules:
        raise draft.error("rules", "must list at least one rule")
    if len(rules) > MAX_RULES:
        raise draft.error("rules", f"must be at most {MAX_RULES}, got {len(rules)}")
    models: list[str] = []
    made: list[dict[str, Any]] = []
    taken: set[str] = set()
    draft.document["rules"] = made
    for index, (place, item) in enumerate(rules):
        rule = _rule(Fields(draft, place, item), index, models)
        _named_apart(rule, taken, draft, place)
        made.append(rule)
    draft.document["models"] = models or "any"
    source.rest("no place for it here")
    return draft.done()


def _rule(rule: Fields, index: int, models: list[str]) -> dict[str, Any]:
    draft = rule.draft
    on = [flag for key in ("is_enabled", "enabled") if (flag := rule.flag(key)) is not None]
    priority = rule.take("priority")
    if priority is not None and (isinstance(priority, bool) or not isinstance(priority, int)):
        raise draft.error(rule.at("priority"), f"must be a whole number, not {shown(priority)}")
    result: dict[str, Any] = {
        "name": rule.text("name") or f"rule {index + 1}",
        "priority": priority or 0,
        "conditions": [],
        "enabled": all(on),
    }
    for key in ("description", "split_key"):
        if (value := rule.take(key)) not in (None, ""):
            result[key] = value if isinstance(value, str) else rule.required(key)
    for place, item in rule.each("conditions"):
        condition, unfit = _condition(Fields(draft, place, item))
        if unfit is None:
            result["conditions"].append(condition)
        else:
            result["enabled"] = False
            draft.leave(place, f"{unfit}; the rule {result['name']!r} is switched off, being without it", item)
    result["strategy"], result["targets"] = _targets(rule, models)
    if result["strategy"] != "SPLIT" and result.pop("split_key", None) is not None:
        rule.leave("split_key", "only a SPLIT has one")
    rule.rest("no place for it in a rule here")
    return result


def _condition(condition: Fields) -> tuple[dict[str, Any], str | None]:
    field, operator = condition.required("field"), condition.required("operator").lower()
    operator, value = _SPELT.get(operator, operator), condition.data.get("value")
    if operator not in OPERATORS:
        known = ", ".join(OPERATORS)
        raise condition.draft.error(condition.at("operator"), f"unknown operator {shown(operator)}; known: {known}")
    result = {"field": field, "operator": operator}
    if operator in ("exists", "not_exists"):
        condition.leave("value", f"{operator} compares with nothing")
    else:
        result["value"] = condition.take("value")
    if (unfit := _unfit(operator, value)) is None:
        condition.rest("no place for it in a condition here")
    return result, unfit


def _unfit(operator: str, value: Any) -> str | None:
    """Why a condition cannot hold here."""
    if operator in ("is_in", "not_in") and not isinstance(value, list):
        return f"{operator} takes a list here"
    if operator in ("greater_than", "less_than", "greater_or_equal", "less_or_equal") and (
        isinstance(value, bool) or not isinstance(value, (int, float))
    ):
        return f"{operator} takes a number here"
    if operator in ("starts_with", "ends_with", "regex_match") and not isinstance(value, str):
        return f"{operator} takes text here"
    if operator == "regex_match":
        import re2

        options = re2.Options()
        options.log_errors = False
        try:
            re2.compile(value, options=options)
        except re2.error:
            return "RE2, which reads regular expressions here, does not read this one (it has no look-around)"
    return None


def _targets(rule: Fields, models: list[str]) -> tuple[str, list[dict[str, Any]]]:
    draft, holder = rule.draft, rule
    if isinstance(rule.data.get("targets"), dict):  # {"strategy": …, "targets": […]}
        holder = rule.fields("targets")
    given = [text for text in (rule.text("strategy"), rule.text("target_strategy"), holder.text("strategy")) if text]
    strategy = given[0].upper() if given else "SINGLE"
    if strategy not in STRATEGIES or any(text.upper() != strategy for text in given):
        reason = f"must be one of {', '.join(STRATEGIES)}, and only one of them, not {', '.join(map(shown, given))}"
        raise draft.error(rule.at("strategy"), reason)
    found = [Fields(draft, place, item) for place, item in holder.each("targets")]
    if not found:
        raise draft.error(rule.at("targets"), "must list at least one target")
    if strategy == "SHADOW":  # the first answers
        found.sort(key=lambda target: target.data.get("is_shadow") is True)
    if strategy == "SHADOW" and len(found) < 2:
        raise draft.error(rule.at("targets"), "SHADOW needs at least two targets, the one that answers first")
    targets = [_target(target, strategy, models) for target in found]
    if strategy == "SPLIT" and not any(target["weight"] for target in targets):
        raise draft.error(rule.at("targets"), "all weights are zero: nothing would be chosen")
    if holder is not rule:
        holder.rest("no place for it beside targets here")
    return strategy, targets


def _target(target: Fields, strategy: str, models: list[str]) -> dict[str, Any]:
    name, weight = target.required("model_name"), target.number("weight")
    if weight is not None and weight < 0:
        raise target.draft.error(target.at("weight"), f"must not be negative, got {shown(weight)}")
    for model in _concrete(target, name):
        target.draft.deployment(target.at("model_name"), {"model": model})
        if model not in models:
            models.append(model)
    if target.flag("is_shadow") is not None and strategy != "SHADOW":
        target.leave("is_shadow", "only in a rule of the strategy SHADOW are there targets that shadow")
    target.rest(lambda key: _WHY.get(key, _CALLED_BY_MODEL))
    return {"model_name": name, "weight": 1.0 if weight is None else weight}


def _concrete(target: Fields, name: str) -> list[str]:
    """The models that a target names: itself, or those of a router string."""
    if not routes(name) and "@" not in name:
        return [name]
    try:
        tags = parse_router_string(name).tags
    except SpecError as error:
        raise target.draft.error(target.at("model_name"), str(error)) from None
    names = [one for tag in tags for one in (tag.models if isinstance(tag, RouterTag) else [tag])]
    return [_spelt(one) if isinstance(one, ModelTag) else one for one in names]


def _spelt(tag: ModelTag) -> str:
    return tag.model if tag.provider is None else f"{tag.provider}/{tag.model}"


def _named_apart(rule: dict[str, Any], taken: set[str], draft: Draft, place: str) -> None:
    name, count = rule["name"], 1
    while rule["name"] in taken:
        count += 1
        rule["name"] = f"{name} #{count}"
    taken.add(rule["name"])
    if count > 1:
        draft.leave(f"{place}.name", f"another rule has it already; this one is called {rule['name']!r}")
