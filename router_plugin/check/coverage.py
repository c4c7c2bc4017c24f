"""Which rule takes which requests of a sample, and what nothing may take."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..decide.fields import MISSING, lookup
from ..decide.reasons import reason
from ..decide.request import read_request
from ..errors import SpecError
from ..layers import Asking, Layer
from ..records import Request
from ..redact import shown
from ..replay.apart import unspent
from ..replay.recorded import Unknown, read_record
from ..replay.rerun import Watch
from ..spec.options import Routing
from ..spec.strings import ModelTag, RouterTag, routes
from ..surface import split
from ..version import Tag, Version, plain_name, tags_of
from .report import Coverage, Refused
from .subject import Subject

_UNEVALUATED = ": cannot be evaluated: "
_FOUND = ", found "


class Sample:
    """Counts what becomes of each request."""

    def __init__(self, subject: Subject, version: Version) -> None:
        self.subject, self.version = subject, version
        self.coverage = Coverage(fired={rule.name: 0 for rule in subject.spec.rules if rule.enabled})
        self.draw = random.Random(0).random
        self.keyless: dict[str, int] = {}  # budget → requests without its key
        self.keyed: dict[str, int] = {}

    def add(self, number: int, item: Any) -> None:
        coverage = self.coverage
        coverage.requests += 1
        if not isinstance(item, Mapping):
            raise SpecError(f"check: sample[{number}]: must be a mapping as for route(), not {shown(item)}")
        is_record = "request_id" in item and isinstance(item.get("request"), Mapping)
        try:
            refused = self._recorded(item) if is_record else self._asked(item)
        except Unknown:
            coverage.undecidable += 1
            return
        except SpecError as error:
            coverage.unreadable += 1
            if coverage.unreadable == 1:
                self.subject.say("warning", "unreadable_request", f"sample[{number}]", str(error))
            return
        if refused is not None:
            request_id = str(item["request_id"]) if is_record else None
            coverage.refused.append(Refused(number, request_id, refused))

    def _recorded(self, record: Mapping[str, Any]) -> str | None:
        recorded = read_record(record)
        self._recall(recorded.content)
        asking = Asking(recorded.request, (), None, recorded.asked, None, self.subject.find, self.draw)
        watch = Watch(recorded, asking.chosen, marginal=False)
        asking.data = watch
        layers = asking.layers(self._tags(recorded.asked))
        if watch.lacking:
            raise Unknown(next(iter(watch.lacking)))
        self._keys(recorded.request, "metadata" in record)
        self._count(asking, recorded.asked)
        return self._decided(layers, recorded.request)

    def _asked(self, data: Mapping[str, Any]) -> str | None:
        """As ``Router.route`` reads it."""
        self._recall(True)
        kwargs = dict(data)
        if "messages" not in kwargs:
            kwargs["messages"] = [{"role": "user", "content": str(kwargs.get("prompt", ""))}]
        kwargs.pop("prompt", None)
        name = kwargs.pop("model", None)
        kwargs.pop("fallbacks", None)
        if name is not None and not isinstance(name, str):
            raise SpecError(f"model: must be a string, not {type(name).__name__}")
        surface = split(kwargs, self.version.spec.allow_request_endpoints)
        request = read_request(kwargs, surface.extra)
        options: tuple[Routing | None, ...] = (None, surface.options)
        asking = Asking(request, options, None, name, data, self.subject.find, self.draw)
        layers = asking.layers(self._tags(name))
        self._keys(request, True)
        self._count(asking, name)
        return self._decided(layers, request)

    def _recall(self, content: bool) -> None:
        """A predictor is asked where there is a prompt to read."""
        self.subject.apart.memory.said = None if content else {}

    def _tags(self, name: str | None) -> tuple[Tag, ...]:
        if name is None or name == self.version.name:
            return (RouterTag(),)
        tags = tags_of(name)
        if not routes(name) and isinstance(tags[0], ModelTag):
            self.version.admit(plain_name(tags[0]))
        return tags

    def _count(self, asking: Asking, name: str | None) -> None:
        first = self._tags(name)[0]
        own = isinstance(first, RouterTag) and first.name in (None, self.version.name) and first.version is None
        matched = asking.chosen.matches
        if not own:
            self.coverage.direct += 1
        elif not matched or matched[0].rule is None:
            self.coverage.fell_through += 1
        else:
            self.coverage.fired[matched[0].rule.name] += 1
        for tried in matched[0].trace if own and matched else ():
            if not tried.matched and _UNEVALUATED in tried.why:
                what = f"{tried.rule_name}: {tried.why.rsplit(_FOUND, 1)[0]}"
                self.coverage.not_evaluated[what] = self.coverage.not_evaluated.get(what, 0) + 1

    def _decided(self, layers: Sequence[Layer], request: Request) -> str | None:
        """None, or why nothing may take it."""
        reasons: dict[str, str] = {}
        for version, policy in layers:
            decision = version.decide(policy, request, money=unspent(version)).decision
            if decision.ranking:
                return None
            reasons |= {r.candidate.name: reason(r) for r in decision.rejections if r.code != "not_listed"}
        return "; ".join(f"{name}: {why}" for name, why in list(reasons.items())[:3]) or "there is no model for it"

    def _keys(self, request: Request, metadata: bool) -> None:
        for budget in self.subject.spec.budgets:
            if budget.key is None or (budget.key.startswith("metadata") and not metadata):
                continue
            self.keyed[budget.name] = self.keyed.get(budget.name, 0) + 1
            if lookup(request.keys, tuple(budget.key.split("."))) in (None, MISSING, ""):
                self.keyless[budget.name] = self.keyless.get(budget.name, 0) + 1


def cover(subject: Subject, version: Version, sample: Iterable[Any]) -> Coverage:
    """What becomes of the sample; findings are said to ``subject``."""
    counted = Sample(subject, version)
    for number, item in enumerate(sample):
        counted.add(number, item)
    coverage = counted.coverage
    coverage.never = [name for name, count in coverage.fired.items() if not count]
    decided = coverage.requests - coverage.unreadable - coverage.undecidable
    for index, rule in enumerate(subject.spec.rules if decided else ()):
        if rule.enabled and not coverage.fired[rule.name]:
            where = f"rules[{index}] {shown(rule.name)}"
            subject.say("warning", "never_fires", where, f"takes none of {decided} requests of the sample")
    for what, count in coverage.not_evaluated.items():
        subject.say("warning", "not_evaluated", "rules", f"{what} ({count} of {decided} requests)")
    if coverage.refused:
        first = coverage.refused[0]
        subject.say(
            "warning",
            "refused_requests",
            "sample",
            f"nothing may take {len(coverage.refused)} of {decided} requests; sample[{first.number}]: {first.why}",
        )
    if coverage.undecidable:
        text = f"{coverage.undecidable} records do not hold what the rules read, and are in no other figure"
        subject.say("info", "undecidable_records", "sample", text)
    _budget_keys(subject, counted)
    return coverage


def _budget_keys(subject: Subject, counted: Sample) -> None:
    for budget in subject.spec.budgets:
        without, of = counted.keyless.get(budget.name, 0), counted.keyed.get(budget.name, 0)
        where = f"budgets {shown(budget.name)}"
        if without and budget.require_key:
            subject.say(
                "warning", "budget_key", where, f"{without} of {of} requests have no {budget.key} and are refused"
            )
        elif without and without == of:
            subject.say("warning", "budget_key", where, f"no request of {of} has {budget.key}: all share one account")
