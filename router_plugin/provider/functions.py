"""Any function of ``(model, messages, **kwargs)`` as a provider: one attempt is one call of it.

Tokens and cost are read from the ``usage`` of its answer (litellm's, the OpenAI SDK's, Anthropic's objects, or plain
dicts). A returned iterator, sync or async, is a stream.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import SpecError
from ..records import Answered, Attempt, Failed, Usage
from ..redact import shown
from .guard import INSIDE, AsyncGuard, Guard
from .tap import TAP
from .translate import failed
from .usage import bill, cut_short, field, output_text, read_usage

if TYPE_CHECKING:
    from ..call.streams import Handover


_TOO_LATE = "the stream's time is over"


@dataclass(slots=True)
class Source:
    """One stream of a function, with what has been received of it."""

    stream: Any
    iterator: Any
    chunks: list[Any]


@dataclass(slots=True)
class PeekedSource:
    """A stream at its first content: the chunks read so far are handed over first."""

    source: Source
    prefix: deque[Any]
    guard: Guard
    ttft_s: float | None


class FunctionProvider:
    """Calls ``function(model=…, messages=…, **kwargs)``; ``async def`` functions through ``acall``."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.streams = FunctionStreams()

    def call(self, attempt: Attempt) -> Answered | Failed:
        started = time.monotonic()
        guard = Guard(started + attempt.until_first_s)
        TAP.hold()
        token = INSIDE.set(guard)
        guard.arm()
        streaming, source = False, None
        try:
            answer = self.function(**_arguments(attempt))
            if inspect.iscoroutine(answer):
                answer.close()
                raise SpecError(
                    f"wrap: {shown(self.function)} returned a coroutine; wrap an async def function around it"
                )
            if not is_stream(answer):
                return _whole(answer, guard)
            source, prefix = Source(answer, iter(answer), []), deque[Any]()
            first = None
            for chunk in source.iterator:
                source.chunks.append(chunk)
                prefix.append(chunk)
                if first is None and _content(chunk):
                    first = time.monotonic()
                    guard.streaming(first, started + attempt.left_s, attempt.stall_timeout_s, source.chunks)
                if first is not None and not attempt.buffer:
                    break
            else:
                if problem := _unfinished(source):
                    return _broken(problem, source, guard)
            streaming = True
            return _streaming(source, prefix, guard, started, first)
        except Exception as error:
            return _with_usage(failed(error, time.time(), guard.fired, guard.status, limits=guard.limits), source)
        finally:
            INSIDE.reset(token)
            guard.active = False
            guard.ended()
            if streaming:
                guard.arm()
            TAP.release()

    async def acall(self, attempt: Attempt) -> Answered | Failed:
        loop = asyncio.get_running_loop()
        clock = loop.time
        started = clock()
        guard = AsyncGuard(started + attempt.until_first_s, loop)
        guard.task = asyncio.current_task()
        TAP.hold()
        token = INSIDE.set(guard)
        guard.arm()
        streaming, source = False, None
        try:
            answer = await self.function(**_arguments(attempt))
            if not hasattr(answer, "__aiter__"):
                return _whole(answer, guard)
            source, prefix = Source(answer, answer.__aiter__(), []), deque[Any]()
            first = None
            async for chunk in source.iterator:
                source.chunks.append(chunk)
                prefix.append(chunk)
                if first is None and _content(chunk):
                    first = clock()
                    guard.streaming(first, started + attempt.left_s, attempt.stall_timeout_s, source.chunks)
                if first is not None and not attempt.buffer:
                    break
            else:
                if problem := _unfinished(source):
                    return _broken(problem, source, guard)
            streaming = True
            return _streaming(source, prefix, guard, started, first)
        except asyncio.CancelledError:
            if guard.ours():
                late = TimeoutError(f"no answer within {attempt.until_first_s:.3g} s")
                return _with_usage(failed(late, time.time(), True), source)
            raise
        except Exception as error:
            return _with_usage(failed(error, time.time(), guard.fired, guard.status, limits=guard.limits), source)
        finally:
            INSIDE.reset(token)
            guard.active, guard.task = False, None
            guard.disarm()
            if streaming:
                guard.arm()
            TAP.release()

    bill = staticmethod(bill)


