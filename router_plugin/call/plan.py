"""The attempt loop: one sans-io generator for sync, async and streaming.

It yields ``Attempt`` (call this deployment), ``Wait`` (sleep) or ``Race`` (a second attempt beside the one that is
late), is sent ``Answered``, ``Failed``, ``Late`` or ``Raced``, and returns the ``InFlight`` of the answer. It reserves
money before every attempt and ends every reservation it does not hand on, whatever happens, including cancellation at
any yield. Retry is the same deployment again, fallback the next one; one attempt budget and one deadline cover both.

Source of the form: httpx's ``auth_flow`` and h11. Source of the policy: semantics.md section 9, table in verdict.py.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Generator
from typing import Any

from ..checks import unwanted
from ..clock import iso
from ..decide.cost import fit
from ..decide.history import portable
from ..decide.reasons import reason
from ..decide.request import longer
from ..errors import BudgetExceededError, DeadlineExceededError, NoCandidateError
from ..money import to_usd
from ..provider.usage import read_usage
from ..records import LATE, Answered, Attempt, Blocked, Candidate, Failed, Race, Raced, Ranked, Ticket, Usage, Wait
from ..spec.capability import PREFILL, TOOLS
from ..spec.policy import Policy
from .inflight import Call, InFlight, Segment
from .verdict import LARGER, RAISE, SAME, pause, throttled, verdict, worth_waiting

# How often a call that may wait for a budget (``Budget.wait_s``) looks again.
_BUDGET_POLL_S = 0.02
_LOOK_AGAIN_S = 0.05
_NO_MORE = 1_000  # tries: enough of them
Step = Attempt | Wait | Race
Sent = Any  # Answered | Failed | Late | Raced | None
Plan = Generator[Step, Sent, InFlight]


class Carried(Exception):
    """A StopIteration on its way through generators, to whom it means something else; drivers raise it as itself."""

    def __init__(self, error: StopIteration) -> None:
        self.error = error


def plan(call: Call) -> Plan:
    """Attempts until one answers. May be entered again after a stream broke: it goes on where it stood.

    Raises: the last provider's exception if attempts were made; else BudgetExceededError, NoCandidateError or
    DeadlineExceededError.
    """
    while call.made < call.policy.max_attempts:
        if call.todo:
            ranked = call.todo.pop(0)
            segment = call.segments[0] if call.owners is None else call.owners[id(ranked[-1][0])]
        else:
            freed = (yield from _wait_for_first(call)) if call.blocked else None
            if freed is None:
                break
            segment, ranked = freed
        flight = yield from _use(call, segment, ranked)
        if flight is not None:
            return flight
    if call.spare is not None:  # nobody else answered: an answer that was not wanted is better than none
        _serve(call, call.spare)
        return call.spare
    raise _exhausted(call)


def _wait_for_first(call: Call) -> Generator[Step, Sent, tuple[Segment, Ranked] | None]:
    """Nothing else is left: wait for the first of the limited ones that frees, if that is within the patience."""
    now = call.clock.monotonic()
    if call.patience_until is None:
        call.patience_until = min(now + call.policy.patience_s, call.deadline)
    first = min(call.blocked, key=lambda one: (not one[3], one[0]))
    until, segment, ranked, limited = first
    if not limited or until >= call.patience_until:
        return None
    call.blocked.remove(first)
    # Others wait for it too: whoever comes too late looks again a little later.
    yield Wait(max(until - now, _LOOK_AGAIN_S), "headroom")
    return segment, ranked


def _use(call: Call, segment: Segment, ranked: Ranked) -> Generator[Step, Sent, InFlight | None]:
    """Try one deployment, and where that may help once more; None when the next one should be tried."""
    candidate: Candidate = ranked[-1][0]
    tries = 0
    usual, total = segment.state.usual_s(candidate.name, call.request.stream)
    while call.made < call.policy.max_attempts:
        now = call.clock.monotonic()
        left = call.deadline - now
        if left <= 0:
            call.todo.clear()
            return None
        if total > left and call.todo:
            return None  # it would not be done in time; perhaps the next one is faster
        ticket = segment.state.admit(
            candidate.name, call.tokens, call.request.estimate, call.request.stream, not call.todo
        )
        if isinstance(ticket, Blocked):
            wait = ticket.wait_s
            if not ticket.limited or not _may_wait(call, candidate, wait, left):
                call.blocked.append((now + wait, segment, ranked, ticket.limited))
                return None
            call.waited.add(candidate.name)
            yield Wait(wait, "headroom")
            continue
        flight = yield from _begin(call, segment, ranked, ticket, usual)
        if flight is None:
            return None
        tries += 1
        try:
            outcome = yield flight.attempt
            if outcome is LATE:
                flight, outcome = yield from _race(call, flight)
        except BaseException:
            flight.abandon(sent=flight.attempt.sent)
            raise
        if outcome.__class__ is Answered:
            try:
                failure = _judge(call, flight, outcome)
            except BaseException:  # a check of the caller's that raises: the answer is paid for all the same
                flight.abandon(outcome="check raised", usage=_usage_of(outcome))
                _discard(outcome)
                raise
            if failure is None:
                return flight
            outcome = failure
        # What another one failed with, that was raced, is no reason to ask this one again.
        mine = flight.candidate is candidate
        step = yield from _after(call, flight, outcome, tries if mine else _NO_MORE)
        if step is None or not mine:
            return None
    return None


def _may_wait(call: Call, candidate: Candidate, wait: float, left: float) -> bool:
    """Whether to wait for this deployment here and now, before others are asked."""
    policy = call.policy
    asked = policy.on_rate_limit == "wait" or (policy.weights is not None and policy.weights.t > 0)
    return asked and candidate.name not in call.waited and wait <= policy.patience_s and wait < left


def _begin(
    call: Call, segment: Segment, ranked: Ranked, ticket: Ticket, usual: float, patient: bool = True
) -> Generator[Step, Sent, InFlight | None]:
    """An admitted attempt with its money held; None (and no longer admitted) where the money is refused. ``patient``:
    it may wait for a budget."""
    candidate: Candidate = ranked[-1][0]
    try:
        held = yield from _reserve(call, segment, ranked, patient)
    except BaseException:
        segment.state.withdraw(ticket)
        raise
    left = call.deadline - call.clock.monotonic()
    if held is not None and left <= 0:  # the money came too late
        if held[0] is not None:
            held[0].ledger.end(held[0], 0)
        held = None
    if held is None:
        segment.state.withdraw(ticket)
        return None
    attempt = _attempt(call, segment, candidate, held[1], left, usual)
    return InFlight(call, segment, candidate, ticket, held, attempt, call.clock.monotonic())


def _attempt(call: Call, segment: Segment, candidate: Candidate, cap: int | None, left: float, usual: float) -> Attempt:
    """One more attempt. Its time is an even share of what remains, at least what the deployment usually needs, unless
    the caller said otherwise."""
    policy, kwargs = call.policy, call.kwargs
    call.made += 1
    timeout = policy.attempt_timeout_s
    if timeout is None:
        tries_left, others = policy.max_attempts - call.made + 1, len(call.todo) + 1
        share = left / (others if others < tries_left else tries_left)
        timeout = 2 * usual if 2 * usual > share else share
    if call.prefill and candidate.facts.caps & PREFILL:
        kwargs = {**kwargs, "messages": [*kwargs["messages"], {"role": "assistant", "content": call.prefill}]}
    if policy.sanitise and call.request.history is not None:
        kwargs = {**kwargs, "messages": portable(kwargs["messages"], candidate)}
    attempt = Attempt(
        candidate,
        call.made,
        kwargs,
        cap,
        timeout if timeout < left else left,
        left,
        policy.ttft_timeout_s,
        policy.stall_timeout_s,
        call.request.stream,
        policy.buffer or bool(policy.on_responses),
    )
    if policy.hedge_after is not None:
        attempt.hedge_after_s = _hedge_after(call, segment, candidate)
    return attempt


def _hedge_after(call: Call, segment: Segment, candidate: Candidate) -> float | None:
    """When a second deployment is asked beside this one, seconds; None: not at all."""
    wanted, request = call.policy.hedge_after, call.request
    if not call.todo or (request.stream and request.needs & TOOLS):
        return None
    if not isinstance(wanted, str):
        return wanted
    seconds = segment.state.quantile_s(candidate.name, int(wanted[1:]) / 100, request.stream)
    return seconds if seconds == seconds else None


def _race(call: Call, first: InFlight) -> Generator[Step, Sent, tuple[InFlight, Answered | Failed]]:
    """The first is late: ask another one too, and keep whoever answers first. Gives the winner and its outcome; the
    loser's money is ended here."""
    second = yield from _rival(call, first)
    if second is None:
        return first, (yield Race(None))
    try:
        raced: Raced = yield Race(second.attempt, lambda failure: verdict(failure, call.policy, 1) == RAISE)
    except BaseException:
        second.abandon(sent=second.attempt.sent)
        raise
    finally:
        call.racing = 0.0
    winner, loser = (first, second) if raced.first_won else (second, first)
    if isinstance(raced.loser, Failed):
        loser.fail(raced.loser)
        call.failures.append(raced.loser)
    else:  # cancelled; or its answer was there too, and says what it cost
        usage = None if raced.loser is None else _usage_of(raced.loser)
        loser.abandon(outcome="hedged", usage=usage, sent=loser.attempt.sent)
        call.billed += round(loser.record.cost_usd * 1e9)
    return winner, raced.outcome


