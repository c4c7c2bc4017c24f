"""``Router``: the façade. Every public method of a router is here; the work is done in the rooms behind it."""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cachetools import LRUCache

from .call.drivers import arun, run
from .call.inflight import Call, Segment
from .call.plan import budget_error, plan
from .call.streams import hand_over
from .clock import SYSTEM_CLOCK, Clock
from .decide.cost import EXPECTED_OUTPUT_TOKENS
from .decide.decision import Situation, decide
from .decide.pool import Selection, make_candidates, matches, select
from .decide.reasons import reason
from .decide.request import opening_key, read_request
from .errors import NoCandidateError, SpecError, did_you_mean
from .explain import explain
from .fork import renew_in_child
from .provider.litellm_port import LitellmProvider
from .provider.port import CataloguedProvider
from .records import Candidate, Request
from .redact import shown
from .result import LATEST, RouteResult, attach
from .snapshot import Score, Scorer
from .spec.budget import Budget
from .spec.deployment import Deployment, normalise_model
from .spec.options import Routing
from .spec.policy import DEFAULT_POLICY, Policy, with_options, with_tag
from .spec.router_spec import RouterSpec
from .spec.strings import ModelTag, RouterTag, parse_router_string, routes
from .state.fleet import Fleet
from .surface import copied, named_arguments, owned, split

log = logging.getLogger("router_plugin")
_MOST_IMPLICIT = 1_000


