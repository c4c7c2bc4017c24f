"""What has been seen of each deployment: latency, health, headroom, sessions; and the books of its money.

One ``Fleet`` a router; the plan knows it as ``CallState``. Reads for deciding are lock-free: a ``Snapshot`` gets maps
that are replaced, never edited where their keys change. Writes take one short lock; nothing but arithmetic happens
under it. The first call of a process in either mode (it carries litellm's lazy imports) is marked and not learned.

latency.py says how long things take, health.py who is well, headroom.py what rate limits leave, sessions.py where a
conversation is, retry_budget.py how many retries there may be.
"""

from __future__ import annotations

import logging
import math
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..clock import Clock
from ..fork import renew_in_child
from ..records import Blocked, Candidate, Failed, RateWindow, Ticket
from ..snapshot import NO_WAITS, Snapshot
from .headroom import Headroom
from .health import Health
from .latency import Latency
from .ledger import Books
from .retry_budget import RetryBudget
from .sessions import Sessions

log = logging.getLogger("router_plugin")

# Rests, seconds. A credential or a quota does not mend itself in a minute; a limit without a time usually passes soon.
CREDENTIAL_REST_S = 300.0
RATE_LIMIT_REST_S = 5.0
LONGEST_REST_S = 300.0
_NOTHING_KNOWN = (0.0, 0.0)
_PROBING = (math.inf, "one probe is on its way")
_REFRESH_S = 0.25
_SEVERAL = 3
_SOON_S = 0.5  # when to come back while a probe is out
_UNWELL = ("server", "timeout", "connection", "bad_answer", "empty_answer", "overloaded")
_CAPACITY = ("rate_limit", "overloaded")
_REST_LONG = ("credential", "not_found", "quota")
# An answer this many times slower than the deployment's own usual, and by at least so many seconds, is slow.
_SLOW_TIMES, _SLOW_S = 8.0, 4.0


@dataclass(slots=True)
class Seen:
    """One deployment's figures. Counts are totals, money nano-dollars."""

    headroom: Headroom
    latency: Latency = field(default_factory=Latency)
    health: Health = field(default_factory=Health)
    attempts: int = 0
    successes: int = 0
    failures: int = 0
    in_flight: int = 0
    cold_calls: int = 0
    cost_nano: int = 0
    last_error: str = ""
    first_ms: float = math.nan  # to the first token and between tokens, load aside
    gap_ms: float = math.nan
    weight: float = 0.01  # what one in flight weighs there
    waiting: dict[Ticket, None] = field(default_factory=dict)  # attempts that nothing has come of yet, oldest first
    silent: int = 0  # attempts in a row that were given up late, with nothing come back
    heard_of: float = -math.inf  # when the latest attempt was made of which something came
    known_until: float = 0.0  # the end of a rest that the provider itself asked for
    guessed: bool = False  # whether the present rest is a guess of ours, which yields when nothing else is left


