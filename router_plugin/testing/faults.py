"""What a loopback model can do instead of answering normally. Every fault is a value: build it once, use it anywhere.

Those here replace the answer, or get in its way on the connection. Replacements come at once: put them in
``Delay(seconds, then=...)`` to slow them. Faults of streams and of what is said are in
:mod:`router_plugin.testing.answer_faults`.

A fault of your own subclasses :class:`Fault` and yields the steps it wants: see :mod:`router_plugin.testing.exchange`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .exchange import JSON, Call, Cut, Send, Step, Wait
from .wire import PROBLEMS, Problem, problem_for, to_json


class Fault:
    """Base of all faults; used itself, a normal answer."""

    def steps(self, call: Call) -> Iterable[Step]:
        """What the server does on the connection, in order; it is kept alive unless a step cuts it."""
        return call.answer()


# --------------------------------------------------------------------------- answers replaced by something else


@dataclass(frozen=True)
class Status(Fault):
    """Answer with an HTTP status.

    ``body`` defaults to the error shape of the API that was called (``message`` goes into it); bytes and str are sent
    as they are, anything else as JSON.
    """

    status: int
    body: bytes | str | Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str | None = None

    def problem(self, call: Call) -> Problem:
        """The error this status stands for."""
        problem = problem_for(self.status)
        return problem if self.message is None else problem._replace(message=self.message)

    def steps(self, call: Call) -> Iterable[Step]:
        body = self.body
        if isinstance(body, str):
            body = body.encode()
        elif body is not None and not isinstance(body, bytes):
            body = to_json(body)
        return call.fail(self.status, self.problem(call), body, self.headers)


@dataclass(frozen=True)
class RateLimited(Fault):
    """429; ``retry_after`` is the header's value: seconds, an HTTP date, or anything. None leaves it out."""

    retry_after: str | float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def steps(self, call: Call) -> Iterable[Step]:
        asked = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return call.fail(429, PROBLEMS[429], headers={**asked, **self.headers})


@dataclass(frozen=True)
class Overloaded(Fault):
    """503 from an OpenAI API, 529 from Anthropic's."""

    headers: Mapping[str, str] = field(default_factory=dict)

    def steps(self, call: Call) -> Iterable[Step]:
        status = 529 if call.wire.family == "anthropic" else 503
        return call.fail(status, PROBLEMS[status], headers=self.headers)


@dataclass(frozen=True)
class ContextWindow(Fault):
    """400: the prompt does not fit into a window of ``limit`` tokens."""

    limit: int = 8192

    def steps(self, call: Call) -> Iterable[Step]:
        used = max(call.ask.prompt_tokens, self.limit + 1)
        if call.wire.family == "anthropic":
            message = f"prompt is too long: {used} tokens > {self.limit} maximum"
        else:
            message = (
                f"This model's maximum context length is {self.limit} tokens. However, your messages resulted in "
                f"{used} tokens. Please reduce the length of the messages."
            )
        kind = "invalid_request_error"
        return call.fail(400, Problem(message, kind, "context_length_exceeded", kind, "messages"))


@dataclass(frozen=True)
class ContentPolicy(Fault):
    """400: the provider refuses the prompt on grounds of its content policy."""

    def steps(self, call: Call) -> Iterable[Step]:
        if call.wire.family == "anthropic":
            message = "Output blocked by content filtering policy"
        else:
            message = "Your request was rejected as a result of our safety system."
        kind = "invalid_request_error"
        return call.fail(400, Problem(message, kind, "content_policy_violation", kind))


@dataclass(frozen=True)
class RawBody(Fault):
    """Exactly this body, complete and correctly framed, whatever was asked for."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    def steps(self, call: Call) -> Iterable[Step]:
        return call.respond(self.status, self.body, self.headers, self.content_type)


@dataclass(frozen=True)
class Redirect(Fault):
    """Send the client elsewhere."""

    url: str
    status: int = 307

    def steps(self, call: Call) -> Iterable[Step]:
        return call.respond(self.status, b"", {"location": self.url})


# --------------------------------------------------------------------------- time and the connection


@dataclass(frozen=True)
class Delay(Fault):
    """Say nothing for some seconds, then answer normally or with another fault."""

    seconds: float
    then: Fault | None = None

    def steps(self, call: Call) -> Iterator[Step]:
        yield Wait(self.seconds)
        yield from (self.then or Fault()).steps(call)


@dataclass(frozen=True)
class Silent(Fault):
    """Take the request and never answer, until the client goes away or the server stops."""

    def steps(self, call: Call) -> Iterator[Step]:
        yield Wait(None)


@dataclass(frozen=True)
class HeadersThenSilence(Fault):
    """Send the head of the normal answer, never its body."""

    def steps(self, call: Call) -> Iterator[Step]:
        for step in call.answer():
            yield step
            if isinstance(step, Send):
                break
        yield Wait(None)


@dataclass(frozen=True)
class Reset(Fault):
    """Reset the connection before any byte of an answer."""

    def steps(self, call: Call) -> Iterator[Step]:
        yield Cut("rst")


@dataclass(frozen=True)
class CutHeaders(Fault):
    """Break off in the middle of the response head."""

    how: Literal["fin", "rst"] = "fin"

    def steps(self, call: Call) -> Iterator[Step]:
        yield Send(call.head(200).data[:25])
        yield Cut(self.how)


@dataclass(frozen=True)
class CutBody(Fault):
    """Break off after half the bytes of the body, whole or streamed."""

    how: Literal["fin", "rst"] = "fin"

    def steps(self, call: Call) -> Iterator[Step]:
        steps = list(call.answer())
        left = sum(len(step.data) for step in steps if isinstance(step, Send) and not step.status) // 2
        for step in steps:
            if isinstance(step, Send) and not step.status:
                if len(step.data) > left:
                    yield Send(step.data[:left])
                    break
                left -= len(step.data)
            yield step
        yield Cut(self.how)


@dataclass(frozen=True)
class ResetInBody(CutBody):
    """Reset the connection after half the bytes of the body."""

    how: Literal["fin", "rst"] = "rst"


@dataclass(frozen=True)
class Trickle(Fault):
    """The normal answer, its body one byte at a time with ``interval_s`` seconds between bytes."""

    interval_s: float

    def steps(self, call: Call) -> Iterator[Step]:
        gap = Wait(self.interval_s)
        for step in call.answer():
            if not isinstance(step, Send) or step.status:
                yield step
                continue
            for i in range(len(step.data)):
                yield gap
                yield Send(step.data[i : i + 1], step.chunk and i == len(step.data) - 1)
