"""A litellm.Router configuration as a settings document: the constructor's keywords, or the proxy's YAML.

``model_list`` becomes deployments; each group of it (``model_name``) a rule for requests that name the group. A rule
names the group's deployments together (``router@models:a,b``), so that objective and load choose among them, then the
groups it falls back to; where litellm would draw by weights, rpm or tpm, the rule is a SPLIT of such chains.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ...errors import SpecError
from ...redact import shown
from ..strings import ModelTag, RouterTag, parse_router_string
from .imported import DEFAULT_NAME, MAX_RULES, MAX_TARGETS, Draft, Fields, Imported, fallback_rule, plain
from .litellm_entry import Entry, entry, named_apart

SECTIONS = ("router_settings", "litellm_settings", "general_settings", "environment_variables")
_BALANCED = "it needs no name here: load is balanced among equals by itself; weights, rpm or tpm become a SPLIT rule"
_STRATEGIES: dict[str, tuple[str, Any]] = {
    "cost-based-routing": ("objective", "cost"),
    "latency-based-routing": ("weights", {"t": 1.0}),
}
_SHUFFLES = ("simple-shuffle", "least-busy", "usage-based-routing", "usage-based-routing-v2")
_WHY = (  # of keys, the first that matches
    (r"redis_|cache_kwargs", "state is not shared through Redis here"),
    (r"cach(e|ing)", "answers are not cached here"),
    (r"allowed_fails|cooldown|disable_cooldowns", "how long a failing deployment rests follows from its failures here"),
    (r"retry_after|.*retry_policy", "what follows which failure, and after what wait, is fixed here"),
    (r"stream_timeout", "streams have ttft_timeout_s and stall_timeout_s here"),
    (r"max_fallbacks", "max_attempts bounds all attempts of a call together"),
    (r"enable_pre_call_checks|optional_pre_call_checks", "context windows and limits are always checked before a call"),
    (r".*tag", "there are no tags; a rule may read metadata"),
    (r"provider_budget_config|max_budget|budget_duration", "a Budget counts calls by user, extra or metadata here"),
    (r"default_max_parallel_requests", "calls in flight are not capped here"),
    (r"default_priority|polling_interval", "calls do not queue here"),
    (r"set_verbose|debug_level|.*callback|alerting", "logging is set up apart from a router"),
)


def from_litellm(data: Any, name: str = DEFAULT_NAME) -> Imported:
    """litellm.Router's keywords, or a proxy configuration, as a settings document.

    Raises: SpecError naming the place of the fault.
    """
    data = plain(data)
    data = {"model_list": data} if isinstance(data, list) else data
    draft = Draft(data)
    source = Fields(draft, "", data)
    draft.document["name"] = name
    router, module, server, variables = map(source.fields, SECTIONS)
    settings = _Settings([router, source, module])
    groups, wildcards = _groups(settings, source)
    if not groups and not wildcards:
        raise draft.error("model_list", "must list at least one deployment that can be called")
    draft.document["models"] = [one.fields for members in groups.values() for one in members] or "any"
    shuffled = _options(settings)
    if groups:
        draft.document["rules"] = list(_rules(settings, groups, shuffled))
    server.rest("a setting of the proxy server, and there is no server here")
    variables.rest("set it in the environment of the process")
    module.rest(lambda key: _why(key) or f"a setting of the litellm module: set litellm.{key}")
    router.rest(lambda key: _why(key) or "no equivalent here")
    source.rest(lambda key: _why(key) or "no equivalent here")
    return draft.done()


def _why(key: str) -> str | None:
    return next((reason for pattern, reason in _WHY if re.match(pattern, key)), None)


class _Settings:
    """Sections that may say the same thing; the first that does counts."""

    def __init__(self, sections: list[Fields]) -> None:
        self.sections, self.draft = sections, sections[0].draft

    def holder(self, key: str) -> Fields:
        having = [section for section in self.sections if key in section]
        for other in having[1:]:
            other.leave(key, f"{having[0].at(key)} outranks it")
        return having[0] if having else self.sections[0]


def _groups(settings: _Settings, source: Fields) -> tuple[dict[str, list[Entry]], bool]:
    """The deployments of every group, in order, and whether wildcards were left out."""
    holder = settings.holder("default_litellm_params")
    defaults = holder.fields("default_litellm_params").data
    groups: dict[str, list[Entry]] = {}
    wildcards = False
    made = []
    items = source.each("model_list")
    if len(items) > MAX_RULES:
        raise source.draft.error("model_list", f"must be at most {MAX_RULES} entries, got {len(items)}")
    for place, item in items:
        found = entry(Fields(source.draft, place, item), defaults)
        if isinstance(found, Entry):
            made.append(found)
            groups.setdefault(found.group, []).append(found)
        wildcards = wildcards or found == "wildcard"
    if not made:
        holder.leave("default_litellm_params", "there is no deployment to take them")
    named_apart(made, source.draft)
    return groups, wildcards


def _options(settings: _Settings) -> bool:
    """Sets the options; whether litellm would draw by weights (its default)."""
    draft = settings.draft
    for names, option in ((("num_retries",), "max_retries"), (("timeout", "request_timeout"), "timeout_s")):
        for key in names:
            holder = settings.holder(key)
            if key not in holder:
                continue
            if option in draft.document:
                holder.leave(key, f"{names[0]} outranks it")
            else:
                draft.option(holder.at(key), option, holder.take(key))
    holder = settings.holder("routing_strategy")
    strategy = holder.text("routing_strategy")
    if strategy in _STRATEGIES:
        draft.option(holder.at("routing_strategy"), *_STRATEGIES[strategy])
    elif strategy is not None:
        reason = _BALANCED if strategy in _SHUFFLES else "it has no equivalent here"
        draft.leave(holder.at("routing_strategy"), f"{shown(strategy)}: {reason}")
    return strategy in (None, "simple-shuffle")


def _rules(settings: _Settings, groups: dict[str, list[Entry]], shuffled: bool) -> Iterator[dict[str, Any]]:
    falls = _fallbacks(settings, groups)
    made = {group: _rule(settings.draft, group, groups, _reached(group, falls), shuffled) for group in groups}
    yield from made.values()
    aliases = settings.holder("model_group_alias").fields("model_group_alias")
    for alias, value in aliases.data.items():
        inner = aliases.fields(alias) if isinstance(value, dict) else None
        target = aliases.required(alias) if inner is None else inner.required("model")
        if target not in made or alias in made:
            reason = "it stands for no group of model_list" if target not in made else "a group is so named"
            aliases.leave(alias, reason)
            continue
        yield {**fallback_rule(alias, [], alias), **{key: made[target][key] for key in ("strategy", "targets")}}
        if inner is not None:
            inner.rest("an alias is a rule here, and listed nowhere")


def _fallbacks(settings: _Settings, groups: dict[str, list[Entry]]) -> dict[str, list[str]]:
    """group -> the groups that follow it, in order. ``*`` (and ``default_fallbacks``) stands for groups without own."""
    draft, falls, rest = settings.draft, dict[str, list[str]](), list[str]()
    wider = "tried after any failure here, not only after this one; the context window is checked before a call"
    for key in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
        holder = settings.holder(key)
        for place, item in holder.each(key):
            mapping = Fields(draft, place, item)
            for group in mapping.data:
                found = _known(mapping.each(group), groups, draft)
                if group != "*" and group not in groups:
                    mapping.leave(group, "no group of model_list is so named")
                elif group == "*":
                    rest += found
                else:
                    falls.setdefault(group, []).extend(found)
        if key in holder and key != "fallbacks":
            draft.leave(holder.at(key), wider)
        if key in holder and key == "content_policy_fallbacks":
            draft.option(holder.at(key), "content_policy_fallback", True)
    holder = settings.holder("default_fallbacks")
    rest += _known(holder.each("default_fallbacks"), groups, draft)
    return {group: falls.get(group) or rest for group in groups}


def _known(items: list[tuple[str, Any]], groups: dict[str, list[Entry]], draft: Draft) -> list[str]:
    known = []
    for place, item in items:
        if isinstance(item, str) and item in groups:
            known.append(item)
        else:
            named = isinstance(item, str)
            reason = "no group of model_list is so named" if named else "a fallback is a group's name here"
            draft.leave(f"{place} {shown(item)}" if named else place, reason, item)
    return known


def _reached(group: str, falls: dict[str, list[str]]) -> list[str]:
    """The groups tried after this one: litellm follows the fallbacks of a fallback before the next."""
    seen, waiting = {group: True}, falls[group][::-1]
    listed = {id(falls[group])}  # groups without fallbacks of their own share one list
    while waiting and len(seen) <= MAX_TARGETS + 1:
        follower = waiting.pop()
        if follower not in seen:
            seen[follower] = True
            if id(falls[follower]) not in listed:
                listed.add(id(falls[follower]))
                waiting += falls[follower][::-1]
    return list(seen)[1:]


def _rule(
    draft: Draft, group: str, groups: dict[str, list[Entry]], followers: list[str], shuffled: bool
) -> dict[str, Any]:
    members = groups[group]
    after = [target for follower in followers for target in _targets(groups[follower])]
    weights = _weights(members) if shuffled and len(members) > 1 else None
    targets = _targets(members) + after
    if len(targets) > MAX_TARGETS:
        draft.leave(f"fallbacks of {shown(group)}", f"a rule has at most {MAX_TARGETS} targets; the rest are not tried")
    rule = fallback_rule(group, targets[:MAX_TARGETS], model=group)
    if weights is not None:
        names = [member.name for member in members]
        chains = [_chained(name, [other for other in names if other != name], after) for name in names[:MAX_TARGETS]]
        if None not in chains and len(names) <= MAX_TARGETS:
            rule["strategy"] = "SPLIT"
            rule["targets"] = [{"model_name": c, "weight": w} for c, w in zip(chains, weights, strict=True)]
        else:
            draft.leave(f"model_list, group {shown(group)}", "its names have no router string, so its shares have none")
    for member in members:
        if member.weight is not None and rule["strategy"] != "SPLIT":
            draft.leave(f"{member.place}.litellm_params.weight", "this group is not drawn by weights")
    return rule


def _weights(members: list[Entry]) -> list[float] | None:
    """What simple-shuffle draws by: weight, else rpm, else tpm; None where it draws evenly, or tiers come first."""
    if any(member.order is not None for member in members):
        return None
    for key in ("weight", "rpm", "tpm"):
        found = [float(getattr(m, key) or 0) if key == "weight" else float(m.fields.get(key, 0)) for m in members]
        if any(found):
            return found
    return None


def _targets(members: list[Entry]) -> list[str]:
    """One target for each tier (``order``) of a group; its deployments one by one where a string cannot list them."""
    tiers: dict[float, list[str]] = {}
    for member in members:
        tiers.setdefault(float("inf") if member.order is None else member.order, []).append(member.name)
    return [target for tier in sorted(tiers) for target in _together(tiers[tier])]


def _together(names: list[str]) -> list[str]:
    text = f"router@models:{','.join(names)}"
    return [text] if len(names) > 1 and _reads(text, [tuple(names)]) else names


def _chained(first: str, others: list[str], after: list[str]) -> str | None:
    """The chain that begins with one deployment of a group; None where these names are not read back from it."""
    members = [first, *_together(others), *after]
    wanted = [tuple(m.removeprefix("router@models:").split(",")) if m.startswith("router@") else m for m in members]
    text = "->".join(members)
    return text if len(members) == 1 or _reads(text, wanted) else None


def _reads(text: str, wanted: list[Any]) -> bool:
    try:
        tags = parse_router_string(text).tags
    except SpecError:
        return False
    return [tag.models if isinstance(tag, RouterTag) else _name(tag) for tag in tags] == wanted


def _name(tag: ModelTag) -> str | None:
    return tag.model if tag.provider is None and tag.mode is None else None
