"""hazards.md 1, "Exactly one end": every reservation ends once on every way out; what was sent settles."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import httpcore
import httpx
import litellm
import pytest
from stage import (
    HI,
    MODES,
    PRICE,
    FakeClock,
    ask,
    both_wires,
    four_modes,
    go,
    in_subprocess,
    let_go,
    nothing_held,
    router,
    scripted,
    spent,
)

from router_plugin import Budget, Deployment, Router, RouteResult
from router_plugin.testing import loopback as lb
from router_plugin.testing.loopback import LoopbackProvider

sync_stream = pytest.mark.parametrize("read", [0, 1, 3], ids=["before first next", "after one", "after three"])


def plain_router(**more: Any) -> Router:
    return Router(
        "r", models=[Deployment("openai/m", **PRICE), Deployment("openai/n", **PRICE)], budgets=[Budget(1)], **more
    )


def whole() -> dict[str, Any]:
    return {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5},
    }


def chunk(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


# --------------------------------------------------------------------------- success and each failure kind

FAILURES = [
    TimeoutError("late"),
    ConnectionError("reset"),
    ConnectionRefusedError("refused"),
    litellm.RateLimitError("slow down", "openai", "m"),
    litellm.AuthenticationError("bad key", "openai", "m"),
    litellm.NotFoundError("no such model", "m", "openai"),
    litellm.BadRequestError("bad", "m", "openai"),
    litellm.ContextWindowExceededError("too long", "m", "openai"),
    litellm.ContentPolicyViolationError("no", "m", "openai"),
    litellm.UnsupportedParamsError("no", "openai", "m"),
    litellm.ServiceUnavailableError("busy", "openai", "m"),
    litellm.InternalServerError("oops", "openai", "m"),
    litellm.APIError(502, "bad gateway", "openai", "m"),
    litellm.APIConnectionError("gone", "openai", "m"),
    litellm.JSONSchemaValidationError("m", "openai", "{}", "{}"),
    ZeroDivisionError("in the caller's own function"),
    StopIteration("in the caller's own function"),
    GeneratorExit("in the caller's own function"),
]


@four_modes
@pytest.mark.parametrize("failure", FAILURES, ids=lambda f: type(f).__name__)
def test_every_failure_kind(mode: str, failure: BaseException) -> None:
    if mode.startswith("async") and isinstance(failure, StopIteration):
        pytest.skip("Python itself turns a StopIteration in a coroutine into a RuntimeError")
    r, provider = scripted(FakeClock(), "m", "n", script={"m": [failure], "n": [failure]})
    try:
        told = ask(mode, r, max_tokens=50)
    except GeneratorExit:
        assert isinstance(failure, GeneratorExit)
    else:
        told.raises(type(failure))
    nothing_held(r)
    assert 1 <= len(provider.calls) <= 4
    assert spent(r) <= len(provider.calls) * 160e-6


@four_modes
def test_success(mode: str) -> None:
    r, _ = scripted(FakeClock())
    ask(mode, r, max_tokens=50).answered()
    nothing_held(r)
    assert spent(r) == pytest.approx(10 * 1e-6 + 5 * 2e-6)


def test_what_was_refused_before_it_was_served_is_released() -> None:
    for failure in (FAILURES[2], FAILURES[3], FAILURES[4], FAILURES[6]):
        r, _ = scripted(FakeClock(), script={"m": [failure]})
        ask("sync", r, max_tokens=50).raises(Exception)
        assert spent(r) == 0, failure
        nothing_held(r)


@four_modes
def test_what_was_sent_and_never_answered_settles_as_its_input(mode: str) -> None:
    r, provider = scripted(FakeClock(), script={"m": [TimeoutError("late")]})
    ask(mode, r, max_tokens=50).raises(TimeoutError)
    nothing_held(r)
    assert spent(r) > 0
    assert provider.calls


# --------------------------------------------------------------------------- what an answer may look like


class Touchy:
    """An answer whose ``usage`` cannot be read."""

    choices: tuple[Any, ...] = ()

    @property
    def usage(self) -> Any:
        raise ValueError("no usage here")


STRANGE: list[tuple[str, Callable[[], Any]]] = [
    ("None", lambda: None),
    ("text", lambda: "hello"),
    ("empty dict", dict),
    ("an object with an attribute `prefix`", lambda: SimpleNamespace(prefix="x", choices=["y"], usage=None)),
    (
        "an object with `_hidden_params` that is no dict",
        lambda: SimpleNamespace(_hidden_params="x", choices=["y"], usage=None),
    ),
    ("an object whose usage raises", Touchy),
    ("usage that is a string", lambda: {**whole(), "usage": "12"}),
    (
        "usage details that are a string",
        lambda: {**whole(), "usage": {**whole()["usage"], "prompt_tokens_details": "x"}},
    ),
    ("choices that are a dict", lambda: {"choices": {"a": 1}}),
    ("an iterator of None", lambda: iter([None, None])),
    ("an iterator of text", lambda: iter(["a", "b"])),
]


@pytest.mark.parametrize("make", [s[1] for s in STRANGE], ids=[s[0] for s in STRANGE])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_whatever_a_wrapped_function_answers(mode: str, make: Callable[[], Any]) -> None:
    """The caller gets the object that his function returned (or a stream of what it yields), and nothing is held."""
    r = plain_router()
    given: list[Any] = []

    def function(model: str, messages: Any, **kwargs: Any) -> Any:
        given.append(make())
        return given[-1]

    async def afunction(model: str, messages: Any, **kwargs: Any) -> Any:
        return function(model, messages)

    got = r.wrap(function)("router", HI) if mode == "sync" else asyncio.run(r.wrap(afunction)("router", HI))
    if mode == "sync" and isinstance(given[-1], Iterator):
        got = list(got)
    elif not isinstance(given[-1], Iterator):
        assert got is given[-1]
    del got
    let_go(r)


@four_modes
@both_wires
@pytest.mark.parametrize(
    "field", ["prefix", "_hidden_params", "route_result", "received_finish_reason", "usage_", "source"]
)
def test_a_field_of_the_providers_answer_that_has_a_name_of_ours(
    p: LoopbackProvider, mode: str, wire: str, field: str
) -> None:
    if mode.endswith("stream") or wire == "anthropic":
        pytest.skip("litellm copies unknown fields of whole OpenAI answers only")
    body = b"""{"id":"x","object":"chat.completion","created":1,"model":"m","%b":"hostile","choices":[{"index":0,
    "message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}],
    "usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}""" % field.encode()
    p.always("m", lb.RawBody(body))
    r = router(p)
    told = ask(mode, r, max_tokens=50)
    nothing_held(r)
    assert told.answered() == "ok"
    assert isinstance(RouteResult.of(told.answer), RouteResult)


# --------------------------------------------------------------------------- cancelled at every await


class Cancelled:
    """Awaits a coroutine, and cancels the task it runs in as it suspends for the k-th time."""

    def __init__(self, coroutine: Any, at: int) -> None:
        self.coroutine, self.at, self.steps = coroutine, at, 0

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self.coroutine.__await__()
        send: Callable[[Any], Any] = inner.send
        value: Any = None
        while True:
            try:
                waits_for = send(value)
            except StopIteration as done:
                return done.value
            if self.steps == self.at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            self.steps += 1
            try:
                send, value = inner.send, (yield waits_for)
            except BaseException as error:
                send, value = inner.throw, error


def cancel_everywhere(make: Callable[[], Awaitable[Any]], after: Callable[[int], None], least: int) -> int:
    """Run what ``make`` makes, cancelled at its first, second … suspension, until it ends before its turn comes."""
    at = 0
    while True:
        attempt = Cancelled(make(), at)

        async def run(attempt: Cancelled = attempt) -> bool:
            try:
                await attempt
            except asyncio.CancelledError:
                return True
            return False

        cancelled = go(run())
        after(at)
        if not cancelled and attempt.steps <= at:
            break
        at += 1
        assert at < 400
    assert at >= least, f"only {at} suspensions were found"
    return at


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_cancelled_at_every_await_of_a_scripted_call(stream: bool) -> None:
    """With waits before retries, a fallback, and a stream that breaks and restarts."""
    made: list[Router] = []

    async def pieces(model: str) -> AsyncIterator[Any]:
        for word in ("one ", "two ", "three "):
            await asyncio.sleep(0)
            yield chunk(word)
            if model == "openai/m":
                raise ConnectionError("cut")
        yield chunk("", "stop")

    async def call() -> None:
        r = plain_router(clock=FakeClock(), midstream="restart")
        made.append(r)
        tried: list[str] = []

        @r.wrap
        async def function(model: str, messages: Any, **kwargs: Any) -> Any:
            tried.append(model)
            await asyncio.sleep(0)
            if tried.count(model) == 1:
                raise (litellm.InternalServerError if model == "openai/m" else litellm.RateLimitError)(
                    "x", "openai", "m"
                )
            return pieces(model) if stream else whole()

        got = await function("router", HI, max_tokens=50, stream=stream)
        if stream:
            async for _ in got:
                await asyncio.sleep(0)

    cancel_everywhere(call, lambda at: let_go(made[-1]), least=3)
    assert spent(made[-1]) > 0


@both_wires
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_cancelled_at_every_await_of_a_real_call(p: LoopbackProvider, wire: str, stream: bool) -> None:
    """litellm's own awaits and httpx's among them."""
    p.model("m", "one two three", itl_s=0.002)
    r = router(p, wire=wire)

    async def call() -> None:
        got = await r.acompletion(messages=HI, max_tokens=50, stream=stream)
        if stream:
            async for _ in got:
                pass

    cancel_everywhere(call, lambda at: None, least=2)
    let_go(r)
    ask("async", r, max_tokens=50).answered()
    nothing_held(r)


@both_wires
def test_cancelled_by_an_anyio_scope_that_cancels_again_at_every_await(p: LoopbackProvider, wire: str) -> None:
    """anyio delivers the cancellation anew at each await until the scope is left."""
    p.always("m", lb.Silent())
    p.model("n", "one two three", itl_s=0.05)
    silent, slow = router(p, "m", wire=wire), router(p, "n", wire=wire)

    async def main() -> None:
        with anyio.move_on_after(0.05):
            await silent.acompletion(messages=HI)
        with anyio.move_on_after(0.08):
            async for _ in await slow.acompletion(messages=HI, stream=True):
                pass

    go(main())
    let_go(silent)
    let_go(slow)
    assert spent(silent) > 0
    assert spent(slow) > 0


def test_a_cancelled_call_is_cancelled_and_not_swallowed() -> None:
    r = plain_router()

    @r.wrap
    async def call(model: str, messages: Any, **kwargs: Any) -> Any:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.ensure_future(call("router", HI))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        if sys.version_info >= (3, 11):
            assert task.cancelling() == 1

    asyncio.run(main())
    nothing_held(r)


# --------------------------------------------------------------------------- interrupted


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@four_modes
def test_interrupted_while_the_provider_is_called(mode: str, kind: type[BaseException]) -> None:
    r, _ = scripted(FakeClock(), "m", "n", script={"m": [kind()]})
    with pytest.raises(kind):
        ask(mode, r, max_tokens=50)
    nothing_held(r)
    assert spent(r) > 0


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_interrupted_while_a_stream_is_read(mode: str, kind: type[BaseException]) -> None:
    """The stream is still referred to (a notebook's variable, a traceback), and nothing is held all the same."""
    r = plain_router()

    def chunks() -> Iterator[Any]:
        yield chunk("one ")
        raise kind()

    async def achunks() -> AsyncIterator[Any]:
        yield chunk("one ")
        raise kind()

    if mode == "sync":
        got = r.wrap(lambda model, messages, **kw: chunks())("router", HI, stream=True)
        assert next(got)
        with pytest.raises(kind):
            next(got)
    else:

        async def call(model: str, messages: Any, **kwargs: Any) -> Any:
            return achunks()

        async def main() -> Any:
            got = await r.wrap(call)("router", HI, stream=True)
            await got.__anext__()
            try:
                await got.__anext__()
            except kind:
                return got
            raise AssertionError("not interrupted")

        loop = asyncio.new_event_loop()
        try:
            got = loop.run_until_complete(main())
        finally:
            loop.close()
    nothing_held(r)
    assert got is not None


def test_interrupted_by_a_signal_while_litellm_reads(p: LoopbackProvider) -> None:
    """Ctrl-C in the middle of a real call and of a real stream, in the main thread of a process of its own; and then
    ``sys.exit`` with a stream open: the process ends well and says nothing."""
    p.always("m", lb.Silent())
    p.always("n", lb.StallStream(after_chunks=2, seconds=None))
    for name in ("n", "warm", "open"):
        p.model(name, "one two three four")
    code = f"""
import threading, signal, sys
import litellm
litellm.suppress_debug_info = True
from router_plugin import Router, Deployment, Budget
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started deaf to it
price = dict(input_cost_per_token=1e-6, output_cost_per_token=2e-6, api_base={p.openai_base!r}, api_key="k")
def routed(name):
    return Router("r", models=[Deployment("openai/" + name, **price)], budgets=[Budget(1)])
hi = [dict(role="user", content="hi")]
for _ in routed("warm").completion(messages=hi, stream=True): pass
main = threading.main_thread().ident
for name, stream in (("m", False), ("m", True), ("n", True)):
    r, got = routed(name), None
    done = threading.Event()
    threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()
    # An interrupt that hits a finaliser is lost: Python's own doing. Then comes another one.
    threading.Timer(2.5, lambda done=done: done.is_set() or signal.pthread_kill(main, signal.SIGINT)).start()
    try:
        got = r.completion(messages=hi, stream=stream, max_tokens=20, timeout=6)
        for _ in got: pass
        print("not interrupted")
    except KeyboardInterrupt:
        done.set()
    print(name, stream, r.budgets()[0]["reserved_usd"], r.budgets()[0]["settled_usd"] > 0)
got = routed("open").completion(messages=hi, stream=True)
next(got)
sys.exit(0)
"""
    said = in_subprocess(code).strip().splitlines()
    assert said == ["m False 0.0 True", "m True 0.0 True", "n True 0.0 True"]


# --------------------------------------------------------------------------- streams that end early


@both_wires
@sync_stream
@pytest.mark.parametrize("how", ["close", "drop", "with", "generator", "exit"])
def test_a_sync_stream_left_early(p: LoopbackProvider, wire: str, read: int, how: str) -> None:
    p.model("m", "one two three four five six")
    r = router(p, wire=wire)
    got = r.completion(messages=HI, max_tokens=50, stream=True)
    for _ in range(read):
        next(got)
    if how == "close":
        got.close()
        got.close()
    elif how == "with":
        with got:
            pass
    elif how in ("generator", "exit"):

        def caller(stream: Any) -> Iterator[Any]:
            yield from stream

        outer = caller(got)
        next(outer)
        if how == "exit":
            with pytest.raises(GeneratorExit):
                outer.throw(GeneratorExit())
        outer.close()
        del outer
    kept = got if how in ("close", "with") else None
    del got
    let_go(r)
    assert 0 < spent(r) <= 124e-6
    del kept


@both_wires
def test_a_stream_that_the_garbage_collector_finds_in_a_cycle_settles(p: LoopbackProvider, wire: str) -> None:
    """The collector clears weak references before it asks a stream to end."""
    p.model("m", "one two three four five six")
    r = router(p, wire=wire)
    got = r.completion(messages=HI, max_tokens=50, stream=True)
    next(got)
    got.myself = got
    del got
    let_go(r)
    assert 0 < spent(r) <= 124e-6


@both_wires
@sync_stream
@pytest.mark.parametrize("how", ["aclose", "drop", "with", "break", "cancelled"])
def test_an_async_stream_left_early(p: LoopbackProvider, wire: str, read: int, how: str) -> None:
    p.model("m", "one two three four five six")
    r = router(p, wire=wire)

    async def main() -> Any:
        got = await r.acompletion(messages=HI, max_tokens=50, stream=True)
        for _ in range(read):
            await got.__anext__()
        if how == "aclose":
            await got.aclose()
            await got.aclose()
        elif how == "with":
            async with got:
                pass
        elif how == "break":
            async for _ in got:
                break
            del got
            return None
        elif how == "cancelled":
            task = asyncio.ensure_future(got.__anext__())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await got.aclose()
        return got if how in ("aclose", "with", "cancelled") else None

    kept = go(main())
    let_go(r)
    assert 0 < spent(r) <= 124e-6
    del kept


@sync_stream
def test_a_stream_of_a_wrapped_function_left_early(read: int) -> None:
    r = plain_router()
    closed: list[str] = []

    def chunks() -> Iterator[Any]:
        try:
            for word in ["one", "two", "three", "four", "five"]:
                yield chunk(word)
        finally:
            closed.append("closed")

    got = r.wrap(lambda model, messages, **kw: chunks())("router", HI, stream=True)
    for _ in range(read):
        next(got)
    del got
    let_go(r)
    assert closed


def test_an_async_stream_with_a_plain_close_is_closed() -> None:
    """Other clients' async streams have a ``close`` that is no coroutine function, or none at all."""

    class Stream:
        closed = False

        def __aiter__(self) -> Stream:
            return self

        async def __anext__(self) -> Any:
            return chunk("word ")

        def close(self) -> None:
            self.closed = True

    r, made = plain_router(), Stream()

    async def call(model: str, messages: Any, **kwargs: Any) -> Any:
        return made

    async def main() -> None:
        got = await r.wrap(call)("router", HI, stream=True)
        await got.__anext__()
        await got.aclose()

    asyncio.run(main())
    nothing_held(r)
    assert made.closed


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@both_wires
def test_asyncio_run_torn_down(p: LoopbackProvider, wire: str, stream: bool) -> None:
    """The loop is closed with the call in its middle: calls are cancelled, streams just never read on."""
    p.always("m", lb.StallStream(2, None) if stream else lb.Silent())
    p.model("m", "one two three four")
    r = router(p, wire=wire)
    kept: list[Any] = []

    async def caller() -> None:
        got = await r.acompletion(messages=HI, max_tokens=50, stream=stream)
        kept.append(got)
        async for _ in got:
            pass

    async def main() -> None:
        kept.append(asyncio.ensure_future(caller()))
        await asyncio.sleep(0.15)

    asyncio.run(main())
    kept.clear()
    let_go(r)
    assert spent(r) > 0


def test_an_async_stream_outlives_its_loop_and_is_dropped(p: LoopbackProvider) -> None:
    p.model("m", "one two three four")
    r = router(p)

    async def main() -> Any:
        got = await r.acompletion(messages=HI, max_tokens=50, stream=True)
        await got.__anext__()
        return got

    got = asyncio.run(main())
    del got
    let_go(r)
    assert spent(r) > 0


@pytest.mark.parametrize("midstream", ["raise", "restart", "continue"])
@pytest.mark.parametrize("mode", MODES[2:])
@both_wires
def test_a_stream_that_breaks(p: LoopbackProvider, wire: str, mode: str, midstream: str) -> None:
    p.model("m", "one two three four five six")
    p.model("n", "one two three four five six")
    p.always("m", lb.CutStream(after_chunks=3, how="rst"))
    r = router(p, "m", "n", wire=wire, midstream=midstream)
    told = ask(mode, r, max_tokens=50)
    assert (told.error is None) == (midstream != "raise"), told.error
    nothing_held(r)
    assert 0 < spent(r) <= 2 * 124e-6


def test_exhausted_and_closed_and_dropped_is_one_end(p: LoopbackProvider) -> None:
    p.model("m", "one two three")
    r = router(p)
    got = r.completion(messages=HI, max_tokens=50, stream=True)
    assert [c.choices[0].delta.content for c in got][:3] == ["one", " two", " three"]
    once = spent(r)
    got.close()
    del got
    gc.collect()
    assert spent(r) == once == pytest.approx(11e-6 + 3 * 2e-6)
    (seen,) = r.stats().values()
    assert (seen["attempts"], seen["successes"], seen["in_flight"]) == (1, 1, 0)


def test_ended_by_two_threads_at_once_is_one_end() -> None:
    """One thread reads a stream to its end while another closes it."""
    for _ in range(200):
        r = plain_router()
        got = r.wrap(lambda model, messages, **kw: iter([chunk("a"), chunk("b")]))("router", HI, stream=True)
        both = threading.Barrier(2)

        def read(got: Any = got, both: Any = both) -> None:
            both.wait()
            for _ in got:
                pass

        thread = threading.Thread(target=read)
        thread.start()
        both.wait()
        got.close()
        thread.join()
        nothing_held(r)


# --------------------------------------------------------------------------- and the connection goes back


@both_wires
@pytest.mark.parametrize("mode", MODES[2:])
@pytest.mark.parametrize("how", ["read to its end", "broken and restarted", "closed"])
def test_a_stream_that_has_ended_has_given_its_connection_back(
    p: LoopbackProvider, monkeypatch: pytest.MonkeyPatch, wire: str, mode: str, how: str
) -> None:
    """litellm leaves Anthropic's responses open until they are collected: a connection is then lost for as long."""
    client = httpx.AsyncClient if mode.startswith("async") else httpx.Client
    send, seen = client.send, []
    if mode.startswith("async"):

        async def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(await send(self, *args, **kwargs))
            return seen[-1]
    else:

        def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(send(self, *args, **kwargs))
            return seen[-1]

    monkeypatch.setattr(client, "send", watched)
    for name in ("m", "n"):
        p.model(name, "one two three four")
    if how.startswith("broken"):
        p.always("m", lb.StreamError(after_chunks=2))
    r = router(p, "m", "n", wire=wire, midstream="restart")
    if how != "closed":
        told = ask(mode, r, max_tokens=50)
        told.answered()
    elif mode.startswith("async"):

        async def main() -> None:
            got = await r.acompletion(messages=HI, max_tokens=50, stream=True)
            await got.__anext__()
            await got.aclose()

        go(main())
    else:
        r.completion(messages=HI, max_tokens=50, stream=True).close()
    assert seen
    assert all(response.is_closed for response in seen)


def test_a_collected_stream_never_stops_the_thread_that_was_collecting(
    p: LoopbackProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collector may run inside httpcore's pool, under a lock that closing a response takes as well. A
    stream that was read to its end (Anthropic's stays open in litellm) must not be closed there."""
    p.model("m", "one two three four")
    r = router(p, wire="anthropic")
    made = httpcore._synchronization.Event.__init__

    def collecting(self: Any) -> None:
        made(self)
        gc.collect()

    ask("sync stream", r, max_tokens=50).answered()
    threading.Event().wait(0.5)  # litellm's logging thread holds on to it for 0.2 s
    monkeypatch.setattr(httpcore._synchronization.Event, "__init__", collecting)
    thread = threading.Thread(target=ask, args=("sync stream", r), kwargs={"timeout": 5}, daemon=True)
    thread.start()
    thread.join(3)
    alive = thread.is_alive()
    monkeypatch.undo()
    frame = sys._current_frames().get(thread.ident or 0)
    while alive and frame is not None:  # free it, or every later test of this process would wait for that lock too
        pool = frame.f_locals.get("self")
        if isinstance(pool, httpcore.ConnectionPool) and pool._optional_thread_lock._lock.locked():
            pool._optional_thread_lock._lock.release()
        frame = frame.f_back
    thread.join(3)
    assert not thread.is_alive()
    assert not alive, "the thread waits for a lock that it holds itself"
