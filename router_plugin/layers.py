"""What a call's name stands for: which versions of which routers, under which policies, in order of fallback.

Layers of a policy, outermost first: router, rule target, router string, call. A router's rules choose for every tag
that addresses it; a concrete model (with one of our keywords beside it) is routed over that model alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .call_fields import CallFields
from .checks import unsure
from .decide.rules import CompiledRules, Match, Tried, pick_split
from .errors import SpecError
from .spec.options import Routing
from .spec.paths import path_of
from .spec.policy import Policy, with_options
from .spec.rules import Rule, Target
from .spec.strings import ModelTag, RouterTag
from .version import Tag, Version, layered, plain_name

if TYPE_CHECKING:
    from .records import Request

Layer = tuple[Version, Policy]


@dataclass(slots=True)
class Chosen:
    """What the rules of one call came to: the first rule that matched, its targets (the one that answers first), the
    probability with which this choice was made, the layers of the targets that only shadow it, and what was tried."""

    rule: Rule | None = None
    targets: tuple[Target, ...] = ()
    propensity: float = 1.0
    shadows: list[tuple[Rule, Target, Layer]] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)

    @property
    def asked(self) -> bool:
        """Whether there were rules at all."""
        return bool(self.matches)

    @property
    def trace(self) -> list[Tried]:
        return [tried for match in self.matches for tried in match.trace]


@dataclass(slots=True)
class Asking:
    """What finding the layers of one call reads."""

    request: Request
    options: tuple[Routing | None, ...]
    prefer: str | None
    model: str | None  # the name that was asked for, as rules see it
    data: Mapping[str, Any] | None
    find: Callable[[Tag], Version]  # the version that a tag addresses
    draw: Callable[[], float]
    chosen: Chosen = field(default_factory=Chosen)

    def layers(self, tags: tuple[Tag, ...]) -> list[Layer]:
        """One layer a tag; of a router with rules, those of the targets that the rules choose.

        Raises: SpecError for routers that nobody knows, and for rules that go round in a circle.
        """
        found: list[Layer] = []
        for tag in tags:
            version = self.find(tag)
            if version.rules is not None and isinstance(tag, RouterTag):
                found += self._by_rules(version, version.rules, tag, ())
            else:
                found.append((version, self._under_call(layered(version.policy, tag))))
        return found

    def _under_call(self, policy: Policy) -> Policy:
        for options in self.options:
            if options is not None:
                policy = with_options(policy, options)
        return policy if self.prefer is None else replace(policy, prefer=self.prefer)

    def _by_rules(self, version: Version, rules: CompiledRules, tag: RouterTag, passed: tuple[str, ...]) -> list[Layer]:
        here = f"{version.name} (version {version.number})"
        if here in passed:
            raise SpecError(f"rules go round in a circle: {' -> '.join((*passed, here))}")
        fields = CallFields(version, self.request, self.model, self.data)
        match = rules.match(fields)
        first, chosen = not self.chosen.asked, self.chosen
        chosen.matches.append(match)
        rule = match.rule
        if rule is None:
            return [(version, self._under_call(layered(version.policy, tag)))]
        targets, propensity = self._in_order(version, rule, fields)
        if first:
            chosen.rule, chosen.targets, chosen.propensity = rule, targets, propensity
        elif len(passed):
            chosen.propensity *= propensity
        passed = (*passed, here)
        if rule.strategy == "SHADOW":
            for target in targets[1:]:
                for layer in self._of_target(version, target, tag, passed)[:1]:
                    chosen.shadows.append((rule, target, layer))
            targets = targets[:1]
        layers = [layer for target in targets for layer in self._of_target(version, target, tag, passed)]
        return self._escalating(rule, layers) if rule.strategy == "CASCADE" else layers

    @staticmethod
    def _escalating(rule: Rule, layers: list[Layer]) -> list[Layer]:
        """The layers of a CASCADE: an answer that its checks do not want goes on to the next."""
        wanted = (*rule.escalate_on, *(() if rule.min_confidence is None else (unsure(rule.min_confidence),)))
        return [(version, replace(policy, fallback_on=(*policy.fallback_on, *wanted))) for version, policy in layers]

    def _in_order(self, version: Version, rule: Rule, fields: CallFields) -> tuple[tuple[Target, ...], float]:
        """The targets as they are tried, and the probability of the first. The other arms of a split come after the
        chosen one, heaviest first: an arm whose provider is down must not fail its share of the calls."""
        if rule.strategy == "SINGLE":
            return rule.targets[:1], 1.0
        if rule.strategy != "SPLIT":
            return rule.targets, 1.0
        key = None if rule.split_key is None else fields.get(path_of(rule.split_key))
        first, propensity = pick_split(rule, key, self.draw, version.name)
        others = sorted((t for t in rule.targets if t is not first and t.weight > 0), key=lambda t: -t.weight)
        return (first, *others), propensity

    def _of_target(self, version: Version, target: Target, asked: RouterTag, passed: tuple[str, ...]) -> list[Layer]:
        found: list[Layer] = []
        for tag in version.target_tags[target.model_name]:
            if isinstance(tag, ModelTag):
                if not tag.mode:
                    version.admit(plain_name(tag))
                found.append((version, self._under_call(layered(version.policy, asked, tag))))
                continue
            other = version if tag.name in (None, version.name) and tag.version is None else self.find(tag)
            if other is not version and other.rules is not None:
                found += self._by_rules(other, other.rules, tag, passed)
            else:
                own = layered(other.policy, asked, tag) if other is version else layered(other.policy, tag)
                found.append((other, self._under_call(own)))
        return found