def _rival(call: Call, first: InFlight) -> Generator[Step, Sent, InFlight | None]:
    """The next deployment that may be asked at once, inside the retry budget, with its own money held."""
    if call.todo and call.made < call.policy.max_attempts:
        ranked = call.todo[0]
        segment = call.segments[0] if call.owners is None else call.owners[id(ranked[-1][0])]
        candidate = ranked[-1][0]
        if segment is not first.segment:
            return None
        ticket = segment.state.admit(candidate.name, call.tokens, call.request.estimate, call.request.stream, False)
        if isinstance(ticket, Blocked):
            return None
        if not segment.state.may_retry("hedge"):
            segment.state.withdraw(ticket)
            return None
        usual, _ = segment.state.usual_s(candidate.name, call.request.stream)
        call.todo.pop(0)
        call.racing = first.bound
        flight = yield from _begin(call, segment, ranked, ticket, usual, patient=False)
        if flight is not None:
            return flight
        call.racing = 0.0
        call.todo.insert(0, ranked)  # it is too dear beside the first; after it, perhaps not
    return None


def _judge(call: Call, flight: InFlight, outcome: Answered) -> Failed | None:
    """Take the answer; or, where the caller's checks do not want it and others are left, what failed about it."""
    flight.response, flight.ttft_s, flight.peeked = outcome.response, outcome.ttft_s, outcome.peeked
    if outcome.peeked:
        flight.segment.state.began(flight.ticket)
    if outcome.limits:
        flight.segment.state.told(flight.candidate.name, outcome.limits)
    policy = call.policy
    if policy.on_responses and call.todo and call.made < policy.max_attempts:
        whole = outcome.response if outcome.whole is None else outcome.whole()
        name = unwanted(policy.on_responses, whole, call.kwargs)
        if name is not None:
            error = ValueError(f"{flight.candidate.name!r}: the answer was not wanted ({name})")
            call.spare = flight
            return Failed(error, "unwanted_answer", True, usage=read_usage(whole))
    _serve(call, flight)
    if call.spare is not None and call.spare.peeked:
        call.spare.response.guard.ended()
        call.spare.response.guard.drop()
    call.spare = None
    return None


