"""What a call's name stands for: which versions of which routers, under which policies, in order of fallback.

Layers of a policy, outermost first: router, rule target, router string, call. A router's rules choose for every tag
that addresses it; a concrete model (with one of our keywords beside it) is routed over that model alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .call_fields import CallFields
from .checks import self_consistent, unsure
from .decide.rules import CompiledRules, Match, Tried, pick_split
from .errors import RouterError, SpecError
from .spec.options import Routing
from .spec.paths import path_of
from .spec.policy import Policy, with_options
from .spec.rules import Rule, Target
from .spec.strings import ModelTag, RouterTag
from .version import Tag, Version, plain_name

if TYPE_CHECKING:
    from .records import Request

Layer = tuple[Version, Policy]


def under(policy: Policy, options: Sequence[Routing | None], prefer: str | None) -> Policy:
    """``policy`` under the layers of one call."""
    for layer in options:
        if layer is not None:
            policy = with_options(policy, layer)
    return policy if prefer is None else replace(policy, prefer=prefer)


@dataclass(slots=True)
class Chosen:
    """What the rules of one call came to: the first rule that matched, its targets (the one that answers first), the
    probability with which this choice was made, the layers of the targets that only shadow it, and what was tried."""

    rule: Rule | None = None
    targets: tuple[Target, ...] = ()
    propensity: float = 1.0
    shadows: list[tuple[Rule, Target, Layer | RouterError]] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)  # how many layers each target of the first rule came to

    def chance(self, open_layers: Sequence[bool]) -> float:
        """The probability with which the first target that can answer was to be the first, given which layers have a
        candidate: the share of a SPLIT's arms that have none goes to the heaviest that has one."""
        if self.rule is None or self.rule.strategy != "SPLIT" or len(self.widths) != len(self.targets):
            return self.propensity
        able, at = [], 0
        for target, width in zip(self.targets, self.widths, strict=True):
            able += [target] if any(open_layers[at : at + width]) else []
            at += width
        if not able or len(able) == len(self.targets):
            return self.propensity
        lost = sum(target.weight for target in self.targets) - sum(target.weight for target in able)
        heaviest = max(able, key=lambda target: target.weight)
        share = able[0].weight + (lost if able[0] is heaviest else 0.0)
        return share / sum(target.weight for target in self.targets)

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
    version: Version | None = None  # the one that was asked first

    def layers(self, tags: tuple[Tag, ...]) -> list[Layer]:
        """One layer a tag; of a router with rules, those of the targets that the rules choose.

        Raises: SpecError for routers that nobody knows, and for rules that go round in a circle.
        """
        found: list[Layer] = []
        for tag in tags:
            version = self.find(tag)
            self.version = self.version or version
            if version.rules is not None and isinstance(tag, RouterTag):
                found += self._by_rules(version, version.rules, tag, ())
            else:
                found.append((version, self._under_call(version.layer(tag))))
        return found

    def _under_call(self, policy: Policy) -> Policy:
        return under(policy, self.options, self.prefer)

    def _by_rules(
        self, version: Version, rules: CompiledRules, tag: RouterTag, passed: tuple[str, ...], main: bool = True
    ) -> list[Layer]:
        """The layers of the targets that the rules choose. ``main``: what comes of it is the first choice."""
        here = f"{version.name} (version {version.number})"
        if here in passed:
            raise SpecError(f"rules go round in a circle: {' -> '.join((*passed, here))}")
        fields = CallFields(version, self.request, self.model, self.data)
        match = rules.match(fields)
        first, chosen = not self.chosen.asked, self.chosen
        chosen.matches.append(match)
        rule = match.rule
        if rule is None:
            return [(version, self._under_call(version.layer(tag)))]
        targets, propensity = self._in_order(version, rule, fields)
        if first:
            chosen.rule, chosen.targets, chosen.propensity = rule, targets, propensity
        elif main and passed:
            chosen.propensity *= propensity
        passed = (*passed, here)
        if rule.strategy == "SHADOW":
            for target in targets[1:]:
                chosen.shadows.append((rule, target, self._shadow(version, target, tag, passed)))
            targets = targets[:1]
        layers: list[Layer] = []
        for number, target in enumerate(targets):
            found = self._of_target(version, target, tag, passed, main and number == 0)
            layers += found
            if first:
                chosen.widths.append(len(found))
        return self._escalating(rule, layers) if rule.strategy == "CASCADE" else layers

    def _shadow(self, version: Version, target: Target, tag: RouterTag, passed: tuple[str, ...]) -> Layer | RouterError:
        """The layer of a target that only shadows the answer: what is wrong with it must not touch the answer."""
        try:
            return self._of_target(version, target, tag, passed, False)[0]
        except RouterError as error:
            return error

    @staticmethod
    def _escalating(rule: Rule, layers: list[Layer]) -> list[Layer]:
        """The layers of a CASCADE: an answer that its checks do not want goes on to the next."""
        wanted = list(rule.escalate_on)
        wanted += [] if rule.min_confidence is None else [unsure(rule.min_confidence)]
        if rule.self_consistency is not None:
            wanted.append(self_consistent(rule.self_consistency.samples, rule.self_consistency.agree))
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

    def _of_target(
        self, version: Version, target: Target, asked: RouterTag, passed: tuple[str, ...], main: bool
    ) -> list[Layer]:
        found: list[Layer] = []
        for tag in version.target_tags[target.model_name]:
            if isinstance(tag, ModelTag):
                if not tag.mode:
                    version.admit(plain_name(tag))
                found.append((version, self._under_call(version.layer(asked, tag))))
                continue
            other = version if tag.name in (None, version.name) and tag.version is None else self.find(tag)
            if other is not version and other.rules is not None:
                found += self._by_rules(other, other.rules, tag, passed, main and not found)
            else:
                own = version.layer(asked, tag) if other is version else other.layer(tag)
                found.append((other, self._under_call(own)))
        return found
