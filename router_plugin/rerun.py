"""A recorded request, decided again by a version that stands apart from everything live.

Rule: versions are made in a home of their own (a fresh fleet, accounts that nobody has spent from, a history that is
never written), so that nothing live is read or changed, and nobody is called. Where a rule asks for what the record
does not hold, the decision is not guessed: ``Unknown`` says what was asked for.

A random split has as many outcomes as arms; all of them are gone through, each with its probability. A split by a key
(``split_key``) has one, the arm of that key. ``marginal`` looks at it as random too: over all keys, its arms have the
probabilities of their weights. That is how a log is weighed whose own choices hung on the same hash.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from .decide.decision import Situation, price
from .decide.request import read_request
from .errors import RouterError, SpecError
from .history import History
from .layers import Asking, Chosen
from .provider.port import CataloguedProvider
from .records import UNBOUNDED, Candidate, ModelFacts, Request
from .redact import MASK
from .shadow import Shadows
from .snapshot import Score, Scorer, Snapshot
from .spec.capability import AUDIO_INPUT, CAPABILITIES, FILES, TOOLS, VISION
from .spec.deployment import Deployment
from .spec.router_spec import RouterSpec
from .spec.strings import ModelTag, RouterTag, routes
from .state.ledger import Ledger
from .version import Home, Tag, Version, plain_name, tags_of

if TYPE_CHECKING:
    from .clock import Clock
    from .router import Router
    from .shelf import Kept

MOST_OUTCOMES = 1_000
_COUNTED = ""  # the key, among exact counts by model, of the input tokens that a provider has billed
_LIVE = {"budget": "what was left of budgets", "stats": "live statistics"}
_FIELDS = {"tokens", "has_image", "stream"}  # always known
_LONGEST_USER = 512  # characters that a record keeps


class Unknown(Exception):
    """The record does not hold what the decision needs."""


class Catalogue:
    """What a provider knows of models, for a home in which nobody is called."""

    def __init__(self, provider: CataloguedProvider) -> None:
        self._provider = provider

    def facts(self, deployment: Deployment) -> ModelFacts:
        return self._provider.facts(deployment)

    def stamp(self) -> int:
        return self._provider.stamp()

    def count_tokens(self, model: str, request: Request) -> int:
        """What the provider billed then; else the exact count of what was kept, else the estimate."""
        counted = request.exact_counts.get(_COUNTED)
        if counted is not None:
            return counted
        return self._provider.count_tokens(model, request) if request.messages else request.estimate


class Recalled:
    """The scorer where it has the prompt to read; else what it said then."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.said: Mapping[str, float] | None = None

    def score(self, request: Request, models: Sequence[str]) -> Sequence[Score | float | None]:
        if self.said is None:
            return self._scorer.score(request, models)
        return [self.said.get(model) for model in models]


class Apart:
    """Versions of one router in a home of their own."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        provider: CataloguedProvider,
        scorer: Scorer | None = None,
        load: Callable[[int], Kept] | None = None,
    ) -> None:
        self.name, self._load = name, load
        self.recalled = None if scorer is None else Recalled(scorer)
        quiet = cast("CataloguedProvider", Catalogue(provider))  # deciding asks for facts and counts only
        self.home = Home(clock, quiet, 0, self.recalled, History(name, clock), Shadows(clock))
        self._versions: dict[int, Version] = {}

    @classmethod
    def of(cls, router: Router) -> Apart:
        home = router._home
        return cls(router.name, home.clock, home.provider, home.scorer, router._shelf.load)

    def make(self, spec: RouterSpec, number: int = 0, digest: str = "") -> Version:
        """A version of this spec.

        Raises: SpecError for names that it uses and does not know.
        """
        version = Version(self.home, number, spec, digest)
        version.candidates()
        return version

    def at(self, number: int) -> Version:
        """A version that is kept.

        Raises: SpecError where there is none.
        """
        if number not in self._versions:
            if self._load is None:
                raise SpecError(f"router {self.name!r}: its versions are not known here")
            try:
                kept = self._load(number)
            except RouterError as error:
                raise SpecError(str(error)) from None
            self._versions[number] = self.make(kept.spec, kept.number, kept.hash)
        return self._versions[number]


def unspent(version: Version) -> Ledger:
    """The version's budgets as if nothing had been spent: they bound one request, and tell that money matters."""
    budgets = [budget.model_copy(update={"key": None, "require_key": False}) for budget in version.spec.budgets]
    return Ledger(budgets, version.home.clock)


