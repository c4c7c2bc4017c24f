"""Exact time-outs: a wrap of httpx's ``send`` for requests made inside one of our attempts, and only for those.

litellm's ``timeout`` is a read time-out (it restarts with every byte), and each new value of it makes and keeps another
HTTP client. So attempts bring their own limits at the one place that all of litellm's httpx providers pass. When the
time of an attempt is over, the read in progress fails with ``httpx.ReadTimeout``: litellm maps and logs it as it would
its own. Sync: the request's own time-outs are set to what is left, and a watchdog thread shuts the socket down under a
body that trickles or stalls. Async: a timer cancels the waiting task, and the wrap turns that into the time-out.

What cannot be cut in sync calls: a server that trickles its *headers*, and providers that do not use httpx.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextvars import ContextVar
from typing import Any

_LEAST_S = 0.001
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
        "chunks",
        "deadline",
        "error",
        "fired",
        "idle_since",
        "plain",
        "response",
        "seen",
        "sock",
        "stall_s",
        "status",
    )

    def __init__(self, at: float) -> None:
        self.at = self.deadline = at
        self.active = True
        self.fired = False
        self.plain = True  # whether no user code runs while the stream is read
        self.sock: Any = None
        self.response: Any = None  # httpx's, once the headers are there
        self.status: int | None = None
        self.error: BaseException | None = None  # what the attempt's request failed with
        self.seen = 0  # chunks found by the last look
        self.chunks: Sequence[Any] = ()
        self.idle_since = 0.0
        self.stall_s: float | None = None

    def streaming(self, now: float, deadline: float, stall_s: float | None, chunks: Sequence[Any]) -> None:
        """The first content is there: from now on the deadline and the stall limit count."""
        self.deadline, self.stall_s, self.idle_since = deadline, stall_s, now
        self.chunks, self.seen = chunks, len(chunks)
        self.at = deadline if stall_s is None else min(deadline, now + stall_s / _CHECKS_PER_STALL)

    def due(self, now: float) -> bool:
        """Whether the time is over; otherwise ``at`` has been moved on."""
        if now >= self.deadline:
            return True
        if self.stall_s is not None:
            if len(self.chunks) != self.seen:
                self.seen, self.idle_since = len(self.chunks), now
            elif now - self.idle_since >= self.stall_s:
                return True
            self.at = min(self.deadline, now + self.stall_s / _CHECKS_PER_STALL)
        return False

    def fire(self) -> None:
        """Fail the read in progress (called by the watchdog's thread)."""
        self.fired = True
        if self.sock is not None:
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # already closed: nothing left to cut

    def ended(self) -> None:
        """Nothing is timed any more."""
        WATCHDOG.forget(self)

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

    def arm(self) -> None:
        self.disarm()
        self.handle = self.loop.call_later(max(0.0, self.at - time.monotonic()), self._look)

    def ended(self) -> None:
        self.disarm()

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
        if not self.due(time.monotonic()):
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
                    self._ready.wait(max(_LEAST_S, self._next - now) if guards else None)
            for guard in due:
                guard.fire()


WATCHDOG = Watchdog()
INSIDE: ContextVar[Guard | None] = ContextVar("router_plugin_attempt", default=None)


def inside_attempt() -> bool:
    """Whether this code runs inside an attempt: such calls are never routed again.

    The guard is asked, not only the variable: litellm's background workers keep a copy of the context for good.
    """
    guard = INSIDE.get()
    return guard is not None and guard.active


class Tap:
    """The wraps of ``httpx.Client.send`` and ``httpx.AsyncClient.send``, in place while somebody holds them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._held = 0
        self.pinned = False  # held for as long as something is installed: attempts need not hold it themselves
        self._originals: tuple[Any, Any] | None = None

    def hold(self) -> None:
        with self._lock:
            self._held += 1
            if self._held == 1:
                import httpx

                self._originals = (httpx.Client.send, httpx.AsyncClient.send)
                httpx.Client.send = _sync_send(self._originals[0])  # type: ignore[method-assign]
                httpx.AsyncClient.send = _async_send(self._originals[1])  # type: ignore[method-assign]

    def release(self) -> None:
        with self._lock:
            self._held -= 1
            if self._held == 0 and self._originals is not None:
                import httpx

                # Somebody who wrapped ours in turn (a tracer) stays; ours then passes everything through.
                if getattr(httpx.Client.send, "router_plugin", False):
                    httpx.Client.send = self._originals[0]  # type: ignore[method-assign]
                if getattr(httpx.AsyncClient.send, "router_plugin", False):
                    httpx.AsyncClient.send = self._originals[1]  # type: ignore[method-assign]


TAP = Tap()


# An attempt is one request. litellm's async handler sends it a second time after a reset, whatever it was told; the
# provider may then bill twice for what was reserved once.
_MAX_REDIRECTS = 3
_FOREVER_S = 86_400.0


def _sync_send(original: Any) -> Any:
    def send(self: Any, request: Any, *, stream: bool = False, **kwargs: Any) -> Any:
        guard = INSIDE.get()
        if guard is None or not guard.active:
            return original(self, request, stream=stream, **kwargs)
        if guard.error is not None:
            raise guard.error
        left = max(_LEAST_S, guard.at - time.monotonic())
        limits = {"connect": left, "read": left, "write": left, "pool": left}
        request.extensions = {**request.extensions, "timeout": limits}
        kwargs["follow_redirects"] = False
        try:
            response = original(self, request, stream=True, **kwargs)
            for _ in range(_MAX_REDIRECTS):
                if not _stays_home(request, response):
                    break
                response.close()
                response = original(self, response.next_request, stream=True, **kwargs)
            _attach(guard, response)
            if stream:
                limits["read"] = _FOREVER_S  # of a stream's body the watchdog keeps the time
            else:
                try:
                    response.read()
                except BaseException:
                    response.close()
                    raise
        except Exception as error:
            guard.error = error
            raise
        return response

    send.router_plugin = True  # type: ignore[attr-defined]
    return send


def _stays_home(request: Any, response: Any) -> bool:
    """Whether a redirect leads to the same origin. Another host would get the prompt and, in ``x-api-key``, the key."""
    following = response.next_request
    if following is None:
        return False
    here, there = request.url, following.url
    return bool((here.scheme, here.host, here.port) == (there.scheme, there.host, there.port))


def _attach(guard: Guard, response: Any) -> None:
    guard.response, guard.status = response, response.status_code
    network = response.extensions.get("network_stream")
    guard.sock = network.get_extra_info("socket") if network is not None else None
    if guard.fired:
        guard.fire()


def _async_send(original: Any) -> Any:
    async def send(self: Any, request: Any, *, stream: bool = False, **kwargs: Any) -> Any:
        guard = INSIDE.get()
        if not isinstance(guard, AsyncGuard) or not guard.active:
            return await original(self, request, stream=stream, **kwargs)
        if guard.error is not None:
            raise guard.error
        guard.task = asyncio.current_task()
        kwargs["follow_redirects"] = False
        try:
            response = await original(self, request, stream=stream, **kwargs)
            for _ in range(_MAX_REDIRECTS):
                if not _stays_home(request, response):
                    break
                await response.aclose()
                response = await original(self, response.next_request, stream=stream, **kwargs)
        except asyncio.CancelledError:
            if guard.ours():
                guard.error = _read_timeout(request)
                raise guard.error from None
            raise
        except Exception as error:
            guard.error = error
            raise
        guard.response, guard.status = response, response.status_code
        if stream:
            response.stream = _guarded_stream(response.stream, guard)
        return response

    send.router_plugin = True  # type: ignore[attr-defined]
    return send


def _read_timeout(request: Any) -> Exception:
    import httpx

    return httpx.ReadTimeout("the time of this attempt is over", request=request)


def _guarded_stream(inner: Any, guard: AsyncGuard) -> Any:
    """The body of a streamed answer, whose reads the guard can cut."""
    import httpx

    class GuardedStream(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            body = inner.__aiter__()
            while True:
                guard.task = asyncio.current_task()
                try:
                    part = await body.__anext__()
                except StopAsyncIteration:
                    return
                except asyncio.CancelledError:
                    if guard.ours():
                        raise _read_timeout(None) from None
                    raise
                guard.task = None
                yield part

        async def aclose(self) -> None:
            await inner.aclose()

    return GuardedStream()


def _after_fork() -> None:
    WATCHDOG.__init__()  # type: ignore[misc]  # the parent's thread does not exist here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
