"""litellm's streams: waiting for the first content, and the class that a routed stream becomes.

A routed stream stays litellm's own object: its class is replaced by a subclass of ``CustomStreamWrapper``, so
``isinstance`` and every attribute go on working. After the first content the cost of a chunk is one Python call.
"""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..money import NANO
from ..records import Attempt, Candidate, Failed, Usage
from .guard import INSIDE, AsyncGuard, Guard
from .translate import failed
from .usage import cost_of, cut_short, output_text, read_usage

if TYPE_CHECKING:
    from ..call.streams import Handover

NO_END = "the stream ended without a finish reason"


@dataclass(slots=True)
class Peeked:
    """A stream at its first content: the chunks read so far are handed over first."""

    source: Any
    prefix: deque[Any]
    guard: Guard
    ttft_s: float | None


class _Peek:
    """A stream on its way to its first content (or, under ``buffer``, to its end)."""

    def __init__(self, stream: Any, attempt: Attempt, guard: Guard, started: float) -> None:
        _prepare(stream, attempt)
        self.stream, self.attempt, self.guard, self.started = stream, attempt, guard, started
        self.prefix: deque[Any] = deque()
        self.ttft_s: float | None = None

    def take(self, chunk: Any) -> Peeked | Failed | None:
        """What one more chunk makes of it; None: read on."""
        self.prefix.append(chunk)
        problem = _incomplete(self.stream, chunk)
        if problem:
            return _broken(problem, self.attempt, self.stream)
        if self.ttft_s is None and has_content(chunk):
            now = self.guard.now()
            self.ttft_s = now - self.started
            ends = self.started + self.attempt.left_s
            self.guard.streaming(now, ends, self.attempt.stall_timeout_s, self.stream.chunks)
            self.guard.arm()
            if not self.attempt.buffer:
                return self.peeked()
        return None

    def end(self) -> Peeked | Failed:
        """What it is when the stream is over."""
        return self.peeked() if self.prefix else _broken("the stream was empty", self.attempt, self.stream)

    def peeked(self) -> Peeked:
        return Peeked(self.stream, self.prefix, self.guard, self.ttft_s)


def peek(stream: Any, attempt: Attempt, guard: Guard, started: float) -> Peeked | Failed:
    """Read up to the first content (or the whole stream under ``buffer``). What breaks before is a failed attempt."""
    read, state = type(stream).__next__, _Peek(stream, attempt, guard, started)
    while True:
        try:
            chunk = read(stream)
        except StopIteration:
            return state.end()
        result = state.take(chunk)
        if result is not None:
            return result


async def apeek(stream: Any, attempt: Attempt, guard: AsyncGuard, started: float) -> Peeked | Failed:
    """``peek`` with awaits."""
    read, state = type(stream).__anext__, _Peek(stream, attempt, guard, started)
    while True:
        try:
            chunk = await read(stream)
        except StopAsyncIteration:
            return state.end()
        result = state.take(chunk)
        if result is not None:
            return result


def _prepare(stream: Any, attempt: Attempt) -> None:
    """We asked the provider for usage; where the caller did not, litellm keeps it to itself."""
    if attempt.kwargs.get("mock_response") is not None:
        stream.router_mocked = True  # litellm's mock streams send no finish reason and are whole
    if attempt.candidate.own_price and attempt.candidate.priced:
        stream.chunks = _PricedChunks(stream.chunks, attempt.candidate)
    asked = attempt.kwargs.get("stream_options")
    if not (isinstance(asked, dict) and asked.get("include_usage")):
        stream.stream_options = asked
        stream.send_stream_usage = False


def _broken(what: str, attempt: Attempt, stream: Any) -> Failed:
    import litellm

    error = litellm.APIError(
        status_code=502, message=what, llm_provider=attempt.candidate.provider, model=attempt.candidate.deployment.model
    )
    _reported(stream, error)
    text, usage = so_far(stream.chunks)
    return Failed(error, "bad_answer", True, None, 502, text, usage)


