"""Who is well: ejection, a growing rest, one probe, a slow start.

Rule: a deployment is ejected by 5 failures in a row, by an error rate of half or more among at least 5 decayed samples,
by calls that are far slower than its own usual (each three quarters of a failure), or by falling silent; a provider
that says it is overloaded is ejected by the second such answer in a row. It rests 5 s × the times it was ejected lately
(±20 %, at most 300 s), then is half open: one probe at a time may go there. A probe that succeeds closes it; one that
fails or is slow again prolongs the rest, by 5 s a probe as far as 10 s or a fiftieth of the time that it has been out
(at most 300 s), so that it is back in use soon after it mends; one that is cancelled is given back. Where nothing else
is left a resting deployment is tried all the same, until three in a row, over a second, have failed there; then once a
second. For 10 s after closing its load counts for more, so that traffic comes back slowly. The count of ejections is
forgotten one for each minute in health. 429 is capacity, not health: it never counts here.

Source: Envoy's outlier detection and panic threshold, Finagle's failure accrual and half-open probes, Hystrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable

FAILURES_IN_A_ROW = 5
ERROR_RATE = 0.5
LEAST_SAMPLES = 4.5  # five, a little decayed
OVERLOADS_IN_A_ROW = 2
BASE_REST_S, LONGEST_REST_S = 5.0, 300.0
PROBE_EVERY_S, PROBE_SHARE = 10.0, 0.02  # how long the rests of one outage grow: to the longer of the two
SLOW_START_S = 10.0
FORGET_S = 60.0  # one ejection is forgotten for each such time in health
WINDOW_S = 30.0  # half-life of the error rate
PANIC_PROBE_S = 1.0  # where nothing else is left: how often a resting deployment is tried
LOST_TO_FAIL_FAST = 3  # so many attempts in a row have to fail before it is tried once an interval only
_SLOW_COUNTS = 0.75


class Health:
    """One deployment's state. ``until`` is when its rest ends, ``probing`` whether its one probe is out."""

    __slots__ = (
        "closed_at",
        "ejected_at",
        "ejections",
        "errors",
        "failing_since",
        "in_a_row",
        "lost",
        "open",
        "panicked_at",
        "probes",
        "probing",
        "samples",
        "until",
        "updated",
        "why",
    )

    def __init__(self) -> None:
        self.in_a_row = 0
        self.samples = self.errors = self.updated = 0.0
        self.ejections = self.lost = self.probes = 0
        self.ejected_at = 0.0
        self.open, self.probing = False, False
        self.until = 0.0
        self.failing_since = math.inf  # since when nothing has succeeded
        self.closed_at = -1e9
        self.panicked_at = -1e9
        self.why = ""

    def succeeded(self, now: float, slow: bool = False) -> bool:
        """An answer came. True where that closed it (it had been ejected); one that is slow does not."""
        self.in_a_row = 0
        self._sample(now, _SLOW_COUNTS if slow else 0.0)
        if self.open and slow:
            return False
        self.failing_since = math.inf
        if self.open:
            self.open = self.probing = False
            self.lost = 0
            self.closed_at = now
            self.samples = self.errors = 0.0
            return True
        if self.ejections and now - self.closed_at >= FORGET_S:
            self.ejections, self.closed_at = self.ejections - 1, now
        return False

    def failed(self, now: float, why: str, jitter: Callable[[], float], started: float) -> bool:
        """A failure of an attempt that began at ``started``, one that tells of the deployment. True: ejected by it."""
        self.in_a_row += 1
        self.failing_since = min(self.failing_since, now)
        self._sample(now, 1.0)
        if self.open:
            if started < self.ejected_at:
                return False  # an attempt from before the ejection
            self.lost += 1
            return (self.probing or now >= self.until) and self._rest(now, why, jitter)
        self.lost = 0
        most = OVERLOADS_IN_A_ROW if why == "overloaded" else FAILURES_IN_A_ROW
        return (self.in_a_row >= most or self.rate_is_high()) and self._rest(now, why, jitter)

    def silent(self, now: float, jitter: Callable[[], float]) -> None:
        """Nothing comes back: it is ejected, or its probe is lost."""
        self.failing_since = min(self.failing_since, now)
        self._rest(now, "silent", jitter)

    def rate_is_high(self) -> bool:
        return self.samples >= LEAST_SAMPLES and self.errors >= ERROR_RATE * self.samples

    def too_slow(self, now: float, jitter: Callable[[], float]) -> bool:
        """Whether slow answers have ejected it (they alone make up the error rate), or its probe was slow again."""
        return (self.probing if self.open else self.rate_is_high()) and self._rest(now, "slow", jitter)

    def _sample(self, now: float, error: float) -> None:
        decay = 0.5 ** ((now - self.updated) / WINDOW_S)
        self.samples, self.errors, self.updated = self.samples * decay + 1.0, self.errors * decay + error, now

    def _rest(self, now: float, why: str, jitter: Callable[[], float]) -> bool:
        """Ejected; or, where it is already, one more probe has failed."""
        if not self.open:
            self.ejections, self.probes = self.ejections + 1, 0
            rest = BASE_REST_S * self.ejections
        else:
            self.probes += 1
            longest = max(PROBE_EVERY_S, PROBE_SHARE * (now - self.failing_since), BASE_REST_S * self.ejections)
            rest = min(BASE_REST_S * (self.ejections + self.probes), longest)
        self.open, self.probing, self.why = True, False, why
        self.ejected_at = now
        self.until = now + min(min(rest, LONGEST_REST_S) * (0.8 + 0.4 * jitter()), LONGEST_REST_S)
        self.in_a_row = 0
        return True

    def take_probe(self, now: float, panic: bool) -> bool:
        """Whether one more attempt may go there now. Nothing else being left (``panic``), a resting deployment is
        tried once an interval."""
        if not self.open:
            return True
        if self.probing:
            return False
        if now < self.until:
            if not panic:
                return False
            if not self._is_dead(now):
                return True  # it may be the requests that are bad, or some of its machines
            if now - self.panicked_at < PANIC_PROBE_S:
                return False
            self.panicked_at = now
        self.probing = True
        return True

    def _is_dead(self, now: float) -> bool:
        """Whether nothing at all comes back from there: several attempts, over a second."""
        return self.lost >= LOST_TO_FAIL_FAST and now - self.failing_since >= PANIC_PROBE_S

    def give_back(self) -> None:
        """The probe was cancelled: it says nothing, and the next one may go."""
        self.probing = False
        self.panicked_at = -1e9

    def wait_s(self, now: float, panic: bool = False) -> float:
        """Seconds until an attempt may go there; 0 where one may now."""
        if not self.open:
            return 0.0
        if panic and not self._is_dead(now):
            return 0.0
        if panic:
            return max(0.0, min(self.until, self.panicked_at + PANIC_PROBE_S) - now)
        return max(0.0, self.until - now)

    def burden(self, now: float) -> float:
        """What its load counts for: 1, and more in the first seconds after it came back (slow start)."""
        since = now - self.closed_at
        return 1.0 if since >= SLOW_START_S or not self.ejections else SLOW_START_S / max(since, 0.5)

    def state(self, now: float) -> str:
        """ "ok", "cooling" (resting), "half_open" or "slow_start"."""
        if self.open:
            return "cooling" if now < self.until else "half_open"
        return "slow_start" if self.ejections and now - self.closed_at < SLOW_START_S else "ok"