@dataclass(slots=True)
class Recorded:
    """A record and the request that it tells of."""

    record: Mapping[str, Any]
    request: Request
    content: bool  # whether the messages are there
    named: Callable[[str], str | None] | None = None  # the model of a deployment, in the version that it was made by

    def model_of(self, name: str) -> str | None:
        """The model of a deployment that the record names; None where nobody knows any more."""
        record = self.record
        attempts = record.get("attempts")
        for one in (*(attempts if isinstance(attempts, (list, tuple)) else ()), record):
            if isinstance(one, Mapping) and one.get("deployment") == name and isinstance(one.get("model"), str):
                return str(one["model"])
        return None if self.named is None else self.named(name)

    @property
    def id(self) -> str:
        return str(self.record.get("request_id", ""))

    @property
    def first(self) -> str | None:
        """The name of the deployment that was to be asked first."""
        ranking = self.record.get("ranking")
        name = ranking[0] if isinstance(ranking, (list, tuple)) and ranking else self.record.get("deployment")
        return name if isinstance(name, str) else None

    @property
    def asked(self) -> str | None:
        """The model name that the call gave, where that is kept."""
        said = self.record.get("request")
        name = said.get("model") if isinstance(said, Mapping) else None
        return name if isinstance(name, str) else None

    def lacks(self, name: str) -> str | None:
        """Why the field that begins so cannot be read of this record; None where it can."""
        record, extra = self.record, self.request.keys["extra"]
        if name in _FIELDS:
            return None
        if name in ("prompt", "messages"):
            return None if self.content else f"a rule reads {name}, and content was not logged"
        if name == "tools":
            used = self.request.needs & TOOLS
            return "a rule reads the names of tools, which are not in the record" if used else None
        if name in _LIVE:
            return f"a rule reads {_LIVE[name]}, which is not in the record"
        if name == "metadata":
            return None if name in record else "a rule reads metadata, which is not in the record"
        if name == "model":
            said = record.get("request")
            known = isinstance(said, Mapping) and "model" in said
            return None if known else "a rule reads the model that was asked for, which is not in the record"
        if name == "user":
            cut = isinstance(record.get("user"), str) and (
                MASK in record["user"] or len(record["user"]) >= _LONGEST_USER
            )
            return "a rule reads the user, of whom the record keeps a part only" if cut else None
        if extra is not None and (set(extra) in ({"left_out"}, {"redacted"}) or MASK in str(extra)):
            return "a rule reads extra, of which the record keeps a part only"
        if name != "extra" and record.get("status") == "decided" and (extra is None or name not in extra):
            return f"a rule reads {name}, which route() may have been given"
        return None


