"""``RouteResult``: the record of one decision or call, readable while the call runs and after it."""

from __future__ import annotations

import itertools
import math
import os
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from .decide.decision import objective_name
from .decide.ranking import predicted
from .decide.reasons import reason
from .fork import renew_in_child
from .records import AttemptRecord, Decision, hidden_params
from .snapshot import PRIOR_ITL_MS, PRIOR_TTFT_MS

_prefix = os.urandom(6).hex()
_numbers = itertools.count(1)


def _renew_prefix() -> None:
    global _prefix
    _prefix = os.urandom(6).hex()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_prefix)


@dataclass(frozen=True, slots=True)
class SelectedTarget:
    """One target of a decision, with its traffic weight (1.0 where there is no split)."""

    model_name: str
    weight: float = 1.0


class Decided(Protocol):
    """One tag of a chain and the decision made for it."""

    @property
    def decision(self) -> Decision: ...


class ByRules(Protocol):
    """What a router's rules came to. See ``layers.Chosen``."""

    @property
    def rule(self) -> Any: ...
    @property
    def targets(self) -> Sequence[Any]: ...
    def chance(self, open_layers: Sequence[bool], /) -> float: ...
    @property
    def trace(self) -> Sequence[Any]: ...
    @property
    def asked(self) -> bool: ...


