"""A provider without a network, for deterministic tests: scripted answers, failures and latencies in virtual time."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..clock import Clock
from ..provider.catalog import declared
from ..provider.functions import FunctionProvider
from ..records import Answered, Attempt, Failed, ModelFacts, Request
from ..spec.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Reply:
    """What one call gets: text after ``latency_s`` (virtual), or ``error``.

    A stream comes in one chunk a word; ``break_after`` words it raises ``error`` in its middle. ``usage=False`` leaves
    the usage out.
    """

    text: str = "ok"
    input_tokens: int = 10
    output_tokens: int = 5
    latency_s: float = 0.0
    error: BaseException | None = None
    break_after: int | None = None
    usage: bool = True


class ScriptedProvider(FunctionProvider):
    """``ScriptedProvider(clock, {"model": [Reply(…), error, …]})``: each model's list is consumed, then its last entry
    repeats. Exceptions in a list are raised. ``calls`` lists every call as (deployment, keyword arguments).

    Prices and limits are what the deployments declare; a deployment that declares none is unpriced.
    """

    def __init__(self, clock: Clock, script: dict[str, Iterable[Reply | BaseException]] | None = None) -> None:
        super().__init__(self._answer)
        self._clock = clock
        self._script: dict[str, deque[Reply]] = defaultdict(deque)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        for model, replies in (script or {}).items():
            self.script(model, replies)

    def script(self, model: str, replies: Iterable[Reply | BaseException]) -> None:
        """Replace what comes next from a model (or deployment name)."""
        self._script[model] = deque(Reply(error=r) if isinstance(r, BaseException) else r for r in replies)

    def _next(self, attempt: Attempt) -> Reply:
        self.calls.append((attempt.candidate.name, {**attempt.kwargs, "output_cap": attempt.cap}))
        for name in (attempt.candidate.name, attempt.candidate.deployment.model):
            replies = self._script.get(name)
            if replies:
                return replies.popleft() if len(replies) > 1 else replies[0]
        return Reply()

    def call(self, attempt: Attempt) -> Answered | Failed:
        return FunctionProvider(partial(self._answer, attempt, self._next(attempt))).call(attempt)

    async def acall(self, attempt: Attempt) -> Answered | Failed:
        return await FunctionProvider(partial(self._aanswer, attempt, self._next(attempt))).acall(attempt)

    def _pass(self, reply: Reply, limit_s: float) -> None:
        """Let the reply's latency pass; beyond the attempt's time it is a time-out."""
        if reply.latency_s > limit_s:
            if limit_s:
                self._clock.sleep(limit_s)
            raise TimeoutError(f"scripted: {reply.latency_s} s is longer than the attempt's {limit_s:.3g} s")
        if reply.latency_s:
            self._clock.sleep(reply.latency_s)
        if reply.error is not None and reply.break_after is None:
            raise reply.error

    async def _apass(self, reply: Reply, limit_s: float) -> None:
        if reply.latency_s:
            await self._clock.asleep(min(reply.latency_s, limit_s))
        self._pass(replace(reply, latency_s=0.0 if reply.latency_s <= limit_s else math.inf), 0.0)

    def _answer(self, attempt: Attempt, reply: Reply, **kwargs: Any) -> Any:
        self._pass(reply, attempt.timeout_s)
        return _chunks(reply, kwargs["model"]) if attempt.stream else _whole(reply, kwargs["model"])

    async def _aanswer(self, attempt: Attempt, reply: Reply, **kwargs: Any) -> Any:
        await self._apass(reply, attempt.timeout_s)
        return _achunks(reply, kwargs["model"]) if attempt.stream else _whole(reply, kwargs["model"])

    def facts(self, deployment: Deployment) -> ModelFacts:
        return declared(deployment, ModelFacts(provider=deployment.provider))

    def stamp(self) -> int:
        return 0

    def count_tokens(self, model: str, request: Request) -> int:
        return request.estimate


def _usage(reply: Reply) -> dict[str, int]:
    total = reply.input_tokens + reply.output_tokens
    return {"prompt_tokens": reply.input_tokens, "completion_tokens": reply.output_tokens, "total_tokens": total}


def _whole(reply: Reply, model: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply.text}
    answer: dict[str, Any] = {
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    return {**answer, "usage": _usage(reply)} if reply.usage else answer


def _chunks(reply: Reply, model: str) -> Iterator[dict[str, Any]]:
    words = reply.text.split(" ")
    for number, word in enumerate(words):
        if reply.break_after is not None and number >= reply.break_after:
            raise reply.error or ConnectionError("scripted: the stream broke")
        text = word if number == 0 else f" {word}"
        yield {"model": model, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    end: dict[str, Any] = {"model": model, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    yield {**end, "usage": _usage(reply)} if reply.usage else end


async def _achunks(reply: Reply, model: str) -> AsyncIterator[dict[str, Any]]:
    for chunk in _chunks(reply, model):
        yield chunk
