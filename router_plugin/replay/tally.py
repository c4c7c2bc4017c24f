"""Adds past requests up, one after another, under the version to come."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..errors import RouterError, SpecError
from ..redact import shown
from ..spec.document import spec_of_document, spec_with
from ..spec.router_spec import RouterSpec
from .apart import Apart
from .off_policy import Scored, evaluate
from .recorded import Recorded, Unknown, read_record
from .report import Move, Replay, Undecided
from .rerun import Again, Outcome

if TYPE_CHECKING:
    from ..router import Router

_EXAMPLES = 3
_REPRODUCED = 0.95


def replay(
    router: Router, requests: Any = None, spec: Any = None, *, limit: int = 100_000, confidence: float = 0.95
) -> Replay:
    """Decide past requests again under another version, without calling anyone.

    ``requests``: records (of ``list_requests``), a JSONL file of them (of ``export_requests``), or None for the
    history, of which the newest ``limit`` are read. ``spec``: the number of a version, a RouterSpec, a mapping of
    settings (changes of the active version, or a whole document where it has ``models``), another Router, or None for
    the active version. ``confidence`` is that of the intervals.

    Raises: SpecError for a spec, record or file that is none; ResourceNotFoundError for a version that is not there.
    """
    if isinstance(confidence, bool) or not isinstance(confidence, float) or not 0.0 < confidence < 1.0:
        raise SpecError(f"replay: confidence: must lie between 0 and 1, got {shown(confidence)}")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise SpecError(f"replay: limit: must be a whole number of at least 1, got {shown(limit)}")
    tally = _Tally(router, spec)
    for number, record in enumerate(islice(_records(router, requests, limit), limit)):
        if not isinstance(record, Mapping):
            raise SpecError(f"replay: requests[{number}]: must be a record of the history, not {shown(record)}")
        tally.add(record)
    return tally.result(confidence)


def _records(router: Router, requests: Any, limit: int) -> Iterator[Any]:
    if requests is None:
        yield from router._home.history.find(limit=limit)
    elif isinstance(requests, (str, os.PathLike)):
        with open(requests, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    raise SpecError(f"replay: line {number} of the file is no JSON") from None
                yield record
    elif isinstance(requests, Iterable) and not isinstance(requests, (bytes, Mapping)):
        yield from requests
    else:
        raise SpecError(f"replay: requests: must be records or the path of a JSONL file, not {shown(requests)}")


def _target(router: Router, spec: Any, own: Apart) -> tuple[Again, str]:
    """The version to decide under, and what it is called."""
    from ..router import Router as AnyRouter

    active = router._active()
    if spec is None:
        return Again(own, own.make(active.spec, active.number, active.hash)), f"version {active.number} (active)"
    if isinstance(spec, AnyRouter):
        other, version = Apart.of(spec), spec._active()
        made = other.make(version.spec, version.number, version.hash)
        return Again(other, made, (router.name,)), f"router {spec.name}, version {version.number}"
    if isinstance(spec, int) and not isinstance(spec, bool):
        kept = router._shelf.load(spec)
        return Again(own, own.make(kept.spec, kept.number, kept.hash)), f"version {spec}"
    if isinstance(spec, RouterSpec):
        return Again(own, own.make(spec), (router.name,)), f"spec {spec.name}"
    if isinstance(spec, Mapping):
        whole = "models" in spec
        changed = spec_of_document({"name": router.name, **spec}) if whole else spec_with(active.spec, spec)
        label = "the settings given" if whole else f"version {active.number} with other {', '.join(sorted(spec))}"
        return Again(own, own.make(changed), (router.name,)), label
    raise SpecError(
        f"replay: spec: must be a version number, a RouterSpec, a mapping of settings or a Router, not {shown(spec)}"
    )


class _Tally:
    """Adds the records up, one after another."""

    def __init__(self, router: Router, spec: Any) -> None:
        self.router, self.own = router, Apart.of(router)
        self.new, self.label = _target(router, spec, self.own)
        self.requests = self.unroutable = self.unweighed = 0
        self.undecided: list[Undecided] = []
        self.moves: dict[tuple[str | None, str | None], list[Any]] = {}
        self.changed = 0.0
        self.split = False  # whether any choice was left to chance
        self.chance = 0.0  # changes that there would be under the records' own versions
        self.costs: list[tuple[float, float, float]] = []  # before, after, recorded
        self.again: list[bool] = []  # whether the recorded choice was reproduced
        self.scored: list[Scored] = []
        self._old: dict[tuple[Any, Any], Again | None] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        self.requests += 1
        try:
            recorded = read_record(record)
            old = self._version_of(record)
            if old is not None:
                recorded.named, recorded.ability = old.model_of, old.ability_of
            recorded.predictor = self.own.scorer if old is None else old.predictor
            outcomes = self.new.outcomes(recorded)
        except Unknown as unknown:
            self.undecided.append(Undecided(str(record.get("request_id", "")), str(unknown)))
            return
        before = self._recorded_choices(recorded, old)
        first = recorded.first
        model = None if first is None else recorded.model_of(first) or self.new.model_of(first) or first
        self._compare(recorded, model, outcomes)
        if all(outcome.model is None for outcome in outcomes):
            self.unroutable += 1
            return
        if before is not None and model is not None:
            self.again.append(any(outcome.model == model for outcome in before))
            self.chance += sum(outcome.probability for outcome in before if outcome.model != model)
        if first is not None and model is not None:
            self._cost(recorded, old, first, before or [], outcomes)
            self._judge(recorded, old, first, model)

    def _version_of(self, record: Mapping[str, Any]) -> Again | None:
        """The version that the record was made by, where it is still kept."""
        number, digest = record.get("version"), record.get("hash")
        if record.get("router") != self.router.name or type(number) is not int or not isinstance(digest, str):
            return None
        if (number, digest) not in self._old:
            try:
                made = self.own.at(number)
                self._old[number, digest] = Again(self.own, made) if made.hash == digest else None
            except RouterError:
                self._old[number, digest] = None
        return self._old[number, digest]

    def _recorded_choices(self, recorded: Recorded, old: Again | None) -> list[Outcome] | None:
        """What its own version may have chosen; None where that cannot be told."""
        try:
            return None if old is None else old.outcomes(recorded)
        except Unknown:
            return None

    def _compare(self, recorded: Recorded, model: str | None, outcomes: list[Outcome]) -> None:
        self.split |= len(outcomes) > 1
        for outcome in outcomes:
            if outcome.model == model:
                continue
            if outcome.model is not None:
                self.changed += outcome.probability
            move = self.moves.setdefault((model, outcome.model), [0.0, {}])
            move[0] += outcome.probability
            if len(move[1]) < _EXAMPLES:
                move[1][recorded.id] = None

    def _cost(
        self, recorded: Recorded, old: Again | None, first: str, before: list[Outcome], outcomes: list[Outcome]
    ) -> None:
        """One estimate for both sides; the recorded one only where the old version is not kept any more."""
        was = next((outcome.estimate for outcome in before if outcome.name == first), None)
        if was is None and old is not None:
            was = old.estimate(recorded, first)
        if was is None:
            was = _number(recorded.record.get("estimated_cost_usd"))
        estimates = [outcome.estimate for outcome in outcomes]
        if was is None or None in estimates:
            return
        after = sum(o.probability * o.estimate for o in outcomes if o.estimate is not None)
        self.costs.append((was, after, _number(recorded.record.get("cost_usd")) or 0.0))

    def _judge(self, recorded: Recorded, old: Again | None, first: str, model: str) -> None:
        score = _number(recorded.record.get("feedback"))
        if score is None or score > 1.0:
            return
        propensity = _number(recorded.record.get("propensity"))
        if not propensity or propensity > 1.0:
            self.unweighed += 1
            return
        policy: dict[str, float] = {}
        for outcome in self.new.outcomes(recorded, marginal=True):
            if outcome.model is not None:
                policy[outcome.model] = policy.get(outcome.model, 0.0) + outcome.probability
        self.scored.append(
            Scored(recorded.id, model, score, _of_model(recorded, old, first, model, propensity), policy)
        )

    def result(self, confidence: float) -> Replay:
        quality, doubts = evaluate(self.scored, confidence)
        decided = self.requests - len(self.undecided) - self.unroutable
        before, after, recorded = (
            (sum(column) for column in zip(*self.costs, strict=True)) if self.costs else (None, None, None)
        )
        difference = None if before is None or after is None else after - before
        moves = [Move(*models, round(count, 9), list(ids)) for models, (count, ids) in self.moves.items()]
        reproduced = sum(self.again) / len(self.again) if self.again else None
        return Replay(
            router=self.router.name,
            version=self.label,
            confidence=confidence,
            requests=self.requests,
            decided=decided,
            undecidable=len(self.undecided),
            unroutable=self.unroutable,
            changed=round(self.changed, 9),
            changed_share=self.changed / decided if decided else 0.0,
            moves=sorted(moves, key=lambda move: -move.count),
            reproduced=reproduced,
            costed=len(self.costs),
            estimated_cost_usd_before=before,
            estimated_cost_usd_after=after,
            estimated_cost_usd_difference=difference,
            recorded_cost_usd=recorded,
            quality=quality,
            undecided=self.undecided,
            warnings=[*self._remarks(decided, reproduced), *doubts],
        )

    def _remarks(self, decided: int, reproduced: float | None) -> list[str]:
        remarks = []
        if self.undecided:
            remarks.append(f"{len(self.undecided)} of {self.requests} requests are undecidable, and in no other figure")
        if reproduced is not None and reproduced < _REPRODUCED:
            remarks.append(
                f"the recorded choice is reproduced for {reproduced:.0%} of requests only: the others hung on live "
                "state or on what the call itself asked for, and such differences count as changes"
            )
        if self.split:
            remarks.append(
                "choices are split at random: counts and costs are expectations (split anew as they were, "
                f"{self.chance:.4g} requests would move as well)"
            )
        if decided > len(self.costs):
            remarks.append(
                f"{decided - len(self.costs)} of the decided requests have no estimate of cost on both sides"
            )
        if self.unweighed:
            remarks.append(f"{self.unweighed} scored requests have no propensity, and do not count for quality")
        if (policy := self.new.version.policy).weights is not None and (policy.weights.t or policy.weights.i):
            remarks.append("weights on times: measured times are not replayed, all deployments count as typical")
        return remarks


def _of_model(recorded: Recorded, old: Again | None, first: str, model: str, propensity: float) -> float:
    """The probability with which the log chose this model. The record's is that of one arm and one deployment: arms of
    the same model are added up, and what load chooses among deployments of one model is no choice."""
    try:
        outcomes = [] if old is None else old.outcomes(recorded, marginal=True)
    except Unknown:
        outcomes = []
    same = [outcome for outcome in outcomes if outcome.name == first]
    arm = sum(outcome.probability for outcome in same)
    if not arm:
        return propensity
    by_load = min(1.0, propensity / arm) if any(outcome.mixed for outcome in same) else 1.0
    return min(1.0, by_load * sum(outcome.probability for outcome in outcomes if outcome.model == model))


def _number(value: Any) -> float | None:
    """A finite number of at least 0."""
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and 0.0 <= value < float("inf")
    return float(value) if usable else None
