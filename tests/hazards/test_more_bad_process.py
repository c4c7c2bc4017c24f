"""hazards.md 3, "Process": spawned workers, further locks and random numbers of forked ones, cancelled waits and races."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger
from stage import HI, PRICE, ROOT, FakeClock, Says, ask, go, in_subprocess, let_go, nothing_held, router, scripted
from test_bad_process import busy, forks, in_a_child, plain_router, whole
from test_promises_exactly_one_end import cancel_everywhere

from router_plugin import Budget, Deployment, Router
from router_plugin.testing import loopback as lb
from router_plugin.testing.loopback import LoopbackProvider

# --------------------------------------------------------------------------- spawn

WORKER = """
def work(spec, said):
    from router_plugin import Router
    from router_plugin.testing import FakeClock, Reply, ScriptedProvider
    clock = FakeClock()
    r = Router.from_spec(spec, clock=clock, provider=ScriptedProvider(clock))
    before = r.budgets()[0]
    answer = r.completion(messages=[dict(role="user", content="hi")], user="ann", max_tokens=5)
    after = r.budgets()[0]
    key = spec.deployments[0].api_key.get_secret_value()
    said.put([before["reserved_usd"], before["settled_usd"], answer["choices"][0]["message"]["content"],
              after["settled_usd"] > 0, after["reserved_usd"], key])
"""
SPAWNS = """
import multiprocessing
from hazard_worker import work
from router_plugin import Budget, Deployment, Router
if __name__ == "__main__":
    made = Deployment("openai/m", api_key="sk-x", input_cost_per_token=1e-6, output_cost_per_token=1e-6)
    r = Router("r", models=[made], budgets=[Budget(usd=1)])
    chunk = {"choices": [{"index": 0, "delta": {"content": "a"}}]}
    open_stream = r.wrap(lambda model, messages, **kw: iter([chunk] * 3))("router", [dict(role="user", content="hi")],
                                                                         stream=True)
    held = r.budgets()[0]["reserved_usd"]
    spawn = multiprocessing.get_context("spawn")
    said = spawn.Queue()
    worker = spawn.Process(target=work, args=(r.spec, said))
    worker.start()
    got = said.get(timeout=30)
    worker.join()
    print(held > 0, got, r.budgets()[0]["reserved_usd"] == held)
"""


def test_a_spawned_worker_makes_its_router_from_the_spec_and_holds_nothing_of_the_parents(tmp_path: Path) -> None:
    (tmp_path / "hazard_worker.py").write_text(WORKER)
    said = in_subprocess(SPAWNS, env={"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])})
    assert said.strip() == "True [0.0, 0.0, 'ok', True, 0.0, 'sk-x'] True"


# --------------------------------------------------------------------------- fork


@forks
@pytest.mark.parametrize(
    "lock",
    [
        "the fleet",
        "the tap",
        "the watchdog",
        "records",
        "prices in callbacks",
    ],
)
def test_a_fork_while_another_thread_holds_a_lock_does_not_hang_the_child(p: LoopbackProvider, lock: str) -> None:
    """A real call there, by the deployment's own price."""
    from router_plugin import result
    from router_plugin.provider import catalog, guard, tap

    p.model("m", "fine")
    r = router(p)
    ask("sync", r, timeout=5).answered()
    records = [
        thing for thing in vars(result).values() if isinstance(getattr(thing, "_lock", None), type(r._home.lock))
    ]
    held: Any = {
        "the fleet": r._home.fleet._lock,
        "the tap": tap.TAP._lock,
        "the watchdog": guard.WATCHDOG._ready,
        "records": records[0]._lock,
        "prices in callbacks": catalog._PRICED_LOCK,
    }[lock]

    def hold(inside: threading.Event, leave: threading.Event) -> None:
        with held:
            inside.set()
            leave.wait(20)

    with busy(hold):
        assert in_a_child(lambda: ask("sync", r, timeout=5).text, within_s=1.5) == "'fine'"
    nothing_held(r)


