"""``Router``: the façade. Every public method of a router is here; the work is done in the rooms behind it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .call.drivers import arun, run
from .call.inflight import Call
from .call.plan import budget_error, plan
from .call.streams import hand_over
from .clock import SYSTEM_CLOCK, Clock
from .decide.cost import EXPECTED_OUTPUT_TOKENS
from .decide.reasons import reason
from .decide.request import read_request
from .errors import NoCandidateError, ResourceNotFoundError, SpecError, VersionConflictError, did_you_mean
from .explain import explain
from .history import History
from .layers import Asking, Layer, under
from .online import check_artefact, scorer_of
from .provider.litellm_port import LitellmProvider
from .provider.port import CataloguedProvider
from .records import Candidate
from .redact import shown
from .result import LATEST, RouteResult, attach
from .shadow import Shadows
from .shelf import MemoryShelf, Shelf
from .snapshot import Scorer
from .spec.budget import Budget
from .spec.deployment import Deployment
from .spec.diff import diff
from .spec.document import document, export, spec_with
from .spec.options import Routing
from .spec.router_spec import RouterSpec, router_name
from .spec.rules import Rule
from .spec.strings import ModelTag, RouterTag
from .surface import copied, named_arguments, owned, split
from .version import Home, Tag, Version, session_key, tags_of

if TYPE_CHECKING:
    from .check import Report
    from .learn.frontier.curve import Frontier
    from .learn.serving.predictor import Predictor
    from .replay import Replay
    from .routers import Client

INSTALLED: dict[str, Router] = {}  # by name; replaced by the plugin with every install
Models = Sequence["str | Deployment | Mapping[str, Any]"] | str
_TRIES = 20
_SAVED: Models = []  # no models were given (told by identity): the router is a saved one


class Router:
    """Routes litellm calls over deployments, within bounds and budgets, with fallback.

    ``Router("support", models=["openai/gpt-4o-mini", Deployment(…)], budgets=[Budget(usd=5, per="day", key="user")],
    max_cost=0.02)``. Further keywords are the options of ``Routing``, as defaults of every call. ``models="any"`` takes
    any model litellm knows. ``rules`` choose among targets before anything is ranked (see ``Rule``). ``scorer``
    predicts quality (see ``Scorer``). Without one and without training, weights on quality go by the foundation, a
    small general predictor that comes with the package, where not all models have declared their quality; its figures
    are marked as guesses. ``scorer="foundation"`` asks it for every request, ``scorer="declared"`` for none, and the
    path of what ``Predictor.save`` has written asks that predictor. ``seed`` makes its choices repeatable.
    ``log_content`` keeps prompts and answers in the history of requests (``redaction`` sees them first), which holds
    ``history_rows`` of them, each for ``history_days``.

    With ``client=`` the router is saved there (a new version, where the name exists). ``Router("support")`` alone
    refers to a saved one (of ``client``, or of the store in the user's data folder); nothing is read until it is used.

    Raises: SpecError naming the field and what would be right.
    """

    _client: Client | None

    def __init__(
        self,
        name: str = "router",
        models: Models = _SAVED,
        *,
        rules: Iterable[Rule | Mapping[str, Any]] = (),
        budgets: Sequence[Budget | Mapping[str, Any]] = (),
        scorer: Scorer | str | os.PathLike[str] | None = None,
        allow_request_endpoints: bool = False,
        description: str | None = None,
        client: Client | None = None,
        seed: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
        provider: CataloguedProvider | None = None,
        log_content: bool | None = None,
        redaction: Callable[[Any], Any] | None = None,
        history_rows: int | None = None,
        history_days: float | None = None,
        **options: Any,
    ) -> None:
        scorer = scorer_of(scorer)
        kept: dict[str, Any] = {"log_content": log_content, "redaction": redaction, "rows": history_rows}
        kept["days"] = history_days
        if models is _SAVED:
            given = {"rules": rules, "budgets": budgets, "description": description, **options}
            extra = next((key for key, value in given.items() if value), None)
            if extra is not None:
                raise SpecError(
                    f"Router: models: give a list of model names and Deployments, or models='any', beside {extra}="
                )
            self._refer(name, client, seed, clock, provider, scorer, **kept)
            return
        spec = RouterSpec(
            name=name,
            deployments=models,
            rules=rules,
            budgets=budgets,
            allow_request_endpoints=allow_request_endpoints,
            description=description,
            **options,
        )
        if client is None:
            self._set_up(spec, scorer, seed, clock, provider, **kept)
            return
        self._refer(name, client, seed, clock, provider, scorer, **kept)
        for left in reversed(range(_TRIES)):  # others may be starting with it at this moment
            try:
                self._save(spec, self._shelf.latest(), True, None)
                break
            except VersionConflictError:
                if not left:
                    raise

    def _set_up(
        self, spec: RouterSpec, scorer: Scorer | None, seed: int | None, clock: Clock, provider: Any, **kept: Any
    ) -> None:
        """A router that lives in memory."""
        self._name(spec.name)
        self._home = _home(clock, provider, seed, scorer, History(spec.name, clock, **kept))
        self._shelf: Shelf = MemoryShelf(spec.name, clock)
        self._save(spec, 0, True, None)

    def _refer(
        self,
        name: str,
        client: Client | None,
        seed: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
        provider: Any = None,
        scorer: Scorer | None = None,
        **kept: Any,
    ) -> None:
        """A reference to a saved router. Those of one name in one client share their live state."""
        from .routers import default_client

        client = client if client is not None else default_client()
        self._name(router_name(name))
        self._shelf = client.shelf(name)
        history = partial(client.history, name, clock, **kept)
        self._home = client.home(name, lambda: _home(clock, provider, seed, scorer, history()))
        self._home.folder, self._client = client.path.parent, client
        self._home.given(clock if clock is not SYSTEM_CLOCK else None, provider, seed, scorer)
        self._home.history.given(**kept)

    def _name(self, name: str) -> None:
        self.name = name
        self._addresses = (None, "router", name, f"router/{name}", f"router_{name}")
        self._client = None
        self._pinned: int | None = None  # the one version that this object stands for

    @classmethod
    def from_spec(
        cls,
        spec: RouterSpec,
        *,
        scorer: Scorer | str | os.PathLike[str] | None = None,
        seed: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
        provider: CataloguedProvider | None = None,
    ) -> Router:
        """A router of a spec that exists already."""
        router = cls.__new__(cls)
        router._set_up(spec, scorer_of(scorer), seed, clock, provider)
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
        return self._home.clock

    @property
    def provider(self) -> CataloguedProvider:
        return self._home.provider

    @property
    def scorer(self) -> Scorer | None:
        return self._home.scorer

    @scorer.setter
    def scorer(self, scorer: Scorer | str | os.PathLike[str] | None) -> None:
        self._home.scorer = scorer_of(scorer)

    def __repr__(self) -> str:
        version = self._home.current
        if version is None:
            return f"Router({self.name!r})"
        spec = version.spec
        return f"Router({self.name!r}, {len(spec.deployments)} deployments, {len(spec.budgets)} budgets)"

    # -- what it is: versions -----------------------------------------------------------------------------------

    @property
    def spec(self) -> RouterSpec:
        """The active version's spec."""
        return self._active().spec

    @property
    def version(self) -> int:
        """The number of the version that calls are routed by."""
        return self._active().number

    @property
    def active_version(self) -> int:
        """The number of the deployed version."""
        self._active()
        return self._shelf.active()

    @property
    def config(self) -> dict[str, Any]:
        """The whole configuration, as plain values; secrets are masked."""
        return document(self._active().spec, strict=False)

    @property
    def rules(self) -> list[Rule]:
        return list(self._active().spec.rules)

    @property
    def versions(self) -> list[dict[str, Any]]:
        """Every version, oldest first: ``version, hash, created_at, active, note``."""
        self._active()
        return self._shelf.versions()

    @property
    def description(self) -> str | None:
        return self._active().spec.description

    def _active(self) -> Version:
        """The version that a call begins on now."""
        current = self._home.current
        if current is not None and self._pinned is None:
            return current
        if self._pinned is not None:
            return self.at(self._pinned)
        with self._home.lock:
            if self._home.current is None:
                self._home.current = self.at(self._shelf.active())
            return self._home.current

    def pin(self, version: int | None) -> None:
        """Let this object stand for one version, whichever is deployed; None: for the deployed one again.

        Raises: ResourceNotFoundError where there is none of that number.
        """
        if version is not None:
            self.at(version)
        self._pinned = version

    def at(self, number: int) -> Version:
        """One version, made ready.

        Raises: ResourceNotFoundError where there is none of that number; SpecError for what is no number.
        """
        if isinstance(number, bool) or not isinstance(number, int):
            raise SpecError(f"version: must be a whole number, not {shown(number)}")
        with self._home.lock:
            version = self._home.versions.get(number)
            if version is None:
                stored = self._shelf.load(number)
                version = self._home.versions[number] = Version(self._home, number, stored.spec, stored.hash)
        return version

    def _save(self, spec: RouterSpec, based_on: int, deploy: bool, note: str | None) -> None:
        with self._home.lock:
            stored = self._shelf.save(spec, based_on, deploy, note)
            version = Version(self._home, stored.number, spec, stored.hash)
            self._home.versions[stored.number] = version
            self._home.latest = stored.number
            if deploy:
                self._home.current = version

    def update(
        self,
        rules: Iterable[Rule | Mapping[str, Any]] | None = None,
        *,
        deploy: bool = True,
        note: str | None = None,
        **changes: Any,
    ) -> None:
        """Write a new version: the active one with these settings changed, and deploy it. None takes an option away;
        ``rules=[]`` takes the rules away.

        Raises: SpecError for a bad setting; VersionConflictError where somebody else has written one meanwhile:
        ``refresh()``, look, and update again.
        """
        if rules is not None:
            changes["rules"] = rules
        if "artefact" in changes:
            check_artefact(changes["artefact"], self._home.folder)
        with self._home.lock:
            active = self._active()
            if not self._home.latest:
                self._home.latest = self._shelf.latest()
            self._save(spec_with(active.spec, changes), self._home.latest, deploy, note)

    def deploy(self, version: int) -> None:
        """Make this version the active one. Calls in flight finish on the version they began with.

        Raises: ResourceNotFoundError where there is none of that number.
        """
        with self._home.lock:
            made = self.at(version)
            self._shelf.deploy(version)
            self._home.current = made

    def delete(self) -> None:
        """Remove the router with all its versions. Its requests stay in the history."""
        with self._home.lock:
            self._shelf.delete()
            self._home.current, self._home.latest = None, 0
            self._home.versions.clear()

    def refresh(self) -> None:
        """Forget what was read: the next use sees what other processes have deployed meanwhile."""
        with self._home.lock:
            self._home.current, self._home.latest = None, 0
            self._home.versions.clear()

    def diff(self, old: int, new: int) -> str:
        """What changed between two versions: one line a change."""
        return diff(document(self.at(old).spec, strict=False), document(self.at(new).spec, strict=False))

    def export(self, version: int | None = None, format: str = "json") -> str:
        """A version as JSON or YAML text, which ``client.routers.import_router`` reads; the same bytes every time.

        Raises: SpecError where it holds what no file may (a key that is written out, a function).
        """
        made = self._active() if version is None else self.at(version)
        return export(made.spec, format)

    # -- deciding -----------------------------------------------------------------------------------------------

    def route(self, request: Mapping[str, Any] | None = None, /, **keywords: Any) -> RouteResult:
        """Decide without calling anyone. ``request`` holds litellm's keyword arguments (``messages``, ``max_tokens``,
        ``tools``, ``user`` …) and ours (``max_cost``, ``extra``, ``routing`` …); a plain ``{"prompt": …}`` will do.
        Rules can read every key of it.

        Raises: NoCandidateError or BudgetExceededError where nothing may take it; SpecError for bad input.
        """
        if request is not None and not isinstance(request, Mapping):
            raise SpecError(f"route: give litellm's keyword arguments as a mapping, not {shown(request)}")
        data = {**(request or {}), **keywords}
        kwargs = dict(data)
        if "messages" not in kwargs:
            kwargs["messages"] = [{"role": "user", "content": str(kwargs.get("prompt", ""))}]
        kwargs.pop("prompt", None)
        name = kwargs.pop("model", None)
        call = self._prepare(name, kwargs, {}, data=data)
        if not call.todo:
            raise self._nothing(call)
        call.over("decided")
        return call.result

    def _prepare(
        self,
        name: Any,
        kwargs: dict[str, Any],
        others: Mapping[str, Router],
        prefer: str | None = None,
        defaults: Routing | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Call:
        """Everything up to the first attempt: parse, decide, line the candidates up. ``kwargs`` is ours to change;
        ``data`` what rules may read beside it."""
        version, home = self._active(), self._home
        fallbacks = kwargs.pop("fallbacks") if "fallbacks" in kwargs else None
        surface = split(kwargs, version.spec.allow_request_endpoints)
        request = read_request(kwargs, surface.extra)
        # What is sent is what was decided on, whatever the caller does to his messages meanwhile.
        kwargs["messages"] = owned(request.messages)
        if request.tools is not None and "tools" in kwargs:
            kwargs["tools"] = copied(request.tools)
        options = (defaults, surface.options)
        chosen = None
        if version.rules is None and fallbacks is None and name in self._addresses:
            plain = options == (None, None) and prefer is None
            layers: list[Layer] = [(version, version.policy if plain else under(version.policy, options, prefer))]
        else:
            find = partial(self._addressed, others)
            asked = prefer if prefer is not None else name
            asking = Asking(request, options, prefer, asked, data, find, home.random.random)
            layers, chosen = asking.layers(self._tags(name, fallbacks)), asking.chosen
            version = asking.version or version
        first, policy = layers[0]
        segments = [first.decide(policy, request)]
        for owner, further in layers[1:] if len(layers) > 1 else ():
            segments.append(owner.decide(further, request))
        now = home.clock.monotonic()
        deadline = now + (surface.timeout_s if surface.timeout_s is not None else policy.timeout_s)
        call = Call(
            request,
            kwargs,
            policy,
            segments,
            RouteResult(version.name, version.number, segments, version.hash, chosen),
            home.clock,
            now,
            deadline,
            home.provider.count_tokens,
            home.random.random,
        )
        call.log, call.keep_answer = home.ended, home.history.log_content
        if chosen is not None:
            call.shadows = chosen.shadows
            if chosen.rule is not None and chosen.rule.min_confidence is not None:
                kwargs.setdefault("logprobs", True)
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

    def _tags(self, name: Any, fallbacks: Any) -> tuple[Tag, ...]:
        """The tags of the name (and of litellm's ``fallbacks``)."""
        if name is not None and not isinstance(name, str):
            raise SpecError(f"model: must be a string, not {type(name).__name__}")
        tags = tags_of("router" if name is None or name == self.name else name)
        if not isinstance(fallbacks, (list, tuple, type(None))):
            raise SpecError(f"fallbacks: must be a list of model names and router strings, not {shown(fallbacks)}")
        for fallback in fallbacks or ():
            if not isinstance(fallback, str):
                raise SpecError(f"fallbacks: a routed call takes model names and router strings, not {shown(fallback)}")
            tags += tags_of(fallback)
        return tags

    def _addressed(self, others: Mapping[str, Router], tag: Tag) -> Version:
        """The version that a tag addresses: of this router, or of one that is installed beside it."""
        if isinstance(tag, ModelTag) or tag.name is None or tag.name == self.name:
            router = self
        elif tag.name in others:
            router = others[tag.name]
        elif (found := self._neighbour(tag.name)) is not None:
            router = found
        else:
            known = sorted({self.name, *others, *INSTALLED})
            raise SpecError(
                f"unknown router {shown(tag.name)}{did_you_mean(tag.name, known)}; known: {', '.join(known)}"
            )
        if not isinstance(tag, RouterTag) or tag.version is None:
            return router._active()
        try:
            return router.at(tag.version)
        except ResourceNotFoundError as error:
            raise SpecError(str(error)) from None

    def _neighbour(self, name: str) -> Router | None:
        """Another router that rules may name: one that is installed, or is saved in the same store."""
        if name in INSTALLED or self._client is None:
            return INSTALLED.get(name)
        router = Router(name, client=self._client)
        try:
            router._active()
        except ResourceNotFoundError:
            return None
        return router

    def candidates(self) -> tuple[Candidate, ...]:
        """The deployments of the active version with their facts."""
        return self._active().candidates()

    def candidates_for(self, tag: Tag) -> tuple[Candidate, ...]:
        """Those that a router string's filters leave.

        Raises: SpecError for names that this router does not know.
        """
        version = self._active()
        return version.select(version.layer(tag)).candidates

    def _nothing(self, call: Call) -> NoCandidateError:
        """The error for a call that nothing may take: BudgetExceededError where money alone stood in the way."""
        rejections = [rejection for segment in call.segments for rejection in segment.decision.rejections]
        rejected = {rejection.candidate.name: reason(rejection) for rejection in rejections}
        error: NoCandidateError | None = None
        if any(rejection.code == "budget" for rejection in rejections):
            segment = next(s for s in call.segments if any(r.code == "budget" for r in s.decision.rejections))
            refusal = segment.ledger.refusal(segment.keys)
            if refusal is not None:
                error = budget_error(refusal, rejected)
        if error is None:
            what = "no deployment may take this request:"
            if not rejected and self.spec.any_model:
                what = "models='any': name the models to choose from, e.g. models=['gpt-4o', 'claude-haiku-4-5']"
            error = NoCandidateError(f"router {self.name!r}: {what}", rejected)
        attach(error, call.result)
        call.over("refused")
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
            flight = run(plan(call), self._home.provider, self._home.clock)
        except BaseException as error:
            failed(call, error)
            raise
        if "litellm_logging_obj" in call.kwargs:
            _bridge_told(call, "success")
        return hand_over(flight, self._home.provider)

    async def _acompletion(
        self, kwargs: dict[str, Any], others: Mapping[str, Router], prefer: str | None = None, implicit: bool = False
    ) -> Any:
        call = self._begin(kwargs, others, prefer, implicit)
        try:
            flight = await arun(plan(call), self._home.provider, self._home.clock)
        except BaseException as error:
            failed(call, error)
            raise
        if "litellm_logging_obj" in call.kwargs:
            _bridge_told(call, "success")
        return hand_over(flight, self._home.provider)

    def _begin(self, kwargs: dict[str, Any], others: Mapping[str, Router], prefer: str | None, implicit: bool) -> Call:
        name = kwargs.pop("model", None)
        if implicit and isinstance(name, str):
            self._active().admit(name)
        call = self._ready(self._prepare(name, kwargs, others, prefer))
        if "litellm_logging_obj" in kwargs:
            LATEST.set(call.result)
        return call

    def prepare(self, name: Any, kwargs: dict[str, Any], defaults: Routing | None = None) -> Call:
        """A call ready for its first attempt; ``defaults`` is a layer of options between the router's and the call's.

        Raises: NoCandidateError, BudgetExceededError, SpecError.
        """
        return self._ready(self._prepare(name, kwargs, {}, defaults=defaults))

    def _ready(self, call: Call) -> Call:
        if not call.todo:
            raise self._nothing(call)
        self._home.fleet.deposit()
        return call

    def wrap(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Decorate a function of ``(model, messages, **kwargs)`` shape: it is called once an attempt with the chosen
        model. ``@router.wrap`` or ``@router.wrap(max_cost=0.01)``; sync or async, streaming or not."""
        from .wrap import wrapped

        if function is None:
            return lambda inner: wrapped(self, inner, options)
        return wrapped(self, function, options)

    # -- what was asked -----------------------------------------------------------------------------------------

    def list_requests(self, limit: int = 100, **filters: Any) -> list[dict[str, Any]]:
        """Records of requests, newest first. Filters: ``since`` and ``until`` (seconds of the epoch or datetimes),
        ``model``, ``rule``, ``status``, ``user``.

        Raises: SpecError for a filter that is none.
        """
        return self._home.history.find(limit, **filters)

    def get_request(self, request_id: str) -> dict[str, Any]:
        """The record of one request.

        Raises: ResourceNotFoundError where there is none.
        """
        return self._home.history.get(request_id)

    def feedback(self, request_id: str, score: float) -> None:
        """Attach a judgement (0..1) to a request; a later one replaces it. From then on it corrects what a predictor
        says of the model that answered.

        Raises: ResourceNotFoundError where there is no such request; SpecError for a score outside 0..1.
        """
        before = self._home.history.get(request_id).get("feedback")
        record = self._home.history.feedback(request_id, score)
        predicted = record["qualities"].get(record["deployment"])
        if predicted is None or record["model"] is None:
            return
        if before is None:
            self._home.posterior.learn(record["model"], predicted, float(score))
        else:
            self._home.posterior.revise(record["model"], float(score) - before)

    def export_requests(self, path: str | os.PathLike[str], format: str | None = None, **filters: Any) -> int:
        """Write records to a file, oldest first, as JSON lines or CSV (by the ending, or ``format``); how many."""
        return self._home.history.export(path, format, **filters)

    def replay(self, requests: Any = None, spec: Any = None, **keywords: Any) -> Replay:
        """Decide past requests again under another version, without calling anyone. See ``router_plugin.replay``.

        ``requests``: records, a JSONL file of them, or None for the history; ``spec``: a version number, a RouterSpec,
        a settings mapping, or None for the active version.
        """
        from .replay import replay

        return replay(self, requests, spec, **keywords)

    def check(self, sample: Iterable[Mapping[str, Any]] | None = None, **keywords: Any) -> Report:
        """What is wrong or doubtful in the active version, and which rules a sample of requests meets. See
        ``router_plugin.check``."""
        from .check import check

        return check(self, sample, **keywords)

    # -- learning -----------------------------------------------------------------------------------------------

    def fit(self, outcomes: Any, *, seed: int = 0, note: str | None = None) -> Predictor:
        """Train on outcomes that exist already, without calling anyone, and choose by it from then on (a saved router:
        a new version). ``outcomes``: rows ``{"prompt", "scores": {model: 0..1}, …}``, a JSONL, CSV or Parquet file of
        them, or records of the history with feedback and content. Needs the extra ``learn``.

        Raises: SpecError for malformed rows; TrainingError where no row has a score.
        """
        from .learn.of_router import fit_router

        return fit_router(self, outcomes, seed, note)

    def add_model(
        self,
        model: str | Deployment,
        requests: Any = None,
        judge: Any = None,
        *,
        quality: float | None = None,
        budget_usd: float | None = None,
        note: str | None = None,
    ) -> float | None:
        """Let a new model join (a new version): with a declared ``quality``, or one that ``judge`` (or a stored judge
        of that name) finds on a handful of ``requests`` (answers and judging within ``budget_usd``), shrunk towards the
        guess from its price. Gives that quality. A request that fails is one judgement less.

        Raises: SpecError where the router has it already; ResourceNotFoundError where no judge has that name; what the
        model's provider raises, where no answer comes.
        """
        from .learn.of_router import add_model

        return add_model(self, model, requests, judge, quality, note, budget_usd)

    def frontier(self, outcomes: Any, **keywords: Any) -> Frontier:
        """The settings of the dials that are Pareto-efficient over held-out outcomes, each as a router string. See
        ``router_plugin.learn.frontier.curve``; prices and predictions are the router's own."""
        from .learn.of_router import frontier_of

        return frontier_of(self, outcomes, **keywords)

    # -- looking ------------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Deployment name → what has been seen of it: attempts, failures, latencies (ms), state, cost (USD)."""
        names = {candidate.name: candidate.deployment.model for candidate in self._active().everyone()}
        return self._home.fleet.report(names)

    def shadows(self) -> dict[str, Any]:
        """Rule name → target → what became of it: runs, answers, failures, drops, cost (USD), latency (ms)."""
        return self._home.shadows.report()

    def drift(self) -> dict[str, dict[str, Any]]:
        """Model → what feedback says of its predictions: judgements, mean residual, offset, whether it has drifted."""
        return self._home.posterior.report()

    def budgets(self) -> list[dict[str, Any]]:
        """Every account: ``name, key, limit_usd, settled_usd, reserved_usd, left_usd, resets_at``."""
        return self._active().ledger.report()

    def explain(self, source: Any, messages: Any = None) -> str:
        """A decision, response, stream or exception as a table a person can read. With the ``messages`` (or prompt)
        that were asked, the words and features that moved a trained predictor are named; no record keeps them."""
        result = RouteResult.of(source)
        if result is None:
            raise SpecError(f"explain: no record of a routed call in this {type(source).__name__}")
        if messages is not None and not isinstance(messages, (str, list, tuple)):
            raise SpecError(f"explain: messages: must be a list of messages or a prompt, not {shown(messages)}")
        moved = getattr(self._active().predictor, "explain", None)
        if messages is None or moved is None or result.model is None:
            return explain(result)
        try:
            return explain(result, moved(messages, result.model))
        except SpecError:  # a model that it was not trained on: its quality is declared, or guessed
            return explain(result)


def _home(clock: Clock, provider: Any, seed: int | None, scorer: Scorer | None, history: History) -> Home:
    return Home(clock, provider if provider is not None else LitellmProvider(), seed, scorer, history, Shadows(clock))


def failed(call: Call, error: BaseException) -> None:
    """No answer came of it: the error carries the record (a cancellation too), and the history hears of it."""
    attach(error, call.result)
    if isinstance(error, Exception):
        _bridge_told(call, "failure")
    call.over("failed" if isinstance(error, Exception) else "cancelled")


def _line_up(call: Call) -> None:
    """All candidates of all tags of a chain in order, each deployment once."""
    call.owners = {}
    for segment in call.segments:
        for ranked in segment.decision.ranking:
            if id(ranked[-1][0]) not in call.owners:
                call.owners[id(ranked[-1][0])] = segment
                call.todo.append(ranked)


def _bridge_told(call: Call, outcome: str) -> None:
    """litellm's bridges (text completion, responses) report with a logging object of their own. The attempts have
    reported already: the bridge's report would be a second one."""
    report = getattr(call.kwargs.get("litellm_logging_obj"), "has_run_logging", None)
    if report is not None:
        for kind in ("sync", "async"):
            report(event_type=f"{kind}_{outcome}")
