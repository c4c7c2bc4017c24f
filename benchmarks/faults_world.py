"""A world of LLM providers in virtual time: latencies with heavy tails that grow with load, rate limits, and faults.

A ``World`` is made of ``Place``s (deployments) and of ``Fault``s with times, all drawn from a seed. ``answer`` is one
request to one place: it waits (in virtual time) for the first token, gives it, waits for the rest, or raises what
the provider would have answered. It counts what every place saw, so that a router can be judged by it.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Place:
    """One deployment: prices in USD per million tokens, latencies in seconds, ``slots`` the load at which it slows."""

    name: str
    provider: str
    input_price: float
    output_price: float
    ttft_s: float
    itl_s: float
    slots: int
    rpm: int
    sigma: float = 0.35


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with a place from ``start`` to ``end`` (virtual seconds from the beginning)."""

    place: str
    start: float
    end: float
    kind: str  # outage, brownout, hang, flaky, rate_cut
    strength: float = 1.0


@dataclass(frozen=True)
class Ask:
    """One request of the traffic."""

    at: float
    input_tokens: int
    output_tokens: int


class Refused(Exception):
    """What a place answers instead: an HTTP status, and the seconds of its Retry-After where it says so."""

    def __init__(self, status: int, retry_after_s: float | None = None) -> None:
        self.status, self.retry_after_s = status, retry_after_s
        super().__init__(f"HTTP {status}")


@dataclass
class Ledger:
    """What a place saw."""

    requests: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    dead: int = 0  # requests while it was out or hung
    cost: float = 0.0
    in_flight: int = 0
    minute: deque[float] = field(default_factory=deque)
    asked: list[float] = field(default_factory=list)  # when each request came
    served: list[float] = field(default_factory=list)  # when each request came that was answered


class World:
    """Places, faults and traffic of one seed. ``headers``: whether a 429 says when to come back."""

    def __init__(self, places: list[Place], faults: list[Fault], traffic: list[Ask], seed: int, headers: bool) -> None:
        self.places = {place.name: place for place in places}
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        for fault in faults:
            self.faults[fault.place].append(fault)
        self.traffic, self.headers = traffic, headers
        self.seed = seed
        self.seen = {name: Ledger() for name in self.places}
        self._draw = {name: random.Random(f"{seed}/{name}") for name in self.places}

    def now(self) -> float:
        return asyncio.get_running_loop().time() - self.began

    began = 0.0

    def fault(self, name: str, now: float, kind: str) -> Fault | None:
        return next((f for f in self.faults[name] if f.kind == kind and f.start <= now < f.end), None)

    def is_dead(self, name: str, now: float) -> bool:
        return self.fault(name, now, "outage") is not None or self.fault(name, now, "hang") is not None

    def deaths(self) -> list[tuple[str, int, float | None]]:
        """Of every outage and hang of a place that was in use before it: its kind, the requests sent there meanwhile,
        and the seconds from its end to the first request that was answered (None: nobody asked again in time)."""
        found: list[tuple[str, int, float | None]] = []
        for name, faults in self.faults.items():
            seen = self.seen[name]
            for fault in faults:
                used = any(fault.start - 30.0 <= at < fault.start for at in seen.asked)
                if fault.kind in ("outage", "hang") and used:
                    asked = sum(fault.start <= at < fault.end for at in seen.asked)
                    after = min((at for at in seen.served if at >= fault.end), default=None)
                    found.append((fault.kind, asked, None if after is None else after - fault.end))
        return found

    def limit(self, name: str, now: float) -> float:
        cut = self.fault(name, now, "rate_cut")
        return self.places[name].rpm * (cut.strength if cut else 1.0)

    def room(self, name: str, now: float) -> bool:
        minute = self.seen[name].minute
        while minute and minute[0] <= now - 60.0:
            minute.popleft()
        return len(minute) < self.limit(name, now)

    def cost(self, name: str, ask: Ask) -> float:
        place = self.places[name]
        return (ask.input_tokens * place.input_price + ask.output_tokens * place.output_price) / 1e6

    def slowness(self, name: str, now: float) -> float:
        """The factor on every latency: load beyond the slots, and brown-outs."""
        load = self.seen[name].in_flight / self.places[name].slots
        brown = self.fault(name, now, "brownout")
        return (1.0 + min(20.0, max(0.0, load - 0.5) ** 2)) * (brown.strength if brown else 1.0)

    async def answer(self, name: str, ask: Ask) -> AsyncIterator[float]:
        """Yields once at the first token; returns at the end. Raises ``Refused``, ``ConnectionError``."""
        now, seen, place, draw = self.now(), self.seen[name], self.places[name], self._draw[name]
        seen.requests += 1
        seen.asked.append(now)
        seen.dead += self.is_dead(name, now)
        if self.fault(name, now, "outage") is not None:
            await asyncio.sleep(0.02 + 0.05 * draw.random())
            seen.failed += 1
            raise ConnectionError("refused") if draw.random() < 0.3 else Refused(503)
        if self.fault(name, now, "hang") is not None:
            seen.in_flight += 1
            try:
                await asyncio.sleep(3_600)
            finally:
                seen.in_flight -= 1
            raise Refused(504)
        if not self.room(name, now):
            seen.refused += 1
            await asyncio.sleep(0.02)
            raise Refused(429, max(0.1, seen.minute[0] + 60.0 - now) if self.headers and seen.minute else None)
        seen.minute.append(now)
        flaky = self.fault(name, now, "flaky")
        if flaky is not None and draw.random() < flaky.strength:
            await asyncio.sleep(0.1 + 0.3 * draw.random())
            seen.failed += 1
            raise Refused(500)
        seen.in_flight += 1
        billed = ask.input_tokens * place.input_price / 1e6  # whoever goes away early pays for the input
        try:
            slow = self.slowness(name, now) * math.exp(draw.gauss(0.0, place.sigma))
            if draw.random() < 0.01:
                slow *= 5.0  # the heavy tail
            await asyncio.sleep(place.ttft_s * slow)
            yield self.now()
            await asyncio.sleep(place.itl_s * max(0, ask.output_tokens - 1) * slow)
            seen.answered += 1
            seen.served.append(now)
            billed = self.cost(name, ask)
        finally:
            seen.in_flight -= 1
            seen.cost += billed


