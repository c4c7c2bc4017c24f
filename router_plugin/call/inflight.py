"""An answered attempt until it is settled, and the state of the call around it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ..provider.usage import cost_of, count_searches, tokens_of_text
from ..records import (
    Attempt,
    AttemptRecord,
    Blocked,
    Candidate,
    Decision,
    Failed,
    Ranked,
    RateWindow,
    Request,
    Ticket,
    Usage,
)
from ..result import RouteResult
from ..spec.capability import AUDIO_INPUT, FILES, PREFILL, VISION

if TYPE_CHECKING:
    from ..clock import Clock
    from ..spec.policy import Policy
    from .trial import Trial

log = logging.getLogger("router_plugin")

# Shorter prompts are mostly chat template; media have no tokens of their own in the estimate.
LEARN_FROM_TOKENS = 50
_MEDIA = VISION | AUDIO_INPUT | FILES


class Held(Protocol):
    """A reservation: its ledger ends it once, whoever asks first."""

    amount: int
    ledger: Any


class Ledger(Protocol):
    """The money of one router. See ``state.ledger``."""

    def reserve(self, keys: tuple[Any, ...], amount: int, /) -> Any: ...
    def refusal(self, keys: tuple[Any, ...], /) -> Any: ...


class CallState(Protocol):
    """What carrying out a call needs of a router's state: health, headroom, latencies. See ``Fleet``."""

    epoch: int  # counts forks: an attempt ends in the process that made it

    def admit(self, name: str, tokens: int, tokens_in: int, stream: bool, panic: bool) -> Ticket | Blocked: ...
    def withdraw(self, ticket: Ticket) -> None: ...
    def began(self, ticket: Ticket) -> None: ...
    def succeeded(
        self, ticket: Ticket, latency_s: float, ttft_s: float | None, output_tokens: int, nano: int, used: int
    ) -> None: ...
    def failed(self, ticket: Ticket, failure: Failed, latency_s: float, nano: int) -> None: ...
    def abandoned(self, ticket: Ticket, nano: int, latency_s: float) -> None: ...
    def counted(self, name: str, estimated: int, real: int) -> None: ...
    def told(self, name: str, windows: Sequence[RateWindow]) -> None: ...
    def keep_session(self, key: str, name: str, tokens: int) -> None: ...
    def usual_s(self, name: str, stream: bool) -> tuple[float, float]: ...
    def quantile_s(self, name: str, share: float, stream: bool) -> float: ...
    def may_retry(self, kind: str) -> bool: ...
    def warn_once(self, name: str, message: str) -> None: ...


class Beside(Protocol):
    """Asks the models of a judge while a call waits, on its money. ``nano``: what that has cost so far."""

    nano: int

    def __call__(self, model: str, messages: Sequence[Any], **kwargs: Any) -> Any: ...
    def charge(self, nano: int, who: str) -> None: ...
    def give_up(self) -> None: ...


@dataclass(slots=True)
class Segment:
    """One tag of a chain (most calls have one): whose state and money it runs on, its budget keys, its decision."""

    state: CallState
    ledger: Ledger
    keys: tuple[Any, ...]
    decision: Decision
    scores: Sequence[Any] | None = None  # what a predictor said, by the candidates' indices
    beside: Callable[[Call, Segment, float], Beside] | None = None  # asks a judge's model; see ``call.beside``
    trial: Trial | None = None


