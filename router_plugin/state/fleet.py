"""What has been seen of each deployment (latency, failures, cooldowns), and the money ledger beside it.

One ``Fleet`` a router; the plan knows it as ``CallState``.

Reads are lock-free: deciding gets a ``Snapshot`` whose cooldown map is replaced, never edited. Writes take one short
lock. Latencies are time-decayed means; whole answers and streams are kept apart; the first call of a process in either
mode (it carries litellm's lazy imports) is not learned.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..clock import Clock
from ..fork import renew_in_child
from ..snapshot import Snapshot
from ..spec.budget import Budget
from .ledger import Ledger

log = logging.getLogger("router_plugin")

# Time constant of the means: half of what is known is forgotten after 3 minutes (Finagle's peak-EWMA uses seconds to
# minutes; model endpoints drift slower than microservices).
HALF_LIFE_S = 180.0
# Rests, seconds. A credential or a quota does not mend itself in a minute; an outage usually ends or is noticed sooner.
BASE_REST_S = 5.0
LONGEST_REST_S = 300.0
CREDENTIAL_REST_S = 300.0
RATE_LIMIT_REST_S = 5.0
FAILURES_TO_REST = 5


@dataclass(slots=True)
class Seen:
    """One deployment's figures. Means are seconds with their decayed weight; ``cost_nano`` and counts are totals."""

    attempts: int = 0
    successes: int = 0
    failures: int = 0
    in_flight: int = 0
    consecutive: int = 0
    rests: int = 0
    cost_nano: int = 0
    last_error: str = ""
    ttft_s: float = math.nan
    itl_s: float = math.nan
    whole_s: float = math.nan
    weight: float = 0.0
    updated: float = 0.0