def so_far(chunks: Sequence[Any]) -> tuple[str, Usage | None]:
    """Text and usage of a stream that did not end: what the provider reported, and at least the output received."""
    text = "".join(output_text(chunk) for chunk in chunks)
    usage = next((found for chunk in reversed(chunks) if (found := read_usage(chunk)) is not None), None)
    return text, cut_short(usage, text)


def has_content(chunk: Any) -> bool:
    """Whether a chunk hands anything to the caller: text, a tool call, reasoning, audio, or the end."""
    for choice in chunk.choices:
        delta = choice.delta
        if choice.finish_reason or delta.content or delta.tool_calls:
            return True
        if getattr(delta, "reasoning_content", None) or delta.function_call or getattr(delta, "audio", None):
            return True
    return False


def _incomplete(source: Any, chunk: Any) -> str | None:
    """litellm makes up a "stop" where the provider sent no finish reason: such an end is a break."""
    choices = chunk.choices
    if (
        choices
        and choices[0].finish_reason
        and source.received_finish_reason is None
        and source.intermittent_finish_reason is None
        and source.custom_llm_provider != "cached_response"
        and not getattr(source, "router_mocked", False)
    ):
        return NO_END
    return None


def _reported(stream: Any, error: Exception) -> Exception:
    """Tell litellm's callbacks of a failure that only we noticed: to litellm such a stream is a success."""
    logging_obj = getattr(stream, "logging_obj", None)
    if logging_obj is None:
        return error
    trace = "".join(traceback.format_exception_only(type(error), error))
    if logging_obj.model_call_details.get("litellm_params", {}).get("acompletion"):
        asyncio.get_running_loop().create_task(logging_obj.async_failure_handler(error, trace))
    logging_obj.failure_handler(error, trace)
    for event in ("sync_success", "async_success"):
        logging_obj.has_run_logging(event_type=event)
    return error


def _inside(guard: Guard, read: Any, source: Any) -> Any:
    """Read from a stream that runs user code (a CustomLLM's generator): what it calls is part of the attempt."""
    token, guard.active = INSIDE.set(guard), True
    try:
        return read(source)
    finally:
        guard.active = False
        INSIDE.reset(token)


async def _ainside(guard: Guard, read: Any, source: Any) -> Any:
    token, guard.active = INSIDE.set(guard), True
    try:
        return await read(source)
    finally:
        guard.active = False
        INSIDE.reset(token)


class _PricedChunks(list[Any]):
    """litellm's list of a stream's chunks. litellm prices a stream by its own map when it ends, unless the usage says
    what it cost: where the deployment has its own price, it does."""

    def __init__(self, chunks: list[Any], candidate: Candidate) -> None:
        super().__init__(chunks)
        self._candidate = candidate

    def append(self, chunk: Any) -> None:
        super().append(chunk)
        if getattr(chunk, "usage", None) is not None and (usage := read_usage(chunk)) is not None:
            chunk.usage.cost = cost_of(self._candidate, usage) / NANO


class LitellmStreams:
    """What a handover asks about litellm's streams."""

    def usage(self, source: Any) -> Usage | None:
        """The usage the provider reported, from the last chunk that has one."""
        for chunk in reversed(source.chunks):
            usage = read_usage(chunk)
            if usage is not None:
                return usage
        return None

    def text(self, source: Any) -> str:
        """All output received so far."""
        return "".join(output_text(chunk) for chunk in source.chunks)

    def whole(self, source: Any) -> Any:
        """One answer made of all that was received, as litellm builds it for its callbacks."""
        import litellm

        return litellm.stream_chunk_builder(list(source.chunks)) or litellm.ModelResponse()

    def is_free(self, source: Any) -> bool:
        """Whether litellm's own cache answered: nobody is paid."""
        return bool(source.custom_llm_provider == "cached_response")

    def translate(self, error: BaseException, guard: Any) -> Failed:
        return failed(error, time.time(), guard.fired)

    def restart_chunk(self, source: Any) -> Any:
        """The marked chunk that tells the caller to discard what came before."""
        from litellm.types.utils import ModelResponseStream

        chunk = ModelResponseStream(model=source.model, choices=[])
        chunk.router_event = "restart"
        return chunk

    def present(self, handover: Handover) -> Any:
        """The stream that the caller gets: litellm's own object, of our subclass from now on."""
        import litellm

        stream = handover.source
        handover.guard.plain = stream.custom_llm_provider not in litellm._custom_providers
        details = getattr(stream.logging_obj, "model_call_details", None)
        if isinstance(details, dict) and details.get("original_response") is stream:
            details["original_response"] = None  # a cycle: a stream that is dropped would wait for the collector
        handover.belong_to(stream)
        stream._handover = handover
        stream.__class__ = routed_stream_class()
        return stream


