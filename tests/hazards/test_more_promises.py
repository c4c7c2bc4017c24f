"""hazards.md 1: hosts that never accept, the retry budget, ejection and probes, as whole calls see them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import anyio
import litellm
import pytest
from stage import HI, PRICE, FakeClock, Says, ask, four_modes, go, let_go, nothing_held, router, scripted, spent

from router_plugin import Budget, Deployment, NoCandidateError, Router
from router_plugin.state.retry_budget import MOST, RetryBudget
from router_plugin.testing import loopback as lb
from router_plugin.testing.loopback import LoopbackProvider

# The promise is 50 ms; the machines that run this are noisy.
LATE_S = 0.25


# --------------------------------------------------------------------------- deadline: the connect timer


@pytest.fixture
def deaf() -> Iterator[str]:
    """The address of a host that takes no connection and refuses none."""
    with contextlib.ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(20):
            filler = open_sockets.enter_context(socket.socket())
            filler.settimeout(0.1)
            try:
                filler.connect(listener.getsockname())
            except TimeoutError:
                break
        else:
            pytest.skip("this platform accepts more than it is asked to")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


@four_modes
def test_a_host_that_never_accepts_a_connection_is_given_up_in_time(p: LoopbackProvider, deaf: str, mode: str) -> None:
    p.model("n", "fine")
    nobody = Deployment("openai/m", name="m", quality=0.99, api_base=deaf, api_key="k", **PRICE)
    r = Router("r", models=[nobody, *router(p, "n").spec.deployments], budgets=[Budget(1)])
    told = ask(mode, r, timeout=3, max_tokens=50, routing={"attempt_timeout_s": 0.2})
    assert told.answered() == "fine"
    assert told.seconds <= 0.2 + LATE_S
    assert [a.deployment for a in told.result.attempts] == ["m", "n"]
    let_go(r)


@four_modes
def test_a_call_to_a_host_that_never_accepts_ends_by_its_deadline(deaf: str, mode: str) -> None:
    r = Router("r", models=[Deployment("openai/m", api_base=deaf, api_key="k", **PRICE)], budgets=[Budget(1)])
    told = ask(mode, r, timeout=0.3, max_tokens=50)
    told.raises(litellm.Timeout)
    assert told.seconds <= 0.3 + LATE_S
    let_go(r)


# --------------------------------------------------------------------------- exactly one end: task groups


def test_a_task_group_whose_other_task_fails_leaves_nothing_held(p: LoopbackProvider) -> None:
    """anyio cancels again at every await; a shield does not help there."""
    p.always("m", lb.Silent())
    p.model("n", "one two three four", itl_s=0.05)
    silent, slow = router(p, "m"), router(p, "n")

    async def read() -> None:
        async for _ in await slow.acompletion(messages=HI, stream=True, max_tokens=50):
            pass

    async def whole() -> None:
        await silent.acompletion(messages=HI, max_tokens=50)

    async def fails() -> None:
        await asyncio.to_thread(p.wait_until, lambda: p.calls() == 2)
        await asyncio.sleep(0.06)
        raise LookupError("the other task")

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for task in (read, whole, fails):
                group.start_soon(task)

    with pytest.raises(BaseException) as caught:  # a group of exceptions
        go(main())
    assert [type(error) for error in caught.value.exceptions] == [LookupError]
    let_go(silent)
    let_go(slow)
    assert spent(silent) > 0
    assert spent(slow) > 0


# --------------------------------------------------------------------------- retries never amplify


def emptied() -> RetryBudget:
    budget = RetryBudget()
    budget.tokens = 0.0
    return budget


@pytest.mark.parametrize(("kind", "cost"), [("throttled", 5), ("fault", 14), ("hedge", 5)])
def test_a_retry_costs_five_if_throttled_and_fourteen_otherwise(kind: str, cost: int) -> None:
    budget = emptied()
    for _ in range(10 * cost):
        budget.deposit()
    taken = sum(budget.take(kind, 100.0) for _ in range(100))
    assert taken == 10 + 1, "ten are paid for, and one a second is always allowed"


def test_deposits_are_capped_so_that_quiet_weeks_buy_no_storm() -> None:
    budget = RetryBudget()
    for _ in range(1_000_000):
        budget.deposit()
    assert budget.tokens == MOST
    assert sum(budget.take("throttled", 100.0) for _ in range(10_000)) == MOST / 5 + 1


def test_low_traffic_may_always_retry_once_a_second() -> None:
    budget = emptied()
    taken = [now for now in range(0, 10_000, 250) if budget.take("fault", now / 1_000)]
    assert taken == list(range(0, 10_000, 1_000))


@four_modes
def test_a_spent_retry_budget_asks_no_deployment_twice_and_still_moves_on(mode: str) -> None:
    clock = FakeClock()
    oops = litellm.InternalServerError("oops", "openai", "m")
    r, provider = scripted(clock, "m", "n", script={"m": [oops, Says("again")], "n": [Says("next")]})
    r._home.fleet._retries.tokens = 0.0
    r._home.fleet._retries.take("fault", clock.monotonic())  # this second's free one
    assert ask(mode, r).answered() == "next"
    assert [name for name, _ in provider.calls] == ["m", "n"], "another deployment is no load on what failed"


@four_modes
def test_a_spent_retry_budget_lets_one_call_a_second_retry(mode: str) -> None:
    clock = FakeClock()
    oops = litellm.InternalServerError("oops", "openai", "m")
    r, provider = scripted(clock, script={"m": [oops, Says("again"), oops, oops, Says("again")]})
    r._home.fleet._retries.tokens = -100.0
    assert ask(mode, r).answered() == "again"
    ask(mode, r).raises(litellm.InternalServerError)
    assert len(provider.calls) == 3
    clock.advance(1)
    assert ask(mode, r).answered() == "again"
    assert len(provider.calls) == 5


# --------------------------------------------------------------------------- ejection


class Hospital:
    """Deployments ``m`` (the best) and ``n`` behind an async function; ``m`` fails until it is mended, and may be made
    to keep its callers waiting."""

    def __init__(self, *names: str) -> None:
        self.clock = FakeClock()
        self.asked: list[str] = []
        self.mended = False
        self.leave: asyncio.Event | None = None
        made = [Deployment(f"openai/{n}", name=n, quality=0.9 - i / 10, **PRICE) for i, n in enumerate(names)]
        self.router = Router("r", models=made, budgets=[Budget(1)], clock=self.clock)
        self.call = self.router.wrap(self._call)

    async def _call(self, model: str, messages: Any, **kwargs: Any) -> Any:
        self.asked.append(model[-1])
        if model == "openai/m":
            if not self.mended:
                raise TimeoutError("late")
            if self.leave is not None:
                await self.leave.wait()
        return {"choices": [{"message": {"content": model}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}

    async def ejects_m(self) -> None:
        for _ in range(5):
            await self.call("router", HI)
        self.asked.clear()
        await self.call("router", HI)
        assert self.asked == ["n"]
        self.asked.clear()
        assert self.router.stats()["m"]["state"] == "cooling"
        self.clock.advance(7)  # 5 s, jittered by 20 %
        self.mended, self.leave = True, asyncio.Event()


def test_one_probe_goes_to_a_half_open_deployment_however_many_calls_come_at_once() -> None:
    at = Hospital("m", "n")

    async def main() -> None:
        await at.ejects_m()
        assert at.router.stats()["m"]["state"] == "half_open"
        calls = [asyncio.ensure_future(at.call("router", HI)) for _ in range(50)]
        while sum(call.done() for call in calls) < 49:
            await asyncio.sleep(0)
        assert at.asked.count("m") == 1
        assert at.leave is not None
        at.leave.set()
        await asyncio.gather(*calls)
        await at.call("router", HI)
        assert at.asked[-1] == "m", "the probe closed it"

    asyncio.run(main())
    nothing_held(at.router)


def test_a_probe_that_is_cancelled_is_given_back_to_the_next_call() -> None:
    at = Hospital("m", "n")

    async def main() -> None:
        await at.ejects_m()
        probe = asyncio.ensure_future(at.call("router", HI))
        while at.asked != ["m"]:
            await asyncio.sleep(0)
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        assert at.leave is not None
        at.leave.set()
        await at.call("router", HI)
        assert at.asked == ["m", "m"]

    asyncio.run(main())
    assert at.router.stats()["m"]["state"] in ("ok", "slow_start")
    nothing_held(at.router)


def test_a_probe_whose_money_is_refused_is_given_back_too() -> None:
    """It was admitted and never made."""
    at = Hospital("m", "n")

    async def main() -> None:
        await at.ejects_m()
        assert at.leave is not None
        at.leave.set()
        for _ in range(3):
            with pytest.raises(NoCandidateError):
                await at.call("router", HI, max_cost=1e-9)
        await at.call("router", HI)
        assert at.asked == ["m"]

    asyncio.run(main())
    nothing_held(at.router)


@four_modes
def test_the_last_candidate_fails_fast_between_probes_and_says_when_to_come_back(mode: str) -> None:
    clock = FakeClock()
    r, provider = scripted(clock, script={"m": [TimeoutError("late")]})
    error: BaseException | None = None
    for _ in range(30):
        error = ask(mode, r).error
        if isinstance(error, NoCandidateError):
            break
        assert isinstance(error, TimeoutError)
        clock.advance(0.3)
    assert isinstance(error, NoCandidateError), "dead for nine seconds, and every call still goes there"
    assert error.retry_after_s is not None
    assert 0 < error.retry_after_s <= 30
    made = len(provider.calls)
    for _ in range(10):
        ask(mode, r).raises(NoCandidateError)
    assert len(provider.calls) == made, "fail fast in between"
    clock.advance(error.retry_after_s + 0.01)
    ask(mode, r).raises(TimeoutError)
    ask(mode, r).raises(NoCandidateError)
    assert len(provider.calls) == made + 1, "one probe an interval"
    clock.advance(301)
    provider.script("m", [Says("back")])
    assert ask(mode, r).answered() == "back"
    nothing_held(r)


def test_slow_calls_eject_too() -> None:
    """It still answers, twenty times slower than usual: that is no health."""
    clock = FakeClock()
    quick, slow = Says("quick", latency_s=0.5), Says("slow", latency_s=10)
    r, provider = scripted(clock, "m", "n", script={"m": [quick] * 20 + [slow], "n": [Says("n", latency_s=0.5)]})
    for _ in range(45):
        ask("sync", r, timeout=60).answered()
    assert provider.calls[19][0] == "m"
    assert provider.calls[-1][0] == "n"
    assert sum(name == "m" for name, _ in provider.calls) < 40


def test_traffic_comes_back_slowly_after_an_ejection() -> None:
    clock = FakeClock()
    made = [Deployment(f"openai/{name}", name=name, quality=0.8, **PRICE) for name in "mn"]
    r, provider = scripted(clock, models=made, seed=3, script={"m": [TimeoutError("late")]})
    while r.stats()["m"]["state"] != "cooling":
        ask("sync", r).answered()
    provider.script("m", [Says("back")])
    clock.advance(7)
    while r.stats()["m"]["state"] not in ("slow_start", "ok"):
        ask("sync", r).answered()
    shares = []
    for _ in range(2):
        provider.calls.clear()
        for _ in range(100):
            ask("sync", r).answered()
        shares.append(sum(name == "m" for name, _ in provider.calls))
        clock.advance(20)
    assert shares[0] < 25 < 35 < shares[1], shares


def test_ejections_are_those_of_one_deployment() -> None:
    """Its namesake at another endpoint goes on."""
    clock = FakeClock()
    made = [
        Deployment("openai/m", name=name, quality=quality, api_base=f"http://{name}/v1", **PRICE)
        for name, quality in (("east", 0.9), ("west", 0.8))
    ]
    r, provider = scripted(clock, models=made, script={"east": [ConnectionError("reset")]})
    for _ in range(8):
        ask("sync", r).answered()
    assert r.stats()["east"]["state"] == "cooling"
    assert r.stats()["west"]["state"] == "ok"
    assert provider.calls[-1][0] == "west"