class RouteResult:
    """What was decided and what came of it.

    ``model`` litellm model string served (or first choice of ``route``); ``deployment`` its name; ``ranking`` names,
    best first; ``rejected`` name → reason with its numbers; ``scores`` name → score (higher is better);
    ``matched_rule`` the first rule that matched, or None, and ``rule_trace`` every rule tried, with why not;
    ``selected_targets``; ``propensity`` the probability with which the first choice was made (splits, power of two
    choices); ``shadows`` what became of the targets that only shadow it; ``status`` one of running, decided, answered,
    left early, failed, refused, cancelled; ``estimated_cost_usd`` expectation for the first choice;
    ``cost_usd`` what the call has cost, all attempts; ``attempts``; ``output_cap`` the cap this router set, or None;
    ``waived`` constraints that were set aside; ``router``, ``version``, ``hash`` (of the version's content),
    ``request_id``; ``objective`` and ``notes`` in words. Everything is worked out when it is read.
    """

    __slots__ = (
        "_chosen",
        "_id",
        "_segments",
        "attempts",
        "cost_nano",
        "hash",
        "latency_s",
        "output_cap",
        "router",
        "served",
        "shadows",
        "status",
        "version",
    )

    def __init__(
        self,
        router: str,
        version: int,
        segments: Sequence[Decided],
        digest: str = "",
        chosen: ByRules | None = None,
    ) -> None:
        self.router = router
        self.version = version
        self.hash = digest
        self._segments = segments
        self._chosen = chosen
        self._id = (_prefix, next(_numbers))
        self.attempts: list[AttemptRecord] = []
        self.cost_nano = 0
        self.output_cap: int | None = None
        self.served: tuple[str, str] | None = None  # (deployment name, model string)
        self.status = "running"
        self.latency_s: float | None = None  # of the whole call, when it is over
        self.shadows: list[dict[str, Any]] = []

    @staticmethod
    def of(source: Any) -> RouteResult | None:
        """The record of a routed call, from its response, stream or exception; None where there is none."""
        if isinstance(source, RouteResult):
            return source
        found = getattr(source, "route_result", None)
        if isinstance(found, RouteResult):
            return found
        hidden = hidden_params(source)
        found = hidden.get("route_result") if hidden is not None else None
        if not isinstance(found, RouteResult):
            found = RECENT.find(source) or _wrapped_record(source)
        return found

    @property
    def _decisions(self) -> list[Decision]:
        return [segment.decision for segment in self._segments]

    @property
    def request_id(self) -> str:
        return f"{self._id[0]}-{self._id[1]:x}"

    @property
    def deployment(self) -> str | None:
        if self.served is not None:
            return self.served[0]
        ranking = self.ranking
        return ranking[0] if ranking else None

    @property
    def model(self) -> str | None:
        if self.served is not None:
            return self.served[1]
        first = self._first()
        return first[0].deployment.model if first else None

    def _first(self) -> Any:
        return next((decision.ranking[0][-1] for decision in self._decisions if decision.ranking), None)

    def candidates(self) -> list[tuple[str, float | None, float]]:
        """(name, score, predicted quality) of everything in the ranking, best first."""
        found: dict[str, tuple[str, float | None, float]] = {}
        for decision in self._decisions:
            for ranked in decision.ranking:
                row = ranked[-1]
                name = row[0].name
                if name not in found:
                    loss = ranked[0]
                    score = None if loss == math.inf or loss == -math.inf else -loss
                    found[name] = (name, score, row[0].guess if row[4] is None else row[4])
        return list(found.values())

    @property
    def ranking(self) -> list[str]:
        names = (ranked[-1][0].name for decision in self._decisions for ranked in decision.ranking)
        return list(dict.fromkeys(names))

    @property
    def scores(self) -> dict[str, float | None]:
        """By name, higher is better; None where what decides has not been measured."""
        losses = {ranked[-1][0].name: ranked[0] for d in reversed(self._decisions) for ranked in d.ranking}
        return {name: None if math.isinf(loss) else -loss for name, loss in losses.items()}

    @property
    def qualities(self) -> dict[str, float]:
        """Predicted quality of every candidate in the ranking; those without one carry the guess from the price."""
        return {r[-1][0].name: predicted(r[-1]) for d in reversed(self._decisions) for r in d.ranking}

    @property
    def quality_bands(self) -> dict[str, float]:
        """By name, the standard deviation of a predicted quality, where a predictor gave one."""
        return {name: score.quality_std for name, score in self._scored().items() if score.quality_std is not None}

    @property
    def guessed(self) -> list[str]:
        """The names whose quality a predictor has guessed: nobody judged them."""
        return [name for name, score in self._scored().items() if score.guessed]

    def _scored(self) -> dict[str, Any]:
        """By name, what a predictor said of everything in the ranking."""
        found: dict[str, Any] = {}
        for segment in self._segments:
            scores = getattr(segment, "scores", None) or ()
            for ranked in segment.decision.ranking:
                candidate = ranked[-1][0]
                score = scores[candidate.index] if candidate.index < len(scores) else None
                if score is not None:
                    found.setdefault(candidate.name, score)
        return found

    @property
    def rejected(self) -> dict[str, str]:
        ranked = set(self.ranking)
        found = {r.candidate.name: reason(r) for d in reversed(self._decisions) for r in reversed(d.rejections)}
        return {name: why for name, why in reversed(found.items()) if name not in ranked or why.startswith("budget")}

    @property
    def matched_rule(self) -> Any:
        return None if self._chosen is None else self._chosen.rule

    @property
    def rule_trace(self) -> list[dict[str, Any]]:
        tried = () if self._chosen is None else self._chosen.trace
        return [{"rule": one.rule_name, "matched": one.matched, "why": one.why} for one in tried]

    @property
    def propensity(self) -> float:
        decisions = self._decisions
        first = next((d.propensity for d in decisions if d.ranking), 1.0)
        return first if self._chosen is None else first * self._chosen.chance([bool(d.ranking) for d in decisions])

    @property
    def selected_targets(self) -> list[SelectedTarget]:
        if self._chosen is not None and self._chosen.rule is not None:
            return [SelectedTarget(target.model_name, target.weight) for target in self._chosen.targets]
        name = self.deployment
        return [SelectedTarget(name)] if name is not None else []

    @property
    def estimated_cost_usd(self) -> float | None:
        first = self._first()
        return first[1] / 1e9 if first and first[0].priced else None

    @property
    def cost_usd(self) -> float:
        return self.cost_nano / 1e9

    @property
    def waived(self) -> list[str]:
        return [name for decision in self._decisions for name in decision.waived]

    @property
    def objective(self) -> str:
        decision = self._decisions[0]
        return objective_name(decision.objective or decision.policy)

    @property
    def notes(self) -> list[str]:
        """What a reader should know: guesses, priors, and how many candidates there were."""
        notes = []
        if self._chosen is not None and self._chosen.asked and self._chosen.rule is None:
            notes.append("no rule matched: the router's own objective over all its models")
        rows = [ranked[-1] for decision in self._decisions for ranked in decision.ranking]
        guessed = [row[0].name for row in rows if row[4] is None]
        if guessed:
            notes.append(f"quality guessed from the price: {', '.join(guessed[:8])}")
        marked = self.guessed
        if marked:
            notes.append(f"quality guessed for models that nobody judged: {', '.join(marked[:8])}")
        policy = self._decisions[0].policy
        if policy.weights is not None and (policy.weights.t or policy.weights.i):
            notes.append(f"times not measured yet count as TTFT {PRIOR_TTFT_MS:g} ms, ITL {PRIOR_ITL_MS:g} ms")
        return notes

    def model_dump(self) -> dict[str, Any]:
        """The record as plain values (JSON-ready)."""
        rule = self.matched_rule
        return {
            "request_id": self.request_id,
            "router": self.router,
            "version": self.version,
            "hash": self.hash,
            "status": self.status,
            "latency_ms": None if self.latency_s is None else self.latency_s * 1e3,
            "model": self.model,
            "deployment": self.deployment,
            "ranking": self.ranking,
            "rejected": self.rejected,
            "scores": self.scores,
            "qualities": self.qualities,
            "guessed": self.guessed,
            "matched_rule": getattr(rule, "name", None),
            "rule_trace": self.rule_trace,
            "propensity": self.propensity,
            "shadows": self.shadows,
            "selected_targets": [asdict(target) for target in self.selected_targets],
            "estimated_cost_usd": self.estimated_cost_usd,
            "cost_usd": self.cost_usd,
            "attempts": [asdict(attempt) for attempt in self.attempts],
            "output_cap": self.output_cap,
            "waived": self.waived,
            "objective": self.objective,
            "notes": self.notes,
        }

    def model_dump_json(self, indent: int | None = None) -> str:
        import json

        return json.dumps(self.model_dump(), indent=indent)

    def __reduce__(self) -> Any:
        """Pickled, a record is its ``model_dump()``: the live one reaches prompts and credentials."""
        return dict, (self.model_dump(),)

    def __copy__(self) -> RouteResult:
        return self

    def __deepcopy__(self, memo: Any) -> RouteResult:
        return self

    def __repr__(self) -> str:
        return (
            f"RouteResult(deployment={self.deployment!r}, cost_usd={self.cost_usd:.6f}, "
            f"attempts={len(self.attempts)}, request_id={self.request_id!r})"
        )