PROVIDERS = ("north", "south", "east", "west")


def make(kind: str, seed: int, minutes: float, rate: float) -> World:
    """A world: "mixed" (8 places, every fault), "storm" (a whole provider goes), "tight" (rate limits that bite, no
    headers), "pair" (two places, one fails), "calm" (no faults)."""
    draw = random.Random(f"{kind}/{seed}")
    count = 2 if kind == "pair" else draw.randrange(6, 11)
    places = []
    for number in range(count):
        price = 10 ** draw.uniform(-0.7, 0.9)
        room = draw.uniform(0.35, 0.7) if kind == "tight" else draw.uniform(1.2, 3.0)
        rpm = int(60 * rate * room * (2 if kind == "pair" else 1))
        places.append(
            Place(
                f"p{number}",
                PROVIDERS[number % len(PROVIDERS)],
                price,
                4 * price,
                10 ** draw.uniform(-0.7, 0.1),
                10 ** draw.uniform(-2.3, -1.6),
                max(4, int(rate * draw.uniform(4.0, 8.0) * (8 if kind == "pair" else 1))),
                rpm,
            )
        )
    seconds = minutes * 60
    traffic = _traffic(draw, seconds, rate)
    return World(places, _faults(kind, draw, places, seconds), traffic, seed, headers=kind != "tight")


def _traffic(draw: random.Random, seconds: float, rate: float) -> list[Ask]:
    """Poisson arrivals; twice a burst of twice the rate for 20 s."""
    bursts = [draw.uniform(0.1, 0.8) * seconds for _ in range(2)]
    asks, at = [], 0.0
    while True:
        busy = any(start <= at < start + 20 for start in bursts)
        at += draw.expovariate(rate * (2 if busy else 1))
        if at >= seconds:
            return asks
        tokens_in, tokens_out = int(math.exp(draw.gauss(6.0, 0.8))) + 20, int(math.exp(draw.gauss(4.8, 0.6))) + 5
        asks.append(Ask(at, tokens_in, tokens_out))


def _faults(kind: str, draw: random.Random, places: list[Place], seconds: float) -> list[Fault]:
    if kind == "calm":
        return []
    if kind == "pair":
        start = seconds * 0.3
        return [Fault("p0", start, start + seconds * 0.2, draw.choice(["outage", "hang"]))]
    faults = []
    if kind == "storm":
        gone, start = draw.choice([place.provider for place in places]), seconds * 0.3
        faults += [Fault(p.name, start, start + seconds * 0.25, "outage") for p in places if p.provider == gone]
    for place in draw.sample(places, max(1, len(places) // 2)):
        what = draw.choice(["outage", "brownout", "hang", "flaky", "rate_cut"])
        start = draw.uniform(0.05, 0.7) * seconds
        strength = {"brownout": draw.uniform(4, 10), "flaky": draw.uniform(0.2, 0.6), "rate_cut": 0.2}.get(what, 1.0)
        faults.append(Fault(place.name, start, start + draw.uniform(0.1, 0.25) * seconds, what, strength))
    return faults
