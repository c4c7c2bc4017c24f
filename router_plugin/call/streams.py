"""Streams: who owns the money while chunks are handed over, and what happens when they stop coming.

``Handover`` belongs to a routed stream (litellm's own object, or ours around another client's). It settles exactly
once: exhaustion, ``close``/``aclose``, a break, cancellation, or the garbage collector as the last resort.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import RouterError, StreamInterruptedError
from ..provider.port import Provider
from ..provider.usage import cut_short, output_text, tokens_of_text
from ..records import Failed, Usage
from ..redact import redact
from ..result import attach
from ..spec.capability import PREFILL, STREAMING, SYSTEM
from .drivers import arun, run
from .inflight import InFlight
from .plan import plan


def hand_over(flight: InFlight, provider: Provider) -> Any:
    """Give the answer to the caller: a whole one is settled here, a stream takes its money along."""
    response, call = flight.response, flight.call
    if flight.peeked:
        answer = provider.streams.present(Handover(flight, provider))
    else:
        answer = response
        nano, usage = flight.read_bill(provider.bill, response)
        if call.keep_answer:
            call.answer = output_text(response)
        flight.finish(nano, usage, False)
    attach(answer, call.result)
    return answer


class Handover:
    """One stream on its way to the caller."""

    __slots__ = ("_held", "_weak", "done", "earlier", "flight", "guard", "kind", "own", "prefix", "provider", "waiting")

    def __init__(self, flight: InFlight, provider: Provider) -> None:
        self.kind, self.provider = provider.streams, provider
        self.earlier = ""  # text that a restart told the caller to discard, or that a continuation goes on from
        self.prefix: deque[Any] = deque()
        self._take(flight)

    def _take(self, flight: InFlight) -> None:
        peeked = flight.response
        self.flight, self._held, self.guard, self.own = flight, peeked.source, peeked.guard, False
        flight.response = None
        self.prefix.extend(peeked.prefix)
        self.done = False
        self.waiting = True  # chunks are waiting, or it is over: the rare cases, told by one look a chunk

    @property
    def source(self) -> Any:
        """The stream that chunks come from: held, or the caller's own object, which must not be held (``own``)."""
        return self._weak() if self.own else self._held

    def belong_to(self, stream: Any) -> None:
        """``stream`` is both what the caller holds and what chunks come from: without a cycle it ends when dropped."""
        self._held, self._weak, self.own = None, weakref.ref(stream), True

    def finish(self) -> None:
        """The stream is exhausted: settle what it cost."""
        if not self.done:
            self.done = self.waiting = True
            self.guard.ended()
            usage = self._usage()
            free = self.kind.is_free(self.source)
            if self.flight.call.keep_answer:
                self.flight.call.answer = self.kind.text(self.source)
            self.flight.finish(0 if free else self.flight.price(usage), usage, True)

    def abandon(self, collected: Any = None) -> None:
        """Left early: what was sent and received is settled. ``collected`` is the stream itself, where the garbage
        collector is at work: it clears weak references before it asks."""
        if not self.done:
            self.done = self.waiting = True
            self.guard.ended()
            source = self.source if collected is None else collected
            text = self.kind.text(source)
            if self.flight.call.keep_answer:
                self.flight.call.answer = text
            self.flight.abandon(text, "left early", self._so_far(source, text))
            self.flight.call.over("left early")

    def _so_far(self, source: Any, text: str) -> Usage | None:
        """Usage of a stream that did not end: what the provider reported at its start, and the output received."""
        return cut_short(self.kind.usage(source), text)

    def _usage(self) -> Usage:
        usage = self.kind.usage(self.source)
        if usage is not None:
            return usage
        return Usage(self.flight.call.request.estimate, tokens_of_text(self.kind.text(self.source)), exact=False)

    def mend(self, error: BaseException) -> Any:
        """The stream broke: go on as ``midstream`` says, or raise. Returns the marked restart chunk."""
        broken = self._break(error)
        if broken is None:
            flight = self._again(error, lambda: run(plan(self.flight.call), self.provider, self.flight.call.clock))
            return self._resume(flight)
        raise broken from error

    async def amend(self, error: BaseException) -> Any:
        """``mend`` with awaits."""
        broken = self._break(error)
        if broken is None:
            call = self.flight.call
            try:
                flight = await arun(plan(call), self.provider, call.clock)
            except Exception as last:
                raise self._gave_up(error, last) from last
            return self._resume(flight)
        raise broken from error

    def _again(self, error: BaseException, drive: Callable[[], InFlight]) -> InFlight:
        try:
            return drive()
        except Exception as last:
            raise self._gave_up(error, last) from last

    def _break(self, error: BaseException) -> RouterError | None:
        """Settle the broken attempt. None: the next deployment should answer; else what to raise."""
        self.done = self.waiting = True
        self.guard.ended()
        self.guard.drop()
        text = self.kind.text(self.source)
        usage = self._so_far(self.source, text)
        failure = self.kind.translate(error, self.guard)
        known = "bad_answer" if failure.kind == "unknown" else failure.kind
        failure = Failed(failure.error, known, True, failure.retry_after_s, failure.status, text, usage)
        call = self.flight.call
        self.flight.fail(failure)
        call.failures.append(failure)
        if call.policy.midstream == "raise" or not call.todo:
            reason = self.guard.why or str(failure.error)[:500] or known
            return self._interrupted(reason, text, usage)
        if call.policy.midstream == "continue":
            self._continue_from(text)
        return None

    def _continue_from(self, text: str) -> None:
        """Let the next models go on from the partial answer, where they are known to accept an assistant prefill; the
        others come after them, and answer from the beginning."""
        call = self.flight.call
        request = call.request
        plain = not (request.needs & ~(STREAMING | SYSTEM)) and request.n == 1
        if not (plain and text) or call.kwargs.get("response_format"):
            call.prefill = ""
            return
        call.prefill = self.earlier + text
        call.todo.sort(key=lambda ranked: not ranked[-1][0].facts.caps & PREFILL)

    def _resume(self, flight: InFlight) -> Any:
        before = flight.call.prefill
        self._take(flight)
        if before and flight.prefilled:
            self.earlier = before
            return self.prefix.popleft()
        self.earlier = flight.call.prefill = ""
        return self.kind.restart_chunk(self.source)

    def _gave_up(self, error: BaseException, last: BaseException) -> RouterError:
        text = self.kind.text(self.source)
        usage = self._so_far(self.source, text)
        return self._interrupted(f"{str(error)[:200]}; no other deployment could go on: {str(last)[:200]}", text, usage)

    def _interrupted(self, reason: str, text: str, usage: Usage | None) -> StreamInterruptedError:
        known = None
        if usage is not None:
            known = {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens}
        reason = redact(reason, self.flight.candidate.deployment.secrets())
        broken = StreamInterruptedError(reason, self.earlier + text, known)
        attach(broken, self.flight.call.result)
        self.flight.call.over("failed")
        return broken
