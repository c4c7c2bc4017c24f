"""Virtual time: an event loop whose clock moves only when everybody waits, so that an hour passes in seconds.

``run(main())`` runs a coroutine to its end on such a loop. Time stands still while there is anything to do and jumps to
the next timer when there is not, so a run is as deterministic as the program: the order of events depends on nothing
but their times. Work for an executor runs at once, inline; real sockets do not belong on this loop.

``VirtualClock(loop)`` is the same time as a router's ``clock``. With ``patch_time=True`` (for code that reads the time
module, as litellm's Router does) ``time.time``, ``time.monotonic`` and ``time.perf_counter`` tell virtual time
meanwhile, to whoever looks them up in the module.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")
START_WALL = 1_767_225_600.0  # 2026-01-01T00:00:00Z


class _Selector(selectors.SelectSelector):
    """Waiting for a timer takes no time; ``now`` jumps there instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("virtual time: everybody waits for something that no timer will bring")
        # The loop counts a timer as due within its clock's resolution; a hair more, so that it is due for certain.
        self.now += timeout + 1e-9
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, which begins at ``start`` seconds."""

    def __init__(self, start: float = 1_000.0) -> None:
        self._virtual = _Selector()
        self._virtual.now = start
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """At once, inline: a thread would take real time."""
        future: Future[Any] = Future()
        try:
            future.set_result(func(*args))
        except BaseException as error:  # handed to whoever awaits it, as executors do
            future.set_exception(error)
        return asyncio.wrap_future(future, loop=self)


class VirtualClock:
    """A router's clock on a virtual loop. Blocking sleeps have no place there."""

    def __init__(self, loop: VirtualLoop, wall: float = START_WALL) -> None:
        self._loop, self._wall = loop, wall - loop.time()

    def monotonic(self) -> float:
        return self._loop.time()

    def wall(self) -> float:
        return self._wall + self._loop.time()

    def sleep(self, seconds: float) -> None:
        raise RuntimeError("virtual time: a blocking sleep would stop the loop; use the async calls")

    async def asleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


def run(main: Callable[[VirtualClock], Coroutine[Any, Any, _T]], *, patch_time: bool = False) -> _T:
    """Run ``main(clock)`` on a new virtual loop; its result."""
    loop = VirtualLoop()
    clock = VirtualClock(loop)
    kept = (time.time, time.monotonic, time.perf_counter)
    asyncio.set_event_loop(loop)
    if patch_time:
        time.time, time.monotonic, time.perf_counter = clock.wall, clock.monotonic, clock.monotonic
    try:
        return loop.run_until_complete(main(clock))
    finally:
        time.time, time.monotonic, time.perf_counter = kept
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
