"""How many retries and hedges a router may add to its callers' requests: they must never amplify an outage.

Rule: every call deposits 1, up to 500; a retry of the same deployment costs 5 after throttling and 14 otherwise, a
hedge 5. What one second of low traffic always allows is one retry. Going on to *another* deployment is free: it puts no
load on what failed, and attempts are capped for each call anyway.
Source: the AWS SDKs' retry token bucket (500 tokens, 5 and 14); the floor is Finagle's minimum retries a second.
"""

from __future__ import annotations

MOST = 500.0
_START = 100.0
COST = {"throttled": 5.0, "fault": 14.0, "hedge": 5.0}
_FLOOR_S = 1.0  # one retry a second is always allowed


class RetryBudget:
    """Not thread-safe by itself: the fleet's lock guards it."""

    __slots__ = ("_last_free", "tokens")

    def __init__(self) -> None:
        self.tokens = _START
        self._last_free = -1e9

    def deposit(self) -> None:
        if self.tokens < MOST:
            self.tokens += 1.0

    def take(self, kind: str, now: float) -> bool:
        """Whether one more of this kind (a key of ``COST``) may be made now; it is then paid for."""
        if self.tokens >= COST[kind]:
            self.tokens -= COST[kind]
            return True
        if now - self._last_free >= _FLOOR_S:
            self._last_free = now
            return True
        return False