def _serve(call: Call, flight: InFlight) -> None:
    call.result.served = (flight.candidate.name, flight.candidate.deployment.model)
    call.result.output_cap = flight.attempt.cap


def _usage_of(outcome: Answered) -> Usage | None:
    """What an answer that is not taken says it cost."""
    return None if outcome.peeked else read_usage(outcome.response)


def _discard(outcome: Answered) -> None:
    if outcome.discard is not None:
        outcome.discard()


def _after(call: Call, flight: InFlight, failure: Failed, tries: int) -> Generator[Step, Sent, bool | None]:
    """True: the same deployment again. None: the next one. Raises what must not be answered by another model."""
    candidate, state = flight.candidate, flight.segment.state
    flight.fail(failure)
    if failure.kind in ("credential", "not_found", "quota"):
        state.warn_once(candidate.name, f"{failure.kind}: {type(failure.error).__name__}")
    call.failures.append(failure)
    step = verdict(failure, call.policy, tries)
    if step == RAISE:
        raise _told(call, failure.error)
    if step == LARGER:
        call.todo = [ranked for ranked in call.todo if ranked[-1][0].window > candidate.window]
        return None
    again = step == SAME
    if not again and candidate.name not in call.waited and worth_waiting(failure, call.policy, not call.todo):
        call.waited.add(candidate.name)
        again = True
    if not again or call.made >= call.policy.max_attempts:
        return None
    seconds = pause(failure, call.policy, call.jitter())
    if call.clock.monotonic() + seconds >= call.deadline:
        return None
    if not state.may_retry("throttled" if throttled(failure) else "fault"):
        return None
    yield Wait(seconds, failure.kind)
    return True


