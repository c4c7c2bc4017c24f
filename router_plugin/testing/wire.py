"""A wire format as the server sees it: how to read a request, and the bytes of its answers, events and errors."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from .reply import Ask, Body, Reply

Family = Literal["openai", "anthropic"]

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def to_json(value: Any) -> bytes:
    """Compact UTF-8 JSON; a lone surrogate stays the escape it came as."""
    text: str = _encode(value)
    return text.encode("utf-8", "backslashreplace")


class Event(NamedTuple):
    """One server-sent event.

    ``content`` marks those that carry output (text, reasoning or a tool call): ``after_chunks`` of the stream faults
    and ``Seen.chunks_sent`` count these. ``done`` marks the one that ends the stream.
    """

    data: bytes
    content: bool = False
    done: bool = False


class Problem(NamedTuple):
    """An error as providers describe it: one message, and the labels each family puts on it."""

    message: str
    openai_type: str
    openai_code: str | None
    anthropic_type: str
    param: str | None = None


PROBLEMS: Mapping[int, Problem] = {
    400: Problem("Invalid request.", "invalid_request_error", None, "invalid_request_error"),
    401: Problem("Incorrect API key provided.", "invalid_request_error", "invalid_api_key", "authentication_error"),
    403: Problem("You are not allowed to use this.", "invalid_request_error", "permission_denied", "permission_error"),
    404: Problem("The model does not exist.", "invalid_request_error", "model_not_found", "not_found_error"),
    413: Problem("Request too large.", "invalid_request_error", "request_too_large", "request_too_large"),
    429: Problem("Rate limit reached for requests.", "requests", "rate_limit_exceeded", "rate_limit_error"),
    500: Problem("The server had an error.", "server_error", "server_error", "api_error"),
    503: Problem("The engine is currently overloaded.", "server_error", "overloaded", "overloaded_error"),
    529: Problem("Overloaded", "server_error", "overloaded", "overloaded_error"),
}


def problem_for(status: int) -> Problem:
    """The usual error under an HTTP status; the nearest of its class for an unusual one."""
    return PROBLEMS.get(status) or PROBLEMS[400 if status < 500 else 500]


class Wire(ABC):
    """One API: stateless, one instance for the whole process."""

    family: Family
    request_id_header: str
    sentinel: bytes = b""  # what ends a stream besides the last event itself

    @abstractmethod
    def ask(self, body: Body) -> Ask:
        """Read a request leniently: what is missing or of the wrong type counts as not given."""

    @abstractmethod
    def answer(self, reply: Reply) -> Body:
        """The JSON object of a whole answer."""

    @abstractmethod
    def events(self, reply: Reply) -> Iterator[Event]:
        """The answer as a stream."""

    @abstractmethod
    def error(self, problem: Problem) -> Body:
        """The JSON object of an error answer."""

    @abstractmethod
    def error_event(self, problem: Problem) -> bytes:
        """An error in the middle of a stream."""

    @abstractmethod
    def malformed_event(self) -> bytes:
        """A content event whose JSON breaks off."""


def renamed(usage: Mapping[str, Any], names: Mapping[str, str | None]) -> Body:
    """A usage override with its keys in a format's own names; None drops a key, unknown keys stay."""
    named = ((names.get(key, key), value) for key, value in usage.items())
    return {key: value for key, value in named if key is not None}
