"""The four modes a call can be made in, everything an answer of any kind says, and what litellm's callbacks saw."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
from litellm.litellm_core_utils.thread_pool_executor import executor

from router_plugin import Deployment, Router, RouteResult
from router_plugin.testing.loopback import LoopbackProvider

MESSAGES = [{"role": "user", "content": "How many moons has Mars?"}]
PROMPT_TOKENS = 6 + 4  # 24 characters / 4 and 4 for the message
PATIENCE_S = 10.0

# USD per token in and out, and quality; none of these names is in litellm's price map.
PRICES = {"small": (1e-7, 2e-7), "big": (1e-6, 2e-6), "claude-x": (3e-6, 15e-6)}
QUALITIES = {"small": 0.6, "big": 0.9, "claude-x": 0.7}
REPLIES = {"small": "small says two", "big": "big says two moons", "claude-x": "claude says Phobos and Deimos"}


@dataclass(frozen=True)
class Mode:
    """How a call is made."""

    asynchronous: bool
    stream: bool

    def __str__(self) -> str:
        return ("async" if self.asynchronous else "sync") + ("-stream" if self.stream else "")


SYNC, ASYNC, SYNC_STREAM, ASYNC_STREAM = Mode(False, False), Mode(True, False), Mode(False, True), Mode(True, True)
four_modes = pytest.mark.parametrize("mode", [SYNC, ASYNC, SYNC_STREAM, ASYNC_STREAM], ids=str)


@dataclass
class Heard:
    """An answer taken to its end."""

    answer: Any
    chunks: list[Any] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(map(_text, self.chunks)) if self.chunks else _text(self.answer)

    @property
    def result(self) -> RouteResult:
        result = RouteResult.of(self.answer)
        assert result is not None, f"no record of a routed call on {type(self.answer).__name__}"
        return result


def _text(answer: Any) -> str:
    """The text of a chat, text completion or responses answer, or of one chunk of a stream of them."""
    if getattr(answer, "type", None) == "response.output_text.delta":
        return str(answer.delta)
    if hasattr(answer, "output"):
        return "".join(part.text for item in answer.output if item.type == "message" for part in item.content)
    said = []
    for choice in getattr(answer, "choices", None) or ():
        part = getattr(choice, "message", None) or getattr(choice, "delta", None)
        said.append((choice.text if part is None else part.content) or "")
    return "".join(said)


async def call(mode: Mode, sync: Callable[..., Any], asynchronous: Any, /, *args: Any, **kwargs: Any) -> Heard:
    """Call in one of the four modes and take everything there is. Sync calls get a thread without an event loop."""
    if mode.stream:
        kwargs["stream"] = True
    if not mode.asynchronous:
        return await asyncio.to_thread(_blocking, sync, args, kwargs, mode.stream)
    answer = await asynchronous(*args, **kwargs)
    return Heard(answer, [chunk async for chunk in answer] if mode.stream else [])


def _blocking(sync: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], stream: bool) -> Heard:
    answer = sync(*args, **kwargs)
    return Heard(answer, list(answer) if stream else [])


async def complete(mode: Mode, model: str = "router/support", messages: Any = MESSAGES, **kwargs: Any) -> Heard:
    """litellm's completion or acompletion."""
    return await call(mode, litellm.completion, litellm.acompletion, model=model, messages=messages, **kwargs)


def deployment(p: LoopbackProvider, model: str, /, **more: Any) -> Deployment:
    """One of the loopback's models, with its price and quality."""
    provider, base = ("anthropic", p.url) if model.startswith("claude") else ("openai", p.openai_base)
    given: dict[str, Any] = {"api_base": base, "api_key": "sk-loopback", "quality": QUALITIES.get(model)}
    if model in PRICES:
        given["input_cost_per_token"], given["output_cost_per_token"] = PRICES[model]
    return Deployment(f"{provider}/{model}", **{**given, **more})