@forks
def test_children_of_one_parent_do_not_rest_their_deployments_in_step() -> None:
    """A thousand workers forked from one parent that all eject a deployment do not probe it at the same moment."""
    r, _ = scripted(FakeClock(), "m", "n", script={"m": [TimeoutError("late")]})
    ask("sync", r).answered()

    def child() -> Any:
        for _ in range(6):
            ask("sync", r)
        return r.stats()["m"]["cooling_s"]

    rests = [in_a_child(child) for _ in range(4)]
    assert "None" not in rests
    assert len(set(rests)) == len(rests), rests


@forks
def test_a_child_is_not_kept_from_a_deployment_by_what_its_parent_has_in_flight() -> None:
    """Requests that the parent waits for take no room of the child's, and no probe."""
    made = [
        Deployment("openai/m", name="m", quality=0.9, tpm=1_000, **PRICE),
        Deployment("openai/n", name="n", **PRICE),
    ]
    r = Router("r", models=made, budgets=[Budget(1)])
    asked = r.wrap(lambda model, messages, **kw: {**whole(), "model": model})

    def hold(inside: threading.Event, leave: threading.Event) -> None:
        def function(model: str, messages: Any, **kwargs: Any) -> Any:
            inside.set()
            leave.wait(20)
            return whole()

        r.wrap(function)("router", HI, max_tokens=100)

    def child() -> Any:
        seen = r.stats()["m"]
        return asked("router", HI, max_tokens=100)["model"], seen["in_flight"]

    with busy(hold):
        assert in_a_child(child, within_s=3) == "('openai/m', 0)"
    nothing_held(r)


# --------------------------------------------------------------------------- cancelled at every await


def cancelled_everywhere(make: Callable[[], Router], call: Callable[[Router], Any], least: int) -> list[Router]:
    """Every run is on a router of its own, and nothing is held by it afterwards."""
    made: list[Router] = []

    async def run() -> None:
        made.append(make())
        await call(made[-1])

    cancel_everywhere(run, lambda at: let_go(made[-1]), least=least)
    return made


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("winner", ["m", "n"])
def test_cancelled_at_every_await_of_a_race(stream: bool, winner: str) -> None:
    """The first is late and another one is asked beside it: both reservations end, whoever would have won."""
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": end}]}
        for word, end in (("one ", None), ("two", "stop"))
    ]

    async def pieces() -> Any:
        for one in chunks:
            await asyncio.sleep(0)
            yield one

    async def call(r: Router) -> None:
        @r.wrap
        async def function(model: str, messages: Any, **kwargs: Any) -> Any:
            late = 0.004 if model == f"openai/{winner}" else 0.03
            await asyncio.sleep(late if model == "openai/m" else 0)
            if model != f"openai/{winner}":
                await asyncio.sleep(0.03)
            return pieces() if stream else whole()

        got = await function("router", HI, max_tokens=50, stream=stream, routing={"hedge_after": 0.001})
        if stream:
            async for _ in got:
                await asyncio.sleep(0)

    cancelled_everywhere(plain_router, call, least=2)


