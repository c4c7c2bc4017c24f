"""The attempt loop: one sans-io generator for sync, async and streaming.

It yields ``Attempt`` (call this deployment), ``Wait`` (sleep), ``Race`` (a second attempt beside the one that is late)
or ``Check`` (let this judge an answer), is sent ``Answered``, ``Failed``, ``Late``, ``Raced`` or what a check gave, and
returns the ``InFlight`` of the answer. It reserves money before every attempt and ends every reservation it does not
hand on, whatever happens, including cancellation at any yield. Retry is the same deployment again, fallback the next
one; one attempt budget and one deadline cover both.

Source of the form: httpx's ``auth_flow`` and h11. Source of the policy: semantics.md section 9, table in verdict.py.
"""

from __future__ import annotations

import math
import sys
from typing import Any

from ..clock import iso
from ..decide.reasons import reason
from ..errors import BudgetExceededError, DeadlineExceededError, NoCandidateError
from ..money import to_usd
from ..provider.usage import read_usage
from ..records import LATE, Answered, Blocked, Candidate, Failed, Race, Raced, Ranked, Wait
from .begin import begin
from .checking import checked, taken_anyway
from .inflight import Call, InFlight, Segment
from .steps import Steps
from .verdict import LARGER, RAISE, SAME, pause, throttled, verdict, worth_waiting

_LOOK_AGAIN_S = 0.05
_NO_MORE = 1_000  # tries: enough of them
Plan = Steps[InFlight]


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
    if call.spare is not None:  # an answer that was not wanted is better than none
        return taken_anyway(call, call.spare)
    raise _exhausted(call)


def _wait_for_first(call: Call) -> Steps[tuple[Segment, Ranked] | None]:
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


def _use(call: Call, segment: Segment, ranked: Ranked) -> Steps[InFlight | None]:
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
        flight = yield from begin(call, segment, ranked, ticket, usual)
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
            flight, failure = yield from checked(call, flight, outcome)
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


def _race(call: Call, first: InFlight) -> Steps[tuple[InFlight, Answered | Failed]]:
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
        call.held = 0.0
    winner, loser = (first, second) if raced.first_won else (second, first)
    if isinstance(raced.loser, Failed):
        loser.fail(raced.loser)
        call.failures.append(raced.loser)
    else:  # cancelled; or its answer was there too, and says what it cost
        usage = None if raced.loser is None or raced.loser.peeked else read_usage(raced.loser.response)
        loser.abandon(outcome="hedged", usage=usage, sent=loser.attempt.sent)
        call.billed += round(loser.record.cost_usd * 1e9)
    return winner, raced.outcome


def _rival(call: Call, first: InFlight) -> Steps[InFlight | None]:
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
        call.held = first.bound
        flight = yield from begin(call, segment, ranked, ticket, usual, patient=False)
        if flight is not None:
            return flight
        call.held = 0.0
        call.todo.insert(0, ranked)  # it is too dear beside the first; after it, perhaps not
    return None


def _after(call: Call, flight: InFlight, failure: Failed, tries: int) -> Steps[bool | None]:
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
