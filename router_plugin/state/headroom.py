"""How much a provider's rate limits leave, so that a 429 is stopped before it happens.

Rule: a request may go where, in every window that is known, what is left now minus what is in flight covers it. Three
sources, each more than the next: what the last answer's headers said (remaining, refilled since then at the rate the
provider showed), the deployment's own ``rpm`` and ``tpm`` (a sliding minute, which holds for fixed windows and for
token buckets alike), and, where there is neither, the number of requests in the minute that ended in a 429.
A 429 that came all the same shrinks what is believed to be left; it recovers slowly.

Theory: token bucket with delayed feedback; additive increase, multiplicative decrease. Defaults: a surprise takes 30 %
off, each answer gives 1 % back and each minute 10 %; a learnt limit grows 5 % a minute, and half as fast each time that
a 429 says the same again (as CUBIC does near the window of its last loss).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from ..records import RateWindow

MINUTE_S = 60.0
_SHRINK, _LEAST, _RECOVER = 0.7, 0.2, 0.01
_RECOVER_A_MINUTE = 0.1
_GROWTH_A_MINUTE, _LEAST_GROWTH = 0.05, 0.002
_SAME_AGAIN = 0.2  # a limit that is within so much of the last one is the same
_LEAST_TO_LEARN = 5.0  # requests in the minute of a 429: of fewer nobody knows what they say


class Sliding:
    """Requests and tokens of the last minute, by the second."""

    __slots__ = ("requests", "slices", "tokens")

    def __init__(self) -> None:
        self.slices: deque[list[float]] = deque()  # [second, requests, tokens]
        self.requests = self.tokens = 0.0

    def add(self, now: float, tokens: float) -> list[float]:
        """Count one request; the slice that it is counted in."""
        second = now // 1.0
        if self.slices and self.slices[-1][0] >= second:
            last = self.slices[-1]
            last[1] += 1.0
            last[2] += tokens
        else:
            self.expire(now)
            last = [second, 1.0, tokens]
            self.slices.append(last)
        self.requests += 1.0
        self.tokens += tokens
        return last

    def correct(self, counted: list[float], requests: float, tokens: float) -> None:
        """What was counted there turned out to be more or less; where its minute is over, nothing changes."""
        if counted[0] > -math.inf:
            counted[1] += requests
            counted[2] += tokens
            self.requests += requests
            self.tokens += tokens

    def expire(self, now: float) -> None:
        horizon = now // 1.0 - MINUTE_S
        while self.slices and self.slices[0][0] < horizon:
            over = self.slices.popleft()
            self.requests -= over[1]
            self.tokens -= over[2]
            over[0] = -math.inf

    def wait_s(self, now: float, index: int, limit: float, need: float) -> float:
        """Seconds until ``need`` more fit under ``limit``; ``index`` 1 for requests, 2 for tokens."""
        excess = (self.requests if index == 1 else self.tokens) + need - limit
        if excess <= 0.0:
            return 0.0
        for one in self.slices:
            excess -= one[index]
            if excess <= 1e-9:
                return max(0.0, one[0] + 1.0 + MINUTE_S - now)
        return MINUTE_S


class Bucket:
    """One window as a provider's headers told of it, refilled since then."""

    __slots__ = ("at", "limit", "refill", "remaining", "reset_at")

    def __init__(self, window: RateWindow, now: float) -> None:
        self.at, self.remaining = now, float(window.remaining)
        self.limit = math.inf if window.limit is None else float(window.limit)
        reset = window.reset_s
        self.reset_at = now + reset if reset is not None else now + MINUTE_S
        missing = self.limit - self.remaining
        self.refill = missing / max(reset, 1e-3) if reset is not None and math.isfinite(missing) else 0.0

    def wait_s(self, now: float, need: float, in_flight: float, shrink: float) -> float:
        """Seconds until ``need`` is covered beside what is in flight."""
        if now >= self.reset_at:
            left = self.limit * shrink
        else:
            left = min(self.limit, self.remaining + self.refill * shrink * (now - self.at))
        short = min(need, self.limit) + in_flight - left
        if short <= 0.0:
            return 0.0
        if now >= self.reset_at:
            return 0.0 if in_flight <= 0.0 else 1.0  # it is full by now: what is in flight has to come back
        wait = self.reset_at - now
        return min(wait, short / (self.refill * shrink)) if self.refill > 0.0 else wait