@lru_cache(maxsize=1)
def routed_stream_class() -> type:
    """The subclass of litellm's stream that a routed stream becomes (made on first use: litellm loads late)."""
    from litellm import CustomStreamWrapper

    read, aread, drop = CustomStreamWrapper.__next__, CustomStreamWrapper.__anext__, CustomStreamWrapper.__del__
    theirs, close = read.__code__.co_filename, getattr(CustomStreamWrapper, "close", None)

    class RoutedStream(CustomStreamWrapper):  # type: ignore[misc]
        """A litellm stream whose end, however it comes, settles its attempt."""

        _handover: Handover

        def __next__(self) -> Any:
            over = self._handover
            if over.waiting:
                if over.prefix:
                    return over.prefix.popleft()
                if over.done:
                    raise StopIteration
                over.waiting = not over.guard.plain
            source = self if over.own else over.source
            try:
                chunk = _inside(over.guard, read, source) if over.waiting else read(source)
            except StopIteration:
                over.finish()
                over.guard.drop()
                raise
            except Exception as error:
                return over.mend(error)
            except BaseException:
                over.abandon()
                over.guard.drop()
                raise
            choices = chunk.choices
            if choices and choices[0].finish_reason and _incomplete(source, chunk):
                return over.mend(_reported(source, EOFError(NO_END)))
            return chunk

        async def __anext__(self) -> Any:
            over = self._handover
            if over.waiting:
                if over.prefix:
                    return over.prefix.popleft()
                if over.done:
                    raise StopAsyncIteration
                over.waiting = not over.guard.plain
            source = self if over.own else over.source
            try:
                chunk = await (_ainside(over.guard, aread, source) if over.waiting else aread(source))
            except StopAsyncIteration:
                over.finish()
                await over.guard.close()
                raise
            except Exception as error:
                return await over.amend(error)
            except BaseException:
                over.abandon()
                raise
            choices = chunk.choices
            if choices and choices[0].finish_reason and _incomplete(source, chunk):
                return await over.amend(_reported(source, EOFError(NO_END)))
            return chunk

        def close(self) -> None:
            """End the stream early: what came so far is settled, the connection is given back.

            Since 1.110 litellm closes its streams itself when they end, on the way to telling us.
            """
            if sys._getframe(1).f_code.co_filename != theirs:
                self._handover.abandon()
                self._handover.guard.drop()
            if close is not None:
                close(self._handover.source or self)

        async def aclose(self) -> None:
            over = self._handover
            if sys._getframe(1).f_code.co_filename == theirs:
                await CustomStreamWrapper.aclose(self)
                return
            over.abandon()
            await over.guard.close()
            await CustomStreamWrapper.aclose(over.source)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        async def __aenter__(self) -> Any:
            return self

        async def __aexit__(self, *_: object) -> None:
            await self.aclose()

        def __del__(self) -> None:
            over = self.__dict__.get("_handover")
            if over is not None and not over.done:
                over.abandon(self if over.own else None)
                over.guard.drop()
            drop(self)

    return RoutedStream