def _whole(answer: Any, guard: Guard) -> Answered | Failed:
    """A whole answer, or the failure it really is: one without choices is none."""
    if field(answer, "choices") == []:
        return Failed(EOFError("the answer has no choices"), "bad_answer", True, usage=read_usage(answer))
    return Answered(answer, None, False, guard.limits)


def _with_usage(failure: Failed, source: Source | None) -> Failed:
    """What had been received of a stream when it failed, and what its first events said of usage, is billed."""
    if source is None or not source.chunks:
        return failure
    kind = FunctionStreams()
    text = kind.text(source)
    return replace(failure, billed=True, partial_text=text, usage=cut_short(kind.usage(source), text))


def _content(chunk: Any) -> str:
    return chunk if isinstance(chunk, str) else output_text(chunk)


def _unfinished(source: Source) -> str:
    """What is wrong with a stream that has ended; "" where it is whole. Chunks in OpenAI's form say how they end."""
    if not source.chunks:
        return "the stream was empty"
    choices = [choice for chunk in source.chunks for choice in _choices(chunk)]
    if not choices and all(field(chunk, "choices") == [] for chunk in source.chunks):
        return "the stream had no choices"
    if choices and not any(field(choice, "finish_reason") for choice in choices):
        return "the stream ended without a finish reason"
    return ""


def _choices(chunk: Any) -> Any:
    """The choices of a chunk in OpenAI's form, as far as they would carry a finish reason."""
    found = field(chunk, "choices")
    return [one for one in found if _has(one, "finish_reason")] if isinstance(found, list) else ()


def _has(choice: Any, name: str) -> bool:
    return name in choice if isinstance(choice, dict) else hasattr(choice, name)


def _broken(what: str, source: Source, guard: Guard) -> Failed:
    guard.ended()
    kind = FunctionStreams()
    return Failed(EOFError(what), "bad_answer", True, partial_text=kind.text(source), usage=kind.usage(source))


def _streaming(source: Source, prefix: deque[Any], guard: Guard, started: float, first: float | None) -> Answered:
    def discard() -> None:
        guard.ended()
        close = getattr(source.stream, "close", None)
        if callable(close) and not inspect.iscoroutinefunction(close):
            close()

    ttft = None if first is None else first - started
    whole = partial(FunctionStreams().whole, source)
    return Answered(PeekedSource(source, prefix, guard, ttft), ttft, True, guard.limits, whole, discard)


def _arguments(attempt: Attempt) -> dict[str, Any]:
    """The caller's arguments, the chosen model, and the output cap where one is needed."""
    kwargs = {**attempt.kwargs, "model": attempt.candidate.deployment.model}
    if attempt.cap is not None:
        kwargs["max_completion_tokens" if "max_completion_tokens" in kwargs else "max_tokens"] = attempt.cap
    return kwargs


def is_stream(answer: Any) -> bool:
    """An iterator that is neither text nor a whole answer."""
    if isinstance(answer, (str, bytes, dict, list, tuple)) or field(answer, "choices") is not None:
        return False
    return hasattr(answer, "__next__") or (hasattr(answer, "__iter__") and not hasattr(answer, "model_dump"))


def _tool_calls(chunk: Any) -> list[Any]:
    choices = field(chunk, "choices") or ()
    return [call for choice in choices for call in field(field(choice, "delta"), "tool_calls") or ()]