@dataclass(slots=True)
class Call:
    """One routed call while it runs. Money in nano-dollars, times monotonic seconds.

    ``todo`` are the candidates not tried yet, best first; ``owners`` says by the candidate's id which segment of a
    chain each belongs to (None where there is one segment); ``billed`` what has been paid for beside the answer,
    ``held`` what attempts that are still open may cost at most; ``tokens`` what the call counts for in token limits;
    ``prefill`` the partial answer that the next model may go on from; ``session`` the conversation's key; ``waited``
    the deployments that were waited for; ``spare`` the last answer that a check did not want; ``blocked`` the
    deployments that were passed over (until when, whose, which, and whether a rate limit is why).
    """

    request: Request
    kwargs: dict[str, Any]
    policy: Policy
    segments: list[Segment]
    result: RouteResult
    clock: Clock
    started: float
    deadline: float
    count_tokens: Callable[[str, Request], int]
    jitter: Callable[[], float]
    todo: list[Ranked] = field(default_factory=list)
    owners: dict[int, Segment] | None = None
    made: int = 0
    billed: int = 0
    held: float = 0.0
    prefill: str = ""
    tokens: int = 0
    session: str | None = None
    waited: set[str] = field(default_factory=set)
    spare: InFlight | None = None
    blocked: list[tuple[float, Segment, Ranked, bool]] = field(default_factory=list)
    failures: list[Failed] = field(default_factory=list)
    refusal: Any = None
    log: Callable[[Call], None] | None = None  # what wants to hear of its end
    shadows: Sequence[Any] = ()  # the targets that are asked beside it when it is over
    provider: Any = None  # who is asked by them, where it is not the router's own
    answer: str | None = None  # its text, where it is to be kept
    keep_answer: bool = False
    patience_until: float | None = None  # how long this call may wait for rate limits, all together
    wait_until: float | None = None  # how long this call may wait for a budget, all its attempts together

    def over(self, status: str) -> None:
        """The call has come to its end: answered, left early, failed, refused or cancelled. The first word counts."""
        result = self.result
        if result.status == "running":
            result.status, result.latency_s = status, self.clock.monotonic() - self.started
            if self.log is not None:
                self.log(self)


