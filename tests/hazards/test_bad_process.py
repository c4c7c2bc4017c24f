"""hazards.md 3, "Process": forks, loops, threads, interrupts, callbacks; decisions depend on none of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger
from stage import (
    HI,
    MODES,
    PRICE,
    FakeClock,
    aask,
    ask,
    four_modes,
    in_subprocess,
    let_go,
    nothing_held,
    router,
    scripted,
    spent,
)

from router_plugin import Budget, Deployment, Router, install
from router_plugin.testing import loopback as lb
from router_plugin.testing.loopback import LoopbackProvider

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")


def in_a_child(work: Callable[[], Any], within_s: float = 10.0) -> str:
    """What ``work`` returns in a forked child, as text; a child that hangs is ended, and says "hangs"."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.close(reads)
            try:
                said = repr(work())
            except BaseException as error:
                said = f"raised {error!r}"
            os.write(writes, said.encode()[:4_000])
        os._exit(0)
    os.close(writes)
    import select

    try:
        ready, _, _ = select.select([reads], [], [], within_s)
        if not ready:
            os.kill(child, 9)
            return "hangs"
        return os.read(reads, 5_000).decode()
    finally:
        os.close(reads)
        os.waitpid(child, 0)


def plain_router(**more: Any) -> Router:
    models = [Deployment("openai/m", **PRICE), Deployment("openai/n", **PRICE)]
    return Router("r", models=models, **{"budgets": [Budget(1)], **more})