class FunctionStreams:
    """What a handover asks about the streams of a function."""

    def usage(self, source: Source) -> Usage | None:
        found = next((usage for chunk in reversed(source.chunks) if (usage := read_usage(chunk))), None)
        return found or _event_usage(source.chunks)

    def text(self, source: Source) -> str:
        return "".join(map(_content, source.chunks))

    def whole(self, source: Source) -> Any:
        """One answer made of all that was received: text, tool calls, the last finish reason, usage."""
        calls = [call for chunk in source.chunks for call in _tool_calls(chunk)]
        message = {
            "role": "assistant",
            "content": self.text(source) if not calls else None,
            "tool_calls": calls or None,
        }
        ends = [field(choice, "finish_reason") for chunk in source.chunks for choice in field(chunk, "choices") or ()]
        end = next((one for one in reversed(ends) if one), None)
        usage = next((found for chunk in reversed(source.chunks) if (found := field(chunk, "usage"))), None)
        return {"choices": [{"index": 0, "message": message, "finish_reason": end}], "usage": usage}

    def is_free(self, source: Source) -> bool:
        return False

    def translate(self, error: BaseException, guard: Any) -> Failed:
        return failed(error, time.time(), guard.fired)

    def restart_chunk(self, source: Source) -> Any:
        return {"choices": [], "router_event": "restart"}

    def present(self, handover: Handover) -> Any:
        kind = FunctionStream if hasattr(handover.source.iterator, "__next__") else AsyncFunctionStream
        return kind(handover)


def _event_usage(chunks: list[Any]) -> Usage | None:
    """Of Anthropic's own events: input tokens come with ``message_start``, output tokens with ``message_delta``."""
    start = next((field(chunk, "message") for chunk in chunks if field(chunk, "type") == "message_start"), None)
    begun = field(start, "usage")
    ends = [field(chunk, "usage") for chunk in chunks if field(chunk, "type") == "message_delta"]
    if begun is None:
        return None
    counts = [field(begun, "input_tokens"), *(field(end, "output_tokens") for end in ends[-1:] if end is not None)]
    if not all(type(count) is int and count >= 0 for count in counts):
        return None
    return Usage(counts[0], counts[-1] if len(counts) > 1 else field(begun, "output_tokens") or 0, exact=bool(ends))


class FunctionStream:
    """A sync stream of a routed function: iterate it, or close it early."""

    route_result: Any

    def __init__(self, handover: Handover) -> None:
        self._handover = handover

    def __iter__(self) -> FunctionStream:
        return self

    def __next__(self) -> Any:
        over = self._handover
        if over.prefix:
            return over.prefix.popleft()
        if over.done:
            raise StopIteration
        try:
            chunk = next(over.source.iterator)
        except StopIteration:
            if problem := _unfinished(over.source):
                return over.mend(EOFError(problem))
            over.finish()
            raise
        except Exception as error:
            return over.mend(error)
        except BaseException:
            over.abandon()
            raise
        if over.guard.fired:  # a function cannot be cut while it blocks; what came too late is noticed here
            return over.mend(TimeoutError(_TOO_LATE))
        over.source.chunks.append(chunk)
        return chunk

    def close(self) -> None:
        """End early: what came so far is settled."""
        self._handover.abandon()
        close = getattr(self._handover.source.stream, "close", None)
        if callable(close):
            close()

    def __enter__(self) -> FunctionStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._handover.abandon()


class AsyncFunctionStream:
    """An async stream of a routed function: iterate it, or ``aclose`` it early."""

    route_result: Any

    def __init__(self, handover: Handover) -> None:
        self._handover = handover

    def __aiter__(self) -> AsyncFunctionStream:
        return self

    async def __anext__(self) -> Any:
        over = self._handover
        if over.prefix:
            return over.prefix.popleft()
        if over.done:
            raise StopAsyncIteration
        over.guard.task = asyncio.current_task()
        try:
            chunk = await over.source.iterator.__anext__()
        except StopAsyncIteration:
            if problem := _unfinished(over.source):
                return await over.amend(EOFError(problem))
            over.finish()
            raise
        except Exception as error:
            return await over.amend(error)
        except asyncio.CancelledError:
            if over.guard.ours():
                return await over.amend(TimeoutError(_TOO_LATE))
            over.abandon()
            raise
        except BaseException:
            over.abandon()
            raise
        over.guard.task = None
        over.source.chunks.append(chunk)
        return chunk

    async def aclose(self) -> None:
        """End early: what came so far is settled."""
        self._handover.abandon()
        close = getattr(self._handover.source.stream, "aclose", None) or getattr(
            self._handover.source.stream, "close", None
        )
        if callable(close) and inspect.isawaitable(closing := close()):
            await closing

    async def __aenter__(self) -> AsyncFunctionStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._handover.abandon()