class Router:
    """Routes litellm calls over deployments, within bounds and budgets, with fallback.

    ``Router("support", models=["openai/gpt-4o-mini", Deployment(…)], budgets=[Budget(usd=5, per="day", key="user")],
    max_cost=0.02)``. Further keywords are the options of ``Routing``, as defaults of every call. ``models="any"`` takes
    any model litellm knows. ``scorer`` predicts quality (see ``Scorer``); ``seed`` makes its choices repeatable.

    Raises: SpecError naming the field and what would be right.
    """

    def __init__(
        self,
        name: str = "router",
        models: Sequence[str | Deployment | Mapping[str, Any]] | str | None = None,
        *,
        budgets: Sequence[Budget | Mapping[str, Any]] = (),
        scorer: Scorer | None = None,
        allow_request_endpoints: bool = False,
        description: str | None = None,
        seed: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
        provider: CataloguedProvider | None = None,
        **options: Any,
    ) -> None:
        if models is None:
            raise SpecError("Router: models: give a list of model names and Deployments, or models='any'")
        spec = RouterSpec(
            name=name,
            deployments=models,
            budgets=budgets,
            allow_request_endpoints=allow_request_endpoints,
            description=description,
            **options,
        )
        self._set_up(spec, scorer, seed, clock, provider)

    def _set_up(self, spec: RouterSpec, scorer: Scorer | None, seed: int | None, clock: Clock, provider: Any) -> None:
        self.spec = spec
        self.name = spec.name
        self._addresses = (None, "router", spec.name, f"router/{spec.name}", f"router_{spec.name}")
        self.scorer = scorer
        self.version = 1
        self._clock = clock
        self._provider: CataloguedProvider = provider if provider is not None else LitellmProvider()
        self._policy = with_options(DEFAULT_POLICY, spec)
        self._fleet = Fleet(clock, spec.budgets, seed)
        self._random = random.Random(seed)
        self._lock = threading.RLock()
        self._stamp: int | None = None
        self._candidates: tuple[Candidate, ...] = ()
        self._implicit: dict[str, Candidate] = {}
        self._selections: LRUCache[tuple[Any, ...], Selection] = LRUCache(256)
        self._base = Selection()
        self._scorer_failed = False
        self._seeded = seed is not None
        renew_in_child(self)

    def after_fork(self) -> None:
        """In a forked child: a fresh lock, and (unless a seed was given) other random numbers than the parent's."""
        self._lock = threading.RLock()
        if not self._seeded:
            self._random.seed()

    @classmethod
    def from_spec(
        cls,
        spec: RouterSpec,
        *,
        scorer: Scorer | None = None,
        seed: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
        provider: CataloguedProvider | None = None,
    ) -> Router:
        """A router of a spec that exists already."""
        router = cls.__new__(cls)
        router._set_up(spec, scorer, seed, clock, provider)
        return router

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **keywords: Any) -> Router:
        """A router from one YAML, JSON or TOML file; ``os.environ/NAME`` in a key is read when a call is made.

        Keywords: ``scorer``, ``seed``, ``clock``, ``provider``; settings stand in the file.
        Raises: SpecError naming the file, the field and what would be right; OSError where it cannot be read.
        """
        from .spec.files import load_spec

        known = ("scorer", "seed", "clock", "provider")
        for keyword in keywords:
            if keyword not in known:
                raise SpecError(
                    f"from_file: unknown keyword {shown(keyword)}{did_you_mean(keyword, known)}; settings "
                    "of the router stand in the file"
                )
        return cls.from_spec(load_spec(path), **keywords)

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def provider(self) -> CataloguedProvider:
        return self._provider

    def __repr__(self) -> str:
        return f"Router({self.name!r}, {len(self.spec.deployments)} deployments, {len(self.spec.budgets)} budgets)"

    # -- deciding -----------------------------------------------------------------------------------------------

    def route(self, request: Mapping[str, Any] | None = None, /, **keywords: Any) -> RouteResult:
        """Decide without calling anyone. ``request`` holds litellm's keyword arguments (``messages``, ``max_tokens``,
        ``tools``, ``user`` …) and ours (``max_cost``, ``extra``, ``routing`` …); a plain ``{"prompt": …}`` will do.

        Raises: NoCandidateError or BudgetExceededError where nothing may take it; SpecError for bad input.
        """
        if request is not None and not isinstance(request, Mapping):
            raise SpecError(f"route: give litellm's keyword arguments as a mapping, not {shown(request)}")
        data = {**(request or {}), **keywords}
        if "messages" not in data:
            data["messages"] = [{"role": "user", "content": str(data.get("prompt", ""))}]
        data.pop("prompt", None)
        name = data.pop("model", None)
        call = self._prepare(name, data, {})
        if not call.todo:
            raise self._nothing(call)
        return call.result

    def _prepare(
        self,
        name: Any,
        kwargs: dict[str, Any],
        others: Mapping[str, Router],
        prefer: str | None = None,
        defaults: Routing | None = None,
    ) -> Call:
        """Everything up to the first attempt: parse, decide, line the candidates up. ``kwargs`` is ours to change."""
        fallbacks = kwargs.pop("fallbacks") if "fallbacks" in kwargs else None
        surface = split(kwargs, self.spec.allow_request_endpoints)
        request = read_request(kwargs, surface.extra)
        # What is sent is what was decided on, whatever the caller does to his messages meanwhile.
        kwargs["messages"] = owned(request.messages)
        if request.tools is not None and "tools" in kwargs:
            kwargs["tools"] = copied(request.tools)
        layers = self._layers(name, fallbacks, (defaults, surface.options), others, prefer)
        first, policy = layers[0]
        segments = [first._decide(policy, request)]
        for router, further in layers[1:] if len(layers) > 1 else ():
            segments.append(router._decide(further, request))
        now = self._clock.monotonic()
        deadline = now + (surface.timeout_s if surface.timeout_s is not None else policy.timeout_s)
        call = Call(
            request,
            kwargs,
            policy,
            segments,
            RouteResult(self.name, self.version, segments),
            self._clock,
            now,
            deadline,
            self._provider.count_tokens,
            self._random.random,
        )
        cap = EXPECTED_OUTPUT_TOKENS if request.cap is None else request.cap
        call.tokens = request.estimate + (cap if cap < EXPECTED_OUTPUT_TOKENS else EXPECTED_OUTPUT_TOKENS)
        if policy.session is not None:
            call.session = session_key(policy, request)
        if len(segments) == 1:
            call.todo = segments[0].decision.ranking[:]
        else:
            _line_up(call)
        if call.todo:
            call.result.output_cap = call.todo[0][-1][3]
        return call

    def _layers(
        self,
        name: Any,
        fallbacks: Any,
        options: tuple[Routing | None, Routing | None],
        others: Mapping[str, Router],
        prefer: str | None,
    ) -> list[tuple[Router, Policy]]:
        """One router and policy for every tag of the name (and of litellm's ``fallbacks``)."""
        if fallbacks is None and name in self._addresses:
            plain = options == (None, None) and prefer is None
            return [(self, self._policy if plain else _with_call(self._policy, options, prefer))]
        layers = []
        for tag in self._tags(name, fallbacks):
            router = self._addressed(tag, others)
            layer = with_tag(router._policy, tag)
            layers.append((router, _with_call(layer, options, prefer)))
        return layers

    def _tags(self, name: Any, fallbacks: Any) -> tuple[RouterTag | ModelTag, ...]:
        if name is not None and not isinstance(name, str):
            raise SpecError(f"model: must be a string, not {type(name).__name__}")
        text = "router" if name is None or name == self.name else name
        tags = parse_router_string(text).tags if routes(text) else _concrete(text)
        if not isinstance(fallbacks, (list, tuple, type(None))):
            raise SpecError(f"fallbacks: must be a list of model names and router strings, not {shown(fallbacks)}")
        for fallback in fallbacks or ():
            if not isinstance(fallback, str):
                raise SpecError(f"fallbacks: a routed call takes model names and router strings, not {shown(fallback)}")
            tags += parse_router_string(fallback).tags if routes(fallback) else _concrete(fallback)
        return tags

    def _addressed(self, tag: RouterTag | ModelTag, others: Mapping[str, Router]) -> Router:
        if isinstance(tag, ModelTag) or tag.name is None or tag.name == self.name:
            router = self
        elif tag.name in others:
            router = others[tag.name]
        else:
            known = sorted({self.name, *others})
            raise SpecError(
                f"unknown router {shown(tag.name)}{did_you_mean(tag.name, known)}; known: {', '.join(known)}"
            )
        if isinstance(tag, RouterTag) and tag.version is not None and tag.version != router.version:
            raise SpecError(f"router {router.name!r} has no version {tag.version}; its version is {router.version}")
        return router

    def _admit(self, model: str) -> None:
        """Take a model that is not listed as an implicit deployment with litellm's defaults. It answers to its name
        and is no choice of any other call."""
        model = normalise_model(model)
        with self._lock:
            known = (*self.candidates(), *self._implicit.values())
            if any(matches(candidate, model) for candidate in known):
                return
            if len(self._implicit) >= _MOST_IMPLICIT:
                raise SpecError(f"{_MOST_IMPLICIT} different models were named in calls; list them in the router")
            (made,) = make_candidates([Deployment(model)], self._provider.facts, len(known))
            self._implicit[model] = made

    def candidates(self) -> tuple[Candidate, ...]:
        """The deployments with their facts, worked out once for each state of litellm's price map."""
        if self._provider.stamp() != self._stamp:
            with self._lock:
                stamp = self._provider.stamp()
                if stamp != self._stamp:
                    self._candidates = make_candidates(self.spec.deployments, self._provider.facts)
                    self._implicit.clear()
                    self._selections.clear()
                    self._base = select(self._candidates, self._policy)
                    self._fleet.meet(self._candidates)
                    self._stamp = stamp
        return self._candidates

    def candidates_for(self, tag: RouterTag | ModelTag) -> tuple[Candidate, ...]:
        """Those that a router string's filters leave.

        Raises: SpecError for names that this router does not know.
        """
        return self._select(with_tag(self._policy, tag)).candidates

    def _select(self, policy: Policy) -> Selection:
        candidates = self.candidates()
        if policy is self._policy:
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
        with self._lock:
            selection = self._selections.get(key)
            if selection is None:
                named = [normalise_model(name) for names in policy.include_models for name in names]
                if self.spec.any_model:
                    for name in named:
                        self._admit(name)
                implicit = [c for c in self._implicit.values() if any(matches(c, name) for name in named)]
                selection = self._selections[key] = select((*candidates, *implicit), policy)
        return selection

    def _decide(self, policy: Policy, request: Request) -> Segment:
        fleet = self._fleet
        at = Situation(policy, request, fleet.snapshot(request.estimate), self._provider.count_tokens)
        at.random = self._random.random
        if policy.session is not None:
            at.sticky = fleet.session(session_key(policy, request))
        keys: tuple[Any, ...] = ()
        if fleet.ledger.budgets:
            keys = fleet.ledger.keys_of(request.keys)
            at.limit = fleet.ledger.left(keys)
        pool = self._select(policy)
        if self.scorer is not None:
            at.scores = self._score(request)
        return Segment(fleet, keys, decide(pool, at))

    def _score(self, request: Request) -> Sequence[Score | None] | None:
        """What the scorer says of all candidates; a scorer that fails is reported once and does without."""
        scorer = self.scorer
        assert scorer is not None
        models = [candidate.deployment.model for candidate in self._candidates]
        try:
            given = list(scorer.score(request, models))
            if len(given) != len(models):
                raise ValueError(f"a scorer must return one score a model: {len(models)} models, {len(given)} scores")
            return [_score(value) for value in given]
        except Exception:
            if not self._scorer_failed:
                self._scorer_failed = True
                log.exception("the scorer of router %r failed; routing goes on without it (said once)", self.name)
            return None

    def _nothing(self, call: Call) -> NoCandidateError:
        """The error for a call that nothing may take: BudgetExceededError where money alone stood in the way."""
        rejections = [rejection for segment in call.segments for rejection in segment.decision.rejections]
        rejected = {rejection.candidate.name: reason(rejection) for rejection in rejections}
        error: NoCandidateError | None = None
        if any(rejection.code == "budget" for rejection in rejections):
            segment = next(s for s in call.segments if any(r.code == "budget" for r in s.decision.rejections))
            assert isinstance(segment.state, Fleet)
            refusal = segment.state.ledger.refusal(segment.keys)
            if refusal is not None:
                error = budget_error(refusal, rejected)
        if error is None:
            what = "no deployment may take this request:"
            if not rejected and self.spec.any_model:
                what = "models='any': name the models to choose from, e.g. models=['gpt-4o', 'claude-haiku-4-5']"
            error = NoCandidateError(f"router {self.name!r}: {what}", rejected)
        attach(error, call.result)
        return error

    # -- calling ------------------------------------------------------------------------------------------------

    def completion(self, *args: Any, **kwargs: Any) -> Any:
        """``litellm.completion`` through this router. ``model`` may be left out, a router string, or a model name."""
        return self._completion(named_arguments(args, kwargs), {})

    async def acompletion(self, *args: Any, **kwargs: Any) -> Any:
        """``litellm.acompletion`` through this router."""
        return await self._acompletion(named_arguments(args, kwargs), {})

    def _completion(
        self, kwargs: dict[str, Any], others: Mapping[str, Router], prefer: str | None = None, implicit: bool = False
    ) -> Any:
        call = self._begin(kwargs, others, prefer, implicit)
        try:
            flight = run(plan(call), self._provider, self._clock)
        except Exception as error:
            attach(error, call.result)
            _bridge_told(call, "failure")
            raise
        if "litellm_logging_obj" in call.kwargs:
            _bridge_told(call, "success")
        return hand_over(flight, self._provider)

    async def _acompletion(
        self, kwargs: dict[str, Any], others: Mapping[str, Router], prefer: str | None = None, implicit: bool = False
    ) -> Any:
        call = self._begin(kwargs, others, prefer, implicit)
        try:
            flight = await arun(plan(call), self._provider, self._clock)
        except BaseException as error:  # a cancellation carries the record too
            attach(error, call.result)
            if isinstance(error, Exception):
                _bridge_told(call, "failure")
            raise
        if "litellm_logging_obj" in call.kwargs:
            _bridge_told(call, "success")
        return hand_over(flight, self._provider)

    def _begin(self, kwargs: dict[str, Any], others: Mapping[str, Router], prefer: str | None, implicit: bool) -> Call:
        name = kwargs.pop("model", None)
        if implicit and isinstance(name, str):
            self._admit(name)
        call = self._prepare(name, kwargs, others, prefer)
        if not call.todo:
            raise self._nothing(call)
        self._fleet.deposit()
        if "litellm_logging_obj" in kwargs:
            LATEST.set(call.result)
        return call

    def prepare(self, name: Any, kwargs: dict[str, Any], defaults: Routing | None = None) -> Call:
        """A call ready for its first attempt; ``defaults`` is a layer of options between the router's and the call's.

        Raises: NoCandidateError, BudgetExceededError, SpecError.
        """
        call = self._prepare(name, kwargs, {}, defaults=defaults)
        if not call.todo:
            raise self._nothing(call)
        self._fleet.deposit()
        return call

    def wrap(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Decorate a function of ``(model, messages, **kwargs)`` shape: it is called once an attempt with the chosen
        model. ``@router.wrap`` or ``@router.wrap(max_cost=0.01)``; sync or async, streaming or not."""
        from .wrap import wrapped

        if function is None:
            return lambda inner: wrapped(self, inner, options)
        return wrapped(self, function, options)

    # -- looking ------------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Deployment name → what has been seen of it: attempts, failures, latencies (ms), state, cost (USD)."""
        known = (*self.candidates(), *self._implicit.values())
        names = {candidate.name: candidate.deployment.model for candidate in known}
        return self._fleet.report(names)

    def budgets(self) -> list[dict[str, Any]]:
        """Every account: ``name, key, limit_usd, settled_usd, reserved_usd, left_usd, resets_at``."""
        return self._fleet.ledger.report()

    def explain(self, source: Any) -> str:
        """A decision, response, stream or exception as a table a person can read."""
        result = RouteResult.of(source)
        if result is None:
            raise SpecError(f"explain: no record of a routed call in this {type(source).__name__}")
        return explain(result)


def session_key(policy: Policy, request: Request) -> str:
    """The key of a conversation: what the caller said, or one made of its opening."""
    return policy.session if isinstance(policy.session, str) else opening_key(request.messages)


def _with_call(policy: Policy, options: tuple[Routing | None, ...], prefer: str | None) -> Policy:
    """``policy`` with the layers of one call."""
    for layer in options:
        if layer is not None:
            policy = with_options(policy, layer)
    return policy if prefer is None else replace(policy, prefer=prefer)


def _line_up(call: Call) -> None:
    """All candidates of all tags of a chain in order, each deployment once."""
    call.owners = {}
    for segment in call.segments:
        for ranked in segment.decision.ranking:
            if id(ranked[-1][0]) not in call.owners:
                call.owners[id(ranked[-1][0])] = segment
                call.todo.append(ranked)


def _score(value: Any) -> Score | None:
    score = value if value is None or isinstance(value, Score) else Score(float(value))
    tokens = score.output_tokens if score is not None else None
    if tokens is not None and not 0 <= tokens < 1e9:
        raise ValueError(f"expected output tokens must be a finite number >= 0, got {tokens!r}")
    if score is not None and score.quality is not None and not 0.0 <= score.quality <= 1.0:
        raise ValueError(f"a quality must lie between 0 and 1, got {score.quality!r}")
    return score


def _concrete(name: str) -> tuple[RouterTag | ModelTag, ...]:
    return (ModelTag(name),)


def _bridge_told(call: Call, outcome: str) -> None:
    """litellm's bridges (text completion, responses) report with a logging object of their own. The attempts have
    reported already: the bridge's report would be a second one."""
    report = getattr(call.kwargs.get("litellm_logging_obj"), "has_run_logging", None)
    if report is not None:
        for kind in ("sync", "async"):
            report(event_type=f"{kind}_{outcome}")