def whole() -> dict[str, Any]:
    return {
        "choices": [{"index": 0, "message": {"content": "ok"}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5},
    }


@contextlib.contextmanager
def busy(hold: Callable[[threading.Event, threading.Event], None]) -> Iterator[None]:
    """Another thread is inside ``hold`` meanwhile."""
    inside, leave = threading.Event(), threading.Event()
    thread = threading.Thread(target=hold, args=(inside, leave))
    thread.start()
    inside.wait()
    try:
        yield
    finally:
        leave.set()
        thread.join()


# --------------------------------------------------------------------------- fork


@forks
def test_a_fork_after_use_holds_none_of_the_parents_reservations() -> None:
    r = plain_router()
    streamed = r.wrap(lambda model, messages, **kw: iter([{"choices": [{"index": 0, "delta": {"content": "a"}}]}] * 3))
    got = streamed("router", HI, stream=True)

    def child() -> Any:
        account, seen = r.budgets()[0], r.stats()["openai/m"]
        return account["reserved_usd"], account["settled_usd"], seen["in_flight"]

    held = r.budgets()[0]["reserved_usd"]
    assert held > 0
    assert in_a_child(child) == "(0.0, 0.0, 0)"
    assert r.budgets()[0]["reserved_usd"] == held
    list(got)
    nothing_held(r)


@forks
def test_a_stream_of_the_parents_that_is_dropped_in_the_child_ends_nothing_there() -> None:
    """The child gets a copy of every open stream; ending it is the parent's."""
    r = plain_router()
    streamed = r.wrap(lambda model, messages, **kw: iter([{"choices": [{"index": 0, "delta": {"content": "a"}}]}] * 3))
    kept = [streamed("router", HI, stream=True)]

    def child() -> Any:
        kept.clear()
        gc.collect()
        account, seen = r.budgets()[0], r.stats()["openai/m"]
        return account["reserved_usd"], account["settled_usd"], seen["in_flight"], seen["cost_usd"]

    assert in_a_child(child) == "(0.0, 0.0, 0, 0.0)"
    list(kept.pop())
    nothing_held(r)


@forks
def test_a_child_calls_and_pays_for_itself(p: LoopbackProvider) -> None:
    p.model("m", "fine")
    r = router(p)
    ask("sync", r, timeout=5).answered()
    before = spent(r)

    def child() -> Any:
        texts = [ask(mode, r, timeout=5).text for mode in MODES[::2]]
        return texts, round(r.budgets()[0]["settled_usd"] / before)

    assert in_a_child(child) == "(['fine', 'fine'], 3)"
    assert spent(r) == before
    ask("sync", r, timeout=5).answered()


@forks
def test_a_child_uses_none_of_the_parents_connections(p: LoopbackProvider) -> None:
    """Two processes on one socket get each other's answers."""
    p.model("m", "fine")
    r = router(p)
    before = _local_ports(r)
    there = in_a_child(lambda: _local_ports(r))
    assert there not in ("hangs", "[]")
    assert there != repr(before), "parent and child speak over the same socket"
    assert _local_ports(r) == before, "the parent's connection was closed by the child"


@forks
def test_answers_do_not_cross_between_a_parent_and_its_child(p: LoopbackProvider) -> None:
    """Both ask at the same time, after the parent had used a connection: each gets the answer to his own prompt."""
    p.model("echo", None, ttft_s=0.2)
    r = router(p, "echo")
    ask("sync", r, timeout=5).answered()

    def told(who: str) -> str:
        return ask("sync", r, messages=[{"role": "user", "content": who}], timeout=3).text

    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(in_a_child, lambda: [told("child") for _ in range(3)])
        here = [told("parent") for _ in range(3)]
        assert here == ["parent"] * 3
        assert there.result() == repr(["child"] * 3)


def _local_ports(r: Router) -> list[int]:
    """The local ports that a sync call of this process uses."""
    import httpx

    found: list[int] = []
    send = httpx.Client.send

    def looking(self: Any, *args: Any, **kwargs: Any) -> Any:
        response = send(self, *args, **kwargs)
        network = response.extensions.get("network_stream")
        found.append(network.get_extra_info("client_addr")[1])
        return response

    httpx.Client.send = looking  # type: ignore[method-assign]
    try:
        ask("sync", r, timeout=5)
    finally:
        httpx.Client.send = send  # type: ignore[method-assign]
    return found


@forks
@pytest.mark.parametrize("lock", ["a call", "deciding", "the budgets", "an installation"])
def test_a_fork_while_another_thread_is_at_work_does_not_hang_the_child(lock: str) -> None:
    """Every lock of ours that a thread may hold at that moment is new in the child."""
    r = plain_router()
    asked = r.wrap(lambda model, messages, **kw: whole())
    asked("router", HI)

    def hold(inside: threading.Event, leave: threading.Event) -> None:
        if lock == "a call":

            def function(model: str, messages: Any, **kwargs: Any) -> Any:
                inside.set()
                leave.wait(20)
                return whole()

            r.wrap(function)("router", HI)
            return
        if lock == "an installation":
            from router_plugin import plugin

            held: Any = plugin._HOST._lock
        else:
            held = r._home.lock if lock == "deciding" else r._home.fleet.books.lock
        with held:
            inside.set()
            leave.wait(20)

    def child() -> Any:
        asked("router", HI, max_tokens=77, models=["openai/m"])
        with install(r):
            pass
        return r.budgets()[0]["reserved_usd"]

    with busy(hold):
        assert in_a_child(child, within_s=2) == "0.0"
    nothing_held(r)


@forks
def test_a_child_draws_other_random_numbers_than_its_parent() -> None:
    """A thousand workers forked from one parent do not retry in step."""
    waits: list[str] = []
    for _ in range(3):
        clock = FakeClock()
        r, _ = scripted(clock, script={"m": [litellm.InternalServerError("oops", "openai", "m")]})
        made = [r] * 1

        def child(made: Any = made, clock: FakeClock = clock) -> Any:
            ask("sync", made[0])
            return clock.slept

        waits += [in_a_child(child), in_a_child(child)]
    assert len(set(waits)) == len(waits), waits


@forks
def test_request_ids_of_parent_and_child_differ() -> None:
    r = plain_router()
    here = [r.route(messages=HI).request_id for _ in range(2)]
    there = in_a_child(lambda: r.route(messages=HI).request_id)
    assert there.strip("'") not in [*here, r.route(messages=HI).request_id]


def test_spawn() -> None:
    """A router is made anew in a spawned worker from what describes it: the spec pickles, its secrets with it."""
    import pickle

    spec = Router("r", models=[Deployment("openai/m", api_key="sk-x", **PRICE)], budgets=[Budget(1)], max_cost=0.5).spec
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec
    assert Router.from_spec(again).route(messages=HI).ranking == ["openai/m"]


# --------------------------------------------------------------------------- loops and threads


def test_two_event_loops_in_two_threads(p: LoopbackProvider) -> None:
    p.model("m", "one two three")
    r = router(p)

    async def many() -> list[str]:
        told = await asyncio.gather(*(aask(r, timeout=10, stream=number % 2 == 0) for number in range(15)))
        return [one.answered() for one in told]

    with ThreadPoolExecutor(2) as pool:
        for texts in pool.map(lambda _: asyncio.run(many()), range(2)):
            assert texts == ["one two three"] * 15
    let_go(r)


def test_a_sync_call_inside_a_running_loop(p: LoopbackProvider) -> None:
    p.model("m", "fine")
    r = router(p)

    async def main() -> None:
        assert r.completion(messages=HI, timeout=5).choices[0].message.content == "fine"
        texts = [c.choices[0].delta.content for c in r.completion(messages=HI, timeout=5, stream=True)]
        assert texts[0] == "fine"
        assert (await aask(r, timeout=5)).answered() == "fine"

    asyncio.run(main())
    let_go(r)


def test_asyncio_run_many_times(p: LoopbackProvider) -> None:
    p.model("m", "fine")
    r = router(p)
    for number in range(12):
        assert asyncio.run(aask(r, timeout=5, stream=number % 2 == 0)).answered() == "fine"
    let_go(r)


def test_a_thousand_tasks_cancelled_at_once() -> None:
    r = plain_router(budgets=[Budget(usd=1_000)])
    begun = 0

    @r.wrap
    async def call(model: str, messages: Any, **kwargs: Any) -> Any:
        nonlocal begun
        begun += 1
        await asyncio.Event().wait()

    async def main() -> None:
        tasks = [asyncio.ensure_future(call("router", HI, timeout=60)) for _ in range(1_000)]
        while begun < 1_000:
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in done)

    asyncio.run(main())
    nothing_held(r)
    assert spent(r) > 0


