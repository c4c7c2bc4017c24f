"""What is being checked: a spec, made ready apart from everything live, and the routers that stand beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

from ..errors import SpecError, did_you_mean
from ..redact import shown
from ..replay.apart import Apart
from ..spec.router_spec import RouterSpec
from ..spec.rules import Rule, Target
from ..spec.strings import ModelTag, RouterTag
from ..version import Tag, Version, tags_of
from .report import Finding, Level


@dataclass(slots=True)
class Subject:
    """``version`` is None where its names cannot be bound. ``number`` is that of a kept version, else 0."""

    spec: RouterSpec
    number: int
    apart: Apart
    version: Version | None
    today: date
    others: dict[str, tuple[Apart, Version]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def say(self, level: Level, code: str, where: str, message: str) -> None:
        self.findings.append(Finding(level, code, where, message))

    @property
    def predicted(self) -> bool:
        """Whether a predictor may say another quality than what is declared."""
        return self.version is not None and self.apart.predictor(self.version) is not None

    def rules(self) -> Iterator[tuple[str, Rule]]:
        """Enabled rules with their places, in the order of their definition."""
        for index, rule in enumerate(self.spec.rules):
            if rule.enabled:
                yield place(index, rule), rule

    def find(self, tag: Tag) -> Version:
        """The version that a tag addresses.

        Raises: SpecError where there is none, or where its names cannot be bound.
        """
        if isinstance(tag, ModelTag) or tag.name in (None, self.spec.name):
            number = tag.version if isinstance(tag, RouterTag) else None
            if number is not None and number != self.number:
                return self.apart.at(number)
            if self.version is None:
                raise SpecError(f"router {self.spec.name!r} cannot be made ready")
            return self.version
        if tag.name not in self.others:
            known = sorted({self.spec.name, *self.others})
            raise SpecError(
                f"unknown router {shown(tag.name)}{did_you_mean(tag.name, known)}; known: {', '.join(known)}"
            )
        apart, version = self.others[tag.name]
        return version if tag.version in (None, version.number) else apart.at(tag.version or 0)


def place(index: int, rule: Rule) -> str:
    return f"rules[{index}] {shown(rule.name)}"


def used_targets(rule: Rule) -> tuple[Target, ...]:
    """Those that a call may come to."""
    if rule.strategy == "SINGLE":
        return rule.targets[:1]
    return tuple(t for t in rule.targets if t.weight > 0) if rule.strategy == "SPLIT" else rule.targets


def target_tags(target: Target) -> tuple[Tag, ...]:
    return tags_of(target.model_name)
