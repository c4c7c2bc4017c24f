"""This router, and an oracle that sees the faults, in a world of ``faults_world``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from faults_world import Ask, Refused, World

from router_plugin import Budget, Deployment, Router, RouterError
from router_plugin.provider.catalog import declared
from router_plugin.provider.functions import FunctionProvider
from router_plugin.records import Answered, Attempt, Failed, ModelFacts, Request
from router_plugin.testing.virtual_time import VirtualClock

SLO_TTFT_S, SLO_TOTAL_S, TIMEOUT_S = 5.0, 15.0, 30.0


@dataclass
class Outcome:
    """What the callers of one run saw. Times are seconds; those of answers only."""

    calls: int = 0
    answered: int = 0
    good: int = 0
    limited: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    ttft: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    overspent: float = 0.0


class WorldError(Exception):
    """A provider's answer as an SDK raises it: a status, and headers."""

    def __init__(self, status: int, retry_after_s: float | None) -> None:
        self.status_code = status
        self.litellm_response_headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:.3f}"}
        super().__init__(f"HTTP {status}")


class WorldProvider(FunctionProvider):
    """The world behind the router's own port."""

    def __init__(self, world: World) -> None:
        super().__init__(lambda **_: None)
        self._world = world

    async def acall(self, attempt: Attempt) -> Answered | Failed:
        return await FunctionProvider(partial(self._open, attempt)).acall(attempt)

    async def _open(self, attempt: Attempt, **kwargs: Any) -> Any:
        chunks = self._chunks(attempt.candidate.name, kwargs["ask"])
        if kwargs.get("stream"):
            return chunks
        last = [chunk async for chunk in chunks][-1]
        choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
        return {"choices": [choice], "usage": last["usage"]}

    async def _chunks(self, name: str, ask: Ask) -> AsyncIterator[Any]:
        try:
            async for _ in self._world.answer(name, ask):
                yield {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}
        except Refused as refused:
            raise WorldError(refused.status, refused.retry_after_s) from None
        usage = {"prompt_tokens": ask.input_tokens, "completion_tokens": ask.output_tokens}
        yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}

    def facts(self, deployment: Deployment) -> ModelFacts:
        return declared(deployment, ModelFacts(provider=deployment.provider))

    def stamp(self) -> int:
        return 0

    def count_tokens(self, model: str, request: Request) -> int:
        return request.estimate


MODES: dict[str, dict[str, Any]] = {
    "balanced": {"weights": {"c": 1.0, "t": 0.002}, "balance_tolerance": 0.5, "hedge_after": "p95"},
    "cheapest": {"objective": "cost", "max_ttft_ms": SLO_TTFT_S * 600, "max_itl_ms": 60, "hedge_after": "p95"},
    "on a budget": {"weights": {"c": 1.0, "t": 0.002}, "balance_tolerance": 0.5, "hedge_after": "p95"},
    "fastest": {"weights": {"t": 1.0}, "balance_tolerance": 150.0, "hedge_after": "p95"},
    "fastest, whole": {"weights": {"t": 1.0, "i": 100.0}, "balance_tolerance": 150.0, "hedge_after": "p95"},
}


BUDGET_USD_A_MINUTE = {"on a budget": 0.06}  # about half of what the traffic costs in "balanced"


def router(world: World, clock: VirtualClock, usd: float = 1e6, **options: Any) -> Router:
    made = [
        Deployment(
            f"{place.provider}/{place.name}",
            name=place.name,
            quality=0.8,
            input_cost_per_token=place.input_price / 1e6,
            output_cost_per_token=place.output_price / 1e6,
            max_output_tokens=4_000,
        )
        for place in world.places.values()
    ]
    budgets = [Budget(usd=usd, name="all")]
    return Router(
        "world", models=made, budgets=budgets, provider=WorldProvider(world), clock=clock, seed=world.seed, **options
    )


async def ours(world: World, clock: VirtualClock, mode: str) -> Outcome:
    usd = BUDGET_USD_A_MINUTE.get(mode, 1e6) * world.traffic[-1].at / 60
    whole = mode.endswith("whole")
    r = router(world, clock, usd, **MODES[mode])

    async def one(ask: Ask) -> AsyncIterator[Any]:
        messages = [{"role": "user", "content": "x" * (4 * ask.input_tokens)}]
        answer = await r.acompletion(messages=messages, stream=not whole, timeout=TIMEOUT_S, ask=ask, max_tokens=1_000)
        if whole:
            yield answer
            return
        async for chunk in answer:
            yield chunk

    outcome = await drive(world, one, (WorldError, RouterError, TimeoutError, ConnectionError), whole)
    account = r.budgets()[0]
    if account["reserved_usd"] or any(seen["in_flight"] for seen in r.stats().values()):
        raise RuntimeError(f"something is left: {account}")
    outcome.overspent = max(0.0, sum(seen.cost for seen in world.seen.values()) - usd)
    return outcome


async def oracle(world: World, clock: VirtualClock, mode: str) -> Outcome:
    """Sees every fault and every limit; asks the one place that is best at this moment, under the same deadline."""

    async def one(ask: Ask) -> AsyncIterator[Any]:
        while True:
            now = world.now()
            able = [n for n in world.places if not world.is_dead(n, now) and world.room(n, now)]
            able = [n for n in able if world.fault(n, now, "flaky") is None] or able
            if able:
                break
            await asyncio.sleep(0.1)

        def ttft(name: str) -> float:
            return world.places[name].ttft_s * world.slowness(name, world.now())

        def total(name: str) -> float:
            gap = world.places[name].itl_s * world.slowness(name, world.now())
            return ttft(name) + gap * ask.output_tokens

        if mode == "cheapest":
            within = [n for n in able if ttft(n) < SLO_TTFT_S * 0.6 and total(n) < SLO_TOTAL_S * 0.6] or able
            name = min(within, key=lambda n: world.cost(n, ask))
        else:
            name = min(able, key=ttft)
        async for _ in world.answer(name, ask):
            yield None
        yield None

    return await drive(world, one, (Refused, ConnectionError, asyncio.TimeoutError), deadline_s=TIMEOUT_S)


async def drive(
    world: World,
    one: Callable[[Ask], AsyncIterator[Any]],
    expected: tuple[type[BaseException], ...],
    whole: bool = False,
    deadline_s: float | None = None,
) -> Outcome:
    """All of the traffic, each request at its time. ``whole``: answers come in one piece, without a first token;
    ``deadline_s`` is held to here, for those that do not keep one themselves."""
    loop, outcome = asyncio.get_running_loop(), Outcome()
    world.began = loop.time()

    async def caller(ask: Ask) -> None:
        await asyncio.sleep(max(0.0, ask.at - world.now()))
        began, times = world.now(), []
        outcome.calls += 1

        async def answered() -> None:
            async for _ in one(ask):
                times.append(world.now())

        try:
            await (answered() if deadline_s is None else asyncio.wait_for(answered(), deadline_s))
        except expected as error:
            kind = str(getattr(error, "status_code", "")) or type(error).__name__
            outcome.errors[kind] = outcome.errors.get(kind, 0) + 1
            outcome.limited += kind == "429"
            return
        ttft, total = (times or [world.now()])[0] - began, world.now() - began
        outcome.answered += 1
        outcome.good += (whole or ttft <= SLO_TTFT_S) and total <= SLO_TOTAL_S
        outcome.ttft.append(ttft)
        outcome.total.append(total)

    await asyncio.gather(*(caller(ask) for ask in world.traffic))
    return outcome


Runner = Callable[[World, VirtualClock, str], Awaitable[Outcome]]
