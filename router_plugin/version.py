"""One version of a router, made ready for deciding; and what all versions of a router share.

A spec is swapped, never edited: a ``Version`` does not change once it is made (what it works out from litellm's price
map apart), and a router's active one is replaced by one assignment. A call stays with the version that it began with.
"""

from __future__ import annotations

import logging
import math
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache

from .call.beside import JudgeAsk
from .call.inflight import Call, Segment
from .call.trial import Trial
from .clock import Clock
from .decide.decision import Situation, decide
from .decide.explore import explored
from .decide.pool import Selection, make_candidates, matches, select
from .decide.request import opening_key
from .decide.rules import CompiledRules, compile_rules
from .errors import RouterError, SpecError
from .fork import renew_in_child
from .online import Posterior, ask, foundation, load_predictor
from .provider.port import CataloguedProvider
from .records import Candidate, Decision, Request
from .snapshot import Score, Scorer, Scores
from .spec.budget import Budget
from .spec.deployment import Deployment, normalise_model
from .spec.policy import DEFAULT_POLICY, Policy, with_options, with_tag
from .spec.router_spec import RouterSpec
from .spec.strings import ModelTag, RouterTag, parse_router_string, routes
from .state.fleet import Fleet
from .state.ledger import Ledger, Reservation

if TYPE_CHECKING:
    from .history import History
    from .shadow import Shadows

log = logging.getLogger("router_plugin")
_MOST_IMPLICIT = 1_000
Tag = RouterTag | ModelTag


class Home:
    """What outlives a router's versions: its live state, its record of requests, its random numbers."""

    def __init__(
        self,
        clock: Clock,
        provider: CataloguedProvider,
        seed: int | None,
        scorer: Scorer | None,
        history: History,
        shadows: Shadows,
    ) -> None:
        self.clock, self.provider, self.scorer = clock, provider, scorer
        self.fleet = Fleet(clock, seed)
        self.random = random.Random(seed)
        self.lock = threading.RLock()
        self.current: Version | None = None
        self.latest = 0  # the highest version that is known of; 0: not looked yet
        self.versions: LRUCache[int, Version] = LRUCache(16)
        self.history, self.shadows = history, shadows
        self.folder: Path | None = None  # where the store lies, which artefacts are relative to
        self.posterior = Posterior()
        self.foundation: Callable[[], Scorer | None] = foundation  # who guesses where nobody predicts
        self._seeded = seed is not None
        self._scorer_failed = False
        renew_in_child(self)

    def after_fork(self) -> None:
        """In a forked child: a fresh lock, and (unless a seed was given) other random numbers than the parent's."""
        self.lock = threading.RLock()
        if not self._seeded:
            self.random.seed()

    def given(self, clock: Clock | None, provider: Any, seed: int | None, scorer: Scorer | None) -> None:
        """What another reference to this router brings along: it holds for all of them from now on.

        Raises: SpecError for another clock, which cannot be changed.
        """
        if clock is not None and clock is not self.clock:
            raise SpecError("Router: clock: this router is in use in this client already, with another clock")
        if provider is not None and provider is not self.provider:
            with self.lock:
                self.provider, self.current = provider, None
                self.versions.clear()
        if seed is not None:
            self.random.seed(seed)
        self.scorer = scorer if scorer is not None else self.scorer

    def ended(self, call: Call) -> None:
        """A call has come to its end: it is recorded, what it tried is paid for, and what only shadows it begins."""
        trial = call.segments[0].trial if call.segments else None
        if trial is not None:
            trial.settle(call.result.cost_nano)
        if not call.shadows or call.result.status not in ("answered", "left early", "failed"):
            self.history.add(call)
            return
        request, kwargs = replace(call.request), dict(call.kwargs)  # what is recorded forgets its content
        self.history.add(call)
        self.shadows.start(call, self, request, kwargs)

    def score(self, scorer: Scorer, request: Request, candidates: Sequence[Candidate], name: str) -> Scores | None:
        """What a scorer says of all candidates, corrected by feedback; one that fails is reported once, and routing
        does without."""
        try:
            given, count = ask(scorer, request, candidates), len(candidates)
            scores = given if isinstance(given, Scores) else _columns(given)
            if len(scores) != count:
                raise ValueError(f"a scorer must return one score a model: {count} models, {len(scores)} scores")
            _check(scores)
            if None in scores.quality:
                scores = self._believe(scores, candidates)
            if not self.posterior.known:
                return scores
            return self.posterior.corrected([candidate.deployment.model for candidate in candidates], scores)
        except Exception:
            if not self._scorer_failed:
                self._scorer_failed = True
                log.exception("the scorer of router %r failed; routing goes on without it (said once)", name)
            return None

    def _believe(self, scores: Scores, candidates: Sequence[Candidate]) -> Scores:
        """Where a scorer predicts some and does not know others (models that joined after training), those carry a
        prior: the declared quality, else the guess from the price, as uncertain as feedback has left it."""
        unknown = [at for at, said in enumerate(scores.quality) if said is None]
        if len(unknown) == len(candidates):
            return scores  # nobody is predicted: what is declared is taken at its word
        quality, std, guessed = list(scores.quality), list(scores.quality_std), list(scores.guessed)
        for at in unknown:
            candidate = candidates[at]
            quality[at], std[at] = candidate.ability, self.posterior.doubt(candidate.deployment.model)
            guessed[at] = candidate.quality is None
        return Scores(quality, scores.output_tokens, std, guessed)


