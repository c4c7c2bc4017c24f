"""A recorded request, decided again by a version that stands apart.

Where a rule asks for what the record does not hold, the decision is not guessed: ``Unknown`` says what was asked for.

A random split has as many outcomes as arms; all of them are gone through, each with its probability. A split by a key
(``split_key``) has one, the arm of that key. ``marginal`` looks at it as random too: over all keys, its arms have the
probabilities of their weights. That is how a log is weighed whose own choices hung on the same hash.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import SpecError
from ..layers import Asking, Chosen
from ..records import Candidate
from ..spec.policy import Policy
from ..spec.strings import ModelTag, RouterTag, routes
from ..state.ledger import Ledger
from ..version import Tag, Version, plain_name, tags_of
from .apart import Apart, unspent
from .recorded import Recorded, Unknown

MOST_OUTCOMES = 1_000


class _Keyless(Mapping[str, Any]):
    """A value at any depth that is no key of a split."""

    def __getitem__(self, name: str) -> Any:
        return self

    def get(self, name: str, default: Any = None) -> Any:
        return self

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


_KEYLESS = _Keyless()


class Watch(Mapping[str, Any]):
    """Stands before the fields of a call: has none, and notes which of them rules ask for."""

    def __init__(self, recorded: Recorded, chosen: Chosen, marginal: bool) -> None:
        self.lacking: dict[str, None] = {}
        self.keyed = False  # whether a split was by a key
        self._recorded, self._chosen, self._marginal, self._seen = recorded, chosen, marginal, 0

    def get(self, name: str, default: Any = None) -> Any:
        lacks = self._recorded.lacks(name)
        if self._is_split_key() and (self._marginal or lacks is not None):
            return _KEYLESS  # by a key that is not known: over all keys, its arms have their weights
        if lacks is not None:
            self.lacking[lacks] = None
        return default

    def _is_split_key(self) -> bool:
        """Of a split by a key the key is asked for once, before anything else, when the rule has matched."""
        matches = self._chosen.matches
        if len(matches) == self._seen:
            return False
        self._seen = len(matches)
        rule = matches[-1].rule
        is_key = rule is not None and rule.split_key is not None
        self.keyed |= is_key
        return is_key

    def __getitem__(self, name: str) -> Any:
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _Arms:
    """Goes through every outcome of one decision's random splits, depth first: each call of it picks the arm whose turn
    it is, of the rule that has matched last."""

    def __init__(self) -> None:
        self._path: list[list[int]] = []  # of each split: the arm, and how many there are
        self._depth = 0
        self.probability = 1.0
        self.chosen = Chosen()

    def begin(self, chosen: Chosen) -> None:
        self.chosen, self._depth, self.probability = chosen, 0, 1.0

    def __call__(self) -> float:
        rule = self.chosen.matches[-1].rule
        assert rule is not None
        weights = [target.weight for target in rule.targets if target.weight > 0]
        if self._depth == len(self._path):
            self._path.append([0, len(weights)])
        arm, total = self._path[self._depth][0], math.fsum(weights)
        self._depth += 1
        self.probability *= weights[arm] / total
        return (math.fsum(weights[:arm]) + weights[arm] / 2) / total

    def further(self) -> bool:
        """Whether there is another outcome; it is the next."""
        while self._path and self._path[-1][0] + 1 >= self._path[-1][1]:
            self._path.pop()
        if self._path:
            self._path[-1][0] += 1
        return bool(self._path)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way in which a decision may come out. ``name`` and ``model`` of the first choice, None where nothing may take
    the request; ``estimate`` USD, None without a price; ``mixed`` where load would choose among several models."""

    probability: float
    name: str | None = None
    model: str | None = None
    estimate: float | None = None
    mixed: bool = False


