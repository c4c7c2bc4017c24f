"""Faults inside a normal answer: in the events of a stream, or in what is said.

Those of a stream leave a call that is not streamed as it is; those about the reply change streamed and whole answers
alike. ``after_chunks`` counts events that carry output (text, reasoning, tool calls), over all choices; 0 is right
after the response head.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .exchange import Call, Cut, Step, Wait
from .faults import Fault, Status
from .reply import Reply
from .wire import Event

StreamPart = Event | Wait | Cut


class StreamFault(Fault):
    """Base of faults that change the events of a stream; a call that is not streamed is answered normally."""

    def events(self, call: Call, normal: Iterator[Event]) -> Iterable[StreamPart]:
        """The events to send, made from the normal ones; a :class:`Wait` or :class:`Cut` may stand between them."""
        return normal

    def steps(self, call: Call) -> Iterable[Step]:
        if not call.streamed:
            return call.answer()
        return call.stream(self.events(call, call.wire.events(call.reply())))


def _until(normal: Iterator[Event], after_chunks: int) -> Iterator[Event]:
    """The events up to the given number of content events; leaves the iterator right behind them."""
    sent = 0
    while sent < after_chunks:
        event = next(normal, None)
        if event is None:
            return
        yield event
        sent += event.content


@dataclass(frozen=True)
class CutStream(StreamFault):
    """Break the stream off after some content.

    ``how`` closes the connection in the middle of the body, orderly (``"fin"``) or with a reset (``"rst"``), or ends
    the HTTP body as if it were complete (``"end"``): then only the missing events tell that something is wrong.
    """

    after_chunks: int
    how: Literal["fin", "rst", "end"] = "fin"

    def events(self, call: Call, normal: Iterator[Event]) -> Iterator[StreamPart]:
        yield from _until(normal, self.after_chunks)
        if self.how != "end":
            yield Cut(self.how)


@dataclass(frozen=True)
class StallStream(StreamFault):
    """Stop for some seconds after some content, then go on; None stalls for good."""

    after_chunks: int
    seconds: float | None

    def events(self, call: Call, normal: Iterator[Event]) -> Iterator[StreamPart]:
        yield from _until(normal, self.after_chunks)
        yield Wait(self.seconds)
        yield from normal


@dataclass(frozen=True)
class StreamError(StreamFault):
    """An in-band error event after some content, and the end of the stream; ``status`` picks the kind of error."""

    after_chunks: int
    status: int = 500
    message: str | None = None

    def events(self, call: Call, normal: Iterator[Event]) -> Iterator[StreamPart]:
        yield from _until(normal, self.after_chunks)
        yield Event(call.wire.error_event(Status(self.status, message=self.message).problem(call)))


@dataclass(frozen=True)
class MalformedEvent(StreamFault):
    """An event with broken JSON after some content; the rest of the stream follows."""

    after_chunks: int

    def events(self, call: Call, normal: Iterator[Event]) -> Iterator[StreamPart]:
        yield from _until(normal, self.after_chunks)
        yield Event(call.wire.malformed_event())
        yield from normal


@dataclass(frozen=True)
class NoDone(StreamFault):
    """A stream without its end mark (``[DONE]``, ``message_stop``, ``response.completed``)."""

    def events(self, call: Call, normal: Iterator[Event]) -> Iterator[StreamPart]:
        return (event for event in normal if not event.done)


@dataclass(frozen=True)
class DoubleDone(StreamFault):
    """A stream with its end mark twice."""

    def events(self, call: Call, normal: Iterator[Event]) -> Iterator[StreamPart]:
        return (event for event in normal for _ in range(2 if event.done else 1))


@dataclass(frozen=True)
class EmptyStream(StreamFault):
    """A stream that ends well and holds nothing: OpenAI's ``[DONE]`` alone, no byte at all for the others."""

    def events(self, call: Call, normal: Iterator[Event]) -> Iterator[StreamPart]:
        if call.wire.sentinel:
            yield Event(call.wire.sentinel, done=True)


# --------------------------------------------------------------------------- the reply


class ReplyFault(Fault):
    """Base of faults that change what is said, not how it is sent."""

    def change(self, reply: Reply) -> Reply:
        """The reply to send instead."""
        return reply

    def steps(self, call: Call) -> Iterable[Step]:
        return call.answer(self.change(call.reply()))


@dataclass(frozen=True)
class NoFinishReason(ReplyFault):
    """An answer that never says why it ended: null, and in OpenAI streams no finishing chunk."""

    def change(self, reply: Reply) -> Reply:
        return dataclasses.replace(reply, finish=None)


@dataclass(frozen=True)
class RoleOnlyFirst(ReplyFault):
    """An OpenAI chat stream whose first chunk has the role and no text; elsewhere nothing changes."""

    def change(self, reply: Reply) -> Reply:
        return dataclasses.replace(reply, role_first=True)


@dataclass(frozen=True)
class UsageOverride(ReplyFault):
    """Report this usage instead of the honest one: a mapping sent as it is, or None for no usage at all.

    OpenAI's and Anthropic's names for prompt and completion tokens are both understood and sent in the names of the
    API that was called. An OpenAI stream still reports usage only if it was asked to.
    """

    usage: Mapping[str, Any] | None

    def change(self, reply: Reply) -> Reply:
        return dataclasses.replace(reply, usage=self.usage)
