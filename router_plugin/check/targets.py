"""Findings on what rules lead to: names, routers, circles, and targets that can never answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..decide.pool import matches
from ..errors import SpecError
from ..redact import shown
from ..spec.deployment import normalise_model
from ..spec.rules import Rule
from ..spec.strings import ModelTag, RouterTag
from ..version import Tag, Version, plain_name
from .possible import is_certain, never_chosen, why
from .subject import Subject, target_tags, used_targets


def admit_targets(subject: Subject, version: Version) -> None:
    """Take the models that rules alone name as implicit deployments, as the first call of each rule does."""
    for where, rule in subject.rules():
        for target in used_targets(rule):
            for tag in target_tags(target):
                if not isinstance(tag, ModelTag) or tag.mode:
                    continue
                name = normalise_model(plain_name(tag))
                if not any(matches(candidate, name) for candidate in version.everyone()):
                    subject.say(
                        "info",
                        "implicit_deployment",
                        where,
                        f"names {shown(name)}, which is not among the router's models: it is called with litellm's "
                        "defaults, and by no other rule's choice",
                    )
                    version.admit(name)


class _Fault(NamedTuple):
    """Why a target is never answered; ``certain`` where that holds of every call."""

    why: str
    certain: bool


def check_targets(subject: Subject, version: Version) -> None:
    for where, rule in subject.rules():
        targets = used_targets(rule)
        faults = [_impossible(subject, version, target_tags(target)) for target in targets]
        answering = faults[:1] if rule.strategy == "SHADOW" else faults
        nobody = all(fault is not None and fault.certain for fault in answering)
        for place, (target, fault) in enumerate(zip(targets, faults, strict=True)):
            if fault is not None:
                subject.say(
                    "error" if nobody and place < len(answering) else "warning",
                    "impossible_target",
                    where,
                    f"target {shown(target.model_name)} can never answer: {fault.why}",
                )


def _impossible(subject: Subject, version: Version, tags: Sequence[Tag]) -> _Fault | None:
    """Why none of these tags is ever answered; None where one may be."""
    faults: list[str] = []
    certain = True
    for tag in tags:
        if isinstance(tag, RouterTag) and (tag.name not in (None, version.name) or tag.version is not None):
            return None  # decided by another version, under its own constraints
        policy = version.layer(RouterTag(), tag)
        try:
            never = never_chosen(version, policy, subject.predicted)
            everyone = version.select(policy).everything
        except SpecError as error:
            faults.append(str(error))
            continue
        if any(candidate not in never for candidate in everyone):
            return None
        listed = [one for one in never.values() if one.code != "not_listed"] or list(never.values())
        certain &= all(map(is_certain, listed))
        faults.append(
            "; ".join(f"{one.candidate.name}: {why(one, policy)}" for one in listed[:3]) or "it has no models"
        )
    return _Fault("; ".join(faults), certain)


def check_routers(subject: Subject) -> None:
    """Routers that nobody knows, rules that lead back to where they stand, and circles."""
    for where, rule in subject.rules():
        for tag in _router_tags(rule):
            if tag.name in (None, subject.spec.name) and tag.version in (None, subject.number or None):
                subject.say(
                    "info", "self_target", where, f"addresses its own router by {shown(str(tag))}: its own objective "
                    "over its models, rules are not applied again"
                )  # fmt: skip
                continue
            _resolved(subject, where, tag)
    for circle in _circles(subject):
        subject.say("error", "rule_cycle", circle[0], f"rules go round in a circle: {' -> '.join(circle[1:])}")


def _router_tags(rule: Rule) -> Iterator[RouterTag]:
    for target in used_targets(rule):
        for tag in target_tags(target):
            if isinstance(tag, RouterTag):
                yield tag


def _resolved(subject: Subject, where: str, tag: RouterTag) -> None:
    try:
        subject.find(tag)
    except SpecError as error:
        known = tag.name in (None, subject.spec.name) or tag.name in subject.others
        if not known and not subject.others:
            subject.say(
                "warning",
                "unknown_router",
                where,
                f"addresses the router {shown(tag.name)}, which is not known here: it has to be installed beside this "
                "one (give others=[…] to have it checked)",
            )
        else:
            subject.say("error", "unknown_version" if known else "unknown_router", where, str(error))


def _circles(subject: Subject) -> list[list[str]]:
    """Circles that a call may run into: the place of the rule that leads into it, then the versions."""
    found: dict[frozenset[str], list[str]] = {}
    if subject.version is None:
        return []
    for where, rule in subject.rules():
        for tag in _router_tags(rule):
            _walk(subject, subject.version, tag, [_label(subject.version)], where, found)
    return list(found.values())


def _walk(
    subject: Subject,
    version: Version,
    tag: RouterTag,
    path: list[str],
    where: str,
    found: dict[frozenset[str], list[str]],
) -> None:
    if tag.version is None and tag.name in (None, version.name):
        return  # the same router, whose rules are not applied again
    try:
        other = subject.find(tag)
    except SpecError:
        return
    if other is version or other.rules is None:
        return
    label = _label(other)
    if label in path:
        circle = [*path[path.index(label) :], label]
        found.setdefault(frozenset(circle), [where, *circle])
        return
    for rule in other.spec.rules:
        if rule.enabled:
            for further in _router_tags(rule):
                _walk(subject, other, further, [*path, label], where, found)


def _label(version: Version) -> str:
    return version.name if not version.number else f"{version.name} (version {version.number})"