def test_two_hundred_real_calls_cancelled_at_once(p: LoopbackProvider) -> None:
    p.always("m", lb.Silent())
    r = router(p, usd=100)

    async def main() -> None:
        tasks = [asyncio.ensure_future(r.acompletion(messages=HI, timeout=30)) for _ in range(200)]
        await asyncio.sleep(0.4)
        for task in tasks:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in done)

    asyncio.run(main())
    nothing_held(r)


def test_a_stream_made_in_one_thread_and_read_in_another(p: LoopbackProvider) -> None:
    p.model("m", "one two three")
    r = router(p)
    got = r.completion(messages=HI, stream=True, timeout=10)
    with ThreadPoolExecutor(1) as pool:
        texts = pool.submit(lambda: [c.choices[0].delta.content or "" for c in got]).result()
    assert "".join(texts) == "one two three"
    let_go(r)


def test_answers_of_plain_dicts_keep_their_records_under_threads() -> None:
    """The records of answers that cannot carry one are kept beside them: for the right answer, whoever else calls."""
    from router_plugin import RouteResult

    r = plain_router(budgets=[])
    asked = r.wrap(lambda model, messages, **kw: whole())

    def many(_: int) -> None:
        for _ in range(400):
            answer = asked("router", HI)
            result = RouteResult.of(answer)
            assert result is None or result.attempts[-1].outcome == "answered"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(many, range(8)))


def test_an_answer_that_others_share_has_no_record_of_theirs() -> None:
    """``None``, a small int, an interned string: the record of the last call that returned it is not everybody's."""
    from router_plugin import RouteResult

    r = plain_router(budgets=[])
    for shared in (None, 1, "ok", ""):
        r.wrap(lambda model, messages, shared=shared, **kw: shared)("router", HI)
    assert RouteResult.of(None) is None
    assert RouteResult.of(1) is None
    assert RouteResult.of("") is None


# --------------------------------------------------------------------------- callbacks


