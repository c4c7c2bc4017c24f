"""The requests a loopback server has seen, counted and safe to read from any thread."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Seen:
    """One request. The fields after ``streamed`` are filled in while it is being answered.

    They are final (and ``in_flight`` no longer counts the request) before the client can see the end of its answer;
    only ``aborted`` is known later, because a server learns of a lost client when it next waits or writes.
    """

    model: str
    path: str
    body: dict[str, Any]
    headers: dict[str, str] = field(repr=False)
    """Names in lower case; values as sent, credentials included, which is why they are not in the repr."""
    at: float = 0.0
    """When the request had been read, in seconds of ``time.monotonic()``."""
    streamed: bool = False
    status: int = 0
    """0 until a response head has been sent."""
    chunks_sent: int = 0
    """Stream events with output (text, reasoning, tool calls) sent so far."""
    aborted: bool = False
    """The client went away before its answer was complete."""
    done: bool = False
    """The answer is over, whole or not."""
    error: str = ""
    """What the test's own code (a reply function, a fault) raised while answering."""

    @property
    def authorized(self) -> bool:
        """Whether the request brought any credential."""
        return any(self.headers.get(name) for name in ("authorization", "x-api-key", "api-key"))


class RequestLog:
    """Keeps the last ``keep`` requests (None: all) and counts them all."""

    def __init__(self, keep: int | None) -> None:
        self._changed = threading.Condition()
        self._seen: deque[Seen] = deque(maxlen=keep)
        self._calls: Counter[str] = Counter()
        self._in_flight = 0
        self._most = 0

    def begin(self, seen: Seen) -> None:
        """A request was read."""
        with self._changed:
            self._seen.append(seen)
            self._calls[seen.model] += 1
            self._in_flight += 1
            self._most = max(self._most, self._in_flight)
            self._changed.notify_all()

    def finish(self, seen: Seen) -> None:
        """Its answer is over; only the first time counts."""
        with self._changed:
            if not seen.done:
                seen.done = True
                self._in_flight -= 1
            self._changed.notify_all()

    def progressed(self) -> None:
        """Some field of a request changed."""
        with self._changed:
            self._changed.notify_all()

    def forget(self) -> None:
        """Start counting anew; requests in flight stay in flight."""
        with self._changed:
            self._seen.clear()
            self._calls.clear()
            self._most = self._in_flight

    def all(self) -> list[Seen]:
        """The requests in the order they were read."""
        with self._changed:
            return list(self._seen)

    def calls(self, model: str | None) -> int:
        """How many requests named the model; None counts all."""
        with self._changed:
            return sum(self._calls.values()) if model is None else self._calls[model]

    @property
    def in_flight(self) -> int:
        """Requests being answered now."""
        return self._in_flight

    @property
    def max_in_flight(self) -> int:
        """The most there ever were at once."""
        return self._most

    def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until the condition holds, looking after every change of the log; False if it did not in time."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)