# The newest record of this context: litellm's bridges make a new answer object of the one that carries it.
LATEST: ContextVar[RouteResult | None] = ContextVar("router_plugin_latest", default=None)


def _wrapped_record(source: Any) -> RouteResult | None:
    """The record of a stream that one of litellm's own wrappers holds."""
    inside = getattr(source, "__dict__", None)
    for value in inside.values() if isinstance(inside, dict) else ():
        found = getattr(value, "__dict__", {}).get("route_result")
        if isinstance(found, RouteResult):
            return found
    return None


class _Recent:
    """Records of answers that cannot carry one (plain dicts of wrapped functions): the last few, by identity.

    The answer is kept beside its record, so that its id cannot be taken by another object.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.RLock()
        renew_in_child(self)
        self._kept: dict[int, tuple[Any, RouteResult]] = {}

    def keep(self, answer: Any, result: RouteResult) -> None:
        with self._lock:
            self._kept[id(answer)] = (answer, result)
            while len(self._kept) > self._size:
                self._kept.pop(next(iter(self._kept)), None)

    def after_fork(self) -> None:
        self._lock = threading.RLock()

    def find(self, answer: Any) -> RouteResult | None:
        kept = self._kept.get(id(answer))
        return kept[1] if kept is not None and kept[0] is answer else None


RECENT = _Recent(64)


def attach(target: Any, result: RouteResult) -> None:
    """Make ``RouteResult.of(target)`` find ``result``."""
    hidden = hidden_params(target)
    if hidden is not None:
        hidden["route_result"] = result
        return
    if isinstance(target, (dict, list)):
        RECENT.keep(target, result)
        return
    if isinstance(target, (str, bytes, int, float, type(None))):
        return  # equal ones are often the same object: a record would be found for answers it does not belong to
    try:
        target.route_result = result
    except (AttributeError, TypeError, ValueError):
        RECENT.keep(target, result)