class InFlight:
    """An attempt from its start to its one settlement. Streams own it until they end."""

    __slots__ = (
        "attempt",
        "billed",
        "bound",
        "call",
        "candidate",
        "epoch",
        "open",
        "peeked",
        "prefilled",
        "record",
        "reservation",
        "response",
        "segment",
        "started",
        "ticket",
        "ttft_s",
        "unwanted",
    )

    def __init__(
        self,
        call: Call,
        segment: Segment,
        candidate: Candidate,
        ticket: Ticket,
        held: tuple[Held | None, int | None, float],
        attempt: Attempt,
        now: float,
    ) -> None:
        self.call = call
        self.segment = segment
        self.candidate = candidate
        self.reservation, _, self.bound = held
        self.attempt = attempt
        self.ticket = ticket
        self.prefilled = bool(call.prefill) and bool(candidate.facts.caps & PREFILL)
        self.open = True
        self.epoch = segment.state.epoch
        self.response: Any = None
        self.peeked = False  # whether the response is a stream, read up to its first content
        self.billed: tuple[int, Usage] | None = None  # what its whole answer costs, once that is known
        self.unwanted = ""  # which check did not want its answer, and why
        self.ttft_s: float | None = None
        self.started = now  # monotonic; a wait for a budget is part of the attempt's latency
        self.record = AttemptRecord(candidate.name, candidate.deployment.model, "running")
        call.result.attempts.append(self.record)

    def finish(self, nano: int, usage: Usage, stream: bool) -> None:
        """The answer is whole: settle what it cost."""
        call, name = self.call, self.candidate.name
        if self is call.spare:  # it was not wanted and is paid for; nobody else answered
            call.over("answered")
        if not self.open or self.epoch != self.segment.state.epoch:
            return
        self._answered("answered", nano, usage)
        if call.session is not None:
            self.segment.state.keep_session(call.session, name, usage.input_tokens)
        call.over("answered")

    def sampled(self) -> None:
        """Its answer was asked for to be compared with another: settle what it cost."""
        if not self.open or self.epoch != self.segment.state.epoch:
            return
        nano, usage = self.billed or (math.ceil(self.bound), self._so_far(""))
        self.call.billed += nano
        self._answered("sampled", nano, usage)

    def _answered(self, outcome: str, nano: int, usage: Usage) -> None:
        nano = self._guarded(nano, usage)
        self._end(outcome, nano, usage)
        latency = (self.record.latency_ms or 0.0) / 1e3
        if self.ttft_s is not None:
            self.record.ttft_ms = self.ttft_s * 1e3
        call, name = self.call, self.candidate.name
        state, estimate = self.segment.state, call.request.estimate
        if usage.exact and estimate >= LEARN_FROM_TOKENS and not call.request.needs & _MEDIA:
            state.counted(name, estimate, usage.input_tokens)
        used = usage.input_tokens + usage.output_tokens
        state.succeeded(self.ticket, latency, self.ttft_s, usage.output_tokens, nano, used)

    def fail(self, failure: Failed) -> None:
        """It failed: release what was never served, settle what the provider may bill."""
        if not self.open or self.epoch != self.segment.state.epoch:
            return
        self.record.error = f"{failure.kind}: {self.unwanted or type(failure.error).__name__}"
        nano = 0
        if failure.billed:
            usage = failure.usage or self._so_far(failure.partial_text)
            nano = self.price(usage) if self.billed is None else self.billed[0]
            self.call.billed += nano
            self._end("failed", nano, usage)
        else:
            self._end("failed", 0, None)
        latency = (self.record.latency_ms or 0.0) / 1e3
        self.segment.state.failed(self.ticket, failure, latency, nano)

    def abandon(
        self, text: str = "", outcome: str = "cancelled", usage: Usage | None = None, sent: bool = True
    ) -> None:
        """Cancelled, or a stream left early: the provider bills the input and what it had sent, if it was sent."""
        if not self.open or self.epoch != self.segment.state.epoch:
            return
        nano = 0
        if sent and self.billed is not None:
            nano, usage = self.billed
        elif sent:
            usage = usage or self._so_far(text)
            nano = self.price(usage)
        self._end(outcome, nano, usage if sent else None)
        self.segment.state.abandoned(self.ticket, nano, (self.record.latency_ms or 0.0) / 1e3 if sent else 0.0)

    def read_bill(self, bill: Callable[[Any, Candidate, Request], tuple[int, Usage]], answer: Any) -> tuple[int, Usage]:
        """What a whole answer costs, and its usage; an estimate where that cannot be read."""
        try:
            nano, usage = bill(answer, self.candidate, self.call.request)
        except Exception:
            # The answer is an object of somebody else's making; reading it must not cost the caller the answer.
            log.exception("the usage of an answer of %r could not be read; an estimate is settled", self.candidate.name)
            usage = Usage(self.call.request.estimate, 0, exact=False)
            nano = self.price(usage)
        return self._guarded(nano, usage), usage

    def _guarded(self, nano: int, usage: Usage) -> int:
        """A cost as it is settled: an estimate never above what guards it."""
        return nano if usage.exact or self.reservation is None else min(nano, self.reservation.amount)

    @property
    def at_most(self) -> float:
        """What it may cost at most, nano-dollars: its worst case until its answer says more."""
        return self.bound if self.billed is None else float(self.billed[0])

    def _end(self, outcome: str, nano: int, usage: Usage | None) -> None:
        """The one end: of the reservation, of the record."""
        self.open = False
        if self.reservation is not None:
            self.reservation.ledger.end(self.reservation, nano)
        record = self.record
        record.outcome = outcome
        record.latency_ms = (self.call.clock.monotonic() - self.started) * 1e3
        if nano:
            self.call.result.cost_nano += nano
            record.cost_usd = nano / 1e9
        if usage is not None:
            record.input_tokens, record.output_tokens = usage.input_tokens, usage.output_tokens

    def price(self, usage: Usage) -> int:
        count_searches(usage, self.candidate, self.call.request)
        nano = math.ceil(cost_of(self.candidate, usage))
        held = self.reservation.amount if self.reservation is not None else 0
        return min(nano, held) if held and not usage.exact else nano

    def _so_far(self, text: str) -> Usage:
        resent = tokens_of_text(self.call.prefill) if self.prefilled else 0
        return Usage(self.call.request.estimate + resent, tokens_of_text(text), exact=False)
