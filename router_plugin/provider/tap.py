"""Exact time-outs: a wrap of httpx's ``send`` for requests made inside one of our attempts, and only for those.

litellm's ``timeout`` is a read time-out (it restarts with every byte), and each new value of it makes and keeps another
HTTP client. So attempts bring their own limits at the one place that all of litellm's httpx providers pass. When the
time of an attempt is over, the read in progress fails with ``httpx.ReadTimeout``: litellm maps and logs it as it would
its own. Sync: the request's own time-outs are set to what is left, and a watchdog thread shuts the socket down under a
body that trickles or stalls. Async: a timer cancels the waiting task, and the wrap turns that into the time-out.

What cannot be cut in sync calls: providers that do not use httpx.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial
from typing import Any

from ..fork import renew_in_child
from .guard import INSIDE, LEAST_S, AsyncGuard, Guard
from .limits import rate_windows


class Tap:
    """The wraps of ``httpx.Client.send`` and ``httpx.AsyncClient.send``, in place while somebody holds them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._held = 0
        self.pinned = False  # held for as long as something is installed: attempts need not hold it themselves
        self._originals: tuple[Any, Any] | None = None
        renew_in_child(self)

    def after_fork(self) -> None:
        self._lock = threading.RLock()

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
_LONGEST_PAGE = 65_536  # bytes
_FOREVER_S = 86_400.0
_LONGEST_BODY = 64_000_000  # bytes of a compressed answer, unfolded
_ENCODING = (b"content-encoding", b"Content-Encoding")


def _sync_send(original: Any) -> Any:
    def send(self: Any, request: Any, *, stream: bool = False, **kwargs: Any) -> Any:
        guard = INSIDE.get()
        if guard is None or not guard.active:
            return original(self, request, stream=stream, **kwargs)
        if guard.error is not None:
            raise guard.error
        if guard.attempt is not None:
            guard.attempt.sent = True
        left = max(LEAST_S, guard.at - time.monotonic())
        limits = {"connect": left, "read": left, "write": left, "pool": left}
        request.extensions = {**request.extensions, "timeout": limits}
        kwargs["follow_redirects"] = False
        guard.locate = partial(_connection_of, self, request)
        if stream:
            request.headers["accept-encoding"] = "identity"
        try:
            response = original(self, request, stream=True, **kwargs)
            for _ in range(_MAX_REDIRECTS):
                if response.next_request is None or not _stays_home(request, response):
                    break
                response.close()
                response = original(self, response.next_request, stream=True, **kwargs)
            encoded = _attach(guard, response)
            if stream and encoded:
                response.close()
                raise _packed()
            if stream:
                limits["read"] = _FOREVER_S  # of a stream's body the watchdog keeps the time
            else:
                try:
                    if encoded:
                        _bounded(response, _parts(response.iter_bytes()))
                    else:
                        response.read()
                except BaseException:
                    response.close()
                    raise
                guard.network = guard.locate = None  # back in its pool: the next request on it is somebody else's
                _refuse_page(response)
        except Exception as error:
            guard.error = error
            raise
        return response

    send.router_plugin = True  # type: ignore[attr-defined]
    return send


def _connection_of(client: Any, request: Any) -> Any:
    """The network stream that a request is being sent on, found in the client's pool by its extensions (which httpx
    hands on as they are); None where there is none, or where the pool is not httpcore's."""
    pool = getattr(client._transport_for_url(request.url), "_pool", None)
    for waiting in list(getattr(pool, "_requests", ())):
        if getattr(waiting.request, "extensions", None) is request.extensions:
            connection = getattr(waiting.connection, "_connection", None)
            return getattr(connection, "_network_stream", None)
    return None


def _refuse_page(response: Any) -> None:
    """A long page where an answer should be (a captive portal, a proxy's error). litellm would put all of it into its
    error and search that for secrets, at seconds a megabyte."""
    import httpx

    if len(response.content) <= _LONGEST_PAGE:
        return
    kind = response.headers.get("content-type", "")
    if "html" in kind:
        raise httpx.DecodingError(f"a page ({kind}, {len(response.content)} bytes) instead of an answer")


def _stays_home(request: Any, response: Any) -> bool:
    """Whether a redirect leads to the same origin. Another host would get the prompt and, in ``x-api-key``, the key."""
    here, there = request.url, response.next_request.url
    return bool((here.scheme, here.host, here.port) == (there.scheme, there.host, there.port))


def _read_head(guard: Guard, response: Any) -> bool:
    """Status and rate limits as they came over the wire: litellm drops the headers of several providers. True where the
    body is compressed."""
    guard.response, guard.status = response, response.status_code
    raw = response.headers.raw
    windows = rate_windows(raw, time.time())
    if windows:
        guard.limits = windows
    for name, _ in raw:  # noqa: SIM110  # a generator would be a call for every header
        if name in _ENCODING:
            return True
    return False


def _parts(body: Iterator[bytes]) -> Iterator[bytes]:
    """A decompressed body, as long as it is one that an answer could have: a few kilobytes may unfold to gigabytes."""
    size = 0
    for part in body:
        size += len(part)
        if size > _LONGEST_BODY:
            raise _too_long()
        yield part


async def _aparts(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    size = 0
    async for part in body:
        size += len(part)
        if size > _LONGEST_BODY:
            raise _too_long()
        yield part


def _too_long() -> Exception:
    import httpx

    return httpx.DecodingError(f"a compressed answer unfolds to more than {_LONGEST_BODY} bytes")


def _packed() -> Exception:
    """A compressed stream although none was asked for: one read of it may unfold to so much that no time-out holds."""
    import httpx

    return httpx.DecodingError("the stream is compressed, although Accept-Encoding said identity")


def _bounded(response: Any, parts: Iterable[bytes]) -> None:
    """What ``response.read`` does, of a body that was read with care."""
    response._content = b"".join(parts)


def _attach(guard: Guard, response: Any) -> bool:
    encoded = _read_head(guard, response)
    extensions = response.extensions
    guard.network = extensions["network_stream"] if "network_stream" in extensions else None
    if guard.fired:
        guard.fire()
    return encoded


def _async_send(original: Any) -> Any:
    async def send(self: Any, request: Any, *, stream: bool = False, **kwargs: Any) -> Any:
        guard = INSIDE.get()
        if not isinstance(guard, AsyncGuard) or not guard.active:
            return await original(self, request, stream=stream, **kwargs)
        if guard.error is not None:
            raise guard.error
        if guard.attempt is not None:
            guard.attempt.sent = True
        guard.task = asyncio.current_task()
        kwargs["follow_redirects"] = False
        if stream:
            request.headers["accept-encoding"] = "identity"
        try:
            response = await original(self, request, stream=True, **kwargs)
            for _ in range(_MAX_REDIRECTS):
                if response.next_request is None or not _stays_home(request, response):
                    break
                await response.aclose()
                response = await original(self, response.next_request, stream=True, **kwargs)
            encoded = _read_head(guard, response)
            if stream and encoded:
                await response.aclose()
                raise _packed()
            if not stream:
                try:
                    if encoded:
                        _bounded(response, [part async for part in _aparts(response.aiter_bytes())])
                    else:
                        await response.aread()
                except BaseException:
                    await response.aclose()
                    raise
        except asyncio.CancelledError:
            if guard.ours():
                guard.error = _read_timeout(request)
                raise guard.error from None
            raise
        except Exception as error:
            guard.error = error
            raise
        if not stream:
            try:
                _refuse_page(response)
            except Exception as error:
                guard.error = error
                raise
        else:
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
                if guard.fired:
                    raise _read_timeout(None)
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