class Headroom:
    """One deployment's limits. Money is not here: see the ledger."""

    __slots__ = (
        "_shrink",
        "buckets",
        "growth",
        "in_flight",
        "input_in_flight",
        "learnt",
        "learnt_at",
        "rpm",
        "surprised_at",
        "tokens_in_flight",
        "tpm",
        "used",
    )

    def __init__(self, rpm: int | None = None, tpm: int | None = None) -> None:
        self.rpm, self.tpm = rpm, tpm
        self.used = Sliding()
        self.buckets: dict[str, Bucket] = {}
        self.in_flight, self.tokens_in_flight, self.input_in_flight = 0, 0.0, 0.0
        self._shrink, self.surprised_at = 1.0, 0.0
        self.learnt: float | None = None  # requests a minute, where only 429s told of a limit
        self.learnt_at = 0.0
        self.growth = _GROWTH_A_MINUTE

    def shrink(self, now: float) -> float:
        """The share of what seems to be left that is believed: it comes back with answers, and with time."""
        if self._shrink >= 1.0:
            return 1.0
        return min(1.0, self._shrink + _RECOVER_A_MINUTE * (now - self.surprised_at) / MINUTE_S)

    def wait_s(self, now: float, tokens: float, tokens_in: float | None = None, guess: bool = True) -> float:
        """Seconds until a request of so many tokens (``tokens_in`` of them input) may go; 0: now. Without ``guess`` a
        limit that only 429s told of does not count."""
        wait, used, shrink = 0.0, self.used, self.shrink(now)
        if used.slices:
            used.expire(now)
        if self.rpm is not None:
            wait = used.wait_s(now, 1, max(1.0, self.rpm * shrink), 1.0)
        if self.tpm is not None:
            most = max(1.0, self.tpm * shrink)
            wait = max(wait, used.wait_s(now, 2, most, min(tokens, most)))
        if guess and self.learnt is not None and self.rpm is None and "requests" not in self.buckets:
            grown = self.learnt * (1.0 + self.growth) ** ((now - self.learnt_at) / MINUTE_S)
            wait = max(wait, used.wait_s(now, 1, max(1.0, grown), 1.0))
        for kind, bucket in self.buckets.items():
            need, out = self._needed(kind, tokens, tokens if tokens_in is None else tokens_in)
            wait = max(wait, bucket.wait_s(now, need, out, shrink))
        return wait

    def _needed(self, kind: str, tokens: float, tokens_in: float) -> tuple[float, float]:
        """(what one more takes of a window, what is in flight of it), by the kind of window."""
        if kind == "requests":
            return 1.0, float(self.in_flight)
        if kind == "input-tokens":
            return tokens_in, self.input_in_flight
        if kind == "output-tokens":
            return max(0.0, tokens - tokens_in), self.tokens_in_flight - self.input_in_flight
        return tokens, self.tokens_in_flight

    def sent(self, now: float, tokens: float, tokens_in: float = 0.0) -> list[float]:
        """One more is in flight; what ``back`` wants to see again."""
        self.in_flight += 1
        self.tokens_in_flight += tokens
        self.input_in_flight += tokens_in
        return self.used.add(now, tokens)

    def back(
        self, counted: list[float], reserved: float, used: float | None, served: bool = True, tokens_in: float = 0.0
    ) -> None:
        """An attempt is over. ``used``: the tokens it really had, None where they are not known."""
        self.in_flight -= 1
        self.tokens_in_flight -= reserved
        self.input_in_flight -= tokens_in
        if not served:
            self.used.correct(counted, -1.0, -reserved)
        elif used is not None:
            if used != reserved:
                self.used.correct(counted, 0.0, used - reserved)
            if self._shrink < 1.0:
                self._shrink = min(1.0, self._shrink + _RECOVER)

    def told(self, windows: Iterable[RateWindow], now: float) -> None:
        """What an answer's headers said."""
        for window in windows:
            self.buckets[window.kind] = Bucket(window, now)

    def surprised(self, now: float) -> None:
        """A 429 came although there seemed to be room."""
        if self.rpm is not None or self.tpm is not None or self.buckets:
            self._shrink, self.surprised_at = max(_LEAST, self.shrink(now) * _SHRINK), now
            return
        self.used.expire(now)
        if self.used.requests >= _LEAST_TO_LEARN:
            learnt = self.used.requests * 0.9
            if now - self.learnt_at > 1.0:  # not one of the same moment
                same = self.learnt is not None and abs(learnt - self.learnt) < _SAME_AGAIN * self.learnt
                self.growth = max(_LEAST_GROWTH, self.growth / 2) if same else _GROWTH_A_MINUTE
            self.learnt, self.learnt_at = learnt, now

    def left(self, now: float) -> dict[str, float | None]:
        """For people: requests and tokens left now, as far as known."""
        self.used.expire(now)
        requests = None if self.rpm is None else max(0.0, self.rpm - self.used.requests)
        tokens = None if self.tpm is None else max(0.0, self.tpm - self.used.tokens)
        for kind, bucket in self.buckets.items():
            if now >= bucket.reset_at:
                continue
            left = min(bucket.limit, bucket.remaining + bucket.refill * (now - bucket.at))
            if kind == "requests":
                requests = left if requests is None else min(requests, left)
            else:
                tokens = left if tokens is None else min(tokens, left)
        return {"requests": _round(requests), "tokens": _round(tokens)}


def _round(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else float(math.floor(value))
