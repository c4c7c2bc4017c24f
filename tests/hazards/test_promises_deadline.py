"""hazards.md 1, "Deadline": every call ends by its deadline, retries and fallbacks included; three timers, one sum."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import litellm
import pytest
from stage import (
    HI,
    MODES,
    PRICE,
    WIRES,
    FakeClock,
    Says,
    Told,
    aask,
    ask,
    ask_at_once,
    both_wires,
    deployment,
    four_modes,
    go,
    let_go,
    nothing_held,
    router,
    scripted,
    spent,
)

from router_plugin import Budget, DeadlineExceededError, Deployment, Router, StreamInterruptedError
from router_plugin.testing import loopback as lb
from router_plugin.testing.loopback import LoopbackProvider

# The promise is 50 ms; the machines that run this are noisy.
LATE_S = 0.25
SLOW: list[tuple[str, Any]] = [
    ("a silent server", lb.Silent()),
    ("headers then silence", lb.HeadersThenSilence()),
    ("a body that trickles", lb.Trickle(0.02)),
    ("a server that answers too late", lb.Delay(5)),
    ("an error that comes too late", lb.Delay(5, then=lb.Status(500))),
]
LATE_ERRORS = (litellm.Timeout, DeadlineExceededError, StreamInterruptedError, litellm.APIConnectionError)


def in_time(told: Told, deadline_s: float) -> None:
    assert told.seconds <= deadline_s + LATE_S, f"{told.seconds:.3f} s for a deadline of {deadline_s} s: {told.error!r}"


@pytest.fixture(autouse=True)
def warm(p: LoopbackProvider) -> None:
    """The first call to a new server opens its connection: not what is timed here."""
    p.model("m", "one two three four five six")
    p.model("n", "one two three four five six")


EVERYWHERE = [(mode, wire) for mode in MODES for wire in WIRES]


def everywhere(p: LoopbackProvider, *names: str, timeout: float, pairs: Any = EVERYWHERE, **more: Any) -> list[Told]:
    """The same call in every mode and wire format, at the same time; each in time, and nothing held after it."""
    calls = [(mode, router(p, *names, wire=wire, **more)) for mode, wire in pairs]
    came = ask_at_once(calls, timeout=timeout, max_tokens=more.pop("max_tokens", 50))
    for (mode, r), (_, wire), told in zip(calls, pairs, came, strict=True):
        assert told.seconds <= timeout + LATE_S, f"{mode}, {wire}: {told.seconds:.3f} s for {timeout} s: {told.error!r}"
        let_go(r)
        assert spent(r) > 0, (mode, wire)
    return came


STREAMS = [(mode, wire) for mode in MODES[2:] for wire in WIRES]


@pytest.mark.parametrize("fault", [s[1] for s in SLOW], ids=[s[0] for s in SLOW])
def test_a_call_ends_by_its_deadline(p: LoopbackProvider, fault: Any) -> None:
    p.always("m", fault)
    for told in everywhere(p, "m", timeout=0.35):
        told.raises(*LATE_ERRORS)
        assert isinstance(told.error, TimeoutError | litellm.Timeout | StreamInterruptedError), repr(told.error)


@pytest.mark.parametrize("after", [1, 3])
def test_a_stream_that_stalls_ends_by_its_deadline(p: LoopbackProvider, after: int) -> None:
    p.always("m", lb.StallStream(after_chunks=after, seconds=None))
    for told in everywhere(p, "m", timeout=0.35, pairs=STREAMS):
        error = told.raises(StreamInterruptedError)
        assert "one" in error.partial_text


def test_a_stream_that_never_stops_ends_by_its_deadline(p: LoopbackProvider) -> None:
    """Chunks keep coming: no stall, and the total ends it all the same."""
    p.model("m", "w " * 500, itl_s=0.02)
    for told in everywhere(p, "m", timeout=0.35, pairs=STREAMS):
        told.raises(StreamInterruptedError)


def test_retries_and_fallbacks_included(p: LoopbackProvider) -> None:
    """Every deployment is silent: all of them share one deadline."""
    for name in ("m", "n"):
        p.always(name, lb.Silent())
    for told in everywhere(p, "m", "n", timeout=0.4):
        assert 1 <= len(told.result.attempts) <= 4


def test_a_silent_deployment_leaves_time_for_the_next_one(p: LoopbackProvider) -> None:
    p.always("m", lb.Silent())
    for told in everywhere(p, "m", "n", timeout=0.6):
        assert told.answered() == "one two three four five six"
        assert [a.deployment for a in told.result.attempts] == ["m", "n"]


@both_wires
@pytest.mark.parametrize("mode", MODES[2:])
def test_the_first_token_has_a_timer_of_its_own(p: LoopbackProvider, mode: str, wire: str) -> None:
    p.model("m", "late", ttft_s=3)
    r = router(p, "m", "n", wire=wire)
    told = ask(mode, r, timeout=3, max_tokens=50, routing={"ttft_timeout_s": 0.2})
    assert told.answered() == "one two three four five six"
    in_time(told, 0.2)


@both_wires
@pytest.mark.parametrize("mode", MODES[2:])
def test_a_stall_between_chunks_has_a_timer_of_its_own(p: LoopbackProvider, mode: str, wire: str) -> None:
    p.always("m", lb.StallStream(after_chunks=2, seconds=None))
    r = router(p, "m", "n", wire=wire, midstream="restart")
    told = ask(mode, r, timeout=5, max_tokens=50, routing={"stall_timeout_s": 0.2})
    assert told.answered().endswith("one two three four five six")
    in_time(told, 0.25)


@four_modes
def test_an_attempt_has_a_timer_of_its_own(p: LoopbackProvider, mode: str) -> None:
    p.always("m", lb.Silent())
    r = router(p, "m", "n")
    told = ask(mode, r, timeout=5, max_tokens=50, routing={"attempt_timeout_s": 0.2})
    assert told.answered()
    in_time(told, 0.2)


def test_many_at_once_end_by_their_deadlines(p: LoopbackProvider) -> None:
    """The watchdog has many guards to keep, of different deadlines, in threads and in tasks."""
    p.always("m", lb.Trickle(0.02))
    r = router(p, usd=100)

    def one(number: int) -> tuple[float, Told]:
        deadline = 0.3 + number % 4 / 10
        return deadline, ask(MODES[number % 2 * 2], r, timeout=deadline, max_tokens=50)

    with ThreadPoolExecutor(12) as pool:
        for deadline, told in pool.map(one, range(12)):
            in_time(told, deadline)

    async def main() -> list[Told]:
        return await asyncio.gather(*(aask(r, timeout=0.4, max_tokens=50, stream=n % 2 == 0) for n in range(20)))

    for told in go(main()):
        in_time(told, 0.4)
    let_go(r)


# --------------------------------------------------------------------------- what a timer must not do


@both_wires
@pytest.mark.parametrize("mode", MODES[2:])
def test_a_slow_reader_is_no_stall(p: LoopbackProvider, mode: str, wire: str) -> None:
    """The provider sent everything at once; the caller takes his time between two chunks."""
    r = router(p, wire=wire)
    texts: list[str] = []
    kwargs: dict[str, Any] = {"messages": HI, "timeout": 5, "stream": True, "routing": {"stall_timeout_s": 0.1}}

    async def main() -> None:
        async for chunk in await r.acompletion(**kwargs):
            texts.append(chunk.choices[0].delta.content or "")
            if len(texts) == 2:
                await asyncio.sleep(0.4)

    if mode.startswith("async"):
        go(main())
    else:
        for chunk in r.completion(**kwargs):
            texts.append(chunk.choices[0].delta.content or "")
            if len(texts) == 2:
                threading.Event().wait(0.4)
    assert "".join(texts) == "one two three four five six"
    let_go(r)


@both_wires
@pytest.mark.parametrize("mode", MODES[2:])
@pytest.mark.parametrize("limit", ["stall", "deadline"])
def test_a_stream_is_still_timed_after_its_reader_was_slow(
    p: LoopbackProvider, mode: str, wire: str, limit: str
) -> None:
    """The caller pauses for longer than the timer, and only then does the provider fall silent: the timer still ends
    it, now or at once."""
    p.always("m", lb.StallStream(after_chunks=3, seconds=None))
    r = router(p, wire=wire)
    kwargs: dict[str, Any] = {"messages": HI, "max_tokens": 50, "stream": True}
    kwargs |= {"timeout": 0.3} if limit == "deadline" else {"timeout": 30, "routing": {"stall_timeout_s": 0.2}}
    texts: list[str] = []

    async def main() -> None:
        async for chunk in await r.acompletion(**kwargs):
            texts.append(chunk.choices[0].delta.content or "")
            if len(texts) == 1:
                await asyncio.sleep(0.5)

    def read() -> None:
        for chunk in r.completion(**kwargs):
            texts.append(chunk.choices[0].delta.content or "")
            if len(texts) == 1:
                threading.Event().wait(0.5)

    def in_a_thread() -> None:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(read)
            try:
                future.result(2.5)
            finally:
                p.stop()

    started = time.monotonic()
    ends = (StreamInterruptedError, TimeoutError, litellm.Timeout)
    if mode.startswith("async"):
        with pytest.raises(ends):
            go(asyncio.wait_for(main(), 2.5))
    else:
        with pytest.raises(ends):
            in_a_thread()
    assert time.monotonic() - started < 0.5 + 0.3 + 2 * LATE_S
    let_go(r)


@both_wires
def test_the_timer_of_a_call_that_has_its_answer_cuts_nobody_elses(p: LoopbackProvider, wire: str) -> None:
    """A stream has been received to its last byte and is still open at its caller (who stopped at the finish reason):
    its connection serves somebody else by now, and is not shut down under him."""
    p.model("slow", "here it is", ttft_s=0.7)
    r = router(p, wire=wire)
    got = r.completion(messages=HI, stream=True, timeout=0.35, max_tokens=50)
    for chunk in got:
        if chunk.choices and chunk.choices[0].finish_reason:
            break
    told = ask("sync", router(p, "slow", wire=wire), timeout=5)
    assert told.answered() == "here it is"
    assert len(told.result.attempts) == 1
    assert got is not None
    got.close()


def test_the_timer_of_a_whole_answer_cuts_nobody_elses(p: LoopbackProvider) -> None:
    """The answer is there and litellm still works on it (a slow callback of the user's) when the time runs out: its
    connection is in the pool again, and by now somebody else's."""
    from litellm.integrations.custom_logger import CustomLogger

    p.model("slow", "here it is", ttft_s=0.7)
    received: list[int] = []
    other: list[Told] = []

    class Slow(CustomLogger):
        def log_post_api_call(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            if not received:
                received.append(1)
                second.start()
                second.join(0.6)

    second = threading.Thread(target=lambda: other.append(ask("sync", router(p, "slow"), timeout=5)))
    litellm.input_callback = [Slow()]
    ask("sync", router(p), timeout=0.3)
    assert received
    second.join()
    assert other[0].answered() == "here it is"
    assert len(other[0].result.attempts) == 1, other[0].result.attempts


def test_an_async_time_out_cancels_nothing_of_the_callers(p: LoopbackProvider) -> None:
    """After an attempt was cut the task goes on as if it had never been cancelled."""
    p.always("m", lb.Silent())
    r = router(p, "m", "n")

    async def main() -> None:
        for _ in range(3):
            assert (await aask(r, timeout=0.3)).answered()
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelled()
        await asyncio.sleep(0.05)
        if hasattr(task, "cancelling"):
            assert task.cancelling() == 0
        async with asyncio.timeout(1):
            await asyncio.sleep(0.01)

    go(main())


def test_a_callers_own_time_out_is_his(p: LoopbackProvider) -> None:
    """``asyncio.wait_for`` around the call ends it with the caller's TimeoutError, not with ours or the provider's."""
    p.always("m", lb.Silent())
    r = router(p)

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError) as caught:
            await asyncio.wait_for(r.acompletion(messages=HI, timeout=5), 0.1)
        assert not isinstance(caught.value, litellm.Timeout)

    go(main())
    let_go(r)


# --------------------------------------------------------------------------- functions


def plain_router() -> Router:
    return Router("r", models=[Deployment("openai/m", **PRICE), Deployment("openai/n", **PRICE)], budgets=[Budget(1)])


def test_an_async_function_ends_by_its_deadline() -> None:
    r = plain_router()

    @r.wrap
    async def call(model: str, messages: Any, **kwargs: Any) -> Any:
        await asyncio.Event().wait()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await call("router", HI, timeout=0.3)

    started = time.monotonic()
    asyncio.run(asyncio.wait_for(main(), 3))
    assert time.monotonic() - started < 0.3 + LATE_S
    nothing_held(r)


@pytest.mark.parametrize("option", [{"timeout": 0.3}, {"timeout": 3, "routing": {"stall_timeout_s": 0.2}}])
def test_an_async_stream_of_a_function_ends_by_its_deadline_and_stall_limit(option: dict[str, Any]) -> None:
    r = plain_router()

    async def chunks() -> AsyncIterator[Any]:
        yield {"choices": [{"index": 0, "delta": {"content": "one"}, "finish_reason": None}]}
        await asyncio.Event().wait()

    @r.wrap
    async def call(model: str, messages: Any, **kwargs: Any) -> Any:
        return chunks()

    async def main() -> None:
        async for _ in await call("router", HI, stream=True, **option):
            pass

    started = time.monotonic()
    with pytest.raises(StreamInterruptedError):
        asyncio.run(asyncio.wait_for(main(), 2))
    assert time.monotonic() - started < 0.3 + LATE_S


def test_the_first_token_of_an_async_function_has_a_timer_of_its_own() -> None:
    r = plain_router()

    async def chunks(model: str) -> AsyncIterator[Any]:
        if model == "openai/m":
            await asyncio.Event().wait()
        yield {"choices": [{"index": 0, "delta": {"content": model}, "finish_reason": "stop"}]}

    @r.wrap
    async def call(model: str, messages: Any, **kwargs: Any) -> Any:
        return chunks(model)

    async def main() -> list[Any]:
        got = await call("router", HI, stream=True, timeout=10, routing={"ttft_timeout_s": 0.2})
        return [chunk async for chunk in got]

    started = time.monotonic()
    (chunk,) = asyncio.run(asyncio.wait_for(main(), 5))
    assert chunk["choices"][0]["delta"]["content"] == "openai/n"
    assert time.monotonic() - started < 0.2 + LATE_S


def test_a_sync_functions_late_chunks_are_noticed_between_two_of_them() -> None:
    """A blocking function cannot be cut; what it hands over after the deadline is not taken for an answer in time."""
    r = plain_router()

    def chunks() -> Iterator[Any]:
        for _ in range(40):
            threading.Event().wait(0.03)
            yield {"choices": [{"index": 0, "delta": {"content": "w "}, "finish_reason": None}]}

    got = r.wrap(lambda model, messages, **kw: chunks())("router", HI, stream=True, timeout=0.3)
    started = time.monotonic()
    with pytest.raises((StreamInterruptedError, TimeoutError)):
        list(got)
    assert time.monotonic() - started < 0.3 + LATE_S


# --------------------------------------------------------------------------- on a clock of our own


@four_modes
def test_no_attempt_starts_when_what_remains_is_below_the_usual_time(mode: str) -> None:
    clock = FakeClock()
    r, provider = scripted(clock, "m", "n", script={"m": [Says(latency_s=5)], "n": [Says(latency_s=0.1)]})
    for _ in range(4):
        ask("sync", r, timeout=60)
    assert {name for name, _ in provider.calls} == {"m"}
    provider.calls.clear()
    ask(mode, r, timeout=2).answered()
    assert [name for name, _ in provider.calls] == ["n"]


@four_modes
def test_waits_count_into_the_deadline(mode: str) -> None:
    """A limited deployment that is back after the deadline is not waited for."""
    clock = FakeClock()
    slow_down = [Says(error=limited("2.5")) for _ in range(5)]
    r, _ = scripted(clock, script={"m": slow_down})
    began = clock.monotonic()
    ask(mode, r, timeout=2).raises(litellm.RateLimitError)
    assert clock.monotonic() - began <= 2


def limited(retry_after: str) -> litellm.RateLimitError:
    error = litellm.RateLimitError("slow down", "openai", "m")
    error.litellm_response_headers = {"retry-after": retry_after}
    return error


@pytest.mark.parametrize("timeout", [0, -1, "soon", float("nan"), float("inf"), True, 10**400, "1e999"])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_time_out_that_is_none_is_refused(mode: str, timeout: Any) -> None:
    from router_plugin import SpecError

    r, provider = scripted(FakeClock())
    ask(mode, r, timeout=timeout).raises(SpecError)
    assert provider.calls == []


def test_a_time_out_of_an_unknown_type_is_not_ignored() -> None:
    """Whatever a caller means by it, ten minutes it is not."""
    from datetime import timedelta
    from decimal import Decimal

    import aiohttp

    from router_plugin import SpecError

    for timeout in (Decimal("0.3"), timedelta(seconds=0.3), aiohttp.ClientTimeout(total=0.3), [0.3], {"read": 0.3}):
        r, provider = scripted(FakeClock(), script={"m": [Says(latency_s=30)]})
        told = ask("sync", r, timeout=timeout)
        assert isinstance(told.error, SpecError | TimeoutError), (timeout, told.error)
        assert len(provider.calls) <= 4


def test_a_wall_clock_is_no_deadline() -> None:
    clock = FakeClock()
    r, _ = scripted(clock, script={"m": [Says(latency_s=1)]})
    clock.step_wall(-3_600)
    ask("sync", r, timeout=2).answered()
    clock.step_wall(7_200)
    ask("sync", r, timeout=2).answered()


def test_deployments_of_one_endpoint_share_nothing_of_a_time_out(p: LoopbackProvider) -> None:
    """A time-out of one call leaves no client, socket or guard behind that changes the next one."""
    p.script("m", [lb.Silent(), lb.HeadersThenSilence(), lb.Trickle(0.05), lb.StallStream(1, None)])
    r = Router("r", models=[deployment(p)], budgets=[Budget(1)])
    for mode in ("sync", "sync", "sync", "sync stream"):
        ask(mode, r, timeout=0.2, max_tokens=50, routing={"max_attempts": 1}).raises(Exception)
    for mode in MODES:
        assert ask(mode, r, timeout=5, max_tokens=50).answered() == "one two three four five six"
    let_go(r)
