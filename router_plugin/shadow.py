"""Shadow traffic: targets that are asked beside the answer, when it is there, to be compared with it.

Rule: they run in threads of their own after the caller has his answer (or his error), each rule within its own budget,
its own number at a time and its own time; what does not fit is dropped, first of all traffic. Their health, latencies
and rate limits are kept apart from those that choose. Whatever becomes of them is counted in ``report`` and written
beside the primary's record; nothing of it can change, delay or fail the answer.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .call.drivers import arun, run
from .call.inflight import Call
from .call.plan import plan
from .call.streams import hand_over
from .clock import Clock
from .errors import RouterError
from .fork import renew_in_child
from .provider.usage import output_text
from .records import Request
from .result import RouteResult
from .spec.budget import Budget
from .spec.capability import STREAMING
from .state.fleet import Fleet
from .state.ledger import Ledger

if TYPE_CHECKING:
    from .layers import Layer
    from .spec.rules import Rule, Target
    from .version import Home

log = logging.getLogger("router_plugin")
_OURS_ALONE = ("stream", "stream_options", "litellm_logging_obj", "litellm_call_id")


class Shadows:
    """The shadow traffic of one router."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fleet = Fleet(clock)
        self._lock = threading.Lock()
        self._running: dict[str, int] = {}
        self._counts: dict[str, dict[str, dict[str, Any]]] = {}
        self._idle = threading.Condition(self._lock)
        renew_in_child(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._running.clear()

    def start(self, call: Call, home: Home, request: Request, kwargs: dict[str, Any]) -> None:
        """Ask the shadows of a call that is over and recorded, as far as there is room. ``request`` and ``kwargs`` are
        the call's own, with their content."""
        for rule, target, layer in call.shadows:
            assert rule.shadow is not None
            if rule.shadow.sample < 1.0 and home.random.random() >= rule.shadow.sample:
                continue
            with self._lock:
                running = self._running.get(rule.name, 0)
                if running >= rule.shadow.max_concurrency:
                    self._drop(call, rule, target)
                    continue
                self._running[rule.name] = running + 1
            thread = threading.Thread(
                target=self._run,
                args=(call, home, rule, target, layer, request, kwargs),
                name="router_plugin-shadow",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends, or there can be no more threads
                self._over(rule.name)
                with self._lock:
                    self._drop(call, rule, target)

    def _drop(self, call: Call, rule: Rule, target: Target) -> None:
        self._count(rule.name, target.model_name, "dropped")
        call.result.shadows.append({"rule": rule.name, "target": target.model_name, "outcome": "dropped"})

    def _run(
        self,
        call: Call,
        home: Home,
        rule: Rule,
        target: Target,
        layer: Layer | RouterError,
        request: Request,
        kwargs: dict[str, Any],
    ) -> None:
        told: dict[str, Any] = {"rule": rule.name, "target": target.model_name}
        try:
            told |= self._ask(call, home, rule, layer, request, kwargs)
        except BaseException as error:  # of a background thread: there is nobody else to tell
            told |= {"outcome": "failed", "error": type(error).__name__}
            log.debug("a shadow of rule %r failed", rule.name, exc_info=True)
        try:
            with self._lock:
                self._count(rule.name, target.model_name, told["outcome"], told)
            home.history.amend(call.result.request_id, {"shadows": [told]})  # makes the primary's record first
            call.result.shadows.append(told)
        except RouterError as error:
            log.debug("what became of a shadow could not be recorded: %s", error)
        finally:
            self._over(rule.name)

    def _ask(
        self,
        call: Call,
        home: Home,
        rule: Rule,
        layer: Layer | RouterError,
        request: Request,
        kwargs: dict[str, Any],
    ) -> dict[str, Any]:
        if isinstance(layer, RouterError):
            return {"outcome": "refused", "error": str(layer)[:500]}
        version, policy = layer
        shadow = rule.shadow
        assert shadow is not None
        budget = Budget(shadow.budget_usd, per=shadow.per, name=f"shadow {rule.name}")
        money = Ledger((budget,), self._clock, self._fleet.books)
        request = replace(request, stream=False, needs=request.needs & ~STREAMING)
        policy = replace(
            policy, timeout_s=shadow.timeout_s, max_attempts=1, hedge_after=None, session=None, fallback_on=()
        )
        segment = version.decide(policy, request, self._fleet, money)
        result = RouteResult(version.name, version.number, [segment], version.hash)
        if not segment.decision.ranking:
            return {"outcome": "refused", "error": "; ".join(result.rejected.values())[:500]}
        kwargs = {name: value for name, value in kwargs.items() if name not in _OURS_ALONE}
        now = self._clock.monotonic()
        beside = Call(
            request, kwargs, policy, [segment], result, self._clock, now, now + shadow.timeout_s, call.count_tokens,
            call.jitter,
        )  # fmt: skip
        beside.todo = segment.decision.ranking[:]
        provider = call.provider or home.provider
        try:
            answer = self._answer(beside, provider)
        except Exception as error:
            return self._told(result, "failed") | {"error": type(error).__name__}
        told = self._told(result, "answered")
        return told | {"answer": output_text(answer)} if call.keep_answer else told

    def _answer(self, call: Call, provider: Any) -> Any:
        if inspect.iscoroutinefunction(getattr(provider, "function", None)):
            flight = asyncio.run(arun(plan(call), provider, self._clock))
        else:
            flight = run(plan(call), provider, self._clock)
        return hand_over(flight, provider)

    @staticmethod
    def _told(result: RouteResult, outcome: str) -> dict[str, Any]:
        last = result.attempts[-1] if result.attempts else None
        return {
            "outcome": outcome,
            "deployment": result.deployment,
            "cost_usd": result.cost_usd,
            "latency_ms": last.latency_ms if last else None,
            "input_tokens": last.input_tokens if last else None,
            "output_tokens": last.output_tokens if last else None,
        }

    def _over(self, rule: str) -> None:
        with self._lock:
            self._running[rule] -= 1
            self._idle.notify_all()

    def _count(self, rule: str, target: str, outcome: str, told: dict[str, Any] | None = None) -> None:
        fresh = {"runs": 0, "answered": 0, "failed": 0, "refused": 0, "dropped": 0, "cost_usd": 0.0, "latency_ms": None}
        counts = self._counts.setdefault(rule, {}).setdefault(target, {**fresh, "last_error": None})
        counts[outcome] += 1
        counts["runs"] += outcome in ("answered", "failed")
        if told is not None:
            counts["cost_usd"] += told.get("cost_usd", 0.0)
            counts["last_error"] = told.get("error") or counts["last_error"]
            took = told.get("latency_ms")
            if outcome == "answered" and took is not None:
                before, number = counts["latency_ms"], counts["answered"]
                counts["latency_ms"] = took if before is None else before + (took - before) / number

    def wait(self, timeout_s: float) -> bool:
        """Wait until none is running; whether that came in time."""
        with self._idle:
            return self._idle.wait_for(lambda: not any(self._running.values()), timeout_s)

    def report(self) -> dict[str, Any]:
        """Rule name → target → counts, cost (USD) and mean latency (ms) of its answers."""
        with self._lock:
            return {rule: {name: dict(counts) for name, counts in of.items()} for rule, of in self._counts.items()}