class Version:
    """A spec with its number, hash, policy, rules, ledger, and the candidates that litellm's price map makes of it."""

    def __init__(self, home: Home, number: int, spec: RouterSpec, digest: str) -> None:
        self.home, self.number, self.spec, self.hash = home, number, spec, digest
        self.policy = with_options(DEFAULT_POLICY, spec)
        self.rules: CompiledRules | None = compile_rules(spec.rules) if spec.rules else None
        self.ledger = Ledger(spec.budgets, home.clock, home.fleet.books)
        self.learned = None if spec.artefact is None else _learned(spec, home.folder)
        self.target_tags = {t.model_name: tags_of(t.model_name) for rule in spec.rules for t in rule.targets}
        if self.predictor is None and self._weighs_guesses():
            self._guesser()  # read now, and not in the first call
        self._stamp: int | None = None
        self._candidates: tuple[Candidate, ...] = ()
        self._implicit: dict[str, Candidate] = {}
        self._selections: LRUCache[tuple[Any, ...], Selection] = LRUCache(256)
        self._layers: LRUCache[tuple[Tag, Tag | None], Policy] = LRUCache(256)
        self._base = Selection()

    @property
    def name(self) -> str:
        return self.spec.name

    def everyone(self) -> tuple[Candidate, ...]:
        """The listed deployments, and those that only rules and calls have named."""
        return (*self.candidates(), *self._implicit.values())

    def candidates(self) -> tuple[Candidate, ...]:
        """The deployments with their facts, worked out once for each state of litellm's price map."""
        provider = self.home.provider
        if provider.stamp() != self._stamp:
            with self.home.lock:
                stamp = provider.stamp()
                if stamp != self._stamp:
                    self._candidates = make_candidates(self.spec.deployments, provider.facts)
                    self._implicit.clear()
                    self._selections.clear()
                    self._base = select(self._candidates, self.policy)
                    self.home.fleet.meet(self._candidates)
                    self._stamp = stamp
        return self._candidates

    def admit(self, model: str) -> None:
        """Take a model that is not listed as an implicit deployment with litellm's defaults. It answers to its name
        and is no choice of any other call."""
        model = normalise_model(model)
        with self.home.lock:
            known = self.everyone()
            if any(matches(candidate, model) for candidate in known):
                return
            if len(self._implicit) >= _MOST_IMPLICIT:
                raise SpecError(f"{_MOST_IMPLICIT} different models were named in calls; list them in the router")
            (made,) = make_candidates([Deployment(model)], self.home.provider.facts, len(known))
            self._implicit[model] = made

    def layer(self, tag: Tag, target: Tag | None = None) -> Policy:
        """The policy under the layers of a rule's target and of the tag that was asked for, which is the nearer one."""
        key = (tag, target)
        policy = self._layers.get(key)
        if policy is None:
            policy = with_tag(self.policy if target is None else with_tag(self.policy, target), tag)
            with self.home.lock:
                self._layers[key] = policy
        return policy

    def select(self, policy: Policy) -> Selection:
        """The candidates that a policy's names leave.

        Raises: SpecError for names that this router does not know.
        """
        candidates = self.candidates()
        if policy is self.policy:
            return self._base
        key = (
            policy.include_models,
            policy.include_providers,
            policy.exclude_models,
            policy.exclude_providers,
            policy.max_cost_of_model,
            policy.min_quality_of_model,
            policy.base_model,
            policy.unpriced,
            policy.assumed_input_cost_per_token,
            policy.assumed_output_cost_per_token,
        )
        with self.home.lock:
            selection = self._selections.get(key)
            if selection is None:
                named = [normalise_model(name) for names in policy.include_models for name in names]
                if self.spec.any_model:
                    for name in named:
                        self.admit(name)
                implicit = [c for c in self._implicit.values() if any(matches(c, name) for name in named)]
                selection = self._selections[key] = select((*candidates, *implicit) if implicit else candidates, policy)
        return selection

    @property
    def predictor(self) -> Scorer | None:
        """Who predicts: the router's scorer, else the version's own artefact."""
        return self.learned if self.home.scorer is None else self.home.scorer

    def _weighs_guesses(self) -> bool:
        """Whether the version's own weights ask for the quality of models that have not declared it."""
        tags = [tag for tags in self.target_tags.values() for tag in tags if isinstance(tag, RouterTag)]
        weights = [self.policy.weights, *(tag.weights for tag in tags)]
        undeclared = any(deployment.quality is None for deployment in self.spec.deployments)
        return undeclared and any(w is not None and w.q > 0.0 for w in weights)

    def _guesser(self) -> Scorer | None:
        """The foundation. It ranks where weights ask for quality, nobody predicts it, and not all have declared it."""
        with self.home.lock:  # so that it is read once
            return self.home.foundation()

    def _scores(self, scorer: Scorer, request: Request, pool: Selection) -> Scores | None:
        """What a scorer says of all candidates that are in question, by their indices."""
        asked = pool.everything
        said = self.home.score(scorer, request, asked, self.name)
        if said is None or asked is self._candidates:
            return said
        found: list[Score | None] = [None] * (1 + max((candidate.index for candidate in asked), default=-1))
        for candidate, score in zip(asked, said, strict=True):
            found[candidate.index] = score
        return Scores.of(found)

    def decide(
        self, policy: Policy, request: Request, fleet: Fleet | None = None, money: Ledger | None = None
    ) -> Segment:
        """One tag's decision, on the live state and the budgets of the router, or on others."""
        home = self.home
        state, ledger = fleet or home.fleet, money or self.ledger
        at = Situation(policy, request, state.snapshot(request.estimate), home.provider.count_tokens)
        at.random = home.random.random
        if policy.session is not None:
            at.sticky = state.session(session_key(policy, request))
        keys: tuple[Any, ...] = ()
        if ledger.budgets:
            keys = ledger.keys_of(request.keys)
            at.limit = ledger.left(keys)
        pool = self.select(policy)
        scorer, weights = self.predictor, policy.weights
        if scorer is None and weights is not None and weights.q > 0.0 and pool.undeclared:
            scorer = self._guesser()
        if scorer is not None:
            at.scores = self._scores(scorer, request, pool)
        decision, trial = decide(pool, at), None
        if policy.explore_usd and at.scores is not None and at.sticky is None and len(decision.ranking) > 1:
            trial = self._explore(decision, at, at.scores)
        return Segment(state, ledger, keys, decision, at.scores, partial(JudgeAsk, self), trial)

    def _explore(self, decision: Decision, at: Situation, scores: Sequence[Score | None]) -> Trial | None:
        """Let a draw of qualities order the candidates, as far as the day's money for exploring allows; what it tries,
        where that is not the best."""
        policy, home = at.policy, self.home
        draw = (
            home.random if policy.session is None else random.Random(f"{self.name}/{session_key(policy, at.request)}")
        )
        ranking, propensity = explored(decision, scores, at.snapshot, draw)
        best, tried = decision.ranking[0][-1], ranking[0][-1]
        trial = None
        if tried[0] is not best[0]:
            money = Ledger((Budget(policy.explore_usd, per="day", name="exploration"),), home.clock, home.fleet.books)
            held = money.reserve((None,), math.ceil(min(max(0.0, tried[1] - best[1]), 1e18)))
            if not isinstance(held, Reservation):
                return None
            money.end(held, held.amount)
            trial = Trial(money, best[1] + held.amount)
        decision.ranking, decision.propensity = ranking, propensity
        return trial


