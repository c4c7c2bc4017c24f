"""Time that moves only when told to, or when something sleeps on it."""

from __future__ import annotations

import asyncio


class FakeClock:
    """A clock for tests: ``sleep`` and ``asleep`` return at once and move time forward.

    ``advance(seconds)`` moves both clocks; ``step_wall(seconds)`` the wall clock alone (it may go back).
    ``slept`` lists every sleep asked for.
    """

    def __init__(self, monotonic: float = 1_000.0, wall: float = 1_767_225_600.0) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self._monotonic

    def wall(self) -> float:
        return self._wall

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(max(0.0, seconds))

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self._monotonic += seconds
        self._wall += seconds

    def step_wall(self, seconds: float) -> None:
        self._wall += seconds