class Fleet:
    """The live state of one router's deployments."""

    def __init__(self, clock: Clock, budgets: Sequence[Budget] = ()) -> None:
        self._clock = clock
        self.ledger = Ledger(budgets, clock)
        self.reserve = self.ledger.reserve
        self._warned: set[tuple[str, str]] = set()
        self._lock = threading.RLock()
        self._seen: dict[str, Seen] = {}
        self._cooling: dict[str, tuple[float, str]] = {}
        self._ttft: dict[str, float] = {}
        self._itl: dict[str, float] = {}
        self._ratio: dict[str, float] = {}
        self.epoch = 0
        self._cold = {True, False}  # modes (streamed or not) whose first call in this process is still to come
        renew_in_child(self)

    def snapshot(self) -> Snapshot:
        return Snapshot(self._clock.monotonic(), self._cooling, self._ttft, self._itl, self._ratio)

    def started(self, name: str) -> None:
        with self._lock:
            seen = self._seen[name] if name in self._seen else self._of(name)
            seen.attempts += 1
            seen.in_flight += 1

    def succeeded(
        self, name: str, latency_s: float, ttft_s: float | None, output_tokens: int, stream: bool, nano: int
    ) -> None:
        now = self._clock.monotonic()
        with self._lock:
            seen = self._seen[name] if name in self._seen else self._of(name)
            seen.in_flight -= 1
            seen.cost_nano += nano
            seen.successes += 1
            seen.consecutive = seen.rests = 0
            if name in self._cooling:
                self._cooling = {k: v for k, v in self._cooling.items() if k != name}
            if stream in self._cold:
                self._cold.discard(stream)
                return
            self._learn(name, seen, now, latency_s, ttft_s, output_tokens, stream)

    def counted(self, name: str, estimated: int, real: int) -> None:
        """Learn how many input tokens a deployment counts for what we estimate (its tokeniser, its chat template).

        Only texts long enough to tell, and only within reason: cached or filtered prompts must not run away with it.
        """
        ratio = min(max(real / estimated, 0.25), 4.0)
        before = self._ratio[name] if name in self._ratio else 1.0
        self._ratio[name] = before + 0.1 * (ratio - before)

    def _learn(
        self, name: str, seen: Seen, now: float, latency_s: float, ttft_s: float | None, tokens: int, stream: bool
    ) -> None:
        decay = 0.5 ** ((now - seen.updated) / HALF_LIFE_S) if seen.weight else 0.0
        # A floor of one tenth keeps the mean moving under heavy traffic.
        seen.weight = min(seen.weight * decay, 9.0) + 1.0
        share, seen.updated = 1.0 / seen.weight, now
        if not stream or ttft_s is None:
            seen.whole_s = _blend(seen.whole_s, latency_s, share)
            return
        seen.ttft_s = _blend(seen.ttft_s, ttft_s, share)
        self._ttft[name] = seen.ttft_s * 1e3
        if tokens > 1:
            seen.itl_s = _blend(seen.itl_s, max(0.0, latency_s - ttft_s) / (tokens - 1), share)
            self._itl[name] = seen.itl_s * 1e3

    def failed(self, name: str, kind: str, latency_s: float, retry_after_s: float | None, nano: int) -> None:
        now = self._clock.monotonic()
        with self._lock:
            seen = self._of(name)
            seen.in_flight -= 1
            seen.cost_nano += nano
            seen.failures += 1
            seen.last_error = kind
            rest = self._rest(seen, kind, retry_after_s)
            if rest > 0 and self._cooling.get(name, (0.0, ""))[0] < now + rest:
                self._cooling = {k: v for k, v in self._cooling.items() if v[0] > now}
                self._cooling[name] = (now + rest, kind)

    @staticmethod
    def _rest(seen: Seen, kind: str, retry_after_s: float | None) -> float:
        """How long a deployment rests after a failure of this kind; 0 for none. 429 is capacity, not health."""
        if kind in ("credential", "not_found", "quota"):
            return CREDENTIAL_REST_S
        if kind in ("rate_limit", "overloaded"):
            wished = RATE_LIMIT_REST_S if retry_after_s is None else retry_after_s
            return min(max(wished, 0.05), LONGEST_REST_S)
        if kind in ("server", "timeout", "connection", "bad_answer"):
            seen.consecutive += 1
            if seen.consecutive >= FAILURES_TO_REST:
                seen.consecutive = 0
                seen.rests += 1
                return min(BASE_REST_S * seen.rests, LONGEST_REST_S)
        return 0.0

    def abandoned(self, name: str, nano: int) -> None:
        """A call that was cancelled says nothing about the deployment."""
        with self._lock:
            seen = self._of(name)
            seen.in_flight -= 1
            seen.cost_nano += nano

    def usual_s(self, name: str) -> float:
        """What an answer of this deployment usually takes, seconds; 0 where nothing is known."""
        seen = self._seen[name] if name in self._seen else None
        return seen.whole_s if seen is not None and seen.whole_s == seen.whole_s else 0.0

    def soonest(self, names: list[str]) -> float | None:
        """Seconds until the first of the named cooling deployments is back; None where none cools."""
        now = self._clock.monotonic()
        times = [self._cooling[name][0] - now for name in names if name in self._cooling]
        return max(0.0, min(times)) if times else None

    def warn_once(self, name: str, message: str) -> None:
        """Log a failure that will not mend itself, once for each deployment and message."""
        if (name, message) not in self._warned:
            self._warned.add((name, message))
            log.warning("deployment %r rests for %.0f s: %s", name, CREDENTIAL_REST_S, message)

    def report(self, names: Mapping[str, str]) -> dict[str, Any]:
        """Deployment name → its record, for every name in ``names`` (name → model)."""
        now = self._clock.monotonic()
        with self._lock:
            return {name: self._record(name, model, now) for name, model in names.items()}

    def _record(self, name: str, model: str, now: float) -> dict[str, Any]:
        seen = self._seen.get(name, Seen())
        until, why = self._cooling.get(name, (0.0, ""))
        return {
            "model": model,
            "attempts": seen.attempts,
            "successes": seen.successes,
            "failures": seen.failures,
            "in_flight": seen.in_flight,
            "cost_usd": seen.cost_nano / 1e9,
            "ttft_ms": _ms(seen.ttft_s),
            "itl_ms": _ms(seen.itl_s),
            "latency_ms": _ms(seen.whole_s),
            "state": "cooling" if until > now else "ok",
            "cooling_s": round(until - now, 3) if until > now else None,
            "reason": why if until > now else None,
            "last_error": seen.last_error or None,
        }

    def _of(self, name: str) -> Seen:
        seen = self._seen.get(name)
        if seen is None:
            seen = self._seen[name] = Seen()
        return seen

    def after_fork(self) -> None:
        """In a forked child: a fresh lock, nothing in flight, nothing cooling (the child has seen no failure)."""
        self._lock = threading.RLock()
        self.epoch += 1
        self.ledger.after_fork()
        self._cooling = {}
        for seen in self._seen.values():
            seen.in_flight = 0


def _blend(mean: float, sample: float, share: float) -> float:
    return sample if mean != mean else mean + share * (sample - mean)


def _ms(seconds: float) -> float | None:
    return None if seconds != seconds else round(seconds * 1e3, 3)