class Fleet:
    """The live state of one router's deployments."""

    def __init__(self, clock: Clock, seed: int | None = None) -> None:
        self._clock = clock
        self.books = Books()  # of the ledgers of every version
        self.sessions = Sessions(clock.monotonic)
        self._retries = RetryBudget()
        self.deposit = self._retries.deposit  # for every call that is made
        self._random, self._seeded = random.Random(seed), seed is not None
        self._jitter = self._random.random
        self._warned: set[tuple[str, str]] = set()
        self._lock = threading.RLock()
        self._seen: dict[str, Seen] = {}
        self._limits: dict[str, tuple[int | None, int | None]] = {}
        self._limited: set[str] = set()
        self._credentials: dict[str, tuple[str, ...]] = {}
        self._same_model: dict[str, tuple[str, ...]] = {}
        self._cooling: dict[str, tuple[float, str]] = {}
        self._ttft: dict[str, float] = {}
        self._itl: dict[str, float] = {}
        self._ratio: dict[str, float] = {}
        self._load: dict[str, float] = {}
        self.epoch = 0
        self._refresh_at = -math.inf
        self._cold = {True, False}  # modes (streamed or not) whose first call in this process is still to come
        renew_in_child(self)

    def meet(self, candidates: Sequence[Candidate]) -> None:
        """Learn the limits and credentials that the deployments of a version declare."""
        shared: dict[Any, list[str]] = {}
        models: dict[str, list[str]] = {}
        with self._lock:
            for candidate in candidates:
                deployment, name = candidate.deployment, candidate.name
                models.setdefault(deployment.model, []).append(name)
                self._limits[name] = (deployment.rpm, deployment.tpm)
                if deployment.rpm is not None or deployment.tpm is not None:
                    self._limited.add(name)
                if name in self._seen:
                    self._seen[name].headroom.rpm, self._seen[name].headroom.tpm = deployment.rpm, deployment.tpm
                if deployment.api_key is not None:
                    key = (candidate.provider, deployment.api_base, deployment.api_key.get_secret_value())
                    shared.setdefault(key, []).append(name)
            self._same_model |= {name: tuple(names) for names in models.values() for name in names}
            self._credentials |= {name: tuple(names) for names in shared.values() for name in names}

    # -- deciding -----------------------------------------------------------------------------------------------

    def snapshot(self, tokens: int = 0) -> Snapshot:
        """The state as a decision sees it; ``tokens`` are the input tokens of the request (for token limits)."""
        now = self._clock.monotonic()
        if now >= self._refresh_at:
            self._refresh(now)
        waits = self._waits(now, tokens) if self._limited else NO_WAITS
        return Snapshot(now, self._cooling, self._ttft, self._itl, self._ratio, waits, self._load)

    def _refresh(self, now: float) -> None:
        """Once in a while: what time alone changes. Bad figures fade, and who has fallen silent is noticed."""
        with self._lock:
            self._refresh_at = now + _REFRESH_S
            for name, seen in self._seen.items():
                if seen.waiting:
                    self._look_for_silence(name, seen, now)
                elif seen.attempts:
                    self._feel(name, seen, now)

    def _look_for_silence(self, name: str, seen: Seen, now: float) -> None:
        """Of what was asked since the last one that was heard of, one has waited far longer than is usual there, or
        several longer than most: others are better off elsewhere until something comes back."""
        pending = [ticket for ticket in seen.waiting if ticket.since > seen.heard_of]
        if not pending:
            return
        most, late = seen.latency.late_s(pending[0].stream)
        if seen.health.open:
            probe = next((ticket for ticket in pending if ticket.probe), None)
            if seen.health.probing and probe is not None and 0.0 < late < now - probe.since:
                self._silent(name, seen, now)
            return
        several = sum(now - ticket.since > most for ticket in pending[:_SEVERAL]) == _SEVERAL
        if late > 0.0 and (several or now - pending[0].since > late):
            self._guess(name, now + 2 * _REFRESH_S, "nothing comes back")

    def _given_up(self, ticket: Ticket, seen: Seen, now: float, latency_s: float) -> None:
        """Nothing had come of it when it was timed out or cancelled. Several such in a row that were late, or a probe
        that was, and it is out."""
        most, _ = seen.latency.late_s(ticket.stream)
        seen.latency.cut(latency_s, ticket.stream, now)
        if 0.0 < most < latency_s and ticket.since > seen.heard_of:
            seen.silent += 1
            if ticket.probe or (seen.silent >= _SEVERAL and not seen.health.open):
                self._silent(ticket.name, seen, now)

    def _silent(self, name: str, seen: Seen, now: float) -> None:
        seen.silent = 0
        seen.health.silent(now, self._jitter)
        self._cool(name, seen.health.until, seen.health.why)

    def _waits(self, now: float, tokens: int) -> Mapping[str, float]:
        found: dict[str, float] = {}
        with self._lock:
            for name in self._limited:
                wait = (self._seen[name] if name in self._seen else self._of(name)).headroom.wait_s(now, tokens)
                if wait > 0.0:
                    found[name] = wait
        return found or NO_WAITS

    # -- attempts -----------------------------------------------------------------------------------------------

    def admit(self, name: str, tokens: int, tokens_in: int, stream: bool, panic: bool) -> Ticket | Blocked:
        """Count one more attempt in flight there, where health and limits let it go.

        Choice and count happen with no await between them. ``panic``: nothing else is left, guesses of ours yield.
        """
        now = self._clock.monotonic()
        with self._lock:
            seen = self._seen[name] if name in self._seen else self._of(name)
            if name in self._cooling:
                rest = self._rest_left(name, seen, now, panic)
                if rest is not None:
                    return rest
            # A probe, if it is one: nobody else is admitted while one is out, but where nothing else is left.
            probe = seen.health.probing and self._cooling.get(name, (0.0,))[0] != math.inf
            if name in self._limited and (wait := seen.headroom.wait_s(now, tokens, tokens_in, not panic)) > 0.0:
                if probe:
                    seen.health.give_back()
                return Blocked(wait, True)
            if probe:
                self._cool(name, *_PROBING)
            seen.attempts += 1
            seen.in_flight += 1
            counted = seen.headroom.sent(now, tokens, tokens_in)
            ticket = Ticket(name, tokens, now, seen.in_flight - 1, stream, tokens_in, probe, counted)
            seen.waiting[ticket] = None
            # As in _feel, with what was worked out when something came back last.
            self._load[name] = (seen.in_flight + 1) * seen.weight
            if seen.latency.congestion.slope and seen.first_ms == seen.first_ms:
                crowded = seen.latency.congestion.factor(seen.in_flight)
                self._ttft[name] = seen.first_ms * crowded
                if seen.gap_ms == seen.gap_ms:
                    self._itl[name] = seen.gap_ms * crowded
        return ticket

    def _rest_left(self, name: str, seen: Seen, now: float, panic: bool) -> Blocked | None:
        """How long a cooling deployment still rests; None where an attempt may go (it is then the one probe)."""
        if seen.known_until > now:
            return Blocked(seen.known_until - now, True)
        health = seen.health
        if health.open:
            if health.take_probe(now, panic):
                return None
            return Blocked(max(_SOON_S if health.probing else 0.001, health.wait_s(now, panic)), False)
        until, why = self._cooling[name]
        return Blocked(until - now, why in _CAPACITY) if until > now and not (panic and seen.guessed) else None

    def withdraw(self, ticket: Ticket) -> None:
        """An admitted attempt was not made after all."""
        with self._lock:
            seen = self._of(ticket.name)
            seen.attempts -= 1
            self._over(ticket, seen, None, False)
            self._unprobe(ticket, seen)

    @staticmethod
    def _over(ticket: Ticket, seen: Seen, used: float | None, served: bool) -> None:
        """What every end of an attempt has in common."""
        seen.in_flight -= 1
        if ticket in seen.waiting:
            del seen.waiting[ticket]
        seen.headroom.back(ticket.slot, ticket.tokens, used, served, ticket.tokens_in)

    def _unprobe(self, ticket: Ticket, seen: Seen) -> None:
        """Give a probe back that said nothing."""
        if ticket.probe and seen.health.probing:
            seen.health.give_back()
            self._cool(ticket.name, seen.health.until, seen.health.why)

    def began(self, ticket: Ticket) -> None:
        """The first content of a stream came: it is well, however the caller goes on with it."""
        now = self._clock.monotonic()
        with self._lock:
            seen = self._of(ticket.name)
            self._heard(ticket, seen)
            slow = self._is_slow(now - ticket.since, seen.latency.ttft.done)
            if seen.health.succeeded(now, slow):
                seen.latency.recovered()
                self._warm(ticket.name)
            elif slow and seen.health.too_slow(now, self._jitter):
                self._cool(ticket.name, seen.health.until, "slow")

    @staticmethod
    def _is_slow(took_s: float, usual_s: float) -> bool:
        """False while nothing is known (NaN)."""
        return took_s > _SLOW_TIMES * usual_s and took_s - usual_s > _SLOW_S

    @staticmethod
    def _heard(ticket: Ticket, seen: Seen) -> None:
        seen.heard_of, seen.silent = max(seen.heard_of, ticket.since), 0
        if ticket in seen.waiting:
            del seen.waiting[ticket]

    def succeeded(
        self, ticket: Ticket, latency_s: float, ttft_s: float | None, output_tokens: int, nano: int, used: int
    ) -> None:
        name, stream, now = ticket.name, ticket.stream, self._clock.monotonic()
        with self._lock:
            seen = self._seen[name] if name in self._seen else self._of(name)
            seen.cost_nano += nano
            seen.successes += 1
            seen.silent = 0
            if ticket.since > seen.heard_of:
                seen.heard_of = ticket.since
            self._over(ticket, seen, used, True)
            cold = stream in self._cold
            usual = seen.latency.ttft.done if stream else seen.latency.whole.done
            took = ttft_s if stream and ttft_s is not None else latency_s
            slow = not cold and took > _SLOW_TIMES * usual and took - usual > _SLOW_S  # as in _is_slow
            if not stream and seen.health.succeeded(now, slow):  # a stream has been counted since it began
                seen.latency.recovered()
            if name in self._cooling and not seen.health.open:
                seen.known_until = 0.0
                self._warm(name)
            if slow and not stream and seen.health.too_slow(now, self._jitter):
                self._cool(name, seen.health.until, "slow")
            if cold:
                self._cold.discard(stream)
                seen.cold_calls += 1
            elif stream and ttft_s is not None:
                seen.latency.streamed(ttft_s, latency_s, output_tokens, now, ticket.beside)
            else:
                seen.latency.answered(latency_s, output_tokens, now, ticket.beside)
            self._feel(name, seen, now)

    def _feel(self, name: str, seen: Seen, now: float) -> None:
        """Publish what decisions read: the times to be expected with what is in flight now, and what its load weighs
        when one of several equals is picked, (in flight + 1) × peak latency."""
        latency = seen.latency
        first, gap = latency.expected(now)
        seen.first_ms, seen.gap_ms = first * 1e3, gap * 1e3
        crowded = latency.congestion.factor(seen.in_flight) if latency.congestion.slope else 1.0
        if first == first:
            self._ttft[name] = seen.first_ms * crowded
        if gap == gap:
            self._itl[name] = seen.gap_ms * crowded
        peak = latency.peak_now(now)
        seen.weight = (peak if peak > 0.01 else 0.01) * (seen.health.burden(now) if seen.health.ejections else 1.0)
        self._load[name] = (seen.in_flight + 1) * seen.weight

    def counted(self, name: str, estimated: int, real: int) -> None:
        """Learn how many input tokens a model counts for what we estimate (its tokeniser, its chat template).

        Only texts long enough to tell, and only within reason: cached or filtered prompts must not run away with it.
        """
        ratio = min(max(real / estimated, 0.25), 4.0)
        before = self._ratio[name] if name in self._ratio else 1.0
        learnt = before + 0.1 * (ratio - before)
        for same in self._same_model[name] if name in self._same_model else (name,):
            self._ratio[same] = learnt

    def told(self, name: str, windows: Sequence[RateWindow]) -> None:
        """Rate limits that an answer's headers told of."""
        now = self._clock.monotonic()
        with self._lock:
            self._of(name).headroom.told(windows, now)
            self._limited.add(name)

    def failed(self, ticket: Ticket, failure: Failed, latency_s: float, nano: int) -> None:
        name, now, kind = ticket.name, self._clock.monotonic(), failure.kind
        with self._lock:
            seen = self._of(name)
            seen.cost_nano += nano
            seen.failures += 1
            seen.last_error = kind
            if kind == "timeout" and ticket in seen.waiting and not seen.health.open:
                self._given_up(ticket, seen, now, latency_s)
            elif kind == "timeout":
                seen.latency.cut(latency_s, ticket.stream, now)
            else:
                self._heard(ticket, seen)
            self._over(ticket, seen, None, kind not in ("rate_limit", "credential", "connection"))
            if failure.limits:
                seen.headroom.told(failure.limits, now)
                self._limited.add(name)
            if kind in _UNWELL:
                if seen.health.failed(now, kind, self._jitter, now - latency_s) or seen.health.open:
                    self._cool(name, seen.health.until, seen.health.why)
                if kind == "overloaded" and (failure.retry_after_s is not None or not seen.health.open):
                    self._limit(name, seen, now, kind, failure.retry_after_s)
            elif kind in _REST_LONG:
                for other in self._credentials.get(name, (name,)) if kind == "credential" else (name,):
                    self._guess(other, now + CREDENTIAL_REST_S, kind)
            elif kind == "rate_limit":
                self._unprobe(ticket, seen)
                self._limit(name, seen, now, kind, failure.retry_after_s)
            else:
                self._unprobe(ticket, seen)
            self._feel(name, seen, now)

    def _limit(self, name: str, seen: Seen, now: float, kind: str, retry_after_s: float | None) -> None:
        if kind == "rate_limit":
            seen.headroom.surprised(now)
            self._limited.add(name)
        if retry_after_s is None:
            self._guess(name, now + RATE_LIMIT_REST_S, kind)
            return
        rest = min(max(retry_after_s, 0.05), LONGEST_REST_S)
        # A wish beyond two minutes is a quota: it rests, but is tried when nothing else is left.
        seen.known_until = max(seen.known_until, now + rest) if retry_after_s <= 120.0 else seen.known_until
        self._guess(name, now + rest, kind)

    def _guess(self, name: str, until: float, why: str) -> None:
        """A rest of our own choosing: it yields when nothing else is left."""
        self._of(name).guessed = True
        if self._cooling.get(name, (0.0, ""))[0] < until:
            self._cool(name, until, why)

    def _cool(self, name: str, until: float, why: str) -> None:
        now = self._clock.monotonic()
        cooling = {k: v for k, v in self._cooling.items() if v[0] > now or self._seen[k].health.open}
        cooling[name] = (until, why)
        self._cooling = cooling

    def _warm(self, name: str) -> None:
        self._cooling = {k: v for k, v in self._cooling.items() if k != name}

    def abandoned(self, ticket: Ticket, nano: int, latency_s: float) -> None:
        """A call that was cancelled says nothing of the deployment's health; where nothing had come yet, it took at
        least this long (0: it was not even sent)."""
        now = self._clock.monotonic()
        with self._lock:
            seen = self._of(ticket.name)
            seen.cost_nano += nano
            if ticket in seen.waiting and latency_s > 0.0:
                self._given_up(ticket, seen, now, latency_s)
            self._over(ticket, seen, None, True)
            self._unprobe(ticket, seen)
            self._feel(ticket.name, seen, now)

    # -- time and tries -----------------------------------------------------------------------------------------

    def usual_s(self, name: str, stream: bool) -> tuple[float, float]:
        """What an answer of this deployment usually takes, seconds: until something comes back (of a stream: its first
        token), and to its end. 0 where nothing is known."""
        return self._seen[name].latency.usual_s(stream) if name in self._seen else _NOTHING_KNOWN

    def quantile_s(self, name: str, share: float, stream: bool) -> float:
        """The time within which this share of its answers (first tokens) comes, seconds; NaN: nothing is known."""
        return self._seen[name].latency.quantile_s(share, stream) if name in self._seen else math.nan

    def session(self, key: str) -> tuple[str, int] | None:
        """The deployment that a conversation is on, and the input tokens that its cache may hold."""
        with self._lock:  # looking forgets what is too old
            return self.sessions.find(key)

    def keep_session(self, key: str, name: str, tokens: int) -> None:
        """A conversation was answered there, with so many input tokens (which a prompt cache may hold now)."""
        with self._lock:
            self.sessions.keep(key, name, tokens)

    def may_retry(self, kind: str) -> bool:
        """Whether the retry budget has one more of this kind ("throttled", "fault", "hedge")."""
        now = self._clock.monotonic()
        with self._lock:
            return self._retries.take(kind, now)

    def warn_once(self, name: str, message: str) -> None:
        """Log a failure that will not mend itself, once for each deployment and message."""
        if (name, message) not in self._warned:
            self._warned.add((name, message))
            log.warning("deployment %r rests for %.0f s: %s", name, CREDENTIAL_REST_S, message)

    # -- looking ------------------------------------------------------------------------------------------------

    def report(self, names: Mapping[str, str]) -> dict[str, Any]:
        """Deployment name → its record, for every name in ``names`` (name → model)."""
        now = self._clock.monotonic()
        with self._lock:
            return {name: self._record(name, model, now) for name, model in names.items()}

    def _record(self, name: str, model: str, now: float) -> dict[str, Any]:
        seen = self._seen.get(name) or Seen(Headroom(*self._limits.get(name, (None, None))))
        until, why = self._cooling.get(name, (0.0, ""))
        state, latency = seen.health.state(now), seen.latency
        if state == "ok" and until > now:
            state = "cooling"
        left = seen.headroom.left(now)
        return {
            "model": model,
            "attempts": seen.attempts,
            "successes": seen.successes,
            "failures": seen.failures,
            "in_flight": seen.in_flight,
            "cold_calls": seen.cold_calls,
            "cost_usd": seen.cost_nano / 1e9,
            "ttft_ms": _ms(latency.first_s()),
            "ttft_p95_ms": _ms(latency.ttft.quantile(0.95)),
            "itl_ms": _ms(latency.gap_s()),
            "latency_ms": _ms(latency.whole.mean),
            "latency_p95_ms": _ms(latency.whole.quantile(0.95)),
            "age_s": _age(now, latency),
            "requests_left": left["requests"],
            "tokens_left": left["tokens"],
            "state": state,
            "cooling_s": round(until - now, 3) if now < until < math.inf else None,
            "reason": why if until > now else None,
            "ejections": seen.health.ejections,
            "last_error": seen.last_error or None,
        }

    def _of(self, name: str) -> Seen:
        seen = self._seen.get(name)
        if seen is None:
            seen = self._seen[name] = Seen(Headroom(*self._limits.get(name, (None, None))))
        return seen

    def after_fork(self) -> None:
        """In a forked child: a fresh lock, nothing in flight, nothing cooling (the child has seen no failure)."""
        self._lock = threading.RLock()
        if not self._seeded:
            self._random.seed()
        self.epoch += 1
        self.books.after_fork()
        self._cooling = {}
        for seen in self._seen.values():
            seen.in_flight, seen.health, seen.known_until, seen.waiting = 0, Health(), 0.0, {}
            room = seen.headroom
            room.in_flight, room.tokens_in_flight, room.input_in_flight = 0, 0.0, 0.0


def _ms(seconds: float) -> float | None:
    return None if seconds != seconds else round(seconds * 1e3, 3)


def _age(now: float, latency: Latency) -> float | None:
    """Seconds since the last sample of any kind."""
    at = max((one.updated for one in (latency.ttft, latency.whole) if one.total > 0.0), default=None)
    return None if at is None else round(now - at, 3)
