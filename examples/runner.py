"""Sends a workload through plain litellm: calls from a pool of threads and from asyncio tasks, at the same time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dashboard import Board, Outcome, Status
from workload import Ask

from router_plugin import RouterError, RouteResult, StreamInterruptedError
from router_plugin.testing import LoopbackProvider

THREADS = TASKS = 8
HELLO = [{"role": "user", "content": "Hello?"}]


def run(asks: Sequence[Ask], board: Board) -> None:
    """Make all calls, about in their order; returns when the last one has ended."""
    tasks = threading.Thread(target=lambda: asyncio.run(_run_tasks([a for a in asks if "async" in a.mode], board)))
    tasks.start()
    with ThreadPoolExecutor(THREADS) as pool:
        for ask in asks:
            if "async" not in ask.mode:
                pool.submit(_in_thread, ask, board)
    tasks.join()


def warm_up() -> None:
    """litellm imports a good deal with the first call of each kind; that should not be taken for slow models."""
    import litellm

    async def asynchronous(**kwargs: Any) -> None:
        async for _ in await litellm.acompletion(stream=True, **kwargs):
            pass
        await litellm.acompletion(**kwargs)

    with LoopbackProvider() as server:
        for model, base in (("openai/warm", server.openai_base), ("anthropic/warm", server.url)):
            hello: dict[str, Any] = {"model": model, "api_base": base, "api_key": "not-needed", "messages": HELLO}
            litellm.completion(**hello)
            list(litellm.completion(stream=True, **hello))
            asyncio.run(asynchronous(**hello))


async def _run_tasks(asks: Sequence[Ask], board: Board) -> None:
    gate = asyncio.Semaphore(TASKS)

    async def one(ask: Ask) -> None:
        async with gate:
            await _in_task(ask, board)

    await asyncio.gather(*(one(ask) for ask in asks))


def _in_thread(ask: Ask, board: Board) -> None:
    import litellm

    started, restarts = time.monotonic(), 0
    try:
        answer = litellm.completion(**ask.kwargs)
        if ask.kwargs.get("stream"):
            restarts = sum(1 for chunk in answer if getattr(chunk, "router_event", None) == "restart")
        _record(ask, board, "answered", answer, started, restarts)
    except Exception as error:
        _record(ask, board, _status(error), error, started, restarts)


async def _in_task(ask: Ask, board: Board) -> None:
    import litellm

    started, restarts = time.monotonic(), 0
    try:
        answer = await litellm.acompletion(**ask.kwargs)
        if ask.kwargs.get("stream"):
            restarts = sum([1 async for chunk in answer if getattr(chunk, "router_event", None) == "restart"])
        _record(ask, board, "answered", answer, started, restarts)
    except Exception as error:
        _record(ask, board, _status(error), error, started, restarts)


def _status(error: Exception) -> Status:
    """A stream that broke, a call the router refused, or one where every attempt failed (litellm's own exception)."""
    if isinstance(error, StreamInterruptedError):
        return "broken"
    return "refused" if isinstance(error, RouterError) else "failed"


def _record(ask: Ask, board: Board, status: Status, answer: Any, started: float, restarts: int) -> None:
    seconds = time.monotonic() - started
    result = RouteResult.of(answer)
    board.add(Outcome(ask.user, ask.topic, _dials(ask), status, result, answer, seconds, restarts))


def _dials(ask: Ask) -> str:
    """The call's model name and router settings, in words."""
    ours = ("max_cost", "willingness_to_pay", "routing")
    return ", ".join([ask.model, *(f"{name}={ask.kwargs[name]}" for name in ours if name in ask.kwargs)])
