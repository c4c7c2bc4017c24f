"""A thousand calls at once against a budget of one dollar, first in threads, then in tasks: it is never overspent.

Each call costs four tenths of a cent, so about 250 of a thousand can be paid for; the others are refused at once,
before anything is sent. Among the tasks some are cancelled in mid-flight and some drop their stream half read.
"""

import asyncio
import gc
import os
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # litellm: do not download prices when imported

import litellm

from router_plugin import Budget, BudgetExceededError, Deployment, Router, install
from router_plugin.testing import LoopbackProvider

# A task that is cancelled at the wrong moment leaves a coroutine of litellm's behind that was not begun yet.
warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
CALLS = 1_000
CALL = {
    "model": "router/dollar",
    "messages": [{"role": "user", "content": "Tell me something I do not know."}],
    "user": "ann",
    "max_tokens": 100,
}


def main() -> None:
    with LoopbackProvider() as provider:
        provider.model("m", reply=" ".join(["word"] * 100), ttft_s=0.05, chunks=10)
        show("in threads", provider, in_threads)
        show("in tasks, some of them cancelled, some streams dropped", provider, lambda: asyncio.run(in_tasks()))


def show(title: str, provider: LoopbackProvider, work: Any) -> None:
    deployment = Deployment(
        "openai/m",
        api_base=provider.openai_base,
        api_key="not-needed",
        input_cost_per_token=1e-6,
        output_cost_per_token=4e-5,
    )
    router = Router("dollar", models=[deployment], budgets=[Budget(usd=1, per="day", key="user")])
    provider.forget()
    with install(router), watched(router) as most:
        outcomes = work()
        gc.collect()  # a stream that was dropped unread is settled when Python's collector finds it
    (budget,) = router.budgets()
    print(f"{CALLS:,} calls at once, {title}")
    print(f"    {', '.join(f'{count} {what}' for what, count in outcomes.most_common())}")
    print(f"    requests the provider saw: {provider.calls()}, at most {provider.max_in_flight} at the same time")
    print(f"    spent ${budget['settled_usd']:.6f}, left reserved ${budget['reserved_usd']:.6f}")
    print(f"    the most that was ever spent and reserved together: ${most[0]:.6f}\n")
    assert outcomes.total() == CALLS
    assert most[0] <= 1
    assert budget["settled_usd"] <= 1
    assert budget["reserved_usd"] == 0
    assert outcomes["refused"]
    assert outcomes["answered"]


@contextmanager
def watched(router: Router) -> Iterator[list[float]]:
    """The largest sum of what was settled and reserved, looked at about a thousand times a second."""
    most, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.001):
            for record in router.budgets():
                most[0] = max(most[0], record["settled_usd"] + record["reserved_usd"])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


def in_threads() -> Counter[str]:
    start = threading.Barrier(CALLS)

    def one(_: int) -> str:
        start.wait()
        try:
            litellm.completion(**CALL)
        except BudgetExceededError:
            return "refused"
        return "answered"

    with ThreadPoolExecutor(CALLS) as pool:
        return Counter(pool.map(one, range(CALLS)))


async def in_tasks() -> Counter[str]:
    async def one(number: int) -> str:
        try:
            if number % 5:
                await litellm.acompletion(**CALL)
                return "answered"
            stream = await litellm.acompletion(**CALL, stream=True)
            async for _ in stream:
                return "dropped their stream"  # neither read to its end nor closed: it settles all the same
        except BudgetExceededError:
            return "refused"
        return "answered"

    tasks = [asyncio.create_task(one(number)) for number in range(CALLS)]
    await asyncio.sleep(0.2)
    for task in tasks[::7]:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    return Counter("cancelled" if isinstance(end, asyncio.CancelledError) else str(end) for end in ends)


if __name__ == "__main__":
    main()