def _reserve(
    call: Call, segment: Segment, ranked: Ranked, patient: bool
) -> Generator[Step, Sent, tuple[Any, int | None, float] | None]:
    """Hold the worst case of this attempt in every budget: (reservation or None, output cap, worst case in
    nano-dollars); None if refused."""
    candidate, _, bound, cap, _ = ranked[-1]
    policy, request = segment.decision.policy, call.request
    spoken_for = call.billed + call.racing
    resent = bool(call.prefill) and bool(candidate.facts.caps & PREFILL)
    if resent or (policy.max_cost is not None and spoken_for):
        limit = math.inf if policy.max_cost is None else policy.max_cost * 1e9 - spoken_for
        fitted = _refit(call, policy, candidate, limit)
        if fitted is None:
            return None
        bound, cap = fitted
    if not segment.keys:
        return None, cap, bound
    while True:
        held = segment.ledger.reserve(segment.keys, math.ceil(bound))
        if held.granted:
            return held, cap, bound
        call.refusal = held
        limit = float(held.left)
        if policy.max_cost is not None:
            limit = min(limit, policy.max_cost * 1e9 - spoken_for)
        fitted = _refit(call, policy, candidate, limit) if request.cap is None else None
        if fitted is not None and fitted[0] < bound:
            bound, cap = fitted
            continue
        if not patient:
            return None
        now = call.clock.monotonic()
        if call.wait_until is None:
            call.wait_until = min(now + held.budget.wait_s, call.deadline)
        if now >= call.wait_until:
            return None
        yield Wait(_BUDGET_POLL_S, "budget")


def _refit(call: Call, policy: Policy, candidate: Candidate, limit: float) -> tuple[float, int | None] | None:
    request = call.request
    if call.prefill and candidate.facts.caps & PREFILL:
        request = longer(request, call.prefill)
    return fit(candidate, request, limit, policy.min_output_tokens, policy.default_output_cap, call.count_tokens)


def _exhausted(call: Call) -> BaseException:
    """What to raise when nothing is left to try."""
    if call.failures:
        return _told(call, call.failures[-1].error)
    rejected = {r.candidate.name: reason(r) for s in call.segments for r in s.decision.rejections}
    if call.refusal is not None:
        return budget_error(call.refusal, rejected)
    now = call.clock.monotonic()
    if call.deadline - now <= 0:
        return DeadlineExceededError(
            f"the deadline of {call.deadline - call.started:.3g} s passed before an attempt could start"
        )
    retry_after = None
    for until, _, ranked, _ in call.blocked:
        rejected[ranked[-1][0].name] = f"has to wait: room in {max(0.0, until - now):.2f} s"
        retry_after = min(until - now, math.inf if retry_after is None else retry_after)
    what = "every deployment is limited or resting:" if call.blocked else "no deployment may take this request:"
    return NoCandidateError(what, rejected, None if retry_after is None else max(0.0, retry_after))


def budget_error(refusal: Any, rejected: dict[str, str]) -> BudgetExceededError:
    """The error that names the budget, its key, what is spent and when it resets."""
    budget = refusal.budget
    key = None if budget.key is None else "(none)" if refusal.key is None else str(refusal.key)
    return BudgetExceededError(
        budget.name,
        key,
        to_usd(refusal.limit),
        to_usd(refusal.spent),
        iso(refusal.resets_at),
        rejected=rejected,
    )


def _told(call: Call, error: BaseException) -> BaseException:
    """The provider's own exception, with a note for every earlier attempt."""
    if isinstance(error, StopIteration):
        return Carried(error)
    records = call.result.attempts
    if len(records) > 1:
        note = "router_plugin attempts: " + "; ".join(f"{r.deployment}: {r.error or r.outcome}" for r in records)
        if sys.version_info >= (3, 11):
            error.add_note(note)
        else:
            error.__notes__ = [*getattr(error, "__notes__", []), note]  # type: ignore[attr-defined]
    return error