def make_router(
    p: LoopbackProvider, name: str = "support", models: Sequence[str] = ("small", "big"), **more: Any
) -> Router:
    """A router over the loopback's models; the best one is "big"."""
    return Router(name, models=[deployment(p, model) for model in models], seed=1, **more)


def cost(model: str, heard: Heard) -> float:
    """What an answer of a loopback model costs at its deployment's prices: one token a word, and the prompt."""
    price_in, price_out = PRICES[model]
    return PROMPT_TOKENS * price_in + len(heard.text.split()) * price_out


# --------------------------------------------------------------------------- what callbacks saw


@dataclass(frozen=True)
class Event:
    """One event of litellm's, as a user's callback gets it."""

    kind: str  # "success" | "failure"
    model: str
    cost: float | None
    tokens: tuple[int, int] | None
    provider: str | None
    kwargs: dict[str, Any] = field(repr=False, compare=False)


class LoggingInFlight:
    """What litellm has handed to its logging threads and not finished; watches from ``start`` to ``stop``."""

    def __init__(self) -> None:
        self._submit = executor.submit
        self._futures: list[Future[Any]] = []

    def start(self) -> None:
        def tracked(*args: Any, **kwargs: Any) -> Future[Any]:
            future = self._submit(*args, **kwargs)
            self._futures.append(future)
            return future

        executor.submit = tracked  # type: ignore[method-assign]

    def stop(self) -> None:
        executor.submit = self._submit  # type: ignore[method-assign]

    async def ended(self) -> None:
        """Wait until litellm's tasks of this loop, its logging worker, executor and failure threads are idle."""
        while True:
            await self._tasks_ended()
            if not self._futures:
                break
            future = self._futures.pop()
            if not future.cancelled():
                await asyncio.wait_for(asyncio.wrap_future(future), PATIENCE_S)
        for thread in threading.enumerate():
            if getattr(getattr(thread, "_target", None), "__name__", "") == "failure_handler":
                thread.join(PATIENCE_S)
        if self._futures:
            await self.ended()

    async def _tasks_ended(self) -> None:
        """litellm hands a report to a task, which hands it to the worker's queue."""
        await asyncio.wait_for(GLOBAL_LOGGING_WORKER.flush(), PATIENCE_S)
        for_good = ("LoggingWorker._worker_loop", "LoggingWorker._flush_timeout_summary")
        running = [
            task
            for task in asyncio.all_tasks() - {asyncio.current_task()}
            if getattr(task.get_coro(), "__qualname__", "") not in for_good
        ]
        if running:
            await asyncio.wait(running, timeout=PATIENCE_S)
            await asyncio.wait_for(GLOBAL_LOGGING_WORKER.flush(), PATIENCE_S)


LOGGING = LoggingInFlight()


class Events(CustomLogger):
    """A user's logger. ``await settled()`` waits until litellm has nothing left to report."""

    def __init__(self) -> None:
        super().__init__()
        self._all: list[Event] = []

    async def settled(self) -> list[Event]:
        """All events of the test so far, and no more to come of them."""
        await LOGGING.ended()
        return list(self._all)

    def _seen(self, kind: str, kwargs: dict[str, Any], response: Any) -> None:
        self._all.append(event_of(kind, kwargs, response))

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._seen("success", kwargs, response_obj)

    def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._seen("failure", kwargs, response_obj)

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._seen("success", kwargs, response_obj)

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._seen("failure", kwargs, response_obj)


def event_of(kind: str, kwargs: dict[str, Any], response: Any) -> Event:
    """What one call of a callback said."""
    usage, tokens = getattr(response, "usage", None), None
    if usage is not None:
        chat = hasattr(usage, "prompt_tokens")
        names = ("prompt_tokens", "completion_tokens") if chat else ("input_tokens", "output_tokens")
        tokens = (getattr(usage, names[0]), getattr(usage, names[1]))
    provider = kwargs.get("custom_llm_provider")
    return Event(kind, kwargs["model"], kwargs.get("response_cost"), tokens, provider, kwargs)