def read_record(record: Any) -> Recorded:
    """The request of a history record.

    Raises: Unknown where its figures are not there.
    """
    said, messages = record.get("request"), record.get("messages")
    extra = record.get("extra") if isinstance(record.get("extra"), Mapping) else None
    keys = {"user": record.get("user"), "extra": extra, "metadata": record.get("metadata")}
    read: Request | None = None
    if isinstance(messages, (list, tuple)):
        try:
            read = read_request({"messages": messages}, extra)
        except SpecError:  # the caller's redaction has made something else of them
            read = None
    if not isinstance(said, Mapping):
        if read is None:
            raise Unknown("the record has neither the figures of its request nor its messages")
        return Recorded(record, replace(read, keys=keys), True)
    needs, estimate = _needs(said.get("needs", ())), _whole(said, "input_tokens", 0, 0)
    upper = _whole(said, "input_tokens_upper", 0, estimate)
    request = Request(
        needs=needs | (read.needs if read else 0),
        estimate=estimate,
        upper=UNBOUNDED if upper >= 1 << 53 else max(upper, estimate),
        low=read.low if read else 0 if needs & (VISION | AUDIO_INPUT | FILES) else estimate // 2,
        cap=None if said.get("max_tokens") is None else _whole(said, "max_tokens", 1, 1),
        n=_whole(said, "n", 1, 1),
        stream=said.get("stream") is True,
        messages=messages if read and messages else (),
        cache_marks=read.cache_marks if read else False,
        history=read.history if read else None,
        keys=keys,
        exact_counts=_billed(record),
    )
    return Recorded(record, request, read is not None)


def _billed(record: Mapping[str, Any]) -> dict[str, int]:
    attempts, tokens = record.get("attempts"), record.get("input_tokens")
    once = isinstance(attempts, (list, tuple)) and len(attempts) == 1
    return {_COUNTED: tokens} if once and type(tokens) is int and tokens > 0 else {}


def _whole(said: Mapping[str, Any], name: str, least: int, default: int) -> int:
    value = said.get(name, default)
    if type(value) is not int or value < least:
        raise Unknown(f"the record's request.{name} is no count")
    return value


def _needs(names: Any) -> int:
    mask = 0
    for name in names if isinstance(names, (list, tuple)) else ("no list",):
        if not isinstance(name, str) or name not in CAPABILITIES:
            raise Unknown("the record's request.needs has names that are not known")
        mask |= CAPABILITIES[name]
    return mask


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
        self._money: dict[int, Ledger] = {}
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
            decision = version.decide(policy, recorded.request, money=money).decision
            if not decision.ranking:
                continue
            self._heard(decision.ranking)
            best = decision.ranking[0]
            candidate, estimate = best[-1][0], best[-1][1]
            mixed = len(decision.ranking) > 1 and _mixed(decision.ranking, policy.balance_tolerance)
            usd = estimate / 1e9 if candidate.priced else None
            return Outcome(probability, candidate.name, candidate.deployment.model, usd, mixed)
        return Outcome(probability)

    def estimate(self, recorded: Recorded, name: str) -> float | None:
        """What the deployment of this name was expected to cost, USD; None where it is not there or has no price."""
        candidate = self._candidate(name)
        if candidate is None or not candidate.priced:
            return None
        version, home = self.version, self.version.home
        self._recall(recorded)
        at = Situation(version.policy, recorded.request, Snapshot(), home.provider.count_tokens)
        if home.scorer is not None:
            at.scores = home.score(recorded.request, version.candidates(), version.name)
        return price([candidate], at, [])[0][1] / 1e9

    def model_of(self, name: str) -> str | None:
        """The model of the deployment of this name."""
        candidate = self._candidate(name)
        return None if candidate is None else candidate.deployment.model

    def _candidate(self, name: str) -> Candidate | None:
        known = (*self.version.select(self.version.policy).candidates, *self.version.everyone())
        return next((candidate for candidate in known if candidate.name == name), None)

    def _recall(self, recorded: Recorded) -> None:
        recalled = self.apart.recalled
        if recalled is None:
            return
        said = recorded.record.get("qualities")
        names = said if isinstance(said, Mapping) else {}
        known = {recorded.model_of(n) or n: value for n, value in names.items() if isinstance(value, (int, float))}
        recalled.said = None if recorded.content else known

    def _heard(self, ranking: Sequence[Any]) -> None:
        recalled = self.apart.recalled
        if recalled is None or recalled.said is None:
            return
        for ranked in ranking:
            if ranked[-1][0].deployment.model not in recalled.said:
                name = ranked[-1][0].name
                raise Unknown(f"content was not logged, and the record has no prediction of the scorer for {name}")

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