class Raising(CustomLogger):
    """The user's own callback, of the worst kind."""

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
        raise RuntimeError("callback")

    def log_post_api_call(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        raise RuntimeError("callback")

    def log_success_event(self, *args: Any) -> None:
        raise RuntimeError("callback")

    def log_failure_event(self, *args: Any) -> None:
        raise RuntimeError("callback")

    async def async_log_success_event(self, *args: Any) -> None:
        raise RuntimeError("callback")

    async def async_log_failure_event(self, *args: Any) -> None:
        raise RuntimeError("callback")

    def log_stream_event(self, *args: Any) -> None:
        raise RuntimeError("callback")


@four_modes
def test_a_callback_that_raises(p: LoopbackProvider, mode: str) -> None:
    p.script("m", [lb.Status(500)])
    p.model("m", "fine")
    litellm.callbacks = [Raising()]
    r = router(p)
    for _ in range(2):
        assert ask(mode, r, timeout=5).answered() == "fine"
    let_go(r)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_callback_that_blocks_delays_no_other_call(p: LoopbackProvider, mode: str) -> None:
    p.model("m", "fine")
    free = threading.Event()

    class Blocking(CustomLogger):
        def log_success_event(self, *args: Any) -> None:
            free.wait(3)

    litellm.callbacks = [Blocking()]
    r = router(p)
    try:
        for _ in range(2):
            told = ask(mode, r, timeout=5)
            assert told.answered() == "fine"
            assert told.seconds < 1
        nothing_held(r)
    finally:
        free.set()


def test_functions_of_the_callers_that_raise_are_his_errors() -> None:
    """``fallback_on`` and ``clock``: what they raise is raised, and nothing is held."""

    def broken(error: Any) -> bool:
        raise LookupError("in fallback_on")

    r, _ = scripted(FakeClock(), "m", "n", script={"m": [TimeoutError("late")]}, fallback_on=[broken])
    for mode in MODES:
        told = ask(mode, r)
        told.raises(LookupError, TimeoutError)
        nothing_held(r)


def test_a_judge_that_calls_the_router_from_inside_an_attempt() -> None:
    """Calls made inside an attempt are never routed again: an error that says so, and no recursion."""
    r = plain_router()
    seen: list[BaseException] = []

    @r.wrap
    def call(model: str, messages: Any, **kwargs: Any) -> Any:
        try:
            litellm.completion("router", HI)
        except Exception as error:
            seen.append(error)
        return whole()

    with install(r):
        call("router", HI)
    assert len(seen) == 1
    assert "inside" in str(seen[0])
    nothing_held(r)


# --------------------------------------------------------------------------- interpreters

DECIDE = """
import json, sys
from router_plugin import Budget, Deployment, Router, SpecError, parse_router_string
from router_plugin.testing import FakeClock, Reply, ScriptedProvider
clock = FakeClock()
models = [Deployment(f"openai/{n}", quality=0.5 + i / 100, input_cost_per_token=(7 * i % 5 + 1) * 1e-6,
                     output_cost_per_token=(3 * i % 7 + 1) * 1e-6, supports={"vision": i % 2 == 0, "tools": True})
          for i, n in enumerate("abcdefghijkl")]
r = Router("r", models=models, seed=5, clock=clock, provider=ScriptedProvider(clock, {
    "openai/l": [TimeoutError("late")], "openai/k": [ConnectionError("reset")]}),
    budgets=[Budget(usd=1, per="day", key="user"), Budget(usd=2, name="all")])
hi = [dict(role="user", content="hi")]
said = []
for asked in ({}, {"willingness_to_pay": 0.001}, {"max_cost": 0.01}, {"model": "router@q:1|c:4.65e-03"},
              {"models": ["a", "c", "l"]}, {"routing": {"exclude_models": ["l", "k"], "min_quality": 0.52}}):
    result = r.route({"messages": hi, **asked})
    said.append([result.ranking, result.rejected, result.scores, result.notes])
answer = r.completion(messages=hi, user="ann", max_tokens=5)
said.append([answer, clock.slept, r.budgets(), r.stats()])
for wrong in (dict(max_costt=1), dict(routing={"on_infeasibel": 1}), dict(model="nope"), dict(max_cost=float("nan")),
              dict(api_key="k", base_url="u")):
    try:
        r.completion(messages=hi, **wrong)
    except Exception as error:
        said.append(f"{type(error).__name__}: {error}")
said.append(str(parse_router_string("router@skip_models:b,a|models:x,y|t:1|q:2|cost_thrs:1,2|itl<5")))
print(json.dumps(said, sort_keys=False))
"""


@pytest.fixture(scope="module")
def decided() -> str:
    said = in_subprocess(DECIDE, env={"PYTHONHASHSEED": "0"})
    assert "openai/l" in said
    return said


@pytest.mark.parametrize("seed", ["1", "4242"])
def test_decisions_do_not_depend_on_pythonhashseed(decided: str, seed: str) -> None:
    assert in_subprocess(DECIDE, env={"PYTHONHASHSEED": seed}) == decided


def test_python_without_assertions_decides_the_same(decided: str) -> None:
    assert in_subprocess(DECIDE, "-O") == decided


def test_python_that_takes_warnings_for_errors(decided: str) -> None:
    """Nothing of ours warns while it is imported or called: not with -W error, not in development mode."""
    code = "import warnings\nwarnings.simplefilter('error')\nimport router_plugin.plugin, router_plugin.wrap\n" + DECIDE
    assert in_subprocess(code, "-X", "dev") == decided


@forks
def test_an_interception_goes_on_in_a_child(p: LoopbackProvider) -> None:
    p.model("m", "fine")
    r = router(p)

    def child() -> Any:
        answer = litellm.completion("gpt-4o", [{"role": "user", "content": "hi"}], timeout=5)
        return answer.choices[0].message.content

    with install(r, intercept=["gpt-4o"]):
        assert in_a_child(child) == "'fine'"
