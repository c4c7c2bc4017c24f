"""One account: what one key has settled and reserved in the current window of one budget. All in nano-dollars.

A wall clock that steps back never reopens an earlier window: a calendar account only moves forward, until a window's
length has passed by the monotonic clock too. Sliding windows live by the monotonic clock alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..spec.budget import Budget
from .windows import SECONDS, window_end, window_start

_MONTH_S = 31 * 86_400
_SLICES = 60  # a sliding window is kept in this many slices, each forgotten whole: never early, at most 1/60 late


class Account:
    """Calendar window: a counter that restarts at the window's end. Reservations end in the account they were made in,
    so an answer that arrives after midnight is still paid from yesterday's budget."""

    __slots__ = ("end", "length", "opened", "reserved", "settled", "waits")

    def __init__(self, budget: Budget, wall: float, now: float) -> None:
        self.settled = 0
        self.reserved = 0
        self.waits = budget.wait_s > 0
        self.end = window_end(budget.per, window_start(budget.per, wall))
        self.length = SECONDS.get(budget.per, _MONTH_S)
        self.opened = now  # monotonic

    def over(self, wall: float, clock: Callable[[], float]) -> bool:
        """Whether its window has ended. One that is still to come was opened while the wall clock was ahead."""
        if self.end is None:
            return False
        if self.end - wall > self.length:
            return clock() - self.opened >= self.length
        return wall >= self.end

    def spend(self, nano: int, now: float) -> None:
        self.settled += nano

    def expire(self, now: float) -> None:
        """Forget what has left the window; a calendar account is replaced instead."""

    def resets_at(self, wall: float, now: float) -> float | None:
        return self.end


class SlidingAccount(Account):
    """Sliding window: settlements are forgotten a window's length after they were made."""

    __slots__ = ("slices", "width")

    def __init__(self, budget: Budget, wall: float, now: float) -> None:
        super().__init__(budget, wall, now)
        self.end = None
        self.width = SECONDS[budget.per] / _SLICES
        self.slices: deque[tuple[float, int]] = deque()

    def spend(self, nano: int, now: float) -> None:
        self.settled += nano
        start = now - now % self.width
        if self.slices and self.slices[-1][0] >= start:
            self.slices[-1] = (self.slices[-1][0], self.slices[-1][1] + nano)
        else:
            self.slices.append((start, nano))

    def expire(self, now: float) -> None:
        horizon = now - self.width * (_SLICES + 1)
        while self.slices and self.slices[0][0] <= horizon:
            self.settled -= self.slices.popleft()[1]

    def resets_at(self, wall: float, now: float) -> float | None:
        return wall + self.slices[0][0] + self.width * (_SLICES + 1) - now if self.slices else None
