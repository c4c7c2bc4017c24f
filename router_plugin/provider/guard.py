"""The time of one attempt: a guard for each, a watchdog thread for sync ones, a timer of the loop for async ones."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .catalog import price_done

if TYPE_CHECKING:
    from ..records import Attempt, RateWindow

LEAST_S = 0.001
_NEVER = float("inf")
_LONGEST_SLEEP_S = 60.0
_CHECKS_PER_STALL = 4  # how often a stall is looked for; it is found at most a quarter of its time late


class Guard:
    """The time of one attempt. ``active`` while the call runs; ``fired`` once its time ran out.

    ``at`` is when to look again (monotonic). Of a stream the list of its ``chunks`` is watched, so that a stall is seen
    without a clock being read for each of them.
    """

    __slots__ = (
        "active",
        "at",
        "attempt",
        "chunks",
        "deadline",
        "error",
        "fired",
        "idle_since",
        "limits",
        "locate",
        "network",
        "plain",
        "price",
        "response",
        "seen",
        "stall_s",
        "status",
        "why",
    )

    def __init__(self, at: float) -> None:
        self.at = self.deadline = at
        self.active = True
        self.attempt: Attempt | None = None
        self.fired = False
        self.why = ""  # which time was over, for people
        self.plain = True  # whether no user code runs while the stream is read
        self.price: str | None = None  # key of a price in litellm's map that this attempt needs
        self.locate: Any = None  # finds the connection of the request that is being sent
        self.network: Any = None  # httpcore's stream, whose socket is shut down when the time is over
        self.response: Any = None  # httpx's, once the headers are there
        self.status: int | None = None
        self.limits: tuple[RateWindow, ...] = ()  # what the answer's headers said of rate limits
        self.error: BaseException | None = None  # what the attempt's request failed with
        self.seen = 0  # chunks found by the last look
        self.chunks: Sequence[Any] = ()
        self.idle_since = 0.0
        self.stall_s: float | None = None

    now = staticmethod(time.monotonic)

    def streaming(self, now: float, deadline: float, stall_s: float | None, chunks: Sequence[Any]) -> None:
        """The first content is there: from now on the deadline and the stall limit count."""
        self.deadline, self.stall_s, self.idle_since = deadline, stall_s, now
        self.chunks, self.seen = chunks, len(chunks)
        self.at = deadline if stall_s is None else min(deadline, now + stall_s / _CHECKS_PER_STALL)

    def due(self, now: float) -> bool:
        """Whether the time is over; otherwise ``at`` has been moved on."""
        if now >= self.deadline:
            self.why = "the time of the call was over"
            return True
        if self.stall_s is not None:
            if len(self.chunks) != self.seen:
                self.seen, self.idle_since = len(self.chunks), now
            elif now - self.idle_since >= self.stall_s:
                self.why = f"nothing came for {self.stall_s:g} s (stall_timeout_s)"
                return True
            self.at = min(self.deadline, now + self.stall_s / _CHECKS_PER_STALL)
        return False

    def fire(self) -> None:
        """Fail the read in progress (called by the watchdog's thread)."""
        self.fired = True
        network = self.network
        if network is None and self.locate is not None:
            network = self.locate()  # it still waits for the head of the answer
        sock = network.get_extra_info("socket") if network is not None else None
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # already closed: nothing left to cut

    def arm(self) -> None:
        """Watch it from now on (again)."""
        WATCHDOG.watch(self)

    def ended(self) -> None:
        """Nothing is timed any more."""
        self.network = self.locate = None
        WATCHDOG.forget(self)
        if self.price is not None:
            self.priced()

    def priced(self) -> None:
        """The price that was put into litellm's map for this attempt is needed no more."""
        key, self.price = self.price, None
        tap = sys.modules.get(f"{__package__}.tap")  # None: the interpreter is on its way out
        if key is not None and tap is not None:
            price_done(key, tap.TAP.pinned)

    def drop(self) -> None:
        """Give the connection back."""
        if self.response is not None:
            self.response.close()


class AsyncGuard(Guard):
    """The same on an event loop: a timer instead of a thread, a cancellation instead of a closed socket."""

    __slots__ = ("handle", "loop", "task")

    def __init__(self, at: float, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(at)
        self.loop = loop
        self.task: asyncio.Task[Any] | None = None
        self.handle: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """The loop's own time: on a loop with virtual time attempts are timed by that."""
        return self.loop.time()

    def arm(self) -> None:
        self.disarm()
        self.handle = self.loop.call_at(self.at, self._look)

    def ended(self) -> None:
        self.disarm()
        if self.price is not None:
            self.priced()

    def disarm(self) -> None:
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None

    async def close(self) -> None:
        """Give the connection back."""
        if self.response is not None and not self.response.is_closed:
            await self.response.aclose()

    def drop(self) -> None:
        """Give the connection back from wherever we are (the garbage collector, another thread)."""
        response = self.response
        if response is not None and not response.is_closed and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(lambda: self.loop.create_task(response.aclose()))

    def _look(self) -> None:
        now = self.loop.time()
        if self.task is None and now < self.deadline:  # nobody is waiting: the reader is slow, not the provider
            self.idle_since = now
        if not self.due(now):
            self.arm()
            return
        self.fired = True
        if self.task is not None:
            self.task.cancel()

    def ours(self) -> bool:
        """Whether a cancellation just caught was this guard's own; it is then taken back."""
        if not self.fired or self.task is None:
            return False
        task, self.task = self.task, None
        uncancel = getattr(task, "uncancel", None)  # Python >= 3.11
        return uncancel is None or uncancel() <= 0


class Watchdog:
    """One daemon thread for the process, asleep until the earliest guard is due."""

    def __init__(self) -> None:
        self._ready = threading.Condition(threading.RLock())
        self._guards: set[Guard] = set()
        self._next = _NEVER
        self._thread: threading.Thread | None = None

    def watch(self, guard: Guard) -> None:
        # One atomic operation on a set, and a lock only for a guard that is due before the thread would wake anyway.
        # While the thread looks through the guards `_next` is "never", so that whoever comes then takes the lock too.
        self._guards.add(guard)
        if guard.at < self._next:
            with self._ready:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="router_plugin-watchdog", daemon=True)
                    self._thread.start()
                self._ready.notify()

    def forget(self, guard: Guard) -> None:
        self._guards.discard(guard)

    def _run(self) -> None:
        while True:
            with self._ready:
                self._next = _NEVER
                now, guards = time.monotonic(), list(self._guards)
                due = [guard for guard in guards if now >= guard.at and guard.due(now)]
                self._guards.difference_update(due)
                if not due:
                    earliest = min((guard.at for guard in guards), default=_NEVER)
                    # Awake at least this often: a guard that ended leaves no trace here, and its successors find us.
                    self._next = min(earliest, now + _LONGEST_SLEEP_S) if guards else _NEVER
                    self._ready.wait(max(LEAST_S, self._next - now) if guards else None)
            for guard in due:
                guard.fire()


WATCHDOG = Watchdog()
INSIDE: ContextVar[Guard | None] = ContextVar("router_plugin_attempt", default=None)
_CHECKING: ContextVar[list[bool]] = ContextVar("router_plugin_check", default=[])  # noqa: B039 - [] is never changed


def inside_attempt() -> bool:
    """Whether this code runs inside an attempt, or a check of its answer: such calls are never routed again.

    What a variable holds is asked, not only whether it is set: litellm's background workers keep a copy of the context
    for good.
    """
    guard = INSIDE.get()
    return bool(_CHECKING.get()) or (guard is not None and guard.active)


@contextmanager
def checking() -> Iterator[None]:
    """Inside, a check or judge of the user's looks at an answer."""
    active = [True]
    token = _CHECKING.set(active)
    try:
        yield
    finally:
        active.clear()
        _CHECKING.reset(token)


def _after_fork() -> None:
    WATCHDOG.__init__()  # type: ignore[misc]  # the parent's thread does not exist here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