class Again:
    """Decides recorded requests under one version."""

    def __init__(self, apart: Apart, version: Version, names: Sequence[str] = ()) -> None:
        self.apart, self.version = apart, version
        self._names = {*names, apart.name, version.name}
        self.predictor = apart.predictor(version)
        self._money: dict[int, Ledger] = {}
        self._no_money = Ledger((), version.home.clock)
        # The newest decision, which is asked for more than once: its record, its outcomes, whether a key chose an arm.
        self._last: tuple[Recorded | None, list[Outcome], bool] = (None, [], False)

    def outcomes(self, recorded: Recorded, marginal: bool = False) -> list[Outcome]:
        """Every way in which the decision may come out.

        Raises: Unknown where the record does not hold what it needs.
        """
        last, found, keyed = self._last
        if last is recorded and not (marginal and keyed):
            return found
        self._recall(recorded)
        try:
            tags = self._tags(recorded.asked)
            if self.version.rules is None and tags == (RouterTag(),):
                found, keyed = [self._outcome([(self.version, self.version.policy)], recorded, 1.0)], False
            else:
                found, keyed = self._all(recorded, tags, marginal)
        except SpecError as error:
            raise Unknown(str(error)) from None
        if not marginal:
            self._last = (recorded, found, keyed)
        return found

    def _all(self, recorded: Recorded, tags: tuple[Tag, ...], marginal: bool) -> tuple[list[Outcome], bool]:
        arms, keyed = _Arms(), False
        found: list[Outcome] = []
        while len(found) < MOST_OUTCOMES:
            chosen = Chosen()
            arms.begin(chosen)
            watch = Watch(recorded, chosen, marginal)
            asking = Asking(recorded.request, (), None, recorded.asked, watch, self._find, arms, chosen)
            layers = asking.layers(tags)
            if watch.lacking:
                raise Unknown(next(iter(watch.lacking)))
            keyed |= watch.keyed
            found.append(self._outcome(layers, recorded, arms.probability))
            if not arms.further():
                return found, keyed
        raise Unknown(f"splits within splits have more than {MOST_OUTCOMES} outcomes")

    def _outcome(self, layers: Sequence[tuple[Version, Any]], recorded: Recorded, probability: float) -> Outcome:
        for version, policy in layers:
            money = self._money.get(id(version))
            if money is None:
                money = self._money[id(version)] = unspent(version)
            segment = version.decide(policy, recorded.request, money=money)
            decision = segment.decision
            if not decision.ranking:
                continue
            if segment.scores is not None:
                self._heard(decision.ranking)
            best = decision.ranking[0]
            candidate, estimate = best[-1][0], best[-1][1]
            mixed = len(decision.ranking) > 1 and _mixed(decision.ranking, policy.balance_tolerance)
            usd = estimate / 1e9 if candidate.priced else None
            return Outcome(probability, candidate.name, candidate.deployment.model, usd, mixed)
        return Outcome(probability)

    def estimate(self, recorded: Recorded, name: str) -> float | None:
        """What the deployment of this name was expected to cost, USD; None where it is not there or has no price. No
        bound and no budget stands in the way of an estimate."""
        policy, mine = self.version.policy, Policy(include_models=((name,),))
        for option in ("unpriced", "assumed_input_cost_per_token", "assumed_output_cost_per_token"):
            mine = replace(mine, **{option: getattr(policy, option)})
        self._recall(recorded)
        try:
            decision = self.version.decide(mine, recorded.request, money=self._no_money).decision
        except SpecError:
            return None
        row = next((ranked[-1] for ranked in decision.ranking if ranked[-1][0].name == name), None)
        return row[1] / 1e9 if row is not None and row[0].priced else None

    def model_of(self, name: str) -> str | None:
        """The model of the deployment of this name."""
        candidate = self._candidate(name)
        return None if candidate is None else candidate.deployment.model

    def ability_of(self, name: str) -> float | None:
        """What is declared or guessed of the deployment of this name, over all prompts."""
        candidate = self._candidate(name)
        return None if candidate is None else candidate.ability

    def _candidate(self, name: str) -> Candidate | None:
        known = (*self.version.select(self.version.policy).candidates, *self.version.everyone())
        return next((candidate for candidate in known if candidate.name == name), None)

    def _recall(self, recorded: Recorded) -> None:
        """Predictions where there is no prompt to predict from: those that the same predictor made then."""
        memory = self.apart.memory
        if recorded.content:
            memory.said = None
            return
        same = recorded.predictor is self.predictor or (
            isinstance(self.predictor, str) and recorded.predictor == self.predictor
        )
        said = recorded.record.get("qualities")
        names = said if same and isinstance(said, Mapping) else {}
        if self.predictor is None:  # the foundation may be asked
            names = {name: quality for name, quality in names.items() if self._guessed(recorded, name)}
        memory.said = {recorded.model_of(n) or n: v for n, v in names.items() if isinstance(v, (int, float))}

    def _guessed(self, recorded: Recorded, name: str) -> bool:
        """Whether what was said of a deployment is the foundation's guess, and would be the same guess now."""
        guessed, model = recorded.record.get("guessed"), recorded.model_of(name)
        if recorded.ability is None or not isinstance(guessed, (list, tuple)) or name not in guessed:
            return False
        now = {one.ability for one in self.version.everyone() if one.deployment.model == model}
        return now == {recorded.ability(name)}

    def _heard(self, ranking: Sequence[Any]) -> None:
        said = self.apart.memory.said
        for ranked in ranking if said is not None else ():
            candidate = ranked[-1][0]
            if said is not None and candidate.deployment.model not in said:
                raise Unknown(f"content was not logged, and nothing was predicted for {candidate.name} then")

    def _tags(self, asked: str | None) -> tuple[Tag, ...]:
        if asked is None or asked in self._names:
            return (RouterTag(),)
        tags = tags_of(asked)
        for tag in tags if not routes(asked) else ():
            if isinstance(tag, ModelTag):
                self.version.admit(plain_name(tag))
        return tags

    def _find(self, tag: Tag) -> Version:
        if isinstance(tag, ModelTag) or tag.name is None or tag.name in self._names:
            number = tag.version if isinstance(tag, RouterTag) else None
            return self.version if number is None else self.apart.at(number)
        raise SpecError(f"a rule or call names the router {tag.name!r}, which is not replayed")


def _mixed(ranking: Sequence[Any], tolerance: float) -> bool:
    """Whether the equals at the top, among which load chooses, are of several models."""
    best = ranking[0]
    for other in ranking[1:]:
        if other[0] > best[0] + tolerance if tolerance > 0.0 else other[:-2] != best[:-2]:
            return False
        if other[-1][0].deployment.model != best[-1][0].deployment.model:
            return True
    return False
