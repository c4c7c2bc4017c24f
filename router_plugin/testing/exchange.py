"""An answer as a sequence of steps on the connection, and the call a fault is given to make them from."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Literal, NamedTuple

from .reply import Ask, Behaviour, Body, Reply, compose
from .wire import Event, Problem, Wire, to_json

JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"


class Send(NamedTuple):
    """Put bytes on the connection. Sends with no :class:`Wait` between them go out as one write."""

    data: bytes
    chunk: bool = False  # completes an event with content
    status: int = 0  # set on the response head: the status it carries


class Wait(NamedTuple):
    """Do nothing for some seconds; None waits until the client goes away or the server stops."""

    seconds: float | None


class Cut(NamedTuple):
    """Close the connection here: orderly (``"fin"``) or with a reset (``"rst"``)."""

    how: Literal["fin", "rst"] = "fin"


Step = Send | Wait | Cut

_LAST_CHUNK = b"0\r\n\r\n"


def http_chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Call:
    """One request being answered: what :meth:`Fault.steps` works with."""

    def __init__(self, wire: Wire, body: Body, behaviour: Behaviour, serial: str) -> None:
        self.wire: Wire = wire
        self.body: Body = body
        self.behaviour: Behaviour = behaviour
        self.serial: str = serial
        self.ask: Ask = wire.ask(body)
        model = body.get("model")
        self.model: str = model if isinstance(model, str) else ""
        self.streamed: bool = body.get("stream") is True

    def reply(self) -> Reply:
        """What the model says to this request."""
        return compose(
            self.behaviour, self.ask, self.body, serial=self.serial, model=self.model, created=int(time.time())
        )

    def answer(self, reply: Reply | None = None) -> Iterator[Step]:
        """A normal answer with the model's pace; a whole one takes as long as its stream would."""
        reply = self.reply() if reply is None else reply
        if self.streamed:
            yield from self.stream(self.wire.events(reply))
            return
        longest = sum(len(block.parts) for block in reply.blocks)
        yield Wait(self.behaviour.ttft_s + self.behaviour.itl_s * max(0, longest - 1))
        yield from self.respond(200, to_json(self.wire.answer(reply)))

    def stream(self, events: Iterable[Event | Wait | Cut]) -> Iterator[Step]:
        """A 200 event stream: the first event after ``ttft_s``, then ``itl_s`` before every further content event."""
        yield Wait(self.behaviour.ttft_s)
        yield self.head(200, content_type=SSE)
        gap = Wait(self.behaviour.itl_s)
        started = False
        for event in events:
            if not isinstance(event, Event):
                yield event
                continue
            if event.content:
                if started:
                    yield gap
                started = True
            yield Send(http_chunk(event.data), event.content)
        yield Send(_LAST_CHUNK)

    def fail(
        self, status: int, problem: Problem, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[Step]:
        """An error answer at once, in the shape of the provider unless ``body`` is given."""
        yield from self.respond(status, to_json(self.wire.error(problem)) if body is None else body, headers)

    def respond(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None, content_type: str = JSON
    ) -> Iterator[Step]:
        """A whole answer: the head, then the body."""
        yield self.head(status, headers, content_type, len(body))
        yield Send(body)

    def head(
        self,
        status: int,
        headers: Mapping[str, str] | None = None,
        content_type: str = JSON,
        length: int | None = None,
    ) -> Send:
        """The response head; without a ``length`` (bytes) the body is chunked. Headers win over the model's own."""
        merged = {"content-type": content_type, self.wire.request_id_header: f"req_{self.serial}"}
        for given in (self.behaviour.headers, headers or {}):
            merged.update((name.lower(), value) for name, value in given.items())
        return Send(response_head(status, merged, length), status=status)


def response_head(status: int, headers: Mapping[str, Any], length: int | None) -> bytes:
    """The bytes up to and including the empty line."""
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, 'Unknown')}"]
    lines.extend(f"{name}: {value}" for name, value in headers.items())
    lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


_PHRASES = {item.value: item.phrase for item in HTTPStatus} | {529: "Overloaded"}