def _learned(spec: RouterSpec, folder: Path | None) -> Scorer | None:
    """The predictor of a trained version. Without it (damaged, missing) the router serves on in its untrained order."""
    try:
        return load_predictor(spec.artefact or "", folder)
    except (RouterError, OSError, ImportError) as error:
        log.warning("router %r goes on without its trained predictor (%s): %s", spec.name, spec.artefact, error)
        return None


def tags_of(name: str) -> tuple[Tag, ...]:
    """What a model name or router string stands for, in order of fallback."""
    return parse_router_string(name).tags if routes(name) else (ModelTag(name),)


def plain_name(tag: ModelTag) -> str:
    """litellm's spelling of a concrete tag (``model@provider`` is Unify's)."""
    return f"{tag.provider}/{tag.model}" if tag.provider else tag.model


def session_key(policy: Policy, request: Request) -> str:
    """The key of a conversation: what the caller said, or one made of its opening."""
    return policy.session if isinstance(policy.session, str) else opening_key(request.messages)


def _columns(given: Sequence[Score | float | None]) -> Scores:
    """What a scorer has said, floats made ``Score``s, by column."""
    return Scores.of([s if s is None or isinstance(s, Score) else Score(float(s)) for s in given])


def _check(scores: Scores) -> None:
    """Raises: ValueError for figures that nobody can route by."""
    for tokens in scores.output_tokens:
        if tokens is not None and not 0 <= tokens < 1e9:
            raise ValueError(f"expected output tokens must be a finite number >= 0, got {tokens!r}")
    for quality in scores.quality:
        if quality is not None and not 0.0 <= quality <= 1.0:
            raise ValueError(f"a quality must lie between 0 and 1, got {quality!r}")
