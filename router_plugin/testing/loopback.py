"""A provider on 127.0.0.1 for tests: real HTTP, scripted faults, a log of what was asked.

::

    with LoopbackProvider() as p:
        p.model("small", reply="hi there")
        p.script("small", [RateLimited(retry_after="1"), CutStream(after_chunks=3)])
        litellm.completion(model="openai/small", api_base=p.openai_base, api_key="k", messages=...)
        litellm.completion(model="anthropic/claude-x", api_base=p.url, api_key="k", messages=...)
        assert p.calls("small") == 1

It speaks OpenAI chat completions, completions and responses and Anthropic messages, whole and streamed, at
``/v1/chat/completions`` and so on, with or without the ``/v1``. Any credential is accepted, none is needed.

Tokens are plain to count: the prompt has one for every 4 characters of text (rounded up) and 4 for every message
(system prompts are messages, tool definitions are free), the output one for every whitespace-separated piece.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from .answer_faults import (
    CutStream,
    DoubleDone,
    EmptyStream,
    MalformedEvent,
    NoDone,
    NoFinishReason,
    RoleOnlyFirst,
    StallStream,
    StreamError,
    UsageOverride,
)
from .connection import Request
from .exchange import Call, Cut, Step
from .faults import (
    ContentPolicy,
    ContextWindow,
    CutBody,
    CutHeaders,
    Delay,
    Fault,
    HeadersThenSilence,
    Overloaded,
    RateLimited,
    RawBody,
    Redirect,
    Reset,
    ResetInBody,
    Silent,
    Status,
    Trickle,
)
from .listener import HOST, Listener
from .plans import EVERY_MODEL, Plans
from .reply import Behaviour, Body, ReplySource
from .request_log import RequestLog, Seen
from .wire import PROBLEMS, Wire
from .wire_anthropic import Messages
from .wire_openai import Chat, Completions
from .wire_responses import Responses

__all__ = [
    "EVERY_MODEL",
    "ContentPolicy",
    "ContextWindow",
    "CutBody",
    "CutHeaders",
    "CutStream",
    "Delay",
    "DoubleDone",
    "EmptyStream",
    "Fault",
    "HeadersThenSilence",
    "LoopbackProvider",
    "MalformedEvent",
    "NoDone",
    "NoFinishReason",
    "Overloaded",
    "RateLimited",
    "RawBody",
    "Redirect",
    "Reset",
    "ResetInBody",
    "RoleOnlyFirst",
    "Seen",
    "Silent",
    "StallStream",
    "Status",
    "StreamError",
    "Trickle",
    "UsageOverride",
]

_WIRES: dict[str, Wire] = {
    "/chat/completions": Chat(),
    "/completions": Completions(),
    "/responses": Responses(),
    "/messages": Messages(),
}


class LoopbackProvider:
    """A provider server on 127.0.0.1; a context manager, or :meth:`start` and :meth:`stop`.

    All methods may be called from any thread while it runs. ``keep`` bounds how many requests :attr:`requests` holds
    (the newest; None keeps all), which long benchmarks want; the counters are not affected.
    """

    def __init__(self, *, keep: int | None = None) -> None:
        self._log = RequestLog(keep)
        self._lock = threading.Lock()
        self._listener: Listener | None = None
        self._port = 0
        self._serials = itertools.count(1)
        self._plans = Plans()

    # ----------------------------------------------------------------- life

    def start(self) -> LoopbackProvider:
        """Listen, on a free port the first time and on the same one after a stop; does nothing while running."""
        with self._lock:
            if self._listener is None:
                self._listener = Listener(self._handle, self._log, self._port)
                self._port = self._listener.port
        return self

    def stop(self) -> None:
        """Close every connection at once and wait for all threads; does nothing if not running.

        Models, scripts and the log stay; connecting afterwards is refused.
        """
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop()

    def __enter__(self) -> LoopbackProvider:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, the base for Anthropic; still the same after a stop. RuntimeError before start."""
        if not self._port:
            raise RuntimeError("the provider was never started: use it in a with statement, or call start()")
        return f"http://{HOST}:{self._port}"

    @property
    def openai_base(self) -> str:
        """``url`` + ``/v1``, the base for OpenAI clients."""
        return f"{self.url}/v1"

    # ----------------------------------------------------------------- what it answers

    def model(
        self,
        name: str,
        reply: ReplySource = None,
        *,
        ttft_s: float = 0.0,
        itl_s: float = 0.0,
        chunks: int | None = None,
        output_tokens: int | None = None,
        headers: Mapping[str, str] | None = None,
        tool_calls: Sequence[Mapping[str, Any]] | None = None,
        reasoning: str | None = None,
        finish_reason: str = "stop",
    ) -> None:
        """Set how a model answers when no fault is due; a model never set echoes the last message.

        ``reply`` is the text, or a function of the request body that returns it; None echoes, or says nothing beside
        ``tool_calls``. Output goes reasoning, text, tool calls; a cap in the request (``max_tokens`` and its other
        names, per choice) cuts it there, with finish reason ``length``.

        ``ttft_s`` seconds pass before the first byte and ``itl_s`` between content chunks; an answer that is not
        streamed takes as long as its stream would. ``chunks`` is how many chunks the text is streamed in (None: one
        per token). ``output_tokens`` is what usage reports per choice, in place of the count of the output.
        ``headers`` go with every answer, faults included. ``tool_calls`` are ``{"name": ..., "arguments": ...}`` with
        the arguments as JSON text or an object. ``finish_reason`` is in OpenAI's words and translated for Anthropic;
        with tool calls ``stop`` becomes ``tool_calls``.
        """
        behaviour = Behaviour(
            reply=reply,
            ttft_s=ttft_s,
            itl_s=itl_s,
            chunks=chunks,
            output_tokens=output_tokens,
            headers=dict(headers or {}),
            tool_calls=tuple(tool_calls or ()),
            reasoning=reasoning,
            finish_reason=finish_reason,
        )
        self._plans.model(name, behaviour)

    def script(self, model: str, faults: Iterable[Fault | None]) -> None:
        """Add faults to a model's queue: each call takes one (None: a normal answer), then all is as before."""
        self._plans.script(model, faults)

    def always(self, model: str, fault: Fault) -> None:
        """Answer every call of a model with a fault, once its script has run out; until :meth:`clear`."""
        self._plans.always(model, fault)

    def clear(self, model: str | None = None) -> None:
        """Drop the scripts and permanent faults of a model, or of all; behaviours and the log stay."""
        self._plans.clear(model)

    # ----------------------------------------------------------------- what it saw

    @property
    def requests(self) -> list[Seen]:
        """The requests so far, in the order they were read: a copy of the list, with live entries."""
        return self._log.all()

    def calls(self, model: str | None = None) -> int:
        """How many requests named this model, answered or not; None counts all."""
        return self._log.calls(model)

    @property
    def in_flight(self) -> int:
        """Requests being answered now; one is over before its client can see the end of its answer."""
        return self._log.in_flight

    @property
    def max_in_flight(self) -> int:
        """The most requests there were at once."""
        return self._log.max_in_flight

    def forget(self) -> None:
        """Empty the log and its counters."""
        self._log.forget()

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = 5.0) -> bool:
        """Wait for something in the log, such as ``lambda: p.calls("small") == 2``; False if it did not come in time.

        The condition is looked at after every change of the log, so nothing has to sleep and poll.
        """
        return self._log.wait_until(condition, timeout_s)

    # ----------------------------------------------------------------- answering

    def _handle(self, request: Request) -> tuple[Seen, Iterable[Step]]:
        path = request.path.partition("?")[0]
        wire = _WIRES.get(path.removeprefix("/v1"))
        body = _parse(request.body)
        given = body or {}
        model = given.get("model")
        seen = Seen(
            model=model if isinstance(model, str) else "",
            path=request.path,
            body=given,
            headers=request.headers,
            at=time.monotonic(),
            streamed=given.get("stream") is True,
        )
        refusal = _refusal(path, request.method, body)
        behaviour, fault = self._plans.take(seen.model) if refusal is None else (Behaviour(), refusal)
        call = Call(wire or _WIRES["/chat/completions"], given, behaviour, f"{self._port}-{next(self._serials)}")
        self._log.begin(seen)
        return seen, _guarded(seen, call, fault)


def _refusal(path: str, method: str, body: Body | None) -> Status | None:
    """Why a request is none a model could answer; such a request takes nothing from a script."""
    if path.removeprefix("/v1") not in _WIRES:
        return Status(404, message=f"Unknown request URL: {path}")
    if method != "POST":
        return Status(405, message="Only POST is answered here.")
    return Status(400, message="The body is not a JSON object.") if body is None else None


def _guarded(seen: Seen, call: Call, fault: Fault | None) -> Iterator[Step]:
    """The steps of the answer; what the test's own code raises becomes a 500, or a reset in mid-answer."""
    try:
        yield from call.answer() if fault is None else fault.steps(call)
    except Exception as error:
        seen.error = repr(error)
        if seen.status:
            yield Cut("rst")
        else:
            yield from call.fail(500, PROBLEMS[500]._replace(message=f"LoopbackProvider: {error!r}"))


def _parse(data: bytes) -> Body | None:
    try:
        body = json.loads(data)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