def test_cancelled_at_every_await_of_a_wait_for_a_limit() -> None:
    """The wait before a limited deployment holds neither money nor room there."""
    clock = FakeClock()

    def make() -> Router:
        made = [Deployment("openai/m", rpm=1, **PRICE)]
        return Router("r", models=made, budgets=[Budget(1)], clock=clock, patience_s=100)

    async def call(r: Router) -> None:
        @r.wrap
        async def function(model: str, messages: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return whole()

        await function("router", HI, max_tokens=50, timeout=200)
        await function("router", HI, max_tokens=50, timeout=200)

    routers = cancelled_everywhere(make, call, least=3)
    assert routers[-1].stats()["openai/m"]["successes"] == 2


def test_cancelled_at_every_await_of_a_wait_for_a_budget() -> None:
    """Others hold the money: who waits for it and leaves takes nothing along."""
    clock = FakeClock()
    holders: list[Any] = []

    def make() -> Router:
        made = [Deployment("openai/m", **PRICE)]
        r = Router("r", models=made, budgets=[Budget(usd=3e-4, wait_s=0.1)], clock=clock)
        chunk = {"choices": [{"index": 0, "delta": {"content": "a"}}]}
        holders.append(
            r.wrap(lambda model, messages, **kw: iter([chunk] * 3))("router", HI, stream=True, max_tokens=90)
        )
        return r

    made: list[Router] = []

    async def run() -> None:
        made.append(make())

        @made[-1].wrap
        async def function(model: str, messages: Any, **kwargs: Any) -> Any:
            return whole()

        with contextlib.suppress(Exception):  # the money never comes
            await function("router", HI, max_tokens=90)

    def after(at: int) -> None:
        assert made[-1].stats()["openai/m"]["in_flight"] == 1, "the holder's"
        holders.pop().close()
        nothing_held(made[-1])

    cancel_everywhere(run, after, least=3)


@pytest.mark.parametrize("midstream", ["restart", "continue"])
def test_cancelled_at_every_await_of_a_real_stream_that_moves_on(p: LoopbackProvider, midstream: str) -> None:
    for name in ("m", "n"):
        p.model(name, "one two three")
    p.always("m", lb.CutStream(1, "rst"))
    r = router(p, "m", "n", usd=100, midstream=midstream)

    async def call() -> None:
        r._home.fleet._cooling = {}
        async for _ in await r.acompletion(messages=HI, max_tokens=50, stream=True, timeout=5):
            await asyncio.sleep(0)

    cancel_everywhere(call, lambda at: None, least=3)
    let_go(r)


def test_a_thousand_races_cancelled_at_once() -> None:
    r = plain_router(budgets=[Budget(usd=1_000)])
    begun = 0

    @r.wrap(hedge_after=0.001)
    async def call(model: str, messages: Any, **kwargs: Any) -> Any:
        nonlocal begun
        begun += 1
        await asyncio.Event().wait()

    async def main() -> None:
        tasks = [asyncio.ensure_future(call("router", HI, timeout=60)) for _ in range(1_000)]
        while begun < 1_001:  # at least one of them is a race by now
            await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in done)
        await asyncio.sleep(0)

    asyncio.run(main())
    nothing_held(r)


# --------------------------------------------------------------------------- interrupted, and callbacks


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("mode", ["sync", "sync stream"])
def test_interrupted_in_a_race(mode: str, kind: type[BaseException]) -> None:
    """It is raised in the caller's thread, whichever of the two threads met it."""
    r, _ = scripted(FakeClock(), "m", "n", script={"m": [kind()]}, hedge_after=5.0)
    with pytest.raises(kind):
        ask(mode, r, max_tokens=50)
    nothing_held(r)


@pytest.mark.parametrize("mode", ["async", "async stream"])
def test_an_async_callback_that_never_returns_delays_no_call(p: LoopbackProvider, mode: str) -> None:
    p.model("m", "fine")
    entered: list[int] = []

    class Blocking(CustomLogger):
        async def async_log_success_event(self, *args: Any, **kwargs: Any) -> None:
            entered.append(1)
            await asyncio.wait_for(asyncio.Event().wait(), 1.0)

    litellm.callbacks = [Blocking()]
    try:
        r = router(p)
        for _ in range(2):
            told = ask(mode, r, timeout=5)
            assert told.answered() == "fine"
            assert told.seconds < 0.9
        let_go(r)
        go(asyncio.sleep(0.05))
        assert entered
    finally:
        litellm.callbacks = []


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_an_answer_of_another_call_is_no_answer_of_this_one(mode: str) -> None:
    """Twenty callers of one scripted deployment, in turn: each record is its own."""
    r, _ = scripted(FakeClock(), script={"m": [Says(str(number)) for number in range(20)]})
    told = [ask(mode, r) for _ in range(20)]
    assert [one.text for one in told] == [str(number) for number in range(20)]
    assert len({one.result.request_id for one in told}) == 20
